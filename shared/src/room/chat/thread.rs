//! Messages in a room's log: finding one, and which are taken back.
//!
//! A message that is deleted stays in the log, because the sequence has no gaps; the `moderation` event after it says that it
//! is gone. Whoever reads a part of the log up to its head has both, so no list of what is deleted is kept anywhere.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::super::Rooms;
use crate::{clock::Timestamp, error::Error, id::BroadcastId};

/// Events that are read at once when a message is looked for.
const PAGE: usize = 500;
/// How far the clocks of two functions may be apart, in milliseconds: a message may stand so far behind a later one.
const CLOCKS_APART_MS: u64 = 60_000;

/// What is known of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Found {
    /// This is it, as viewers read it.
    Message(Value),
    /// It was deleted.
    Deleted,
    /// It is older than the log, or Redis has forgotten it; it may be on screens all the same.
    Forgotten,
    /// There never was such a message.
    Never,
}

/// An id for a message that is said now. It begins with the time, so that [`Rooms::find`] knows how far to look.
pub(in crate::room) fn message_id(now: Timestamp) -> String {
    format!("{:x}-{:08x}", now.millis(), fastrand::u32(..))
}

fn said_at(id: &str) -> Option<u64> {
    let (millis, random) = id.split_once('-')?;
    u32::from_str_radix(random, 16).ok()?;
    u64::from_str_radix(millis, 16).ok()
}

/// The id of a message, if this event is one.
pub(in crate::room) fn id_of(event: &str) -> Option<&str> {
    id_after(event, r#"{"type":"chat","id":""#)
}

/// The messages that these events take back.
pub(in crate::room) fn deleted_in<'e>(events: impl Iterator<Item = &'e str>) -> HashSet<String> {
    let deleted = events.filter_map(deletes);
    deleted.map(str::to_owned).collect()
}

fn deletes(event: &str) -> Option<&str> {
    id_after(
        event,
        r#"{"type":"moderation","action":"delete","target":""#,
    )
}

fn id_after<'e>(event: &'e str, beginning: &str) -> Option<&'e str> {
    event.strip_prefix(beginning)?.split('"').next()
}

impl Rooms {
    /// Looks for a message, from the newest event backwards.
    ///
    /// # Errors
    /// Redis did not answer, or an event cannot be read.
    pub async fn find(&self, broadcast: &BroadcastId, id: &str) -> Result<Found, Error> {
        let Some(said_at_ms) = said_at(id) else {
            return Ok(Found::Never);
        };
        let mut end = "+".to_owned();
        loop {
            let mut read = redis::pipe();
            read.cmd("XREVRANGE")
                .arg(self.keys.log(broadcast))
                .arg(&end)
                .arg("-")
                .arg("COUNT")
                .arg(PAGE);
            let (page,): (Vec<(String, HashMap<String, String>)>,) = self.redis.send(&read).await?;
            for event in page.iter().filter_map(|(_, fields)| fields.get("event")) {
                if deletes(event) == Some(id) {
                    return Ok(Found::Deleted);
                }
                match id_of(event) {
                    Some(found) if found == id => {
                        let mut message = super::super::parse(event)?;
                        if let Value::Object(members) = &mut message {
                            members.remove("type");
                        }
                        return Ok(Found::Message(message));
                    }
                    Some(other)
                        if said_at(other).is_some_and(|at| at + CLOCKS_APART_MS < said_at_ms) =>
                    {
                        return Ok(Found::Never);
                    }
                    _ => {}
                }
            }
            match page.last() {
                Some((oldest, _)) if page.len() == PAGE => end = format!("({oldest}"),
                _ => return Ok(Found::Forgotten),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{super::super::Event, *};

    #[test]
    fn what_is_deleted_is_read_from_the_events_themselves() {
        let now = Timestamp::from_millis(1_795_219_200_123);
        let id = message_id(now);
        assert_eq!(said_at(&id), Some(now.millis()));
        let chat = Event::Chat {
            id: id.clone(),
            user_id: "u1".parse().expect("an id"),
            name: "이름".to_owned(),
            message: r#"{"type":"moderation","action":"delete","target":"x""#.to_owned(),
            timestamp: now,
        }
        .to_json();
        let delete = Event::Moderation {
            action: "delete",
            target: json!(id),
            message: None,
        }
        .to_json();
        assert_eq!(id_of(&chat), Some(id.as_str()));
        assert_eq!(id_of(&delete), None);
        let deleted = deleted_in([chat.as_str(), delete.as_str()].into_iter());
        assert_eq!(
            deleted,
            HashSet::from([id]),
            "what somebody says deletes nothing"
        );
    }

    #[test]
    fn what_is_no_id_of_a_message_is_none() {
        for id in ["", "-", "x-1", "1-x", "19", "1-2-3"] {
            assert_eq!(said_at(id), None, "{id:?}");
        }
    }
}
