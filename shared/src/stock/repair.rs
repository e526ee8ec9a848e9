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

/// By how much the gate's counts of a product are put right. What is held follows: it is neither left nor sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Units that become free (or, negative, no longer are).
    pub left: i64,
    /// Units that count as sold from now on (or, negative, no longer do).
    pub sold: i64,
}

impl Gate {
    /// Puts the counts of `product` at `source` right, if its stock still has the version `seen_version`.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn repair(
        &self,
        source: &Source,
        product: &ProductId,
        correction: Correction,
        seen_version: u64,
    ) -> Result<Repaired, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(product.as_str())
            .arg(correction.left)
            .arg(correction.sold)
            .arg(seen_version);
        let word: String = self.redis.run(&call).await?;
        match word.as_str() {
            "repaired" => Ok(Repaired::Now),
            "moved" => Ok(Repaired::Moved),
            _ => Err(malformed("repair answered with an unknown word")),
        }
    }
}
