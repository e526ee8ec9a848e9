//! The gate: what each source may still sell, decided in Redis in one step.
//!
//! One hash a source, `{shop}:gate:<source>`, so that an order of any number of lines costs one read and one write:
//!
//! | field | value |
//! |---|---|
//! | `stock:<product>` | `<left> <version>`: units free; grows with every change of them |
//! | `sold:<product>` | units in confirmed orders. What is granted, not left and not sold is held by orders not settled |
//! | `granted:<product>` | `<units> <grant version>`: what the ledger granted, as far as the gate knows. After a withdrawal also ` <token> <units withdrawn> <at ms>`, until the next grant |
//! | `air:<product>` | `<live price> <per-viewer limit, 0 is none> <from ms> <until ms>`: the terms it sells at |
//! | `aired:<product>` | which change of the terms that is; an older one never replaces a newer one |
//! | `taken:<product>:<viewer>` | units the viewer has in orders that did not fail |
//! | `hold:<order>` | `<state> <revision> <deadline ms> <accepted ms> <fingerprint> <viewer>` then `<product> <units> <price>` a line |
//! | `due` | the first deadline of the two lists below (ms), or an earlier one: until then nothing has expired |
//! | `followed:<product>` | for a source without holds: the ledger's revision the counters are of |
//! | `sweeping` | until when somebody looks after the expired holds (ms) |
//!
//! A hold is
//! - `open`: not settled; `kept`, if another try of the order has seen it since, so that `undo` may not take it away;
//! - `confirmed`: sold;
//! - `released`: its units were given back. The record stays, so that a late retry takes nothing;
//! - `lost`: a tombstone without lines. The ledger spoke of an order that the gate never took, or forgot; whatever is said of
//!   it later moves no units here, and where the gate then counts otherwise than the ledger, `repair` compensates.
//!
//! The ledger is the truth, and the gate follows it by the revision of each order: a hold starts at 0, `confirm`, `release`
//! and `reopen` carry the revision the ledger gave the order, and one that is not newer than the hold's changes nothing. So a
//! delivery that is late or doubled never undoes a newer one, and one that is newer takes the hold from whatever state it is in.
//! What is granted is always left, held or sold; what is left may be below zero after units were taken again, and the gate
//! sells none then. Units go back by what the ledger says, or by `undo` of an order it cannot have heard of; no key here has
//! a lifetime that could.
//!
//! Beside the hash, orders are listed by when they are due: `{shop}:deadlines:<source>`, a list of `<deadline ms> <order>` in the
//! order in which holds were taken, and `{shop}:extended:<source>`, sorted by deadline, for holds that got another one. The hold says
//! which entry is its own; `expired` drops the others.
//!
//! One verb a file, its script beside it. A script answers with a word; a repeated call does nothing more than the first.

mod air;
mod confirm;
mod expired;
mod extend;
mod grant;
mod release;
mod reopen;
mod repair;
mod reserve;
mod restore;
mod status;
mod undo;
mod watermark;
mod withdraw;

use std::{fmt, str::FromStr};

pub use confirm::Confirmed;
pub use extend::Extended;
pub use grant::{Granted, WITHDRAWAL_GRACE};
pub use release::Released;
pub use reopen::Reopened;
pub use repair::{Correction, Repaired};
pub use reserve::{Refusal, Reservation, Reserved};
pub use restore::Restored;
use serde::{Deserialize, Serialize};
pub(crate) use status::parse_stock;
pub use status::{GateStock, HoldState};
pub use undo::Undone;
pub use withdraw::Withdrawn;

use crate::{
    clock::Timestamp,
    connection::Redis,
    id::{BroadcastId, ProductId},
    keys::Keys,
};

/// Where a unit is sold from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// What every channel with shared stock sells from.
    Pool,
    /// The units fenced for a broadcast.
    Live(BroadcastId),
    /// The fixed share of a channel.
    Channel(String),
}

impl Source {
    /// Whether orders hold units of it before the ledger has them. What a channel sells is in the ledger first.
    #[must_use]
    pub const fn has_holds(&self) -> bool {
        match self {
            Self::Live(_) => true,
            Self::Pool | Self::Channel(_) => false,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pool => f.write_str("pool"),
            Self::Live(broadcast) => write!(f, "live:{broadcast}"),
            Self::Channel(name) => write!(f, "channel:{name}"),
        }
    }
}

impl FromStr for Source {
    type Err = crate::id::InvalidId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "pool" => Ok(Self::Pool),
            Some(("live", broadcast)) => broadcast.parse().map(Self::Live),
            Some(("channel", name)) => {
                crate::id::check(name, 32).map(|()| Self::Channel(name.to_owned()))
            }
            _ => Err(crate::id::InvalidId { max: 32 }),
        }
    }
}

impl Serialize for Source {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// The terms a product sells at while it is on air.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Price of one unit, in won.
    pub live_price: u64,
    /// Units one viewer may have; `None` is no limit.
    pub per_viewer_limit: Option<u32>,
    /// First moment it may be ordered.
    pub from: Timestamp,
    /// First moment it may not be ordered any more.
    pub until: Timestamp,
}

impl Terms {
    fn encode(&self) -> String {
        format!(
            "{} {} {} {}",
            self.live_price,
            self.per_viewer_limit.unwrap_or(0),
            self.from.millis(),
            self.until.millis()
        )
    }
}

/// The gate of one shop.
#[derive(Clone)]
pub struct Gate {
    redis: Redis,
    keys: Keys,
}

impl Gate {
    /// The gate behind a connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// Puts a product on air at `terms` if the gate knows none: loading may not overwrite what a host has just set.
    ///
    /// # Errors
    /// Redis did not do it, or did not say so in time; asking again is safe.
    pub async fn load_terms(
        &self,
        source: &Source,
        product: &ProductId,
        terms: &Terms,
    ) -> Result<(), redis::RedisError> {
        let mut command = redis::pipe();
        command
            .hset_nx(
                self.keys.gate(source),
                format!("air:{product}"),
                terms.encode(),
            )
            .ignore();
        self.redis.send(&command).await
    }
}

/// Reads the next whole number of a record that a script wrote.
fn number<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<u64, redis::RedisError> {
    words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| malformed("a number was expected in a gate record"))
}

fn malformed(what: &'static str) -> redis::RedisError {
    redis::RedisError::from((redis::ErrorKind::Parse, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_spelled_one_way() {
        for text in ["pool", "live:b1", "channel:coupang"] {
            assert_eq!(
                text.parse::<Source>().map(|source| source.to_string()),
                Ok(text.to_owned())
            );
        }
        for bad in ["", "live", "live:", "pool:1", "shop:1", "live:a b"] {
            assert!(bad.parse::<Source>().is_err(), "{bad:?} was taken");
        }
    }
}
