//! Accepting an order: hold the units, put the order on the queue, answer. One call of Redis and one send, nothing else.
//!
//! The send is the commit point. If it failed for certain, the units go back and the buyer hears `unavailable`. If its
//! outcome is not known, the units stay held: the buyer asks again with the same key, finds the same hold, and the order is
//! sent again; `order-process` makes one of however many arrive.

use std::time::Duration;

use serde::Serialize;

use super::{
    AcceptedOrder, Line, OrderBody, OrderId, OrderMessage, OrderRequest, OrderStatus, OrderView,
    PaymentKind, amount, sweep::Sweep,
};
use crate::{
    auth::{Caller, Role},
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

/// How often, at most, buyers who meet sold out have the expired holds of a source looked through.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Gives expired holds back to a buyer who asks.
    pub sweep: Sweep,
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
    /// Until when it is to be paid, if it is paid later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pay_by: Option<Timestamp>,
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

        let reservation = match self.reserve(&source, &order_id, &request, now).await? {
            Reserved::Taken(reservation) => reservation,
            Reserved::Replayed(reservation) if reservation.open => reservation,
            // An earlier try of this order has ended: the ledger says how.
            Reserved::Replayed(_) => {
                let record = self.ledger.order(&order_id).await?.ok_or(Error::Conflict)?;
                return Ok(receipt(
                    order_id,
                    &record.lines,
                    record.view().pay_by,
                    language,
                ));
            }
            Reserved::Refused(refusal) => return Err(refused(refusal)),
        };
        let pay_by =
            (request.payment.kind() == PaymentKind::Widget).then_some(reservation.deadline);
        let receipt = receipt(order_id.clone(), &reservation.lines, pay_by, language);
        let order = AcceptedOrder {
            order_id: order_id.clone(),
            user_id: request.viewer,
            lines: reservation.lines,
            payment: request.payment,
            accepted_at: reservation.accepted_at,
            deadline: reservation.deadline,
        };
        match self.queue.send(&OrderMessage::Place(order)).await {
            Ok(()) => Ok(receipt),
            Err(error) => {
                // An earlier or a later try may have put the order on the queue: `undo` leaves units that one of them uses.
                if matches!(
                    &error,
                    Error::Aws {
                        certainty: Certainty::Definite,
                        ..
                    }
                ) {
                    self.gate.undo(&source, &order_id).await?;
                }
                Err(error)
            }
        }
    }

    /// Reserves. Units whose holds are past their deadline are given back first, if that is what it takes.
    async fn reserve(
        &self,
        source: &Source,
        order: &OrderId,
        request: &OrderRequest,
        now: Timestamp,
    ) -> Result<Reserved, Error> {
        let answer = self.reserve_loaded(source, order, request, now).await?;
        if !matches!(
            answer,
            Reserved::Refused(Refusal::SoldOut { due: true, .. })
        ) {
            return Ok(answer);
        }
        match self.sweep.sweep(source, now, Some(SWEEP_INTERVAL)).await {
            Ok(0) => Ok(answer),
            Ok(_) => self.reserve_loaded(source, order, request, now).await,
            Err(error) => {
                tracing::warn!(source = %source, error = %error, "expired holds were not given back");
                Ok(answer)
            }
        }
    }

    /// Reserves; what the gate has never heard of, or has forgotten, is loaded first.
    async fn reserve_loaded(
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
        let operator = caller.require(Role::Operator).is_ok();
        let theirs = |user: &str| operator || user == caller.user_id.as_str();
        if let Some(record) = self.ledger.order(order).await? {
            return theirs(record.user_id.as_str())
                .then(|| record.view())
                .ok_or(Error::NotFound("order"));
        }
        let source = Source::Live(order.broadcast());
        let hold = self.gate.hold(&source, order).await?;
        let hold = hold
            .filter(|hold| theirs(&hold.viewer))
            .ok_or(Error::NotFound("order"))?;
        if !hold.reservation.open {
            // Settled between the two reads: the ledger knows it by now.
            let record = self.ledger.order(order).await?;
            return record
                .map(|record| record.view())
                .ok_or(Error::NotFound("order"));
        }
        Ok(OrderView {
            order_id: order.clone(),
            status: OrderStatus::Accepted,
            reason: None,
            amount: amount(&hold.reservation.lines),
            lines: hold.reservation.lines,
            created_at: hold.reservation.accepted_at,
            settled_at: None,
            pay_by: None,
            declined: None,
            payment: None,
        })
    }
}

fn receipt(
    order_id: OrderId,
    lines: &[Line],
    pay_by: Option<Timestamp>,
    language: Language,
) -> Receipt {
    let message = if pay_by.is_some() {
        language.pick(
            "주문이 접수되었습니다. 기한 안에 결제해 주세요.",
            "The order is accepted. Please pay in time.",
        )
    } else {
        language.pick(
            "주문이 접수되었습니다. 결과를 곧 알려 드립니다.",
            "The order is accepted. You will hear the result shortly.",
        )
    };
    Receipt {
        status: OrderStatus::Accepted,
        order_id,
        amount: amount(lines),
        currency: "KRW",
        pay_by,
        message,
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
