//! The index `due`: orders that somebody has to look at, by the time of that. Sparse: an order at rest is not in it.

use aws_sdk_dynamodb::types::AttributeValue;

use super::{Item, Ledger, OrderRecord, text};
use crate::{aws, clock::Timestamp, error::Error, order::OrderId};

const INDEX: &str = "due";
/// Partitions of the index. One takes a thousand writes a second; a show books a few thousand orders in one.
const SHARDS: u8 = 8;

/// The index keys of an order.
pub(super) fn keys(order: &OrderId, due_at: Timestamp) -> [(String, AttributeValue); 2] {
    let last = order
        .as_str()
        .as_bytes()
        .last()
        .copied()
        .unwrap_or_default();
    [
        ("due_shard".to_owned(), text(last % SHARDS)),
        (
            "due_at".to_owned(),
            AttributeValue::N(due_at.millis().to_string()),
        ),
    ]
}

pub(super) fn read(item: &Item) -> Option<Timestamp> {
    let millis = item.get("due_at")?.as_n().ok()?.parse().ok()?;
    Some(Timestamp::from_millis(millis))
}

impl Ledger {
    /// Orders that were to be looked at before `now`, at most `limit` of each shard. The index lags behind the table by a
    /// moment: what is done about an order depends on its revision.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn due(&self, now: Timestamp, limit: i32) -> Result<Vec<OrderRecord>, Error> {
        let mut due = Vec::new();
        for shard in 0..SHARDS {
            let answer = self
                .aws
                .dynamodb()
                .await
                .query()
                .table_name(&self.orders_table)
                .index_name(INDEX)
                .key_condition_expression("due_shard = :shard AND due_at <= :now")
                .expression_attribute_values(":shard", text(shard))
                .expression_attribute_values(":now", AttributeValue::N(now.millis().to_string()))
                .limit(limit)
                .send()
                .await
                .map_err(aws::failed("Query due"))?;
            for item in answer.items.unwrap_or_default() {
                // One that cannot be read waits for a person; the others do not wait for it.
                match OrderRecord::from_item(item) {
                    Ok(record) => due.push(record),
                    Err(error) => {
                        tracing::error!(error = %error, "an order that is due cannot be read")
                    }
                }
            }
        }
        Ok(due)
    }
}
