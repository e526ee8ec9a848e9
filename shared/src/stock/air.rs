//! `air`: the terms of a product, the newest change of them.

use std::sync::LazyLock;

use redis::{RedisError, Script};

use super::{Gate, Source, Terms, malformed, number, parse_stock};
use crate::id::ProductId;

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("air.lua")));

impl Gate {
    /// Lets `product` sell at `terms`, which are its change number `change`. Returns whether they are the newest.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time; asking again is safe.
    pub async fn air(
        &self,
        source: &Source,
        product: &ProductId,
        terms: &Terms,
        change: u64,
    ) -> Result<bool, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.arg(product.as_str()).arg(change).arg(terms.encode());
        let newest: u8 = self.redis.run(&call).await?;
        Ok(newest == 1)
    }

    /// Units of `source` that orders have, settled or not: what it was granted and is not free; 0 if the gate does not know
    /// the product.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn spent(&self, source: &Source, product: &ProductId) -> Result<u64, RedisError> {
        let mut read = redis::pipe();
        read.hmget(
            self.keys.gate(source),
            &[format!("stock:{product}"), format!("granted:{product}")],
        );
        let ([stock, granted],): ([Option<String>; 2],) = self.redis.send(&read).await?;
        let (Some(stock), Some(granted)) = (stock, granted) else {
            return Ok(0);
        };
        let (left, _version) = parse_stock(&stock)?;
        let granted = number(&mut granted.split(' '))?;
        granted
            .checked_add_signed(left.saturating_neg())
            .ok_or_else(|| malformed("more is free than was granted"))
    }
}
