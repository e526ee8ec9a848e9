//! An order as the ledger has it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Item, due};
use crate::{
    auth::UserId,
    clock::Timestamp,
    error::Error,
    order::{
        AcceptedOrder, FailureReason, Line, OrderId, OrderStatus, OrderView, PaymentKind,
        PaymentView, amount,
    },
    stock::Source,
};

/// How long a charge by billing key may take before somebody looks what became of it.
const CHARGE_PATIENCE: Duration = Duration::from_secs(600);

/// An order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The order.
    #[serde(rename = "pk")]
    pub order_id: OrderId,
    /// Grows by one with every change: whoever has read an older one changes nothing.
    pub revision: u64,
    /// Who ordered.
    pub user_id: UserId,
    /// RESERVED, CONFIRMED or FAILED.
    pub status: OrderStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What was ordered, at which price.
    pub lines: Vec<Line>,
    /// How it is paid.
    pub method: PaymentKind,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Until when it may be paid, or its payment is waited for.
    pub pay_by: Timestamp,
    /// When it was confirmed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// The payment that was begun last: money may have moved by it, so nobody may fail the order without asking the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// How often its payment was refused.
    #[serde(default)]
    pub declines: u32,
    /// The payments that were refused: a message about one of them that comes twice is no second refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The gateway's code of the last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// Whether its money has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    /// When somebody has to look at it again; `None` when it is at rest. Kept as the keys of the index `due`.
    #[serde(skip)]
    pub due_at: Option<Timestamp>,
}

/// Money that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refund {
    /// It has to be given back.
    Due,
    /// It was.
    Done,
    /// The gateway refuses for good: a person has to look.
    Refused,
}

impl OrderRecord {
    /// An order as it enters the ledger, RESERVED.
    pub(super) fn new(order: &AcceptedOrder, now: Timestamp) -> Self {
        let method = order.payment.kind();
        let pay_by = match method {
            PaymentKind::Widget => order.deadline,
            PaymentKind::BillingKey => order.deadline.max(now + CHARGE_PATIENCE),
        };
        Self {
            order_id: order.order_id.clone(),
            revision: 1,
            user_id: order.user_id.clone(),
            status: OrderStatus::Reserved,
            reason: None,
            lines: order.lines.clone(),
            method,
            created_at: order.accepted_at,
            pay_by,
            settled_at: None,
            attempt: None,
            declines: 0,
            refused: Vec::new(),
            declined: None,
            payment: None,
            refund: None,
            due_at: Some(pay_by),
        }
    }

    /// What it costs, in won.
    #[must_use]
    pub fn amount(&self) -> u64 {
        amount(&self.lines)
    }

    /// Whether its units count as sold.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status != OrderStatus::Failed
    }

    /// Whether money may have moved for it, or may still move, that the record knows nothing of.
    #[must_use]
    pub fn may_be_charged(&self) -> bool {
        self.payment.is_none() && (self.method == PaymentKind::BillingKey || self.attempt.is_some())
    }

    /// The same order, failed.
    #[must_use]
    pub fn failed(self, reason: FailureReason, now: Timestamp) -> Self {
        Self {
            status: OrderStatus::Failed,
            reason: Some(reason),
            settled_at: Some(now),
            due_at: None,
            ..self
        }
    }

    /// The same order, paid.
    #[must_use]
    pub fn confirmed(self, payment: PaymentView, now: Timestamp) -> Self {
        Self {
            status: OrderStatus::Confirmed,
            reason: None,
            settled_at: Some(now),
            payment: Some(payment),
            declined: None,
            due_at: None,
            ..self
        }
    }

    /// Where its units were taken from.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::Live(self.order_id.broadcast())
    }

    /// What its buyer may read.
    #[must_use]
    pub fn view(&self) -> OrderView {
        OrderView {
            order_id: self.order_id.clone(),
            status: self.status,
            reason: self.reason,
            amount: amount(&self.lines),
            lines: self.lines.clone(),
            created_at: self.created_at,
            settled_at: self.settled_at,
            pay_by: (self.status == OrderStatus::Reserved && self.method == PaymentKind::Widget)
                .then_some(self.pay_by),
            declined: self.declined.clone(),
            payment: self.payment.clone(),
        }
    }

    pub(super) fn to_item(&self) -> Result<Item, Error> {
        let mut item: Item =
            serde_dynamo::to_item(self).map_err(|error| Error::Corrupt(error.to_string()))?;
        if let Some(due_at) = self.due_at {
            item.extend(due::keys(&self.order_id, due_at));
        }
        Ok(item)
    }

    pub(super) fn from_item(item: Item) -> Result<Self, Error> {
        let due_at = due::read(&item);
        let record: Self =
            serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(Self { due_at, ..record })
    }
}
