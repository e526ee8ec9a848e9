//! The circuits of a channel: one that fails is left alone for a while, so that it delays nobody and its own recovery is not run
//! over. Pulls have theirs and pushes theirs: orders that cannot be read are no reason to leave old numbers up, and numbers that are taken
//! do not say that orders can be read.

use std::time::Duration;

use super::{Failure, count};
use crate::{
    clock::{self, Timestamp},
    connection::Redis,
    error::Error,
    keys::Keys,
};

/// Failures in a row that open the circuit.
const FAILURES: u32 = 3;
/// How long it is open at first; each time it opens again, twice as long, up to the last.
const FIRST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(300);
/// How long it is open for credentials that are refused: only a person mends that, and asking on may get us blocked.
const CREDENTIALS: Duration = Duration::from_secs(600);
/// How long it is open for a channel that is left out; it is said again every minute, and a minute after it was put right it is back.
const LEFT_OUT: Duration = Duration::from_secs(90);
/// How long the record is kept, in milliseconds.
const MEMORY_MS: i64 = 86_400_000;

/// Who a circuit is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Orders come.
    Pull,
    /// Numbers and prices go.
    Push,
}

/// The circuits of a shop's channels, of one side.
#[derive(Clone)]
pub struct Circuits {
    redis: Redis,
    keys: Keys,
    side: Side,
}

/// What is known of a circuit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Circuit {
    /// Failures in a row.
    pub failures: u32,
    /// Until when the channel is left alone.
    pub open_until: Option<Timestamp>,
    /// Until when too many calls count as one failure: those that were on their way when the first of them was turned down are turned
    /// down as well.
    pub rush_until: Option<Timestamp>,
}

impl Circuit {
    /// Whether the channel is left alone now.
    #[must_use]
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.open_until.is_some_and(|until| until > now)
    }

    /// Of two circuits of a channel the one that is open for longer.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        if other.open_until > self.open_until {
            other
        } else {
            self
        }
    }

    /// `closed`, `open`, or `half_open`: the next call shows whether the channel is back.
    #[must_use]
    pub fn word(&self, now: Timestamp) -> &'static str {
        match (self.is_open(now), self.open_until) {
            (true, _) => "open",
            (false, Some(_)) => "half_open",
            (false, None) => "closed",
        }
    }

    /// How it is after a failure.
    fn after(self, failure: &Failure, now: Timestamp) -> Self {
        let failures = self.failures.saturating_add(1);
        let mut rush_until = None;
        let again = || {
            let doubled = failures.saturating_sub(FAILURES).min(8);
            (failures >= FAILURES).then(|| (FIRST * (1 << doubled)).min(LONGEST))
        };
        let span = match failure {
            // It is there, and did not like this one thing.
            Failure::Refused(_) => return Self::default(),
            // Nobody asked it.
            Failure::Turn { .. } => return self,
            Failure::Credentials(_) => Some(CREDENTIALS),
            Failure::Later {
                after: Some(span), ..
            } => Some(*span),
            Failure::Limited { .. } if self.rush_until.is_some_and(|until| until > now) => {
                return self;
            }
            Failure::Limited { after, .. } => {
                rush_until = Some(now + *after);
                again().map(|span| span.max(*after))
            }
            Failure::Later { after: None, .. }
            | Failure::Unreadable { .. }
            | Failure::Unknown(_) => again(),
        };
        Self {
            failures,
            open_until: span.map_or(self.open_until, |span| Some(now + span)),
            rush_until,
        }
    }
}

impl Circuits {
    /// The circuits of a side, behind a connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys, side: Side) -> Self {
        Self { redis, keys, side }
    }

    fn place(&self, channel: &str) -> String {
        match self.side {
            Side::Pull => self.keys.pull_circuit(channel),
            Side::Push => self.keys.push_circuit(channel),
        }
    }

    /// The circuit of a channel.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn of(&self, channel: &str) -> Result<Circuit, Error> {
        let mut command = redis::pipe();
        let fields = ["failures", "open_until", "rush_until"];
        command.hmget(self.place(channel), &fields);
        let ((failures, open_until, rush_until),): ((Option<u32>, Option<u64>, Option<u64>),) =
            self.redis.send(&command).await?;
        Ok(Circuit {
            failures: failures.unwrap_or(0),
            open_until: open_until.map(Timestamp::from_millis),
            rush_until: rush_until.map(Timestamp::from_millis),
        })
    }

    /// Takes note that a channel is left out, because its setup is wrong: nobody waits for it.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn leave_out(&self, channel: &str, cause: &str) -> Result<Circuit, Error> {
        let failure = Failure::Later {
            reason: cause.to_owned(),
            after: Some(LEFT_OUT),
        };
        self.note(channel, Err(&failure)).await
    }

    /// Takes note of how a call went. Returns how the circuit is now.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn note(
        &self,
        channel: &str,
        outcome: Result<(), &Failure>,
    ) -> Result<Circuit, Error> {
        let known = self.of(channel).await?;
        let next = match outcome {
            Ok(()) => Circuit::default(),
            Err(failure) => known.after(failure, clock::now()),
        };
        if next == known {
            return Ok(next);
        }
        let now = clock::now();
        if next.is_open(now) && !known.is_open(now) {
            count("channel_circuit_opened", channel, 1);
        }
        let place = self.place(channel);
        let mut commands = redis::pipe();
        commands.atomic().del(&place).ignore();
        if next != Circuit::default() {
            commands.hset(&place, "failures", next.failures).ignore();
            for (field, until) in [
                ("open_until", next.open_until),
                ("rush_until", next.rush_until),
            ] {
                if let Some(until) = until {
                    commands.hset(&place, field, until.millis()).ignore();
                }
            }
            commands.pexpire(&place, MEMORY_MS).ignore();
        }
        self.redis.send::<()>(&commands).await?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_left_alone_longer_and_longer_and_is_back_at_once() {
        let now = Timestamp::from_millis(1_000_000);
        let lost = Failure::Unknown("lost".to_owned());
        let mut circuit = Circuit::default();
        let mut spans = Vec::new();
        for _ in 0..10 {
            circuit = circuit.after(&lost, now);
            spans.push(
                circuit
                    .open_until
                    .map_or(0, |until| until.since(now).as_secs()),
            );
        }
        assert_eq!(spans, [0, 0, 10, 20, 40, 80, 160, 300, 300, 300]);
        let refused = circuit.after(&Failure::Refused("no such item".to_owned()), now);
        assert_eq!(
            refused,
            Circuit::default(),
            "a channel that refuses is there"
        );
        let told = Circuit::default().after(
            &Failure::Later {
                reason: "sanction".to_owned(),
                after: Some(Duration::from_secs(3_600)),
            },
            now,
        );
        assert_eq!(told.word(now), "open");
        assert_eq!(told.word(now + Duration::from_secs(3_600)), "half_open");
    }

    #[test]
    fn too_many_calls_open_it_when_they_are_said_again_and_again() {
        let mut now = Timestamp::from_millis(1_000_000);
        let limited = |seconds| Failure::Limited {
            reason: "429".to_owned(),
            after: Duration::from_secs(seconds),
        };
        let mut circuit = Circuit::default();
        for word in ["closed", "closed", "open"] {
            // Four that were on their way are turned down together.
            for _ in 0..4 {
                circuit = circuit.after(&limited(15), now);
            }
            assert_eq!(circuit.word(now), word, "{circuit:?}");
            now = now + Duration::from_secs(15);
        }
        assert_eq!(circuit.failures, 3);
        assert_eq!(circuit.open_until, Some(now), "as long as was said");
        let long = circuit.after(&limited(1), now);
        assert_eq!(long.open_until, Some(now + Duration::from_secs(20)));
    }
}
