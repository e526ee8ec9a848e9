//! The model: what the shop was asked and what it answered, without any I/O, and what it may do after that. It predicts for
//! every order in which ways it may end, and for every answer whether it may be given.

use std::collections::BTreeMap;

use onepool::{
    id::BroadcastId,
    order::{FailureReason, OrderId, OrderStatus, OrderView},
};
use serde_json::{Value, json};

use super::history::{Ask, Card};

/// Won a unit costs while on air.
pub const PRICE: u64 = 19_900;
/// Units a viewer may have of a product.
pub const LIMIT: u32 = 3;

/// Which promise is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// More was sold than was granted.
    Oversold,
    /// An accepted order has no end, or its buyer cannot read it, or reads what cannot be.
    Lost,
    /// An order, a charge or a refund was made twice, or money stayed that should not.
    Doubled,
    /// Gate and ledger differ though all is quiet.
    Drift,
}

/// A promise that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How.
    pub text: String,
}

impl Violation {
    /// A broken promise.
    pub fn new(promise: Promise, text: impl Into<String>) -> Self {
        Self {
            promise,
            text: text.into(),
        }
    }
}

/// What is known of one key of one viewer.
#[derive(Debug, Clone)]
pub struct Known {
    /// The order that this key is.
    pub order_id: OrderId,
    /// Who asked.
    pub viewer: String,
    /// The key.
    pub key: String,
    /// For what.
    pub ask: Ask,
    /// Whether it was asked for something else, too.
    pub other: bool,
    /// Whether it was answered 202.
    pub accepted: bool,
    /// Whether somebody who may has tried to take it back.
    pub cancelled: bool,
    /// Whether a message of it was given up.
    pub given_up: bool,
    /// Whether its money was given back at the gateway by hand.
    pub by_hand: bool,
    /// Payments that its buyer has authorized.
    pub payments: Vec<String>,
    /// What its buyer has read last.
    pub seen: Option<(OrderStatus, Option<FailureReason>)>,
}

/// What a buyer knew of an order when they asked where it is: what happens beside the question may be told or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    accepted: bool,
    seen: Option<(OrderStatus, Option<FailureReason>)>,
}

impl Known {
    /// A key that is used for the first time.
    #[must_use]
    pub fn new(n: u32, ask: &Ask, broadcast: &BroadcastId) -> Self {
        let viewer = viewer(ask.viewer);
        let key = format!("k{n}");
        let user = viewer.parse().expect("a user id");
        Self {
            order_id: OrderId::derive(broadcast, &user, &key),
            viewer,
            key,
            ask: ask.clone(),
            other: false,
            accepted: false,
            cancelled: false,
            given_up: false,
            by_hand: false,
            payments: Vec::new(),
            seen: None,
        }
    }

    /// The body of its request, or of another one.
    #[must_use]
    pub fn body(&self, products: &[String], other: bool) -> Value {
        let extra = u32::from(other);
        let lines: Vec<Value> = self
            .ask
            .lines
            .iter()
            .map(|(product, units)| {
                json!({ "product_id": products[usize::from(*product)], "quantity": units + extra })
            })
            .collect();
        let payment = match self.ask.card {
            Card::Good => crate::billing_key("bk-1"),
            Card::Bad => crate::billing_key("decline-1"),
            Card::Later => json!({ "method": "widget" }),
        };
        json!({ "lines": lines, "payment": payment })
    }

    /// Hears the answer to the order's request. `known` says that the shop had accepted it before, and remembers.
    ///
    /// # Errors
    /// It may not be answered so.
    pub fn hear(
        &mut self,
        status: u16,
        body: &Value,
        other: bool,
        known: bool,
    ) -> Result<(), Violation> {
        let wrong = |promise, text: &str| {
            let n = &self.key;
            Err(Violation::new(
                promise,
                format!("{n}: {text}: {status} {body}"),
            ))
        };
        match status {
            202 => {
                if body["order_id"] != json!(self.order_id) {
                    return wrong(Promise::Doubled, "another order for this key");
                }
                if other && known && !self.other {
                    return wrong(Promise::Doubled, "two requests under one key were accepted");
                }
                self.other |= other;
                self.accepted = true;
            }
            409 if known && !self.other => {
                return wrong(
                    Promise::Lost,
                    "an accepted order was refused when asked for again",
                );
            }
            422 if !other && !self.other => {
                return wrong(Promise::Lost, "the same request is said to be another one");
            }
            // Nobody knows whether it was taken, as what it was this time.
            503 => self.other |= other,
            409 | 422 => {}
            _ => return wrong(Promise::Lost, "an answer that no request should get"),
        }
        Ok(())
    }

    /// What its buyer knows.
    #[must_use]
    pub const fn before(&self) -> Before {
        Before {
            accepted: self.accepted,
            seen: self.seen,
        }
    }

    /// The buyer reads the order, who knew `before` when they asked.
    ///
    /// # Errors
    /// It may not be read so after what was read before.
    pub fn read(
        &mut self,
        before: Before,
        (status, body): (u16, &Value),
        forgot: bool,
    ) -> Result<(), Violation> {
        let wrong = |promise, text: String| {
            let n = &self.key;
            Err(Violation::new(
                promise,
                format!("{n} ({}): {text}", self.order_id),
            ))
        };
        match status {
            503 => return Ok(()),
            // One that was never accepted may have been seen while it was asked for: its hold was undone.
            404 if (forgot || !before.accepted)
                && before
                    .seen
                    .is_none_or(|(status, _)| status == OrderStatus::Accepted) =>
            {
                return Ok(());
            }
            200 => {}
            _ => return wrong(Promise::Lost, format!("its buyer reads {status} {body}")),
        }
        let view: OrderView = match serde_json::from_value(body.clone()) {
            Ok(view) => view,
            Err(error) => return wrong(Promise::Lost, format!("{error} in {body}")),
        };
        let now = (view.status, view.reason);
        if (view.status == OrderStatus::Failed) != view.reason.is_some() {
            return wrong(Promise::Lost, format!("{now:?}"));
        }
        if let Some(before) = before.seen
            && !may_follow(before, now)
        {
            return wrong(Promise::Lost, format!("{now:?} was read after {before:?}"));
        }
        if self.seen.is_none_or(|seen| may_follow(seen, now)) {
            self.seen = Some(now);
        }
        Ok(())
    }
}

/// Whether a buyer who has read `before` may read `now`.
fn may_follow(
    before: (OrderStatus, Option<FailureReason>),
    now: (OrderStatus, Option<FailureReason>),
) -> bool {
    use FailureReason::{Cancelled, Expired, PaymentExpired};
    use OrderStatus::{Accepted, Confirmed, Failed, Reserved};
    if before == now {
        return true;
    }
    match (before, now) {
        ((Accepted, _), _) => true,
        ((Reserved, _), (Confirmed | Failed, _)) => true,
        ((Confirmed, _), (Failed, Some(Cancelled))) => true,
        // A payment that came late takes the units again.
        ((Failed, Some(PaymentExpired | Expired)), (Reserved | Confirmed, _)) => true,
        // In between it was taken up again, and nobody looked.
        ((Failed, Some(PaymentExpired | Expired)), (Failed, Some(_))) => true,
        ((Reserved | Confirmed | Failed, _), _) => false,
    }
}

/// All that is known.
#[derive(Default)]
pub struct Model {
    /// Keys of viewers, by the number of their first request.
    pub orders: BTreeMap<u32, Known>,
    /// Messages on the queue.
    pub queue: Vec<String>,
    /// Messages that are done.
    pub done: Vec<String>,
    /// Whether Redis has lost something that it had said.
    pub forgot: bool,
    /// Products of this history.
    pub products: Vec<String>,
    /// The broadcast in each place.
    pub broadcasts: Vec<BroadcastId>,
}

/// The name of a viewer.
#[must_use]
pub fn viewer(number: u8) -> String {
    format!("u{number}")
}
