//! Looking after orders: whoever asks, an order is brought on from where the ledger says it is, by what the gateway says.
//!
//! An order fails only when its time is over and the gateway knows of no money for it. One that failed while a charge may
//! have been under way is looked at again, ever more seldom, and not for ever.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::{
    PAYMENTS_AT_ONCE, Patience, Settlement,
    refund::refunded,
    take::{is_done, is_returned, shown},
    within,
};
use crate::{
    clock::{self, Timestamp},
    error::Error,
    ledger::{Changed, OrderRecord, Refund},
    order::{FailureReason, OrderId, OrderStatus, PaymentKind},
    payment,
};

/// When to look for a charge that was under way while its order failed: first after this, then each time twice as late.
const WATCH: Duration = Duration::from_secs(60);
/// Until when to look, from the failure. Whatever comes later is told by a webhook.
const WATCH_END: Duration = Duration::from_secs(3_600);

impl Settlement {
    /// Brings an order on that somebody has to look at.
    ///
    /// # Errors
    /// A store or the gateway failed; it is to be looked at again.
    pub async fn look_after(&self, record: OrderRecord) -> Result<(), Error> {
        let now = clock::now();
        let looked = self.bring_on(record.clone(), Patience::Wait, now).await;
        if let Err(Error::Payment(_) | Error::PaymentConfiguration(_)) = &looked {
            // Looked at again later, so that it does not stand before all others in the index.
            let later = OrderRecord {
                due_at: Some(now + WATCH),
                ..record.clone()
            };
            self.change(&record, later, "the gateway did not say")
                .await?;
        }
        self.conclude_look(&record, looked).await
    }

    /// Follows a hint that something happened to an order.
    pub(super) async fn follow_hint(&self, order: &OrderId) -> Result<(), Error> {
        let Some(record) = self.fence.ledger.order(order).await? else {
            return Ok(());
        };
        let looked = self.bring_on(record.clone(), Patience::Wait, clock::now());
        let looked = looked.await;
        self.conclude_look(&record, looked).await
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

    /// Looks where an order is, and brings it on.
    pub(super) async fn check(
        &self,
        order: &OrderId,
        patience: Patience,
    ) -> Result<Option<OrderRecord>, Error> {
        match self.fence.ledger.order(order).await? {
            Some(record) => self.bring_on(record, patience, clock::now()).await,
            None => Ok(None),
        }
    }

    pub(super) async fn bring_on(
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
                let known = self.payments.lookup(&record.order_id).await?;
                if let Some(payment) = known.filter(is_returned)
                    && payment.payment_key == key
                {
                    return self.given_back(record, &payment, now).await.map(Some);
                }
                self.take_payment(record, &key, now).await.map(Some)
            }
            (OrderStatus::Reserved, PaymentKind::BillingKey, _) => {
                match self.payments.lookup(&record.order_id).await? {
                    Some(payment) if is_done(&payment) => {
                        return self.paid(record, payment, now).await.map(Some);
                    }
                    Some(payment) if is_returned(&payment) => {
                        return self.given_back(record, &payment, now).await.map(Some);
                    }
                    Some(_) | None => {}
                }
                if !over {
                    return Ok(Some(record));
                }
                let failed = watched(record.clone().failed(given_up, now), now);
                self.change(&record, failed, "never paid").await.map(Some)
            }
            (OrderStatus::Confirmed, ..) => match self.payments.lookup(&record.order_id).await? {
                Some(payment) if is_returned(&payment) => {
                    self.given_back(record, &payment, now).await.map(Some)
                }
                Some(_) | None => Ok(Some(record)),
            },
            (OrderStatus::Failed | OrderStatus::Accepted, ..) => {
                let payment = self.payments.lookup(&record.order_id).await?;
                match payment.filter(is_done) {
                    Some(payment) => self.paid(record, payment, now).await.map(Some),
                    None => self.watch_on(record, now).await.map(Some),
                }
            }
        }
    }

    /// Somebody gave the money back at the gateway: then the units come back, too.
    pub(super) async fn given_back(
        &self,
        record: OrderRecord,
        payment: &payment::Payment,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let failed = OrderRecord {
            payment: Some(shown(payment)),
            ..record.clone().failed(FailureReason::Cancelled, now)
        };
        let (failed, cause) = (refunded(failed, now), "refunded at the gateway");
        match self
            .fence
            .ledger
            .change(&record, failed, cause, now)
            .await?
        {
            Changed::Now(next) => Ok(next),
            // Whoever was faster may have gone by an answer of before.
            Changed::Overtaken(_) | Changed::Short => Err(Error::Conflict),
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
}

/// The failed order, to be looked at again if a charge may have been under way.
pub(super) fn watched(record: OrderRecord, now: Timestamp) -> OrderRecord {
    OrderRecord {
        due_at: record.may_be_charged().then(|| now + WATCH),
        ..record
    }
}
