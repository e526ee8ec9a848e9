//! The room of a broadcast: its log, its viewers, its frames.
//!
//! API Gateway has no broadcast, only one post a viewer; so a room sends few, full messages. All that happens is appended
//! to one log under one sequence number, and one pump a shard of the room sends every viewer the events since its last frame.
//!
//! One hash a room, `{shop}:room:<broadcast>`:
//!
//! | field | value |
//! |---|---|
//! | `broadcast`, `product:<id>` | the broadcast, and what is on air in it, as viewers read them (JSON) |
//! | `seq` | sequence number of the last event; a room starts at the time in microseconds, so that screens never see a smaller one, even after Redis lost its memory |
//! | `floor` | who has seen less begins anew: Redis once came back with an older memory |
//! | `appended` | `<token> <head> <wake> ` a call: what the latest `append` calls were answered, for one that is repeated |
//! | `noted` | `<ms>:<seq> ` a note, the newest in front: which event was the last one when; the log is cut by it |
//! | `shards` | how many the room has; 1 at first |
//! | `likes`, `chats` | counts |
//! | `likes_shown`, `viewers_shown`, `shown:<product>` | the latest values viewers have been told |
//!
//! and for every shard, `:<shard>` behind its name:
//!
//! | field | value |
//! |---|---|
//! | `sent`, `claimed` | up to where frames are sent; where the frame ends that is being sent, and where it ended before it grew |
//! | `served` | the viewers version that got what is sent |
//! | `pump`, `pump_until` | token of the one pump, and the end of its lease (ms) |
//! | `ended` | token of the pump that ended last |
//! | `woken_at` | when a pump was called last (ms) |
//! | `connections`, `viewers_version` | how many there are; grows when one comes or goes |
//!
//! Beside it stand `{shop}:log:<broadcast>`, a stream of the events; `{shop}:viewers:<broadcast>:<shard>`, a hash of connection
//! id to `<cursor> <version> <unsure> <since ms> <user>`; `{shop}:changes:<broadcast>:<shard>`, a list of the latest to come,
//! `<connection> <record>`, and to go, `<connection>`, one a viewers version; and `{shop}:people:<broadcast>`, a hash of user to
//! connections. What is known of a connection is in `connection.rs`.

pub mod chat;
mod connection;
mod crowd;
mod encode;
pub mod event;
mod frame;
mod lease;
pub mod post;
pub mod pump;
mod resume;
pub mod socket;
mod viewers;

use std::{collections::HashMap, sync::LazyLock, time::Duration};

pub use event::Event;
pub use frame::{Ask, Claim, Claimed, Last, LoggedEvent};
use redis::Script;
use serde_json::{Value, json};

use crate::{
    auth::UserId,
    aws::Aws,
    clock::{self, Timestamp},
    connection::Redis,
    error::Error,
    id::{BroadcastId, ProductId},
    keys::Keys,
    queue::Queue,
    stock::{Source, parse_stock},
};

/// How long a room's log keeps an event at least, in milliseconds: who was away for less misses nothing.
const LOG_MEMORY_MS: u64 = 130_000;
/// Least time between two wakes of a room, in milliseconds.
const WAKE_INTERVAL_MS: u64 = 100;
/// Chat messages a newcomer gets, and how far back they are looked for.
const RECENT_CHATS: usize = 50;
const RECENT_EVENTS: usize = 500;

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));
static ENTER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("enter.lua")));

/// The rooms of one shop.
#[derive(Clone)]
pub struct Rooms {
    redis: Redis,
    keys: Keys,
    wakes: Queue,
    words: chat::Cache,
}

/// A room at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Sequence number of the last event in it.
    pub seq: u64,
    /// The snapshot as viewers read it: the members of the `init` event, but for those of the connection.
    pub body: Value,
}

/// An event and the only user it is for; `None` is everyone.
pub type Addressed = (Option<UserId>, Event);

impl Rooms {
    /// The rooms behind a connection; wakes go to `wake_queue_url`.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys, aws: Aws, wake_queue_url: String) -> Self {
        Self {
            redis,
            keys,
            wakes: Queue::new(aws, wake_queue_url),
            words: chat::Cache::default(),
        }
    }

    /// Writes the broadcast as viewers read it. With it a room begins, so it has a sequence from here on.
    ///
    /// # Errors
    /// Redis did not do it, or did not say so; asking again is safe.
    pub async fn show_broadcast(
        &self,
        broadcast: &BroadcastId,
        shown: &Value,
    ) -> Result<(), Error> {
        let room = self.keys.room(broadcast);
        let mut write = redis::pipe();
        write
            .hset_nx(&room, "seq", clock::now().millis() * 1_000)
            .ignore()
            .hset(&room, "broadcast", shown.to_string())
            .ignore();
        Ok(self.redis.send(&write).await?)
    }

    /// Writes a product as viewers read it while it is on air; `None` takes it off.
    ///
    /// # Errors
    /// Redis did not do it, or did not say so; asking again is safe.
    pub async fn show_product(
        &self,
        broadcast: &BroadcastId,
        product: &ProductId,
        shown: Option<&Value>,
    ) -> Result<(), Error> {
        let (room, field) = (self.keys.room(broadcast), format!("product:{product}"));
        let mut write = redis::pipe();
        match shown {
            Some(shown) => write.hset(room, field, shown.to_string()).ignore(),
            None => write
                .hdel(room, &[field, format!("shown:{product}")])
                .ignore(),
        };
        Ok(self.redis.send(&write).await?)
    }

    /// Appends events to the room's log, and wakes a pump if none is running: without events, for what changed in stock.
    ///
    /// # Errors
    /// Redis or the queue failed. The events may be in the log then; asking again may double them.
    pub async fn append(
        &self,
        broadcast: &BroadcastId,
        events: &[Addressed],
        now: Timestamp,
    ) -> Result<(), Error> {
        let chats = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::Chat { .. }))
            .count();
        self.append_and_count(broadcast, events, chats, 0, now)
            .await
    }

    /// Counts likes.
    ///
    /// # Errors
    /// Redis or the queue failed; asking again may count twice.
    pub async fn like(
        &self,
        broadcast: &BroadcastId,
        count: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.append_and_count(broadcast, &[], 0, count, now).await
    }

    async fn append_and_count(
        &self,
        broadcast: &BroadcastId,
        events: &[Addressed],
        chats: usize,
        likes: u32,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut call = APPEND.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast))
            .arg(now.millis())
            .arg(WAKE_INTERVAL_MS)
            .arg(LOG_MEMORY_MS)
            .arg(chats)
            .arg(likes)
            .arg(format!("{:016x}", fastrand::u64(..)));
        for (to, event) in events {
            call.arg(to.as_ref().map_or("", UserId::as_str))
                .arg(event.to_json());
        }
        let (_head, wakes): (u64, String) = self.redis.run(&call).await?;
        for number in wakes.split(',').filter_map(|shard| shard.parse().ok()) {
            let broadcast = broadcast.clone();
            self.wake(&Shard { broadcast, number }).await?;
        }
        Ok(())
    }

    async fn wake(&self, shard: &Shard) -> Result<(), Error> {
        self.wakes.send(&Wake::of(shard, false)).await
    }

    /// Calls a pump for later, that sees whether the one of now is still there.
    async fn watch(&self, shard: &Shard, after: Duration) -> Result<(), Error> {
        self.wakes.send_after(&Wake::of(shard, true), after).await
    }

    /// The room at this moment; `None` if Redis has never heard of the broadcast, or has forgotten it.
    ///
    /// # Errors
    /// Redis did not answer, or a record cannot be read.
    pub async fn snapshot(&self, broadcast: &BroadcastId) -> Result<Option<Snapshot>, Error> {
        let mut call = ENTER.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast))
            .key(self.keys.gate(&Source::Live(broadcast.clone())))
            .arg(RECENT_EVENTS);
        type Pairs = Vec<(String, String)>;
        let (room, latest, stock): (HashMap<String, String>, Pairs, Pairs) =
            self.redis.run(&call).await?;
        let Some(shown) = room.get("broadcast") else {
            return Ok(None);
        };
        let count = |field: &str| {
            room.get(field)
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or(0)
        };
        let mut products = Vec::new();
        for (product, record) in &stock {
            let Some(mut shown) = room
                .get(&format!("product:{product}"))
                .map(|shown| parse(shown))
                .transpose()?
            else {
                continue;
            };
            if !record.is_empty() {
                let (left, version) = parse_stock(record)?;
                shown["remaining"] = json!(left.max(0));
                shown["version"] = json!(version);
            }
            products.push(shown);
        }
        let deleted = chat::deleted_in(latest.iter().map(|(_, event)| event.as_str()));
        let mut recent_chat = latest
            .iter()
            .filter(|(_, event)| chat::id_of(event).is_some_and(|id| !deleted.contains(id)))
            .take(RECENT_CHATS)
            .map(|(_, event)| parse(event))
            .collect::<Result<Vec<Value>, Error>>()?;
        recent_chat.reverse();
        let seq = count("seq");
        Ok(Some(Snapshot {
            seq,
            body: json!({
                "broadcast": parse(shown)?,
                "viewer_count": count("viewers_shown"),
                "like_count": count("likes"),
                "chat_count": count("chats"),
                "products": products,
                "recent_chat": recent_chat,
                "seq": seq,
            }),
        }))
    }

    /// Gives the lease of the running pump up and calls another.
    async fn hand_over(&self, shard: &Shard) -> Result<(), Error> {
        let (room, field) = (
            self.keys.room(&shard.broadcast),
            format!("pump_until:{}", shard.number),
        );
        let mut write = redis::pipe();
        write.hset(room, field, 0).ignore();
        self.redis.send::<()>(&write).await?;
        self.wake(shard).await
    }

    /// The events after `after` up to `until`.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn log(
        &self,
        broadcast: &BroadcastId,
        after: u64,
        until: u64,
    ) -> Result<Vec<LoggedEvent>, Error> {
        let mut read = redis::pipe();
        read.cmd("XRANGE")
            .arg(self.keys.log(broadcast))
            .arg(format!("({after}-0"))
            .arg(format!("{until}-0"));
        let (entries,): (Vec<(String, HashMap<String, String>)>,) = self.redis.send(&read).await?;
        Ok(entries
            .into_iter()
            .filter_map(|(id, mut fields)| {
                Some(LoggedEvent {
                    seq: id.split('-').next()?.parse().ok()?,
                    to: fields.remove("to").filter(|user| !user.is_empty()),
                    json: fields.remove("event")?,
                })
            })
            .collect())
    }
}

/// A part of a room, with a pump of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Of which room.
    pub broadcast: BroadcastId,
    /// Which, from 0.
    pub number: u8,
}

/// The message that calls a pump.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Wake {
    /// Whose room has something to say.
    pub broadcast_id: BroadcastId,
    /// To which of its shards.
    #[serde(default)]
    pub shard: u8,
    /// Whether it was sent by a pump that is to be replaced if it died.
    #[serde(default)]
    pub watch: bool,
}

impl Wake {
    fn of(shard: &Shard, watch: bool) -> Self {
        Self {
            broadcast_id: shard.broadcast.clone(),
            shard: shard.number,
            watch,
        }
    }
}

fn parse(text: &str) -> Result<Value, Error> {
    serde_json::from_str(text).map_err(|error| Error::Corrupt(error.to_string()))
}
