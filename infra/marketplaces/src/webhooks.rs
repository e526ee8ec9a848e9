//! What a marketplace tells the seller's own address: a bounded outbox, and the task that empties it.

use std::{
    collections::VecDeque,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::body::Bytes;
use reqwest::{Client, redirect::Policy};
use serde::Serialize;

use crate::{market::Market, world::Shared};

const MAX_WAITING: usize = 50_000;
/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// One message, and when it is tried again.
#[derive(Clone, Debug)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Bytes,
    /// How long to wait after each failure; when none is left, it is given up.
    pub(crate) retries: VecDeque<Duration>,
}

/// How it went, for `GET /sandbox/webhooks`.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Counts {
    delivered: u64,
    failed_attempts: u64,
    given_up: u64,
    /// More were waiting than the outbox holds.
    dropped: u64,
    waiting: usize,
}

/// Messages in the order they are due; the first attempts of all go out in the order they were posted.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    waiting: Vec<(Instant, Webhook)>,
    counts: Counts,
}

impl Outbox {
    pub(crate) fn post(&mut self, webhook: Webhook) {
        self.put(Instant::now(), webhook);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            waiting: self.waiting.len(),
            ..self.counts
        }
    }

    fn put(&mut self, due: Instant, webhook: Webhook) {
        if self.waiting.len() >= MAX_WAITING {
            self.counts.dropped += 1;
            return;
        }
        let place = self.waiting.partition_point(|(other, _)| *other <= due);
        self.waiting.insert(place, (due, webhook));
    }

    /// The first that is due, or how long until one is.
    fn next(&mut self) -> Result<Webhook, Option<Duration>> {
        let (due, _) = self.waiting.first().ok_or(None)?;
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            Ok(self.waiting.remove(0).1)
        } else {
            Err(Some(wait))
        }
    }

    fn settle(&mut self, mut webhook: Webhook, delivered: bool) {
        if delivered {
            self.counts.delivered += 1;
            return;
        }
        self.counts.failed_attempts += 1;
        match webhook.retries.pop_front() {
            Some(wait) => self.put(Instant::now() + wait, webhook),
            None => self.counts.given_up += 1,
        }
    }
}

/// Delivers what is posted, one after the other, until the future is dropped.
pub(crate) async fn deliver<M: Market>(shared: Arc<Shared<M>>) -> io::Result<()> {
    let client = Client::builder()
        .timeout(PATIENCE)
        .redirect(Policy::none())
        .build()
        .map_err(io::Error::other)?;
    loop {
        // Asked before the outbox is looked into, or a message posted in between would wait for the next one.
        let posted = shared.posted.notified();
        let (epoch, next) = {
            let mut world = shared.world();
            (world.epoch(), world.outbox.next())
        };
        match next {
            Ok(webhook) => {
                let delivered = send(&client, &webhook).await;
                let mut world = shared.world();
                // After a reset nobody waits for it any more.
                if world.epoch() == epoch {
                    world.outbox.settle(webhook, delivered);
                }
            }
            Err(None) => posted.await,
            Err(Some(wait)) => {
                tokio::select! {
                    () = posted => {}
                    () = tokio::time::sleep(wait) => {}
                }
            }
        }
    }
}

async fn send(client: &Client, webhook: &Webhook) -> bool {
    let mut request = client.post(&webhook.url).body(webhook.body.clone());
    for (name, value) in &webhook.headers {
        request = request.header(*name, value);
    }
    match request.send().await {
        Ok(response) => response.status().is_success(),
        Err(_) => false,
    }
}
