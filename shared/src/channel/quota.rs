//! The quota of a channel: who may call next. Every runner of a channel asks the same one, and what the marketplace's headers say
//! is the truth for all.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};

use super::Failure;

/// Who goes first when calls are scarce.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// A number goes down, or a product is sold out: what is late here is oversold.
    Down,
    /// Orders are pulled, confirmed, cancelled.
    Order,
    /// A number goes up, a price changes.
    Up,
    /// Sweeps and looks: they can wait.
    Sweep,
}

/// What a marketplace allows, as its documents say; its headers overrule it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rate {
    /// Calls that come back a second.
    pub per_second: f64,
    /// Calls that can be made at once after a rest.
    pub burst: u32,
}

/// What an answer says of the quota.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Seen {
    /// Its headers: calls left now, and the rate if they name it.
    Left {
        /// Calls that may be made now.
        calls: u32,
        /// What comes back, and the most there can be.
        rate: Option<Rate>,
    },
    /// Too many: nothing more for so long.
    Blocked(Duration),
}

/// Allows calls. A bucket is what the marketplace counts together: all calls of a seller, or those of one API.
pub trait Quota: Send + Sync {
    /// Waits until a call of this bucket may be made, for a short while.
    ///
    /// # Errors
    /// [`Failure::Turn`] with the time until then, if that is longer.
    fn permit<'a>(
        &'a self,
        bucket: &'a str,
        rate: Rate,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<(), Failure>>;

    /// Takes note of what an answer said.
    fn observe<'a>(&'a self, bucket: &'a str, seen: Seen) -> BoxFuture<'a, ()>;
}

/// Allows everything: for an adapter alone with a fake that sets no limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unlimited;

impl Quota for Unlimited {
    fn permit<'a>(&'a self, _: &'a str, _: Rate, _: Urgency) -> BoxFuture<'a, Result<(), Failure>> {
        std::future::ready(Ok(())).boxed()
    }

    fn observe<'a>(&'a self, _: &'a str, _: Seen) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}
