//! `release`: the units of an order go back, exactly once.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::{id::ProductId, order::OrderId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));

/// The answer to `release`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Released {
    /// The units are back. These products are off air for good, so their units belong to the pool now.
    Now(Vec<ProductId>),
    /// They were given back before.
    Already,
    /// They are sold.
    Confirmed,
    /// The gate has no such hold.
    Absent,
}

impl Gate {
    /// Gives the units of `order` back.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn release(&self, source: &Source, order: &OrderId) -> Result<Released, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(order.as_str());
        let answer: Vec<String> = self.redis.run(&call).await?;
        match answer
            .split_first()
            .map(|(word, closed)| (word.as_str(), closed))
        {
            Some(("released", closed)) => closed
                .iter()
                .map(|product| {
                    product
                        .parse()
                        .map_err(|_| malformed("release answered without a product"))
                })
                .collect::<Result<_, _>>()
                .map(Released::Now),
            Some(("already", _)) => Ok(Released::Already),
            Some(("confirmed", _)) => Ok(Released::Confirmed),
            Some(("absent", _)) => Ok(Released::Absent),
            _ => Err(malformed("release answered with an unknown word")),
        }
    }
}
