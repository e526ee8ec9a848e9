//! `withdraw`: free units leave a source, ahead of the ledger.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed, number};
use crate::{clock::Timestamp, id::ProductId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("withdraw.lua")));

/// The answer to `withdraw`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Withdrawn {
    /// So many units can no longer be ordered here.
    Units(u64),
    /// Fewer are free than asked for at least; with how many.
    Short(u64),
    /// The gate follows another grant than the caller has read.
    Stale,
    /// The gate does not know the product.
    Unknown,
}

impl Gate {
    /// Takes free units of `product` out of `source`: up to `most`, or none if fewer than `least` are free.
    /// `grant_version` is the version of the ledger's row that the caller has read.
    ///
    /// `token` is one word that names the move: the same move, tried again, gets the same units. If the ledger refuses the
    /// move, [`Gate::restore`] takes the token back.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time: the units may be withdrawn. Asking again with the same token is
    /// safe; if nobody does, the units come back with a grant, [`WITHDRAWAL_GRACE`](super::WITHDRAWAL_GRACE) later.
    pub async fn withdraw(
        &self,
        source: &Source,
        product: &ProductId,
        (least, most): (u64, u64),
        grant_version: u64,
        token: &str,
        now: Timestamp,
    ) -> Result<Withdrawn, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(product.as_str())
            .arg(most)
            .arg(least)
            .arg(grant_version)
            .arg(token)
            .arg(now.millis());
        let answer: Vec<String> = self.redis.run(&call).await?;
        let mut words = answer.iter().map(String::as_str);
        match words.next() {
            Some("withdrawn") => number(&mut words).map(Withdrawn::Units),
            Some("short") => Ok(Withdrawn::Short(number(&mut words).unwrap_or(0))),
            Some("stale") => Ok(Withdrawn::Stale),
            Some("unknown") => Ok(Withdrawn::Unknown),
            _ => Err(malformed("withdraw answered with an unknown word")),
        }
    }
}
