//! No channel's trouble delays another: whichever has it and whatever it is, the others show a sale as soon as ever.

use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};
use onepool::{
    channel::wake::{PullWake, SyncWake},
    clock,
    error::Error,
    stock::Source,
};
use onepool_tests::CHANNELS;
use serde_json::json;

use crate::{mall::Mall, trouble::Away};

const TROUBLES: [Away; 5] = [
    Away::Silent,
    Away::Down,
    Away::Lost,
    Away::Slow,
    Away::Limited,
];
/// Nothing that works takes so long.
const PATIENCE: Duration = Duration::from_secs(10);
/// After this the circuit of a channel is no longer open.
const RECOVERY: Duration = Duration::from_secs(301);
/// How often all troubles are gone through while the others seem to be late. What a busy machine does passes; a delay stays.
const ROUNDS: usize = 6;

/// How long a channel took to show what another one sold.
struct Span {
    seller: &'static str,
    shower: &'static str,
    took: Duration,
}

/// A mall whose functions run side by side, as many as there are messages.
struct Pace<'a> {
    mall: &'a Mall,
    /// The channel in trouble.
    dead: Option<&'static str>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Result<(), Error>>>,
    spans: Vec<Span>,
}

impl<'a> Pace<'a> {
    fn of(mall: &'a Mall, dead: Option<&'static str>) -> Self {
        Self {
            mall,
            dead,
            under_way: FuturesUnordered::new(),
            spans: Vec::new(),
        }
    }

    fn pull(&self, channel: &str) {
        let pull = self.mall.pull.run(PullWake::new(channel));
        self.under_way.push(pull.boxed_local());
    }

    /// The schedules come: the channel in trouble is pulled, and what waits goes on.
    fn minute(&self) {
        self.pull(self.dead.unwrap_or(CHANNELS[3]));
        let tick = self.mall.push.handle(SyncWake::Tick);
        self.under_way.push(tick.boxed_local());
    }

    /// One is sold, and the others that live have to show it. Returns whether they do before nobody is at work any more.
    async fn sale(&mut self, seller: &'static str) -> bool {
        let left = self.mall.unsold(&Source::Pool).await - 1;
        self.mall.buy(seller, 1).await.expect("it is there");
        let sold = Instant::now();
        self.pull(seller);
        let mut waiting = CHANNELS.to_vec();
        waiting.retain(|channel| *channel != seller && Some(*channel) != self.dead);
        while !waiting.is_empty() {
            let Some(done) = self.under_way.next().await else {
                return false;
            };
            done.expect("no store fails");
            for body in self.mall.due() {
                self.under_way.push(self.mall.handle(body).boxed_local());
            }
            let mut still = Vec::new();
            for shower in waiting {
                if self.mall.shows(shower).await == left {
                    let took = sold.elapsed();
                    self.spans.push(Span {
                        seller,
                        shower,
                        took,
                    });
                } else {
                    still.push(shower);
                }
            }
            waiting = still;
        }
        true
    }

    /// The channel in trouble fails so often that its circuit opens.
    async fn despair(&self) {
        for _ in 0..3 {
            if let Some(dead) = self.dead {
                self.mall.pull(dead).await;
            }
        }
    }

    /// The trouble is over, and whoever met it is done.
    async fn recover(&mut self) {
        if let Some(dead) = self.dead {
            self.mall.calm(dead).await;
        }
        self.rest().await;
    }

    /// What is under way is done, and what is due then: a channel that is being pulled is not pulled for a sale.
    async fn rest(&mut self) {
        loop {
            for body in self.mall.due() {
                self.under_way.push(self.mall.handle(body).boxed_local());
            }
            let Some(done) = self.under_way.next().await else {
                return;
            };
            done.expect("no store fails");
        }
    }

    /// What 95 of 100 sales took at most, the channel `without` left out.
    fn p95(&self, without: &str) -> Duration {
        let spans = self.spans.iter();
        let mut spans: Vec<_> = spans
            .filter(|span| span.seller != without && span.shower != without)
            .map(|span| span.took)
            .collect();
        spans.sort_unstable();
        spans[spans.len() * 95 / 100]
    }
}

/// The channel in trouble meets it from now on, and everybody sells one.
async fn go_through(away: Away, paces: &mut [Pace<'_>]) {
    clock::put_ahead(RECOVERY);
    let mut before = Vec::new();
    for pace in &mut *paces {
        pace.mall.keep_up().await;
        pace.rest().await;
        if let Some(dead) = pace.dead {
            pace.mall.lose(dead, away).await;
            let met = pace.mall.faults_met(dead).await;
            before.push((dead, pace.mall.shows(dead).await, met));
        }
        pace.minute();
    }
    for (sale, seller) in CHANNELS.into_iter().enumerate() {
        // In turns: whatever else this machine does, it does to all.
        for pace in &mut *paces {
            if sale == CHANNELS.len() / 2 && away.is_told() {
                pace.despair().await;
            }
            if pace.dead == Some(seller) {
                continue;
            }
            let shown = tokio::time::timeout(PATIENCE, pace.sale(seller));
            assert!(
                shown.await.unwrap_or(false),
                "{away:?} at {:?}: the others show what {seller} sold",
                pace.dead
            );
        }
    }
    let troubled = paces.iter().filter(|pace| pace.dead.is_some());
    for ((dead, shown, met), pace) in before.into_iter().zip(troubled) {
        let since = pace.mall.faults_met(dead).await - met;
        assert!(since > 0, "{away:?} at {dead} is met");
        if !matches!(away, Away::Slow) {
            let shows = pace.mall.shows(dead).await;
            assert_eq!(shows, shown, "{away:?}: {dead} heard of nothing");
        }
    }
    for pace in paces {
        pace.recover().await;
    }
}

#[tokio::test]
async fn no_channels_trouble_delays_another() {
    let mut malls = Vec::new();
    for _ in 0..=CHANNELS.len() {
        malls.push(Mall::open(1_000, json!({ "mode": "shared" })).await);
    }
    let dead = CHANNELS.map(Some).into_iter().chain([None]);
    let mut paces: Vec<_> = malls
        .iter()
        .zip(dead)
        .map(|(mall, dead)| Pace::of(mall, dead))
        .collect();
    let mut late = Vec::new();
    for _ in 0..ROUNDS {
        for away in TROUBLES {
            go_through(away, &mut paces).await;
        }
        let (usual, troubled) = paces.split_last().expect("five");
        let both = troubled.iter().filter_map(|pace| {
            let dead = pace.dead?;
            Some((dead, pace.p95(dead), usual.p95(dead)))
        });
        late = both
            .filter(|(_, beside, usual)| *beside > usual.mul_f64(1.5))
            .collect();
        if late.is_empty() {
            break;
        }
        eprintln!("p95 beside a channel in trouble, and else: {late:?}");
    }
    assert!(late.is_empty(), "{late:?}");
}
