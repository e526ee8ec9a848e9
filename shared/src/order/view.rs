//! What its buyer may read of an order.

use serde::{Deserialize, Serialize};

use super::{Line, OrderId};
use crate::clock::Timestamp;

/// What its buyer may read of an order: the answer to `GET /orders/{order_id}` and the `order_result` event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// The order.
    pub order_id: OrderId,
    /// Where it is.
    pub status: OrderStatus,
    /// Why it failed, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What was ordered.
    pub lines: Vec<Line>,
    /// What it costs, in won.
    pub amount: u64,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was confirmed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// Until when it is to be paid, if it still is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_by: Option<Timestamp>,
    /// The gateway's code of the last refusal, if the last try to pay was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
}

/// Where an order is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderStatus {
    /// Held in the gate, on the queue.
    Accepted,
    /// In the ledger, its payment not settled.
    Reserved,
    /// Paid.
    Confirmed,
    /// Not to be; with a [`FailureReason`].
    Failed,
}

/// Why an order failed. The list is closed: it is part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// The ledger had no units for it.
    SoldOut,
    /// The card company refused.
    PaymentDeclined,
    /// It was not paid in time.
    PaymentExpired,
    /// The buyer or an operator took it back.
    Cancelled,
    /// Its hold ran out before the ledger had it.
    Expired,
    /// It could not be processed.
    Undeliverable,
}

impl FailureReason {
    /// The word of the contract.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SoldOut => "sold_out",
            Self::PaymentDeclined => "payment_declined",
            Self::PaymentExpired => "payment_expired",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Undeliverable => "undeliverable",
        }
    }
}

/// What a buyer may read of a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PaymentView {
    /// The gateway's key of the payment.
    pub payment_key: String,
    /// When the gateway approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_at: Option<Timestamp>,
    /// When the money was given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refunded_at: Option<Timestamp>,
}
