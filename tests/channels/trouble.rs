//! What goes wrong around a mall, all at once or for a while.

use std::time::Duration;

use onepool::{
    channel::wake::{PullWake, SyncWake},
    clock,
};
use onepool_tests::{CHANNELS, crash_after};
use serde_json::{Value, json};

use crate::mall::Mall;

/// How a marketplace is away.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Away {
    /// Its gateway answers for it.
    Down,
    /// It takes calls and never answers; after a while the connection is cut.
    Hanging,
    /// Nothing gets through.
    Unreachable,
    /// It takes calls and never answers: callers wait until their own patience ends.
    Silent,
    /// Something else answers in its place, with a page.
    Lost,
    /// It does what it is asked, and takes its time.
    Slow,
    /// It has too many calls, and says when to come again.
    Limited,
}

impl Away {
    /// Whether a call learns of it at once.
    pub(crate) const fn is_told(self) -> bool {
        match self {
            Self::Down | Self::Hanging | Self::Unreachable | Self::Lost | Self::Limited => true,
            Self::Silent | Self::Slow => false,
        }
    }

    fn rule(self, operation: &Value) -> Value {
        let mut rule = match self {
            Self::Down => json!({ "kind": "error_before_commit", "status": 503 }),
            Self::Hanging => json!({ "kind": "timeout_before_commit", "ms": 15 }),
            Self::Silent => json!({ "kind": "timeout_before_commit", "ms": 600_000 }),
            Self::Unreachable => json!({ "kind": "close_before_commit" }),
            Self::Lost => json!({ "kind": "garbage_before_commit" }),
            Self::Slow => json!({ "kind": "delay", "ms": 2_000 }),
            Self::Limited => json!({ "kind": "rate_limited", "retryAfterS": 30 }),
        };
        rule["on"] = operation.clone();
        rule["probability"] = json!(1.0);
        rule
    }
}

impl Mall {
    /// From now on every call to a marketplace fails, until it is calmed.
    pub(crate) async fn lose(&self, channel: &str, away: Away) {
        let books = self.books(channel, "faults").await;
        let operations = books["operations"].as_array().expect("operations");
        let rules: Vec<_> = operations.iter().map(|name| away.rule(name)).collect();
        self.calm(channel).await;
        self.does(channel, "faults", json!({ "faults": rules }))
            .await;
    }

    /// How many requests that a marketplace remembers have met a fault.
    pub(crate) async fn faults_met(&self, channel: &str) -> usize {
        let books = self.books(channel, "requests").await;
        let requests = books["requests"].as_array().expect("requests").iter();
        requests
            .filter(|request| !request["fault"].is_null())
            .count()
    }

    /// The clock of a marketplace is so many milliseconds farther ahead of the shop's, or less far.
    pub(crate) async fn skew(&self, channel: &str, millis: i64) {
        self.does(channel, "clock", json!({ "advance_ms": millis }))
            .await;
    }

    /// Redis comes back with nothing in it.
    pub(crate) async fn wipe(&self) {
        self.shop.redis.command(&["FLUSHALL"]).await;
    }

    /// What runners that died had to themselves ends: Redis has no part in the time that tests let pass.
    pub(crate) async fn end_leases(&self) {
        for channel in CHANNELS {
            for lease in ["pushing", "pulling"] {
                let key = format!("{{demo}}:{lease}:{channel}");
                self.shop.redis.command(&["DEL", &key]).await;
            }
        }
    }

    /// A pull of a channel that is killed when it has waited so many times.
    pub(crate) async fn pull_killed(&self, channel: &str, steps: usize) {
        let wake = PullWake::new(channel);
        drop(crash_after(steps, self.pull.run(wake)).await);
    }

    /// A push that is killed when it has waited so many times.
    pub(crate) async fn push_killed(&self, wake: SyncWake, steps: usize) {
        drop(crash_after(steps, self.push.handle(wake)).await);
    }

    /// Somebody writes another number at a marketplace.
    pub(crate) async fn edit(&self, channel: &str, units: u64) {
        let stall = self.stall(channel);
        if stall.marketplace == "shop" {
            // By hand a number has no version.
            let change = json!({ "itemId": stall.item().product, "units": units });
            self.does(channel, "actions/shop-office", change).await;
            return;
        }
        let write = onepool::channel::StockWrite {
            item: stall.item(),
            units,
            version: clock::now().millis(),
            urgency: onepool::channel::quota::Urgency::Order,
        };
        let port = self.office.get(channel).expect("one of the four");
        // It may be away.
        drop(port.set_stock(&write).await);
    }

    /// Puts faults to a marketplace.
    pub(crate) async fn fault(&self, channel: &str, rule: Value) {
        self.does(channel, "faults", json!({ "faults": [rule] }))
            .await;
    }

    /// Every schedule has come, once.
    pub(crate) async fn minute(&self) {
        self.pass(Duration::from_secs(60)).await;
        for channel in CHANNELS {
            self.pull(channel).await;
        }
        self.push.handle(SyncWake::Tick).await.expect("ticks");
        self.deliver().await;
    }
}
