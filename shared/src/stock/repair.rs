//! `repair`: a compensating entry for what the gate counts otherwise than the ledger.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::id::ProductId;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("repair.lua")));

/// The answer to `repair`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repaired {
    /// It is done.
    Now,
    /// The stock has changed since it was compared, or is not known: compare again.
    Moved,
}

impl Gate {
    /// Adds `delta` units to what is free of `product` at `source`, if its stock still has the version `seen_version`.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn repair(
        &self,
        source: &Source,
        product: &ProductId,
        delta: i64,
        seen_version: u64,
    ) -> Result<Repaired, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(product.as_str()).arg(delta).arg(seen_version);
        let word: String = self.redis.run(&call).await?;
        match word.as_str() {
            "repaired" => Ok(Repaired::Now),
            "moved" => Ok(Repaired::Moved),
            _ => Err(malformed("repair answered with an unknown word")),
        }
    }
}
