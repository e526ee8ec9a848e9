//! What is known of a WebSocket connection: one hash each, `{shop}:socket:<connection id>`.
//!
//! | field | value |
//! |---|---|
//! | `who` | who is behind it, and in which room (JSON); written when it is let in |
//! | `shard`, `cursor` | once it has joined: its shard of the room, and the sequence number its viewer had then |

use std::{sync::LazyLock, time::Duration};

use redis::{ErrorKind, RedisError, Script};
use serde::{Deserialize, Serialize};

use super::Rooms;
use crate::{auth::UserId, clock::Timestamp, error::Error, id::BroadcastId};

/// How long API Gateway keeps a connection at most (2 hours), and a little more: what is known of it is forgotten then.
pub(super) const LIFETIME: Duration = Duration::from_secs(2 * 3_600 + 300);
/// A join takes less than that: a function's timeout.
const JOIN_PATIENCE: Duration = Duration::from_secs(60);

static CONNECT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("connect.lua")));

/// [`LIFETIME`] as scripts take it.
pub(super) fn lifetime_ms() -> u64 {
    u64::try_from(LIFETIME.as_millis()).unwrap_or(u64::MAX)
}

/// Who is behind a connection, and in which room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected {
    /// The room.
    pub broadcast_id: BroadcastId,
    /// The person.
    pub user_id: UserId,
    /// As others read it.
    pub name: String,
    /// Whether they host broadcasts.
    pub host: bool,
    /// The `Accept-Language` of their client.
    pub language: String,
    /// When it was let in.
    pub since: Timestamp,
    /// The shard of the room it joined.
    #[serde(skip)]
    pub shard: Option<u8>,
    /// The sequence number the viewer had at its join; a direct answer carries it, as it may not run ahead of the frames.
    #[serde(skip)]
    pub cursor: u64,
}

impl Connected {
    /// Whether it has been here for long and is in no room: its join was answered and then came to nothing, so no frame will
    /// ever come, and its viewer cannot know.
    #[must_use]
    pub fn is_stranded(&self, now: Timestamp) -> bool {
        self.shard.is_none() && now.since(self.since) >= JOIN_PATIENCE
    }
}

/// What becomes of a connection that wants in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// It is let in.
    Welcome,
    /// Its person is banned.
    Banned,
    /// Redis does not know the room, or what its host has decided.
    Unknown,
}

impl Rooms {
    /// Lets a connection in, if its person is not banned: one call of Redis, whatever the room holds.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn let_in(&self, connection: &str, who: &Connected) -> Result<Entry, Error> {
        let (broadcast, user) = (&who.broadcast_id, &who.user_id);
        let mut call = CONNECT.key(self.keys.room(broadcast));
        call.key(self.keys.moderation(broadcast))
            .key(self.keys.person(broadcast, user))
            .key(self.keys.socket(connection))
            .arg(who.since.millis())
            .arg(lifetime_ms())
            .arg(user.as_str())
            .arg(connection)
            .arg(serde_json::to_string(who).map_err(Error::Foreign)?);
        let answer: String = self.redis.run(&call).await?;
        Ok(match answer.as_str() {
            "welcome" => Entry::Welcome,
            "banned" => Entry::Banned,
            "unknown" => Entry::Unknown,
            _ => return Err(RedisError::from((ErrorKind::Parse, "no answer of connect")).into()),
        })
    }

    /// Who is behind a connection; `None` if Redis knows of none.
    ///
    /// # Errors
    /// Redis did not answer, or a record cannot be read.
    pub async fn connected(&self, connection: &str) -> Result<Option<Connected>, Error> {
        type Fields = (Option<String>, Option<u8>, Option<u64>);
        let mut read = redis::pipe();
        read.hmget(self.keys.socket(connection), &["who", "shard", "cursor"]);
        let ((who, shard, cursor),): (Fields,) = self.redis.send(&read).await?;
        let Some(who) = who else { return Ok(None) };
        let mut connected: Connected =
            serde_json::from_str(&who).map_err(|error| Error::Corrupt(error.to_string()))?;
        (connected.shard, connected.cursor) = (shard, cursor.unwrap_or_default());
        Ok(Some(connected))
    }

    /// Forgets a connection that has ended.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn forget(&self, connection: &str, who: &Connected) -> Result<(), Error> {
        let mut write = redis::pipe();
        write
            .del(self.keys.socket(connection))
            .ignore()
            .zrem(
                self.keys.person(&who.broadcast_id, &who.user_id),
                connection,
            )
            .ignore();
        Ok(self.redis.send(&write).await?)
    }
}
