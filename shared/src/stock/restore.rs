//! `restore`: units withdrawn for a move that the ledger refused come back at once.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::id::ProductId;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("restore.lua")));

/// The answer to `restore`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restored {
    /// The units are back.
    Now,
    /// Another withdrawal or a grant came after it: a grant has brought the units back, or will.
    Gone,
}

impl Gate {
    /// Gives back what was withdrawn with `token`. Only for a move that the ledger has refused for certain.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn restore(
        &self,
        source: &Source,
        product: &ProductId,
        token: &str,
    ) -> Result<Restored, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(product.as_str()).arg(token);
        let word: String = self.redis.run(&call).await?;
        match word.as_str() {
            "restored" => Ok(Restored::Now),
            "gone" => Ok(Restored::Gone),
            _ => Err(malformed("restore answered with an unknown word")),
        }
    }
}
