//! `ledger.*`, `process.*`: what settling an order costs when orders come a hundred at a time, beside one at a time.

use std::time::Duration;

use crate::{
    Result,
    messages::Delivering,
    options::Options,
    report::{Report, median},
    shop::{Accepting, Settling, Shop},
};

const REQUESTS: &str = "ledger.requests_per_order";
const RATE: &str = "process.rate_vs_single";
const FIGURES: [&str; 2] = [REQUESTS, RATE];

/// What the event source mapping of the template gives an invocation.
pub const BATCH: usize = 100;
/// Processes that settle orders, whichever way they come.
const PROCESSES: usize = 4;
const ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(120);

/// A run of orders that all come the same way.
struct Settled {
    per_second: f64,
    requests_per_order: f64,
}

struct Bench {
    shop: Shop,
    accepting: Accepting,
    settling: Settling,
}

/// Measures both: they come from the same rounds.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&FIGURES) {
        return Ok(());
    }
    let together = options.size(6_000, 1_000);
    let alone = options.size(1_500, 200);
    let units = (ROUNDS + 1) * (together + alone);
    let shop = Shop::open("settle", 1, units as u64)?;
    let mut bench = Bench {
        accepting: shop.accepting()?,
        settling: shop.settling(PROCESSES)?,
        shop,
    };
    // The first orders open the connections.
    bench.settle(alone, 1)?;

    let (mut batches, mut singles) = (Vec::new(), Vec::new());
    for round in 1..=ROUNDS {
        eprintln!("settle: round {round} of {ROUNDS}");
        batches.push(bench.settle(together, BATCH)?);
        singles.push(bench.settle(alone, 1)?);
    }
    let middle =
        |runs: &[Settled], value: fn(&Settled) -> f64| median(runs.iter().map(value).collect());
    let ratios = batches
        .iter()
        .zip(&singles)
        .map(|(batch, single)| batch.per_second / single.per_second)
        .collect();
    report.add_beside(
        REQUESTS,
        middle(&batches, |run| run.requests_per_order),
        "requests",
        middle(&singles, |run| run.requests_per_order),
    );
    report.add_beside(RATE, median(ratios), "ratio", 1.0);
    report.note(format!(
        "settle: {ROUNDS} rounds of {together} orders in batches of {BATCH} and {alone} in batches of one, in turns, by \
         {PROCESSES} processes of order-process: {:.0} orders/s against {:.0}; figures are the median",
        middle(&batches, |run| run.per_second),
        middle(&singles, |run| run.per_second),
    ));
    Ok(())
}

impl Bench {
    fn settle(&mut self, orders: usize, batch: usize) -> Result<Settled> {
        let messages = self.shop.accept(&self.accepting, orders, 0)?;
        let before = self.shop.aws.dynamodb_requests();
        let how = Delivering {
            batch,
            twice_percent: 0,
        };
        let delivered = self.shop.settle(&self.settling, messages, how, PATIENCE)?;
        let requests = self.shop.aws.dynamodb_requests() - before;
        if delivered.again > 0 {
            return Err(format!("{} orders were not settled at once", delivered.again).into());
        }
        Ok(Settled {
            per_second: orders as f64 / delivered.elapsed.as_secs_f64(),
            requests_per_order: requests as f64 / orders as f64,
        })
    }
}
