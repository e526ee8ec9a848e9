//! `reopen`: an order whose units had gone back is held once more.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::{clock::Timestamp, order::OrderId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("reopen.lua")));

/// The answer to `reopen`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reopened {
    /// The units are held again. The gate may owe units now.
    Now,
    /// They are held, or the gate follows this revision or a later one.
    Already,
    /// The gate has no such hold; nothing but a tombstone.
    Absent,
}

impl Gate {
    /// Holds the units of `order` once more until `deadline`, by the revision at which the ledger took them again.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn reopen(
        &self,
        source: &Source,
        order: &OrderId,
        revision: u64,
        deadline: Timestamp,
    ) -> Result<Reopened, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.key(self.keys.extended(source))
            .arg(order.as_str())
            .arg(revision)
            .arg(deadline.millis());
        let word: String = self.redis.run(&call).await?;
        match word.as_str() {
            "reopened" => Ok(Reopened::Now),
            "already" => Ok(Reopened::Already),
            "absent" => Ok(Reopened::Absent),
            _ => Err(malformed("reopen answered with an unknown word")),
        }
    }
}
