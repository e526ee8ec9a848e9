//! A listing: a product on a channel, how much of the stock it may show, and what it costs there.
//!
//! [`shown_units`] and [`price_to_ask`] are the only functions of the whole program that compute what a channel shows.

use serde::{Deserialize, Serialize};

use super::ItemId;
use crate::{clock::Timestamp, id::ProductId, stock::Source};

/// The own store: its list price is the floor of the others, so its price and theirs change in an order.
pub const OWN_STORE: &str = "ownstore";

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
/// stays one). If its seller-paid discounts take the price below the floor, the price that is asked goes up by that much.
#[must_use]
pub fn price_to_ask(listing: &Listing, list_price: u64, discount: u64, step: u64) -> u64 {
    let floor = listing
        .floor(list_price)
        .map_or(0, |floor| floor.saturating_add(discount));
    listing.price.max(floor).next_multiple_of(step.max(1))
}

/// What a listing was last seen to show, and what was last done about it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownState {
    /// Units it showed after the last write or look, less what was imported from it since.
    #[serde(default)]
    pub units: Option<u64>,
    /// Units that were missing there without an order of ours to explain it: sold and not pulled yet, or taken by somebody's hand. They
    /// are kept out of the number until a pull has passed that moment.
    #[serde(default)]
    pub uncollected: u64,
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
        let ask = |price, policy, discount, step| {
            price_to_ask(&listing(price, policy), 12_905, discount, step)
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
}
