//! The buyer's door: place an order, and hear what became of it.

use super::{HttpAnswer, HttpEvent, idempotency_key, parameter};
use crate::{
    auth::{Role, Tokens},
    error::Error,
    id::BroadcastId,
    order::{OrderId, accept::Orders},
};

/// Answers the routes of `order-accept`.
pub struct OrdersApi {
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// What it is about.
    pub orders: Orders,
}

impl OrdersApi {
    /// Answers one request.
    pub async fn serve(&self, event: HttpEvent) -> HttpAnswer {
        let outcome = match event.route_key.as_str() {
            "POST /broadcasts/{broadcast_id}/orders" => Box::pin(self.place(&event)).await,
            "GET /orders/{order_id}" => Box::pin(self.status(&event)).await,
            _ => Err(Error::NotFound("route")),
        };
        HttpAnswer::conclude(outcome, &event.route_key, event.language())
    }

    async fn place(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self
            .tokens
            .verify_header(event.headers.authorization.as_deref())?;
        caller.require(Role::Viewer)?;
        let broadcast: BroadcastId = parameter(event.path_parameters.broadcast_id.as_ref())
            .ok_or(Error::NotFound("broadcast"))?;
        let key = idempotency_key(event.headers.idempotency_key.as_deref())?;
        let receipt = self
            .orders
            .accept(&caller, &broadcast, key, event.json()?, event.language())
            .await?;
        Ok(HttpAnswer::json(202, &receipt))
    }

    async fn status(&self, event: &HttpEvent) -> Result<HttpAnswer, Error> {
        let caller = self
            .tokens
            .verify_header(event.headers.authorization.as_deref())?;
        let order: OrderId =
            parameter(event.path_parameters.order_id.as_ref()).ok_or(Error::NotFound("order"))?;
        Ok(HttpAnswer::json(
            200,
            &self.orders.status(&caller, &order).await?,
        ))
    }
}
