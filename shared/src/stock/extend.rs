//! `extend`: a hold goes on until later.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, number};
use crate::{clock::Timestamp, order::OrderId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("extend.lua")));

/// The answer to `extend`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extended {
    /// The hold's deadline: the one asked for, or the one it had if that is later.
    Until(Timestamp),
    /// The order is not open any more.
    Settled,
    /// The gate has no such hold.
    Absent,
}

impl Gate {
    /// Keeps the hold of `order` until `until` at least. How often that may be done is the caller's to limit.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn extend(
        &self,
        source: &Source,
        order: &OrderId,
        until: Timestamp,
    ) -> Result<Extended, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.key(self.keys.extended(source))
            .arg(order.as_str())
            .arg(until.millis());
        let word: String = self.redis.run(&call).await?;
        match word.as_str() {
            "settled" => Ok(Extended::Settled),
            "absent" => Ok(Extended::Absent),
            deadline => number(&mut [deadline].into_iter())
                .map(|deadline| Extended::Until(Timestamp::from_millis(deadline))),
        }
    }
}
