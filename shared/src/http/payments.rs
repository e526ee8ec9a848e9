//! The doors through which money is heard of: the buyer pays, or an order is taken back; and the gateway's webhook.

use serde::Deserialize;
use serde_json::json;

use super::{HttpAnswer, HttpEvent, idempotency_key, parameter, request_identity};
use crate::{
    auth::{Role, Tokens},
    catalog::{Remembered, StoredAnswer},
    clock,
    error::Error,
    order::{OrderId, Payment, pay::Payments},
    payment::Webhook,
};

/// The longest payment key of the gateway (Toss: 200 characters).
const MAX_PAYMENT_KEY: usize = 200;

/// Answers the routes of `payment-webhook`.
pub struct PaymentsApi {
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// What it is about.
    pub payments: Payments,
}

/// The body of `POST /orders/{order_id}/payment`.
#[derive(Deserialize)]
struct PaymentBody {
    payment_key: String,
    amount: u64,
}

impl PaymentsApi {
    /// Answers one request.
    pub async fn serve(&self, event: HttpEvent) -> HttpAnswer {
        let answer = match event.route_key.as_str() {
            "POST /orders/{order_id}/payment" => Box::pin(self.pay(&event)).await,
            "POST /orders/{order_id}/cancel" => Box::pin(self.cancel(&event)).await,
            "POST /payments/webhook" => Box::pin(self.hear(&event)).await,
            _ => Err(Error::NotFound("route")),
        };
        let answer = answer.unwrap_or_else(|error| HttpAnswer::problem(&error, event.language()));
        tracing::info!(
            route = event.route_key,
            status = answer.status_code,
            "answered"
        );
        answer
    }

    async fn pay(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self.tokens.verify_header(event.header("authorization"))?;
        caller.require(Role::Viewer)?;
        let order_id: OrderId = parameter(event, "order_id").ok_or(Error::NotFound("order"))?;
        let body: PaymentBody = event.json()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        let key = body.payment_key;
        if !(1..=MAX_PAYMENT_KEY).contains(&key.len()) || !key.bytes().all(plain) {
            return Err(Error::invalid(
                "payment_key",
                format!("1..={MAX_PAYMENT_KEY} letters, digits, '-', '_' or '='"),
            ));
        }
        let answer = json!({ "status": "accepted", "order_id": order_id });
        let payment = Payment {
            order_id,
            payment_key: key,
        };
        self.once(event, caller.user_id.as_str(), &answer, async {
            self.payments.pay(&caller, payment, body.amount).await
        })
        .await
    }

    async fn cancel(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self.tokens.verify_header(event.header("authorization"))?;
        let order_id: OrderId = parameter(event, "order_id").ok_or(Error::NotFound("order"))?;
        let answer = json!({ "status": "accepted", "order_id": order_id });
        self.once(event, caller.user_id.as_str(), &answer, async {
            self.payments.cancel(&caller, &order_id).await
        })
        .await
    }

    /// Does the work of a request and answers 202, or answers as the first time.
    async fn once(
        &self,
        event: &HttpEvent,
        user: &str,
        answer: &serde_json::Value,
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<HttpAnswer, Error> {
        let key = idempotency_key(event.header("idempotency-key"))?;
        let order = event
            .path_parameters
            .get("order_id")
            .map_or("", String::as_str);
        let call = format!("{} {order}", event.route_key);
        let body = event.body.as_deref().unwrap_or_default();
        let (id, fingerprint) = request_identity(user, key, &call, body.as_bytes());
        let catalog = &self.payments.catalog;
        let remembered = catalog
            .remember_request(&id, &fingerprint, clock::now())
            .await?;
        if let Remembered::Answered(earlier) = remembered {
            return Ok(earlier.into());
        }
        let answer = match Box::pin(work).await {
            Ok(()) => HttpAnswer::json(202, answer),
            Err(error) if error.is_callers() => HttpAnswer::problem(&error, event.language()),
            Err(error) => return Err(error),
        };
        let answer = StoredAnswer {
            status: answer.status_code,
            body: answer.body,
        };
        let standing = catalog
            .answer_request(&id, &fingerprint, answer, clock::now())
            .await?;
        Ok(standing.into())
    }

    /// Whatever a webhook says, it is told nothing but that it was heard: who sends it is not known.
    async fn hear(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let webhook = Webhook::parse(&event.bytes()?)?;
        let known = self.payments.hear(&webhook).await?;
        if !known {
            tracing::warn!("a webhook about an order that is not ours");
        }
        Ok(HttpAnswer::json(200, &json!({ "status": "received" })))
    }
}
