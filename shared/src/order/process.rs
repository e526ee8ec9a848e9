//! Settling orders: into the ledger, then the payment, then confirmed or given back, then the buyer is told. Every step may
//! be repeated: a message that comes twice, or again after a crash between any two steps, finds in the ledger how far its
//! order got.
//!
//! Three rules keep money and stock together. No charge before the order is in the ledger. No order that may have been charged
//! fails before the gateway has been asked. And money that came to an order which failed all the same is owed: the ledger says
//! so before it is given back, so that nobody forgets.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use metrics::counter;
use tokio::time::Instant;

use super::{
    AcceptedOrder, FailureReason, OrderId, OrderMessage, OrderStatus, Payment, PaymentKind,
    PaymentMethod, PaymentView,
    pay::{PaymentTerms, begin_payment},
};
use crate::{
    broadcast::fence::Fence,
    clock::{self, Timestamp},
    error::Error,
    id::BroadcastId,
    ledger::{Booking, Changed, OrderRecord, Refund},
    payment::{self, Charge, Gateway, PaymentStatus},
    room::{Event, Rooms},
    stock::Source,
};

/// Payments under way at once, in one batch.
const PAYMENTS_AT_ONCE: usize = 16;
/// How long a batch waits for the gateway: the function has 30 s, and what is paid by then has to be written down.
pub const GATEWAY_PATIENCE: Duration = Duration::from_secs(20);
/// When to look for a charge that was under way while its order failed: first after this, then each time twice as late.
const WATCH: Duration = Duration::from_secs(60);
/// Until when to look, from the failure. Whatever comes later is told by a webhook.
const WATCH_END: Duration = Duration::from_secs(3_600);
/// When to try a refund again that had no known outcome.
const REFUND_PATIENCE: Duration = Duration::from_secs(30);

/// Settles orders.
pub struct Settlement {
    /// The ledger and the gate.
    pub fence: Fence,
    /// Where orders are paid.
    pub payments: Box<dyn Gateway>,
    /// Where buyers are told.
    pub rooms: Rooms,
    /// How long a buyer may take to pay.
    pub terms: PaymentTerms,
    /// How long a batch waits for the gateway; usually [`GATEWAY_PATIENCE`].
    pub gateway_patience: Duration,
}

/// What is to become of an order that cannot be brought on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// It waits for its time.
    Wait,
    /// It fails, if it is certain that it was not paid.
    GiveUp,
}

impl Settlement {
    /// Handles messages. One outcome a message, in their order; a message with an error is to be brought again.
    pub async fn settle(&self, messages: Vec<OrderMessage>) -> Vec<Result<(), Error>> {
        let deadline = Instant::now() + self.gateway_patience;
        // The queue may deliver an order twice in one batch: the first copy settles, and speaks for the others.
        let mut seen = HashSet::new();
        let placed: Vec<AcceptedOrder> = messages
            .iter()
            .filter_map(|message| match message {
                OrderMessage::Place(order) => Some(order),
                OrderMessage::Pay(_) | OrderMessage::Check { .. } | OrderMessage::Cancel { .. } => {
                    None
                }
            })
            .filter(|order| seen.insert(order.order_id.clone()))
            .cloned()
            .collect();
        let ids = placed.iter().map(|order| order.order_id.clone());
        let mut outcomes: BTreeMap<OrderId, Result<(), Error>> =
            ids.zip(self.place(&placed, deadline).await).collect();

        // The others ask the gateway one by one, so they do not wait for each other.
        let others: Vec<Option<Result<(), Error>>> = stream::iter(&messages)
            .map(|message| self.attend(message, deadline))
            .buffered(PAYMENTS_AT_ONCE)
            .collect()
            .await;
        messages
            .iter()
            .zip(others)
            .map(|(message, attended)| {
                let placed = outcomes.get_mut(message.order_id());
                attended.unwrap_or_else(|| match placed {
                    Some(outcome @ Err(_)) => std::mem::replace(outcome, Err(Error::Conflict)),
                    Some(Ok(())) => Ok(()),
                    None => Err(Error::Conflict),
                })
            })
            .collect()
    }

    /// Handles a message that is not an order to be placed; `None` if it is.
    async fn attend(&self, message: &OrderMessage, deadline: Instant) -> Option<Result<(), Error>> {
        let outcome = match message {
            OrderMessage::Place(_) => return None,
            OrderMessage::Pay(payment) => within(deadline, self.pay(payment)).await,
            OrderMessage::Check { order_id } => {
                within(deadline, self.check(order_id, Patience::Wait)).await
            }
            OrderMessage::Cancel { order_id, by } => {
                within(deadline, self.cancel(order_id, by.as_str())).await
            }
        };
        Some(self.conclude_one(outcome).await)
    }

    /// Handles a message that failed too often: its order ends here, paid if it was paid after all, else failed.
    ///
    /// # Errors
    /// A store or the gateway failed; the message is to be brought again.
    pub async fn give_up(&self, message: OrderMessage) -> Result<(), Error> {
        counter!("dead_letters").increment(1);
        let order_id = message.order_id().clone();
        tracing::error!(order.id = %order_id, "an order could not be settled; giving it up");
        if let OrderMessage::Place(order) = &message {
            let reason = FailureReason::Undeliverable;
            let record = self
                .fence
                .ledger
                .book_failed(order, reason, clock::now())
                .await?;
            if record.revision == 1 && record.status == OrderStatus::Failed {
                return self.conclude_one(Ok(Some(record))).await;
            }
        }
        if !matches!(message, OrderMessage::Place(_)) && self.is_unknown(&order_id).await? {
            // Its own message never came in all this time: nothing was held, charged or promised by it.
            return Ok(());
        }
        match message {
            OrderMessage::Cancel { order_id, by } => {
                let work = self.cancel(&order_id, by.as_str()).await;
                self.conclude_one(work).await
            }
            OrderMessage::Pay(payment) => {
                let begun = self.pay(&payment).await;
                self.conclude_one(begun).await
            }
            OrderMessage::Place(_) | OrderMessage::Check { .. } => {
                let work = self.check(&order_id, Patience::GiveUp).await;
                self.conclude_one(work).await
            }
        }
    }

    async fn is_unknown(&self, order: &OrderId) -> Result<bool, Error> {
        let source = Source::Live(order.broadcast());
        Ok(self.fence.ledger.order(order).await?.is_none()
            && self.fence.gate.hold(&source, order).await?.is_none())
    }

    /// Brings an order on that somebody has to look at.
    ///
    /// # Errors
    /// A store or the gateway failed; it is to be looked at again.
    pub async fn look_after(&self, record: OrderRecord) -> Result<(), Error> {
        let looked = self.bring_on(record, Patience::Wait, clock::now()).await;
        self.conclude_one(looked).await
    }

    /// Brings orders on, several at once, and for no longer than a batch waits for the gateway: one that hangs may not keep
    /// whoever asks from the rest of its work. One outcome an order; one that was not brought on is to be looked at again.
    pub async fn look_after_all(&self, records: Vec<OrderRecord>) -> Vec<Result<(), Error>> {
        let deadline = Instant::now() + self.gateway_patience;
        stream::iter(records)
            .map(|record| within(deadline, self.look_after(record)))
            .buffer_unordered(PAYMENTS_AT_ONCE)
            .collect()
            .await
    }

    async fn place(&self, orders: &[AcceptedOrder], deadline: Instant) -> Vec<Result<(), Error>> {
        let now = clock::now();
        let bookings = self.fence.ledger.book(orders, now).await;
        let decided: Vec<Result<Decided, Error>> = stream::iter(orders.iter().zip(bookings))
            .map(|(order, booking)| within(deadline, self.decide(order, booking)))
            .buffered(PAYMENTS_AT_ONCE)
            .collect()
            .await;

        let mut outcomes: Vec<Result<OrderRecord, Error>> = Vec::with_capacity(orders.len());
        let mut paid = Vec::new();
        for decision in decided {
            outcomes.push(match decision {
                Ok(Decided::Settled(record)) => Ok(record),
                Ok(Decided::Paid(record, payment)) => {
                    paid.push((outcomes.len(), record, payment));
                    Err(Error::Conflict)
                }
                Err(error) => Err(error),
            });
        }
        let now = clock::now();
        let changes: Vec<_> = paid
            .iter()
            .map(|(_, record, payment)| {
                (
                    record.clone(),
                    record.clone().confirmed(shown(payment), now),
                )
            })
            .collect();
        let changed = self.fence.ledger.change_together(&changes).await;
        for ((place, _, payment), changed) in paid.into_iter().zip(changed) {
            outcomes[place] = match changed {
                Ok(Changed::Now(record)) => Ok(record),
                Ok(Changed::Overtaken(current)) => self.paid(current, payment, now).await,
                Ok(Changed::Short) => Err(Error::Conflict),
                Err(error) => Err(error),
            };
        }
        self.note_progress(orders).await;
        self.conclude(outcomes).await
    }

    /// Tells the sweep how far the queue is done, so that a backlog does not expire accepted orders.
    async fn note_progress(&self, orders: &[AcceptedOrder]) {
        if let Some(oldest) = orders.iter().map(|order| order.accepted_at).min()
            && let Err(error) = self.fence.gate.raise_watermark(oldest).await
        {
            tracing::warn!(error = %error, "the sweep does not hear how far the queue is done");
        }
    }

    /// Settles the payment of a booked order, or finds that it is settled.
    async fn decide(
        &self,
        order: &AcceptedOrder,
        booking: Result<Booking, Error>,
    ) -> Result<Decided, Error> {
        let (record, first) = match booking? {
            Booking::Reserved(record) => (record, true),
            Booking::Existing(record) if record.status == OrderStatus::Reserved => (record, false),
            Booking::Existing(record) => return Ok(Decided::Settled(record)),
            Booking::SoldOut => {
                counter!("orders_refused_by_the_ledger").increment(1);
                let reason = FailureReason::SoldOut;
                let now = clock::now();
                let record = self.fence.ledger.book_failed(order, reason, now).await?;
                // Another copy of the message was faster, and found units: it settles the order.
                return if record.status == OrderStatus::Reserved {
                    Err(Error::Conflict)
                } else {
                    Ok(Decided::Settled(record))
                };
            }
        };
        let PaymentMethod::BillingKey {
            billing_key,
            customer_key,
        } = &order.payment
        else {
            return Ok(Decided::Settled(record)); // it waits for its buyer
        };
        if !first
            && let Some(payment) = self.payments.lookup(&record.order_id).await?
            && payment.status == PaymentStatus::Done
        {
            return self.judge(record, payment).await;
        }
        let amount = record.amount();
        // The gateway repeats its first answer to an attempt, a failure of its own included: after a while it is another one.
        let attempt = 1 + minutes(clock::now().since(record.created_at));
        let charge = self
            .payments
            .charge(&record.order_id, billing_key, customer_key, amount, attempt)
            .await?;
        match charge {
            Charge::Paid(payment) => self.judge(record, payment).await,
            Charge::Declined(code) => {
                let now = clock::now();
                let mut failed = OrderRecord {
                    declined: Some(code),
                    ..record.clone().failed(FailureReason::PaymentDeclined, now)
                };
                // An earlier try may have taken the money, or may still: this refusal says nothing of it.
                if !first {
                    let earlier = self.payments.lookup(&record.order_id).await?;
                    if let Some(payment) = earlier.filter(is_done) {
                        return self.judge(record, payment).await;
                    }
                    failed = watched(failed, now);
                }
                let cause = "payment declined";
                self.change(&record, failed, cause)
                    .await
                    .map(Decided::Settled)
            }
        }
    }

    /// Paid orders of one batch are written down together; those paid wrongly go their own way.
    async fn judge(
        &self,
        record: OrderRecord,
        payment: payment::Payment,
    ) -> Result<Decided, Error> {
        if payment.total == record.amount() {
            Ok(Decided::Paid(record, payment))
        } else {
            let now = clock::now();
            self.paid(record, payment, now).await.map(Decided::Settled)
        }
    }

    async fn pay(&self, payment: &Payment) -> Result<Option<OrderRecord>, Error> {
        let order = &payment.order_id;
        let Some(record) = self.fence.ledger.order(order).await? else {
            // Not there yet: its own message is on the queue, whether the gate remembers its hold or not.
            return Err(Error::Conflict);
        };
        let now = clock::now();
        let key = &payment.payment_key;
        match begin_payment(&self.fence.ledger, &self.terms, record, key, now).await {
            Ok(record) if record.attempt.as_ref() == Some(key) && !is_settled(&record) => {
                self.take_payment(record, key, now).await.map(Some)
            }
            // Paid by it, or refused before.
            Ok(record) => Ok(Some(record)),
            // Nothing was taken: the gateway lets an authorization lapse that nobody confirms.
            Err(Error::AlreadySettled | Error::PaymentExpired) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Looks where an order is, and brings it on.
    async fn check(
        &self,
        order: &OrderId,
        patience: Patience,
    ) -> Result<Option<OrderRecord>, Error> {
        match self.fence.ledger.order(order).await? {
            Some(record) => self.bring_on(record, patience, clock::now()).await,
            None => Ok(None),
        }
    }

    async fn bring_on(
        &self,
        record: OrderRecord,
        patience: Patience,
        now: Timestamp,
    ) -> Result<Option<OrderRecord>, Error> {
        let over = patience == Patience::GiveUp || record.pay_by <= now;
        let given_up = match patience {
            Patience::GiveUp => FailureReason::Undeliverable,
            Patience::Wait => FailureReason::PaymentExpired,
        };
        if record.refund == Some(Refund::Due) {
            return self.refund(record, now).await.map(Some);
        }
        match (record.status, record.method, record.attempt.clone()) {
            (OrderStatus::Reserved, PaymentKind::Widget, None) => {
                if !over {
                    return Ok(Some(record));
                }
                let failed = record.clone().failed(given_up, now);
                self.change(&record, failed, "not paid in time")
                    .await
                    .map(Some)
            }
            (OrderStatus::Reserved, PaymentKind::Widget, Some(key)) => {
                self.take_payment(record, &key, now).await.map(Some)
            }
            (OrderStatus::Reserved, PaymentKind::BillingKey, _) => {
                let paid = self.payments.lookup(&record.order_id).await?;
                if let Some(payment) = paid.filter(is_done) {
                    return self.paid(record, payment, now).await.map(Some);
                }
                if !over {
                    return Ok(Some(record));
                }
                let failed = watched(record.clone().failed(given_up, now), now);
                self.change(&record, failed, "never paid").await.map(Some)
            }
            (OrderStatus::Confirmed, ..) => {
                let payment = self.payments.lookup(&record.order_id).await?;
                let returned =
                    payment.is_some_and(|payment| payment.status == PaymentStatus::Canceled);
                if !returned {
                    return Ok(Some(record));
                }
                // Somebody gave the money back at the gateway: then the units come back, too.
                let failed = refunded(record.clone().failed(FailureReason::Cancelled, now), now);
                let cause = "refunded at the gateway";
                self.change(&record, failed, cause).await.map(Some)
            }
            (OrderStatus::Failed | OrderStatus::Accepted, ..) => {
                if record.refund.is_some() {
                    return Ok(Some(record));
                }
                let payment = self.payments.lookup(&record.order_id).await?;
                match payment.filter(is_done) {
                    Some(payment) => self.paid(record, payment, now).await.map(Some),
                    None => self.watch_on(record, now).await.map(Some),
                }
            }
        }
    }

    /// Takes the payment a buyer has authorized.
    async fn take_payment(
        &self,
        record: OrderRecord,
        payment_key: &str,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let amount = record.amount();
        let charge = self
            .payments
            .confirm(&record.order_id, payment_key, amount)
            .await?;
        let code = match charge {
            Charge::Paid(payment) => return self.paid(record, payment, now).await,
            Charge::Declined(code) => code,
        };
        // Another checkout of the same order may have been paid.
        let other = self.payments.lookup(&record.order_id).await?;
        if let Some(payment) = other.filter(is_done) {
            return self.paid(record, payment, now).await;
        }
        let mut refused = record.refused.clone();
        refused.push(payment_key.to_owned());
        let declined = OrderRecord {
            attempt: None,
            refused,
            declines: record.declines + 1,
            declined: Some(code),
            ..record.clone()
        };
        let pay_by = self.terms.extended(&record, now);
        if declined.declines >= self.terms.max_declines || pay_by <= now {
            let failed = declined.failed(FailureReason::PaymentDeclined, now);
            return self.change(&record, failed, "payment declined").await;
        }
        let again = OrderRecord {
            pay_by,
            due_at: Some(pay_by),
            ..declined
        };
        self.change(&record, again, "payment declined, may be tried again")
            .await
    }

    /// Money came for an order: it is confirmed, or the money is owed to the buyer.
    async fn paid(
        &self,
        record: OrderRecord,
        payment: payment::Payment,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let mut record = record;
        loop {
            let right = payment.total == record.amount();
            let (wanted, cause) = match (record.status, record.reason) {
                (OrderStatus::Confirmed, _) => {
                    self.return_duplicate(&record, &payment).await?;
                    return Ok(record);
                }
                (OrderStatus::Reserved, _) if right => {
                    (record.clone().confirmed(shown(&payment), now), "paid")
                }
                (OrderStatus::Reserved, _) => {
                    let reason = FailureReason::PaymentDeclined;
                    let failed = record.clone().failed(reason, now);
                    (owed(failed, &payment, now), "paid with another amount")
                }
                (OrderStatus::Failed, _) if record.refund.is_some() => {
                    return self.refund(record, now).await;
                }
                (
                    OrderStatus::Failed,
                    Some(FailureReason::PaymentExpired | FailureReason::Expired),
                ) if right => (
                    record.clone().confirmed(shown(&payment), now),
                    "paid after its time",
                ),
                (OrderStatus::Failed | OrderStatus::Accepted, _) => {
                    (owed(record.clone(), &payment, now), "paid after it failed")
                }
            };
            match self
                .fence
                .ledger
                .change(&record, wanted, cause, now)
                .await?
            {
                Changed::Now(next) if next.refund == Some(Refund::Due) => {
                    return self.refund(next, now).await;
                }
                Changed::Now(next) => {
                    if !record.counts() {
                        counter!("late_payments_taken").increment(1);
                    }
                    return Ok(next);
                }
                Changed::Overtaken(current) => record = current,
                Changed::Short => {
                    let wanted = owed(record.clone(), &payment, now);
                    let cause = "paid after its units were gone";
                    match self
                        .fence
                        .ledger
                        .change(&record, wanted, cause, now)
                        .await?
                    {
                        Changed::Now(next) => return self.refund(next, now).await,
                        Changed::Overtaken(current) => record = current,
                        Changed::Short => return Err(Error::Conflict),
                    }
                }
            }
        }
    }

    /// An order is paid once: a second payment of it goes back at once.
    async fn return_duplicate(
        &self,
        record: &OrderRecord,
        payment: &payment::Payment,
    ) -> Result<(), Error> {
        let counted = record.payment.as_ref().map(|paid| &paid.payment_key);
        if counted == Some(&payment.payment_key) {
            return Ok(());
        }
        counter!("duplicate_payments").increment(1);
        let id = format!("{}:duplicate", record.order_id);
        let reason = "Onepool: the order was paid twice";
        if let payment::Refund::Refused(code) = self.payments.refund(payment, &id, reason).await? {
            counter!("refunds_refused").increment(1);
            tracing::error!(order.id = %record.order_id, code, "the refund of a second payment was refused: a person has to look");
        }
        Ok(())
    }

    /// Gives money back that the ledger says is owed. If the gateway does not say what it did, it stays owed, and somebody
    /// looks at it again.
    async fn refund(&self, record: OrderRecord, now: Timestamp) -> Result<OrderRecord, Error> {
        if record.refund != Some(Refund::Due) {
            return Ok(record);
        }
        let order = &record.order_id;
        let next = match self.ask_back(&record, now).await {
            Ok(payment::Refund::Done(_)) => {
                counter!("refunds").increment(1);
                refunded(record.clone(), now)
            }
            Ok(payment::Refund::Refused(code)) => {
                counter!("refunds_refused").increment(1);
                tracing::error!(order.id = %order, code, "a refund was refused: a person has to look");
                OrderRecord {
                    refund: Some(Refund::Refused),
                    due_at: None,
                    ..record.clone()
                }
            }
            Err(error) => {
                tracing::warn!(order.id = %order, error = %error, "a refund has no known outcome; it stays owed");
                OrderRecord {
                    due_at: Some(now + REFUND_PATIENCE),
                    ..record.clone()
                }
            }
        };
        self.change(&record, next, "refunded").await
    }

    async fn ask_back(
        &self,
        record: &OrderRecord,
        now: Timestamp,
    ) -> Result<payment::Refund, Error> {
        let order = &record.order_id;
        let payment = self.payments.lookup(order).await?;
        let payment =
            payment.ok_or_else(|| Error::Payment("no payment to give back".to_owned()))?;
        if payment.status == PaymentStatus::Canceled {
            return Ok(payment::Refund::Done(payment));
        }
        let waited = minutes(now.since(record.settled_at.unwrap_or(now)));
        let id = format!("{order}:{waited}");
        self.payments
            .refund(&payment, &id, "Onepool: the order failed")
            .await
    }

    async fn cancel(&self, order: &OrderId, by: &str) -> Result<Option<OrderRecord>, Error> {
        let now = clock::now();
        let record = match self.fence.ledger.order(order).await? {
            Some(record) => record,
            None => {
                // Not in the ledger yet. What its hold says is enough to end it there; its own message finds it ended.
                let source = Source::Live(order.broadcast());
                let Some(hold) = self.fence.gate.hold(&source, order).await? else {
                    // The gate forgot it; its own message is on the queue.
                    return Err(Error::Conflict);
                };
                let order = hold.as_order(order.clone())?;
                let reason = FailureReason::Cancelled;
                let record = self.fence.ledger.book_failed(&order, reason, now).await?;
                if record.status == OrderStatus::Failed {
                    return Ok(Some(record));
                }
                record
            }
        };
        let mut record = record;
        let cause = format!("cancelled by {by}");
        loop {
            let failed = record.clone().failed(FailureReason::Cancelled, now);
            let wanted = match (record.status, &record.payment) {
                // A payment that comes after its time would take it up again.
                (OrderStatus::Failed, None) if is_expired(&record) => OrderRecord {
                    reason: Some(FailureReason::Cancelled),
                    ..record.clone()
                },
                (OrderStatus::Failed, _) => return Ok(Some(record)),
                (OrderStatus::Confirmed, Some(_)) => OrderRecord {
                    refund: Some(Refund::Due),
                    due_at: Some(now + REFUND_PATIENCE),
                    ..failed
                },
                _ => watched(failed, now),
            };
            match self
                .fence
                .ledger
                .change(&record, wanted, &cause, now)
                .await?
            {
                Changed::Now(next) => {
                    // The gate follows before the gateway is asked, which may take long: units that are back in the ledger
                    // alone look like drift. If it does not now, the message comes again for it.
                    self.fence
                        .settle_holds(std::slice::from_ref(&next), now)
                        .await;
                    // A charge may have been under way: the gateway knows.
                    let ended = if next.may_be_charged() || next.refund.is_some() {
                        self.bring_on(next, Patience::Wait, now).await
                    } else {
                        Ok(Some(next))
                    };
                    return ended;
                }
                Changed::Overtaken(current) => record = current,
                Changed::Short => return Err(Error::Conflict),
            }
        }
    }

    /// A failed order for which a charge might still arrive is looked at again, ever more seldom.
    async fn watch_on(&self, record: OrderRecord, now: Timestamp) -> Result<OrderRecord, Error> {
        if record.due_at.is_none_or(|due_at| due_at > now) {
            return Ok(record);
        }
        let waited = now.since(record.settled_at.unwrap_or(now));
        let due_at = (waited < WATCH_END).then(|| now + waited.max(WATCH));
        let next = OrderRecord {
            due_at,
            ..record.clone()
        };
        self.change(&record, next, "looked for a late payment")
            .await
    }

    /// Makes a change; if somebody else was faster, what they made of the order stands.
    async fn change(
        &self,
        read: &OrderRecord,
        wanted: OrderRecord,
        cause: &str,
    ) -> Result<OrderRecord, Error> {
        let now = clock::now();
        let changed = self.fence.ledger.change(read, wanted, cause, now).await?;
        changed.record().ok_or(Error::Conflict)
    }

    async fn conclude_one(&self, outcome: Result<Option<OrderRecord>, Error>) -> Result<(), Error> {
        match outcome {
            Ok(Some(record)) => {
                let mut concluded = self.conclude(vec![Ok(record)]).await;
                concluded.pop().unwrap_or(Err(Error::Conflict))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes the gate agree with the ledger, and tells the buyers.
    async fn conclude(&self, outcomes: Vec<Result<OrderRecord, Error>>) -> Vec<Result<(), Error>> {
        let mut concluded: Vec<Result<(), Error>> = Vec::with_capacity(outcomes.len());
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            concluded.push(match outcome {
                Ok(record) => {
                    places.push(concluded.len());
                    records.push(record);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        for (index, error) in self.fence.settle_holds(&records, clock::now()).await {
            concluded[places[index]] = Err(error);
        }
        self.tell(&records).await;
        concluded
    }

    async fn tell(&self, records: &[OrderRecord]) {
        let mut by_broadcast = BTreeMap::<BroadcastId, Vec<_>>::new();
        for record in records {
            count(record);
            let result = (
                Some(record.user_id.clone()),
                Event::OrderResult(record.view()),
            );
            let broadcast = record.order_id.broadcast();
            by_broadcast.entry(broadcast).or_default().push(result);
        }
        for (broadcast, results) in by_broadcast {
            if let Err(error) = self.rooms.append(&broadcast, &results, clock::now()).await {
                // The order is settled and `GET /orders` says so; a push that is lost is not worth settling it again.
                tracing::warn!(error = %error, broadcast.id = %broadcast, "order results were not pushed");
            }
        }
    }
}

enum Decided {
    Paid(OrderRecord, payment::Payment),
    Settled(OrderRecord),
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    // Boxed: a batch holds many of these.
    tokio::time::timeout_at(deadline, work.boxed_local())
        .await
        .unwrap_or_else(|_elapsed| Err(Error::Payment("no time left in this batch".to_owned())))
}

fn minutes(span: Duration) -> u32 {
    u32::try_from(span.as_secs() / 60).unwrap_or(u32::MAX - 1)
}

fn is_done(payment: &payment::Payment) -> bool {
    payment.status == PaymentStatus::Done
}

fn is_expired(record: &OrderRecord) -> bool {
    matches!(
        record.reason,
        Some(FailureReason::PaymentExpired | FailureReason::Expired)
    )
}

fn is_settled(record: &OrderRecord) -> bool {
    record.status != OrderStatus::Reserved
}

fn shown(payment: &payment::Payment) -> PaymentView {
    PaymentView {
        payment_key: payment.payment_key.clone(),
        approved_at: payment.approved_at,
        refunded_at: None,
    }
}

/// The order, with its money owed to the buyer.
fn owed(record: OrderRecord, payment: &payment::Payment, now: Timestamp) -> OrderRecord {
    OrderRecord {
        payment: Some(shown(payment)),
        refund: Some(Refund::Due),
        due_at: Some(now + REFUND_PATIENCE),
        ..record
    }
}

/// The order, with its money given back.
fn refunded(record: OrderRecord, now: Timestamp) -> OrderRecord {
    OrderRecord {
        payment: record.payment.map(|payment| PaymentView {
            refunded_at: Some(now),
            ..payment
        }),
        refund: Some(Refund::Done),
        due_at: None,
        ..record
    }
}

/// The failed order, to be looked at again if a charge may have been under way.
fn watched(record: OrderRecord, now: Timestamp) -> OrderRecord {
    OrderRecord {
        due_at: record.may_be_charged().then(|| now + WATCH),
        ..record
    }
}

fn count(record: &OrderRecord) {
    match (record.status, record.reason) {
        (OrderStatus::Confirmed, _) => counter!("orders_confirmed").increment(1),
        (OrderStatus::Failed, Some(reason)) => {
            counter!("orders_failed", "reason" => reason.as_str()).increment(1);
        }
        (OrderStatus::Failed | OrderStatus::Reserved | OrderStatus::Accepted, _) => {}
    }
}
