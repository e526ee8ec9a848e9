//! Toss Payments, core API v1 (docs.tosspayments.com/reference).

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::Charge;
use crate::{
    clock::Timestamp,
    config::Secret,
    error::Error,
    order::{OrderId, PaymentMethod, PaymentView},
};

/// A card company may take its time; the function that waits has 30 seconds.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The gateway.
pub struct Toss {
    base_url: String,
    secret_key: Secret,
    client: OnceCell<Client>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment {
    payment_key: String,
    status: String,
    total_amount: u64,
    #[serde(default)]
    approved_at: Option<Timestamp>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    code: String,
}

enum Answer {
    Payment(Payment),
    Refused(StatusCode, String),
    Unknown(String),
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

    /// Charges `amount` won for an order, once: a charge that was made before is found by the order's id.
    ///
    /// `first` says that this order cannot have been charged yet, which spares looking.
    ///
    /// # Errors
    /// [`Error::Payment`] when it is not known whether the charge was made. Asking again is safe: it looks first.
    pub async fn charge(
        &self,
        order: &OrderId,
        method: &PaymentMethod,
        amount: u64,
        first: bool,
    ) -> Result<Charge, Error> {
        if !first && let Some(charge) = self.lookup(order, amount).await? {
            return Ok(charge);
        }
        let PaymentMethod::BillingKey {
            billing_key,
            customer_key,
        } = method;
        let body = json!({ "customerKey": customer_key, "amount": amount, "orderId": order, "orderName": format!("Onepool {order}") });
        let request = self
            .request(Method::POST, &format!("/v1/billing/{billing_key}"))
            .await?
            .header("Idempotency-Key", format!("charge:{order}"))
            .json(&body);
        match answer(request).await {
            Answer::Payment(payment) => judge(&payment, amount),
            Answer::Refused(status, code) if is_definite(status, &code) => {
                Ok(Charge::Declined(code))
            }
            Answer::Refused(_, cause) | Answer::Unknown(cause) => {
                tracing::warn!(order.id = %order, cause, "a charge has no known outcome; looking it up");
                self.lookup(order, amount)
                    .await?
                    .ok_or(Error::Payment(cause))
            }
        }
    }

    /// The charge of an order; `None` if the gateway knows of none.
    ///
    /// # Errors
    /// [`Error::Payment`] when the gateway did not say.
    pub async fn lookup(&self, order: &OrderId, amount: u64) -> Result<Option<Charge>, Error> {
        let request = self
            .request(Method::GET, &format!("/v1/payments/orders/{order}"))
            .await?;
        match answer(request).await {
            Answer::Payment(payment) => judge(&payment, amount).map(Some),
            Answer::Refused(StatusCode::NOT_FOUND, _) => Ok(None),
            Answer::Refused(_, cause) | Answer::Unknown(cause) => Err(Error::Payment(cause)),
        }
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let client = self
            .client
            .get_or_try_init(|| async {
                Client::builder()
                    .timeout(CALL_TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    .build()
            })
            .await
            .map_err(|error| Error::Payment(error.to_string()))?;
        Ok(client
            .request(method, format!("{}{path}", self.base_url))
            .basic_auth(self.secret_key.reveal(), Some("")))
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Answer::Unknown(error.without_url().to_string()),
    };
    let status = response.status();
    let body: Value = match response.json().await {
        Ok(body) => body,
        Err(error) => return Answer::Unknown(format!("{status}: {}", error.without_url())),
    };
    if status.is_success() {
        return serde_json::from_value(body)
            .map_or_else(|error| Answer::Unknown(error.to_string()), Answer::Payment);
    }
    match serde_json::from_value::<Refusal>(body) {
        Ok(refusal) => Answer::Refused(status, refusal.code),
        Err(_) => Answer::Unknown(status.to_string()),
    }
}

fn judge(payment: &Payment, amount: u64) -> Result<Charge, Error> {
    match payment.status.as_str() {
        "DONE" if payment.total_amount == amount => Ok(Charge::Paid(PaymentView {
            payment_key: payment.payment_key.clone(),
            approved_at: payment.approved_at,
        })),
        "DONE" => Err(Error::Payment(format!(
            "paid {} instead of {amount} won",
            payment.total_amount
        ))),
        "ABORTED" | "EXPIRED" | "CANCELED" => Ok(Charge::Declined(payment.status.clone())),
        other => Err(Error::Payment(format!("the payment is {other}"))),
    }
}

/// Codes after which no money moved and none will. All others leave it open, and the payment is looked up.
fn is_definite(status: StatusCode, code: &str) -> bool {
    status.is_client_error()
        && (["REJECT_", "INVALID_CARD", "INVALID_STOPPED_CARD", "EXCEED_"]
            .iter()
            .any(|prefix| code.starts_with(prefix))
            || matches!(
                code,
                "BELOW_MINIMUM_AMOUNT"
                    | "FDS_ERROR"
                    | "NOT_FOUND_PAYMENT_SESSION"
                    | "NOT_MATCHES_CUSTOMER_KEY"
                    | "INVALID_REQUEST"
            ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_that_is_final_declines() {
        for code in [
            "REJECT_CARD_COMPANY",
            "INVALID_CARD_EXPIRATION",
            "EXCEED_MAX_AMOUNT",
            "FDS_ERROR",
        ] {
            assert!(is_definite(StatusCode::FORBIDDEN, code), "{code}");
        }
        for code in [
            "PROVIDER_ERROR",
            "ALREADY_PROCESSED_PAYMENT",
            "DUPLICATED_ORDER_ID",
            "IDEMPOTENT_REQUEST_PROCESSING",
            "UNAUTHORIZED_KEY",
        ] {
            assert!(!is_definite(StatusCode::BAD_REQUEST, code), "{code}");
        }
        assert!(!is_definite(
            StatusCode::INTERNAL_SERVER_ERROR,
            "REJECT_CARD_PAYMENT"
        ));
    }
}
