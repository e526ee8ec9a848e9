//! `frame`: the pump's one call a frame.

use std::sync::LazyLock;

use redis::{ErrorKind, RedisError, Script};

use super::{Rooms, Shard, viewers::Change};
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
    /// The frame to be sent.
    Frame(Claimed),
}

/// A frame of a shard. It has no events if nothing is new: whoever is behind is to catch up then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    /// Its events come after this one.
    pub from: u64,
    /// The last event of the log that counts.
    pub head: u64,
    /// Grows when viewers come or go.
    pub viewers_version: u64,
    /// The viewers version that has what is settled.
    pub served: u64,
    /// Connections of the whole room.
    pub connections: u64,
    /// Where frames end that somebody may have posted before, if nothing new is claimed; ascending, the last of them is `head`.
    pub claimed: Vec<u64>,
    /// Who came and went since the viewers version of the last frame; `None` if all viewers are to be read.
    pub changes: Option<Vec<Change>>,
    /// Those after `from`.
    pub events: Vec<LoggedEvent>,
}

impl Claimed {
    /// Whether something happened since the frame before.
    #[must_use]
    pub const fn is_news(&self) -> bool {
        self.head != self.from
    }
}

/// What a pump says when it asks for the next frame.
#[derive(Debug, Clone)]
pub struct Ask<'a> {
    /// Its token.
    pub token: &'a str,
    /// Until when it wants the lease.
    pub until: Timestamp,
    /// The frame it is at, if it has claimed one.
    pub last: Option<Last>,
    /// Whether to end if there is nothing to send.
    pub end: bool,
}

/// The frame that a pump claimed last.
#[derive(Debug, Clone, Copy)]
pub struct Last {
    /// Sequence number of its last event.
    pub head: u64,
    /// The viewers version it is for.
    pub viewers_version: u64,
    /// Whether it is still being sent, and is to grow by what is new.
    pub under_way: bool,
}

impl Rooms {
    /// Settles the last frame of the shard and claims the next, or lets the one that is under way grow.
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
            .key(self.keys.changes(broadcast, *number))
            .arg(ask.token)
            .arg(ask.until.millis())
            .arg(ask.last.map_or_else(String::new, |it| it.head.to_string()))
            .arg(
                ask.last
                    .map_or_else(String::new, |it| it.viewers_version.to_string()),
            )
            .arg(u8::from(ask.end))
            .arg(now.to_string())
            .arg(now.millis())
            .arg(number)
            .arg(u8::from(ask.last.is_some_and(|it| it.under_way)));
        let answer: Vec<String> = self.redis.run(&call).await?;
        Ok(decode(answer)?)
    }
}

fn decode(answer: Vec<String>) -> Result<Claim, RedisError> {
    let mut words = answer.into_iter();
    let mut word = || words.next().ok_or_else(malformed);
    let number = |word: &str| word.parse::<u64>().map_err(|_| malformed());
    Ok(match word()?.as_str() {
        "lost" => Claim::Lost,
        "forgotten" => Claim::Forgotten,
        "ended" => Claim::Ended,
        "frame" => Claim::Frame(Claimed {
            from: number(&word()?)?,
            head: number(&word()?)?,
            viewers_version: number(&word()?)?,
            served: number(&word()?)?,
            connections: number(&word()?)?,
            claimed: word()?
                .split_whitespace()
                .map(number)
                .collect::<Result<_, _>>()?,
            changes: match word()?.as_str() {
                "" => None,
                count => {
                    let changes = (0..number(count)?).map(|_| Change::read(word()?));
                    Some(changes.collect::<Result<_, _>>()?)
                }
            },
            events: read_events(words)?,
        }),
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
