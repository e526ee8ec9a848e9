//! What a buyer asks for: the body of a request, and what is left of it when it cannot be wrong.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::{
    auth::UserId,
    error::Error,
    id::{self, ProductId},
};

/// Lines one order may have.
pub const MAX_LINES: usize = 20;
/// Units one line may ask for.
pub const MAX_QUANTITY: u32 = 1_000;

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
    fn a_payment_method_is_never_printed() {
        let method = PaymentMethod::BillingKey {
            billing_key: "bk_secret".into(),
            customer_key: "ck".into(),
        };
        assert!(!format!("{method:?}").contains("secret"));
    }
}
