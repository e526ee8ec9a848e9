//! The doors through which money is heard of: the buyer pays, or an order is taken back; and the gateway's webhook.

use serde::Deserialize;
use serde_json::json;

use super::{HttpAnswer, HttpEvent, once::Keyed, parameter};
use crate::{
    auth::{Caller, Role, Tokens},
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
        let outcome = match event.route_key.as_str() {
            "POST /orders/{order_id}/payment" => Box::pin(self.pay(&event)).await,
            "POST /orders/{order_id}/cancel" => Box::pin(self.cancel(&event)).await,
            "POST /payments/webhook" => Box::pin(self.hear(&event)).await,
            _ => Err(Error::NotFound("route")),
        };
        HttpAnswer::conclude(outcome, &event.route_key, event.language())
    }

    async fn pay(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self
            .tokens
            .verify_header(event.headers.authorization.as_deref())?;
        caller.require(Role::Viewer)?;
        let order_id: OrderId =
            parameter(event.path_parameters.order_id.as_ref()).ok_or(Error::NotFound("order"))?;
        let body: PaymentBody = event.json()?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'=');
        let key = body.payment_key;
        if !(1..=MAX_PAYMENT_KEY).contains(&key.len()) || !key.bytes().all(plain) {
            return Err(Error::invalid(
                "payment_key",
                format!("1..={MAX_PAYMENT_KEY} letters, digits, '-', '_' or '='"),
            ));
        }
        let payment = Payment {
            order_id: order_id.clone(),
            payment_key: key,
        };
        let work = self.payments.pay(&caller, payment, body.amount);
        self.once(event, (&caller, &order_id), work).await
    }

    async fn cancel(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self
            .tokens
            .verify_header(event.headers.authorization.as_deref())?;
        if caller.role == Role::Broadcaster {
            // Taking orders back is for who placed them, and for who runs the shop.
            return Err(Error::Forbidden);
        }
        let order_id: OrderId =
            parameter(event.path_parameters.order_id.as_ref()).ok_or(Error::NotFound("order"))?;
        let work = self.payments.cancel(&caller, &order_id);
        self.once(event, (&caller, &order_id), work).await
    }

    /// Does the work of a request about an order and says that it is accepted, or answers as the first time.
    async fn once(
        &self,
        event: &HttpEvent,
        (caller, order): (&Caller, &OrderId),
        work: impl Future<Output = Result<(), Error>>,
    ) -> Result<HttpAnswer, Error> {
        let call = format!("{} {order}", event.route_key);
        let body = event.body.as_deref().unwrap_or_default();
        let key = event.headers.idempotency_key.as_deref();
        let request = Keyed::new(&caller.user_id, key, &call, body.as_bytes())?;
        let accepted = async {
            Box::pin(work).await?;
            Ok(json!({ "status": "accepted", "order_id": order }))
        };
        request
            .once(&self.payments.catalog, (202, event.language()), accepted)
            .await
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
