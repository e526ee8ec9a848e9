//! The record of every change of a source, with its cause: the answer to "why is it 7?". An entry is written in the same
//! transaction as the change, and never again.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use serde::{Deserialize, Serialize};

use super::{Item, Ledger, text};
use crate::{aws, clock::Timestamp, error::Error, id::ProductId, order::OrderId, stock::Source};

/// One change of what a source was granted, or has sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceEntry {
    /// When.
    pub at: Timestamp,
    /// Of which source.
    pub source: Source,
    /// Units granted to it (or, negative, taken from it).
    pub granted: i64,
    /// Units sold from it (or, negative, given back to it).
    pub sold: i64,
    /// Units that the gate had lost or made up, and that were put right there. The ledger was right all along.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub repaired: i64,
    /// Why, for a person.
    pub cause: String,
    /// Who, or which part.
    pub by: String,
    /// The orders it was for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<OrderId>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
const fn is_zero(units: &i64) -> bool {
    *units == 0
}

impl TraceEntry {
    /// A change of what is sold, by orders.
    pub(super) fn sale(
        at: Timestamp,
        source: &Source,
        sold: i64,
        cause: &str,
        orders: Vec<OrderId>,
    ) -> Self {
        Self {
            at,
            source: source.clone(),
            granted: 0,
            sold,
            repaired: 0,
            cause: cause.to_owned(),
            by: "orders".to_owned(),
            orders,
        }
    }
}

impl Ledger {
    /// The action that writes `entry` down beside its change.
    pub(super) fn trace_action(
        &self,
        product: &ProductId,
        entry: &TraceEntry,
    ) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.stock_table)
            .set_item(Some(trace_item(product, entry)?))
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Writes down a change that the ledger itself has no part in.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn trace_repair(&self, product: &ProductId, entry: &TraceEntry) -> Result<(), Error> {
        self.aws
            .dynamodb()
            .await
            .put_item()
            .table_name(&self.stock_table)
            .set_item(Some(trace_item(product, entry)?))
            .send()
            .await
            .map(drop)
            .map_err(aws::failed("PutItem trace"))
    }

    /// The last `limit` changes of a product, newest first.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn trace(&self, product: &ProductId, limit: i32) -> Result<Vec<TraceEntry>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.stock_table)
            .key_condition_expression("pk = :product AND begins_with(sk, :trace)")
            .expression_attribute_values(":product", text(product))
            .expression_attribute_values(":trace", text("trace#"))
            .scan_index_forward(false)
            .consistent_read(true)
            .limit(limit)
            .send()
            .await
            .map_err(aws::failed("Query trace"))?;
        answer
            .items
            .unwrap_or_default()
            .into_iter()
            .map(|item| {
                serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))
            })
            .collect()
    }
}

/// The time leads the key, so that the newest entries are found first; what follows keeps entries of one moment apart. A
/// transaction that the SDK sends again carries the same key again.
fn trace_item(product: &ProductId, entry: &TraceEntry) -> Result<Item, Error> {
    let mut item: Item =
        serde_dynamo::to_item(entry).map_err(|error| Error::Corrupt(error.to_string()))?;
    let place = format!("trace#{:013}#{:016x}", entry.at.millis(), fastrand::u64(..));
    item.extend([
        ("pk".to_owned(), text(product)),
        ("sk".to_owned(), text(place)),
    ]);
    Ok(item)
}
