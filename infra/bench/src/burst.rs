//! `burst.*`: one product, a show's worth of orders, several processes that settle them, messages that come twice and
//! transactions that meet, charges that go wrong: what is lost, and what is counted twice?

use std::{collections::HashSet, time::Duration};

use serde_json::Value;

use crate::{
    Result,
    dynamodb::{number, text},
    function,
    messages::Delivering,
    options::Options,
    report::Report,
    settle::BATCH,
    shop::Shop,
};

const ORDERS_FIGURE: &str = "burst.orders";
const SECONDS: &str = "burst.seconds";
const LOST: &str = "burst.lost";
const DOUBLED: &str = "burst.doubled";
const FIGURES: [&str; 4] = [ORDERS_FIGURE, SECONDS, LOST, DOUBLED];

/// As many batches at once as `template.yaml` allows unless told otherwise (`OrderConcurrency`).
const PROCESSES: usize = 10;
/// Of a hundred messages, how many come twice.
const TWICE_PERCENT: u64 = 3;
/// Of a hundred orders, how many are paid with a card that is declined.
const DECLINED_PERCENT: usize = 1;
/// Of a thousand transactions, how many meet another one. No emulator does that by itself.
const CONFLICTS_PER_MILLE: u32 = 50;
/// Of a thousand charges, how many go wrong at the gateway. Half of them are made; the orders of the others come again.
const PAYMENT_FAULTS_PER_MILLE: u32 = 10;
const PATIENCE: Duration = Duration::from_secs(600);

/// What the tables say at the end.
#[derive(Default)]
struct Found {
    settled: HashSet<String>,
    /// Units of orders that did not fail.
    units: u64,
    confirmed: u64,
    failed: u64,
}

/// Measures it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&FIGURES) {
        return Ok(());
    }
    let orders = options.size(50_000, 2_000);
    // Exactly enough: a unit that is counted twice is missing for an order, and seen.
    let mut shop = Shop::open("burst", 1, orders as u64)?;
    let messages = {
        let accepting = shop.accepting()?;
        shop.accept(&accepting, orders, DECLINED_PERCENT)?
    };
    let accepted = messages
        .iter()
        .map(|message| order_id(message))
        .collect::<Result<HashSet<_>>>()?;

    let settling = shop.settling(PROCESSES)?;
    shop.aws.have_transactions_meet(CONFLICTS_PER_MILLE);
    shop.payments.falter(PAYMENT_FAULTS_PER_MILLE);
    let how = Delivering {
        batch: BATCH,
        twice_percent: TWICE_PERCENT,
    };
    let delivered = shop.settle(&settling, messages, how, PATIENCE)?;
    let conflicts = shop.aws.conflicts();

    let found = read_back(&shop)?;
    let lost = accepted.difference(&found.settled).count();
    let sold = shop.rows()?.iter().map(|row| row.sold).sum::<u64>();
    let double_charges = shop.payments.double_charges();
    let doubled = sold.abs_diff(found.units) + double_charges;
    report.add(ORDERS_FIGURE, accepted.len() as f64, "orders");
    report.add(SECONDS, delivered.elapsed.as_secs_f64(), "s");
    report.add(LOST, lost as f64, "orders");
    report.add(DOUBLED, doubled as f64, "orders");
    report.note(format!(
        "burst: concurrency {PROCESSES}, batch {BATCH}, {:.0} orders/s; {} messages came twice, {} deliveries failed and came \
         again, {conflicts} transactions met another one, {} charges went wrong; {} orders are confirmed, {} failed, {sold} units are sold",
        orders as f64 / delivered.elapsed.as_secs_f64(),
        delivered.twice,
        delivered.again,
        shop.payments.faults(),
        found.confirmed,
        found.failed,
    ));
    check(&shop, &found, lost, doubled)
}

/// What must hold on every machine.
fn check(shop: &Shop, found: &Found, lost: usize, doubled: u64) -> Result<()> {
    if lost > 0 || doubled > 0 {
        return Err(format!("{lost} orders were lost and {doubled} counted twice").into());
    }
    if shop.payments.charged_orders() != found.confirmed {
        return Err(format!(
            "{} orders are confirmed, {} were charged",
            found.confirmed,
            shop.payments.charged_orders()
        )
        .into());
    }
    for (row, stock) in shop.rows()?.iter().zip(shop.stocks()?) {
        if (row.sold, row.unsold) != (stock.sold, stock.left) {
            return Err(format!(
                "the ledger has {} units sold and {} unsold, the gate {} and {}",
                row.sold, row.unsold, stock.sold, stock.left
            )
            .into());
        }
    }
    Ok(())
}

fn order_id(message: &str) -> Result<String> {
    let message: Value = serde_json::from_str(message)?;
    let id = message["order_id"].as_str();
    Ok(id.ok_or("an order on the queue has no id")?.to_owned())
}

fn read_back(shop: &Shop) -> Result<Found> {
    let mut found = Found::default();
    for item in shop.aws.dynamodb()?.items(function::ORDERS_TABLE)? {
        let status = text(&item, "status")?;
        if status == "failed" {
            found.failed += 1;
        } else {
            for line in item["lines"]["L"].as_array().into_iter().flatten() {
                found.units += number(&line["M"], "quantity")?;
            }
        }
        if status == "confirmed" {
            found.confirmed += 1;
        }
        if matches!(status, "confirmed" | "failed") {
            found.settled.insert(text(&item, "pk")?.to_owned());
        }
    }
    Ok(found)
}
