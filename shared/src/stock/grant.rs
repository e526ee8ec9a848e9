//! `grant`: the gate follows what the ledger granted; a gate that knows nothing is loaded.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisError, Script};

use super::{Gate, malformed};
use crate::{clock::Timestamp, ledger::StockRow};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("grant.lua")));

/// How long withdrawn units are left alone when the ledger still counts them here: a move takes less, so after that it was
/// given up.
pub const WITHDRAWAL_GRACE: Duration = Duration::from_secs(10);

/// The answer to `grant`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granted {
    /// The gate knew nothing of the product and was filled.
    Loaded,
    /// The gate followed the ledger.
    Followed,
    /// The gate knew this grant already, or a later one, or withdrew units of it for a move that may be under way.
    Current,
}

impl Gate {
    /// Makes the gate of the row's source follow the row.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn grant(&self, row: &StockRow, now: Timestamp) -> Result<Granted, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(&row.source));
        call.arg(now.millis())
            .arg(WITHDRAWAL_GRACE.as_secs() * 1_000)
            .arg(row.product_id.as_str())
            .arg(row.granted)
            .arg(row.unsold)
            .arg(row.version);
        let words: Vec<String> = self.redis.run(&call).await?;
        match words.first().map(String::as_str) {
            Some("loaded") => Ok(Granted::Loaded),
            Some("granted") => Ok(Granted::Followed),
            Some("current") => Ok(Granted::Current),
            _ => Err(malformed("grant answered with an unknown word")),
        }
    }
}
