//! Settling accepted orders, a batch at once: into the ledger, then the payment, then confirmed or given back, then the
//! buyer is told. Every step may be repeated: a message that comes twice, or again after a crash between any two steps, finds
//! in the ledger how far its order got.

use std::collections::{BTreeMap, HashSet};

use futures::{StreamExt, stream};

use super::{AcceptedOrder, FailureReason, OrderId, OrderStatus, amount};
use crate::{
    broadcast::fence::{self, Cause, Fence},
    clock,
    error::Error,
    id::{self, BroadcastId},
    ledger::{Booking, OrderRecord},
    payment::{Charge, Toss},
    room::{Event, Rooms},
    stock::{Released, Source},
};

/// Payments under way at once, in one batch.
const PAYMENTS_AT_ONCE: usize = 16;
/// The revision of an order that was reserved and then settled.
const SETTLED: u64 = 2;

/// Settles orders.
pub struct Settlement {
    /// The ledger and the gate.
    pub fence: Fence,
    /// Where orders are paid.
    pub payments: Toss,
    /// Where buyers are told.
    pub rooms: Rooms,
}

impl Settlement {
    /// Settles `orders`. One outcome an order, in their order; an order with an error is to be brought again.
    pub async fn settle(&self, orders: Vec<AcceptedOrder>) -> Vec<Result<(), Error>> {
        // The queue may deliver an order twice in one batch: the first copy settles, and speaks for the others.
        let mut seen = HashSet::new();
        let first: Vec<AcceptedOrder> = orders
            .iter()
            .filter(|order| seen.insert(order.order_id.clone()))
            .cloned()
            .collect();
        let mut outcomes: BTreeMap<OrderId, Result<(), Error>> = first
            .iter()
            .map(|order| order.order_id.clone())
            .zip(self.settle_distinct(&first).await)
            .collect();
        orders
            .iter()
            .map(|order| match outcomes.get_mut(&order.order_id) {
                Some(outcome @ Err(_)) => std::mem::replace(outcome, Err(Error::Conflict)),
                Some(Ok(())) => Ok(()),
                None => Err(Error::Conflict),
            })
            .collect()
    }

    async fn settle_distinct(&self, orders: &[AcceptedOrder]) -> Vec<Result<(), Error>> {
        let bookings = self.fence.ledger.book(orders).await;
        let decided: Vec<Result<Decided, Error>> = stream::iter(orders.iter().zip(bookings))
            .map(|(order, booking)| self.decide(order, booking))
            .buffered(PAYMENTS_AT_ONCE)
            .collect()
            .await;

        let mut outcomes: Vec<Result<OrderRecord, Error>> = Vec::with_capacity(orders.len());
        let mut paid = Vec::new();
        for decision in decided {
            outcomes.push(match decision {
                Ok(Decided::Settled(record)) => Ok(record),
                Ok(Decided::Paid(record, payment)) => {
                    paid.push((outcomes.len(), record, payment));
                    Err(Error::Conflict)
                }
                Err(error) => Err(error),
            });
        }
        let (places, records): (Vec<usize>, Vec<_>) = paid
            .into_iter()
            .map(|(place, record, payment)| (place, (record, payment)))
            .unzip();
        for (place, confirmed) in places
            .into_iter()
            .zip(self.fence.ledger.confirm(records, clock::now()).await)
        {
            outcomes[place] = confirmed;
        }
        self.conclude(outcomes).await
    }

    /// Settles the payment of a booked order, or finds that it is settled.
    async fn decide(
        &self,
        order: &AcceptedOrder,
        booking: Result<Booking, Error>,
    ) -> Result<Decided, Error> {
        let (record, first) = match booking? {
            Booking::Reserved(record) => (record, true),
            Booking::Existing(record) if record.status == OrderStatus::Reserved => (record, false),
            Booking::Existing(record) => return Ok(Decided::Settled(record)),
            Booking::SoldOut => {
                let record = self
                    .fence
                    .ledger
                    .book_failed(order, FailureReason::SoldOut, clock::now())
                    .await?;
                // Another copy of the message was faster, and found units: it settles the order.
                return if record.status == OrderStatus::Reserved {
                    Err(Error::Conflict)
                } else {
                    Ok(Decided::Settled(record))
                };
            }
        };
        match self
            .payments
            .charge(
                &record.order_id,
                &order.payment,
                amount(&record.lines),
                first,
            )
            .await?
        {
            Charge::Paid(payment) => Ok(Decided::Paid(record, payment)),
            Charge::Declined(code) => {
                tracing::info!(order.id = %record.order_id, code, "the payment was declined");
                let failed = self
                    .fence
                    .ledger
                    .fail(record, FailureReason::PaymentDeclined, clock::now())
                    .await?;
                Ok(Decided::Settled(failed))
            }
        }
    }

    /// Makes the gate agree with the ledger, and tells the buyers.
    async fn conclude(&self, outcomes: Vec<Result<OrderRecord, Error>>) -> Vec<Result<(), Error>> {
        let mut by_broadcast = BTreeMap::<BroadcastId, Vec<usize>>::new();
        for (place, record) in outcomes
            .iter()
            .enumerate()
            .filter_map(|(place, outcome)| Some((place, outcome.as_ref().ok()?)))
        {
            by_broadcast
                .entry(record.order_id.broadcast())
                .or_default()
                .push(place);
        }
        let mut concluded: Vec<Result<(), Error>> = Vec::new();
        let mut records = Vec::with_capacity(outcomes.len());
        for outcome in outcomes {
            let (record, result) = match outcome {
                Ok(record) => (Some(record), Ok(())),
                Err(error) => (None, Err(error)),
            };
            records.push(record);
            concluded.push(result);
        }
        for (broadcast, places) in by_broadcast {
            let settled: Vec<(usize, &OrderRecord)> = places
                .into_iter()
                .filter_map(|place| Some((place, records[place].as_ref()?)))
                .collect();
            for (place, error) in self.conclude_broadcast(&broadcast, &settled).await {
                concluded[place] = Err(error);
            }
        }
        concluded
    }

    /// Returns what failed, with its place.
    async fn conclude_broadcast(
        &self,
        broadcast: &BroadcastId,
        settled: &[(usize, &OrderRecord)],
    ) -> Vec<(usize, Error)> {
        let source = Source::Live(broadcast.clone());
        let (confirmed, failed): (Vec<_>, Vec<_>) = settled
            .iter()
            .partition(|(_, record)| record.status == OrderStatus::Confirmed);
        let mut errors = Vec::new();
        let ids: Vec<(&OrderId, u64)> = confirmed
            .iter()
            .map(|(_, record)| (&record.order_id, SETTLED))
            .collect();
        if let Err(error) = self.fence.gate.confirm(&source, &ids).await {
            tracing::warn!(error = %error, orders = ids.len(), "confirmed orders keep their holds; the queue brings them again");
            errors.extend(confirmed.iter().map(|(place, _)| (*place, Error::Conflict)));
        }
        for (place, record) in failed {
            if let Err(error) = self.give_back(&source, broadcast, record).await {
                errors.push((place, error));
            }
        }
        let results: Vec<_> = settled
            .iter()
            .map(|(_, record)| {
                (
                    Some(record.user_id.clone()),
                    Event::OrderResult(record.view()),
                )
            })
            .collect();
        if let Err(error) = self.rooms.append(broadcast, &results, clock::now()).await {
            // The order is settled and `GET /orders` says so; a push that is lost is not worth settling it again.
            tracing::warn!(error = %error, broadcast.id = %broadcast, "order results were not pushed");
        }
        errors
    }

    /// Returns the units of a failed order to its gate; and to the pool, if the product went off air meanwhile.
    async fn give_back(
        &self,
        source: &Source,
        broadcast: &BroadcastId,
        record: &OrderRecord,
    ) -> Result<(), Error> {
        let (Released::Now(closed) | Released::Already(closed)) = self
            .fence
            .gate
            .release(source, &record.order_id, SETTLED)
            .await?
        else {
            return Ok(());
        };
        for product in closed {
            let cause = Cause {
                id: id::digest(
                    &["late return", record.order_id.as_str(), product.as_str()],
                    16,
                ),
                fingerprint: "late return".to_owned(),
                text: format!(
                    "order {} failed after the product went off air",
                    record.order_id
                ),
                by: "order-process".to_owned(),
            };
            self.fence
                .give_back(broadcast, &product, (0, fence::ALL), &cause, clock::now())
                .await?;
        }
        Ok(())
    }
}

enum Decided {
    Paid(OrderRecord, super::PaymentView),
    Settled(OrderRecord),
}
