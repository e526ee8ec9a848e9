//! What has to be pushed to a channel: products whose number or price may be another one there, the most urgent first.
//!
//! A list in Redis and no messages on a queue: a product that changes ten times while its channel is slow is in it once, a
//! number that goes down overtakes those that go up, and a channel that is away for an hour fills no dead-letter queue. It is a
//! list of suspicions; the ledger and the listing say what is to be shown, and the sweep finds what a lost Redis forgot.

use std::{collections::BTreeMap, sync::LazyLock, time::Duration};

use redis::Script;

use super::quota::Urgency;
use crate::{clock::Timestamp, connection::Redis, error::Error, id::ProductId, keys::Keys};

static BACKLOG: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("backlog.lua")));
static SUSPECT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("suspect.lua")));
static PUSHED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("pushed.lua")));

/// How long a runner has its channel. A push takes at most a handful of calls of 20 s; the lease is renewed before each.
const LEASE: Duration = Duration::from_secs(90);
/// One class of urgency apart, in the scores: above every time in milliseconds.
const CLASS: f64 = 1e13;

/// The backlogs of a shop's channels.
#[derive(Clone)]
pub struct Backlog {
    redis: Redis,
    keys: Keys,
}

/// What is known of a listing whose product moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suspicion {
    /// It shows something else than it should.
    Differs(Urgency),
    /// It shows what it should; but if it is on the backlog, somebody may be writing an older number just now.
    Agrees,
}

/// A listing to be pushed.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Of which product.
    pub product: ProductId,
    /// Its place on the list.
    score: f64,
    /// How often it was put there when it was handed out.
    marks: String,
}

impl Due {
    /// Who goes first when calls are scarce: it as well as its place on the list.
    #[must_use]
    pub fn urgency(&self) -> Urgency {
        if self.score < CLASS {
            Urgency::Down
        } else if self.score < 2.0 * CLASS {
            Urgency::Order
        } else if self.score < 3.0 * CLASS {
            Urgency::Up
        } else {
            Urgency::Sweep
        }
    }
}

/// The answer to [`Backlog::next`].
#[derive(Debug, Clone, PartialEq)]
pub enum Turn {
    /// Another runner has the channel.
    Other,
    /// The caller has it, and this is to be done.
    Mine(Vec<Due>),
}

impl Backlog {
    /// The backlogs behind a connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// Somebody is awake: units that move from now on wake the next.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn woken(&self) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.del(self.keys.moved_wake()).ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// Products whose units moved in the gate since somebody looked, some of them.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn moved(&self, most: isize) -> Result<Vec<ProductId>, Error> {
        let mut command = redis::pipe();
        command.srandmember_multiple(self.keys.moved(), most);
        let (products,): (Vec<String>,) = self.redis.send(&command).await?;
        Ok(products
            .into_iter()
            .filter_map(|product| product.parse().ok())
            .collect())
    }

    /// Takes a product off the list of those that moved; before it is looked at, so that a move meanwhile puts it back. Until it is
    /// said to be [`looked_at`](Self::looked_at) it is remembered, should who looks at it die.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn take_moved(&self, product: &ProductId) -> Result<(), Error> {
        let mut command = redis::pipe();
        command
            .smove(self.keys.moved(), self.keys.looking(), product.as_str())
            .ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// Products were looked at, and what differs is on the backlogs.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn looked_at(&self, products: &[ProductId]) -> Result<(), Error> {
        if products.is_empty() {
            return Ok(());
        }
        let products: Vec<&str> = products.iter().map(ProductId::as_str).collect();
        let mut command = redis::pipe();
        command.srem(self.keys.looking(), products).ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// Products that somebody took to look at are on the list again: who did may have died. One that is looked at just now is looked at
    /// twice.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn look_again(&self) -> Result<(), Error> {
        let (moved, looking) = (self.keys.moved(), self.keys.looking());
        let mut commands = redis::pipe();
        commands
            .atomic()
            .sunionstore(&moved, &[&moved, &looking])
            .ignore()
            .del(&looking)
            .ignore();
        Ok(self.redis.send(&commands).await?)
    }

    /// Puts a product on the list of those that moved: its listings are to be looked at.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn put_moved(&self, product: &ProductId) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.sadd(self.keys.moved(), product.as_str()).ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// Puts products on the backlog of a channel. One that is on it already keeps the more urgent place, and is looked at once more if
    /// somebody has it in hand.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn add(
        &self,
        channel: &str,
        products: &[(ProductId, Suspicion)],
        now: Timestamp,
    ) -> Result<(), Error> {
        if products.is_empty() {
            return Ok(());
        }
        let mut call = SUSPECT.key(self.keys.push_ready(channel));
        call.key(self.keys.push_marks(channel));
        for (product, suspicion) in products {
            let (urgency, only_again) = match suspicion {
                Suspicion::Differs(urgency) => (*urgency, false),
                Suspicion::Agrees => (Urgency::Up, true),
            };
            call.arg(product.as_str())
                .arg(score(urgency, now))
                .arg(u8::from(only_again));
        }
        let _: u8 = self.redis.run(&call).await?;
        Ok(())
    }

    /// Takes or keeps the turn on a channel, and says what is to be done first.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn next(
        &self,
        channel: &str,
        token: &str,
        most: usize,
        now: Timestamp,
    ) -> Result<Turn, Error> {
        let mut call = BACKLOG.key(self.keys.push_ready(channel));
        call.key(self.keys.push_later(channel))
            .key(self.keys.pushing(channel))
            .key(self.keys.push_marks(channel))
            .arg(now.millis())
            .arg(token)
            .arg(LEASE.as_millis() as u64)
            .arg(most);
        let words: Vec<String> = self.redis.run(&call).await?;
        if words.first().map(String::as_str) != Some("turn") {
            return Ok(Turn::Other);
        }
        let due = words[1..].chunks(3).filter_map(|due| {
            Some(Due {
                product: due.first()?.parse().ok()?,
                score: due.get(1)?.parse().ok()?,
                marks: due.get(2)?.clone(),
            })
        });
        Ok(Turn::Mine(due.collect()))
    }

    /// A product was tried: it is done, or to be tried again at `again`.
    ///
    /// # Errors
    /// Redis did not answer; asking again is safe.
    pub async fn tried(
        &self,
        channel: &str,
        due: &Due,
        again: Option<Timestamp>,
    ) -> Result<(), Error> {
        let mut call = PUSHED.key(self.keys.push_ready(channel));
        call.key(self.keys.push_later(channel))
            .key(self.keys.push_marks(channel))
            .arg(due.product.as_str())
            .arg(&due.marks)
            .arg(again.map_or_else(String::new, |at| at.millis().to_string()));
        let _: u8 = self.redis.run(&call).await?;
        Ok(())
    }

    /// Gives the turn on a channel back.
    ///
    /// # Errors
    /// Redis did not answer; the lease ends by itself.
    pub async fn leave(&self, channel: &str) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.del(self.keys.pushing(channel)).ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// Calls that may be made to a channel now, by what it counts together, as far as its answers said.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn quota_left(&self, channel: &str) -> Result<BTreeMap<String, u64>, Error> {
        let mut command = redis::pipe();
        command.hgetall(self.keys.quotas(channel));
        let (left,): (BTreeMap<String, u64>,) = self.redis.send(&command).await?;
        Ok(left)
    }

    /// How many products are on the backlog of a channel, and how many of these are to be tried now.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn waiting(&self, channel: &str, now: Timestamp) -> Result<(u64, u64), Error> {
        let mut command = redis::pipe();
        command
            .zcard(self.keys.push_ready(channel))
            .zcard(self.keys.push_later(channel))
            .zcount(self.keys.push_later(channel), "-inf", now.millis());
        let (ready, later, due): (u64, u64, u64) = self.redis.send(&command).await?;
        Ok((ready + later, ready + due))
    }
}

fn score(urgency: Urgency, now: Timestamp) -> f64 {
    let class = match urgency {
        Urgency::Down => 0.0,
        Urgency::Order => 1.0,
        Urgency::Up => 2.0,
        Urgency::Sweep => 3.0,
    };
    class * CLASS + now.millis() as f64
}
