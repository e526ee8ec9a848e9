//! Expiry. A hold that nobody paid for is given back, but only after the ledger has said that its order failed: whoever comes
//! later, the order's own message included, finds it ended there. So ledger and sweep cannot both win.

use std::time::Duration;

use metrics::counter;

use super::{
    AcceptedOrder, FailureReason, OrderId, OrderMessage, OrderStatus, PaymentKind, PaymentMethod,
};
use crate::{
    broadcast::fence::Fence,
    clock::Timestamp,
    error::Error,
    ledger::OrderRecord,
    queue::Queue,
    stock::{HoldState, Source},
};

/// Holds one sweep looks at.
pub const MAX_HOLDS: usize = 100;
/// Failures in a row after which a sweep takes it that a store is away.
const MAX_FAILURES: usize = 2;
/// Holds a sweep looks at that a buyer waits for: each takes some calls, and the buyer's function has 5 s.
const CLAIMED_HOLDS: usize = 20;
/// What the queue may bring late although it is done up to a time: it is not strictly in order.
const SLACK: Duration = Duration::from_secs(10);
/// How long after its deadline an order that a backlog keeps from the ledger is left alone.
const BACKLOG_CEILING: Duration = Duration::from_secs(900);

/// Gives expired holds back.
#[derive(Clone)]
pub struct Sweep {
    /// The ledger and the gate.
    pub fence: Fence,
    /// Where the buyers of what expired are told from.
    pub queue: Queue,
}

impl Sweep {
    /// Gives the expired holds of a source back. Returns how many. With `claim`, nothing is done if another sweep of the
    /// source began within that time.
    ///
    /// # Errors
    /// A store failed; the next sweep goes on.
    pub async fn sweep(
        &self,
        source: &Source,
        now: Timestamp,
        claim: Option<Duration>,
    ) -> Result<usize, Error> {
        let gate = &self.fence.gate;
        let mut ended = Vec::new();
        let (mut failure, mut failures) = (None, 0);
        // A buyer is waiting for what a claimed sweep finds.
        let most = claim.map_or(MAX_HOLDS, |_| CLAIMED_HOLDS);
        for order in gate.expired(source, now, most, claim).await? {
            // One that cannot be ended keeps no other one's units.
            match self.end(source, &order, now).await {
                Ok(record) => {
                    ended.extend(record);
                    failures = 0;
                }
                Err(error) => {
                    tracing::warn!(order.id = %order, error = %error, "an expired hold was not ended");
                    failure = Some(error);
                    failures += 1;
                }
            }
            if failures == MAX_FAILURES {
                break;
            }
        }
        if let Some((_, error)) = self.fence.settle_holds(&ended, now).await.pop() {
            failure = Some(error);
        }
        for record in &ended {
            // Its buyer is told by the part that tells buyers.
            let order_id = record.order_id.clone();
            self.queue.send(&OrderMessage::Check { order_id }).await?;
        }
        failure.map_or(Ok(ended.len()), Err)
    }

    /// Ends an order whose hold is past its deadline, in the ledger. `None` if it goes on.
    async fn end(
        &self,
        source: &Source,
        order: &OrderId,
        now: Timestamp,
    ) -> Result<Option<OrderRecord>, Error> {
        let Fence { ledger, gate, .. } = &self.fence;
        let Some(record) = ledger.order(order).await? else {
            let Some(hold) = gate.hold(source, order).await? else {
                return Ok(None);
            };
            if self.may_be_on_the_queue(&hold, now).await? {
                return Ok(None);
            }
            counter!("holds_expired").increment(1);
            let order = hold.as_order(order.clone())?;
            let expired = ledger
                .book_failed(&order, FailureReason::Expired, now)
                .await?;
            return Ok(Some(expired));
        };
        if record.status != OrderStatus::Reserved {
            return Ok(Some(record)); // settled, and somebody broke off before the gate heard of it
        }
        let payable = record.method == PaymentKind::Widget && record.attempt.is_none();
        if !payable || record.pay_by > now {
            // Money may be under way, or there is time left: whoever settles payments decides.
            gate.extend(source, order, record.pay_by.max(now + SLACK))
                .await?;
            return Ok(None);
        }
        counter!("holds_expired").increment(1);
        let failed = record.clone().failed(FailureReason::PaymentExpired, now);
        let changed = ledger
            .change(&record, failed, "not paid in time", now)
            .await?;
        Ok(changed.record())
    }

    async fn may_be_on_the_queue(&self, hold: &HoldState, now: Timestamp) -> Result<bool, Error> {
        let held = &hold.reservation;
        if held.deadline + BACKLOG_CEILING < now {
            counter!("backlog_ceiling").increment(1);
            tracing::error!(deadline = %held.deadline, "an order was not in the ledger long after its deadline");
            return Ok(false);
        }
        let done = self.fence.gate.watermark().await?;
        Ok(done.is_none_or(|done| done < held.accepted_at + SLACK))
    }
}

impl HoldState {
    /// The order behind a hold that never came to the ledger. How it was to be paid is not known any more, and does not
    /// matter: an order that is not in the ledger was never charged.
    ///
    /// # Errors
    /// The hold names no user.
    pub fn as_order(self, order_id: OrderId) -> Result<AcceptedOrder, Error> {
        let user = self.viewer.parse();
        Ok(AcceptedOrder {
            order_id,
            user_id: user.map_err(|_| Error::Corrupt("a hold".to_owned()))?,
            lines: self.reservation.lines,
            payment: PaymentMethod::Widget {},
            accepted_at: self.reservation.accepted_at,
            deadline: self.reservation.deadline,
        })
    }
}
