//! Webhooks: one POST per status change, tried again on the documented ladder, and on order twice or
//! out of order.
//!
//! Events of one payment leave in order unless a test asks otherwise; those of different payments do
//! not wait for each other.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    io,
    sync::Arc,
    time::Duration,
};

use fakes::epoch::Epoch;
use reqwest::{Client, StatusCode, redirect};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout_at},
};

use crate::{clock, settings::Settings, world::Shared};

/// Minutes before each of the seven retries.
const RETRY_AFTER_MINUTES: [u64; 7] = [1, 4, 16, 64, 256, 1024, 4096];
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// Undelivered events beyond it are dropped, and counted.
const MAX_PENDING: u64 = 20_000;
const LANES: usize = 8;
/// How many events a shuffle turns round at most, and how long it waits for them.
const SHUFFLE_EVENTS: usize = 8;
const SHUFFLE_WAIT: Duration = Duration::from_millis(200);

/// Where and how webhooks are delivered: the body of `PUT /sandbox/webhook`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// None: nothing is sent.
    pub(crate) url: Option<String>,
    /// Everything is sent twice.
    #[serde(default)]
    pub(crate) duplicate: bool,
    /// Events are gathered for a moment and leave newest first.
    #[serde(default)]
    pub(crate) shuffle: bool,
    /// How long a minute of the retry ladder lasts; unset keeps what it was.
    pub(crate) minute_ms: Option<u64>,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Counts {
    /// Waiting for their first attempt or a retry.
    pending: u64,
    delivered: u64,
    failed_attempts: u64,
    /// Every retry failed as well.
    given_up: u64,
    /// There were too many pending.
    dropped: u64,
}

/// What is on its way to the shop.
#[derive(Debug)]
pub(crate) struct Outbox {
    plan: Plan,
    counts: Counts,
    queue: mpsc::UnboundedSender<Event>,
}

#[derive(Clone, Debug)]
pub(crate) struct Event {
    epoch: Epoch,
    lane: usize,
    body: Arc<Value>,
}

impl Outbox {
    pub(crate) fn new(settings: &Settings) -> (Self, mpsc::UnboundedReceiver<Event>) {
        // Unbounded, since `pending` bounds it and can say how many were dropped.
        let (queue, events) = mpsc::unbounded_channel();
        let plan = Plan {
            url: settings.webhook_url.clone(),
            duplicate: false,
            shuffle: false,
            minute_ms: Some(settings.webhook_minute_ms),
        };
        let outbox = Self {
            plan,
            counts: Counts::default(),
            queue,
        };
        (outbox, events)
    }

    pub(crate) fn follow(&mut self, plan: Plan) {
        let minute_ms = plan.minute_ms.or(self.plan.minute_ms);
        self.plan = Plan { minute_ms, ..plan };
    }

    /// Queues the event of a status change. Without an address there is nobody to tell.
    pub(crate) fn post(&mut self, payment: Value, now: OffsetDateTime, epoch: Epoch) {
        if self.plan.url.is_none() {
            return;
        }
        let lane = lane_of(&payment["paymentKey"]);
        let body = json!({
            "eventType": "PAYMENT_STATUS_CHANGED",
            "createdAt": clock::without_zone(now),
            "data": payment,
        });
        let copies = if self.plan.duplicate { 2 } else { 1 };
        for event in std::iter::repeat_n(
            Event {
                epoch,
                lane,
                body: Arc::new(body),
            },
            copies,
        ) {
            if self.counts.pending >= MAX_PENDING || self.queue.send(event).is_err() {
                self.counts.dropped += 1;
            } else {
                self.counts.pending += 1;
            }
        }
    }

    pub(crate) fn show(&self) -> Value {
        json!({ "plan": self.plan, "counts": self.counts })
    }

    /// Events from before still end, so they stay pending until they do.
    pub(crate) fn forget_counts(&mut self) {
        self.counts = Counts {
            pending: self.counts.pending,
            ..Counts::default()
        };
    }

    fn minute(&self) -> Duration {
        Duration::from_millis(self.plan.minute_ms.unwrap_or_default())
    }
}

fn lane_of(payment_key: &Value) -> usize {
    let mut hasher = DefaultHasher::new();
    payment_key.as_str().hash(&mut hasher);
    usize::try_from(hasher.finish() % LANES as u64).unwrap_or(0)
}

/// Delivers whatever is queued, for as long as the sandbox runs.
pub(crate) async fn deliver(
    shared: Arc<Shared>,
    mut events: mpsc::UnboundedReceiver<Event>,
) -> io::Result<()> {
    let client = Client::builder()
        // Success is a 200, not an address to go on to.
        .redirect(redirect::Policy::none())
        .timeout(ANSWER_WITHIN)
        .build()
        .map_err(io::Error::other)?;
    let lanes: Vec<_> = (0..LANES)
        .map(|_| {
            let (lane, events) = mpsc::unbounded_channel();
            tokio::spawn(run_lane(Arc::clone(&shared), client.clone(), events));
            lane
        })
        .collect();
    while let Some(first) = events.recv().await {
        let mut batch = vec![first];
        let shuffle = shared.world().outbox.plan.shuffle;
        if shuffle {
            gather(&mut batch, &mut events).await;
            // Newest first: a random order would now and then be the right one.
            batch.reverse();
        }
        for event in batch {
            // A lane ends only with the sandbox.
            let _ = lanes[event.lane].send(event);
        }
    }
    Ok(())
}

async fn gather(batch: &mut Vec<Event>, events: &mut mpsc::UnboundedReceiver<Event>) {
    let enough = Instant::now() + SHUFFLE_WAIT;
    while batch.len() < SHUFFLE_EVENTS
        && let Ok(Some(event)) = timeout_at(enough, events.recv()).await
    {
        batch.push(event);
    }
}

async fn run_lane(shared: Arc<Shared>, client: Client, mut events: mpsc::UnboundedReceiver<Event>) {
    while let Some(event) = events.recv().await {
        if !attempt(&shared, &client, &event).await {
            // The lane does not wait for it: Toss's retries come after whatever else happened.
            tokio::spawn(retry(Arc::clone(&shared), client.clone(), event));
        }
    }
}

async fn retry(shared: Arc<Shared>, client: Client, event: Event) {
    for minutes in RETRY_AFTER_MINUTES {
        let minute = shared.world().outbox.minute();
        sleep(minute.saturating_mul(u32::try_from(minutes).unwrap_or(u32::MAX))).await;
        if attempt(&shared, &client, &event).await {
            return;
        }
    }
    let counts = &mut shared.world().outbox.counts;
    counts.pending -= 1;
    counts.given_up += 1;
}

/// True when the event needs no further attempt.
async fn attempt(shared: &Shared, client: &Client, event: &Event) -> bool {
    let url = {
        let world = shared.world();
        let url = world.outbox.plan.url.clone();
        url.filter(|_| world.epoch() == event.epoch)
    };
    let Some(url) = url else {
        // The world was reset, or nobody wants to hear any more.
        shared.world().outbox.counts.pending -= 1;
        return true;
    };
    let answer = client.post(url).json(event.body.as_ref()).send().await;
    let delivered = answer.is_ok_and(|answer| answer.status() == StatusCode::OK);
    let counts = &mut shared.world().outbox.counts;
    if delivered {
        counts.pending -= 1;
        counts.delivered += 1;
    } else {
        counts.failed_attempts += 1;
    }
    delivered
}
