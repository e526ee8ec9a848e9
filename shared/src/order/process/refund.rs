//! Giving money back. The ledger says that it is owed before the gateway is asked, and says so until the gateway has answered.

use std::time::Duration;

use metrics::counter;

use super::{
    Settlement,
    take::{minutes, shown},
};
use crate::{
    clock::Timestamp,
    error::Error,
    ledger::{OrderRecord, Refund},
    order::PaymentView,
    payment::{self, PaymentStatus},
};

/// When to try a refund again that had no known outcome.
pub(super) const REFUND_PATIENCE: Duration = Duration::from_secs(30);

impl Settlement {
    /// Gives money back that the ledger says is owed. If the gateway does not say what it did, it stays owed, and somebody
    /// looks at it again.
    pub(super) async fn refund(
        &self,
        record: OrderRecord,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
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

    /// An order is paid once: a second payment of it goes back at once.
    pub(super) async fn return_duplicate(
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
}

/// The order, with its money owed to the buyer.
pub(super) fn owed(record: OrderRecord, payment: &payment::Payment, now: Timestamp) -> OrderRecord {
    OrderRecord {
        payment: Some(shown(payment)),
        refund: Some(Refund::Due),
        due_at: Some(now + REFUND_PATIENCE),
        ..record
    }
}

/// The order, with its money given back.
pub(super) fn refunded(record: OrderRecord, now: Timestamp) -> OrderRecord {
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
