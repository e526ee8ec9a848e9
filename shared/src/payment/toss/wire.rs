//! What goes over the wire: requests with our key, and answers as they have to be read: bounded, never quoted, and with no
//! meaning for what is not known to have one.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use serde_json::Value;

use super::{Toss, code::is_configuration};
use crate::{
    clock::Timestamp,
    error::Error,
    payment::{Payment, PaymentStatus, webhook::is_word},
};

/// A card company may take its time; the function that waits has 30 seconds, and one try is at most three calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A payment has some 2 KiB; what is longer than this is not from the gateway.
const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// What came back of one call.
pub(super) enum Answer {
    Payment(Payment),
    Refused(StatusCode, String),
    /// No answer, or one that says nothing; with what is known of it.
    Unknown(String),
}

/// The Payment object, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePayment {
    payment_key: String,
    order_id: String,
    status: String,
    total_amount: u64,
    balance_amount: u64,
    approved_at: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

impl Toss {
    /// `None` only if the gateway itself says that there is no such payment: whoever hears it may charge again.
    pub(super) async fn read(&self, path: &str) -> Result<Option<Payment>, Error> {
        match answer(self.request(Method::GET, path).await?).await {
            Answer::Payment(payment) => Ok(Some(payment)),
            Answer::Refused(StatusCode::NOT_FOUND, code) if code == "NOT_FOUND_PAYMENT" => Ok(None),
            Answer::Refused(_, code) if is_configuration(&code) => {
                Err(Error::PaymentConfiguration(code))
            }
            Answer::Refused(_, cause) | Answer::Unknown(cause) => Err(Error::Payment(cause)),
        }
    }

    pub(super) async fn post(
        &self,
        path: &str,
        idempotency_key: &str,
        body: &Value,
    ) -> Result<Answer, Error> {
        let request = self.request(Method::POST, path).await?;
        Ok(answer(
            request
                .header("Idempotency-Key", idempotency_key)
                .json(body),
        )
        .await)
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let client = self
            .client
            .get_or_try_init(|| async {
                Client::builder()
                    .timeout(CALL_TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    // The gateway sends nobody elsewhere, and a payment is not to be made at another address.
                    .redirect(redirect::Policy::none())
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
    let body = match bounded(response).await {
        Ok(body) => body,
        Err(cause) => return Answer::Unknown(format!("{status}: {cause}")),
    };
    // What serde says may quote the body, and a payment has personal data in it: none of it reaches a log.
    if status.is_success() {
        return serde_json::from_slice::<WirePayment>(&body)
            .ok()
            .and_then(payment)
            .map_or_else(
                || Answer::Unknown(format!("{status}: not a payment that can be read")),
                Answer::Payment,
            );
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) if is_word(&refusal.code) => Answer::Refused(status, refusal.code),
        Ok(_) | Err(_) => Answer::Unknown(status.to_string()),
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| error.without_url().to_string())?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("more than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `None` if its status is not one that we know: what it means for the money is not known either.
fn payment(wire: WirePayment) -> Option<Payment> {
    let status = match wire.status.as_str() {
        "DONE" | "PARTIAL_CANCELED" => PaymentStatus::Done,
        "CANCELED" => PaymentStatus::Canceled,
        "READY" | "IN_PROGRESS" | "WAITING_FOR_DEPOSIT" => PaymentStatus::Pending,
        "ABORTED" | "EXPIRED" => PaymentStatus::Dead,
        _ => return None,
    };
    Some(Payment {
        payment_key: wire.payment_key,
        order_id: wire.order_id.parse().ok(),
        status,
        total: wire.total_amount,
        balance: wire.balance_amount,
        // A date that cannot be read is no reason not to know that money moved.
        approved_at: wire.approved_at.as_deref().and_then(Timestamp::parse),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_status_is_one_of_four_and_a_new_one_is_none() {
        let of = |status: &str| {
            let wire = json!({ "paymentKey": "pay_1", "orderId": "of another shop", "status": status,
                "totalAmount": 5, "balanceAmount": 3, "approvedAt": "no date" });
            payment(serde_json::from_value(wire).expect("a payment"))
        };
        for (status, is) in [
            ("DONE", PaymentStatus::Done),
            ("PARTIAL_CANCELED", PaymentStatus::Done),
            ("CANCELED", PaymentStatus::Canceled),
            ("READY", PaymentStatus::Pending),
            ("IN_PROGRESS", PaymentStatus::Pending),
            ("WAITING_FOR_DEPOSIT", PaymentStatus::Pending),
            ("ABORTED", PaymentStatus::Dead),
            ("EXPIRED", PaymentStatus::Dead),
        ] {
            let payment = of(status).expect("is known");
            assert_eq!(payment.status, is, "{status}");
            assert_eq!((payment.order_id, payment.approved_at), (None, None));
        }
        assert_eq!(of("SOMETHING_NEW"), None);
    }
}
