//! What must hold: always, and when all is quiet. The ledger is read back as it is stored.

use std::collections::{BTreeMap, HashMap};

use dynoxide::AttributeValue;
use onepool::{
    clock::Timestamp,
    ledger::{OrderRecord, Refund, TraceEntry},
    order::{FailureReason, OrderStatus, reconcile::Report},
    stock::Source,
};
use serde_json::Value;

use super::{
    model::{Known, Model, Promise, Violation},
    world::{Tally, World, viewers},
};
use crate::{
    Shop,
    dynamodb::{Item, plain_item},
};

/// A row of the stock table.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    product: String,
    source: Source,
    granted: i64,
    sold: i64,
    unsold: i64,
}

/// An order as it is stored, as it is read, and when somebody is to look at it.
struct Order {
    stored: Item,
    record: OrderRecord,
    due_at: Option<Timestamp>,
}

/// What the ledger says at one moment.
#[derive(Default)]
pub(super) struct Books {
    rows: Vec<Row>,
    orders: HashMap<String, Order>,
    /// After how many writes.
    as_of: Option<u64>,
}

fn row(item: &Value) -> Row {
    let units = |name: &str| item[name].as_i64().expect("units");
    let source = item["sk"]
        .as_str()
        .and_then(|sk| sk.strip_prefix("source#"));
    Row {
        product: item["pk"].as_str().expect("a product").to_owned(),
        source: source.expect("a source").parse().expect("a source"),
        granted: units("granted"),
        sold: units("sold"),
        unsold: units("unsold"),
    }
}

impl Order {
    fn read(stored: Item) -> Self {
        let item = plain_item(stored.clone());
        Self {
            stored,
            due_at: item["due_at"].as_u64().map(Timestamp::from_millis),
            record: serde_json::from_value(item).expect("an order"),
        }
    }
}

impl Books {
    /// Reads the ledger, unless nothing was written since it was read last.
    fn read(&mut self, shop: &Shop, products: &[String]) {
        let writes = shop.wire.writes();
        if self.as_of == Some(writes) {
            return;
        }
        let rows = shop.dynamodb.stock(products, "source#");
        self.rows = rows.iter().map(row).collect();
        // Most orders have not changed, and reading one costs far more than comparing it.
        let mut before = std::mem::take(&mut self.orders);
        for stored in shop.dynamodb.orders() {
            let Some(AttributeValue::S(id)) = stored.get("pk") else {
                panic!("an order without an id");
            };
            let id = id.clone();
            let order = match before.remove(&id) {
                Some(order) if order.stored == stored => order,
                Some(_) | None => Order::read(stored),
            };
            self.orders.insert(id, order);
        }
        self.as_of = Some(writes);
    }
}

/// Whether there is an order that somebody is still to look at.
pub(super) fn is_somebody_to_look(shop: &Shop) -> bool {
    let orders = shop.dynamodb.orders();
    orders.iter().any(|order| order.contains_key("due_at"))
}

/// What holds after every step.
pub(super) fn always(world: &mut World) -> Result<(), Violation> {
    world.ledger.read(&world.shop, &world.model.products);
    let Books { rows, orders, .. } = &world.ledger;
    let mut counted = BTreeMap::<(String, String), i64>::new();
    for Order { record, due_at, .. } in orders.values() {
        let id = &record.order_id;
        if record.counts() {
            for line in &record.lines {
                let row = (line.product_id.to_string(), record.source().to_string());
                *counted.entry(row).or_default() += i64::from(line.quantity);
            }
        }
        let looked_after =
            record.status == OrderStatus::Reserved || record.refund == Some(Refund::Due);
        if looked_after && due_at.is_none() {
            let text = format!("{id} is {:?} and nobody will look", record.status);
            return Err(Violation::new(Promise::Lost, text));
        }
        let money = world.books.money(id.as_str());
        if money.charges > 1 || money.refunds > 1 {
            let text = format!("{id} was charged or refunded more than once: {money:?}");
            return Err(Violation::new(Promise::Doubled, text));
        }
        if record.status == OrderStatus::Confirmed && money.taken != record.amount() {
            let text = format!("{id} is confirmed, and the gateway took {money:?}");
            return Err(Violation::new(Promise::Doubled, text));
        }
    }
    for row in rows {
        let key = (row.product.clone(), row.source.to_string());
        let sold = counted.remove(&key).unwrap_or_default();
        if sold > row.granted || row.sold > row.granted {
            let text = format!("{sold} of {row:?} are in orders");
            return Err(Violation::new(Promise::Oversold, text));
        }
        if sold != row.sold || row.sold + row.unsold != row.granted || row.unsold < 0 {
            let text = format!("{sold} are in orders, the row says {row:?}");
            return Err(Violation::new(Promise::Drift, text));
        }
    }
    if let Some((row, units)) = counted.into_iter().find(|(_, units)| *units > 0) {
        let text = format!("{units} are in orders of {row:?}, which was granted nothing");
        return Err(Violation::new(Promise::Oversold, text));
    }
    Ok(())
}

/// Whether an order took its units again by a payment that came late: the ledger took them first, and the gate follows when
/// it hears of it.
fn is_late(world: &World) -> bool {
    let products = &world.model.products;
    let trace = world.shop.dynamodb.stock(products, "trace#");
    trace.iter().any(|entry| {
        entry["cause"]
            .as_str()
            .is_some_and(|cause| cause.ends_with("after its time"))
    })
}

/// While Redis forgets nothing, gate and ledger differ by late payments only.
pub(super) fn drift(world: &World, report: &Report) -> Result<(), Violation> {
    if report.drift > 0 && !world.model.forgot && !is_late(world) {
        let text = format!("Redis forgot nothing, and yet gates were repaired: {report:?}");
        return Err(Violation::new(Promise::Drift, text));
    }
    Ok(())
}

/// What holds when all is quiet.
pub(super) async fn at_rest(world: &mut World, tally: &mut Tally) -> Result<(), Violation> {
    world.ledger.read(&world.shop, &world.model.products);
    let (world, books) = (&*world, &world.ledger);
    for known in world.model.orders.values() {
        match books.orders.get(known.order_id.as_str()) {
            Some(Order { record, due_at, .. }) => {
                ended(world, known, record, *due_at)?;
                match record.status {
                    OrderStatus::Confirmed => tally.confirmed += 1,
                    OrderStatus::Failed => tally.failed += 1,
                    OrderStatus::Accepted | OrderStatus::Reserved => {}
                }
            }
            None if known.accepted => {
                let text = format!(
                    "{} ({}) was accepted and is gone",
                    known.key, known.order_id
                );
                return Err(Violation::new(Promise::Lost, text));
            }
            None if world.books.money(known.order_id.as_str()).taken > 0 => {
                let text = format!("{} was charged and is no order", known.order_id);
                return Err(Violation::new(Promise::Doubled, text));
            }
            None => {}
        }
    }
    trace(world, &books.rows)?;
    gates(world, books).await
}

/// How one order ended, against what was asked of it.
fn ended(
    world: &World,
    known: &Known,
    record: &OrderRecord,
    due_at: Option<Timestamp>,
) -> Result<(), Violation> {
    let (n, id) = (&known.key, &known.order_id);
    let money = world.books.money(id.as_str());
    let broken = |promise, text: String| {
        let status = (record.status, record.reason, record.refund);
        let text = format!("{n} ({id}), {status:?}, {money:?}: {text}");
        Err(Violation::new(promise, text))
    };
    let settled = match record.status {
        OrderStatus::Confirmed => record.reason.is_none(),
        OrderStatus::Failed => record.reason.is_some(),
        OrderStatus::Accepted | OrderStatus::Reserved => false,
    };
    if !settled || due_at.is_some() {
        return broken(Promise::Lost, format!("is not at rest, due {due_at:?}"));
    }
    let expected = match (record.status, record.refund) {
        (OrderStatus::Confirmed, None) => record.amount(),
        // A refund that the gateway refuses for good is left to a person.
        (_, Some(Refund::Refused)) if money.refunds_refused > 0 => money.stays,
        _ => 0,
    };
    if money.stays != expected {
        return broken(
            Promise::Doubled,
            format!("{expected} won should have stayed"),
        );
    }
    let possible = match record.reason {
        None => true,
        Some(FailureReason::Cancelled) => known.cancelled || known.by_hand,
        Some(FailureReason::Undeliverable) => known.given_up,
        // Money that was given back by hand before the shop heard that it had it is a payment that failed.
        Some(FailureReason::PaymentDeclined) => money.declines > 0 || known.by_hand,
        Some(FailureReason::SoldOut) => world.model.forgot || is_late(world),
        Some(FailureReason::PaymentExpired) => record.settled_at >= Some(record.pay_by),
        Some(FailureReason::Expired) => record.settled_at >= Some(record.created_at),
    };
    if !possible {
        return broken(
            Promise::Lost,
            "nothing that was done explains it".to_owned(),
        );
    }
    Ok(())
}

/// The trace of every source adds up to its row.
fn trace(world: &World, rows: &[Row]) -> Result<(), Violation> {
    let mut sums = BTreeMap::<(String, String), (i64, i64)>::new();
    let products = &world.model.products;
    for item in world.shop.dynamodb.stock(products, "trace#") {
        let product = item["pk"].as_str().expect("a product").to_owned();
        let entry: TraceEntry = serde_json::from_value(item).expect("an entry");
        let sum = sums.entry((product, entry.source.to_string())).or_default();
        sum.0 += entry.granted;
        sum.1 += entry.sold;
    }
    for row in rows {
        let key = (row.product.clone(), row.source.to_string());
        let sum = sums.get(&key).copied().unwrap_or_default();
        if sum != (row.granted, row.sold) {
            let text = format!("the trace of {row:?} adds up to {sum:?}");
            return Err(Violation::new(Promise::Drift, text));
        }
    }
    Ok(())
}

/// Every gate that knows a product counts it as the ledger does, and holds nothing.
async fn gates(world: &World, books: &Books) -> Result<(), Violation> {
    let broken = |text: String| Err(Violation::new(Promise::Drift, text));
    let gate = &world.shop.gate;
    for row in &books.rows {
        let product = row.product.parse().expect("a product");
        let stock = gate.stock(&product, &[&row.source]).await;
        let Some(stock) = stock.expect("redis answers").into_iter().next().flatten() else {
            continue;
        };
        let (left, held, granted) = (stock.left, stock.held, stock.granted);
        if left != row.unsold || granted != row.granted {
            return broken(format!("the gate has {stock:?}, the ledger {row:?}"));
        }
        if held != 0 && !world.model.forgot {
            return broken(format!("the gate holds {held} of {row:?} for nobody"));
        }
    }
    let sources: Vec<&Source> = books.rows.iter().map(|row| &row.source).collect();
    for source in sources {
        let holds = gate.holds(source).await.expect("redis answers");
        if !holds.is_empty() {
            return broken(format!("open holds at {source}: {holds:?}"));
        }
    }
    if !world.model.forgot {
        taken(world, books).await?;
    }
    Ok(())
}

/// What counts towards a viewer's limit is what the viewer has.
async fn taken(world: &World, books: &Books) -> Result<(), Violation> {
    let mut redis = world.shop.redis.plain().await;
    let Model { products, .. } = &world.model;
    for source in books.rows.iter().map(|row| &row.source) {
        let key = format!("{{demo}}:gate:{source}");
        let fields: HashMap<String, String> = redis::cmd("HGETALL")
            .arg(key)
            .query_async(&mut redis)
            .await
            .expect("redis answers");
        for product in products {
            for viewer in viewers() {
                let field = fields.get(&format!("taken:{product}:{viewer}"));
                let counted: u32 = field.map_or(0, |units| units.parse().expect("a number"));
                let has: u32 = books
                    .orders
                    .values()
                    .map(|order| &order.record)
                    .filter(|record| record.counts() && record.source() == *source)
                    .filter(|record| record.user_id.as_str() == viewer)
                    .flat_map(|record| &record.lines)
                    .filter(|line| line.product_id.as_str() == product)
                    .map(|line| line.quantity)
                    .sum();
                if counted != has {
                    let text = format!(
                        "{viewer} has {has} of {product} at {source}, the gate counts {counted}"
                    );
                    return Err(Violation::new(Promise::Drift, text));
                }
            }
        }
    }
    Ok(())
}
