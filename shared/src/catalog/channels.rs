//! What the catalogue knows of channels: listings, which item of a channel is which product, where a channel's pull stands, its
//! token, and what of its orders could not be read.

use std::collections::HashMap;

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem},
};
use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};

use super::{Catalog, Item, Product, earlier, item, key, read, text};
use crate::{
    aws,
    channel::{
        ItemId, OrderLine,
        listing::{Listing, ShownState},
        token::{Token, TokenStore},
    },
    clock::{self, Timestamp},
    error::Error,
    id::ProductId,
};

/// Keys one read may ask for (DynamoDB: 100).
const MAX_KEYS: usize = 100;
/// How long one worker has to fetch a token before another one may.
const TURN: std::time::Duration = std::time::Duration::from_secs(60);
/// How often a read-modify-write is tried when somebody else was faster.
const MAX_TRIES: usize = 8;

/// What became of a listing that was to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListingWrite {
    /// It is written.
    Now,
    /// The channel's item belongs to another product.
    Taken,
    /// Somebody else changed the listing first, or is about to change it or to take its item.
    Overtaken,
}

/// A product with all its listings, and what they show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    /// The product.
    pub product: Option<Product>,
    /// Its listings, by channel.
    pub listings: Vec<Listing>,
    /// What they were seen to show, by channel.
    pub shown: HashMap<String, ShownState>,
}

impl Offers {
    /// Its listing on this channel, and what that shows.
    #[must_use]
    pub fn on(&self, channel: &str) -> Option<(&Listing, ShownState)> {
        let listing = self
            .listings
            .iter()
            .find(|listing| listing.channel == channel)?;
        Some((
            listing,
            self.shown.get(channel).cloned().unwrap_or_default(),
        ))
    }
}

/// Where the pull of a channel stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullState {
    /// Everything that was paid before this was imported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Timestamp>,
    /// The window that is being pulled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<Timestamp>,
    /// The page it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// When a pull last ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulled_at: Option<Timestamp>,
    /// Why the last one did not; `None` if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When its credentials expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credentials_expire_at: Option<Timestamp>,
    /// Up to which of the quarantined lines they were tried again; `None`: the next run begins with the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_up_to: Option<String>,
    /// Which change of it this is.
    #[serde(default)]
    pub version: u64,
}

/// Where the sweep of a channel stands: its own place, so that a pull and a sweep never push each other about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SweepState {
    /// Where the sweep that is under way ends; `None` between two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Everything of it before this was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<Timestamp>,
    /// The page of the window after it that it goes on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// When one last came to its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept_at: Option<Timestamp>,
    /// Why the last run broke off; `None` if it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Which change of it this is.
    #[serde(default)]
    pub version: u64,
}

/// When something was last pushed to a channel, and how that went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushState {
    /// When a push last went well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_at: Option<Timestamp>,
    /// Why the last one did not; `None` if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// When all its listings were last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub swept_at: Option<Timestamp>,
    /// What its marketplace bears; `None` before the first push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bears: Option<Bears>,
}

/// What a marketplace bears, for those who have no port to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bears {
    /// The most units it can show.
    pub most_units: u64,
    /// Prices are multiples of this, in won.
    pub price_step: u64,
}

/// Something a channel said that cannot be imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// What it is known by: the line's key, or a digest of the payload.
    pub key: String,
    /// Why.
    pub reason: String,
    /// When it was first seen.
    pub since: Timestamp,
    /// The payload. It has personal data in it.
    pub raw: String,
    /// The line, if it could be read: it is imported once its item is listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<OrderLine>,
    /// Which change of it this is; the first is 1.
    #[serde(default)]
    pub version: u64,
}

impl Quarantined {
    /// It with what is told of it now. Lists do not all tell the same of a line: what this one leaves out stays as it was.
    fn told(&self, now: &Self) -> Self {
        let line = match (&self.line, &now.line) {
            (None, Some(_)) => {
                return Self {
                    since: self.since,
                    version: self.version,
                    ..now.clone()
                };
            }
            (kept, None) => kept.clone(),
            (Some(kept), Some(told)) => Some(OrderLine {
                item: if told.item.option.is_some() {
                    told.item.clone()
                } else {
                    kept.item.clone()
                },
                ordered: told.ordered.max(kept.ordered),
                cancelled: told.cancelled.max(kept.cancelled),
                unit_price: if told.unit_price > 0 {
                    told.unit_price
                } else {
                    kept.unit_price
                },
                paid_at: told.paid_at.or(kept.paid_at),
                raw: kept.raw.clone(),
                ..told.clone()
            }),
        };
        Self {
            line,
            ..self.clone()
        }
    }
}

/// A line that the channel could not be told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    /// The line's key.
    pub key: String,
    /// Since when.
    pub since: Timestamp,
}

impl Catalog {
    /// A product with its listings and what they show.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn offers(&self, product: &ProductId) -> Result<Offers, Error> {
        let mut items = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.table)
            // In the order of keys "listing#..." < "product" < "shown#...", and nothing else of a product lies between.
            .key_condition_expression("pk = :product AND sk BETWEEN :first AND :last")
            .expression_attribute_values(":product", text(format!("product#{product}")))
            .expression_attribute_values(":first", text("listing#"))
            .expression_attribute_values(":last", text("shown#~"))
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut offers = Offers::default();
        while let Some(item) = items.next().await {
            let item = item.map_err(aws::failed("Query listings"))?;
            let sk = item.get("sk").and_then(|sk| sk.as_s().ok()).cloned();
            match sk.as_deref().and_then(|sk| sk.split_once('#')) {
                Some(("listing", _)) => offers.listings.push(read(item)?),
                Some(("shown", channel)) => {
                    let channel = channel.to_owned();
                    offers.shown.insert(channel, read(item)?);
                }
                Some(_) => {}
                None => offers.product = Some(read(item)?),
            }
        }
        Ok(offers)
    }

    /// Writes a listing over the one that was read (`None`: there was none), and whose the channel's item is.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn put_listing(
        &self,
        listing: &Listing,
        read: Option<&Listing>,
    ) -> Result<ListingWrite, Error> {
        let corrupt = |error: &dyn std::error::Error| Error::Corrupt(error.to_string());
        let item = item(listing_key(&listing.product_id, &listing.channel), listing)?;
        let mut put = Put::builder().table_name(&self.table).set_item(Some(item));
        put = match read {
            None => put.condition_expression("attribute_not_exists(pk)"),
            Some(read) => put
                .condition_expression("version = :version")
                .expression_attribute_values(
                    ":version",
                    AttributeValue::N(read.version.to_string()),
                ),
        };
        let mut owner = item_key(&listing.channel, &listing.item);
        owner.insert("product_id".to_owned(), text(&listing.product_id));
        let own = Put::builder()
            .table_name(&self.table)
            .set_item(Some(owner))
            .condition_expression("attribute_not_exists(pk) OR product_id = :product")
            .expression_attribute_values(":product", text(&listing.product_id));
        let mut actions = vec![
            TransactWriteItem::builder()
                .put(put.build().map_err(|error| corrupt(&error))?)
                .build(),
            TransactWriteItem::builder()
                .put(own.build().map_err(|error| corrupt(&error))?)
                .build(),
        ];
        if let Some(read) = read.filter(|read| read.item != listing.item) {
            let gone = Delete::builder()
                .table_name(&self.table)
                .set_key(Some(item_key(&read.channel, &read.item)))
                .build()
                .map_err(|error| corrupt(&error))?;
            actions.push(TransactWriteItem::builder().delete(gone).build());
        }
        let answer = self
            .aws
            .dynamodb()
            .await
            .transact_write_items()
            .set_transact_items(Some(actions))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(ListingWrite::Now),
            Err(error) => {
                let reasons = match error.as_service_error() {
                    Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) => {
                        cancelled.cancellation_reasons()
                    }
                    _ => &[],
                };
                let codes: Vec<_> = reasons.iter().map(|reason| reason.code()).collect();
                let failed = Some("ConditionalCheckFailed");
                if codes.get(1) == Some(&failed) {
                    Ok(ListingWrite::Taken)
                } else if codes.first() == Some(&failed)
                    || codes.contains(&Some("TransactionConflict"))
                {
                    Ok(ListingWrite::Overtaken)
                } else {
                    Err(aws::failed("TransactWriteItems listing")(error))
                }
            }
        }
    }

    /// Which products these items of a channel are; those that are none of ours are left out.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn products_of(
        &self,
        channel: &str,
        items: &[ItemId],
    ) -> Result<HashMap<ItemId, ProductId>, Error> {
        let mut products = HashMap::new();
        for chunk in items.chunks(MAX_KEYS) {
            let by_key: HashMap<String, &ItemId> =
                chunk.iter().map(|item| (item_sk(item), item)).collect();
            let mut waiting: Vec<Item> = by_key
                .values()
                .map(|item| item_key(channel, item))
                .collect();
            for _ in 0..MAX_TRIES {
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
                    .request_items(&self.table, request)
                    .send()
                    .await
                    .map_err(aws::failed("BatchGetItem items"))?;
                for item in answer
                    .responses
                    .into_iter()
                    .flatten()
                    .flat_map(|(_, found)| found)
                {
                    let word = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
                    let owner = word("product_id").and_then(|product| product.parse().ok());
                    if let Some((known, product)) =
                        word("sk").and_then(|sk| by_key.get(sk)).zip(owner)
                    {
                        products.insert((*known).clone(), product);
                    }
                }
                waiting = answer
                    .unprocessed_keys
                    .into_iter()
                    .flatten()
                    .flat_map(|(_, keys)| keys.keys)
                    .collect();
                if waiting.is_empty() {
                    break;
                }
            }
            if !waiting.is_empty() {
                return Err(Error::Conflict);
            }
        }
        Ok(products)
    }

    /// The products that a channel lists, a page of them after `after`.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn listed(
        &self,
        channel: &str,
        after: Option<&str>,
        most: i32,
    ) -> Result<(Vec<ProductId>, Option<String>), Error> {
        let mut query = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :items")
            .expression_attribute_values(":items", text(items_pk(channel)))
            .limit(most);
        if let Some(after) = after {
            query = query.set_exclusive_start_key(Some(key(items_pk(channel), after.to_owned())));
        }
        let answer = query.send().await.map_err(aws::failed("Query items"))?;
        let next = answer
            .last_evaluated_key
            .as_ref()
            .and_then(|key| key.get("sk"))
            .and_then(|sk| sk.as_s().ok())
            .cloned();
        let products = answer.items.unwrap_or_default();
        let products = products
            .iter()
            .filter_map(|item| item.get("product_id")?.as_s().ok()?.parse().ok());
        Ok((products.collect(), next))
    }

    /// Changes what a listing was seen to show.
    ///
    /// # Errors
    /// DynamoDB did not do it, or somebody else was always faster.
    pub async fn change_shown(
        &self,
        product: &ProductId,
        channel: &str,
        change: impl Fn(&mut ShownState),
    ) -> Result<ShownState, Error> {
        let key = key(format!("product#{product}"), format!("shown#{channel}"));
        let mut tried: Option<Versioned<ShownState>> = None;
        for _ in 0..MAX_TRIES {
            let known: Option<Versioned<ShownState>> = self.get(key.clone()).await?;
            // Written already, and its answer was lost: a change is made once.
            if tried.is_some() && known == tried {
                return Ok(known.map(|known| known.value).unwrap_or_default());
            }
            let version = known.as_ref().map(|known| known.version);
            let mut state = known.map(|known| known.value).unwrap_or_default();
            change(&mut state);
            let next = Versioned {
                value: state,
                version: version.unwrap_or(0) + 1,
            };
            let known = version.map(|version| ("version", AttributeValue::N(version.to_string())));
            if self.replace(key.clone(), &next, known).await? {
                return Ok(next.value);
            }
            tried = Some(next);
        }
        Err(Error::Conflict)
    }

    /// Where the pull of a channel stands.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn pull_state(&self, channel: &str) -> Result<PullState, Error> {
        Ok(self
            .get(channel_key(channel, "pull"))
            .await?
            .unwrap_or_default())
    }

    /// Writes where the pull of a channel stands, over what was read. Returns the next to write over, or `None` if somebody else
    /// was faster.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_pull_state(
        &self,
        channel: &str,
        state: PullState,
    ) -> Result<Option<PullState>, Error> {
        let next = PullState {
            version: state.version + 1,
            ..state
        };
        let written = self
            .replace(channel_key(channel, "pull"), &next, earlier(next.version))
            .await?;
        Ok(written.then_some(next))
    }

    /// Where the sweep of a channel stands.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn sweep_state(&self, channel: &str) -> Result<SweepState, Error> {
        Ok(self
            .get(channel_key(channel, "sweep"))
            .await?
            .unwrap_or_default())
    }

    /// Writes where the sweep of a channel stands, over what was read. Returns the next to write over, or `None` if somebody else
    /// was faster.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_sweep_state(
        &self,
        channel: &str,
        state: SweepState,
    ) -> Result<Option<SweepState>, Error> {
        let known =
            (state.version > 0).then(|| ("version", AttributeValue::N(state.version.to_string())));
        let next = SweepState {
            version: state.version + 1,
            ..state
        };
        let written = self
            .replace(channel_key(channel, "sweep"), &next, known)
            .await?;
        Ok(written.then_some(next))
    }

    /// How pushing to a channel goes.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn push_state(&self, channel: &str) -> Result<PushState, Error> {
        Ok(self
            .get(channel_key(channel, "push"))
            .await?
            .unwrap_or_default())
    }

    /// Writes how pushing to a channel goes; only its one runner does.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn put_push_state(&self, channel: &str, state: &PushState) -> Result<(), Error> {
        self.put(channel_key(channel, "push"), state).await
    }

    /// Keeps what a channel said and cannot be imported. What is kept already learns what is told of it now: it may have been
    /// cancelled since. Returns whether it is new.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so (asking again is safe), or somebody else was always faster.
    pub async fn quarantine(&self, channel: &str, entry: &Quarantined) -> Result<bool, Error> {
        let place = channel_key(channel, &format!("quarantine#{}", entry.key));
        for _ in 0..MAX_TRIES {
            let kept: Option<Quarantined> = self.get(place.clone()).await?;
            let next = match &kept {
                None => entry.clone(),
                Some(kept) => kept.told(entry),
            };
            if kept.as_ref() == Some(&next) {
                return Ok(false);
            }
            let version = kept.as_ref().map(|kept| kept.version);
            let next = Quarantined {
                version: version.unwrap_or(0) + 1,
                ..next
            };
            let known = version.map(|version| ("version", AttributeValue::N(version.to_string())));
            if self.replace(place.clone(), &next, known).await? {
                return Ok(kept.is_none());
            }
        }
        Err(Error::Conflict)
    }

    /// What is quarantined of a channel, some of it.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn quarantined(&self, channel: &str, most: i32) -> Result<Vec<Quarantined>, Error> {
        self.some_of(channel, "quarantine#", most).await
    }

    /// What is quarantined of a channel, a page of it behind the entry with the key `after`; and the key that the next page begins behind.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn quarantined_after(
        &self,
        channel: &str,
        after: Option<&str>,
        most: i32,
    ) -> Result<(Vec<Quarantined>, Option<String>), Error> {
        self.page_of(channel, "quarantine#", after, most).await
    }

    /// Whether this is quarantined.
    ///
    /// # Errors
    /// DynamoDB did not answer, or the item cannot be read.
    pub async fn is_quarantined(&self, channel: &str, key: &str) -> Result<bool, Error> {
        let place = channel_key(channel, &format!("quarantine#{key}"));
        let kept: Option<Quarantined> = self.get(place).await?;
        Ok(kept.is_some())
    }

    /// Lets go of something that was quarantined: it is imported, or a person has seen to it.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn release_quarantined(&self, channel: &str, key: &str) -> Result<(), Error> {
        self.remove(channel_key(channel, &format!("quarantine#{key}")))
            .await
    }

    /// Keeps in mind that a line is to be confirmed to its channel, since when it was first.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn put_unconfirmed(&self, channel: &str, entry: &Unconfirmed) -> Result<(), Error> {
        let place = channel_key(channel, &format!("unconfirmed#{}", entry.key));
        self.replace(place, entry, None).await.map(drop)
    }

    /// Lines that are to be confirmed to their channel, some of them.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn unconfirmed(&self, channel: &str, most: i32) -> Result<Vec<Unconfirmed>, Error> {
        self.some_of(channel, "unconfirmed#", most).await
    }

    /// Lets go of a line that was to be confirmed.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again is safe.
    pub async fn remove_unconfirmed(&self, channel: &str, key: &str) -> Result<(), Error> {
        self.remove(channel_key(channel, &format!("unconfirmed#{key}")))
            .await
    }

    async fn some_of<T: serde::de::DeserializeOwned>(
        &self,
        channel: &str,
        what: &str,
        most: i32,
    ) -> Result<Vec<T>, Error> {
        let (found, _) = self.page_of(channel, what, None, most).await?;
        Ok(found)
    }

    /// Entries of a channel behind `after`, as many as a query gives, and behind which the next ones are.
    async fn page_of<T: serde::de::DeserializeOwned>(
        &self,
        channel: &str,
        what: &str,
        after: Option<&str>,
        most: i32,
    ) -> Result<(Vec<T>, Option<String>), Error> {
        let mut query = self
            .aws
            .dynamodb()
            .await
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :channel AND begins_with(sk, :what)")
            .expression_attribute_values(":channel", text(format!("channel#{channel}")))
            .expression_attribute_values(":what", text(what))
            // What a line was told a moment ago counts.
            .consistent_read(true)
            .limit(most);
        if let Some(after) = after {
            let last = channel_key(channel, &format!("{what}{after}"));
            query = query.set_exclusive_start_key(Some(last));
        }
        let answer = query.send().await.map_err(aws::failed("Query channel"))?;
        let next = answer
            .last_evaluated_key
            .as_ref()
            .and_then(|key| key.get("sk")?.as_s().ok()?.strip_prefix(what))
            .map(str::to_owned);
        let items = answer.items.unwrap_or_default();
        let found = items.into_iter().filter_map(|item| {
            // One that cannot be read holds up none of the others; it stays for who finds out why.
            read(item)
                .inspect_err(
                    |error| tracing::error!(channel, what, %error, "an entry is passed over"),
                )
                .ok()
        });
        Ok((found.collect(), next))
    }

    async fn remove(&self, place: Item) -> Result<(), Error> {
        self.aws
            .dynamodb()
            .await
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(place))
            .send()
            .await
            .map(drop)
            .map_err(aws::failed("DeleteItem channel"))
    }

    /// Where the token of a channel is kept.
    #[must_use]
    pub fn tokens(&self, channel: &str) -> ChannelTokens {
        ChannelTokens {
            catalog: self.clone(),
            channel: channel.to_owned(),
        }
    }
}

/// Where the token of one channel is kept: one item, read and written by its version.
#[derive(Clone)]
pub struct ChannelTokens {
    catalog: Catalog,
    channel: String,
}

/// Whose turn it is to fetch the next token.
#[derive(Serialize, Deserialize)]
struct TokenTurn {
    known: u64,
    until: u64,
}

impl ChannelTokens {
    async fn find(&self) -> Result<Option<Token>, Error> {
        self.catalog.get(channel_key(&self.channel, "token")).await
    }

    async fn turn(&self, known: Option<u64>) -> Result<bool, Error> {
        let now = clock::now();
        let place = channel_key(&self.channel, "token-turn");
        let earlier: Option<TokenTurn> = self.catalog.get(place.clone()).await?;
        let next = TokenTurn {
            known: known.unwrap_or(0),
            until: (now + TURN).millis(),
        };
        let is_taken = earlier
            .as_ref()
            .is_some_and(|turn| turn.known == next.known && turn.until > now.millis());
        if is_taken || self.find().await?.map(|token| token.version) != known {
            return Ok(false);
        }
        let read = earlier.map(|turn| ("until", AttributeValue::N(turn.until.to_string())));
        self.catalog.replace(place, &next, read).await
    }

    async fn put(&self, token: &Token) -> Result<bool, Error> {
        let place = channel_key(&self.channel, "token");
        self.catalog
            .replace(place, token, earlier(token.version))
            .await
    }
}

impl TokenStore for ChannelTokens {
    fn load(&self) -> BoxFuture<'_, Result<Option<Token>, Error>> {
        self.find().boxed()
    }

    fn take_turn(&self, known: Option<u64>) -> BoxFuture<'_, Result<bool, Error>> {
        self.turn(known).boxed()
    }

    fn keep<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<bool, Error>> {
        self.put(token).boxed()
    }
}

/// A value with the number of its change beside it.
#[derive(PartialEq, Serialize, Deserialize)]
struct Versioned<T> {
    #[serde(flatten)]
    value: T,
    version: u64,
}

fn listing_key(product: &ProductId, channel: &str) -> Item {
    key(format!("product#{product}"), format!("listing#{channel}"))
}

fn channel_key(channel: &str, what: &str) -> Item {
    key(format!("channel#{channel}"), what.to_owned())
}

fn items_pk(channel: &str) -> String {
    format!("items#{channel}")
}

fn item_sk(item: &ItemId) -> String {
    let option = item.option.as_deref().unwrap_or_default();
    format!("{}#{option}", item.product)
}

fn item_key(channel: &str, item: &ItemId) -> Item {
    key(items_pk(channel), item_sk(item))
}
