//! `confirm`: orders are sold, their holds end.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, malformed};
use crate::order::OrderId;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("confirm.lua")));

/// The answer to `confirm`, for one order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// It was open until now.
    Now,
    /// Its units had been given back, and are taken once more, as the ledger took them. The gate may owe units now.
    Retaken,
    /// It was sold before, or the gate follows this revision or a later one.
    Already,
    /// The gate has no such hold; nothing but a tombstone.
    Absent,
}

impl Gate {
    /// Ends the holds of `orders` as sold, each by the revision the ledger's order has. One answer an order, in their order.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn confirm(
        &self,
        source: &Source,
        orders: &[(&OrderId, u64)],
    ) -> Result<Vec<Confirmed>, RedisError> {
        if orders.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = SCRIPT.key(self.keys.gate(source));
        for (order, revision) in orders {
            call.arg(order.as_str()).arg(*revision);
        }
        let words: Vec<String> = self.redis.run(&call).await?;
        words
            .iter()
            .map(|word| match word.as_str() {
                "confirmed" => Ok(Confirmed::Now),
                "retaken" => Ok(Confirmed::Retaken),
                "already" => Ok(Confirmed::Already),
                "absent" => Ok(Confirmed::Absent),
                _ => Err(malformed("confirm answered with an unknown word")),
            })
            .collect()
    }
}
