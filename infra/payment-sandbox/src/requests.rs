//! What a caller may ask of the Toss API, parsed at the edge into commands that cannot be malformed.

use axum::body::Bytes;
use fakes::control::read;
use serde::{Deserialize, Serialize};

use crate::answer::Refusal;

/// The kinds of call, as fault scripts name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Operation {
    /// Charge a billing key.
    Billing,
    /// Approve a checkout.
    Confirm,
    /// Read a payment, by its key or by its order id.
    Lookup,
    /// Give money back.
    Cancel,
}

/// A route with what its path says.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Billing { billing_key: String },
    Confirm,
    LookupByKey { payment_key: String },
    LookupByOrder { order_id: String },
    Cancel { payment_key: String },
}

impl Call {
    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Billing { .. } => Operation::Billing,
            Self::Confirm => Operation::Confirm,
            Self::LookupByKey { .. } | Self::LookupByOrder { .. } => Operation::Lookup,
            Self::Cancel { .. } => Operation::Cancel,
        }
    }
}

/// A call whose fields all have the documented form.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Charge {
        billing_key: String,
        order_id: String,
        order_name: String,
        amount: u64,
    },
    Confirm {
        payment_key: String,
        order_id: String,
        amount: u64,
    },
    LookupByKey {
        payment_key: String,
    },
    LookupByOrder {
        order_id: String,
    },
    Cancel {
        payment_key: String,
        reason: String,
        /// None gives back all that is left.
        amount: Option<u64>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChargeBody {
    customer_key: String,
    amount: u64,
    order_id: String,
    order_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfirmBody {
    payment_key: String,
    order_id: String,
    amount: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    cancel_reason: String,
    cancel_amount: Option<u64>,
}

/// Fields Toss knows and the sandbox does not use are ignored, as an unknown field is.
pub(crate) fn parse(call: &Call, body: &Bytes) -> Result<Command, Refusal> {
    match call {
        Call::Billing { billing_key } => charge(billing_key, &read(body)?),
        Call::Confirm => confirm(&read(body)?),
        Call::LookupByKey { payment_key } => Ok(Command::LookupByKey {
            payment_key: payment_key.clone(),
        }),
        Call::LookupByOrder { order_id } => Ok(Command::LookupByOrder {
            order_id: order_id.clone(),
        }),
        Call::Cancel { payment_key } => cancel(payment_key, &read(body)?),
    }
}

/// 6 to 64 letters, digits, `-`, `_` and `=`.
pub(crate) fn check_order_id(order_id: &str) -> Result<(), Refusal> {
    let fits = (6..=64).contains(&order_id.len())
        && order_id
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_=".contains(&byte));
    check(
        fits,
        "orderId must be 6 to 64 letters, digits, '-', '_' or '='.",
    )
}

/// Won has no decimals, and nothing costs nothing.
pub(crate) fn check_amount(amount: u64) -> Result<(), Refusal> {
    // The ceiling keeps sums of many payments far away from overflow.
    check(
        (1..=1_000_000_000_000).contains(&amount),
        "amount must be a whole number of at least 1.",
    )
}

fn charge(billing_key: &str, body: &ChargeBody) -> Result<Command, Refusal> {
    check_order_id(&body.order_id)?;
    check_amount(body.amount)?;
    check_text("billingKey", billing_key, 200)?;
    check_text("customerKey", &body.customer_key, 300)?;
    check_text("orderName", &body.order_name, 100)?;
    Ok(Command::Charge {
        billing_key: billing_key.to_owned(),
        order_id: body.order_id.clone(),
        order_name: body.order_name.clone(),
        amount: body.amount,
    })
}

fn confirm(body: &ConfirmBody) -> Result<Command, Refusal> {
    check_text("paymentKey", &body.payment_key, 200)?;
    check_order_id(&body.order_id)?;
    check_amount(body.amount)?;
    Ok(Command::Confirm {
        payment_key: body.payment_key.clone(),
        order_id: body.order_id.clone(),
        amount: body.amount,
    })
}

fn cancel(payment_key: &str, body: &CancelBody) -> Result<Command, Refusal> {
    check_text("cancelReason", &body.cancel_reason, 200)?;
    if let Some(amount) = body.cancel_amount {
        check_amount(amount)?;
    }
    Ok(Command::Cancel {
        payment_key: payment_key.to_owned(),
        reason: body.cancel_reason.clone(),
        amount: body.cancel_amount,
    })
}

fn check_text(name: &str, value: &str, most: usize) -> Result<(), Refusal> {
    check(
        (1..=most).contains(&value.chars().count()),
        &format!("{name} must be 1 to {most} characters."),
    )
}

fn check(fits: bool, message: &str) -> Result<(), Refusal> {
    if fits {
        Ok(())
    } else {
        Err(Refusal::invalid_request(message))
    }
}
