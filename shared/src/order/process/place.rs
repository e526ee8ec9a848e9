//! Placing a batch: into the ledger together, charged one by one, written down as paid together.
//!
//! An order is booked before it is charged, so a message that comes again finds it, and asks the gateway what became of the
//! first try before it charges again. What the ledger has no units for fails as sold out.

use futures::{StreamExt, stream};
use metrics::counter;
use tokio::time::Instant;

use super::{
    PAYMENTS_AT_ONCE, Settlement,
    take::{attempt, is_done, is_returned, shown},
    watch::watched,
    within,
};
use crate::{
    clock,
    error::Error,
    ledger::{Booking, Changed, OrderRecord},
    order::{AcceptedOrder, FailureReason, OrderStatus, PaymentMethod},
    payment::{self, Charge},
};

/// What became of a booked order.
enum Decided {
    /// Paid as it should be; to be written down with its batch.
    Paid(OrderRecord, payment::Payment),
    /// As the ledger has it already.
    Settled(OrderRecord),
}

impl Settlement {
    /// Places orders that differ from one another. One outcome an order, in their order.
    pub(super) async fn place(
        &self,
        orders: &[AcceptedOrder],
        deadline: Instant,
    ) -> Vec<Result<(), Error>> {
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
        if !first && let Some(payment) = self.payments.lookup(&record.order_id).await? {
            if is_done(&payment) {
                return self.judge(record, payment).await;
            }
            if is_returned(&payment) {
                let returned = self.given_back(record, &payment, clock::now()).await;
                return returned.map(Decided::Settled);
            }
        }
        let amount = record.amount();
        let attempt = attempt(&record, clock::now());
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
}
