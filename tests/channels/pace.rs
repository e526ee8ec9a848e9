//! No channel's trouble delays another: while one takes calls and never answers, the others show a sale as soon as ever.

use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use onepool::{
    channel::wake::{PullWake, SyncWake},
    error::Error,
    stock::Source,
};
use serde_json::json;

use crate::{mall::Mall, trouble::Away};

const SALES: usize = 48;
const DEAD: &str = "coupang";
const LIVING: [&str; 3] = ["smartstore", "elevenst", "ownstore"];
/// Nothing that works takes so long.
const PATIENCE: Duration = Duration::from_secs(10);

/// A mall whose functions run side by side, as many as there are messages.
struct Pace<'a> {
    mall: &'a Mall,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Result<(), Error>>>,
    spans: Vec<Duration>,
}

impl<'a> Pace<'a> {
    fn of(mall: &'a Mall) -> Self {
        Self {
            mall,
            under_way: FuturesUnordered::new(),
            spans: Vec::new(),
        }
    }

    fn pull(&self, channel: &str) {
        let pull = self.mall.pull.run(PullWake::new(channel));
        self.under_way.push(pull.boxed_local());
    }

    /// The schedules come: every channel is pulled, and what waits goes on.
    fn minute(&self) {
        self.pull(DEAD);
        let tick = self.mall.push.handle(SyncWake::Tick);
        self.under_way.push(tick.boxed_local());
    }

    /// One is sold, and the two others that live have to show it.
    async fn sale(&mut self, seller: &str) {
        let left = self.mall.unsold(&Source::Pool).await - 1;
        self.mall.buy(seller, 1).await.expect("it is there");
        let sold = Instant::now();
        self.pull(seller);
        let mut waiting = LIVING.to_vec();
        waiting.retain(|channel| *channel != seller);
        while !waiting.is_empty() {
            let done = self.under_way.next().await.expect("somebody is at work");
            done.expect("no store fails");
            for body in self.mall.due() {
                self.under_way.push(self.mall.handle(body).boxed_local());
            }
            let mut still = Vec::new();
            for channel in waiting {
                if self.mall.shows(channel).await == left {
                    self.spans.push(sold.elapsed());
                } else {
                    still.push(channel);
                }
            }
            waiting = still;
        }
    }

    fn p95(mut self) -> Duration {
        self.spans.sort_unstable();
        self.spans[self.spans.len() * 95 / 100]
    }
}

#[tokio::test]
async fn no_channels_trouble_delays_another() {
    let shared = json!({ "mode": "shared" });
    let healthy = Mall::open(1_000, shared.clone()).await;
    let troubled = Mall::open(1_000, shared).await;
    troubled.lose(DEAD, Away::Silent).await;
    let (mut usual, mut beside) = (Pace::of(&healthy), Pace::of(&troubled));
    for sale in 0..SALES {
        // In turns: whatever else this machine does, it does to both.
        for pace in [&mut usual, &mut beside] {
            if sale % 8 == 0 {
                pace.minute();
            }
            let shown = tokio::time::timeout(PATIENCE, pace.sale(LIVING[sale % 3]));
            shown.await.expect("the others show what was sold");
        }
    }
    assert_eq!(troubled.shows(DEAD).await, 1_000, "it heard of nothing");
    let (usual, beside) = (usual.p95(), beside.p95());
    assert!(
        beside <= usual.mul_f64(1.5),
        "p95 {beside:?} beside a dead channel, else {usual:?}"
    );
}
