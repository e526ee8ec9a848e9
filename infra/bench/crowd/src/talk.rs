//! What happens in the room: chats through `Rooms::append`, orders through `Gate::reserve`, as the functions do it. Of each
//! it is remembered when it was committed: right after the call returned.

use std::{
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{StreamExt, stream};
use onepool::{
    aws::{Aws, Patience},
    clock,
    config::{self, AwsConfig, RedisConfig},
    connection::Redis,
    keys::Keys,
    order::{OrderBody, OrderId, OrderRequest},
    room::{Event, Rooms},
    stock::{Gate, Reserved, Source},
};
use serde_json::json;

use crate::{Result, plan::Plan};

/// Orders on their way at once.
const ORDERS_AT_ONCE: usize = 64;
/// How long an order of the crowd holds its unit: longer than any run.
const HOLD: Duration = Duration::from_secs(3_600);

/// What was said and ordered so far.
pub struct Said {
    /// The clock all of it is told by.
    pub start: Instant,
    chats: Mutex<Vec<Chat>>,
    orders: Mutex<Vec<u64>>,
    elapsed_us: OnceLock<u64>,
    begun_us: AtomicU64,
}

/// A chat, by its number.
#[derive(Clone, Copy)]
pub struct Chat {
    /// When it was in the log, on the clock of the run.
    pub at_us: u64,
    /// Bytes of its JSON.
    pub bytes: usize,
}

impl Default for Said {
    fn default() -> Self {
        Self {
            start: Instant::now(),
            chats: Mutex::default(),
            orders: Mutex::default(),
            elapsed_us: OnceLock::new(),
            begun_us: AtomicU64::new(u64::MAX),
        }
    }
}

impl Said {
    /// The time on the clock of the run.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// How many chats were said.
    pub fn chats(&self) -> u64 {
        lock(&self.chats).len() as u64
    }

    /// How many units were taken.
    pub fn orders(&self) -> u64 {
        lock(&self.orders).len() as u64
    }

    /// How long it took.
    pub fn elapsed(&self) -> Duration {
        Duration::from_micros(self.elapsed_us.get().copied().unwrap_or_default())
    }

    /// When it began, if it has.
    pub fn begun_us(&self) -> Option<u64> {
        Some(self.begun_us.load(Ordering::Relaxed)).filter(|begun| *begun != u64::MAX)
    }

    /// Each chat, in the order of their numbers.
    pub fn all_chats(&self) -> Vec<Chat> {
        lock(&self.chats).clone()
    }

    /// When the first unit was gone, the second, ...
    pub fn all_orders(&self) -> Vec<u64> {
        lock(&self.orders).clone()
    }
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Stage<'a> {
    plan: &'a Plan,
    said: &'a Said,
    rooms: Rooms,
    gate: Gate,
}

/// Says and orders what the plan wants, at its rates or as fast as it goes.
pub fn talk(plan: &Plan, said: &Said) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let redis = RedisConfig::from_env()?;
    let connection = Redis::new(&redis.url)?;
    let keys = Keys::new(&redis.shop_id);
    let aws = Aws::new(AwsConfig::from_env()?, Patience::Long);
    let stage = Stage {
        plan,
        said,
        rooms: Rooms::new(
            connection.clone(),
            keys.clone(),
            aws,
            config::room_wake_queue_url()?,
        ),
        gate: Gate::new(connection, keys),
    };
    said.begun_us.store(said.now_us(), Ordering::Relaxed);
    let started = Instant::now();
    let (chats, orders) =
        runtime.block_on(async { tokio::join!(stage.chat(started), stage.order(started)) });
    chats?;
    orders?;
    let elapsed = u64::try_from(started.elapsed().as_micros())?;
    said.elapsed_us.get_or_init(|| elapsed);
    Ok(())
}

impl Stage<'_> {
    /// One call after the other, so that the numbers are in the order of the log. Calls come at random, as people do.
    async fn chat(&self, started: Instant) -> Result<()> {
        if self.plan.chats_per_s == 0.0 {
            return Ok(());
        }
        let mut due = started;
        let mut number = 0;
        loop {
            due += pause(self.plan.chats_per_s);
            if due.max(Instant::now()) >= started + self.plan.span() {
                return Ok(());
            }
            tokio::time::sleep_until(due.into()).await;
            let now = clock::now();
            let mut sizes = Vec::new();
            let mut events = Vec::new();
            for _ in 0..self.plan.chats_at_once {
                let chat = Event::Chat {
                    id: format!("{:x}-{number:08x}", now.millis()),
                    user_id: format!("viewer-{:05}", number % 10_000).parse()?,
                    name: "구매자".to_owned(),
                    message: format!("{number} 이 사과 정말 맛있어 보여요!"),
                    timestamp: now,
                };
                number += 1;
                sizes.push(chat.to_json().len());
                events.push((None, chat));
            }
            self.rooms
                .append(&self.plan.broadcast, &events, now)
                .await?;
            let at_us = self.said.now_us();
            lock(&self.said.chats).extend(sizes.into_iter().map(|bytes| Chat { at_us, bytes }));
        }
    }

    async fn order(&self, started: Instant) -> Result<()> {
        if self.plan.orders_per_s == 0.0 {
            return Ok(());
        }
        let mut due = started;
        let times = std::iter::from_fn(|| {
            due += pause(self.plan.orders_per_s);
            // Who is late orders at once, and not at all when it is over.
            (due.max(Instant::now()) < started + self.plan.span()).then_some(due)
        });
        let mut orders = stream::iter(times.enumerate())
            .map(|(number, due)| async move {
                // The timer counts in milliseconds: what is due within one goes now.
                if due > Instant::now() + Duration::from_millis(1) {
                    tokio::time::sleep_until(due.into()).await;
                }
                self.take_one(number).await
            })
            .buffer_unordered(ORDERS_AT_ONCE);
        while let Some(taken) = orders.next().await {
            taken?;
        }
        Ok(())
    }

    /// Whoever is the first to hear that a unit is gone may not be the first who took one; how many are gone is the same.
    async fn take_one(&self, number: usize) -> Result<()> {
        let viewer = format!("buyer-{number:08}");
        let body: OrderBody = serde_json::from_value(json!({
            "lines": [{ "product_id": self.plan.product, "quantity": 1 }],
            "payment": { "method": "widget" },
        }))?;
        let order = OrderId::derive(&self.plan.broadcast, &viewer.parse()?, "key");
        let request = OrderRequest::new(viewer.parse()?, body)?;
        let source = Source::Live(self.plan.broadcast.clone());
        let now = clock::now();
        match self
            .gate
            .reserve(&source, &order, &request, now, HOLD)
            .await?
        {
            Reserved::Taken(_) => {
                let at_us = self.said.now_us();
                lock(&self.said.orders).push(at_us);
                Ok(())
            }
            Reserved::Replayed(_) => Err("an order was there before".into()),
            Reserved::Refused(refusal) => Err(format!("an order was refused: {refusal:?}").into()),
        }
    }
}

/// Between two of so many a second that come at random.
fn pause(per_s: f64) -> Duration {
    Duration::from_secs_f64(-(1.0 - fastrand::f64()).ln() / per_s)
}
