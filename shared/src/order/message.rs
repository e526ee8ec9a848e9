//! What travels on the orders queue. It outlives a deployment: messages of an older version still have to be read.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Line, OrderId, PaymentMethod};
use crate::{auth::UserId, clock::Timestamp};

/// A message of the orders queue. Messages may come twice, late and in any order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum OrderMessage {
    /// Settle this accepted order.
    Place(AcceptedOrder),
    /// The buyer has authorized a payment: take it.
    Pay(Payment),
    /// Something happened to this order: look where it is, and bring it on.
    Check {
        /// Which.
        order_id: OrderId,
    },
    /// Take this order back.
    Cancel {
        /// Which.
        order_id: OrderId,
        /// Who asked.
        by: UserId,
    },
}

impl OrderMessage {
    /// Whose turn it is.
    #[must_use]
    pub const fn order_id(&self) -> &OrderId {
        match self {
            Self::Place(order) => &order.order_id,
            Self::Pay(payment) => &payment.order_id,
            Self::Check { order_id } | Self::Cancel { order_id, .. } => order_id,
        }
    }
}

/// An accepted order on its way through the queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedOrder {
    /// Its id; it names the broadcast.
    pub order_id: OrderId,
    /// Who ordered.
    pub user_id: UserId,
    /// What, at which price.
    pub lines: Vec<Line>,
    /// How it is paid.
    pub payment: PaymentMethod,
    /// When.
    pub accepted_at: Timestamp,
    /// Until when its units are held for it.
    pub deadline: Timestamp,
}

/// A payment that a buyer has authorized in the gateway's window.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payment {
    /// Of which order.
    pub order_id: OrderId,
    /// The gateway's key of the payment.
    pub payment_key: String,
}

impl fmt::Debug for Payment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payment({}, ..)", self.order_id)
    }
}
