//! The catalogue: products, broadcasts, and what is spotlighted in them.
//!
//! | key | item |
//! |---|---|
//! | `pk` `product#<id>`, `sk` `product` | [`Product`] |
//! | `pk` `broadcast#<id>`, `sk` `broadcast` | [`Broadcast`] |
//! | `pk` `broadcast#<id>`, `sk` `spotlight#<product>` | [`Spotlight`] |
//! | `pk` `request#<id>`, `sk` `request` | what an Idempotency-Key was used for, for some days |

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    aws::{self, Aws},
    clock::Timestamp,
    error::Error,
    id::{BroadcastId, ProductId},
    stock::Terms,
};

/// How long an Idempotency-Key is remembered.
const REQUEST_MEMORY: Duration = Duration::from_secs(15 * 24 * 3600);

/// Something the shop sells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Product {
    /// Its id.
    pub product_id: ProductId,
    /// Its name.
    pub name: String,
    /// What the own store asks for one unit, in won.
    pub list_price: u64,
    /// A picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thumbnail_url: Option<String>,
}

/// Where a broadcast is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BroadcastStatus {
    /// Not begun.
    Scheduled,
    /// On air.
    Live,
    /// Over; it does not come back.
    Ended,
}

/// A broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broadcast {
    /// Its id.
    pub broadcast_id: BroadcastId,
    /// Its title.
    pub title: String,
    /// Where it is.
    pub status: BroadcastStatus,
    /// When it is planned to begin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<Timestamp>,
    /// When it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

/// A product in a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spotlight {
    /// Which product.
    pub product_id: ProductId,
    /// Price of one unit while on air, in won.
    pub live_price: u64,
    /// Units fenced for this airing.
    pub limited_quantity: u64,
    /// Units one viewer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_viewer_limit: Option<u32>,
    /// When it came on air.
    pub since: Timestamp,
    /// When it goes off air by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<Timestamp>,
    /// Whether the host has stopped the sale for a while.
    #[serde(default)]
    pub paused: bool,
    /// Whether it is on air.
    pub open: bool,
}

impl Spotlight {
    /// The terms the gate sells at.
    #[must_use]
    pub fn terms(&self) -> Terms {
        // A window that ends at 0 is closed for good, one that ends before it began is paused: see `release.lua`.
        let until = match (self.open, self.paused) {
            (false, _) => Timestamp::from_millis(0),
            (true, true) => Timestamp::from_millis(1),
            (true, false) => self.ends_at.unwrap_or(Timestamp::NEVER),
        };
        Terms {
            live_price: self.live_price,
            per_viewer_limit: self.per_viewer_limit,
            from: self.since,
            until,
        }
    }
}

/// STUB
#[derive(Debug)]
pub enum Remembered {
    /// STUB
    New,
    /// STUB
    Again,
    /// STUB
    Answered(u16, String),
}

/// The catalogue's table.
#[derive(Clone)]
pub struct Catalog {
    aws: Aws,
    table: String,
}

type Item = HashMap<String, AttributeValue>;

impl Catalog {
    /// The catalogue in this table.
    #[must_use]
    pub fn new(aws: Aws, table: String) -> Self {
        Self { aws, table }
    }

    /// A product.
    ///
    /// # Errors
    /// [`Error::NotFound`], or DynamoDB did not answer.
    pub async fn product(&self, product: &ProductId) -> Result<Product, Error> {
        self.get(product_key(product))
            .await?
            .ok_or(Error::NotFound("product"))
    }

    /// Writes a product.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_product(&self, product: &Product) -> Result<(), Error> {
        self.put(product_key(&product.product_id), product).await
    }

    /// A broadcast.
    ///
    /// # Errors
    /// [`Error::NotFound`], or DynamoDB did not answer.
    pub async fn broadcast(&self, broadcast: &BroadcastId) -> Result<Broadcast, Error> {
        self.get(broadcast_key(broadcast))
            .await?
            .ok_or(Error::NotFound("broadcast"))
    }

    /// Writes a broadcast.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_broadcast(&self, broadcast: &Broadcast) -> Result<(), Error> {
        self.put(broadcast_key(&broadcast.broadcast_id), broadcast)
            .await
    }

    /// A product in a broadcast; `None` if it never was.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn spotlight(
        &self,
        broadcast: &BroadcastId,
        product: &ProductId,
    ) -> Result<Option<Spotlight>, Error> {
        self.get(spotlight_key(broadcast, product)).await
    }

    /// Writes a product of a broadcast.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_spotlight(
        &self,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<(), Error> {
        self.put(spotlight_key(broadcast, &spotlight.product_id), spotlight)
            .await
    }

    /// Every product that was ever in a broadcast.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn spotlights(&self, broadcast: &BroadcastId) -> Result<Vec<Spotlight>, Error> {
        let mut items = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :broadcast AND begins_with(sk, :spotlight)")
            .expression_attribute_values(":broadcast", text(format!("broadcast#{broadcast}")))
            .expression_attribute_values(":spotlight", text("spotlight#"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut spotlights = Vec::new();
        while let Some(item) = items.next().await {
            spotlights.push(read(item.map_err(aws::failed("Query spotlights"))?)?);
        }
        Ok(spotlights)
    }

    /// Remembers what an Idempotency-Key was used for.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] if it was used for another request, or DynamoDB did not answer.
    pub async fn remember_request(
        &self,
        id: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<Remembered, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .put_item()
            .table_name(&self.table)
            .item("pk", text(format!("request#{id}")))
            .item("sk", text("request"))
            .item("fingerprint", text(fingerprint))
            .item(
                "expires_at",
                AttributeValue::N(((now + REQUEST_MEMORY).millis() / 1_000).to_string()),
            )
            .condition_expression("attribute_not_exists(pk) OR fingerprint = :fingerprint")
            .expression_attribute_values(":fingerprint", text(fingerprint))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Remembered::Again),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|error| error.is_conditional_check_failed_exception()) =>
            {
                Err(Error::IdempotencyConflict)
            }
            Err(error) => Err(aws::failed("PutItem request")(error)),
        }
    }

    /// STUB
    #[allow(clippy::missing_errors_doc, clippy::unused_async)]
    pub async fn answer_request(&self, _id: &str, _status: u16, _body: &str) -> Result<(), Error> {
        Ok(())
    }

    async fn get<T: DeserializeOwned>(&self, key: Item) -> Result<Option<T>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .get_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .consistent_read(true)
            .send()
            .await
            .map_err(aws::failed("GetItem catalogue"))?;
        answer.item.map(read).transpose()
    }

    async fn put<T: Serialize>(&self, key: Item, value: &T) -> Result<(), Error> {
        let mut item: Item =
            serde_dynamo::to_item(value).map_err(|error| Error::Corrupt(error.to_string()))?;
        item.extend(key);
        self.aws
            .dynamodb()
            .await
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .send()
            .await
            .map(drop)
            .map_err(aws::failed("PutItem catalogue"))
    }
}

fn read<T: DeserializeOwned>(item: Item) -> Result<T, Error> {
    serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn product_key(product: &ProductId) -> Item {
    key(format!("product#{product}"), "product".to_owned())
}

fn broadcast_key(broadcast: &BroadcastId) -> Item {
    key(format!("broadcast#{broadcast}"), "broadcast".to_owned())
}

fn spotlight_key(broadcast: &BroadcastId, product: &ProductId) -> Item {
    key(
        format!("broadcast#{broadcast}"),
        format!("spotlight#{product}"),
    )
}
