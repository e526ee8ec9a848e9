//! `undo`: an order that never got further than its hold was never there.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::order::OrderId;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("undo.lua")));

/// The answer to `undo`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The units are back, and the order was never there.
    Now,
    /// Another try of the order has seen the hold, or the ledger knows the order, or it is settled.
    Kept,
    /// The gate has no such hold.
    Absent,
}

impl Gate {
    /// Takes the hold of `order` away, because it is certain that the order did not get on the queue.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time. Then the hold may stay until its deadline; asking again is not
    /// safe, because the buyer may hold the units anew by then, so this is sent once.
    pub async fn undo(&self, source: &Source, order: &OrderId) -> Result<Undone, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(order.as_str());
        let word: String = self.redis.run_once(&call).await?;
        match word.as_str() {
            "undone" => Ok(Undone::Now),
            "kept" => Ok(Undone::Kept),
            "absent" => Ok(Undone::Absent),
            _ => Err(malformed("undo answered with an unknown word")),
        }
    }
}
