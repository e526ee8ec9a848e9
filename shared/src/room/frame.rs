//! `frame`: the pump's one call a frame.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script};

use super::{LOG_LENGTH, Rooms};
use crate::{clock::Timestamp, error::Error, id::BroadcastId, stock::Source};

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

/// The answer to a pump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Another pump has the lease.
    Lost,
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
    /// People watching, once it knows.
    pub people: Option<usize>,
}

impl Rooms {
    /// Settles the last frame of the room and claims the next.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn claim_frame(
        &self,
        broadcast: &BroadcastId,
        ask: &Ask<'_>,
        now: Timestamp,
    ) -> Result<Claim, Error> {
        let mut call = SCRIPT.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast))
            .key(self.keys.gate(&Source::Live(broadcast.clone())))
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
            .arg(LOG_LENGTH)
            .arg(now.to_string())
            .arg(
                ask.people
                    .map_or_else(String::new, |people| people.to_string()),
            )
            .arg(now.millis());
        let answer: Vec<String> = self.redis.run(&call).await?;
        Ok(decode(answer)?)
    }
}

fn decode(answer: Vec<String>) -> Result<Claim, RedisError> {
    let malformed = || RedisError::from((ErrorKind::Parse, "frame answered with something else"));
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
        "ended" => Claim::Ended,
        "quiet" => Claim::Quiet {
            head: number()?,
            viewers_version: number()?,
            served: number()?,
        },
        "frame" => {
            let (head, viewers_version, served, from) =
                (number()?, number()?, number()?, number()?);
            let mut events = Vec::new();
            while let Some(seq) = words.next() {
                events.push(LoggedEvent {
                    seq: seq.parse().map_err(|_| malformed())?,
                    to: words.next().filter(|user| !user.is_empty()),
                    json: words.next().ok_or_else(malformed)?,
                });
            }
            Claim::Frame {
                from,
                head,
                viewers_version,
                served,
                events,
            }
        }
        _ => return Err(malformed()),
    })
}
