//! What the host of a broadcast has decided about its chat.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Catalog, Item, REQUESTS_KEPT, earlier, key};
use crate::{auth::UserId, clock::Timestamp, error::Error, id::BroadcastId};

/// The moderation of a broadcast. One that nobody has moderated has the default. It is one item, which DynamoDB bounds to
/// 400 KB: what can be put into it is bounded where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moderation {
    /// Which change of it this is; before the first it is 0. An older one never replaces a newer one, here or in Redis.
    pub version: u64,
    /// Whether nobody but the host may speak.
    pub frozen: bool,
    /// How many seconds everyone waits between two messages; 0 is off.
    pub slow_mode: u32,
    /// The message that is pinned, as viewers read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pinned: Option<Value>,
    /// The words that may not be said.
    pub words: Vec<String>,
    /// Who may not be in the room.
    pub bans: BTreeMap<UserId, Ban>,
    /// The latest requests that changed it, oldest first: one that comes again changes it no more.
    #[serde(default)]
    pub requests: Vec<String>,
}

/// Why and since when someone is banned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Why, for the host's list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    pub since: Timestamp,
}

impl Moderation {
    /// Whether the request with this id has changed it.
    #[must_use]
    pub fn was_changed_by(&self, request: &str) -> bool {
        self.requests.iter().any(|earlier| earlier == request)
    }

    /// It as its next change, made by the request with this id.
    #[must_use]
    pub fn next(mut self, request: &str) -> Self {
        self.version += 1;
        self.requests.push(request.to_owned());
        let surplus = self.requests.len().saturating_sub(REQUESTS_KEPT);
        self.requests.drain(..surplus);
        self
    }
}

impl Catalog {
    /// The moderation of a broadcast.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn moderation(&self, broadcast: &BroadcastId) -> Result<Moderation, Error> {
        let known = self.get(moderation_key(broadcast)).await?;
        Ok(known.unwrap_or_default())
    }

    /// Writes the next change of the moderation of a broadcast. Returns whether it was written: not, if there is another
    /// change with its number.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn put_moderation(
        &self,
        broadcast: &BroadcastId,
        moderation: &Moderation,
    ) -> Result<bool, Error> {
        self.replace(
            moderation_key(broadcast),
            moderation,
            earlier(moderation.version),
        )
        .await
    }
}

fn moderation_key(broadcast: &BroadcastId) -> Item {
    key(format!("broadcast#{broadcast}"), "moderation".to_owned())
}
