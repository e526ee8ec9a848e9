//! `POST /channels/{channel}/resync`: what a channel shows beside what it should. A dry run has every listing looked at and changes
//! nothing; the other has every listing put right.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    desk::Desk,
    listing::price_to_ask,
    look::{Looked, Progress},
    wake::SyncWake,
};
use crate::{catalog::Bears, clock::Timestamp, error::Error, id::ProductId};

/// How long a dry run waits for its look; the API answers within 30 s. What takes longer goes on meanwhile, and whoever asks again
/// is told of it.
pub const LOOK_WAIT: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Listings that one answer compares, a page of them at a time.
const MOST_COMPARED: usize = 1_000;
const PAGE: i32 = 200;
/// Listings that are compared at the same time.
const TOGETHER: usize = 16;
/// The longest `after`, in bytes.
const MAX_AFTER: usize = 256;

/// A listing that shows something else than it should.
#[derive(Debug, Serialize)]
pub struct Difference {
    product_id: ProductId,
    /// What it has to show; units that were sold there and not pulled yet are not among them.
    units: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<u64>,
    /// Units that went missing there since it was last pushed: sold and not pulled yet, or taken by somebody's hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    unexplained: Option<u64>,
    /// Whether it can be bought at all, stock apart; told where it was looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    on_sale: Option<bool>,
    /// What it has to cost, in won.
    price: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_price: Option<u64>,
    /// What that was after the discounts that the seller pays for, where the channel tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_price: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// The answer to `POST /channels/{channel}/resync`.
#[derive(Debug, Serialize)]
pub struct Resync {
    dry_run: bool,
    /// Listings that were compared.
    compared: usize,
    /// Those of them that were looked at for this answer. Of the others it says what was last seen.
    looked_at: usize,
    /// Those of them whose price nobody has seen yet: of it nothing is said.
    unpriced: usize,
    /// Whether that was all of them, and a dry run has looked at each.
    complete: bool,
    /// Goes on behind them; absent if these were the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<String>,
    /// Why the channel could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    differences: Vec<Difference>,
}

/// What a comparison needs to know of the channel.
struct Channel<'a> {
    name: &'a str,
    bears: Option<Bears>,
    pulled_to: Option<Timestamp>,
}

/// One listing, compared.
struct Compared {
    is_looked_at: bool,
    is_priced: bool,
    difference: Option<Difference>,
}

impl Desk {
    /// Compares what a channel shows with what it should, as far as one answer goes, from behind `after`. A dry run has its listings looked
    /// at first and waits a while for it; the other has every listing looked at and put right afterwards.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], or a store failed.
    pub async fn resync(
        &self,
        channel: &str,
        dry_run: bool,
        after: Option<String>,
    ) -> Result<Resync, Error> {
        self.known(channel)?;
        if after
            .as_ref()
            .is_some_and(|after| !(1..=MAX_AFTER).contains(&after.len()))
        {
            return Err(Error::invalid("after", "the `after` of an answer"));
        }
        let progress = if dry_run {
            self.have_looked(channel, after.is_none()).await?
        } else {
            Progress::UnderWay
        };
        let at = Channel {
            name: channel,
            bears: self.catalog.push_state(channel).await?.bears,
            pulled_to: self.catalog.pull_state(channel).await?.cursor,
        };
        let mut resync = Resync {
            dry_run,
            compared: 0,
            looked_at: 0,
            unpriced: 0,
            complete: false,
            after,
            error: None,
            differences: Vec::new(),
        };
        loop {
            let page = self
                .catalog
                .listed(channel, resync.after.as_deref(), PAGE)
                .await?;
            let (products, next) = page;
            let mut looked = if dry_run {
                self.looks.seen(channel, &products).await?
            } else {
                BTreeMap::new()
            };
            let compared: Vec<Option<Compared>> = stream::iter(products)
                .map(|product| self.compare(&at, looked.remove(&product), product))
                .buffered(TOGETHER)
                .try_collect()
                .await?;
            for compared in compared.into_iter().flatten() {
                resync.compared += 1;
                resync.looked_at += usize::from(compared.is_looked_at);
                resync.unpriced += usize::from(!compared.is_priced);
                resync.differences.extend(compared.difference);
            }
            resync.after = next;
            if resync.after.is_none() || resync.compared >= MOST_COMPARED {
                break;
            }
        }
        let is_looked =
            !dry_run || (progress == Progress::Done && resync.looked_at == resync.compared);
        resync.complete = resync.after.is_none() && is_looked;
        if let Progress::Ended(cause) = progress {
            resync.error = Some(cause);
        }
        if !dry_run {
            let wake = SyncWake::Sweep {
                channel: channel.to_owned(),
                after: None,
            };
            self.fence.channels.send(&wake).await?;
        }
        Ok(resync)
    }

    /// Has a channel looked at, and waits for it. An answer that goes on behind another goes on with its look.
    async fn have_looked(&self, channel: &str, is_first: bool) -> Result<Progress, Error> {
        if is_first && let Some(number) = self.looks.begin(channel).await? {
            let wake = SyncWake::Look {
                channel: channel.to_owned(),
                number,
                after: None,
            };
            self.fence.channels.send(&wake).await?;
        }
        let deadline = Instant::now() + self.look_wait;
        let progress = loop {
            let progress = self.looks.progress(channel).await?;
            if progress != Progress::UnderWay || Instant::now() >= deadline {
                break progress;
            }
            sleep(LOOK_AGAIN).await;
        };
        if progress != Progress::UnderWay {
            self.looks.told(channel).await?;
        }
        Ok(progress)
    }

    /// Compares one listing, as a push would.
    async fn compare(
        &self,
        at: &Channel<'_>,
        looked: Option<Looked>,
        product: ProductId,
    ) -> Result<Option<Compared>, Error> {
        let offers = self.catalog.offers(&product).await?;
        let Some((listing, state)) = offers.on(at.name) else {
            return Ok(None);
        };
        let state = state.of(&listing.item);
        let is_looked_at = looked.is_some();
        let (seen, refused) = match looked {
            Some(Looked::At(seen)) => (Some(seen), None),
            Some(Looked::Refused(cause)) => (None, Some(cause)),
            None => (None, None),
        };
        // What was pushed since says more.
        let seen = seen.filter(|seen| {
            seen.item == listing.item && state.at.is_none_or(|pushed| pushed < seen.at)
        });
        let on_sale = seen.as_ref().map(|seen| seen.on_sale);
        let shown = seen.as_ref().map(|seen| seen.units).or(state.units);
        let price = seen.as_ref().and_then(|seen| seen.price);
        let price = price.or(state.seen_price());
        let shown_price = price.map(|price| price.sale).or(state.price);
        let units = self.units(listing, at.bears).await?;
        let units = units.saturating_sub(state.unpulled(at.pulled_to));
        let missing = (state.units.zip(shown)).map(|(known, shown)| known.saturating_sub(shown));
        let list_price = offers.product.as_ref();
        let list_price = list_price.map_or(0, |product| product.list_price);
        let step = at.bears.map_or(1, |bears| bears.price_step);
        let ask = price_to_ask(listing, list_price, price, step);
        let error = refused.or_else(|| state.trouble());
        let is_right = shown == Some(units)
            && shown_price.is_none_or(|shown| shown == ask)
            && (units == 0 || on_sale != Some(false))
            && error.is_none();
        let difference = (!is_right).then(|| Difference {
            product_id: product,
            units,
            shown,
            unexplained: missing.filter(|missing| *missing > 0),
            on_sale,
            price: ask,
            shown_price,
            effective_price: price.map(|price| price.effective),
            seen_at: seen.map(|seen| seen.at).or(state.at),
            error,
        });
        Ok(Some(Compared {
            is_looked_at,
            is_priced: price.is_some(),
            difference,
        }))
    }
}
