//! Taking money: the payment a buyer has authorized, and whatever money came to an order, early, late or wrong.
//!
//! Money that came is never lost sight of. An order that may still have it is confirmed, one that may not owes it to its
//! buyer, and which of the two it is stands in the ledger before anything else happens.

use std::time::Duration;

use metrics::counter;

use super::{Settlement, refund::owed};
use crate::{
    clock::{self, Timestamp},
    error::Error,
    ledger::{Changed, OrderRecord, Refund},
    order::{FailureReason, OrderStatus, Payment, PaymentView, pay::begin_payment},
    payment::{self, Charge, PaymentStatus},
};

impl Settlement {
    /// Begins a payment in the ledger, and takes it. One that may not begin moves nothing.
    pub(super) async fn pay(&self, payment: &Payment) -> Result<Option<OrderRecord>, Error> {
        let order = &payment.order_id;
        let Some(record) = self.fence.ledger.order(order).await? else {
            // Not there yet: its own message is on the queue, whether the gate remembers its hold or not.
            return Err(Error::Conflict);
        };
        let now = clock::now();
        let key = &payment.payment_key;
        match begin_payment(&self.fence.ledger, &self.terms, record, key, now).await {
            Ok(record)
                if record.status == OrderStatus::Reserved
                    && record.attempt.as_ref() == Some(key) =>
            {
                self.take_payment(record, key, now).await.map(Some)
            }
            // Paid by it, or refused before.
            Ok(record) => Ok(Some(record)),
            // Nothing was taken: the gateway lets an authorization lapse that nobody confirms.
            Err(Error::AlreadySettled | Error::PaymentExpired) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Takes the payment a buyer has authorized.
    pub(super) async fn take_payment(
        &self,
        record: OrderRecord,
        payment_key: &str,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let amount = record.amount();
        let charge = self
            .payments
            .confirm(&record.order_id, payment_key, amount, attempt(&record, now))
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
    pub(super) async fn paid(
        &self,
        mut record: OrderRecord,
        payment: payment::Payment,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
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
                    self.return_duplicate(&record, &payment).await?;
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
}

/// Which attempt at the payment of an order this is. The gateway repeats its first answer to an attempt, a failure of its own
/// included: after a while it is another one.
pub(super) fn attempt(record: &OrderRecord, now: Timestamp) -> u32 {
    1 + minutes(now.since(record.created_at))
}

pub(super) fn minutes(span: Duration) -> u32 {
    u32::try_from(span.as_secs() / 60).unwrap_or(u32::MAX - 1)
}

pub(super) fn is_done(payment: &payment::Payment) -> bool {
    payment.status == PaymentStatus::Done
}

/// Whether the money was ours and is the buyer's again.
pub(super) fn is_returned(payment: &payment::Payment) -> bool {
    payment.status == PaymentStatus::Canceled
}

/// What the buyer may read of a payment.
pub(super) fn shown(payment: &payment::Payment) -> PaymentView {
    PaymentView {
        payment_key: payment.payment_key.clone(),
        approved_at: payment.approved_at,
        refunded_at: None,
    }
}
