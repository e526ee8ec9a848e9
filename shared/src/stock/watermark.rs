//! The watermark: the time up to which accepted orders are known to have been looked at.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, number};
use crate::clock::Timestamp;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("watermark.lua")));

impl Gate {
    /// The watermark of the shop; `None` if none was set, or Redis forgot it.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn watermark(&self) -> Result<Option<Timestamp>, RedisError> {
        let mut read = redis::pipe();
        read.get(self.keys.watermark());
        let (known,): (Option<String>,) = self.redis.send(&read).await?;
        known
            .map(|millis| number(&mut millis.split(' ')).map(Timestamp::from_millis))
            .transpose()
    }

    /// Raises the watermark to `to`; it never falls.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn raise_watermark(&self, to: Timestamp) -> Result<(), RedisError> {
        let mut call = SCRIPT.key(self.keys.watermark());
        call.arg(to.millis());
        let _known: String = self.redis.run(&call).await?;
        Ok(())
    }
}
