//! Moderation: what a host does about the chat of a broadcast.
//!
//! The catalogue first, then Redis, then the room's log: a newcomer who does not get the event any more finds what it says in
//! the snapshot, and a Redis that loses its memory is told again.

use futures::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::{MAX_TRIES, Request, Studio};
use crate::{
    auth::UserId,
    catalog::{Ban, Moderation},
    clock::{self, Timestamp},
    error::{Error, Language},
    id::BroadcastId,
    room::{
        Event,
        chat::{Found, Refusal, words},
        socket::direct,
    },
};

/// The longest time between two messages of a person that a host may ask for, in seconds.
pub const MAX_SLOW_MODE: u32 = 600;
/// How many people may be banned from one broadcast. With the longest ids and reasons they fill the item they are kept in.
pub const MAX_BANS: usize = 1_000;
/// The longest reason of a ban, in characters.
pub const MAX_REASON: usize = 40;
/// Connections that are closed at once.
const CLOSES_AT_ONCE: usize = 8;

/// The body of `POST /broadcasts/{broadcast_id}/moderation`.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum ModerationBody {
    /// Takes a message back.
    Delete {
        /// Which.
        message_id: String,
    },
    /// A person may not be in the room any more.
    Ban {
        /// Who.
        user_id: UserId,
        /// Why, for the host's list.
        #[serde(default)]
        reason: Option<String>,
    },
    /// They may again.
    Unban {
        /// Who.
        user_id: UserId,
    },
    /// Nobody but the host may speak.
    Freeze,
    /// All may again.
    Unfreeze,
    /// Everyone waits between two messages.
    SlowMode {
        /// So many seconds; 0 ends it.
        seconds: u32,
    },
    /// Pins a message to the room, in place of another.
    Pin {
        /// Which; null takes it off. It has to be said: leaving it out by mistake would unpin.
        #[serde(deserialize_with = "said")]
        message_id: Option<String>,
    },
    /// Bans words, in place of those before.
    Words {
        /// Which; none ends it.
        words: Vec<String>,
    },
}

fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(deserializer)
}

impl Studio {
    /// Moderates a broadcast, and returns its moderation as it is then.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] if there is no such broadcast or message, or a store failed; asking again with
    /// the same Idempotency-Key is safe.
    pub async fn moderate(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        body: ModerationBody,
    ) -> Result<Value, Error> {
        let change = check(request, body)?;
        self.catalog.broadcast(broadcast).await?;
        let now = clock::now();
        let standing = match &change {
            ModerationBody::Delete { message_id } => {
                self.delete(request, broadcast, message_id, now).await?
            }
            ModerationBody::Pin {
                message_id: Some(message_id),
            } => {
                let Found::Message(message) = self.rooms.find(broadcast, message_id).await? else {
                    return Err(Error::NotFound("message"));
                };
                let pinned = Some(&message);
                self.change(request, broadcast, &change, pinned, now)
                    .await?
            }
            ModerationBody::Ban { .. }
            | ModerationBody::Unban { .. }
            | ModerationBody::Freeze
            | ModerationBody::Unfreeze
            | ModerationBody::SlowMode { .. }
            | ModerationBody::Pin { message_id: None }
            | ModerationBody::Words { .. } => {
                self.change(request, broadcast, &change, None, now).await?
            }
        };
        Ok(shown(broadcast, standing))
    }

    /// Takes a message back: from the pin first, because the event is what says that it is done.
    async fn delete(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        message_id: &str,
        now: Timestamp,
    ) -> Result<Moderation, Error> {
        let known = self.catalog.moderation(broadcast).await?;
        let is_pinned = known
            .pinned
            .as_ref()
            .is_some_and(|pinned| pinned["id"] == message_id);
        let standing = if is_pinned {
            let unpin = ModerationBody::Pin { message_id: None };
            self.change(request, broadcast, &unpin, None, now).await?
        } else {
            known
        };
        match self.rooms.find(broadcast, message_id).await? {
            Found::Never if !is_pinned => return Err(Error::NotFound("message")),
            Found::Deleted => {}
            Found::Message(_) | Found::Forgotten | Found::Never => {
                self.tell(broadcast, "delete", json!(message_id), None, now)
                    .await?;
            }
        }
        Ok(standing)
    }

    /// Writes a change down, then sees to it that it is so.
    async fn change(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        change: &ModerationBody,
        message: Option<&Value>,
        now: Timestamp,
    ) -> Result<Moderation, Error> {
        for _ in 0..MAX_TRIES {
            let known = self.catalog.moderation(broadcast).await?;
            let mut changed = known.clone();
            apply(&mut changed, change, message, now)?;
            if known.was_changed_by(&request.id) {
                // Sent again, because its answer was lost or it broke off. What was decided otherwise since stands.
                if changed == known {
                    self.see_to(broadcast, change, &known, now).await?;
                }
                return Ok(known);
            }
            let next = changed.next(&request.id);
            if self.catalog.put_moderation(broadcast, &next).await? {
                self.see_to(broadcast, change, &next, now).await?;
                return Ok(next);
            }
        }
        Err(Error::Conflict)
    }

    /// Everything that follows from a change that is written down; doing it twice does no harm.
    async fn see_to(
        &self,
        broadcast: &BroadcastId,
        change: &ModerationBody,
        standing: &Moderation,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.rooms.follow_moderation(broadcast, standing).await?;
        let (action, target) = event(change);
        let message = matches!(change, ModerationBody::Pin { .. })
            .then(|| standing.pinned.clone())
            .flatten();
        self.tell(broadcast, action, target, message, now).await?;
        if let ModerationBody::Ban { user_id, .. } = change {
            self.put_out(broadcast, user_id).await?;
        }
        Ok(())
    }

    async fn tell(
        &self,
        broadcast: &BroadcastId,
        action: &'static str,
        target: Value,
        message: Option<Value>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let event = Event::Moderation {
            action,
            target,
            message,
        };
        self.rooms.append(broadcast, &[(None, event)], now).await
    }

    /// Closes every connection that a person has to the room, and says why. No new one comes in: Redis knows of the ban.
    async fn put_out(&self, broadcast: &BroadcastId, user: &UserId) -> Result<(), Error> {
        let connections = self.rooms.connections_of(broadcast, user).await?;
        let ids: Vec<&str> = connections.iter().map(String::as_str).collect();
        self.rooms.leave_all(broadcast, &ids).await?;
        let why = Event::refused(&Error::Refused(Refusal::Banned), Language::Korean);
        let why = direct(0, &why);
        stream::iter(connections)
            .map(async |connection| {
                // Whoever cannot be told is put out all the same.
                let _posted = self.post.send(&connection, &why).await;
                self.post.close(&connection).await
            })
            .buffer_unordered(CLOSES_AT_ONCE)
            .try_collect()
            .await
    }
}

/// The body as it may be, whatever the state of the broadcast.
fn check(request: &Request, mut body: ModerationBody) -> Result<ModerationBody, Error> {
    match &mut body {
        ModerationBody::Ban { user_id, reason } => {
            if *user_id == request.by {
                return Err(Error::invalid("user_id", "another user"));
            }
            if let Some(reason) = reason {
                *reason = reason.trim().to_owned();
                let length = reason.chars().count();
                if !(1..=MAX_REASON).contains(&length) || reason.chars().any(char::is_control) {
                    return Err(Error::invalid("reason", format!("1..={MAX_REASON}")));
                }
            }
        }
        ModerationBody::SlowMode { seconds } => {
            if *seconds > MAX_SLOW_MODE {
                return Err(Error::invalid("seconds", format!("0..={MAX_SLOW_MODE}")));
            }
        }
        ModerationBody::Words { words } => *words = words::check(std::mem::take(words))?,
        ModerationBody::Delete { .. }
        | ModerationBody::Unban { .. }
        | ModerationBody::Freeze
        | ModerationBody::Unfreeze
        | ModerationBody::Pin { .. } => {}
    }
    Ok(body)
}

fn apply(
    state: &mut Moderation,
    change: &ModerationBody,
    message: Option<&Value>,
    now: Timestamp,
) -> Result<(), Error> {
    match change {
        ModerationBody::Ban { user_id, reason } => {
            if state.bans.len() >= MAX_BANS && !state.bans.contains_key(user_id) {
                return Err(Error::invalid("user_id", format!("<= {MAX_BANS}")));
            }
            let ban = state.bans.entry(user_id.clone()).or_insert(Ban {
                reason: None,
                since: now,
            });
            if reason.is_some() {
                ban.reason.clone_from(reason);
            }
        }
        ModerationBody::Unban { user_id } => {
            state.bans.remove(user_id);
        }
        ModerationBody::Freeze => state.frozen = true,
        ModerationBody::Unfreeze => state.frozen = false,
        ModerationBody::SlowMode { seconds } => state.slow_mode = *seconds,
        ModerationBody::Pin { .. } => state.pinned = message.cloned(),
        ModerationBody::Words { words } => state.words.clone_from(words),
        // It is about the log, not about the state.
        ModerationBody::Delete { .. } => {}
    }
    Ok(())
}

/// What the room is told. Not which words are banned: that is a list of bad words.
fn event(change: &ModerationBody) -> (&'static str, Value) {
    match change {
        ModerationBody::Delete { message_id } => ("delete", json!(message_id)),
        ModerationBody::Ban { user_id, .. } => ("ban", json!(user_id)),
        ModerationBody::Unban { user_id } => ("unban", json!(user_id)),
        ModerationBody::Freeze => ("freeze", Value::Null),
        ModerationBody::Unfreeze => ("unfreeze", Value::Null),
        ModerationBody::SlowMode { seconds } => ("slow_mode", json!(seconds)),
        ModerationBody::Pin { message_id } => ("pin", json!(message_id)),
        ModerationBody::Words { .. } => ("words", Value::Null),
    }
}

/// The moderation as its host reads it.
fn shown(broadcast: &BroadcastId, state: Moderation) -> Value {
    let bans: Vec<Value> = state
        .bans
        .iter()
        .map(|(user, ban)| json!({ "user_id": user, "reason": ban.reason, "since": ban.since }))
        .collect();
    json!({
        "broadcast_id": broadcast,
        "version": state.version,
        "frozen": state.frozen,
        "slow_mode_s": state.slow_mode,
        "pinned": state.pinned,
        "words": state.words,
        "bans": bans,
    })
}
