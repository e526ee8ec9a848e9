//! The catalogue: products, broadcasts, and what is spotlighted in them.
//!
//! | key | item |
//! |---|---|
//! | `pk` `product#<id>`, `sk` `product` | [`Product`] |
//! | `pk` `broadcast#<id>`, `sk` `broadcast` | [`Broadcast`] |
//! | `pk` `broadcast#<id>`, `sk` `spotlight#<product>` | [`Spotlight`] |
//! | `pk` `broadcast#<id>`, `sk` `moderation` | [`Moderation`] |
//! | `pk` `product#<id>`, `sk` `listing#<channel>` | [`Listing`](crate::channel::listing::Listing) |
//! | `pk` `product#<id>`, `sk` `shown#<channel>` | [`ShownState`](crate::channel::listing::ShownState) of that listing |
//! | `pk` `items#<channel>`, `sk` `<product there>#<option>` | which product of ours that is |
//! | `pk` `channel#<channel>`, `sk` `pull`, `sweep`, `push` | [`PullState`], [`SweepState`], [`PushState`] |
//! | `pk` `channel#<channel>`, `sk` `token`, `token-turn` | the token of a channel, and who fetches the next |
//! | `pk` `channel#<channel>`, `sk` `quarantine#<key>` | [`Quarantined`] |
//! | `pk` `request#<id>`, `sk` `request` | what an Idempotency-Key was used for, and what was answered, for some days |

mod channels;
mod moderation;

use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::{
    operation::put_item::PutItemError,
    types::{AttributeValue, ReturnValuesOnConditionCheckFailure},
};
pub use channels::{
    Bears, ChannelTokens, ListingWrite, Offers, PullState, PushState, Quarantined, SweepState,
    Unconfirmed,
};
pub use moderation::{Ban, Moderation};
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

/// The longest answer that is remembered, in bytes; a longer one is worked out again.
const LONGEST_ANSWER: usize = 8 * 1024;
/// Requests that a spotlight, or a moderation, remembers. One that comes again after so many others have changed it would be taken for a new one.
const REQUESTS_KEPT: usize = 32;

/// What is known of a request with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Remembered {
    /// It is the first with its key.
    New,
    /// It came before and was not answered: it is under way, or broke off. Its work is to be done again, under the same id.
    Again,
    /// It came before, and this was the answer.
    Answered(StoredAnswer),
}

/// An answer as it is kept for whoever asks again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: String,
}

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
    /// Which change of it this is; the first is 1. An older one never replaces a newer one, here or in the gate.
    #[serde(default)]
    pub version: u64,
    /// Units of the fence that orders of earlier airings have: the fence of this one is `spent + limited_quantity`.
    #[serde(default)]
    pub spent: u64,
    /// The latest requests that changed it, oldest first: one that comes again changes it no more.
    #[serde(default)]
    pub requests: Vec<String>,
}

impl Spotlight {
    /// Whether the request with this id has changed it.
    #[must_use]
    pub fn was_changed_by(&self, request: &str) -> bool {
        self.requests.iter().any(|earlier| earlier == request)
    }

    /// It as its next change, made by the request with this id.
    #[must_use]
    pub fn next(&self, request: &str) -> Self {
        let mut next = self.clone();
        next.version += 1;
        next.requests.push(request.to_owned());
        let surplus = next.requests.len().saturating_sub(REQUESTS_KEPT);
        next.requests.drain(..surplus);
        next
    }

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

    /// Writes a broadcast that was in state `known` (`None`: that was not there). Returns whether it was written: not, if
    /// another writer was faster.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_broadcast(
        &self,
        broadcast: &Broadcast,
        known: Option<BroadcastStatus>,
    ) -> Result<bool, Error> {
        let known = match known {
            None => None,
            Some(status) => Some((
                "status",
                serde_dynamo::to_attribute_value(status)
                    .map_err(|error| Error::Corrupt(error.to_string()))?,
            )),
        };
        self.replace(broadcast_key(&broadcast.broadcast_id), broadcast, known)
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

    /// Writes the next change of a product of a broadcast. Returns whether it was written: not, if there is another change
    /// with its number.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn put_spotlight(
        &self,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<bool, Error> {
        self.replace(
            spotlight_key(broadcast, &spotlight.product_id),
            spotlight,
            earlier(spotlight.version),
        )
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

    /// Remembers what an Idempotency-Key was used for, or finds what is known of it.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] if it was used for another request, or DynamoDB did not answer.
    pub async fn remember_request(
        &self,
        id: &str,
        fingerprint: &str,
        now: Timestamp,
    ) -> Result<Remembered, Error> {
        let item = request_item(id, fingerprint, now);
        let Some(earlier) = self.put_request(item, "attribute_not_exists(pk)").await? else {
            return Ok(Remembered::New);
        };
        if earlier.get("fingerprint") != Some(&text(fingerprint)) {
            return Err(Error::IdempotencyConflict);
        }
        Ok(stored_answer(&earlier).map_or(Remembered::Again, Remembered::Answered))
    }

    /// Keeps the answer to a request that was remembered, and returns the one that stands: of two tries that end at once, the
    /// first. A long answer is not kept: whoever asks again has it worked out again.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn answer_request(
        &self,
        id: &str,
        fingerprint: &str,
        answer: StoredAnswer,
        now: Timestamp,
    ) -> Result<StoredAnswer, Error> {
        if answer.body.len() > LONGEST_ANSWER {
            return Ok(answer);
        }
        let mut item = request_item(id, fingerprint, now);
        item.insert(
            "status".to_owned(),
            AttributeValue::N(answer.status.to_string()),
        );
        item.insert("answer".to_owned(), text(&answer.body));
        let earlier = self
            .put_request(item, "attribute_not_exists(answer)")
            .await?;
        Ok(earlier.as_ref().and_then(stored_answer).unwrap_or(answer))
    }

    /// Writes a request under a condition; or returns the item that is there, if the condition does not hold for it.
    async fn put_request(&self, item: Item, condition: &str) -> Result<Option<Item>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression(condition)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(refusal)) => {
                    Ok(Some(refusal.item().cloned().unwrap_or_default()))
                }
                _ => Err(aws::failed("PutItem request")(error)),
            },
        }
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

    /// Writes an item if its attribute is still as known, or, with nothing known, if there is none. Returns whether it did.
    async fn replace<T: Serialize>(
        &self,
        key: Item,
        value: &T,
        known: Option<(&str, AttributeValue)>,
    ) -> Result<bool, Error> {
        let item = item(key, value)?;
        let mut put = self
            .aws
            .dynamodb()
            .await
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item));
        put = match known {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some((name, value)) => put
                .condition_expression("#known = :known")
                .expression_attribute_names("#known", name)
                .expression_attribute_values(":known", value),
        };
        match put.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Ok(false),
                _ => Err(aws::failed("PutItem catalogue")(error)),
            },
        }
    }

    async fn put<T: Serialize>(&self, key: Item, value: &T) -> Result<(), Error> {
        let item = item(key, value)?;
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

fn item<T: Serialize>(key: Item, value: &T) -> Result<Item, Error> {
    let mut item: Item =
        serde_dynamo::to_item(value).map_err(|error| Error::Corrupt(error.to_string()))?;
    item.extend(key);
    Ok(item)
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

/// What [`Catalog::replace`] knows of an item whose next change has this number: the first change is 1.
fn earlier(version: u64) -> Option<(&'static str, AttributeValue)> {
    let earlier = version.checked_sub(1).filter(|earlier| *earlier > 0)?;
    Some(("version", AttributeValue::N(earlier.to_string())))
}

fn key(pk: String, sk: String) -> Item {
    HashMap::from([("pk".to_owned(), text(pk)), ("sk".to_owned(), text(sk))])
}

fn request_item(id: &str, fingerprint: &str, now: Timestamp) -> Item {
    let forgotten_at = (now + REQUEST_MEMORY).millis() / 1_000;
    let mut item = key(format!("request#{id}"), "request".to_owned());
    item.insert("fingerprint".to_owned(), text(fingerprint));
    item.insert(
        "expires_at".to_owned(),
        AttributeValue::N(forgotten_at.to_string()),
    );
    item
}

fn stored_answer(request: &Item) -> Option<StoredAnswer> {
    Some(StoredAnswer {
        status: request.get("status")?.as_n().ok()?.parse().ok()?,
        body: request.get("answer")?.as_s().ok()?.clone(),
    })
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
