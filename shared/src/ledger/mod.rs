//! The ledger: what is true.
//!
//! DynamoDB holds, per product and source, what was granted and what of it is sold, and every order as an item. No
//! transaction lets `sold` pass `granted`: that is the last word on overselling, whatever Redis believes.
//!
//! | table | key | item |
//! |---|---|---|
//! | stock | `pk` product, `sk` `source#<source>` | [`StockRow`] |
//! | stock | `pk` product, `sk` `change#<id>` | that a request has moved units, so that it does so once |
//! | stock | `pk` product, `sk` `trace#<time>#<id>` | [`TraceEntry`]: one change of a source with its cause, written once |
//! | orders | `pk` order | [`OrderRecord`] |
//! | orders | `pk` `line#<channel>#<key>` | [`LineRecord`]: an order line that a channel sold |
//!
//! Two sparse indexes: `sources` of the stock table lists every [`StockRow`], `due` of the orders table the orders that
//! somebody has to look at, by the time of that.

mod book;
mod change;
mod due;
mod import;
mod moves;
mod record;
mod row;
mod trace;
mod transact;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
pub use book::Booking;
pub use change::Changed;
pub use import::{Imported, LineRecord, NewLine, Taken, line_key};
pub use moves::{Change, Moved};
pub use record::{OrderRecord, Refund};
pub use row::StockRow;
pub use trace::TraceEntry;

use crate::{
    aws::{self, Aws},
    error::Error,
    id::ProductId,
    order::OrderId,
    stock::Source,
};

/// Actions one transaction may have (DynamoDB: 100).
const MAX_ACTIONS: usize = 100;
/// Keys one read may ask for (DynamoDB: 100).
const MAX_KEYS: usize = 100;
/// How often a transaction that lost a race is tried again before its messages go back to the queue.
const MAX_TRIES: u32 = 6;

pub(crate) type Item = HashMap<String, AttributeValue>;

/// The ledger's tables.
#[derive(Clone)]
pub struct Ledger {
    aws: Aws,
    stock_table: String,
    orders_table: String,
}

impl Ledger {
    /// The ledger in these tables.
    #[must_use]
    pub fn new(aws: Aws, stock_table: String, orders_table: String) -> Self {
        Self {
            aws,
            stock_table,
            orders_table,
        }
    }

    /// An order; `None` if it is not in the ledger (yet).
    ///
    /// # Errors
    /// DynamoDB did not answer, or the item cannot be read.
    pub async fn order(&self, order: &OrderId) -> Result<Option<OrderRecord>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .get_item()
            .table_name(&self.orders_table)
            .key("pk", text(order))
            .consistent_read(true)
            .send()
            .await
            .map_err(aws::failed("GetItem order"))?;
        answer.item.map(OrderRecord::from_item).transpose()
    }

    /// Those of these orders that are in the ledger.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn orders(&self, orders: Vec<OrderId>) -> Result<Vec<OrderRecord>, Error> {
        let keys = orders
            .into_iter()
            .map(|order| Item::from([("pk".to_owned(), text(order))]))
            .collect();
        let items = self.get_many(&self.orders_table, keys).await?;
        items.into_iter().map(OrderRecord::from_item).collect()
    }

    /// Every source of every product that is not at rest.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn rows(&self) -> Result<Vec<StockRow>, Error> {
        let mut pages = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.stock_table)
            .index_name("sources")
            .key_condition_expression("kind = :source")
            .expression_attribute_values(":source", text("source"))
            .into_paginator()
            .items()
            .send();
        let mut keys = Vec::new();
        while let Some(item) = pages.next().await {
            let mut item = item.map_err(aws::failed("Query sources"))?;
            item.retain(|name, _| name == "pk" || name == "sk");
            keys.push(item);
        }
        let items = self.get_many(&self.stock_table, keys).await?;
        items.iter().map(StockRow::from_item).collect()
    }

    /// What these products were granted at `source`, as far as they were.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn rows_of(
        &self,
        source: &Source,
        products: &[&ProductId],
    ) -> Result<Vec<StockRow>, Error> {
        let keys = products.iter().map(|product| stock_key(product, source));
        let items = self.get_many(&self.stock_table, keys.collect()).await?;
        items.iter().map(StockRow::from_item).collect()
    }

    /// Takes a source that has nothing left to sell off the list of [`Ledger::rows`]; units granted to it later put it back.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn rest(&self, row: &StockRow) -> Result<(), Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .update_item()
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(&row.product_id, &row.source)))
            .update_expression("REMOVE kind")
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", units(row.revision))
            .send()
            .await;
        match answer {
            Err(error)
                if !error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(aws::failed("UpdateItem source")(error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
    }

    /// Reads items by their keys, a hundred in one request.
    async fn get_many(&self, table: &str, keys: Vec<Item>) -> Result<Vec<Item>, Error> {
        let mut items = Vec::with_capacity(keys.len());
        let mut waiting = keys;
        let mut attempt = 0;
        while !waiting.is_empty() {
            let rest = waiting.split_off(waiting.len().min(MAX_KEYS));
            let request = KeysAndAttributes::builder()
                .set_keys(Some(waiting))
                .consistent_read(true)
                .build()
                .map_err(|error| Error::Corrupt(error.to_string()))?;
            let answer = self
                .aws
                .dynamodb()
                .await
                .batch_get_item()
                .request_items(table, request)
                .send()
                .await
                .map_err(aws::failed("BatchGetItem"))?;
            items.extend(
                answer
                    .responses
                    .into_iter()
                    .flatten()
                    .flat_map(|(_, found)| found),
            );
            waiting = rest;
            let skipped = answer.unprocessed_keys.into_iter().flatten();
            let skipped: Vec<Item> = skipped.flat_map(|(_, keys)| keys.keys).collect();
            if !skipped.is_empty() {
                if attempt == MAX_TRIES {
                    return Err(Error::Conflict);
                }
                transact::back_off(attempt).await;
                attempt += 1;
                waiting.extend(skipped);
            }
        }
        Ok(items)
    }

    /// What a source of a product was granted; `None` if nothing ever was.
    ///
    /// # Errors
    /// DynamoDB did not answer, or the item cannot be read.
    pub async fn stock_row(
        &self,
        product: &ProductId,
        source: &Source,
    ) -> Result<Option<StockRow>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .get_item()
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(product, source)))
            .consistent_read(true)
            .send()
            .await
            .map_err(aws::failed("GetItem stock"))?;
        answer.item.as_ref().map(StockRow::from_item).transpose()
    }

    /// Every source of a product.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn stock_rows(&self, product: &ProductId) -> Result<Vec<StockRow>, Error> {
        let mut pages = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.stock_table)
            .key_condition_expression("pk = :product AND begins_with(sk, :source)")
            .expression_attribute_values(":product", text(product))
            .expression_attribute_values(":source", text("source#"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut rows = Vec::new();
        while let Some(item) = pages.next().await {
            rows.push(StockRow::from_item(
                &item.map_err(aws::failed("Query stock"))?,
            )?);
        }
        Ok(rows)
    }
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn units(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

fn stock_key(product: &ProductId, source: &Source) -> Item {
    HashMap::from([
        ("pk".to_owned(), text(product)),
        ("sk".to_owned(), text(format!("source#{source}"))),
    ])
}
