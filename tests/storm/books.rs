//! The three sources that have to agree: the ledger, the payment gateway's own books, and what buyers were told. And the gate.

use std::collections::BTreeMap;

use onepool::{
    ledger::{OrderRecord, Refund},
    order::OrderStatus,
};
use onepool_tests::Stack;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// What the gateway took and kept for one order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Payments that took money.
    pub charges: usize,
    /// What of it the gateway still has.
    pub kept: u64,
}

/// Everything at one moment.
pub struct Books {
    /// The orders table.
    pub orders: BTreeMap<String, OrderRecord>,
    /// The rows of the stock table: source, granted, sold.
    pub rows: Vec<(String, u64, u64)>,
    /// Of every order the gateway knows.
    pub money: BTreeMap<String, Money>,
    /// The product as an operator reads it, with what the gate says.
    pub product: Value,
    /// The changes of each source, added up: granted, sold.
    pub trace: BTreeMap<String, (i64, i64)>,
    /// Messages in each queue that has some.
    pub queues: BTreeMap<String, u64>,
    /// Webhooks that are still to be delivered.
    pub webhooks: u64,
}

impl Books {
    /// Reads all of it. What may bring about something else is read before it: webhooks before queues, those before the rest.
    pub async fn read(stack: &Stack, product: &str) -> Self {
        let webhook = stack.sandbox(Method::GET, "webhook", Value::Null).await;
        let queues = queues(stack).await;
        let table = |output: &str| {
            stack.local["stack"][output]
                .as_str()
                .expect("a table")
                .to_owned()
        };
        let orders = scan(stack, &table("OrdersTable"))
            .await
            .into_iter()
            .map(|item| {
                let record: OrderRecord = serde_json::from_value(item).expect("an order");
                (record.order_id.to_string(), record)
            });
        let orders = orders.collect();
        let stock = scan(stack, &table("StockTable")).await;
        let rows = stock
            .iter()
            .filter(|item| item["pk"] == product)
            .filter_map(|item| {
                let source = item["sk"].as_str()?.strip_prefix("source#")?;
                Some((
                    source.to_owned(),
                    item["granted"].as_u64()?,
                    item["sold"].as_u64()?,
                ))
            });
        let rows = rows.collect();
        let path = format!("/products/{product}");
        let view = stack
            .must(Method::GET, &path, "operator", None, Value::Null)
            .await;
        let path = format!("/products/{product}/trace?limit=1000");
        let changes = stack
            .must(Method::GET, &path, "operator", None, Value::Null)
            .await;
        let mut trace = BTreeMap::<String, (i64, i64)>::new();
        for change in changes["changes"].as_array().expect("changes") {
            let units = |name: &str| change[name].as_i64().expect("units");
            let source = change["source"].as_str().expect("a source").to_owned();
            let sum = trace.entry(source).or_default();
            *sum = (sum.0 + units("granted"), sum.1 + units("sold"));
        }
        Self {
            orders,
            rows,
            money: money(stack).await,
            product: view,
            trace,
            queues,
            webhooks: webhook["counts"]["pending"].as_u64().expect("a count"),
        }
    }

    /// What is still under way; nothing, when all is quiet.
    pub fn under_way(&self) -> Vec<String> {
        let mut open = Vec::new();
        for (queue, messages) in &self.queues {
            open.push(format!("{messages} messages in {queue}"));
        }
        if self.webhooks > 0 {
            open.push(format!("{} webhooks", self.webhooks));
        }
        for (id, order) in &self.orders {
            if order.status == OrderStatus::Reserved {
                let attempt = order.attempt.as_deref().unwrap_or("none");
                open.push(format!(
                    "{id} is reserved ({:?}, attempt {attempt})",
                    order.method
                ));
            }
            if order.refund == Some(Refund::Due) {
                open.push(format!("{id} has a refund due"));
            }
        }
        open.extend(self.gate_differs());
        open
    }

    /// Sources of which the gate and the ledger do not say the same, or with holds that nobody owns.
    pub fn gate_differs(&self) -> Vec<String> {
        let sources = self.product["stock"]["sources"]
            .as_array()
            .expect("sources");
        let differ = sources.iter().filter(|source| {
            let units = |name: &str| source[name].as_i64().expect("units");
            let ledger = self.rows.iter().find(|row| source["source"] == row.0);
            let sold = ledger.and_then(|row| i64::try_from(row.2).ok());
            units("held") != 0
                || units("granted") != units("left") + units("sold")
                || sold != Some(units("sold"))
        });
        differ
            .map(|source| format!("the gate differs: {source}"))
            .collect()
    }

    /// Units in orders that are paid.
    pub fn confirmed_units(&self) -> u64 {
        let confirmed = self
            .orders
            .values()
            .filter(|order| order.status == OrderStatus::Confirmed);
        confirmed
            .flat_map(|order| &order.lines)
            .map(|line| u64::from(line.quantity))
            .sum()
    }
}

async fn queues(stack: &Stack) -> BTreeMap<String, u64> {
    let mut counted = BTreeMap::new();
    for (name, url) in stack.local["queues"].as_object().expect("queues") {
        let ask = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let answer = stack.sqs("GetQueueAttributes", ask).await;
        let kinds = ["", "NotVisible", "Delayed"].map(|kind| {
            let count = &answer["Attributes"][format!("ApproximateNumberOfMessages{kind}")];
            count
                .as_str()
                .and_then(|count| count.parse::<u64>().ok())
                .expect("a count")
        });
        let messages = kinds.iter().sum();
        if messages > 0 {
            counted.insert(name.clone(), messages);
        }
    }
    counted
}

async fn money(stack: &Stack) -> BTreeMap<String, Money> {
    let books = stack.sandbox(Method::GET, "books", Value::Null).await;
    let mut money = BTreeMap::<String, Money>::new();
    for payment in books["payments"].as_array().expect("payments") {
        let won = |name: &str| payment[name].as_u64().unwrap_or_default();
        let of_order = money
            .entry(payment["orderId"].as_str().expect("an id").to_owned())
            .or_default();
        of_order.charges += usize::from(won("approvedAmount") > 0);
        of_order.kept += won("balanceAmount");
    }
    money
}

/// All items of a table, as plain JSON.
async fn scan(stack: &Stack, table: &str) -> Vec<Value> {
    let mut items = Vec::new();
    let mut ask = json!({ "TableName": table, "ConsistentRead": true });
    loop {
        let page = stack.dynamodb("Scan", ask.clone()).await;
        let found = page["Items"].as_array().expect("items");
        items.extend(found.iter().map(|item| Value::Object(plain_map(item))));
        if page["LastEvaluatedKey"].is_null() {
            return items;
        }
        ask["ExclusiveStartKey"] = page["LastEvaluatedKey"].clone();
    }
}

fn plain_map(item: &Value) -> Map<String, Value> {
    let fields = item.as_object().expect("attributes").iter();
    fields
        .map(|(name, value)| (name.clone(), plain(value)))
        .collect()
}

/// `{"N": "1"}` is 1.
fn plain(attribute: &Value) -> Value {
    let (kind, value) = attribute
        .as_object()
        .and_then(|kinds| kinds.iter().next())
        .expect("an attribute");
    match kind.as_str() {
        "N" => serde_json::from_str(value.as_str().expect("a number")).expect("a number"),
        "L" => value
            .as_array()
            .expect("a list")
            .iter()
            .map(plain)
            .collect(),
        "M" => Value::Object(plain_map(value)),
        "NULL" => Value::Null,
        _ => value.clone(),
    }
}
