//! `grant`: the gate follows what the ledger granted; a gate that knows nothing is loaded.
//!
//! A broadcast's source has holds that the ledger does not know yet, so only what was granted is followed (`grant.lua`). The pool
//! and the shares of channels have none: they follow the ledger's row as it is (`mirror.lua`).

use std::{sync::LazyLock, time::Duration};

use redis::{RedisError, Script};

use super::{Gate, malformed};
use crate::{clock::Timestamp, ledger::StockRow};

static GRANT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("grant.lua")));
static MIRROR: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("mirror.lua")));

/// How long withdrawn units are left alone when the ledger still counts them here: a move takes less, so after that it was
/// given up.
pub const WITHDRAWAL_GRACE: Duration = Duration::from_secs(10);

/// A wake is on its way for so long at most: whoever it wakes says so first, and from then on the next move sends another.
const WAKE: Duration = Duration::from_secs(2);

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
        self.follow(row, now).await.map(|(granted, _)| granted)
    }

    /// As [`Gate::grant`]; says as well whether somebody is to be woken for the channels.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn follow(
        &self,
        row: &StockRow,
        now: Timestamp,
    ) -> Result<(Granted, bool), RedisError> {
        let script = if row.source.has_holds() {
            &GRANT
        } else {
            &MIRROR
        };
        let mut call = script.key(self.keys.gate(&row.source));
        call.arg(now.millis())
            .arg(WITHDRAWAL_GRACE.as_secs() * 1_000)
            .arg(row.product_id.as_str())
            .arg(row.granted)
            .arg(row.unsold)
            .arg(row.version);
        if !row.source.has_holds() {
            call.key(self.keys.moved())
                .key(self.keys.moved_wake())
                .arg(row.revision)
                .arg(WAKE.as_millis() as u64);
        }
        let words: Vec<String> = self.redis.run(&call).await?;
        let wake = words.get(1).is_some_and(|wake| wake == "1");
        let granted = match words.first().map(String::as_str) {
            Some("loaded") => Granted::Loaded,
            Some("granted") => Granted::Followed,
            Some("current") => Granted::Current,
            _ => return Err(malformed("grant answered with an unknown word")),
        };
        Ok((granted, wake))
    }
}
