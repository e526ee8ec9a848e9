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
//!
//! Two sparse indexes: `sources` of the stock table lists every [`StockRow`], `due` of the orders table the orders that
//! somebody has to look at, by the time of that.

mod book;
mod change;
mod due;
mod moves;
mod trace;
mod transact;

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::{AttributeValue, KeysAndAttributes};
pub use book::Booking;
pub use change::Changed;
pub use moves::{Change, Moved};
use serde::{Deserialize, Serialize};
pub use trace::TraceEntry;

use crate::{
    auth::UserId,
    aws::{self, Aws},
    clock::Timestamp,
    error::Error,
    id::ProductId,
    order::{
        AcceptedOrder, FailureReason, Line, OrderId, OrderStatus, OrderView, PaymentKind,
        PaymentView, amount,
    },
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
    /// Grows with every change.
    pub revision: u64,
}

/// An order in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderRecord {
    /// The order.
    #[serde(rename = "pk")]
    pub order_id: OrderId,
    /// Grows by one with every change: whoever has read an older one changes nothing.
    pub revision: u64,
    /// Who ordered.
    pub user_id: UserId,
    /// RESERVED, CONFIRMED or FAILED.
    pub status: OrderStatus,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<FailureReason>,
    /// What was ordered, at which price.
    pub lines: Vec<Line>,
    /// How it is paid.
    pub method: PaymentKind,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// Until when it may be paid, or its payment is waited for.
    pub pay_by: Timestamp,
    /// When it was confirmed or failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settled_at: Option<Timestamp>,
    /// The payment that was begun last: money may have moved by it, so nobody may fail the order without asking the gateway.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// How often its payment was refused.
    #[serde(default)]
    pub declines: u32,
    /// The payments that were refused: a message about one of them that comes twice is no second refusal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<String>,
    /// The gateway's code of the last refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declined: Option<String>,
    /// How it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payment: Option<PaymentView>,
    /// Whether its money has to go back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund: Option<Refund>,
    /// When somebody has to look at it again; `None` when it is at rest. Kept as the keys of the index `due`.
    #[serde(skip)]
    pub due_at: Option<Timestamp>,
}

/// Money that goes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refund {
    /// It has to be given back.
    Due,
    /// It was.
    Done,
    /// The gateway refuses for good: a person has to look.
    Refused,
}

/// How long a charge by billing key may take before somebody looks what became of it.
const CHARGE_PATIENCE: Duration = Duration::from_secs(600);

impl OrderRecord {
    /// An order as it enters the ledger, RESERVED.
    fn new(order: &AcceptedOrder, now: Timestamp) -> Self {
        let method = order.payment.kind();
        let pay_by = match method {
            PaymentKind::Widget => order.deadline,
            PaymentKind::BillingKey => order.deadline.max(now + CHARGE_PATIENCE),
        };
        Self {
            order_id: order.order_id.clone(),
            revision: 1,
            user_id: order.user_id.clone(),
            status: OrderStatus::Reserved,
            reason: None,
            lines: order.lines.clone(),
            method,
            created_at: order.accepted_at,
            pay_by,
            settled_at: None,
            attempt: None,
            declines: 0,
            refused: Vec::new(),
            declined: None,
            payment: None,
            refund: None,
            due_at: Some(pay_by),
        }
    }

    /// What it costs, in won.
    #[must_use]
    pub fn amount(&self) -> u64 {
        amount(&self.lines)
    }

    /// Whether its units count as sold.
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status != OrderStatus::Failed
    }

    /// Whether money may have moved for it, or may still move, that the record knows nothing of.
    #[must_use]
    pub fn may_be_charged(&self) -> bool {
        self.payment.is_none() && (self.method == PaymentKind::BillingKey || self.attempt.is_some())
    }

    /// The same order, failed.
    #[must_use]
    pub fn failed(self, reason: FailureReason, now: Timestamp) -> Self {
        Self {
            status: OrderStatus::Failed,
            reason: Some(reason),
            settled_at: Some(now),
            due_at: None,
            ..self
        }
    }

    /// The same order, paid.
    #[must_use]
    pub fn confirmed(self, payment: PaymentView, now: Timestamp) -> Self {
        Self {
            status: OrderStatus::Confirmed,
            reason: None,
            settled_at: Some(now),
            payment: Some(payment),
            declined: None,
            due_at: None,
            ..self
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
            pay_by: (self.status == OrderStatus::Reserved && self.method == PaymentKind::Widget)
                .then_some(self.pay_by),
            declined: self.declined.clone(),
            payment: self.payment.clone(),
        }
    }

    fn to_item(&self) -> Result<Item, Error> {
        let mut item: Item =
            serde_dynamo::to_item(self).map_err(|error| Error::Corrupt(error.to_string()))?;
        if let Some(due_at) = self.due_at {
            item.extend(due::keys(&self.order_id, due_at));
        }
        Ok(item)
    }

    fn from_item(item: Item) -> Result<Self, Error> {
        let due_at = due::read(&item);
        let record: Self =
            serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(Self { due_at, ..record })
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
            revision: units("revision").unwrap_or(0),
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
