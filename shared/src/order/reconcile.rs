//! Once a minute: what expired is given back, orders that somebody has to look at are brought on, and the gate is compared
//! with the ledger.
//!
//! For every source, the units the gate believes free must be those the ledger has not sold, less those held by orders that
//! are not in the ledger yet. The two are read at different moments, so a look counts only if neither changed meanwhile; and a
//! difference counts only if a second look finds it again. Then it is written down with its cause, and put right in the gate by
//! that difference: the ledger was right all along.

use std::{collections::HashMap, time::Duration};

use metrics::{counter, gauge};
use serde::Serialize;

use super::{OrderStatus, process::Settlement, sweep::Sweep};
use crate::{
    broadcast::fence::{self, Cause},
    catalog::{BroadcastStatus, Catalog},
    clock::{self, Timestamp},
    error::Error,
    id,
    ledger::{StockRow, TraceEntry},
    queue::Queue,
    stock::{Correction, Granted, Repaired, Source},
};

/// Orders of one shard of the index that one run looks after.
const MAX_DUE: i32 = 100;
/// Between two looks at a difference.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// How often a source that changes while it is looked at is looked at again in one run.
const LOOKS: usize = 5;
/// A message that is on the queue is counted there a moment later.
const QUEUE_LAG: Duration = Duration::from_secs(60);
/// How long holds of orders that the ledger has settled are left to those who settled them.
const SETTLING: Duration = Duration::from_secs(5);

/// Compares, repairs, expires.
pub struct Reconcile {
    /// Gives expired holds back.
    pub sweep: Sweep,
    /// Brings orders on.
    pub settlement: Settlement,
    /// Whether a broadcast is over.
    pub catalog: Catalog,
    /// The orders queue.
    pub orders: Queue,
}

/// What one run found and did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Holds given back.
    pub expired: usize,
    /// Orders looked after.
    pub looked_after: usize,
    /// Sources compared.
    pub compared: usize,
    /// Sources that changed too fast to be compared.
    pub busy: usize,
    /// Sources of which the gate knew nothing, and was loaded.
    pub loaded: usize,
    /// Units by which gates differed from the ledger, twice.
    pub drift: u64,
    /// Parts that failed; the next run goes on.
    pub failed: usize,
}

/// A source seen in one state by gate and ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    /// Units the gate has free that the ledger has not (or, negative, the other way round).
    free: i64,
    /// Units the gate counts as held for which it has no hold (or, negative, the other way round).
    held: i64,
    /// The gate's version.
    version: u64,
}

impl Reconcile {
    /// Does one round. What fails in it is counted, and left to the next.
    ///
    /// # Errors
    /// The ledger could not be listed.
    pub async fn run(&self) -> Result<Report, Error> {
        let mut report = Report::default();
        self.note_empty_queue(clock::now()).await;
        let rows = self.sweep.fence.ledger.rows().await?;
        let mut sources: Vec<&Source> = rows.iter().map(|row| &row.source).collect();
        sources.sort_unstable();
        sources.dedup();
        for source in &sources {
            match self.sweep.sweep(source, clock::now(), None).await {
                Ok(expired) => report.expired += expired,
                Err(error) => failed(&mut report, &error, "expiring holds"),
            }
        }
        match self.sweep.fence.ledger.due(clock::now(), MAX_DUE).await {
            Ok(due) => {
                report.looked_after = due.len();
                for outcome in self.settlement.look_after_all(due).await {
                    if let Err(error) = outcome {
                        failed(&mut report, &error, "looking after an order");
                    }
                }
            }
            Err(error) => failed(&mut report, &error, "listing what is due"),
        }
        let mut suspects = Vec::new();
        for row in rows {
            match self.compare(&row, &mut report).await {
                Ok(Some(look)) if !look.agrees() => suspects.push((row, look)),
                Ok(Some(_)) => {
                    if let Err(error) = self.clear(&row).await {
                        failed(
                            &mut report,
                            &error,
                            "clearing the fence of an ended broadcast",
                        );
                    }
                }
                Ok(None) => {}
                Err(error) => failed(&mut report, &error, "comparing a source"),
            }
        }
        if !suspects.is_empty() {
            tokio::time::sleep(SECOND_LOOK).await;
        }
        for (row, first) in suspects {
            if let Err(error) = self.look_again(&row, first, &mut report).await {
                failed(&mut report, &error, "repairing a source");
            }
        }
        publish(&report);
        Ok(report)
    }

    /// An empty queue is done up to now, whatever came last through it.
    async fn note_empty_queue(&self, now: Timestamp) {
        let done = match self.orders.is_empty().await {
            Ok(true) => {
                self.sweep
                    .fence
                    .gate
                    .raise_watermark(now.before(QUEUE_LAG))
                    .await
            }
            Ok(false) => return,
            Err(error) => {
                tracing::warn!(error = %error, "the orders queue was not asked whether it is empty");
                return;
            }
        };
        if let Err(error) = done {
            tracing::warn!(error = %error, "the sweep does not hear that the queue is empty");
        }
    }

    /// Looks at one source until gate and ledger hold still for it. `None` if they do not, or there is nothing to compare.
    async fn compare(&self, row: &StockRow, report: &mut Report) -> Result<Option<Look>, Error> {
        let fence = &self.sweep.fence;
        for _ in 0..LOOKS {
            let Some(before) = fence.ledger.stock_row(&row.product_id, &row.source).await? else {
                return Ok(None);
            };
            let Some(look) = self.look(&before).await? else {
                if self.load(&before).await? {
                    report.loaded += 1;
                }
                return Ok(None);
            };
            let after = fence.ledger.stock_row(&row.product_id, &row.source).await?;
            if after.as_ref() == Some(&before)
                && let Some(look) = look
            {
                report.compared += 1;
                return Ok(Some(look));
            }
        }
        report.busy += 1;
        Ok(None)
    }

    /// The difference between the gate and `row`. `None` if the gate knows nothing of it, `Some(None)` if it changed meanwhile.
    async fn look(&self, row: &StockRow) -> Result<Option<Option<Look>>, Error> {
        let fence = &self.sweep.fence;
        let stock = async || {
            let stock = fence.gate.stock(&row.product_id, &[&row.source]).await?;
            Ok::<_, Error>(stock.into_iter().next().flatten())
        };
        let Some(before) = stock().await? else {
            return Ok(None);
        };
        let now = clock::now();
        let holds: Vec<_> = fence.gate.holds(&row.source).await?;
        let orders = holds.iter().map(|(order, _)| order.clone()).collect();
        let records: HashMap<_, _> = fence
            .ledger
            .orders(orders)
            .await?
            .into_iter()
            .map(|record| (record.order_id.clone(), record))
            .collect();
        let (mut open, mut unbooked) = (0, 0);
        let mut settled = Vec::new();
        for (order, hold) in &holds {
            let units = hold.reservation.units_of(&row.product_id);
            open += units;
            match records.get(order) {
                None => unbooked += units,
                Some(record) if record.status == OrderStatus::Reserved => {}
                Some(record) => {
                    if hold.reservation.accepted_at + SETTLING < now {
                        settled.push(record.clone());
                    }
                }
            }
        }
        // Settled in the ledger, open in the gate: somebody broke off in between, and comes back or does not.
        if !settled.is_empty() {
            fence.settle_holds(&settled, now).await;
            return Ok(Some(None));
        }
        let pending = records
            .values()
            .any(|record| record.status != OrderStatus::Reserved);
        if pending || stock().await? != Some(before) {
            return Ok(Some(None));
        }
        // Units on their way out of the source have left the gate already. The ledger follows; if nobody goes on with that move,
        // or with telling the gate of one, this does.
        let leaving = signed(row.granted)? - before.granted;
        if leaving != 0 && fence.gate.grant(row, now).await? == Granted::Followed {
            return Ok(Some(None));
        }
        Ok(Some(Some(Look {
            free: before.left + unbooked + leaving - signed(row.unsold)?,
            held: before.held - open,
            version: before.version,
        })))
    }

    async fn look_again(
        &self,
        row: &StockRow,
        first: Look,
        report: &mut Report,
    ) -> Result<(), Error> {
        let Some(second) = self.compare(row, report).await? else {
            return Ok(());
        };
        let free = persistent(first.free, second.free);
        let held = persistent(first.held, second.held);
        if free == 0 && held == 0 {
            return Ok(());
        }
        report.drift += free.unsigned_abs();
        tracing::error!(product.id = %row.product_id, source = %row.source, free, held, "the gate differs from the ledger");
        // What is neither free nor held is sold: both corrections move it.
        let correction = Correction {
            left: -free,
            sold: free + held,
        };
        let gate = &self.sweep.fence.gate;
        let repaired = gate
            .repair(&row.source, &row.product_id, correction, second.version)
            .await?;
        if repaired == Repaired::Now {
            let entry = TraceEntry {
                at: clock::now(),
                source: row.source.clone(),
                granted: 0,
                sold: 0,
                repaired: -free,
                cause: "the gate differed from the ledger, twice".to_owned(),
                by: "reconcile".to_owned(),
                orders: Vec::new(),
            };
            let ledger = &self.sweep.fence.ledger;
            ledger.trace_repair(&row.product_id, &entry).await?;
            counter!("drift_repaired").increment(free.unsigned_abs());
        }
        Ok(())
    }

    /// Fills a gate that knows nothing, if its source sells. Returns whether it did.
    async fn load(&self, row: &StockRow) -> Result<bool, Error> {
        let now = clock::now();
        let gate = &self.sweep.fence.gate;
        if let Source::Live(broadcast) = &row.source {
            let spotlight = self.catalog.spotlight(broadcast, &row.product_id).await?;
            let Some(spotlight) = spotlight else {
                return Ok(false);
            };
            let terms = spotlight.terms();
            gate.load_terms(&row.source, &row.product_id, &terms)
                .await?;
        }
        Ok(gate.grant(row, now).await? == Granted::Loaded)
    }

    /// The fence of a broadcast that is over: what is left in it belongs to the pool, and once nothing is, it need not be
    /// looked at for ever.
    async fn clear(&self, row: &StockRow) -> Result<(), Error> {
        let Source::Live(broadcast) = &row.source else {
            return Ok(());
        };
        if self.catalog.broadcast(broadcast).await?.status != BroadcastStatus::Ended {
            return Ok(());
        }
        let fence = &self.sweep.fence;
        if row.unsold == 0 {
            return fence.ledger.rest(row).await;
        }
        let product = &row.product_id;
        let seen = row.version.to_string();
        let cause = Cause {
            id: id::digest(
                &["left over", broadcast.as_str(), product.as_str(), &seen],
                16,
            ),
            fingerprint: "left over".to_owned(),
            text: format!("left over in {broadcast}"),
            by: "reconcile".to_owned(),
        };
        let everything = (0, fence::ALL);
        let returned = fence.give_back(broadcast, product, everything, &cause, clock::now());
        returned.await.map(drop)
    }
}

impl Look {
    const fn agrees(&self) -> bool {
        self.free == 0 && self.held == 0
    }
}

/// What two looks have in common.
fn persistent(first: i64, second: i64) -> i64 {
    if first.signum() == second.signum() {
        first.abs().min(second.abs()) * first.signum()
    } else {
        0
    }
}

fn signed(units: u64) -> Result<i64, Error> {
    i64::try_from(units).map_err(|_| Error::Corrupt("a stock row".to_owned()))
}

fn failed(report: &mut Report, error: &Error, what: &'static str) {
    tracing::error!(error = %error, "{what} failed; the next run goes on");
    report.failed += 1;
}

fn publish(report: &Report) {
    counter!("drift_units").increment(report.drift);
    gauge!("sources_busy").set(report.busy as f64);
    gauge!("sources_loaded").set(report.loaded as f64);
    gauge!("reconcile_failed").set(report.failed as f64);
    tracing::info!(
        expired = report.expired,
        looked_after = report.looked_after,
        compared = report.compared,
        busy = report.busy,
        loaded = report.loaded,
        drift = report.drift,
        failed = report.failed,
        "reconciled"
    );
}
