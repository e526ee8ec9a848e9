//! A DynamoDB emulator in this process, with the tables of the template.

use std::collections::HashMap;

use dynoxide::{
    AttributeValue, Database,
    actions::{delete_table::DeleteTableRequest, query::QueryRequest, scan::ScanRequest},
};
use onepool::ledger::LineRecord;
use serde_json::{Value, json};

/// An item of a table: its attributes by name.
pub(crate) type Item = HashMap<String, AttributeValue>;

/// An emulator. `Wire` answers with it.
pub struct DynamoDb {
    database: Database,
}

impl DynamoDb {
    /// One with empty tables.
    #[must_use]
    pub fn start() -> Self {
        let database = Database::memory().expect("a database in memory");
        let emulator = Self { database };
        emulator.create_tables();
        emulator
    }

    /// What answers its calls.
    pub(crate) fn database(&self) -> Database {
        self.database.clone()
    }

    /// All orders, as they are stored. Read past the API, as stock is: a test that checks after every step cannot pay for a
    /// call.
    #[must_use]
    pub(crate) fn orders(&self) -> Vec<Item> {
        let (mut orders, mut after) = (Vec::new(), None);
        loop {
            let answer = self.database.scan(ScanRequest {
                table_name: "orders".to_owned(),
                exclusive_start_key: after,
                ..ScanRequest::default()
            });
            let answer = answer.expect("the table is there");
            orders.extend(answer.items.unwrap_or_default());
            after = answer.last_evaluated_key;
            if after.is_none() {
                return orders;
            }
        }
    }

    /// The lines of a channel that are in the ledger.
    #[must_use]
    pub fn lines(&self, channel: &str) -> Vec<LineRecord> {
        let items = self.orders().into_iter().map(plain_item);
        items
            .filter(|item| item["channel"] == channel)
            .map(|item| serde_json::from_value(item).expect("a line"))
            .collect()
    }

    /// The items of these products in the stock table whose sort key begins with `kind`, as JSON.
    #[must_use]
    pub(crate) fn stock(&self, products: &[String], kind: &str) -> Vec<Value> {
        let of_one = |product: &String| {
            let values = [(":product", product.as_str()), (":kind", kind)];
            let values =
                values.map(|(name, value)| (name.to_owned(), AttributeValue::S(value.to_owned())));
            let answer = self.database.query(QueryRequest {
                table_name: "stock".to_owned(),
                key_condition_expression: Some(
                    "pk = :product AND begins_with(sk, :kind)".to_owned(),
                ),
                expression_attribute_values: Some(HashMap::from(values)),
                ..QueryRequest::default()
            });
            let answer = answer.expect("the table is there");
            assert!(answer.last_evaluated_key.is_none(), "more than one page");
            answer.items.unwrap_or_default()
        };
        let items = products.iter().flat_map(of_one);
        items.map(plain_item).collect()
    }

    /// Forgets everything: the three tables are empty, with the indexes of the template.
    pub fn reset(&self) {
        for table in TABLES {
            let dropped = self.database.delete_table(DeleteTableRequest {
                table_name: table.name.to_owned(),
            });
            dropped.expect("the table is there");
        }
        self.create_tables();
    }

    /// Made past the API, too: a call that takes too long is made again, and then the table is there already.
    fn create_tables(&self) {
        for table in TABLES {
            let index_keys = table.index.map_or(&[][..], |(_, keys)| keys);
            let mut names: Vec<&str> = table.keys.iter().chain(index_keys).copied().collect();
            names.sort_unstable();
            names.dedup();
            let attributes = names.iter().map(|name| {
                let kind = if *name == "due_at" { "N" } else { "S" };
                json!({ "AttributeName": name, "AttributeType": kind })
            });
            let mut request = json!({
                "TableName": table.name,
                "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": schema(table.keys),
                "AttributeDefinitions": attributes.collect::<Vec<_>>(),
            });
            if let Some((name, keys)) = table.index {
                request["GlobalSecondaryIndexes"] = json!([{
                    "IndexName": name,
                    "KeySchema": schema(keys),
                    "Projection": { "ProjectionType": "ALL" },
                }]);
            }
            let request = serde_json::from_value(request).expect("a request");
            let created = self.database.create_table(request);
            created.expect("the table is created");
        }
    }
}

struct Table {
    name: &'static str,
    keys: &'static [&'static str],
    index: Option<(&'static str, &'static [&'static str])>,
}

const TABLES: [Table; 3] = [
    Table {
        name: "catalog",
        keys: &["pk", "sk"],
        index: None,
    },
    Table {
        name: "stock",
        keys: &["pk", "sk"],
        index: Some(("sources", &["kind", "pk"])),
    },
    Table {
        name: "orders",
        keys: &["pk"],
        index: Some(("due", &["due_shard", "due_at"])),
    },
];

/// An item as JSON has it.
pub(crate) fn plain_item(item: Item) -> Value {
    let attributes = item.into_iter();
    attributes
        .map(|(name, value)| (name, plain(value)))
        .collect()
}

/// A value as JSON has it: what the ledger stores has neither sets nor bytes.
fn plain(value: AttributeValue) -> Value {
    match value {
        AttributeValue::S(text) => Value::String(text),
        AttributeValue::N(number) => number.parse().map_or(Value::Null, Value::Number),
        AttributeValue::BOOL(is) => Value::Bool(is),
        AttributeValue::L(values) => values.into_iter().map(plain).collect(),
        AttributeValue::M(item) => plain_item(item),
        AttributeValue::NULL(_) => Value::Null,
        AttributeValue::B(_)
        | AttributeValue::SS(_)
        | AttributeValue::NS(_)
        | AttributeValue::BS(_) => panic!("no table has such a value: {value:?}"),
    }
}

fn schema(keys: &[&str]) -> Value {
    keys.iter()
        .zip(["HASH", "RANGE"])
        .map(|(name, kind)| json!({ "AttributeName": name, "KeyType": kind }))
        .collect()
}
