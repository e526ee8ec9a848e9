//! Paying after the order was accepted, and taking an order back: the buyer's and the operator's doors, and the gateway's.
//!
//! None of them moves money. They decide in the ledger whether a payment may begin, put what is to be done on the orders
//! queue, and answer; `order-process` does it. So a buyer is never told "accepted" by something that may be forgotten.

use std::time::Duration;

use super::{FailureReason, OrderId, OrderMessage, OrderStatus, Payment, PaymentKind};
use crate::{
    auth::{Caller, Role},
    broadcast::fence::Fence,
    catalog::Catalog,
    clock::{self, Timestamp},
    error::Error,
    ledger::{Changed, Ledger, OrderRecord},
    payment::Webhook,
    queue::Queue,
    stock::Source,
};

/// How often a change is tried again on what the order has become meanwhile.
const MAX_TRIES: usize = 5;

/// How long a buyer may take to pay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PaymentTerms {
    /// How long an order keeps its units once its buyer has begun to pay, or may try again.
    pub extension: Duration,
    /// The longest an order may keep its units unpaid, from when it was accepted.
    pub ceiling: Duration,
    /// How often a payment may be refused before the order fails.
    pub max_declines: u32,
}

impl PaymentTerms {
    /// What is usual, with this ceiling.
    #[must_use]
    pub const fn with_ceiling(ceiling: Duration) -> Self {
        Self {
            extension: Duration::from_secs(120),
            ceiling,
            max_declines: 3,
        }
    }

    /// Until when the units of an order that is being paid are kept.
    #[must_use]
    pub fn extended(&self, record: &OrderRecord, now: Timestamp) -> Timestamp {
        let until = (now + self.extension).min(record.created_at + self.ceiling);
        until.max(record.pay_by)
    }
}

/// The doors.
pub struct Payments {
    /// Where orders are: in the ledger, or only in the gate yet.
    pub fence: Fence,
    /// Where things to do go.
    pub queue: Queue,
    /// Where requests are remembered.
    pub catalog: Catalog,
    /// How long a buyer may take.
    pub terms: PaymentTerms,
}

impl Payments {
    /// The buyer has authorized a payment of `amount` won in the gateway's window.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the amount is not the order's, [`Error::PaymentExpired`] if it is too late and the units are gone,
    /// [`Error::AlreadySettled`] if there is nothing to pay, [`Error::NotFound`], or a store failed: then asking again is safe.
    pub async fn pay(&self, caller: &Caller, payment: Payment, amount: u64) -> Result<(), Error> {
        let now = clock::now();
        let order = &payment.order_id;
        let Some(record) = self.fence.ledger.order(order).await? else {
            // Accepted, not in the ledger yet. The message waits for it there.
            let hold = self.fence.gate.hold(&source(order), order).await?;
            let hold = hold
                .filter(|hold| hold.reservation.open && hold.viewer == caller.user_id.as_str())
                .ok_or(Error::NotFound("order"))?;
            right_amount(super::amount(&hold.reservation.lines), amount)?;
            let until =
                (now + self.terms.extension).min(hold.reservation.accepted_at + self.terms.ceiling);
            let gate = &self.fence.gate;
            gate.extend(&source(order), order, until).await?;
            return self.queue.send(&OrderMessage::Pay(payment)).await;
        };
        if record.user_id != caller.user_id {
            return Err(Error::NotFound("order"));
        }
        right_amount(record.amount(), amount)?;
        let begun = begin_payment(
            &self.fence.ledger,
            &self.terms,
            record,
            &payment.payment_key,
            now,
        )
        .await?;
        if begun.status == OrderStatus::Reserved {
            // The hold is kept as long; and an order that had lost its units takes them in the gate, too, before anybody else
            // is promised them. If this is lost, whoever takes the payment does it.
            let told = self.fence.settle_holds(std::slice::from_ref(&begun), now);
            if let Some((_, error)) = told.await.pop() {
                tracing::warn!(order.id = %order, error = %error, "the gate was not told of a payment that begins");
            }
            self.queue.send(&OrderMessage::Pay(payment)).await?;
        }
        Ok(())
    }

    /// The buyer or an operator takes an order back.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such order or it is another viewer's, [`Error::AlreadySettled`] if it has failed, or a
    /// store failed: then asking again is safe.
    pub async fn cancel(&self, caller: &Caller, order: &OrderId) -> Result<(), Error> {
        let operator = caller.require(Role::Operator).is_ok();
        let theirs = |user: &str| operator || user == caller.user_id.as_str();
        match self.fence.ledger.order(order).await? {
            Some(record) if !theirs(record.user_id.as_str()) => {
                return Err(Error::NotFound("order"));
            }
            Some(record) if record.status == OrderStatus::Failed => {
                return Err(Error::AlreadySettled);
            }
            Some(_) => {}
            None => {
                let hold = self.fence.gate.hold(&source(order), order).await?;
                hold.filter(|hold| hold.reservation.open && theirs(&hold.viewer))
                    .ok_or(Error::NotFound("order"))?;
            }
        }
        self.queue
            .send(&OrderMessage::Cancel {
                order_id: order.clone(),
                by: caller.user_id.clone(),
            })
            .await
    }

    /// The gateway says that something happened. What it says is a hint only: anybody can send one, so the payment is read
    /// back before anything moves. A hint about an order that is not ours is none.
    ///
    /// # Errors
    /// A store failed: the gateway sends it again.
    pub async fn hear(&self, webhook: &Webhook) -> Result<bool, Error> {
        let Some(order) = &webhook.order_id else {
            return Ok(false);
        };
        if self.fence.ledger.order(order).await?.is_none() {
            return Ok(false);
        }
        self.queue
            .send(&OrderMessage::Check {
                order_id: order.clone(),
            })
            .await?;
        Ok(true)
    }
}

fn source(order: &OrderId) -> Source {
    Source::Live(order.broadcast())
}

fn right_amount(expected: u64, amount: u64) -> Result<(), Error> {
    if amount == expected {
        Ok(())
    } else {
        Err(Error::invalid("amount", expected.to_string()))
    }
}

/// Notes in the ledger that a payment of this order begins, before any money can move: from here on nobody fails the order
/// without asking the gateway. An order that was not paid in time takes its units again, if they are there.
///
/// # Errors
/// [`Error::AlreadySettled`] if there is nothing to pay or another payment is under way, [`Error::PaymentExpired`] if it is
/// too late, or DynamoDB did not say what it did.
pub async fn begin_payment(
    ledger: &Ledger,
    terms: &PaymentTerms,
    mut record: OrderRecord,
    payment_key: &str,
    now: Timestamp,
) -> Result<OrderRecord, Error> {
    for _ in 0..MAX_TRIES {
        if record.method != PaymentKind::Widget {
            return Err(Error::AlreadySettled);
        }
        let refused = record.refused.iter().any(|key| key == payment_key);
        let pay_by = terms.extended(&record, now);
        let paying = OrderRecord {
            attempt: Some(payment_key.to_owned()),
            pay_by,
            due_at: Some(pay_by),
            ..record.clone()
        };
        let (wanted, cause) = match (record.status, record.reason) {
            (OrderStatus::Confirmed, _)
                if record
                    .payment
                    .as_ref()
                    .is_some_and(|payment| payment.payment_key == payment_key) =>
            {
                return Ok(record);
            }
            (OrderStatus::Reserved, _) => match record.attempt.as_deref() {
                Some(attempt) if attempt == payment_key => return Ok(record),
                Some(_) => return Err(Error::AlreadySettled),
                // The gateway would say the same again; its buyer may try another payment.
                None if refused => return Ok(record),
                None if pay_by <= now => return Err(Error::PaymentExpired),
                None => (paying, "being paid"),
            },
            (OrderStatus::Failed, Some(FailureReason::PaymentExpired | FailureReason::Expired))
                if record.refund.is_none() && !refused =>
            {
                let until = now + terms.extension;
                let again = OrderRecord {
                    status: OrderStatus::Reserved,
                    reason: None,
                    settled_at: None,
                    pay_by: until,
                    due_at: Some(until),
                    ..paying
                };
                (again, "being paid after its time")
            }
            (OrderStatus::Confirmed | OrderStatus::Failed | OrderStatus::Accepted, _) => {
                return Err(Error::AlreadySettled);
            }
        };
        match ledger.change(&record, wanted, cause, now).await? {
            Changed::Now(record) => return Ok(record),
            Changed::Overtaken(current) => record = current,
            Changed::Short => return Err(Error::PaymentExpired),
        }
    }
    Err(Error::Conflict)
}
