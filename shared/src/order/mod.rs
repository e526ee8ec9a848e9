//! An order: what a buyer asked for, what became of it.
//!
//! ACCEPTED (held in the gate, on the queue) -> RESERVED (in the ledger) -> CONFIRMED (paid) or FAILED (with a reason).

pub mod accept;
pub mod follow;
mod id;
mod message;
pub mod pay;
pub mod process;
pub mod reconcile;
mod request;
pub mod sweep;
mod view;

use serde::{Deserialize, Serialize};

pub use self::{
    id::OrderId,
    message::{AcceptedOrder, OrderMessage, Payment},
    request::{
        MAX_LINES, MAX_QUANTITY, OrderBody, OrderBodyLine, OrderRequest, PaymentKind, PaymentMethod,
    },
    view::{FailureReason, OrderStatus, OrderView, PaymentView},
};
use crate::id::ProductId;

/// One product of an order, at the price that held when it was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// What.
    pub product_id: ProductId,
    /// How many units.
    pub quantity: u32,
    /// Price of one unit, in won.
    pub unit_price: u64,
}

/// What the lines cost together, in won.
#[must_use]
pub fn amount(lines: &[Line]) -> u64 {
    lines
        .iter()
        .map(|line| line.unit_price.saturating_mul(u64::from(line.quantity)))
        .fold(0, u64::saturating_add)
}
