//! `frame`: the pump's one call a frame.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script};

use super::{Rooms, Shard};
use crate::{clock::Timestamp, error::Error, stock::Source};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("frame.lua")));

/// An event of the room's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedEvent {
    /// Its sequence number.
    pub seq: u64,
    /// The only user it is for; `None` is everyone.
    pub to: Option<String>,
    /// The event.
    pub json: String,
}

impl LoggedEvent {
    /// Whether viewers wait for it more than for what is said: it goes first in a frame.
    #[must_use]
    pub fn is_urgent(&self) -> bool {
        let kind = self.json.strip_prefix(r#"{"type":""#);
        let kind = kind.and_then(|rest| rest.split('"').next());
        matches!(
            kind,
            Some("order_result" | "product_spotlight" | "product_closed")
        )
    }
}

/// The answer to a pump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Another pump has the lease.
    Lost,
    /// Redis has forgotten the lease, and viewers with it.
    Forgotten,
    /// There was nothing to send, and the lease is given up.
    Ended,
    /// There is nothing to send.
    Quiet {
        /// Sequence number of the last event.
        head: u64,
        /// Grows when viewers come or go.
        viewers_version: u64,
        /// The viewers version that has `head`.
        served: u64,
        /// Connections of the whole room.
        connections: u64,
    },
    /// These events are to be sent.
    Frame {
        /// They come after this one.
        from: u64,
        /// The last of them.
        head: u64,
        /// Grows when viewers come or go.
        viewers_version: u64,
        /// The viewers version that has `from`.
        served: u64,
        /// Connections of the whole room.
        connections: u64,
        /// Themselves.
        events: Vec<LoggedEvent>,
    },
}

/// What a pump says when it asks for the next frame.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Its token.
    pub token: &'a str,
    /// Until when it wants the lease.
    pub until: Timestamp,
    /// Up to where the last frame was sent, and to which viewers version.
    pub sent: Option<(u64, u64)>,
    /// Whether to end if there is nothing to send.
    pub end: bool,
}

impl Rooms {
    /// Settles the last frame of the shard and claims the next.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn claim_frame(
        &self,
        Shard { broadcast, number }: &Shard,
        ask: &Ask<'_>,
        now: Timestamp,
    ) -> Result<Claim, Error> {
        let mut call = SCRIPT.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast))
            .key(self.keys.gate(&Source::Live(broadcast.clone())))
            .key(self.keys.people(broadcast))
            .arg(ask.token)
            .arg(ask.until.millis())
            .arg(
                ask.sent
                    .map_or_else(String::new, |(head, _)| head.to_string()),
            )
            .arg(ask.sent.map_or_else(String::new, |(_, viewers_version)| {
                viewers_version.to_string()
            }))
            .arg(u8::from(ask.end))
            .arg(now.to_string())
            .arg(now.millis())
            .arg(number);
        let answer: Vec<String> = self.redis.run(&call).await?;
        Ok(decode(answer)?)
    }
}

fn decode(answer: Vec<String>) -> Result<Claim, RedisError> {
    let mut words = answer.into_iter();
    let word = words.next().ok_or_else(malformed)?;
    let mut number = || {
        words
            .next()
            .and_then(|word| word.parse::<u64>().ok())
            .ok_or_else(malformed)
    };
    Ok(match word.as_str() {
        "lost" => Claim::Lost,
        "forgotten" => Claim::Forgotten,
        "ended" => Claim::Ended,
        "quiet" => Claim::Quiet {
            head: number()?,
            viewers_version: number()?,
            served: number()?,
            connections: number()?,
        },
        "frame" => {
            let (head, viewers_version, served, connections, from) =
                (number()?, number()?, number()?, number()?, number()?);
            Claim::Frame {
                from,
                head,
                viewers_version,
                served,
                connections,
                events: read_events(words)?,
            }
        }
        _ => return Err(malformed()),
    })
}

/// Events as a script answers with them: sequence number, user or "", JSON.
pub(super) fn read_events(
    mut words: impl Iterator<Item = String>,
) -> Result<Vec<LoggedEvent>, RedisError> {
    let mut events = Vec::new();
    while let Some(seq) = words.next() {
        events.push(LoggedEvent {
            seq: seq.parse().map_err(|_| malformed())?,
            to: words.next().filter(|user| !user.is_empty()),
            json: words.next().ok_or_else(malformed)?,
        });
    }
    Ok(events)
}

fn malformed() -> RedisError {
    RedisError::from((ErrorKind::Parse, "a room answered with something else"))
}
