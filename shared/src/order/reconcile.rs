//! Once a minute: what expired is given back, orders that somebody has to look at are brought on, and the gate is compared
//! with the ledger.
//!
//! For every product of a source, the units the gate believes free must be those the ledger has not sold, less those held by
//! orders that are not in the ledger yet. The two are read at different moments, so a look counts only if neither changed
//! meanwhile; and a difference counts only if a second look finds it again. Then it is written down with its cause, and put right in the gate by
//! that difference: the ledger was right all along.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use metrics::{counter, gauge};
use serde::Serialize;
use tokio::time::Instant;

use super::{OrderStatus, process::Settlement, sweep::Sweep};
use crate::{
    broadcast::fence::{self, Cause, Fence},
    catalog::{Broadcast, BroadcastStatus, Catalog},
    clock::{self, Timestamp},
    error::Error,
    id::{self, ProductId},
    ledger::{StockRow, TraceEntry},
    queue::Queue,
    stock::{Correction, Granted, Repaired, Source},
};

/// Orders of one shard of the index that one run looks after.
const MAX_DUE: i32 = 100;
/// What one run takes at most, about: the function has 55 s.
const TIME: Duration = Duration::from_secs(40);
/// Between two looks at a difference.
const SECOND_LOOK: Duration = Duration::from_secs(2);
/// How often a source that changes while it is looked at is looked at again in one run.
const LOOKS: usize = 5;
/// Changes that are looked through, the newest of a product, for one that the gate has not heard of.
const RECENT_CHANGES: i32 = 100;
/// A message that is on the queue is counted there a moment later.
const QUEUE_LAG: Duration = Duration::from_secs(60);
/// How long holds of orders that the ledger has settled are left to those who settled them.
const SETTLING: Duration = Duration::from_secs(5);
/// How long after its end the fence of a broadcast is compared still. A replica that takes over is seconds behind, and a copy
/// that somebody brings back may be of yesterday.
const RESTS_AFTER: Duration = Duration::from_secs(24 * 3_600);

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
    /// Products of sources compared.
    pub compared: usize,
    /// Those that changed too fast to be compared, or for which there was no time.
    pub busy: usize,
    /// Those of which the gate knew nothing, and was loaded.
    pub loaded: usize,
    /// Units free in gates and not in the ledger, or the other way round, twice.
    pub drift: u64,
    /// Parts that failed; the next run goes on.
    pub failed: usize,
}

/// A product of a source, seen in one state by gate and ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Look {
    /// Units the gate has free that the ledger has not (or, negative, the other way round).
    free: i64,
    /// Units the gate counts as held for which it has no hold (or, negative, the other way round).
    held: i64,
    /// The gate's version.
    version: u64,
    /// The ledger's row.
    row: StockRow,
}

impl Reconcile {
    /// Does one round. What fails in it, or does not fit into its time, is counted and left to the next.
    ///
    /// # Errors
    /// The ledger could not be listed.
    pub async fn run(&self) -> Result<Report, Error> {
        let deadline = Instant::now() + TIME;
        let mut report = Report::default();
        self.note_empty_queue(clock::now()).await;
        let mut sources = BTreeMap::<Source, Vec<ProductId>>::new();
        for row in self.sweep.fence.ledger.rows().await? {
            sources.entry(row.source).or_default().push(row.product_id);
        }
        let mut sources: Vec<_> = sources.into_iter().collect();
        // If there is no time for all of them, it is not always the same ones that wait.
        fastrand::shuffle(&mut sources);
        for (source, _) in &sources {
            match self.sweep.sweep(source, clock::now(), None).await {
                Ok(expired) => report.expired += expired,
                Err(error) => report.failure(&error, "expiring holds"),
            }
        }
        self.look_after_due(&mut report).await;
        let mut suspects = Vec::new();
        for (source, products) in &sources {
            if Instant::now() >= deadline {
                report.busy += products.len();
                continue;
            }
            match self.compare(source, products, &mut report).await {
                Ok(looks) => {
                    let differing = looks.iter().filter(|look| !look.agrees());
                    suspects.extend(differing.map(|look| (source, look.clone())));
                    if let Err(error) = self.follow_host(source, &looks).await {
                        report.failure(&error, "following what the host said last");
                    }
                }
                Err(error) => report.failure(&error, "comparing a source"),
            }
        }
        if !suspects.is_empty() {
            tokio::time::sleep(SECOND_LOOK).await;
        }
        for (source, first) in suspects {
            if let Err(error) = self.look_again(source, &first, &mut report).await {
                report.failure(&error, "repairing a source");
            }
        }
        publish(&report);
        Ok(report)
    }

    /// Brings the orders on that somebody has to look at.
    async fn look_after_due(&self, report: &mut Report) {
        let due = match self.sweep.fence.ledger.due(clock::now(), MAX_DUE).await {
            Ok(due) => due,
            Err(error) => return report.failure(&error, "listing what is due"),
        };
        report.looked_after = due.len();
        for outcome in self.settlement.look_after_all(due).await {
            if let Err(error) = outcome {
                report.failure(&error, "looking after an order");
            }
        }
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

    /// Looks at products of a source until gate and ledger hold still for each of them. Those that do not are left out.
    async fn compare(
        &self,
        source: &Source,
        products: &[ProductId],
        report: &mut Report,
    ) -> Result<Vec<Look>, Error> {
        let mut looks = Vec::with_capacity(products.len());
        let mut waiting: BTreeSet<&ProductId> = products.iter().collect();
        for _ in 0..LOOKS {
            let asked: Vec<&ProductId> = waiting.iter().copied().collect();
            for (product, seen) in self.look(source, &asked, report).await? {
                waiting.remove(product);
                looks.extend(seen);
            }
            if waiting.is_empty() {
                break;
            }
        }
        report.compared += looks.len();
        report.busy += waiting.len();
        Ok(looks)
    }

    /// One look at products of a source. A product that changed while it was looked at is not in the answer; one of which the
    /// gate knows nothing is, with nothing to compare.
    async fn look<'a>(
        &self,
        source: &Source,
        products: &[&'a ProductId],
        report: &mut Report,
    ) -> Result<Vec<(&'a ProductId, Option<Look>)>, Error> {
        let Fence { ledger, gate, .. } = &self.sweep.fence;
        let by_product = |rows: Vec<StockRow>| -> HashMap<ProductId, StockRow> {
            let rows = rows.into_iter();
            rows.map(|row| (row.product_id.clone(), row)).collect()
        };
        let rows = by_product(ledger.rows_of(source, products).await?);
        let stocks = gate.stocks(source, products).await?;
        let now = clock::now();
        let holds = gate.holds(source).await?;
        let orders = holds.iter().map(|(order, _)| order.clone()).collect();
        let records: HashMap<_, _> = ledger
            .orders(orders)
            .await?
            .into_iter()
            .map(|record| (record.order_id.clone(), record))
            .collect();
        let (mut open, mut unbooked) = (BTreeMap::new(), BTreeMap::new());
        let (mut settled, mut moving) = (Vec::new(), BTreeSet::new());
        for (order, hold) in &holds {
            let record = records.get(order);
            for line in &hold.reservation.lines {
                let units = i64::from(line.quantity);
                *open.entry(&line.product_id).or_insert(0) += units;
                match record.map(|record| record.status) {
                    None => *unbooked.entry(&line.product_id).or_insert(0) += units,
                    Some(OrderStatus::Reserved) => {}
                    Some(_) => drop(moving.insert(&line.product_id)),
                }
            }
            if let Some(record) = record.filter(|record| record.status != OrderStatus::Reserved)
                && hold.reservation.accepted_at + SETTLING < now
            {
                settled.push(record.clone());
            }
        }
        // Settled in the ledger, open in the gate: somebody broke off in between, and comes back or does not.
        self.sweep.fence.settle_holds(&settled, now).await;
        let rows_after = by_product(ledger.rows_of(source, products).await?);
        let stocks_after = gate.stocks(source, products).await?;

        let mut seen = Vec::with_capacity(products.len());
        for ((product, before), after) in products.iter().zip(stocks).zip(stocks_after) {
            let Some(row) = rows.get(*product) else {
                seen.push((*product, None));
                continue;
            };
            let Some(before) = before else {
                report.loaded += usize::from(self.load(row).await?);
                seen.push((*product, None));
                continue;
            };
            let still = after == Some(before) && rows_after.get(*product) == Some(row);
            if !still || moving.contains(product) {
                continue;
            }
            // Units on their way out of the source have left the gate already. The ledger follows; if nobody goes on with
            // that move, or with telling the gate of one, this does.
            let leaving = signed(row.granted)? - before.granted;
            // A source without holds is told what the ledger has, sales of channels included.
            let behind = !source.has_holds() && before.left + leaving != row.unsold;
            if (leaving != 0 || behind)
                && self.sweep.fence.follow_row(row, now).await? == Granted::Followed
            {
                continue;
            }
            let of = |units: &BTreeMap<&ProductId, i64>| units.get(product).copied().unwrap_or(0);
            let look = Look {
                free: before.left + of(&unbooked) + leaving - row.unsold,
                held: before.held - of(&open),
                version: before.version,
                row: row.clone(),
            };
            seen.push((*product, Some(look)));
        }
        Ok(seen)
    }

    async fn look_again(
        &self,
        source: &Source,
        first: &Look,
        report: &mut Report,
    ) -> Result<(), Error> {
        let product = first.row.product_id.clone();
        self.tell_of_recent_changes(source, &product).await?;
        let looks = self
            .compare(source, std::slice::from_ref(&product), report)
            .await?;
        let Some(second) = looks.into_iter().next() else {
            return Ok(());
        };
        let free = persistent(first.free, second.free);
        let held = persistent(first.held, second.held);
        if free == 0 && held == 0 {
            return Ok(());
        }
        report.drift += free.unsigned_abs();
        tracing::error!(product.id = %product, source = %source, free, held, "the gate differs from the ledger");
        // What is neither free nor held is sold: both corrections move it.
        let correction = Correction {
            left: -free,
            sold: free + held,
        };
        let gate = &self.sweep.fence.gate;
        let repaired = gate
            .repair(source, &product, correction, second.version)
            .await?;
        if repaired == Repaired::Now {
            let entry = TraceEntry {
                at: clock::now(),
                source: source.clone(),
                granted: 0,
                sold: 0,
                repaired: -free,
                cause: "the gate differed from the ledger, twice".to_owned(),
                by: "reconcile".to_owned(),
                orders: Vec::new(),
            };
            let ledger = &self.sweep.fence.ledger;
            ledger.trace_repair(&product, &entry).await?;
            counter!("drift_repaired").increment(free.unsigned_abs());
        }
        Ok(())
    }

    /// What the ledger did lately, the gate may only not have heard of: whoever did it is about to tell it, or broke off. It is
    /// told here, by the orders that the trace names; hearing it twice changes nothing.
    async fn tell_of_recent_changes(
        &self,
        source: &Source,
        product: &ProductId,
    ) -> Result<(), Error> {
        let Fence { ledger, .. } = &self.sweep.fence;
        let now = clock::now();
        let trace = ledger.trace(product, RECENT_CHANGES).await?;
        let orders: BTreeSet<_> = trace
            .into_iter()
            .filter(|change| &change.source == source)
            .flat_map(|change| change.orders)
            .collect();
        let records = ledger.orders(orders.into_iter().collect()).await?;
        for (place, error) in self.sweep.fence.settle_holds(&records, now).await {
            if matches!(error, Error::Redis(_)) {
                return Err(error);
            }
            // Units that should go on to the pool cannot while gate and ledger differ: that is to be put right first.
            let order = &records[place].order_id;
            tracing::warn!(order.id = %order, error = %error, "the gate was told, and its units stay");
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
        Ok(self.sweep.fence.follow_row(row, now).await? == Granted::Loaded)
    }

    /// Every product of a broadcast sells at the terms its host set last: a Redis that came back with an older memory has older
    /// ones. And what a broadcast that is over has left goes back.
    async fn follow_host(&self, source: &Source, looks: &[Look]) -> Result<(), Error> {
        let Source::Live(broadcast) = source else {
            return Ok(());
        };
        if looks.is_empty() {
            return Ok(());
        }
        let gate = &self.sweep.fence.gate;
        for spotlight in self.catalog.spotlights(broadcast).await? {
            let product = &spotlight.product_id;
            if looks.iter().any(|look| look.row.product_id == *product) {
                let (terms, change) = (spotlight.terms(), spotlight.version);
                gate.air(source, product, &terms, change).await?;
            }
        }
        let broadcast = self.catalog.broadcast(broadcast).await?;
        if broadcast.status == BroadcastStatus::Ended {
            self.clear(&broadcast, looks).await?;
        }
        Ok(())
    }

    /// The fence of a broadcast that is over: what is left in it belongs to the pool, and once nothing is, it need not be
    /// looked at for ever.
    async fn clear(&self, ended: &Broadcast, looks: &[Look]) -> Result<(), Error> {
        let (fence, now) = (&self.sweep.fence, clock::now());
        let rests = ended.ended_at.is_none_or(|at| at + RESTS_AFTER <= now);
        for Look { row, .. } in looks.iter().filter(|look| look.agrees()) {
            if row.unsold == 0 {
                if rests {
                    fence.ledger.rest(row).await?;
                }
                continue;
            }
            let broadcast = &ended.broadcast_id;
            let (product, seen) = (&row.product_id, row.version.to_string());
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
            fence
                .give_back(&row.source, product, everything, &cause, now)
                .await?;
        }
        Ok(())
    }
}

impl Report {
    fn failure(&mut self, error: &Error, what: &'static str) {
        tracing::error!(error = %error, "{what} failed; the next run goes on");
        self.failed += 1;
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
