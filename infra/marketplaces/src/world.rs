//! All state of one marketplace, behind one mutex that no code holds across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use fakes::{
    epoch::Epoch,
    faults::Faults,
    hold::Release,
    record::{Number, Record},
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    clock::Clock,
    faults::{Fault, RuleText},
    market::{Cancel, Market, NewOrder},
    record::{Entry, MAX_ENTRIES},
    webhooks::Outbox,
};

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared<M: Market> {
    credentials: M::Credentials,
    world: Mutex<World<M>>,
    /// Of all requests that are held or delayed.
    pub(crate) release: Release,
    /// Told when the outbox may have something to send.
    pub(crate) posted: Notify,
}

impl<M: Market> Shared<M> {
    pub(crate) fn new(credentials: M::Credentials) -> Self {
        Self {
            world: Mutex::new(World::new(M::new(&credentials))),
            credentials,
            release: Release::default(),
            posted: Notify::new(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World<M>> {
        // Every change below is complete before anything can panic, so the state is still good.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One step in the world, and then the seller is told of it.
    pub(crate) fn step<T>(&self, step: impl FnOnce(&mut World<M>) -> T) -> T {
        let mut world = self.world();
        let outcome = step(&mut world);
        // What a request changed was noted with it; what a buyer did is in the orders.
        world.market.take_stock_changes();
        for webhook in world.market.take_webhooks() {
            world.outbox.post(webhook);
        }
        drop(world);
        self.posted.notify_one();
        outcome
    }

    /// Forgets everything.
    pub(crate) fn reset(&self) {
        self.world().reset(M::new(&self.credentials));
        self.release.now();
    }
}

#[derive(Debug)]
pub(crate) struct World<M> {
    pub(crate) clock: Clock,
    pub(crate) market: M,
    pub(crate) faults: Faults<RuleText>,
    pub(crate) record: Record<Entry>,
    pub(crate) outbox: Outbox,
    epoch: Epoch,
    /// How many works have been done.
    done: u64,
}

/// How a request is to go on.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) epoch: Epoch,
    pub(crate) fault: Option<Fault>,
}

/// What a buyer does right before the work.
#[derive(Debug)]
pub(crate) enum Before {
    Order(NewOrder),
    Cancel { order: String, cancel: Cancel },
}

impl<M: Market> World<M> {
    fn new(market: M) -> Self {
        Self {
            clock: Clock::default(),
            market,
            faults: Faults::default(),
            record: Record::of(MAX_ENTRIES),
            outbox: Outbox::default(),
            epoch: Epoch::default(),
            done: 0,
        }
    }

    fn reset(&mut self, market: M) {
        self.clock = Clock::default();
        self.market = market;
        self.faults = Faults::default();
        self.outbox = Outbox::default();
        self.record.clear();
        self.epoch.end();
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Asks the marketplace's gateway, and then the fault script.
    pub(crate) fn admit(
        &mut self,
        call: &Call,
        subject: &Subject,
        number: Number,
    ) -> Result<Admitted, Answer> {
        let now = self.clock.now();
        if let Err(refused) = self.market.admit(call, now) {
            return Err(self.market.dress(call, refused, now));
        }
        let (kind, fault) = self.faults.take(subject).unzip();
        self.record.note(number, |entry| entry.fault = kind);
        Ok(Admitted {
            epoch: self.epoch,
            fault,
        })
    }

    /// Does the work, and writes to the record what it did.
    pub(crate) fn perform(
        &mut self,
        call: &Call,
        number: Number,
        before: Option<&Before>,
    ) -> Answer {
        let now = self.clock.now();
        let before = before.map(|before| self.hurry(before));
        // What buyers did up to here is not this request's doing.
        self.market.take_stock_changes();
        let answer = self.market.perform(call, now);
        let stock = self.market.take_stock_changes();
        self.done += 1;
        let done = self.done;
        self.record.note(number, |entry| {
            entry.before = before;
            entry.stock = stock;
            entry.done = Some(done);
        });
        answer
    }

    /// An answer as it leaves the marketplace.
    pub(crate) fn dress(&mut self, call: &Call, answer: Answer) -> Answer {
        let now = self.clock.now();
        self.market.dress(call, answer, now)
    }

    pub(crate) fn failure(&mut self, call: &Call, status: StatusCode) -> Answer {
        let now = self.clock.now();
        let answer = self.market.failure_of(call, status, now);
        self.market.dress(call, answer, now)
    }

    /// What a buyer does, and what came of it.
    fn hurry(&mut self, before: &Before) -> Value {
        let now = self.clock.now();
        let outcome: Result<Value, Refusal> = match before {
            Before::Order(order) => self.market.place_order(order, now),
            Before::Cancel { order, cancel } => self.market.cancel_order(order, cancel, now),
        };
        match outcome {
            Ok(value) => value,
            Err(refusal) => json!({ "refused": refusal.show() }),
        }
    }
}
