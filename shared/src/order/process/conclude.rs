//! The end of every piece of work: the gate is made to agree with the ledger, then the buyers are told.

use std::collections::{BTreeMap, BTreeSet};

use metrics::counter;

use super::Settlement;
use crate::{
    clock,
    error::Error,
    id::BroadcastId,
    ledger::OrderRecord,
    order::{AcceptedOrder, OrderStatus},
    room::Event,
};

impl Settlement {
    pub(super) async fn conclude_one(
        &self,
        outcome: Result<Option<OrderRecord>, Error>,
    ) -> Result<(), Error> {
        match outcome {
            Ok(Some(record)) => {
                let mut concluded = self.conclude(vec![Ok(record)]).await;
                concluded.pop().unwrap_or(Err(Error::Conflict))
            }
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The same for an order that was looked at: a look that changed nothing for its buyer is not told.
    pub(super) async fn conclude_look(
        &self,
        before: &OrderRecord,
        outcome: Result<Option<OrderRecord>, Error>,
    ) -> Result<(), Error> {
        match outcome {
            Ok(Some(record)) if record.view() == before.view() => {
                let failed = self.fence.settle_holds(&[record], clock::now()).await;
                failed
                    .into_iter()
                    .next()
                    .map_or(Ok(()), |(_, error)| Err(error))
            }
            outcome => self.conclude_one(outcome).await,
        }
    }

    /// Makes the gate agree with the ledger, and tells the buyers.
    pub(super) async fn conclude(
        &self,
        outcomes: Vec<Result<OrderRecord, Error>>,
    ) -> Vec<Result<(), Error>> {
        let mut concluded: Vec<Result<(), Error>> = Vec::with_capacity(outcomes.len());
        let (mut places, mut records) = (Vec::new(), Vec::new());
        for outcome in outcomes {
            concluded.push(match outcome {
                Ok(record) => {
                    places.push(concluded.len());
                    records.push(record);
                    Ok(())
                }
                Err(error) => Err(error),
            });
        }
        for (index, error) in self.fence.settle_holds(&records, clock::now()).await {
            concluded[places[index]] = Err(error);
        }
        self.tell(&records).await;
        concluded
    }

    /// Everyone sees what these orders hold, before they are paid: accepting an order wakes no room, so that it stays one call.
    pub(super) async fn show_stock(&self, orders: &[AcceptedOrder]) {
        let broadcasts = orders.iter().map(|order| order.order_id.broadcast());
        for broadcast in broadcasts.collect::<BTreeSet<_>>() {
            if let Err(error) = self.rooms.append(&broadcast, &[], clock::now()).await {
                tracing::warn!(error = %error, broadcast.id = %broadcast, "a room was not woken; it is with the next result");
            }
        }
    }

    async fn tell(&self, records: &[OrderRecord]) {
        let mut by_broadcast = BTreeMap::<BroadcastId, Vec<_>>::new();
        for record in records {
            count(record);
            let result = (
                Some(record.user_id.clone()),
                Event::OrderResult(record.view()),
            );
            let broadcast = record.order_id.broadcast();
            by_broadcast.entry(broadcast).or_default().push(result);
        }
        for (broadcast, results) in by_broadcast {
            if let Err(error) = self.rooms.append(&broadcast, &results, clock::now()).await {
                // The order is settled and `GET /orders` says so; a push that is lost is not worth settling it again.
                tracing::warn!(error = %error, broadcast.id = %broadcast, "order results were not pushed");
            }
        }
    }
}

fn count(record: &OrderRecord) {
    match (record.status, record.reason) {
        (OrderStatus::Confirmed, _) => counter!("orders_confirmed").increment(1),
        (OrderStatus::Failed, Some(reason)) => {
            counter!("orders_failed", "reason" => reason.as_str()).increment(1);
        }
        (OrderStatus::Failed | OrderStatus::Reserved | OrderStatus::Accepted, _) => {}
    }
}
