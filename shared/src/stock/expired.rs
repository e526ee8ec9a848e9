//! `expired`: the orders whose units may be given back.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::{clock::Timestamp, order::OrderId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("expired.lua")));

/// Entries that one call looks at, at most, of the list and of the extended holds: a script that runs for long keeps every
/// buyer waiting.
const MAX_SCANNED: usize = 1_000;

impl Gate {
    /// Open orders whose deadline has passed, `limit` at most. Nothing is given back: the ledger decides first.
    ///
    /// With `claim` a source is answered for once in that time, so that of all who meet sold out one looks after the rest;
    /// the others, and a claimant whose answer was lost, get none.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn expired(
        &self,
        source: &Source,
        now: Timestamp,
        limit: usize,
        claim: Option<Duration>,
    ) -> Result<Vec<OrderId>, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.key(self.keys.deadlines(source))
            .key(self.keys.extended(source))
            .arg(now.millis())
            .arg(limit)
            .arg(MAX_SCANNED)
            .arg(claim.map_or_else(String::new, |time| (now + time).millis().to_string()));
        let orders: Vec<String> = self.redis.run(&call).await?;
        orders
            .iter()
            .map(|order| {
                order
                    .parse()
                    .map_err(|_| malformed("expired named no order"))
            })
            .collect()
    }
}
