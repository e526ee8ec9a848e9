//! The gate follows the ledger: what an order is there, its hold becomes here, whoever comes late or twice.

use std::collections::BTreeMap;

use crate::{
    broadcast::fence::{self, Cause, Fence},
    clock::Timestamp,
    error::Error,
    id::{self, BroadcastId},
    ledger::OrderRecord,
    order::{FailureReason, OrderId, OrderStatus},
    stock::{Released, Source},
};

impl Fence {
    /// Makes the holds of these orders what the ledger says. Units of a failed order whose product went off air meanwhile go
    /// on to the pool. Returns the orders for which it failed, by their place; repeating it is safe.
    pub async fn settle_holds(
        &self,
        records: &[OrderRecord],
        now: Timestamp,
    ) -> Vec<(usize, Error)> {
        let mut by_broadcast = BTreeMap::<BroadcastId, Vec<usize>>::new();
        for (place, record) in records.iter().enumerate() {
            let broadcast = record.order_id.broadcast();
            by_broadcast.entry(broadcast).or_default().push(place);
        }
        let mut errors = Vec::new();
        for (broadcast, places) in by_broadcast {
            let source = Source::Live(broadcast);
            let confirmed: Vec<usize> = places
                .iter()
                .copied()
                .filter(|&place| records[place].status == OrderStatus::Confirmed)
                .collect();
            let ids: Vec<(&OrderId, u64)> = confirmed
                .iter()
                .map(|&place| (&records[place].order_id, records[place].revision))
                .collect();
            if let Err(error) = self.gate.confirm(&source, &ids).await {
                tracing::warn!(error = %error, orders = ids.len(), "paid orders keep their holds for now");
                let mut places = confirmed.iter().copied();
                errors.extend(places.next().map(|place| (place, Error::Redis(error))));
                errors.extend(places.map(|place| (place, Error::Conflict)));
            }
            for place in places {
                let record = &records[place];
                let settled = match record.status {
                    OrderStatus::Failed => self.give_units_back(&source, record, now).await,
                    OrderStatus::Reserved => self.keep_hold(&source, record).await,
                    OrderStatus::Confirmed | OrderStatus::Accepted => Ok(()),
                };
                errors.extend(settled.err().map(|error| (place, error)));
            }
        }
        errors
    }

    /// An order that is to be paid later keeps its units until then, also if it had lost them in between.
    async fn keep_hold(&self, source: &Source, record: &OrderRecord) -> Result<(), Error> {
        if record.revision == 1 {
            return Ok(()); // the hold is as it was taken
        }
        // This also gives a hold that is open the deadline of this revision.
        self.gate
            .reopen(source, &record.order_id, record.revision, record.pay_by)
            .await?;
        Ok(())
    }

    async fn give_units_back(
        &self,
        source: &Source,
        record: &OrderRecord,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (order, revision) = (&record.order_id, record.revision);
        if record.reason == Some(FailureReason::SoldOut) {
            self.gate.forfeit(source, order, revision).await?;
            return Ok(());
        }
        let released = self.gate.release(source, order, revision).await?;
        // Named again when they were given back before: whoever did that may have broken off here.
        let (Released::Now(closed) | Released::Already(closed)) = released else {
            return Ok(());
        };
        for product in closed {
            let cause = Cause {
                id: id::digest(
                    &[
                        "late return",
                        record.order_id.as_str(),
                        product.as_str(),
                        &record.revision.to_string(),
                    ],
                    16,
                ),
                fingerprint: "late return".to_owned(),
                text: format!(
                    "order {} failed after the product went off air",
                    record.order_id
                ),
                by: "orders".to_owned(),
            };
            self.give_back(source, &product, (0, fence::ALL), &cause, now)
                .await?;
        }
        Ok(())
    }
}
