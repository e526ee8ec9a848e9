//! Taking an order back: it fails in the ledger, its units go back, and then its money, if there is any.

use super::{Patience, Settlement, refund::REFUND_PATIENCE, watch::watched};
use crate::{
    clock,
    error::Error,
    ledger::{Changed, OrderRecord, Refund},
    order::{FailureReason, OrderId, OrderStatus},
    stock::Source,
};

impl Settlement {
    /// Ends an order for `by`, booked or not, paid or not; what has ended already stays as it is.
    pub(super) async fn cancel(
        &self,
        order: &OrderId,
        by: &str,
    ) -> Result<Option<OrderRecord>, Error> {
        let now = clock::now();
        let mut record = match self.fence.ledger.order(order).await? {
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
                    return if next.may_be_charged() || next.refund.is_some() {
                        self.bring_on(next, Patience::Wait, now).await
                    } else {
                        Ok(Some(next))
                    };
                }
                Changed::Overtaken(current) => record = current,
                Changed::Short => return Err(Error::Conflict),
            }
        }
    }
}

fn is_expired(record: &OrderRecord) -> bool {
    matches!(
        record.reason,
        Some(FailureReason::PaymentExpired | FailureReason::Expired)
    )
}
