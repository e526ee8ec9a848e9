//! Random histories over all channels, with everything that goes wrong at marketplaces, in stores and in between: when all is quiet every
//! marketplace shows exactly its policy's number, every order is deducted once, net of what was cancelled of it, and the gate agrees.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use fastrand::Rng;
use onepool::{
    channel::{
        CancelReason, CancelWrite, LineState,
        wake::{PullWake, SyncWake},
    },
    stock::Source,
};
use onepool_tests::{CHANNELS, Fault};
use serde_json::{Value, json};

use crate::{fence::spotlight, mall::Mall, scarce::Scarce, stalls::OwnStore, trouble::Away};

/// Histories of a run unless `HISTORIES` says otherwise, and what happens in each.
const HISTORIES: u64 = 12;
const TURNS: usize = 60;
/// Units that are there at the beginning.
const UNITS: i64 = 400;
/// Signatures are good for five minutes, so clocks may be this far apart, in milliseconds.
const SKEW: i64 = 240_000;
/// For so long a channel is away, in seconds.
const HOUR: u64 = 3_600;
/// Orders of a rush: more than a page of the smallest pages.
const RUSH: usize = 55;

/// What happens in a turn, and how often.
#[derive(Debug, Clone, Copy)]
enum Turn {
    Buy,
    Pull,
    Deliver,
    Minute,
    Restock,
    Relist,
    Fault,
    OrderBeforeWrite,
    ShiftPages,
    BuyerCancels,
    SellerCancels,
    Edit,
    Rush,
    Hour,
    KillPull,
    KillPush,
    Wipe,
    StoreFails,
    Air,
}

const TURNS_OF: [(Turn, u32); 19] = [
    (Turn::Buy, 26),
    (Turn::Pull, 8),
    (Turn::Deliver, 10),
    (Turn::Minute, 8),
    (Turn::Restock, 5),
    (Turn::Relist, 7),
    (Turn::Fault, 12),
    (Turn::OrderBeforeWrite, 6),
    (Turn::ShiftPages, 4),
    (Turn::BuyerCancels, 10),
    (Turn::SellerCancels, 5),
    (Turn::Edit, 1),
    (Turn::Rush, 1),
    (Turn::Hour, 1),
    (Turn::KillPull, 3),
    (Turn::KillPush, 3),
    (Turn::Wipe, 1),
    (Turn::StoreFails, 4),
    (Turn::Air, 4),
];

struct History {
    seed: u64,
    rng: Rng,
    mall: Mall,
    stocked: i64,
    distributions: [Value; 4],
    /// Orders that are known, by channel.
    orders: [Vec<String>; 4],
    /// Broadcasts, and whether the last one is on air.
    broadcasts: Vec<String>,
    is_on_air: bool,
    /// Whether something was changed that nobody tells us of: only a sweep finds it.
    unseen: bool,
}

impl History {
    async fn begin(seed: u64) -> Self {
        let shared = json!({ "mode": "shared" });
        let mut rng = Rng::with_seed(seed);
        let own = if seed.is_multiple_of(2) {
            OwnStore::Plain
        } else {
            OwnStore::Cafe24
        };
        let units = u64::try_from(UNITS).expect("few");
        let mut mall = Mall::open_with(own, units, shared.clone()).await;
        mall.pull.cancels_oversold = rng.bool();
        let at_once = json!({ "cancelAtOnce": rng.bool() });
        mall.does("elevenst", "settings", at_once.clone()).await;
        mall.does("ownstore", "settings", json!({ "cafe24": at_once }))
            .await;
        let restores = rng.bool();
        for channel in ["smartstore", "coupang"] {
            let restores = json!({ "cancelRestoresStock": restores });
            mall.does(channel, "settings", restores).await;
        }
        if own == OwnStore::Plain {
            let shop = json!({ "cancelRestoresStock": restores, "pageLines": 10 });
            mall.does("ownstore", "settings", json!({ "shop": shop }))
                .await;
            if rng.bool() {
                mall.hear_hints().await;
            }
        }
        if rng.bool() {
            for channel in CHANNELS {
                mall.skew(channel, rng.i64(-SKEW..=SKEW)).await;
            }
        }
        for channel in CHANNELS {
            if rng.u8(..3) == 0 {
                let quota = Scarce::new(rng.u32(15..40), rng.f64() + 0.7);
                mall.ration(channel, Arc::new(quota)).await;
            }
        }
        Self {
            seed,
            rng,
            mall,
            broadcasts: Vec::new(),
            is_on_air: false,
            stocked: UNITS,
            distributions: [(); 4].map(|()| shared.clone()),
            orders: Default::default(),
            // Units that were ordered and cancelled before anybody saw them, and are not put up again.
            unseen: !restores,
        }
    }

    async fn turn(&mut self) {
        let all: u32 = TURNS_OF.iter().map(|(_, weight)| weight).sum();
        let mut place = self.rng.u32(..all);
        let turn = TURNS_OF.into_iter().find(|(_, weight)| {
            let is_it = place < *weight;
            place = place.saturating_sub(*weight);
            is_it
        });
        let (turn, _) = turn.expect("a place below all weights");
        let which = self.rng.usize(..4);
        eprintln!("{turn:?} {}", CHANNELS[which]);
        self.take(turn, which).await;
    }

    async fn take(&mut self, turn: Turn, which: usize) {
        let channel = CHANNELS[which];
        match turn {
            Turn::Buy => self.buy(which, 1..6).await,
            Turn::Pull => self.mall.pull(channel).await,
            Turn::Deliver => drop(self.mall.deliver().await),
            Turn::Minute => {
                let span = Duration::from_secs(self.rng.u64(1..90));
                self.mall.pass(span).await;
                self.mall.push.handle(SyncWake::Tick).await.expect("ticks");
            }
            Turn::Restock => {
                let delta = self.rng.i64(-10..25);
                if delta != 0 && self.mall.restock(delta).await {
                    self.stocked += delta;
                }
            }
            Turn::Relist => self.relist(which).await,
            Turn::Fault => self.fault(which).await,
            Turn::OrderBeforeWrite => {
                let order = self.mall.stall(channel).order(self.rng.u64(1..3));
                let on = self.mall.stall(channel).write;
                let rule = json!({ "on": on, "kind": "order_before", "order": order });
                self.mall.fault(channel, rule).await;
            }
            Turn::ShiftPages => self.shift_pages(which).await,
            Turn::BuyerCancels => self.buyer_cancels(which).await,
            Turn::SellerCancels => self.seller_cancels(which).await,
            Turn::Edit => {
                self.unseen = true;
                self.mall.edit(channel, self.rng.u64(..500)).await;
            }
            Turn::Rush => self.rush(which).await,
            Turn::Hour => Box::pin(self.hour(which)).await,
            Turn::KillPull => {
                let steps = self.rng.usize(..120);
                self.mall.pull_killed(channel, steps).await;
                self.bury().await;
            }
            Turn::KillPush => {
                let push = SyncWake::Push {
                    channel: channel.to_owned(),
                };
                let wakes = [SyncWake::Moved, SyncWake::Tick, push.clone(), push];
                let wake = wakes[self.rng.usize(..4)].clone();
                self.mall.push_killed(wake, self.rng.usize(..60)).await;
                self.bury().await;
            }
            Turn::Wipe => self.mall.wipe().await,
            Turn::StoreFails => self.stores_fail(which).await,
            Turn::Air => self.air().await,
        }
    }

    /// A broadcast takes units out of the pool for itself, or some more; or it is over.
    async fn air(&mut self) {
        let units = self.rng.u64(1..80);
        if !self.is_on_air {
            let broadcast = self.mall.begin_broadcast().await;
            let path = format!("/broadcasts/{broadcast}/products/spotlight");
            let aired = self.mall.asks_for(Method::POST, &path, spotlight(units));
            self.is_on_air = aired.await.is_some();
            self.broadcasts.push(broadcast);
        } else if self.rng.bool() {
            let broadcast = self.broadcasts.last().expect("one is on air");
            let path = format!("/broadcasts/{broadcast}/products/mug");
            let more = json!({ "add_quantity": units });
            // If the pool has so many.
            drop(self.mall.asks_for(Method::PATCH, &path, more).await);
        } else {
            self.end_broadcast().await;
        }
    }

    async fn end_broadcast(&mut self) {
        if std::mem::take(&mut self.is_on_air) {
            let broadcast = self.broadcasts.last().expect("one is on air");
            let path = format!("/broadcasts/{broadcast}/end");
            self.mall.admin(Method::POST, &path, json!({})).await;
        }
    }

    async fn buy(&mut self, which: usize, units: std::ops::Range<u64>) {
        let units = self.rng.u64(units);
        let order = self.mall.buy(CHANNELS[which], units).await;
        self.orders[which].extend(order);
    }

    async fn relist(&mut self, which: usize) {
        let distribution = match self.rng.u8(..5) {
            0 => json!({ "mode": "shared" }),
            1 => json!({ "mode": "shared", "buffer": { "percent": self.rng.u8(..=100) } }),
            2 => json!({ "mode": "shared", "buffer": { "units": self.rng.u8(..20) } }),
            _ => json!({ "mode": "fixed", "units": self.rng.u8(..80) }),
        };
        let mall = &self.mall;
        if mall
            .relist(CHANNELS[which], distribution.clone(), 12_900, "list")
            .await
        {
            self.distributions[which] = distribution;
        }
    }

    async fn fault(&mut self, which: usize) {
        let stall = self.mall.stall(CHANNELS[which]);
        let on = match self.rng.u8(..6) {
            0..=1 => stall.write,
            2 => stall.read,
            3..=4 => stall.lists[self.rng.usize(..stall.lists.len())],
            _ => stall.confirm,
        };
        let kinds = [
            "timeout_after_commit",
            "timeout_before_commit",
            "close_after_commit",
            "error_before_commit",
            "error_after_commit",
            "garbage_after_commit",
            "rate_limited",
        ];
        let kind = kinds[self.rng.usize(..kinds.len())];
        let mut rule = json!({ "on": on, "kind": kind, "times": self.rng.u8(1..4) });
        if kind.starts_with("error") {
            rule["status"] = json!(503);
        } else if kind.starts_with("timeout") {
            rule["ms"] = json!(10);
        }
        self.mall.fault(CHANNELS[which], rule).await;
    }

    /// Somebody orders, and somebody cancels, while the next pages are read.
    async fn shift_pages(&mut self, which: usize) {
        let channel = CHANNELS[which];
        let lists = self.mall.stall(channel).lists;
        for _ in 0..2 {
            let on = lists[self.rng.usize(..lists.len())];
            let order = self.mall.stall(channel).order(self.rng.u64(1..3));
            let rule = json!({ "on": on, "kind": "order_before", "order": order });
            self.mall.fault(channel, rule).await;
            if let Some(order) = self.any_order(which) {
                let on = lists[self.rng.usize(..lists.len())];
                let cancel = json!({ "orderId": order });
                let rule = json!({ "on": on, "kind": "cancel_before", "cancel": cancel });
                self.mall.fault(channel, rule).await;
            }
        }
    }

    fn any_order(&mut self, which: usize) -> Option<String> {
        let orders = &self.orders[which];
        let place = (!orders.is_empty()).then(|| self.rng.usize(..orders.len()))?;
        orders.get(place).cloned()
    }

    /// Before anybody saw the order, before it is confirmed or after; all of it, or a unit.
    async fn buyer_cancels(&mut self, which: usize) {
        let Some(order) = self.any_order(which) else {
            return;
        };
        let cancel = if self.rng.bool() {
            json!({})
        } else {
            json!({ "quantity": 1 })
        };
        let what = format!("orders/{order}/cancel");
        self.mall.tries(CHANNELS[which], &what, cancel).await;
    }

    /// At the marketplace: agrees to what a buyer asked for, or cannot supply.
    async fn seller_cancels(&mut self, which: usize) {
        let channel = CHANNELS[which];
        let mut lines = self.mall.shop.dynamodb.lines(channel);
        lines.sort_by(|one, other| one.key.cmp(&other.key));
        let port = self.mall.office.get(channel).expect("one of the four");
        if let Some(asked) = lines
            .iter()
            .find(|line| line.state == LineState::CancelRequested)
        {
            drop(port.approve_cancel(&asked.handle).await);
        } else if !lines.is_empty() {
            let line = &lines[self.rng.usize(..lines.len())];
            let write = CancelWrite {
                handle: line.handle.clone(),
                units: self.rng.u32(1..=line.ordered),
                reason: CancelReason::SoldOut,
            };
            drop(port.cancel(&write).await);
        }
    }

    async fn rush(&mut self, which: usize) {
        let channel = CHANNELS[which];
        let mut order = self.mall.stall(channel).order(1);
        order["count"] = json!(RUSH);
        let placed = self.mall.does(channel, "orders", order).await;
        let placed = placed["orders"].as_array().expect("orders").iter();
        let placed = placed.filter_map(|order| order["orderId"].as_str());
        self.orders[which].extend(placed.map(str::to_owned));
        self.shift_pages(which).await;
        // A window this long is pulled by days, in pages.
        self.mall.pass(Duration::from_secs(2_400)).await;
        self.mall.pull(channel).await;
    }

    /// A channel is away for an hour; the others sell, and so does it.
    async fn hour(&mut self, which: usize) {
        let away = [Away::Down, Away::Hanging, Away::Unreachable][self.rng.usize(..3)];
        self.mall.lose(CHANNELS[which], away).await;
        let mut left = HOUR;
        while left > 0 {
            let span = self.rng.u64(120..900).min(left);
            left -= span;
            self.mall.pass(Duration::from_secs(span)).await;
            for _ in 0..2 {
                let where_to = self.rng.usize(..4);
                self.buy(where_to, 1..4).await;
            }
            self.mall.minute().await;
        }
        self.mall.calm(CHANNELS[which]).await;
    }

    /// Whoever died is given up, and the schedules go on.
    async fn bury(&self) {
        self.mall.pass(Duration::from_secs(95)).await;
        self.mall.end_leases().await;
    }

    async fn stores_fail(&mut self, which: usize) {
        let calls = [
            "TransactWriteItems",
            "PutItem",
            "GetItem",
            "Query",
            "BatchGetItem",
            "SendMessage",
        ];
        let call = calls[self.rng.usize(..calls.len())];
        let faults = [Fault::AnswerLost, Fault::Refused(500), Fault::Throttled];
        let fault = faults[self.rng.usize(..faults.len())];
        let wire = &self.mall.shop.wire;
        wire.fail(call, fault, self.rng.usize(1..6));
        let wake = PullWake::new(CHANNELS[which]);
        drop(self.mall.pull.run(wake).await);
        drop(self.mall.push.handle(SyncWake::Tick).await);
        drop(self.mall.bring().await);
        self.mall.shop.wire.calm();
        self.bury().await;
    }

    /// Everything is let go, and comes to rest.
    async fn check(mut self) {
        for channel in CHANNELS {
            self.mall.calm(channel).await;
            self.mall.renew(channel).await;
        }
        self.end_broadcast().await;
        let Self { seed, mall, .. } = &self;
        mall.pass(Duration::from_secs(600)).await;
        mall.shop.reconcile.run().await.expect("reconciles");
        // Pulls agree with buyers and cancel what is oversold. Where the clock is ahead, that is pulled once ours is there.
        mall.minute().await;
        mall.pass(Duration::from_secs(600)).await;
        mall.rest(self.unseen).await;
        for channel in CHANNELS {
            let lines = mall.shop.dynamodb.lines(channel);
            let mut deducted = 0;
            for line in &lines {
                let taken: u32 = line.taken.iter().map(|taken| taken.units).sum();
                let key = &line.key;
                assert_eq!(taken, line.ordered - line.cancelled, "seed {seed}: {key}");
                deducted += i64::from(taken);
            }
            assert_eq!(
                deducted,
                mall.bought(channel).await,
                "seed {seed}: each order of {channel} once, less what was cancelled"
            );
            let catalog = &mall.shop.catalog;
            let kept = catalog.quarantined(channel, 10).await.expect("answers");
            assert_eq!(kept, [], "seed {seed}: nothing is left to a person");
            let kept = catalog.unconfirmed(channel, 10).await.expect("answers");
            assert_eq!(kept, [], "seed {seed}: all is confirmed");
        }
        self.check_numbers().await;
    }

    async fn check_numbers(&self) {
        let Self { seed, mall, .. } = self;
        let pool = mall.unsold(&Source::Pool).await;
        let (mut left, mut expected) = (pool, Vec::new());
        for (channel, distribution) in CHANNELS.into_iter().zip(&self.distributions) {
            let share = mall.unsold(&Source::Channel(channel.to_owned())).await;
            left += share;
            expected.push((channel, policy(distribution, pool, share)));
        }
        for broadcast in &self.broadcasts {
            let live = Source::Live(broadcast.parse().expect("an id"));
            assert_eq!(mall.unsold(&live).await, 0, "seed {seed}: {broadcast}");
        }
        let mut bought = 0;
        for channel in CHANNELS {
            bought += mall.bought(channel).await;
        }
        assert_eq!(left, self.stocked - bought, "seed {seed}: no unit is lost");
        let mug = "mug".parse().expect("an id");
        let offers = mall.shop.catalog.offers(&mug).await.expect("answers");
        assert_eq!(
            mall.all_show().await,
            expected,
            "seed {seed}: its policy's number; known is {:#?}",
            offers.shown
        );
        let product = mall
            .shop
            .admin(Method::GET, "/products/mug", None, Value::Null);
        let (_, product) = product.await;
        for source in product["stock"]["sources"].as_array().expect("sources") {
            let name: Source = serde_json::from_value(source["source"].clone()).expect("a source");
            let unsold = mall.unsold(&name).await;
            assert_eq!(
                source["left"],
                json!(unsold.max(0)),
                "seed {seed}: the gate of {name} agrees"
            );
        }
    }
}

/// What a listing has to show.
fn policy(distribution: &Value, pool: i64, share: i64) -> i64 {
    let buffer = &distribution["buffer"];
    let shown = if distribution["mode"] == "fixed" {
        share + pool.min(0)
    } else if let Some(percent) = buffer["percent"].as_i64() {
        pool.max(0) * (100 - percent) / 100
    } else {
        pool - buffer["units"].as_i64().unwrap_or(0)
    };
    shown.max(0)
}

fn given(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[tokio::test]
async fn after_any_history_every_channel_shows_its_policys_number() {
    let seeds = given("SEED").map_or_else(
        || 1..=given("HISTORIES").unwrap_or(HISTORIES),
        |seed| seed..=seed,
    );
    for seed in seeds {
        eprintln!("history {seed}");
        let mut history = History::begin(seed).await;
        for _ in 0..TURNS {
            history.turn().await;
        }
        history.check().await;
    }
}
