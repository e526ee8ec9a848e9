//! What operators do with channels: list products on them, see how they are, pull and compare.

use std::{collections::BTreeMap, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    ItemId,
    backlog::Backlog,
    circuit::Circuits,
    listing::{Buffer, Distribution, Listing, PricePolicy, ShownState, Unsold, shown_units},
    look::Looks,
    wake::PullWake,
};
use crate::{
    broadcast::{
        MAX_PRICE, MAX_UNITS, Request,
        fence::{ALL, Cause, Fence},
    },
    catalog::{Bears, Catalog, ListingWrite},
    clock::{self, Timestamp},
    error::Error,
    id::{self, ProductId},
    queue::Queue,
    stock::Source,
};

/// The longest id a channel gives a product or an option, in characters.
const MAX_ITEM_ID: usize = 64;
/// How often a listing is written again from what stands now, when another change came in between.
const MAX_TRIES: usize = 10;

/// The operators' desk.
pub struct Desk {
    /// Listings.
    pub catalog: Catalog,
    /// The ledger and the gate.
    pub fence: Fence,
    /// What is to be pushed.
    pub backlog: Backlog,
    /// Which channels are left alone by pulls, and by pushes.
    pub circuits: [Circuits; 2],
    /// How a pull is asked for.
    pub pulls: Queue,
    /// What the channels were seen to show.
    pub looks: Looks,
    /// How long a dry run waits for its look.
    pub look_wait: Duration,
    /// The channels of the shop.
    pub channels: Vec<String>,
}

/// The body of `PUT /products/{product_id}/listings/{channel}`.
#[derive(Debug, Deserialize)]
pub struct ListingBody {
    channel_product_id: String,
    #[serde(default)]
    channel_option_id: Option<String>,
    distribution: Distribution,
    price: u64,
    price_policy: PricePolicy,
}

/// A listing, as an operator reads it.
#[derive(Debug, Serialize)]
pub struct ListingView {
    product_id: ProductId,
    channel: String,
    channel_product_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel_option_id: Option<String>,
    distribution: Distribution,
    price: u64,
    price_policy: PricePolicy,
    /// What the channel has to show.
    units: u64,
    /// What it was seen to show last.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<u64>,
    /// What it was seen to cost last.
    #[serde(skip_serializing_if = "Option::is_none")]
    shown_price: Option<u64>,
    /// What that was after the discounts that the seller pays for, where the channel tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_price: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// A channel, as an operator reads it.
#[derive(Debug, Serialize)]
pub struct ChannelView {
    channel: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_pull: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_push: Option<Timestamp>,
    /// When all its listings were last looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_sweep: Option<Timestamp>,
    /// When its past days were last gone over.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_order_sweep: Option<Timestamp>,
    /// Listings that wait to be pushed.
    backlog: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    circuit: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_until: Option<Timestamp>,
    /// Calls that may be made now, by what the channel counts together.
    quota_left: BTreeMap<String, u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_expire_at: Option<Timestamp>,
    /// Whole days until then; 0 if it is past.
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials_days_left: Option<u64>,
    /// Orders that wait for a person, at most this many were counted.
    quarantined: usize,
}

impl Desk {
    pub(super) fn known(&self, channel: &str) -> Result<(), Error> {
        if self.channels.iter().any(|known| known == channel) {
            Ok(())
        } else {
            Err(Error::NotFound("channel"))
        }
    }

    /// Lists a product on a channel, or changes how it is listed; while it sells, too.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::PriceBelowOwnStore`], [`Error::InsufficientPool`] if a fixed share is larger
    /// than what the pool has, or a store failed.
    pub async fn put_listing(
        &self,
        request: &Request,
        product: &ProductId,
        channel: &str,
        body: ListingBody,
    ) -> Result<ListingView, Error> {
        self.known(channel)?;
        let known = self.catalog.product(product).await?;
        let wanted = body.listing(product, channel)?;
        if let Some(floor) = wanted.floor(known.list_price)
            && wanted.price < floor
        {
            return Err(Error::PriceBelowOwnStore { floor });
        }
        for _ in 0..MAX_TRIES {
            let offers = self.catalog.offers(product).await?;
            let on_channel = offers.on(channel);
            if let Some((_, state)) = &on_channel {
                check_discount(&wanted, known.list_price, state)?;
            }
            let read = on_channel.map(|(listing, _)| listing.clone());
            let next = Listing {
                version: read.as_ref().map_or(0, |read| read.version) + 1,
                ..wanted.clone()
            };
            let before = read.as_ref().map(|read| read.distribution);
            // A share is carved out before the listing sells from it, and goes back after it does no more.
            self.fill_share(request, &next, before).await?;
            match self.catalog.put_listing(&next, read.as_ref()).await? {
                ListingWrite::Overtaken => {}
                ListingWrite::Taken => {
                    self.trim_share(request, &next, share(before)).await?;
                    return Err(Error::invalid(
                        "channel_product_id",
                        "an item that is not another product's",
                    ));
                }
                ListingWrite::Now => {
                    self.trim_share(request, &next, share(Some(next.distribution)))
                        .await?;
                    self.look_at(&next, read.as_ref()).await?;
                    return self.view(&next).await;
                }
            }
        }
        Err(Error::Conflict)
    }

    /// The channel is told what the listing shows now, and what stood against it is forgotten; not what it was seen to show, if it is
    /// the same item: units that were sold there and not pulled yet would be put up again.
    async fn look_at(&self, listing: &Listing, before: Option<&Listing>) -> Result<(), Error> {
        let Listing {
            product_id,
            channel,
            ..
        } = listing;
        self.catalog
            .change_shown(product_id, channel, |state| {
                let seen = state.item.as_ref();
                let seen = seen.or_else(|| before.map(|before| &before.item));
                let known = if seen == Some(&listing.item) {
                    std::mem::take(state)
                } else {
                    ShownState::default()
                };
                *state = ShownState {
                    // Somebody has just said something of it: it is looked at in any case.
                    doubtful: true,
                    price: None,
                    effective: None,
                    refused_price: None,
                    error: None,
                    failures: 0,
                    quarantined: false,
                    ..known
                };
            })
            .await?;
        self.fence.channels.look_at(product_id).await
    }

    /// Carves what a share lacks of its number. A number that grows is had in full or not at all; one that stays is filled up with
    /// what is there.
    async fn fill_share(
        &self,
        request: &Request,
        listing: &Listing,
        before: Option<Distribution>,
    ) -> Result<(), Error> {
        let wanted = share(Some(listing.distribution));
        let (to, product) = (
            Source::Channel(listing.channel.clone()),
            &listing.product_id,
        );
        let mut most = ALL;
        for _ in 0..MAX_TRIES {
            let row = self.fence.ledger.stock_row(product, &to).await?;
            let (unsold, version) = row.map_or((0, 0), |row| (row.unsold, row.version));
            let lacking = wanted
                .saturating_sub(unsold.max(0).unsigned_abs())
                .min(most);
            if lacking == 0 {
                return Ok(());
            }
            let mut cause = cause(request, "fill", format!("share of {}", listing.channel));
            // Of what is there and not of the request: of two that have read the same, one fills it and the other reads again.
            cause.id = id::digest(
                &[
                    "share",
                    &listing.channel,
                    product.as_str(),
                    &version.to_string(),
                ],
                16,
            );
            let now = clock::now();
            match self.fence.carve(&to, product, lacking, &cause, now).await {
                Ok(()) | Err(Error::IdempotencyConflict | Error::Conflict) => {}
                Err(Error::InsufficientPool { left }) if share(before) >= wanted => most = left,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict)
    }

    /// Gives back what a share has above its number.
    async fn trim_share(
        &self,
        request: &Request,
        listing: &Listing,
        wanted: u64,
    ) -> Result<(), Error> {
        let from = Source::Channel(listing.channel.clone());
        let row = self
            .fence
            .ledger
            .stock_row(&listing.product_id, &from)
            .await?;
        let unsold = row.map_or(0, |row| row.unsold).max(0).unsigned_abs();
        let surplus = unsold.saturating_sub(wanted);
        if surplus == 0 {
            return Ok(());
        }
        // A share that ends gives back all that is left of it, whatever came meanwhile.
        let most = if wanted == 0 { ALL } else { surplus };
        let cause = cause(request, "shrink", format!("share of {}", listing.channel));
        let now = clock::now();
        self.fence
            .give_back(&from, &listing.product_id, (0, most), &cause, now)
            .await
            .map(drop)
    }

    pub(super) async fn units(
        &self,
        listing: &Listing,
        bears: Option<Bears>,
    ) -> Result<u64, Error> {
        let rows = self.fence.ledger.stock_rows(&listing.product_id).await?;
        let unsold = |source: &Source| {
            let row = rows.iter().find(|row| row.source == *source);
            row.map_or(0, |row| row.unsold)
        };
        let unsold = Unsold {
            pool: unsold(&Source::Pool),
            share: unsold(&Source::Channel(listing.channel.clone())),
        };
        let most = bears.map_or(u64::MAX, |bears| bears.most_units);
        Ok(shown_units(listing.distribution, unsold, most))
    }

    async fn view(&self, listing: &Listing) -> Result<ListingView, Error> {
        let push = self.catalog.push_state(&listing.channel).await?;
        let units = self.units(listing, push.bears).await?;
        let offers = self.catalog.offers(&listing.product_id).await?;
        let state = offers.on(&listing.channel).map(|(_, state)| state);
        let state = state.unwrap_or_default().of(&listing.item);
        Ok(ListingView {
            product_id: listing.product_id.clone(),
            channel: listing.channel.clone(),
            channel_product_id: listing.item.product.clone(),
            channel_option_id: listing.item.option.clone(),
            distribution: listing.distribution,
            price: listing.price,
            price_policy: listing.price_policy,
            units,
            shown: state.units,
            shown_price: state.price,
            effective_price: state.effective,
            error: state.trouble(),
        })
    }

    /// How every channel is.
    ///
    /// # Errors
    /// A store failed.
    pub async fn channels(&self) -> Result<Vec<ChannelView>, Error> {
        let now = clock::now();
        let mut views = Vec::with_capacity(self.channels.len());
        for channel in &self.channels {
            let pull = self.catalog.pull_state(channel).await?;
            let push = self.catalog.push_state(channel).await?;
            let [pulls, pushes] = &self.circuits;
            let circuit = pulls.of(channel).await?.worse(pushes.of(channel).await?);
            let sweep = self.catalog.sweep_state(channel).await?;
            let (backlog, _) = self.backlog.waiting(channel, now).await?;
            views.push(ChannelView {
                channel: channel.clone(),
                last_pull: pull.pulled_at,
                last_push: push.pushed_at,
                last_sweep: push.swept_at,
                last_order_sweep: sweep.swept_at,
                backlog,
                error: pull.error.or(push.error).or(sweep.error),
                circuit: circuit.word(now),
                open_until: circuit.open_until.filter(|until| *until > now),
                quota_left: self.backlog.quota_left(channel).await?,
                credentials_expire_at: pull.credentials_expire_at,
                credentials_days_left: pull
                    .credentials_expire_at
                    .map(|at| at.since(now).as_secs() / 86_400),
                quarantined: self.catalog.quarantined(channel, 100).await?.len(),
            });
        }
        Ok(views)
    }

    /// Asks for a pull of a channel, now.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the queue did not take it.
    pub async fn pull(&self, channel: &str) -> Result<(), Error> {
        self.known(channel)?;
        self.pulls.send(&PullWake::new(channel)).await
    }
}

impl ListingBody {
    fn listing(self, product: &ProductId, channel: &str) -> Result<Listing, Error> {
        match self.distribution {
            Distribution::Shared {
                buffer: Buffer::Percent(percent),
            } if percent > 100 => {
                return Err(Error::invalid("distribution.buffer.percent", "0..=100"));
            }
            Distribution::Shared {
                buffer: Buffer::Units(units),
            } if units > MAX_UNITS => {
                return Err(Error::invalid(
                    "distribution.buffer.units",
                    format!("0..={MAX_UNITS}"),
                ));
            }
            Distribution::Fixed { units } if units > MAX_UNITS => {
                return Err(Error::invalid(
                    "distribution.units",
                    format!("0..={MAX_UNITS}"),
                ));
            }
            Distribution::Shared { .. } | Distribution::Fixed { .. } => {}
        }
        if !(1..=MAX_PRICE).contains(&self.price) {
            return Err(Error::invalid("price", format!("1..={MAX_PRICE}")));
        }
        let checked = |field, text: String| {
            id::check(&text, MAX_ITEM_ID)
                .map(|()| text)
                .map_err(|error| Error::invalid(field, error.to_string()))
        };
        Ok(Listing {
            product_id: product.clone(),
            channel: channel.to_owned(),
            item: ItemId {
                product: checked("channel_product_id", self.channel_product_id)?,
                option: self
                    .channel_option_id
                    .map(|option| checked("channel_option_id", option))
                    .transpose()?,
            },
            distribution: self.distribution,
            price: self.price,
            price_policy: self.price_policy,
            version: 0,
        })
    }
}

/// A price whose discounts take it below the floor is refused as well, where they are known; what comes of it the push looks at.
fn check_discount(wanted: &Listing, list_price: u64, state: &ShownState) -> Result<(), Error> {
    let seen = state.clone().of(&wanted.item).seen_price();
    let Some((floor, seen)) = wanted.floor(list_price).zip(seen) else {
        return Ok(());
    };
    // So many won or a percentage: which, the channel does not say.
    let by_percentage = wanted.price.saturating_mul(seen.effective) / seen.sale.max(1);
    let by_won = wanted.price.saturating_sub(seen.discount());
    if by_percentage.max(by_won) >= floor {
        return Ok(());
    }
    let for_won = floor.saturating_add(seen.discount());
    let for_percentage = floor
        .saturating_mul(seen.sale)
        .div_ceil(seen.effective.max(1));
    Err(Error::PriceBelowOwnStore {
        floor: for_won.min(for_percentage),
    })
}

/// The units a distribution keeps for itself.
const fn share(distribution: Option<Distribution>) -> u64 {
    match distribution {
        Some(Distribution::Fixed { units }) => units,
        Some(Distribution::Shared { .. }) | None => 0,
    }
}

/// Each move of a request is found again by its own id.
fn cause(request: &Request, step: &str, text: String) -> Cause {
    Cause {
        id: id::digest(&[&request.id, step], 16),
        fingerprint: request.fingerprint.clone(),
        text,
        by: request.by.as_str().to_owned(),
    }
}
