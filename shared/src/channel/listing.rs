//! A listing: a product on a channel, how much of the stock it may show, and what it costs there.
//!
//! [`shown_units`], [`price_to_ask`] and [`price_to_correct`] are the only functions of the whole program that compute what a channel shows.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ItemId, Price};
use crate::{clock::Timestamp, id::ProductId, stock::Source};

/// The own store: its list price is the floor of the others, so its price and theirs change in an order.
pub const OWN_STORE: &str = "ownstore";
/// Events show up in a channel's feed so much after they happened: a pull has passed a moment when it is this far beyond it.
const FEED_LAG: Duration = Duration::from_secs(5);

/// A product on a channel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Listing {
    /// What is sold.
    pub product_id: ProductId,
    /// Where.
    pub channel: String,
    /// What the channel calls it.
    pub item: ItemId,
    /// How much of the stock it shows.
    pub distribution: Distribution,
    /// What one unit costs there, in won.
    pub price: u64,
    /// Which rule its price is under.
    pub price_policy: PricePolicy,
    /// Which change of it this is; the first is 1.
    pub version: u64,
}

/// How much of the stock a listing shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mode", rename_all = "snake_case", deny_unknown_fields)]
pub enum Distribution {
    /// What the pool has, less a buffer.
    Shared {
        /// What is kept back.
        #[serde(default)]
        buffer: Buffer,
    },
    /// A share of its own, carved out of the pool.
    Fixed {
        /// How many units.
        units: u64,
    },
}

/// What a shared listing keeps back: for sales that are on their way, and for the seller's own use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Buffer {
    /// So many units.
    Units(u64),
    /// So much of what the pool has, 0 to 100, rounded up.
    Percent(u8),
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Units(0)
    }
}

/// Which rule the price of a listing is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PricePolicy {
    /// What the seller asks for; no rule.
    List,
    /// The channel promises its buyers the lowest price. It may not go below the own store's list price, discounts that the seller
    /// pays for included.
    Lowest,
    /// For a while, at any price.
    Promotion,
}

impl Listing {
    /// Where its sales are taken from.
    #[must_use]
    pub fn source(&self) -> Source {
        match self.distribution {
            Distribution::Shared { .. } => Source::Pool,
            Distribution::Fixed { .. } => Source::Channel(self.channel.clone()),
        }
    }

    /// The least it may cost, in won, if the own store asks `list_price`; `None` if it is under no rule.
    #[must_use]
    pub const fn floor(&self, list_price: u64) -> Option<u64> {
        match self.price_policy {
            PricePolicy::Lowest => Some(list_price),
            PricePolicy::List | PricePolicy::Promotion => None,
        }
    }
}

/// What the ledger has unsold for a listing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsold {
    /// In the pool; below zero if more was sold than was there.
    pub pool: i64,
    /// In the channel's own share.
    pub share: i64,
}

/// The number a channel shows: what the pool has less the buffer, or the fixed share, never below zero, and never more than the
/// marketplace can show. A pool in debt takes from every share: the units it owes are somewhere.
#[must_use]
pub fn shown_units(distribution: Distribution, unsold: Unsold, most: u64) -> u64 {
    let free = match distribution {
        Distribution::Shared {
            buffer: Buffer::Units(units),
        } => unsold.pool.saturating_sub_unsigned(units),
        Distribution::Shared {
            buffer: Buffer::Percent(percent),
        } => {
            let kept = 100 - i64::from(percent.min(100));
            unsold.pool.max(0).saturating_mul(kept) / 100
        }
        Distribution::Fixed { .. } => unsold.share.saturating_add(unsold.pool.min(0)),
    };
    u64::try_from(free).unwrap_or(0).min(most)
}

/// What a listing has to cost, in won: what was set, or its floor if that has gone above it, on the marketplace's step (rounded up, so that a floor
/// stays one). If the seller-paid discounts of what it shows now take the price below the floor, the price that is asked goes up by that
/// much.
#[must_use]
pub fn price_to_ask(listing: &Listing, list_price: u64, shown: Option<Price>, step: u64) -> u64 {
    let discount = shown.map_or(0, Price::discount);
    let floor = listing
        .floor(list_price)
        .map_or(0, |floor| floor.saturating_add(discount));
    let step = step.max(1);
    let ask = listing.price.max(floor).next_multiple_of(step);
    let is_held_up = discount > 0 && ask > listing.price.next_multiple_of(step);
    match shown.map(|price| price.sale) {
        // How a discount is rounded is not known: lowered to the last won, the price would go to and fro.
        Some(sale) if is_held_up && sale > ask && sale - ask <= sale / 100 => sale,
        Some(_) | None => ask,
    }
}

/// What has to be asked instead of a price whose discounts have taken it below the floor. They may be so many won, or a percentage, which
/// takes more of more: it is enough either way, however a percentage is rounded. `None` if that is more than double: a person has to look at such a discount.
#[must_use]
pub fn price_to_correct(floor: u64, shown: Price, step: u64) -> Option<u64> {
    let by_percentage = (floor + 1)
        .checked_mul(shown.sale)?
        .div_ceil(shown.effective.max(1));
    let ask = floor
        .saturating_add(shown.discount())
        .max(by_percentage)
        .checked_next_multiple_of(step.max(1))?;
    (ask <= shown.sale.saturating_mul(2)).then_some(ask)
}

/// What a listing was last seen to show, and what was last done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownState {
    /// The item that was looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemId>,
    /// Units it showed after the last write or look, less what was imported from it since.
    #[serde(default)]
    pub units: Option<u64>,
    /// Units that were missing there without an order of ours to explain it: sold and not pulled yet, or taken by somebody's hand. They
    /// are kept out of the number until a pull has passed that moment.
    #[serde(default)]
    pub uncollected: u64,
    /// When the last of them was found missing; later looks that find nothing new do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_at: Option<Timestamp>,
    /// Whether it may show another number than `units`: a sale came between a look and the write after it, which put its units up again;
    /// or units were cancelled, which the marketplace puts up again, or not.
    #[serde(default)]
    pub doubtful: bool,
    /// When a write had no answer last: it may be done yet, over a newer one.
    #[serde(default)]
    pub lost_at: Option<Timestamp>,
    /// The price it showed, in won.
    #[serde(default)]
    pub price: Option<u64>,
    /// What a buyer paid for one then, after the discounts that the seller pays for; where looking tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effective: Option<u64>,
    /// The price that was refused for good. Its units are shown all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused_price: Option<RefusedPrice>,
    /// When that was.
    #[serde(default)]
    pub at: Option<Timestamp>,
    /// Why the last try failed; `None` after one that did not.
    #[serde(default)]
    pub error: Option<String>,
    /// Tries that failed in a row.
    #[serde(default)]
    pub failures: u32,
    /// Whether it is left alone until a person has changed the listing: the channel refuses it for good.
    #[serde(default)]
    pub quarantined: bool,
}

/// A price that a channel refuses for good: it is not asked for again while nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedPrice {
    /// What was asked, in won.
    pub ask: u64,
    /// What it cost then, if that is known.
    #[serde(default)]
    pub known: Option<u64>,
    /// What the channel said.
    pub cause: String,
}

impl ShownState {
    /// What is known of this item: nothing of what it shows, if another one was looked at.
    #[must_use]
    pub fn of(self, item: &ItemId) -> Self {
        if self.item.as_ref().is_none_or(|seen| seen == item) {
            return self;
        }
        Self {
            failures: self.failures,
            quarantined: self.quarantined,
            error: self.error,
            ..Self::default()
        }
    }

    /// Units that are still kept out of the number, if the channel was pulled up to then: a pull that has passed the moment at which they
    /// were found missing has imported them, or it was no sale.
    #[must_use]
    pub fn unpulled(&self, pulled_to: Option<Timestamp>) -> u64 {
        let is_pulled = (self.missing_at.or(self.at))
            .zip(pulled_to)
            .is_some_and(|(at, pulled_to)| at + FEED_LAG <= pulled_to);
        if is_pulled { 0 } else { self.uncollected }
    }

    /// What it was seen to cost, where looking tells that.
    #[must_use]
    pub fn seen_price(&self) -> Option<Price> {
        let (sale, effective) = self.price.zip(self.effective)?;
        Some(Price { sale, effective })
    }

    /// What stands against it, for who operates it.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let of_the_price = |refused: &RefusedPrice| {
            let RefusedPrice { ask, cause, .. } = refused;
            format!("price {ask} refused: {cause}")
        };
        let refused = || self.refused_price.as_ref().map(of_the_price);
        self.error.clone().or_else(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(buffer: Buffer) -> Distribution {
        Distribution::Shared { buffer }
    }

    fn listing(price: u64, price_policy: PricePolicy) -> Listing {
        Listing {
            product_id: "p".parse().expect("an id"),
            channel: "coupang".to_owned(),
            item: ItemId {
                product: "1".to_owned(),
                option: None,
            },
            distribution: shared(Buffer::Units(0)),
            price,
            price_policy,
            version: 1,
        }
    }

    #[test]
    fn a_channel_never_shows_more_than_its_policy_allows() {
        for (distribution, pool, share, shown) in [
            (shared(Buffer::Units(0)), 7, 0, 7),
            (shared(Buffer::Units(3)), 7, 0, 4),
            (shared(Buffer::Units(8)), 7, 0, 0),
            (shared(Buffer::Units(u64::MAX)), 7, 0, 0),
            (shared(Buffer::Units(0)), -2, 0, 0),
            (shared(Buffer::Percent(10)), 9, 0, 8),
            (shared(Buffer::Percent(0)), 9, 0, 9),
            (shared(Buffer::Percent(100)), 9, 0, 0),
            (shared(Buffer::Percent(50)), -9, 0, 0),
            (Distribution::Fixed { units: 5 }, 100, 3, 3),
            (Distribution::Fixed { units: 5 }, -2, 3, 1),
            (Distribution::Fixed { units: 5 }, -9, 3, 0),
            (shared(Buffer::Units(0)), 200_000, 0, 99_999),
        ] {
            let unsold = Unsold { pool, share };
            assert_eq!(
                shown_units(distribution, unsold, 99_999),
                shown,
                "{distribution:?} {unsold:?}"
            );
        }
    }

    #[test]
    fn a_lowest_price_never_goes_below_the_own_store() {
        let ask = |price, policy, discount: u64, step| {
            let shown = Price {
                sale: 10_000,
                effective: 10_000 - discount,
            };
            price_to_ask(&listing(price, policy), 12_905, Some(shown), step)
        };
        assert_eq!(ask(15_000, PricePolicy::Lowest, 0, 10), 15_000);
        assert_eq!(
            ask(12_000, PricePolicy::Lowest, 0, 10),
            12_910,
            "a floor is rounded up"
        );
        assert_eq!(ask(12_000, PricePolicy::Lowest, 0, 1), 12_905);
        assert_eq!(
            ask(13_000, PricePolicy::Lowest, 1_000, 1),
            13_905,
            "a discount counts"
        );
        assert_eq!(ask(9_000, PricePolicy::Promotion, 0, 1), 9_000);
        assert_eq!(ask(9_001, PricePolicy::List, 0, 10), 9_010);
    }

    #[test]
    fn a_percentage_is_made_up_for_at_once_and_the_price_stays_there() {
        for (percent, step) in [(1, 1), (7, 10), (10, 10), (33, 10), (49, 100)] {
            // To the buyer's favour and against it: how it is rounded is not known.
            for rounded_up in [0, 99] {
                let shown = |sale: u64| Price {
                    sale,
                    effective: sale - (sale * percent + rounded_up) / 100,
                };
                let listing = listing(12_000, PricePolicy::Lowest);
                let first = price_to_ask(&listing, 12_905, Some(shown(12_900)), step);
                let sale = if shown(first).effective < 12_905 {
                    price_to_correct(12_905, shown(first), step).expect("less than double")
                } else {
                    first
                };
                let corrected = shown(sale);
                assert!(corrected.effective >= 12_905, "{percent} %: {corrected:?}");
                let again = price_to_ask(&listing, 12_905, Some(corrected), step);
                assert_eq!(again, sale, "{percent} %: to and fro");
            }
        }
        let nearly_free = Price {
            sale: 12_900,
            effective: 129,
        };
        assert_eq!(price_to_correct(12_900, nearly_free, 10), None);
    }

    #[test]
    fn nothing_is_known_of_an_item_that_another_one_took_the_place_of() {
        let item = |product: &str| ItemId {
            product: product.to_owned(),
            option: None,
        };
        let seen = ShownState {
            item: Some(item("1")),
            units: Some(7),
            uncollected: 2,
            failures: 3,
            ..ShownState::default()
        };
        assert_eq!(seen.clone().of(&item("1")), seen);
        let other = seen.of(&item("2"));
        assert_eq!(
            (other.units, other.uncollected, other.failures),
            (None, 0, 3)
        );
    }
}
