//! The webhooks of Toss Payments (docs.tosspayments.com/reference, webhook events).

use serde::Deserialize;

use super::toss::is_usable;
use crate::{error::Error, order::OrderId};

/// Longer than any payment object; what is longer is not read.
const MAX_BYTES: usize = 64 * 1024;
const MAX_WORD: usize = 64;

/// The event of a virtual account, which comes without a type.
const DEPOSIT_CALLBACK: &str = "DEPOSIT_CALLBACK";

/// What a webhook says. Payment webhooks are not signed, so anyone can say it: it is a reason to ask the gateway, never an
/// answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// What it is about, as `PAYMENT_STATUS_CHANGED`. New types may come, and are no error.
    pub event_type: String,
    /// The payment, if it names one. It can stand in a request to the gateway.
    pub payment_key: Option<String>,
    /// The order, if it names one of ours.
    pub order_id: Option<OrderId>,
    /// The payment's status in the gateway's words, if it names one.
    pub status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    event_type: Option<String>,
    data: Option<serde_json::Value>,
    order_id: Option<String>,
    status: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Data {
    payment_key: String,
    order_id: String,
    status: String,
}

impl Webhook {
    /// Reads the body of a webhook: `PAYMENT_STATUS_CHANGED` with its payment in `data`, `DEPOSIT_CALLBACK` with its order
    /// beside its type. Of other types only the type is read.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the part that is not as it must be.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        if body.len() > MAX_BYTES {
            return Err(Error::invalid("body", format!("at most {MAX_BYTES} bytes")));
        }
        // What serde says may quote the body, and a payment has personal data in it.
        let body: Body =
            serde_json::from_slice(body).map_err(|_| Error::invalid("body", "a webhook event"))?;
        let event_type = word(
            "eventType",
            body.event_type
                .unwrap_or_else(|| DEPOSIT_CALLBACK.to_owned()),
        )?;
        match event_type.as_str() {
            "PAYMENT_STATUS_CHANGED" => {
                let data: Data = serde_json::from_value(body.data.unwrap_or_default())
                    .map_err(|_| Error::invalid("data", "a payment"))?;
                if !is_usable(&data.payment_key) {
                    return Err(Error::invalid("data.paymentKey", "a payment key"));
                }
                Ok(Self {
                    event_type,
                    payment_key: Some(data.payment_key),
                    order_id: data.order_id.parse().ok(),
                    status: Some(word("data.status", data.status)?),
                })
            }
            DEPOSIT_CALLBACK => {
                let missing = || Error::invalid("orderId", "the order of a deposit");
                Ok(Self {
                    event_type,
                    payment_key: None,
                    order_id: body.order_id.ok_or_else(missing)?.parse().ok(),
                    status: Some(word("status", body.status.unwrap_or_default())?),
                })
            }
            _ => Ok(Self {
                event_type,
                payment_key: None,
                order_id: None,
                status: None,
            }),
        }
    }
}

/// A word of the gateway's, which may be logged as it is.
fn word(field: &'static str, text: String) -> Result<String, Error> {
    if is_word(&text) {
        Ok(text)
    } else {
        Err(Error::invalid(
            field,
            format!("1..={MAX_WORD} of A-Z, 0-9, '_' and '.'"),
        ))
    }
}

/// Whether a text is as Toss writes its codes, statuses and types.
pub(super) fn is_word(text: &str) -> bool {
    (1..=MAX_WORD).contains(&text.len())
        && text.bytes().all(|byte| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'.')
        })
}
