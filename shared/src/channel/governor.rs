//! The quota of a channel in Redis, the same for all its runners.

use std::{sync::LazyLock, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use redis::Script;

use super::{
    Failure, count,
    quota::{Quota, Rate, Seen, Urgency},
};
use crate::{clock, connection::Redis, keys::Keys};

static QUOTA: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("quota.lua")));
static OBSERVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("observe.lua")));

/// The longest a call waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// What is used of a rate, and of the calls that can be made at once: calls that leave here spaced may arrive there bunched.
const CAUTION: f64 = 0.95;
const BURST_CAUTION: f64 = 0.5;

/// The quota of one channel.
#[derive(Clone)]
pub struct Governor {
    redis: Redis,
    keys: Keys,
    channel: String,
}

impl Governor {
    /// The quota of this channel.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys, channel: &str) -> Self {
        Self {
            redis,
            keys,
            channel: channel.to_owned(),
        }
    }

    async fn turn(&self, bucket: &str, rate: Rate, urgency: Urgency) -> Result<(), Failure> {
        let started = tokio::time::Instant::now();
        let bucket_key = self.keys.quota(&self.channel, bucket);
        let rate = cautious(rate);
        loop {
            let mut call = QUOTA.key(&bucket_key);
            call.arg(clock::now().millis())
                .arg(rate.per_second)
                .arg(rate.burst)
                .arg(left_to_others(urgency));
            let wait = match self.redis.run::<u64>(&call).await {
                Ok(0) => return Ok(()),
                Ok(wait) => Duration::from_millis(wait),
                // A quota that cannot be asked is no reason to oversell: alone, at half the rate.
                Err(error) => {
                    tracing::warn!(error = %error, channel = self.channel, "the quota is not known; going slowly");
                    tokio::time::sleep(Duration::from_secs_f64(2.0 / rate.per_second)).await;
                    return Ok(());
                }
            };
            if started.elapsed() + wait > PATIENCE {
                return Err(Failure::Turn {
                    reason: format!("the quota of {bucket} is used up"),
                    after: wait,
                });
            }
            tokio::time::sleep(wait).await;
        }
    }

    async fn note(&self, bucket: &str, seen: Seen) {
        let (left, rate, blocked) = match seen {
            Seen::Left { calls, rate } => (calls.to_string(), rate.map(cautious), 0),
            Seen::Blocked(span) => {
                count("channel_blocked", &self.channel, 1);
                let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
                ("0".to_owned(), None, millis)
            }
        };
        let mut call = OBSERVE.key(self.keys.quota(&self.channel, bucket));
        call.key(self.keys.quotas(&self.channel));
        call.arg(clock::now().millis())
            .arg(left)
            .arg(rate.map_or_else(String::new, |rate| rate.per_second.to_string()))
            .arg(rate.map_or_else(String::new, |rate| rate.burst.to_string()))
            .arg(blocked)
            .arg(bucket);
        if let Err(error) = self.redis.run::<u8>(&call).await {
            tracing::warn!(error = %error, channel = self.channel, "the quota was not told");
        }
    }
}

impl Quota for Governor {
    fn permit<'a>(
        &'a self,
        bucket: &'a str,
        rate: Rate,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        self.turn(bucket, rate, urgency).boxed()
    }

    fn observe<'a>(&'a self, bucket: &'a str, seen: Seen) -> BoxFuture<'a, ()> {
        self.note(bucket, seen).boxed()
    }
}

fn cautious(rate: Rate) -> Rate {
    Rate {
        per_second: rate.per_second * CAUTION,
        burst: ((f64::from(rate.burst) * BURST_CAUTION) as u32).max(1),
    }
}

const fn left_to_others(urgency: Urgency) -> f64 {
    match urgency {
        Urgency::Down | Urgency::Order => 0.0,
        Urgency::Up => 0.25,
        Urgency::Sweep => 0.5,
    }
}
