//! All state of the sandbox, behind one mutex that no code holds across an await.

use std::sync::{Mutex, MutexGuard, PoisonError};

use fakes::{epoch::Epoch, faults::Faults, hold::Release, record::Record};
use serde_json::Value;

use crate::{
    answer::{Answer, Refusal},
    clock::Clock,
    exchange::Request,
    faults::{Fault, Kind, RuleText, Subject},
    idempotency::{Idempotency, Seen},
    payments::Payments,
    record::{Entry, MAX_ENTRIES},
    requests::{Call, Command},
    settings::Settings,
    webhooks::Outbox,
};

/// What the handlers share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    world: Mutex<World>,
    /// Of all requests that are held or delayed.
    pub(crate) release: Release,
}

impl Shared {
    pub(crate) fn new(settings: Settings, outbox: Outbox) -> Self {
        Self {
            settings,
            world: Mutex::new(World::new(outbox)),
            release: Release::default(),
        }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        // Every change below is complete before anything can panic, so the state is still good.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) payments: Payments,
    pub(crate) faults: Faults<RuleText>,
    pub(crate) record: Record<Entry>,
    pub(crate) outbox: Outbox,
    idempotency: Idempotency,
    epoch: Epoch,
}

/// How a request is to go on.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) epoch: Epoch,
    pub(crate) seen: Seen,
    pub(crate) kind: Option<Kind>,
    pub(crate) fault: Option<Fault>,
}

impl World {
    fn new(outbox: Outbox) -> Self {
        Self {
            clock: Clock::default(),
            payments: Payments::default(),
            faults: Faults::default(),
            record: Record::of(MAX_ENTRIES),
            outbox,
            idempotency: Idempotency::default(),
            epoch: Epoch::default(),
        }
    }

    /// Forgets everything but where webhooks go.
    pub(crate) fn reset(&mut self) {
        self.clock = Clock::default();
        self.payments = Payments::default();
        self.faults = Faults::default();
        self.idempotency = Idempotency::default();
        self.record.clear();
        self.outbox.forget_counts();
        self.epoch.end();
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Looks the request up in the idempotency store and in the fault script, and takes its key when
    /// it is going to be worked on: in one step, so that of two equal requests one is the first.
    pub(crate) fn admit(&mut self, request: &Request) -> Result<Admitted, Refusal> {
        let now = self.clock.now();
        self.expire_sessions();
        let seen = match &request.identity {
            Some(identity) => self.idempotency.seen(identity, now),
            None => Seen::Never,
        };
        let (kind, fault) = match seen {
            Seen::Running => None,
            Seen::Never | Seen::Answered(_) => {
                let subject = self.subject(request, matches!(seen, Seen::Answered(_)));
                self.faults.take(&subject)
            }
        }
        .unzip();
        if let (Some(identity), Seen::Never) = (&request.identity, &seen)
            && fault.as_ref().is_none_or(Fault::takes_the_key)
        {
            self.idempotency.begin(identity, now)?;
        }
        Ok(Admitted {
            epoch: self.epoch,
            seen,
            kind,
            fault,
        })
    }

    /// Does the work. `instead` is what repeats and the caller get in place of the true answer.
    pub(crate) fn perform(&mut self, request: &Request, instead: Option<Answer>) -> Answer {
        let answer = match &request.test_code {
            Some(code) => Refusal::new(code, "As the test code header asks.").into(),
            None => Answer::from(self.obey(request)),
        };
        self.tell_changes();
        let answer = instead.unwrap_or(answer);
        self.settle(request, &answer);
        answer
    }

    /// Refuses instead of working; a refusal by the card ends the checkout it was for.
    pub(crate) fn decline(&mut self, request: &Request, refusal: &Refusal) -> Answer {
        if let Ok(Command::Confirm { payment_key, .. }) = &request.command
            && refusal.is_by_the_card()
        {
            self.payments.abort(payment_key, refusal);
            self.tell_changes();
        }
        let answer = Answer::from(refusal);
        self.settle(request, &answer);
        answer
    }

    /// Ends the checkout as if its ten minutes were over.
    pub(crate) fn expire(&mut self, request: &Request) -> Answer {
        let answer = match &request.command {
            Ok(Command::Confirm { payment_key, .. }) => self.payments.expire(payment_key).into(),
            Ok(
                Command::Charge { .. }
                | Command::LookupByKey { .. }
                | Command::LookupByOrder { .. }
                | Command::Cancel { .. },
            ) => Refusal::invalid_request("Only a checkout can expire.").into(),
            Err(refusal) => Answer::from(refusal),
        };
        self.tell_changes();
        self.settle(request, &answer);
        answer
    }

    pub(crate) fn settle(&mut self, request: &Request, answer: &Answer) {
        if let Some(identity) = &request.identity {
            self.idempotency.settle(identity, answer);
        }
    }

    pub(crate) fn expire_sessions(&mut self) {
        self.payments.expire_due(self.clock.now());
        self.tell_changes();
    }

    /// Puts the webhooks of all changes in the outbox, in the step that made the changes.
    pub(crate) fn tell_changes(&mut self) {
        let now = self.clock.now();
        for payment in self.payments.take_changes() {
            self.outbox.post(payment, now, self.epoch);
        }
    }

    fn obey(&mut self, request: &Request) -> Result<Value, Refusal> {
        let now = self.clock.now();
        match request.command.as_ref().map_err(Refusal::clone)? {
            Command::Charge {
                billing_key,
                order_id,
                order_name,
                amount,
            } => self
                .payments
                .charge(billing_key, (order_id, order_name, *amount), now),
            Command::Confirm {
                payment_key,
                order_id,
                amount,
            } => self.payments.confirm((payment_key, order_id, *amount), now),
            Command::LookupByKey { payment_key } => self.payments.by_key(payment_key),
            Command::LookupByOrder { order_id } => self.payments.by_order(order_id),
            Command::Cancel {
                payment_key,
                reason,
                amount,
            } => self.payments.cancel(payment_key, *amount, reason, now),
        }
    }

    /// What a fault rule can ask about the request, read from the payment where the call names one.
    fn subject(&self, request: &Request, repeat: bool) -> Subject {
        let of_payment = |payment_key: &str| match self.payments.origin(payment_key) {
            Some((order_id, billing_key)) => {
                (Some(order_id.to_owned()), billing_key.map(str::to_owned))
            }
            None => (None, None),
        };
        let (order_id, billing_key) = match &request.call {
            Call::Billing { billing_key } => (
                request.order_id().map(str::to_owned),
                Some(billing_key.clone()),
            ),
            Call::Confirm => (request.order_id().map(str::to_owned), None),
            Call::LookupByOrder { order_id } => (Some(order_id.clone()), None),
            Call::LookupByKey { payment_key } | Call::Cancel { payment_key } => {
                of_payment(payment_key)
            }
        };
        Subject {
            operation: request.call.operation(),
            order_id,
            billing_key,
            repeat,
        }
    }
}
