//! DynamoDB: an emulator in this process, with the tables of the template. It is called here and not over HTTP of its own, so
//! that what is measured is not its server.

use dynoxide::Database;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{Result, function};

/// A database in memory.
pub struct DynamoDb {
    database: Database,
}

impl DynamoDb {
    /// Starts one with empty tables.
    pub fn start() -> Result<Self> {
        let database = Database::memory().map_err(|error| error.to_string())?;
        let dynamodb = Self { database };
        for (resource, table) in function::TABLES {
            let mut request = table_of_template(resource)?;
            request["TableName"] = json!(table);
            dynamodb.ask("CreateTable", &request)?;
        }
        Ok(dynamodb)
    }

    /// Does what a request says: the operations that our functions use. Answers a status and a body.
    pub fn call(&self, operation: &str, body: &[u8]) -> (u16, String) {
        let database = &self.database;
        match operation {
            "CreateTable" => run(body, |request| database.create_table(request)),
            "GetItem" => run(body, |request| database.get_item(request)),
            "PutItem" => run(body, |request| database.put_item(request)),
            "UpdateItem" => run(body, |request| database.update_item(request)),
            "DeleteItem" => run(body, |request| database.delete_item(request)),
            "BatchGetItem" => run(body, |request| database.batch_get_item(request)),
            "BatchWriteItem" => run(body, |request| database.batch_write_item(request)),
            "Query" => run(body, |request| database.query(request)),
            "Scan" => run(body, |request| database.scan(request)),
            "TransactWriteItems" => run(body, |request| database.transact_write_items(request)),
            "TransactGetItems" => run(body, |request| database.transact_get_items(request)),
            _ => (
                400,
                r#"{"__type":"com.amazon.coral.service#UnknownOperationException"}"#.to_owned(),
            ),
        }
    }

    /// Every item of a table.
    pub fn items(&self, table: &str) -> Result<Vec<Value>> {
        let mut items = Vec::new();
        let mut start = Value::Null;
        loop {
            let mut request = json!({ "TableName": table });
            if !start.is_null() {
                request["ExclusiveStartKey"] = start;
            }
            let mut page = self.ask("Scan", &request)?;
            if let Some(more) = page["Items"].as_array_mut() {
                items.append(more);
            }
            start = page["LastEvaluatedKey"].take();
            if start.is_null() {
                return Ok(items);
            }
        }
    }

    /// The item with this key, if there is one.
    pub fn item(&self, table: &str, key: &Value) -> Result<Option<Value>> {
        let request = json!({ "TableName": table, "Key": key, "ConsistentRead": true });
        let mut answer = self.ask("GetItem", &request)?;
        Ok(Some(answer["Item"].take()).filter(|item| !item.is_null()))
    }

    fn ask(&self, operation: &str, request: &Value) -> Result<Value> {
        match self.call(operation, request.to_string().as_bytes()) {
            (200, answer) => Ok(serde_json::from_str(&answer)?),
            (_, answer) => Err(format!("{operation} answered {answer}").into()),
        }
    }
}

/// What `template.yaml` says of a table, as far as `CreateTable` takes it: keys and indexes are those of the deployed one.
fn table_of_template(resource: &str) -> Result<Value> {
    let template: serde_yaml_ng::Value =
        serde_yaml_ng::from_str(include_str!("../../../template.yaml"))?;
    let properties = &template["Resources"][resource]["Properties"];
    let mut request = json!({});
    for name in [
        "BillingMode",
        "AttributeDefinitions",
        "KeySchema",
        "GlobalSecondaryIndexes",
    ] {
        if let Some(value) = properties.get(name) {
            request[name] = serde_json::to_value(value)?;
        }
    }
    Ok(request)
}

fn run<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    operation: impl FnOnce(Q) -> dynoxide::Result<A>,
) -> (u16, String) {
    let broken = |error: serde_json::Error| {
        let answer = json!({ "__type": "SerializationException", "message": error.to_string() });
        (400, answer.to_string())
    };
    let request = match serde_json::from_slice(body) {
        Ok(request) => request,
        Err(error) => return broken(error),
    };
    match operation(request) {
        Ok(answer) => serde_json::to_string(&answer).map_or_else(broken, |answer| (200, answer)),
        Err(error) => (error.status_code(), error.to_json()),
    }
}

/// A text of an item.
pub fn text<'a>(item: &'a Value, name: &str) -> Result<&'a str> {
    let text = item[name]["S"].as_str();
    text.ok_or_else(|| format!("an item has no text {name}: {item}").into())
}

/// A whole number of an item.
pub fn number(item: &Value, name: &str) -> Result<u64> {
    let number = item[name]["N"].as_str().and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("an item has no number {name}: {item}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_the_keys_of_the_template() {
        let table = table_of_template("StockTable").expect("is in the template");
        assert_eq!(
            table["KeySchema"],
            json!([
                { "AttributeName": "pk", "KeyType": "HASH" },
                { "AttributeName": "sk", "KeyType": "RANGE" },
            ])
        );
    }

    #[test]
    fn what_is_put_is_found_and_a_failed_condition_says_so() {
        let dynamodb = DynamoDb::start().expect("starts");
        let put = json!({
            "TableName": function::ORDERS_TABLE,
            "Item": { "pk": { "S": "o1" }, "units": { "N": "2" } },
            "ConditionExpression": "attribute_not_exists(pk)",
        });
        dynamodb.ask("PutItem", &put).expect("is new");
        let items = dynamodb.items(function::ORDERS_TABLE).expect("can be read");
        assert_eq!(items.len(), 1);
        assert_eq!(text(&items[0], "pk").ok(), Some("o1"));
        assert_eq!(number(&items[0], "units").ok(), Some(2));
        let (status, answer) = dynamodb.call("PutItem", put.to_string().as_bytes());
        assert_eq!(status, 400);
        assert!(
            answer.contains("ConditionalCheckFailedException"),
            "{answer}"
        );
    }
}
