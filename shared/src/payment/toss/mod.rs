//! Toss Payments, core API v1 (docs.tosspayments.com/reference).
//!
//! Here is what each verb of [`Gateway`] asks and what it makes of the answers; `wire` asks and reads, `code` knows what a
//! refusal says of the money, `key` how payments and requests are named.

mod code;
mod key;
mod wire;

use futures::{FutureExt, future::BoxFuture};
pub(super) use key::is_usable;
use reqwest::Client;
use serde_json::json;
use tokio::sync::OnceCell;

use self::{
    code::{Class, classify_charge, classify_confirm, classify_refund},
    key::{idempotency_key, segment},
    wire::Answer,
};
use super::{
    Charge, Gateway, PAYMENT_CANCELED, PAYMENT_OF_ANOTHER_ORDER, PAYMENT_OVER, Payment,
    PaymentStatus, Refund, UNUSABLE_KEY,
};
use crate::{config::Secret, error::Error, order::OrderId};

/// The longest reason of a refund, in characters.
const MAX_REASON_CHARS: usize = 200;

/// The gateway.
pub struct Toss {
    base_url: String,
    secret_key: Secret,
    client: OnceCell<Client>,
}

impl Toss {
    /// The gateway at `base_url`.
    #[must_use]
    pub fn new(base_url: String, secret_key: Secret) -> Self {
        Self {
            base_url,
            secret_key,
            client: OnceCell::new(),
        }
    }

    async fn charge_card(
        &self,
        order: &OrderId,
        (billing_key, customer_key): (&str, &str),
        amount: u64,
        attempt: u32,
    ) -> Result<Charge, Error> {
        if !is_usable(billing_key) {
            return Ok(Charge::Declined(UNUSABLE_KEY.to_owned()));
        }
        let body = json!({ "customerKey": customer_key, "amount": amount, "orderId": order, "orderName": format!("Onepool {order}") });
        let key = idempotency_key("charge", order.as_str(), &attempt.to_string());
        let path = format!("/v1/billing/{}", segment(billing_key));
        match self.post(&path, &key, &body).await? {
            Answer::Payment(payment) => match charged(order, payment) {
                Some(charge) => Ok(charge),
                None => {
                    self.outcome_of_charge(order, "the payment is not done")
                        .await
                }
            },
            Answer::Refused(status, code) => match classify_charge(status, &code) {
                Class::Definite => Ok(Charge::Declined(code)),
                Class::Configuration => Err(Error::PaymentConfiguration(code)),
                Class::AsAsked | Class::Unknown => self.outcome_of_charge(order, &code).await,
            },
            Answer::Unknown(cause) => self.outcome_of_charge(order, &cause).await,
        }
    }

    /// Looks a charge up whose answer said nothing. Only money that moved is an outcome: a charge that the gateway does not
    /// know may still be on its way to it, and a payment that is over may be that of an earlier attempt.
    async fn outcome_of_charge(&self, order: &OrderId, cause: &str) -> Result<Charge, Error> {
        tracing::warn!(order.id = %order, cause, "a charge has no known outcome; looking it up");
        self.payment_of(order)
            .await?
            .and_then(|payment| charged(order, payment))
            .ok_or_else(|| Error::Payment(cause.to_owned()))
    }

    async fn confirm_checkout(
        &self,
        order: &OrderId,
        payment_key: &str,
        amount: u64,
        attempt: u32,
    ) -> Result<Charge, Error> {
        if !is_usable(payment_key) {
            return Ok(Charge::Declined(UNUSABLE_KEY.to_owned()));
        }
        let body = json!({ "paymentKey": payment_key, "orderId": order, "amount": amount });
        // The gateway leaves the body out of what the key stands for, so the key must stand for the payment: with a key of
        // the order alone, a second checkout of it would get the first one's answer and never be paid.
        // The gateway takes one checkout once, so another attempt cannot charge it again.
        let key = idempotency_key(
            "confirm",
            order.as_str(),
            &format!("{payment_key}:{attempt}"),
        );
        let (cause, refused) = match self.post("/v1/payments/confirm", &key, &body).await? {
            Answer::Payment(payment) => match charged(order, payment) {
                Some(charge) => return Ok(charge),
                None => ("the payment is not done".to_owned(), false),
            },
            Answer::Refused(status, code) => match classify_confirm(status, &code) {
                Class::Definite => return Ok(Charge::Declined(code)),
                Class::Configuration => return Err(Error::PaymentConfiguration(code)),
                Class::AsAsked => (code, true),
                Class::Unknown => (code, false),
            },
            Answer::Unknown(cause) => (cause, false),
        };
        tracing::warn!(order.id = %order, cause, "a confirm has no known outcome; looking it up");
        // By the order first: that finds money of any of its checkouts.
        if let Some(payment) = self.payment_of(order).await?
            && let Some(charge) = charged(order, payment)
        {
            return Ok(charge);
        }
        let payment = self.payment(payment_key).await?;
        let is_over = payment
            .as_ref()
            .is_some_and(|payment| payment.status == PaymentStatus::Dead);
        match payment.and_then(|payment| charged(order, payment)) {
            Some(charge) => Ok(charge),
            None if is_over => Ok(Charge::Declined(PAYMENT_OVER.to_owned())),
            None if refused => Ok(Charge::Declined(cause)),
            None => Err(Error::Payment(cause)),
        }
    }

    async fn cancel(
        &self,
        payment_key: &str,
        refund_id: &str,
        reason: &str,
    ) -> Result<Refund, Error> {
        if !is_usable(payment_key) {
            return Ok(Refund::Refused(UNUSABLE_KEY.to_owned()));
        }
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        let body = json!({ "cancelReason": reason });
        let key = idempotency_key("cancel", refund_id, "");
        let path = format!("/v1/payments/{}/cancel", segment(payment_key));
        let cause = match self.post(&path, &key, &body).await? {
            Answer::Payment(payment) if payment.status == PaymentStatus::Canceled => {
                return Ok(Refund::Done(payment));
            }
            Answer::Payment(_) => "the payment is not cancelled".to_owned(),
            Answer::Refused(status, code) => match classify_refund(status, &code) {
                Class::Definite => return Ok(Refund::Refused(code)),
                Class::Configuration => return Err(Error::PaymentConfiguration(code)),
                Class::AsAsked | Class::Unknown => code,
            },
            Answer::Unknown(cause) => cause,
        };
        tracing::warn!(
            refund.id = refund_id,
            cause,
            "a refund has no known outcome; reading its payment"
        );
        match self.payment(payment_key).await? {
            Some(payment) if payment.status == PaymentStatus::Canceled => Ok(Refund::Done(payment)),
            Some(_) | None => Err(Error::Payment(cause)),
        }
    }

    async fn payment_of(&self, order: &OrderId) -> Result<Option<Payment>, Error> {
        let payment = self.read(&format!("/v1/payments/orders/{order}")).await?;
        match payment {
            Some(payment) if !is_of(order, &payment) => Err(Error::Payment(
                "the gateway answered with the payment of another order".to_owned(),
            )),
            payment => Ok(payment),
        }
    }

    async fn payment(&self, payment_key: &str) -> Result<Option<Payment>, Error> {
        self.read(&format!("/v1/payments/{}", segment(payment_key)))
            .await
    }
}

impl Gateway for Toss {
    fn charge<'a>(
        &'a self,
        order: &'a OrderId,
        billing_key: &'a str,
        customer_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        self.charge_card(order, (billing_key, customer_key), amount, attempt)
            .boxed()
    }

    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        self.confirm_checkout(order, payment_key, amount, attempt)
            .boxed()
    }

    fn lookup<'a>(&'a self, order: &'a OrderId) -> BoxFuture<'a, Result<Option<Payment>, Error>> {
        self.payment_of(order).boxed()
    }

    fn refund<'a>(
        &'a self,
        payment: &'a Payment,
        refund_id: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Refund, Error>> {
        self.cancel(&payment.payment_key, refund_id, reason).boxed()
    }
}

/// What a payment says of a try to charge its order; `None` if it leaves that open.
fn charged(order: &OrderId, payment: Payment) -> Option<Charge> {
    if !is_of(order, &payment) {
        return Some(Charge::Declined(PAYMENT_OF_ANOTHER_ORDER.to_owned()));
    }
    match payment.status {
        PaymentStatus::Done => Some(Charge::Paid(payment)),
        PaymentStatus::Canceled => Some(Charge::Declined(PAYMENT_CANCELED.to_owned())),
        PaymentStatus::Pending | PaymentStatus::Dead => None,
    }
}

fn is_of(order: &OrderId, payment: &Payment) -> bool {
    payment.order_id.as_ref() == Some(order)
}
