//! Accepting an order: hold the units, put the order on the queue, answer. One call of Redis and one send, nothing else.
//!
//! The send is the commit point. If it failed for certain, the units go back and the buyer hears `unavailable`. If its
//! outcome is not known, the units stay held: the buyer asks again with the same key, finds the same hold, and the order is
//! sent again; `order-process` makes one of however many arrive.

use std::time::Duration;

use serde::Serialize;

use super::{AcceptedOrder, OrderBody, OrderId, OrderRequest, OrderStatus, OrderView, amount};
use crate::{
    auth::Caller,
    catalog::Catalog,
    clock::{self, Timestamp},
    error::{Certainty, Error, Language},
    id::{BroadcastId, ProductId},
    ledger::Ledger,
    queue::Queue,
    stock::{Gate, Refusal, Reserved, Source},
};

/// How often one accept loads what the gate does not know: once a line at most, so never for ever.
const MAX_LOADS: usize = super::MAX_LINES;

/// Takes orders, and says what became of them.
pub struct Orders {
    /// The gate.
    pub gate: Gate,
    /// Where accepted orders go.
    pub queue: Queue,
    /// Where the gate is loaded from, and settled orders are read.
    pub ledger: Ledger,
    /// Where the terms of a product are loaded from.
    pub catalog: Catalog,
    /// How long an order keeps its units.
    pub hold_period: Duration,
}

/// The answer to an order that was accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Receipt {
    /// `accepted`.
    pub status: OrderStatus,
    /// The order.
    pub order_id: OrderId,
    /// What it costs, in won, at the prices of this moment.
    pub amount: u64,
    /// `KRW`.
    pub currency: &'static str,
    /// For the buyer.
    pub message: &'static str,
}

impl Orders {
    /// Accepts an order, or says why not.
    ///
    /// # Errors
    /// What the buyer did wrong, what is not to be had, or [`Error::Redis`] and [`Error::Aws`] if a store failed; then
    /// asking again with the same key is safe.
    pub async fn accept(
        &self,
        caller: &Caller,
        broadcast: &BroadcastId,
        idempotency_key: &str,
        body: OrderBody,
        language: Language,
    ) -> Result<Receipt, Error> {
        let request = OrderRequest::new(caller.user_id.clone(), body)?;
        let order_id = OrderId::derive(broadcast, &request.viewer, idempotency_key);
        let source = Source::Live(broadcast.clone());
        let now = clock::now();

        let (reservation, taken_now) = match self.reserve(&source, &order_id, &request, now).await?
        {
            Reserved::Taken(reservation) => (reservation, true),
            // An earlier try of this order has ended: the ledger says how. If it does not know the order, that try
            // never reached the queue, and saying "accepted" would lose it.
            Reserved::Replayed(reservation) if !reservation.open => {
                return match self.ledger.order(&order_id).await? {
                    Some(record) => Ok(receipt(order_id, amount(&record.lines), language)),
                    None => Err(Error::Conflict),
                };
            }
            Reserved::Replayed(reservation) => (reservation, false),
            Reserved::Refused(refusal) => return Err(refused(refusal)),
        };
        let total = amount(&reservation.lines);
        let order = AcceptedOrder {
            order_id: order_id.clone(),
            user_id: request.viewer,
            lines: reservation.lines,
            payment: request.payment,
            accepted_at: reservation.accepted_at,
        };
        match self.queue.send(&order).await {
            Ok(()) => Ok(receipt(order_id, total, language)),
            Err(error) => {
                // An earlier try may have put the order on the queue: only units taken by this one may go back.
                let definite = matches!(
                    &error,
                    Error::Aws {
                        certainty: Certainty::Definite,
                        ..
                    }
                );
                if definite && taken_now {
                    self.gate.undo(&source, &order_id).await?;
                }
                Err(error)
            }
        }
    }

    /// Reserves; what the gate has never heard of, or has forgotten, is loaded first.
    async fn reserve(
        &self,
        source: &Source,
        order: &OrderId,
        request: &OrderRequest,
        now: Timestamp,
    ) -> Result<Reserved, Error> {
        let mut answer = self
            .gate
            .reserve(source, order, request, now, self.hold_period)
            .await?;
        for _ in 0..MAX_LOADS {
            let Reserved::Refused(Refusal::Unknown(product)) = &answer else {
                break;
            };
            self.load(source, &order.broadcast(), product, now).await?;
            answer = self
                .gate
                .reserve(source, order, request, now, self.hold_period)
                .await?;
        }
        Ok(answer)
    }

    async fn load(
        &self,
        source: &Source,
        broadcast: &BroadcastId,
        product: &ProductId,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(spotlight) = self.catalog.spotlight(broadcast, product).await? else {
            // Not on air; but if one of the two does not even exist, that is worth telling.
            self.catalog.broadcast(broadcast).await?;
            self.catalog.product(product).await?;
            return Err(Error::NotOnAir(product.clone()));
        };
        let Some(row) = self.ledger.stock_row(product, source).await? else {
            return Err(Error::NotOnAir(product.clone()));
        };
        tracing::warn!(product.id = %product, source = %source, "the gate did not know a product; loading it from the ledger");
        self.gate
            .load_terms(source, product, &spotlight.terms())
            .await?;
        self.gate.grant(&row, now).await?;
        Ok(())
    }

    /// What became of an order. Until it is in the ledger, its hold tells that it is accepted.
    ///
    /// # Errors
    /// [`Error::NotFound`] if there is no such order or it is another viewer's, or a store failed.
    pub async fn status(&self, caller: &Caller, order: &OrderId) -> Result<OrderView, Error> {
        let not_found = Error::NotFound("order");
        if let Some(record) = self.ledger.order(order).await? {
            let theirs = record.user_id == caller.user_id
                || caller.require(crate::auth::Role::Operator).is_ok();
            return if theirs {
                Ok(record.view())
            } else {
                Err(not_found)
            };
        }
        let hold = self
            .gate
            .hold(&Source::Live(order.broadcast()), order)
            .await?;
        match hold {
            Some(hold) if hold.viewer == caller.user_id.as_str() && hold.reservation.open => {
                Ok(OrderView {
                    order_id: order.clone(),
                    status: OrderStatus::Accepted,
                    reason: None,
                    amount: amount(&hold.reservation.lines),
                    lines: hold.reservation.lines,
                    created_at: hold.reservation.accepted_at,
                    settled_at: None,
                    payment: None,
                })
            }
            _ => Err(not_found),
        }
    }
}

fn receipt(order_id: OrderId, amount: u64, language: Language) -> Receipt {
    Receipt {
        status: OrderStatus::Accepted,
        order_id,
        amount,
        currency: "KRW",
        message: language.pick(
            "주문이 접수되었습니다. 결과를 곧 알려 드립니다.",
            "The order is accepted. You will hear the result shortly.",
        ),
    }
}

fn refused(refusal: Refusal) -> Error {
    match refusal {
        Refusal::Conflict => Error::IdempotencyConflict,
        Refusal::Unknown(product) | Refusal::NotOnAir(product) => Error::NotOnAir(product),
        Refusal::LimitExceeded(product, left) => Error::LimitExceeded { product, left },
        Refusal::SoldOut { product, left, .. } => Error::SoldOut { product, left },
    }
}
