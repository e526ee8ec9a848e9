//! The one place that spells Redis keys.
//!
//! Every key carries the shop as its hash tag, so all of a shop's keys share a slot and one script may touch any of them.

use crate::{auth::UserId, id::BroadcastId, stock::Source};

/// The keys of one shop.
#[derive(Debug, Clone)]
pub struct Keys {
    tag: String,
}

impl Keys {
    /// The keys of the shop with this id.
    #[must_use]
    pub fn new(shop_id: &str) -> Self {
        Self {
            tag: format!("{{{shop_id}}}"),
        }
    }

    /// Hash: what a source may sell, the terms it sells at, and the holds on it. Its fields are in `stock/mod.rs`.
    #[must_use]
    pub fn gate(&self, source: &Source) -> String {
        format!("{}:gate:{source}", self.tag)
    }

    /// List: the orders that took units of a source with their deadlines, in the order in which they did.
    #[must_use]
    pub fn deadlines(&self, source: &Source) -> String {
        format!("{}:deadlines:{source}", self.tag)
    }

    /// Sorted set: the orders whose holds got another deadline than they were taken with, by that deadline.
    #[must_use]
    pub fn extended(&self, source: &Source) -> String {
        format!("{}:extended:{source}", self.tag)
    }

    /// String: the time up to which accepted orders are known to have been looked at, ms.
    #[must_use]
    pub fn watermark(&self) -> String {
        format!("{}:watermark", self.tag)
    }

    /// Hash: the state of a room: sequence, pump lease, counts, products on air.
    #[must_use]
    pub fn room(&self, broadcast: &BroadcastId) -> String {
        format!("{}:room:{broadcast}", self.tag)
    }

    /// Stream: the room's events; the entry id is the sequence number.
    #[must_use]
    pub fn log(&self, broadcast: &BroadcastId) -> String {
        format!("{}:log:{broadcast}", self.tag)
    }

    /// Hash: connection id to what the pump of a shard must know of that viewer.
    #[must_use]
    pub fn viewers(&self, broadcast: &BroadcastId, shard: u8) -> String {
        format!("{}:viewers:{broadcast}:{shard}", self.tag)
    }

    /// List: who came into a shard, with what the viewers have of them, and who went; one a viewers version, the latest.
    #[must_use]
    pub fn changes(&self, broadcast: &BroadcastId, shard: u8) -> String {
        format!("{}:changes:{broadcast}:{shard}", self.tag)
    }

    /// Hash: everybody in a room, by user, with how many connections they have.
    #[must_use]
    pub fn people(&self, broadcast: &BroadcastId) -> String {
        format!("{}:people:{broadcast}", self.tag)
    }

    /// Hash: what the host has decided about the chat of a room. Its fields are in `room/chat/rules.rs`.
    #[must_use]
    pub fn moderation(&self, broadcast: &BroadcastId) -> String {
        format!("{}:moderation:{broadcast}", self.tag)
    }

    /// Sorted set: the connections of a person in a room, by the time they came.
    #[must_use]
    pub fn person(&self, broadcast: &BroadcastId, user: &UserId) -> String {
        format!("{}:person:{broadcast}:{user}", self.tag)
    }

    /// String: how much a person has said in a room lately.
    #[must_use]
    pub fn spoken(&self, broadcast: &BroadcastId, user: &UserId) -> String {
        format!("{}:spoken:{broadcast}:{user}", self.tag)
    }

    /// String: how much a person has liked a room lately.
    #[must_use]
    pub fn liked(&self, broadcast: &BroadcastId, user: &UserId) -> String {
        format!("{}:liked:{broadcast}:{user}", self.tag)
    }

    /// Hash: who is behind a WebSocket connection and in which room. Its fields are in `room/connection.rs`.
    #[must_use]
    pub fn socket(&self, connection_id: &str) -> String {
        format!("{}:socket:{connection_id}", self.tag)
    }

    /// Products whose units moved outside the broadcasts: their listings are to be looked at.
    #[must_use]
    pub fn moved(&self) -> String {
        format!("{}:moved", self.tag)
    }

    /// Those of [`Keys::moved`] that somebody is looking at.
    #[must_use]
    pub fn looking(&self) -> String {
        format!("{}:moved:looking", self.tag)
    }

    /// While it is there, somebody was woken for [`Keys::moved`] a moment ago.
    #[must_use]
    pub fn moved_wake(&self) -> String {
        format!("{}:moved:wake", self.tag)
    }

    /// Listings of a channel to be pushed, by urgency.
    #[must_use]
    pub fn push_ready(&self, channel: &str) -> String {
        format!("{}:push:{channel}", self.tag)
    }

    /// Listings of a channel to be pushed again, by when.
    #[must_use]
    pub fn push_later(&self, channel: &str) -> String {
        format!("{}:push:{channel}:later", self.tag)
    }

    /// How often each of these was put there.
    #[must_use]
    pub fn push_marks(&self, channel: &str) -> String {
        format!("{}:push:{channel}:marks", self.tag)
    }

    /// Who pushes to a channel.
    #[must_use]
    pub fn pushing(&self, channel: &str) -> String {
        format!("{}:pushing:{channel}", self.tag)
    }

    /// Who pulls from a channel.
    #[must_use]
    pub fn pulling(&self, channel: &str) -> String {
        format!("{}:pulling:{channel}", self.tag)
    }

    /// Who goes over past days of a channel.
    #[must_use]
    pub fn sweeping(&self, channel: &str) -> String {
        format!("{}:sweeping:{channel}", self.tag)
    }

    /// When a pull of a channel comes that was put off.
    #[must_use]
    pub fn pull_coming(&self, channel: &str) -> String {
        format!("{}:coming:pull:{channel}", self.tag)
    }

    /// The same of its sweep of past days.
    #[must_use]
    pub fn sweep_coming(&self, channel: &str) -> String {
        format!("{}:coming:sweep:{channel}", self.tag)
    }

    /// A hint of a channel that waits to become a pull.
    #[must_use]
    pub fn hinted(&self, channel: &str) -> String {
        format!("{}:hinted:{channel}", self.tag)
    }

    /// Hash: the newest look at a channel's listings. Its fields are in `channel/look.rs`.
    #[must_use]
    pub fn look(&self, channel: &str) -> String {
        format!("{}:look:{channel}", self.tag)
    }

    /// Whether a channel is pulled from, or left alone for a while, and why.
    #[must_use]
    pub fn pull_circuit(&self, channel: &str) -> String {
        format!("{}:circuit:pull:{channel}", self.tag)
    }

    /// Whether a channel is pushed to, or left alone for a while, and why.
    #[must_use]
    pub fn push_circuit(&self, channel: &str) -> String {
        format!("{}:circuit:push:{channel}", self.tag)
    }

    /// Calls left at a channel, by bucket, as its answers said.
    #[must_use]
    pub fn quotas(&self, channel: &str) -> String {
        format!("{}:quotas:{channel}", self.tag)
    }

    /// An alert that was told a while ago.
    #[must_use]
    pub fn alerted(&self, alert: &str) -> String {
        format!("{}:alerted:{alert}", self.tag)
    }

    /// Calls that may be made to a channel, for what it counts together.
    #[must_use]
    pub fn quota(&self, channel: &str, bucket: &str) -> String {
        format!("{}:quota:{channel}:{bucket}", self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_spelled_exactly_so() {
        let keys = Keys::new("demo");
        let broadcast: BroadcastId = "b1".parse().expect("an id");
        let live = Source::Live(broadcast.clone());
        assert_eq!(keys.gate(&Source::Pool), "{demo}:gate:pool");
        assert_eq!(keys.gate(&live), "{demo}:gate:live:b1");
        assert_eq!(
            keys.gate(&Source::Channel("coupang".into())),
            "{demo}:gate:channel:coupang"
        );
        assert_eq!(keys.deadlines(&live), "{demo}:deadlines:live:b1");
        assert_eq!(keys.extended(&live), "{demo}:extended:live:b1");
        assert_eq!(keys.watermark(), "{demo}:watermark");
        assert_eq!(keys.moved(), "{demo}:moved");
        assert_eq!(keys.looking(), "{demo}:moved:looking");
        assert_eq!(keys.moved_wake(), "{demo}:moved:wake");
        assert_eq!(keys.push_ready("coupang"), "{demo}:push:coupang");
        assert_eq!(keys.push_later("coupang"), "{demo}:push:coupang:later");
        assert_eq!(keys.push_marks("coupang"), "{demo}:push:coupang:marks");
        assert_eq!(keys.pushing("coupang"), "{demo}:pushing:coupang");
        assert_eq!(keys.pulling("coupang"), "{demo}:pulling:coupang");
        assert_eq!(keys.sweeping("coupang"), "{demo}:sweeping:coupang");
        assert_eq!(keys.pull_coming("coupang"), "{demo}:coming:pull:coupang");
        assert_eq!(keys.sweep_coming("coupang"), "{demo}:coming:sweep:coupang");
        assert_eq!(keys.hinted("ownstore"), "{demo}:hinted:ownstore");
        assert_eq!(keys.look("coupang"), "{demo}:look:coupang");
        assert_eq!(keys.pull_circuit("coupang"), "{demo}:circuit:pull:coupang");
        assert_eq!(keys.push_circuit("coupang"), "{demo}:circuit:push:coupang");
        assert_eq!(keys.quotas("coupang"), "{demo}:quotas:coupang");
        assert_eq!(keys.alerted("x"), "{demo}:alerted:x");
        assert_eq!(keys.quota("coupang", "all"), "{demo}:quota:coupang:all");
        assert_eq!(keys.room(&broadcast), "{demo}:room:b1");
        assert_eq!(keys.log(&broadcast), "{demo}:log:b1");
        assert_eq!(keys.viewers(&broadcast, 3), "{demo}:viewers:b1:3");
        assert_eq!(keys.changes(&broadcast, 3), "{demo}:changes:b1:3");
        assert_eq!(keys.people(&broadcast), "{demo}:people:b1");
        assert_eq!(keys.socket("abc="), "{demo}:socket:abc=");
        let user: UserId = "{u}:1".parse().expect("a user id");
        assert_eq!(keys.moderation(&broadcast), "{demo}:moderation:b1");
        assert_eq!(keys.person(&broadcast, &user), "{demo}:person:b1:{u}:1");
        assert_eq!(keys.spoken(&broadcast, &user), "{demo}:spoken:b1:{u}:1");
        assert_eq!(keys.liked(&broadcast, &user), "{demo}:liked:b1:{u}:1");
    }
}
