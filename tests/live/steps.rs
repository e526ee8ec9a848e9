//! What several of these tests do: something is said, a pump is called, a screen shows what has arrived.

use std::time::{Duration, Instant};

use onepool::{
    clock::{self, Timestamp},
    room::{Event, Shard, Wake},
};
use onepool_tests::{Shop, Show, Viewer};
use serde_json::Value;

/// Longer than any lease: the next pump need not wait for that of a dead one.
pub const LEASE_OVER: Duration = Duration::from_secs(5);

/// Something is said in the room now.
pub async fn chatter(shop: &Shop, show: &Show, message: &str) {
    chatter_at(shop, show, message, clock::now()).await;
}

/// Something is said in the room at that moment.
pub async fn chatter_at(shop: &Shop, show: &Show, message: &str, now: Timestamp) {
    let events = [(None, chat(message, now))];
    let appended = shop.rooms.append(&show.broadcast, &events, now).await;
    appended.expect("is appended");
}

/// What somebody says.
pub fn chat(message: &str, timestamp: Timestamp) -> Event {
    Event::Chat {
        id: message.to_owned(),
        user_id: "host".parse().expect("a user id"),
        name: "진행자".to_owned(),
        message: message.to_owned(),
        timestamp,
    }
}

/// A shard of the show's room.
pub fn shard(show: &Show, number: u8) -> Shard {
    Shard {
        broadcast: show.broadcast.clone(),
        number,
    }
}

/// What calls the pump of that shard.
pub fn wake(show: &Show, shard: u8) -> Wake {
    Wake {
        broadcast_id: show.broadcast.clone(),
        shard,
        watch: false,
    }
}

/// The shards that a pump was called for since they were last asked for.
pub fn woken(shop: &Shop) -> Vec<u8> {
    let wakes = shop.wire.take_messages("wakes").into_iter();
    let wakes = wakes.map(|wake| serde_json::from_str::<Wake>(&wake).expect("a wake"));
    let mut shards: Vec<u8> = wakes
        .filter(|wake| !wake.watch)
        .map(|wake| wake.shard)
        .collect();
    shards.sort_unstable();
    shards
}

/// These connections come and join, each of a user of its own.
pub async fn join_all(shop: &Shop, show: &Show, connections: &[String]) {
    for connection in connections {
        Viewer::join(shop, show, &format!("u-{connection}"), connection).await;
    }
}

/// Waits until there is something to see.
pub async fn eventually(what: &str, mut seen: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(20);
    while !seen() {
        assert!(Instant::now() < patience, "{what}: in vain");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What a viewer's screen shows: it takes a frame only if that goes beyond what it has.
#[derive(Default)]
pub struct Screen {
    pub connection: String,
    pub seq: u64,
    pub events: Vec<Value>,
}

impl Screen {
    /// An empty one.
    pub fn of(connection: &str) -> Self {
        Self {
            connection: connection.to_owned(),
            ..Self::default()
        }
    }

    /// Reads what has arrived. Returns all chats that were shown so far.
    pub fn chats(&mut self, shop: &Shop) -> Vec<String> {
        for frame in shop.wire.take_posts(&self.connection) {
            let seq = frame["seq"].as_u64().expect("a frame has a seq");
            if seq > self.seq {
                self.seq = seq;
                let events = frame["events"].as_array().expect("a frame has events");
                self.events.extend(events.iter().cloned());
            }
        }
        let chats = self.of_kind("chat").into_iter();
        chats
            .filter_map(|chat| chat["message"].as_str())
            .map(str::to_owned)
            .collect()
    }

    /// The events of a kind that were shown.
    pub fn of_kind(&self, kind: &str) -> Vec<&Value> {
        let events = self.events.iter();
        events.filter(|event| event["type"] == kind).collect()
    }
}
