//! Redis's copy of what the host has decided. One hash a room, `{shop}:moderation:<broadcast>`, written as a whole:
//!
//! | field | value |
//! |---|---|
//! | `version` | of the state in the catalogue; 0 if there is none. Without it, Redis has forgotten the room |
//! | `frozen` | `1` if nobody but the host may speak |
//! | `slow_ms` | ms that everyone waits between two messages |
//! | `pinned` | the pinned message (JSON), or nothing |
//! | `words` | the banned words (JSON) |
//! | `ban:<user>` | there, if that user is banned |

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use redis::Script;
use serde_json::{Value, json};

use super::{super::Rooms, Refusal, words::Words};
use crate::{
    auth::UserId,
    catalog::{Catalog, Moderation},
    error::Error,
    id::BroadcastId,
};

/// Rooms whose words a process keeps ready.
const ROOMS_READY: usize = 32;

static RULES: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rules.lua")));

/// The banned words of a room, of one version of its rules.
#[derive(Debug)]
pub(in crate::room) struct Ready {
    pub(super) version: String,
    pub(super) words: Words,
}

/// Banned words, ready to be looked for: folding a list anew for each message would take longer than the message.
pub(in crate::room) type Cache = Arc<Mutex<HashMap<BroadcastId, Arc<Ready>>>>;

impl Rooms {
    /// Redis follows what the host has decided; not, if it knows something newer.
    ///
    /// # Errors
    /// Redis did not do it, or did not say so; asking again is safe.
    pub async fn follow_moderation(
        &self,
        broadcast: &BroadcastId,
        moderation: &Moderation,
    ) -> Result<(), Error> {
        let pinned = moderation
            .pinned
            .as_ref()
            .map_or_else(String::new, Value::to_string);
        let mut call = RULES.key(self.keys.moderation(broadcast));
        call.arg(moderation.version)
            .arg(u8::from(moderation.frozen))
            .arg(u64::from(moderation.slow_mode) * 1_000)
            .arg(pinned)
            .arg(json!(moderation.words).to_string());
        for user in moderation.bans.keys() {
            call.arg(user.as_str());
        }
        let _written: u8 = self.redis.run(&call).await?;
        Ok(())
    }

    /// Tells a Redis that has forgotten what the host has decided.
    pub(super) async fn recall_moderation(
        &self,
        catalog: &Catalog,
        broadcast: &BroadcastId,
    ) -> Result<(), Error> {
        // Seldom, and deep: without the box, the futures of all that calls this would have room for it, and for the SDK in it.
        let moderation = Box::pin(catalog.moderation(broadcast)).await?;
        self.follow_moderation(broadcast, &moderation).await
    }

    /// The connections of a person in the room; some may have ended.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn connections_of(
        &self,
        broadcast: &BroadcastId,
        user: &UserId,
    ) -> Result<Vec<String>, Error> {
        let mut read = redis::pipe();
        read.zrange(self.keys.person(broadcast, user), 0, -1);
        let (connections,): (Vec<String>,) = self.redis.send(&read).await?;
        Ok(connections)
    }

    /// What a newcomer must know of it: the members of a snapshot `frozen`, `slow_mode_s` and `pinned`. `viewer` is who asks, if
    /// that is a viewer.
    ///
    /// # Errors
    /// [`Error::Refused`] if the viewer is banned, a store failed, or a record cannot be read.
    pub async fn shown_moderation(
        &self,
        catalog: &Catalog,
        broadcast: &BroadcastId,
        viewer: Option<&UserId>,
    ) -> Result<[(&'static str, Value); 3], Error> {
        type Text = Option<String>;
        type Fields = (Option<u64>, Text, Option<u64>, Text, Text);
        let ban = format!("ban:{}", viewer.map_or("", UserId::as_str));
        let mut read = redis::pipe();
        read.hmget(
            self.keys.moderation(broadcast),
            &["version", "frozen", "slow_ms", "pinned", &ban],
        );
        let (mut fields,): (Fields,) = self.redis.send(&read).await?;
        if fields.0.is_none() {
            self.recall_moderation(catalog, broadcast).await?;
            (fields,) = self.redis.send(&read).await?;
        }
        let (_version, frozen, slow_ms, pinned, banned) = fields;
        if banned.is_some() {
            return Err(Error::Refused(Refusal::Banned));
        }
        let pinned = pinned
            .filter(|pinned| !pinned.is_empty())
            .map(|pinned| super::super::parse(&pinned))
            .transpose()?;
        Ok([
            ("frozen", json!(frozen.as_deref() == Some("1"))),
            ("slow_mode_s", json!(slow_ms.unwrap_or(0) / 1_000)),
            ("pinned", json!(pinned)),
        ])
    }

    /// The banned words of a room as this process knows them.
    pub(super) fn words_ready(&self, broadcast: &BroadcastId) -> Option<Arc<Ready>> {
        let ready = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        ready.get(broadcast).cloned()
    }

    /// Keeps the banned words of a room.
    pub(super) fn keep_words(
        &self,
        broadcast: &BroadcastId,
        version: String,
        words: &str,
    ) -> Result<(), Error> {
        let words: Vec<String> =
            serde_json::from_str(words).map_err(|error| Error::Corrupt(error.to_string()))?;
        let words = Words::new(&words);
        let mut ready = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.len() >= ROOMS_READY {
            ready.clear();
        }
        ready.insert(broadcast.clone(), Arc::new(Ready { version, words }));
        Ok(())
    }
}
