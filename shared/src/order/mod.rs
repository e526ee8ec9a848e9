//! An order: what a buyer asked for, what became of it.
//!
//! ACCEPTED (held in the gate, on the queue) -> RESERVED (in the ledger) -> CONFIRMED (paid) or FAILED (with a reason).

pub mod accept;
pub mod follow;
pub mod pay;
pub mod process;
pub mod reconcile;
pub mod sweep;

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    auth::UserId,
    clock::Timestamp,
    error::Error,
    id::{self, BroadcastId, InvalidId, ProductId},
};

/// Lines one order may have.
pub const MAX_LINES: usize = 20;
/// Units one line may ask for.
pub const MAX_QUANTITY: u32 = 1_000;

/// `<broadcast>-<digest of viewer and Idempotency-Key>`: a retry finds its own order, and whoever has the id knows which
/// gate holds its units. An Idempotency-Key is thereby scoped to the viewer and to the broadcast it was posted to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

const DIGEST_CHARS: usize = 26;

impl OrderId {
    /// The id of the order that `viewer` places in `broadcast` with this key.
    #[must_use]
    pub fn derive(broadcast: &BroadcastId, viewer: &UserId, idempotency_key: &str) -> Self {
        Self(format!(
            "{broadcast}-{}",
            id::digest(&["order", viewer.as_str(), idempotency_key], 16)
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The broadcast it was placed in.
    ///
    /// # Panics
    /// Never: the id was checked when it was made.
    #[must_use]
    pub fn broadcast(&self) -> BroadcastId {
        let (broadcast, _) = self.0.split_at(self.0.len() - DIGEST_CHARS - 1);
        broadcast
            .parse()
            .expect("an order id begins with a broadcast id")
    }
}

impl FromStr for OrderId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId = InvalidId { max: 64 };
        let (broadcast, digest) = text.rsplit_once('-').ok_or(INVALID)?;
        broadcast.parse::<BroadcastId>()?;
        if digest.len() == DIGEST_CHARS && digest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(INVALID)
        }
    }
}

impl TryFrom<String> for OrderId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

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

/// How the buyer pays.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case", deny_unknown_fields)]
pub enum PaymentMethod {
    /// A card the buyer registered before: charged at once.
    BillingKey {
        /// The registered card, as the gateway knows it.
        billing_key: String,
        /// The buyer, as the gateway knows them.
        customer_key: String,
    },
    /// The buyer pays in the gateway's window after the order is accepted, until its deadline.
    Widget {},
}

impl PaymentMethod {
    /// Which kind it is.
    #[must_use]
    pub const fn kind(&self) -> PaymentKind {
        match self {
            Self::BillingKey { .. } => PaymentKind::BillingKey,
            Self::Widget {} => PaymentKind::Widget,
        }
    }
}

impl fmt::Debug for PaymentMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BillingKey { .. } => "BillingKey(..)",
            Self::Widget {} => "Widget",
        })
    }
}

/// How an order is paid, without the keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PaymentKind {
    /// Charged by us, once, as soon as the order is in the ledger.
    BillingKey,
    /// Paid by the buyer until the order's deadline.
    Widget,
}

/// The body of `POST /broadcasts/{broadcast_id}/orders`, as it came.
#[derive(Debug, Deserialize)]
pub struct OrderBody {
    /// What is wanted.
    pub lines: Vec<OrderBodyLine>,
    /// How it is paid.
    pub payment: PaymentMethod,
}

/// A line of [`OrderBody`].
#[derive(Debug, Deserialize)]
pub struct OrderBodyLine {
    /// Which product.
    pub product_id: ProductId,
    /// How many units.
    pub quantity: u32,
}

/// A request for units that cannot be wrong: 1 to [`MAX_LINES`] products, each once, each 1 to [`MAX_QUANTITY`] units.
#[derive(Debug, Clone)]
pub struct OrderRequest {
    /// Who wants them.
    pub viewer: UserId,
    /// How they are paid.
    pub payment: PaymentMethod,
    lines: BTreeMap<ProductId, u32>,
}

impl OrderRequest {
    /// Checks a body; lines of one product become one line.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the field and what would be right.
    pub fn new(viewer: UserId, body: OrderBody) -> Result<Self, Error> {
        let mut lines = BTreeMap::<ProductId, u32>::new();
        for line in body.lines {
            let units = lines.entry(line.product_id).or_default();
            *units = units.saturating_add(line.quantity);
            if line.quantity == 0 || *units > MAX_QUANTITY {
                return Err(Error::invalid(
                    "lines.quantity",
                    format!("1..={MAX_QUANTITY}"),
                ));
            }
        }
        if lines.is_empty() || lines.len() > MAX_LINES {
            return Err(Error::invalid("lines", format!("1..={MAX_LINES}")));
        }
        match &body.payment {
            PaymentMethod::BillingKey {
                billing_key,
                customer_key,
            } => {
                for (field, key) in [
                    ("payment.billing_key", billing_key),
                    ("payment.customer_key", customer_key),
                ] {
                    // They stand in the path of a request that carries our secret key.
                    let plain = |byte: u8| {
                        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=')
                    };
                    if !(1..=200).contains(&key.len()) || !key.bytes().all(plain) {
                        return Err(Error::invalid(
                            field,
                            "1..=200 letters, digits, '-', '_' or '='",
                        ));
                    }
                }
            }
            PaymentMethod::Widget {} => {}
        }
        Ok(Self {
            viewer,
            payment: body.payment,
            lines,
        })
    }

    /// The products and their units, in the order of their ids.
    pub fn lines(&self) -> impl Iterator<Item = (&ProductId, u32)> {
        self.lines.iter().map(|(product, units)| (product, *units))
    }

    /// Tells this request from another one with the same key.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let lines: Vec<String> = self
            .lines()
            .map(|(product, units)| format!("{product} {units}"))
            .collect();
        let payment = match &self.payment {
            PaymentMethod::BillingKey {
                billing_key,
                customer_key,
            } => [billing_key.as_str(), customer_key.as_str()],
            PaymentMethod::Widget {} => ["", ""],
        };
        id::digest(&[&lines.join(","), payment[0], payment[1]], 10)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn request(lines: &[(&str, u32)]) -> Result<OrderRequest, Error> {
        let lines = lines
            .iter()
            .map(|(product, quantity)| OrderBodyLine {
                product_id: product.parse().expect("an id"),
                quantity: *quantity,
            })
            .collect();
        let payment = PaymentMethod::BillingKey {
            billing_key: "bk".into(),
            customer_key: "ck".into(),
        };
        OrderRequest::new(
            "viewer-1".parse().expect("an id"),
            OrderBody { lines, payment },
        )
    }

    #[test]
    fn lines_of_one_product_are_one_line() {
        let merged = request(&[("b", 1), ("a", 2), ("b", 3)]).expect("is right");
        let lines: Vec<(String, u32)> = merged
            .lines()
            .map(|(product, units)| (product.to_string(), units))
            .collect();
        assert_eq!(lines, [("a".to_owned(), 2), ("b".to_owned(), 4)]);
        assert_eq!(
            merged.fingerprint(),
            request(&[("a", 2), ("b", 4)])
                .expect("is right")
                .fingerprint()
        );
        assert_ne!(
            merged.fingerprint(),
            request(&[("a", 2), ("b", 5)])
                .expect("is right")
                .fingerprint()
        );
    }

    #[test]
    fn quantities_out_of_bounds_are_refused() {
        for lines in [
            &[][..],
            &[("a", 0)],
            &[("a", MAX_QUANTITY + 1)],
            &[("a", MAX_QUANTITY), ("a", 1)],
            &[("a", u32::MAX)],
        ] {
            assert!(
                matches!(request(lines), Err(Error::Invalid { .. })),
                "{lines:?} was taken"
            );
        }
        let many: Vec<String> = (0..=MAX_LINES).map(|i| format!("p{i}")).collect();
        let many: Vec<(&str, u32)> = many.iter().map(|id| (id.as_str(), 1)).collect();
        assert!(matches!(request(&many), Err(Error::Invalid { .. })));
    }

    #[test]
    fn an_order_id_names_its_broadcast_and_survives_a_round_trip() {
        let broadcast: BroadcastId = "b-1".parse().expect("an id");
        let viewer: UserId = "viewer-1".parse().expect("an id");
        let id = OrderId::derive(&broadcast, &viewer, "key");
        assert_eq!(id.broadcast(), broadcast);
        assert_eq!(id.as_str().parse::<OrderId>(), Ok(id.clone()));
        assert_ne!(id, OrderId::derive(&broadcast, &viewer, "other"));
        for bad in [
            "",
            "x",
            "b-1",
            "b 1-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn a_payment_method_is_never_printed() {
        let method = PaymentMethod::BillingKey {
            billing_key: "bk_secret".into(),
            customer_key: "ck".into(),
        };
        assert!(!format!("{method:?}").contains("secret"));
    }
}
