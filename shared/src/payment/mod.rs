//! Payment. A gateway's answer is one of three: paid, declined, or not known; and what is not known is looked up, never
//! guessed.

mod toss;
mod webhook;

use futures::future::BoxFuture;

pub use toss::Toss;
pub use webhook::Webhook;

use crate::{clock::Timestamp, error::Error, order::OrderId};

/// Our own code for a try with the key of a payment that was made for another order. That payment stays as it is.
pub const PAYMENT_OF_ANOTHER_ORDER: &str = "PAYMENT_OF_ANOTHER_ORDER";
/// Our own code for a try at an order whose payment was given back in full: a gateway takes an order id once.
pub const PAYMENT_CANCELED: &str = "PAYMENT_CANCELED";
/// Our own code for a try at a payment that was aborted or has expired.
pub const PAYMENT_OVER: &str = "PAYMENT_OVER";
/// Our own code for a key that cannot be one: the gateway was not asked.
pub const UNUSABLE_KEY: &str = "UNUSABLE_KEY";

/// What the gateway knows of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payment {
    /// The gateway's key of it.
    pub payment_key: String,
    /// The order it was made for; `None` if that is not one of ours.
    pub order_id: Option<OrderId>,
    /// How far it is.
    pub status: PaymentStatus,
    /// What was asked for, in won. It does not change when money is given back.
    pub total: u64,
    /// What can still be given back, in won.
    pub balance: u64,
    /// When the money was taken.
    pub approved_at: Option<Timestamp>,
}

/// How far a payment is. In brackets what Toss calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PaymentStatus {
    /// The money is ours (DONE), or what is left of it (PARTIAL_CANCELED).
    Done,
    /// All of it was given back (CANCELED).
    Canceled,
    /// It may still become done (READY, IN_PROGRESS, WAITING_FOR_DEPOSIT).
    Pending,
    /// It never will (ABORTED, EXPIRED).
    Dead,
}

/// What became of a try to take money.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// The money is ours: of this try, or of an earlier one for the same order.
    Paid(Payment),
    /// The gateway refused for good, with its code or one of ours. No money moved by this try; another checkout of the order
    /// may have been paid, so whoever is about to fail an order for it looks first.
    Declined(String),
}

/// What became of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refund {
    /// All money went back, now or by an earlier try.
    Done(Payment),
    /// The gateway refused for good, with its code or one of ours: a person must look.
    Refused(String),
}

/// A payment gateway.
///
/// Every error of it is either [`Error::Payment`]: the outcome is not known, and asking again later is safe; or
/// [`Error::PaymentConfiguration`]: nothing can be asked before a person has put our keys right.
///
/// A gateway repeats its first answer to an idempotency key, a failure of its own included. Whoever asks again and again
/// without an outcome therefore asks under another `attempt` or `refund_id` after a while, and looks first. For the same
/// reason a charge or confirm that is repeated after a refund may still say [`Charge::Paid`]: whoever may have refunded
/// looks first.
pub trait Gateway: Send + Sync {
    /// Charges `amount` won to a registered card, once for each (order, attempt); an order is paid once, whatever the
    /// attempt. A payment of another amount is [`Charge::Paid`] too: its `total` tells.
    ///
    /// # Errors
    /// [`Error::Payment`] when it is not known whether the charge was made, or will be; [`Error::PaymentConfiguration`].
    fn charge<'a>(
        &'a self,
        order: &'a OrderId,
        billing_key: &'a str,
        customer_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>>;

    /// Takes the `amount` won that a buyer agreed to at the checkout, once, whatever the attempt. A payment of another amount is
    /// [`Charge::Paid`] too: its `total` tells. If another checkout of the same order was paid, that payment is the answer.
    ///
    /// # Errors
    /// [`Error::Payment`] when it is not known whether the money was taken, or will be; [`Error::PaymentConfiguration`].
    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>>;

    /// The payment of an order: the one that took money if one did, else the newest; `None` if the gateway knows none.
    /// A try that is still on its way to the gateway is not known there yet.
    ///
    /// # Errors
    /// [`Error::Payment`] when the gateway did not say; [`Error::PaymentConfiguration`].
    fn lookup<'a>(&'a self, order: &'a OrderId) -> BoxFuture<'a, Result<Option<Payment>, Error>>;

    /// Gives back all that is left of a payment, once, with a reason for its receipt (the first 200 characters of it).
    ///
    /// # Errors
    /// [`Error::Payment`] when it is not known whether the money went back; [`Error::PaymentConfiguration`].
    fn refund<'a>(
        &'a self,
        payment: &'a Payment,
        refund_id: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Refund, Error>>;
}
