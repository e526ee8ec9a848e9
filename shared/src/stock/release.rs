//! `release`: the units of an order go back, exactly once.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::{id::ProductId, order::OrderId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));

/// The answer to `release`. The products it names are off air for good, so their units belong to the pool now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The units are back; they were held, or sold.
    Now(Vec<ProductId>),
    /// They were given back before. A caller that broke off after that hears of the closed products again.
    Already(Vec<ProductId>),
    /// The gate follows this revision or a later one, by which the units are held or sold.
    Overtaken,
    /// The gate has no such hold; nothing but a tombstone.
    Absent,
}

impl Gate {
    /// Gives the units of `order` back, by the revision at which the ledger's order failed or was cancelled.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn release(
        &self,
        source: &Source,
        order: &OrderId,
        revision: u64,
    ) -> Result<Released, RedisError> {
        self.settle_failed(source, order, revision, "back").await
    }

    /// Ends the hold of `order` without giving its units back: the ledger had none for it, so the gate, which had forgotten
    /// orders of before, sold units that were gone. If it gave them back it would sell them again, and refuse again.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn forfeit(
        &self,
        source: &Source,
        order: &OrderId,
        revision: u64,
    ) -> Result<Released, RedisError> {
        self.settle_failed(source, order, revision, "forfeited")
            .await
    }

    async fn settle_failed(
        &self,
        source: &Source,
        order: &OrderId,
        revision: u64,
        units: &str,
    ) -> Result<Released, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(order.as_str()).arg(revision).arg(units);
        let answer: Vec<String> = self.redis.run(&call).await?;
        let (word, closed) = answer
            .split_first()
            .ok_or_else(|| malformed("release did not answer"))?;
        let closed = closed
            .iter()
            .map(|product| {
                product
                    .parse()
                    .map_err(|_| malformed("release answered without a product"))
            })
            .collect::<Result<_, _>>()?;
        match word.as_str() {
            "released" => Ok(Released::Now(closed)),
            "already" => Ok(Released::Already(closed)),
            "overtaken" => Ok(Released::Overtaken),
            "absent" => Ok(Released::Absent),
            _ => Err(malformed("release answered with an unknown word")),
        }
    }
}
