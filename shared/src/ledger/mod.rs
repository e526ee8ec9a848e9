//! The ledger: what is true.
//!
//! DynamoDB holds, per product and source, what was granted and what of it is sold, and every order as an item. No
//! transaction lets `sold` pass `granted`: that is the last word on overselling, whatever Redis believes.
//!
//! | table | key | item |
//! |---|---|---|
//! | stock | `pk` product, `sk` `source#<source>` | [`StockRow`] |
//! | stock | `pk` product, `sk` `change#<id>` | one move of units with its cause, written once |
//! | orders | `pk` order | [`OrderRecord`] |

mod book;
mod moves;
mod settle;
mod transact;

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
pub use book::Booking;
pub use moves::{Change, Moved};
use serde::{Deserialize, Serialize};

use crate::{
    auth::UserId,
    aws::{self, Aws},
    clock::Timestamp,
    error::Error,
    id::ProductId,
    order::{
        AcceptedOrder, FailureReason, Line, OrderId, OrderStatus, OrderView, PaymentView, amount,
    },
    stock::Source,
};

/// Actions one transaction may have (DynamoDB: 100).
const MAX_ACTIONS: usize = 100;
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

/// What a source of a product was granted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockRow {
    /// Of what.
    pub product_id: ProductId,
    /// Where it is sold from.
    pub source: Source,
    /// Units that may be sold from it.
    pub granted: u64,
    /// Units in orders that are reserved or confirmed.
    pub sold: u64,
    /// `granted - sold`, kept beside them because a DynamoDB condition cannot subtract.
    pub unsold: u64,
    /// Grows with every change of `granted`.
    pub version: u64,
}

/// An order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The order.
    #[serde(rename = "pk")]
    pub order_id: OrderId,
    /// Who ordered.
    pub user_id: UserId,
    /// RESERVED, CONFIRMED or FAILED.
    pub status: OrderStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What was ordered, at which price.
    pub lines: Vec<Line>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it was confirmed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
}

impl OrderRecord {
    fn new(order: &AcceptedOrder, status: OrderStatus) -> Self {
        Self {
            order_id: order.order_id.clone(),
            user_id: order.user_id.clone(),
            status,
            reason: None,
            lines: order.lines.clone(),
            created_at: order.accepted_at,
            settled_at: None,
            payment: None,
        }
    }

    /// Where its units were taken from.
    #[must_use]
    pub fn source(&self) -> Source {
        Source::Live(self.order_id.broadcast())
    }

    /// What its buyer may read.
    #[must_use]
    pub fn view(&self) -> OrderView {
        OrderView {
            order_id: self.order_id.clone(),
            status: self.status,
            reason: self.reason,
            amount: amount(&self.lines),
            lines: self.lines.clone(),
            created_at: self.created_at,
            settled_at: self.settled_at,
            payment: self.payment.clone(),
        }
    }

    fn to_item(&self) -> Result<Item, Error> {
        serde_dynamo::to_item(self).map_err(|error| Error::Corrupt(error.to_string()))
    }

    fn from_item(item: Item) -> Result<Self, Error> {
        serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))
    }
}

impl StockRow {
    fn from_item(item: &Item) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt("a stock row lacks an attribute".to_owned());
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let units = |name: &str| {
            item.get(name)
                .and_then(|value| value.as_n().ok())
                .and_then(|n| n.parse().ok())
        };
        Ok(Self {
            product_id: text("pk")
                .and_then(|pk| pk.parse().ok())
                .ok_or_else(corrupt)?,
            source: text("sk")
                .and_then(|sk| sk.strip_prefix("source#"))
                .and_then(|source| source.parse().ok())
                .ok_or_else(corrupt)?,
            granted: units("granted").ok_or_else(corrupt)?,
            sold: units("sold").ok_or_else(corrupt)?,
            unsold: units("unsold").ok_or_else(corrupt)?,
            version: units("version").ok_or_else(corrupt)?,
        })
    }
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
