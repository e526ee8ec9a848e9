//! Who is in a room: every connection in one of the room's shards, every person counted once.

use std::{collections::HashMap, sync::LazyLock};

use redis::{RedisError, Script};

use super::{
    Rooms, Shard, WAKE_INTERVAL_MS,
    connection::{LIFETIME, lifetime_ms},
};
use crate::{auth::UserId, clock::Timestamp, error::Error, id::BroadcastId};

/// Connections of a shard from which on a room gets another one: a pump on one core posts to more than that in a frame's time.
const SHARD_SIZE: usize = 2_000;
/// Shards a room may have.
pub const MAX_SHARDS: u8 = 16;
/// A version that is newer than any: the cursor beside it stands, whatever was settled since.
const KEPT: u64 = (1 << 53) - 1;
/// Comings and goings of a shard that are kept: more than there are while a frame goes round.
const CHANGES_KEPT: usize = 2 * SHARD_SIZE;

static REGISTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("register.lua")));
static LEAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("leave.lua")));
static BEHIND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("behind.lua")));

/// A connection that a pump serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    pub(super) connection: String,
    pub(super) user: String,
    /// The sequence number it has, as far as is known.
    pub(super) cursor: u64,
    /// The viewers version its registration made.
    pub(super) version: u64,
    /// Where frames after the cursor end that it may have or not; ascending.
    pub(super) unsure: Vec<u64>,
}

/// Who came to a shard, or went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// They are registered, or again.
    Came(Registered),
    /// This connection is gone.
    Went(String),
}

impl Change {
    /// As the scripts write it: `<connection> <record>`, or `<connection>`.
    pub(super) fn read(change: String) -> Result<Self, RedisError> {
        match change.split_once(' ') {
            Some((connection, record)) => {
                let (viewer, _since) = parse(connection.to_owned(), record)?;
                Ok(Self::Came(viewer))
            }
            None => Ok(Self::Went(change)),
        }
    }
}

/// How far a viewer got who did not get what is settled, or who has caught up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Behind {
    pub(super) connection: String,
    pub(super) cursor: u64,
    pub(super) unsure: Vec<u64>,
    /// Whether it has what is settled again.
    pub(super) caught_up: bool,
}

impl Registered {
    /// From where a pump goes on that never served this connection: the shard has `sent`, and the viewers version `served`
    /// got it.
    pub(super) fn resumes(&self, sent: u64, served: u64) -> (u64, Vec<u64>) {
        if self.version <= served {
            (self.cursor.max(sent), Vec::new())
        } else {
            (self.cursor, self.unsure.clone())
        }
    }

    /// Whether what is known of it is a note that it is behind.
    pub(super) const fn is_behind(&self) -> bool {
        self.version == KEPT
    }

    /// Whether its registration is one of its own, not a note of how far it got.
    pub(super) const fn is_registration(&self) -> bool {
        self.version != 0 && self.version != KEPT
    }
}

impl Rooms {
    /// From now on a pump sends `connection` what comes after `cursor`; unless it has ended meanwhile.
    ///
    /// # Errors
    /// Redis or the queue failed; asking again is safe.
    pub async fn register(
        &self,
        broadcast: &BroadcastId,
        connection: &str,
        user: &UserId,
        cursor: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut call = REGISTER.key(self.keys.room(broadcast));
        call.key(self.keys.people(broadcast))
            .key(self.keys.socket(connection));
        for shard in 0..MAX_SHARDS {
            call.key(self.keys.viewers(broadcast, shard))
                .key(self.keys.changes(broadcast, shard));
        }
        call.arg(now.millis())
            .arg(WAKE_INTERVAL_MS)
            .arg(SHARD_SIZE)
            .arg(connection)
            .arg(cursor)
            .arg(user.as_str())
            .arg(CHANGES_KEPT)
            .arg(lifetime_ms());
        let (number, wake): (i16, u8) = self.redis.run(&call).await?;
        if let (Ok(number), 1) = (u8::try_from(number), wake) {
            let broadcast = broadcast.clone();
            self.wake(&Shard { broadcast, number }).await?;
        }
        Ok(())
    }

    /// These connections are gone.
    ///
    /// # Errors
    /// Redis failed; asking again is safe.
    pub async fn leave(&self, shard: &Shard, connections: &[&str]) -> Result<(), Error> {
        if connections.is_empty() {
            return Ok(());
        }
        let Shard { broadcast, number } = shard;
        let mut call = LEAVE.key(self.keys.room(broadcast));
        call.key(self.keys.viewers(broadcast, *number))
            .key(self.keys.people(broadcast))
            .key(self.keys.changes(broadcast, *number))
            .arg(number)
            .arg(CHANGES_KEPT);
        for connection in connections {
            call.arg(*connection);
        }
        let _gone: u64 = self.redis.run(&call).await?;
        Ok(())
    }

    /// These connections are gone, whichever shards they are in.
    ///
    /// # Errors
    /// Redis failed; asking again is safe.
    pub async fn leave_all(
        &self,
        broadcast: &BroadcastId,
        connections: &[&str],
    ) -> Result<(), Error> {
        let mut read = redis::pipe();
        read.hget(self.keys.room(broadcast), "shards");
        let (shards,): (Option<u8>,) = self.redis.send(&read).await?;
        for number in 0..shards.unwrap_or(1) {
            let broadcast = broadcast.clone();
            let shard = Shard { broadcast, number };
            self.leave(&shard, connections).await?;
        }
        Ok(())
    }

    /// Everyone in a shard. Who cannot be there any more, because no connection lives so long, is forgotten.
    pub(super) async fn viewers(
        &self,
        shard: &Shard,
        now: Timestamp,
    ) -> Result<Vec<Registered>, Error> {
        let mut read = redis::pipe();
        read.hgetall(self.keys.viewers(&shard.broadcast, shard.number));
        let (all,): (HashMap<String, String>,) = self.redis.send(&read).await?;
        let (mut viewers, mut outlived) = (Vec::with_capacity(all.len()), Vec::new());
        for (connection, record) in all {
            match parse(connection, &record)? {
                (viewer, since) if since + LIFETIME >= now => viewers.push(viewer),
                (viewer, _) => outlived.push(viewer.connection),
            }
        }
        let outlived: Vec<&str> = outlived.iter().map(String::as_str).collect();
        self.leave(shard, &outlived).await?;
        Ok(viewers)
    }

    /// Writes down how far these viewers got, for a pump that may have to take over; `false` if one has, from the pump with this
    /// token.
    pub(super) async fn note_behind(
        &self,
        shard: &Shard,
        token: &str,
        notes: &[Behind],
    ) -> Result<bool, Error> {
        if notes.is_empty() {
            return Ok(true);
        }
        let mut call = BEHIND.key(self.keys.viewers(&shard.broadcast, shard.number));
        call.key(self.keys.room(&shard.broadcast))
            .arg(shard.number)
            .arg(token);
        for note in notes {
            call.arg(&note.connection)
                .arg(note.cursor)
                .arg(if note.caught_up { 0 } else { KEPT })
                .arg(if note.unsure.is_empty() {
                    "0".to_owned()
                } else {
                    let ends = note.unsure.iter().map(u64::to_string);
                    ends.collect::<Vec<_>>().join(",")
                });
        }
        Ok(self.redis.run(&call).await?)
    }
}

/// `<cursor> <version> <unsure>,<unsure> <since ms> <user>`; "0" for no unsure.
fn parse(connection: String, record: &str) -> Result<(Registered, Timestamp), RedisError> {
    read(connection, record)
        .ok_or_else(|| RedisError::from((redis::ErrorKind::Parse, "a viewer cannot be read")))
}

fn read(connection: String, record: &str) -> Option<(Registered, Timestamp)> {
    let mut words = record.splitn(5, ' ');
    let cursor = words.next()?.parse().ok()?;
    let version = words.next()?.parse().ok()?;
    let unsure = match words.next()? {
        "0" => Vec::new(),
        ends => {
            let ends = ends.split(',').map(|end| end.parse().ok());
            ends.collect::<Option<_>>()?
        }
    };
    let since = words.next()?.parse().ok()?;
    let viewer = Registered {
        connection,
        user: words.next()?.to_owned(),
        cursor,
        version,
        unsure,
    };
    Some((viewer, Timestamp::from_millis(since)))
}
