//! A gate as `shared/src/stock/mod.rs` documents it: one product on air, with a limit for each viewer.

use crate::{Result, redis::Client};

/// The shop.
pub const SHOP: &str = "bench";
/// The broadcast.
pub const BROADCAST: &str = "b1";
/// The product.
pub const PRODUCT: &str = "sku-1";
/// Hash: the gate of the broadcast.
pub const GATE: &str = "{bench}:gate:live:b1";
/// List: the orders that hold units.
pub const DEADLINES: &str = "{bench}:deadlines:live:b1";
/// Sorted set: the holds that got another deadline.
pub const EXTENDED: &str = "{bench}:extended:live:b1";
/// The script that is measured.
pub const RESERVE: &str = include_str!("../../../shared/src/stock/reserve.lua");

/// Empties Redis, and opens a gate with so many units.
pub fn open(redis: &mut Client, units: u64) -> Result<()> {
    // Before the clock starts, and not in a thread of Redis that would still be at it then.
    redis.ask(&["FLUSHALL", "SYNC"])?;
    redis.ask(&[
        "HSET",
        GATE,
        &format!("stock:{PRODUCT}"),
        &format!("{units} 1"),
        &format!("granted:{PRODUCT}"),
        &format!("{units} 1"),
        &format!("sold:{PRODUCT}"),
        "0",
        &format!("air:{PRODUCT}"),
        "39000 2 0 9999999999999",
    ])?;
    Ok(())
}

/// Units free.
pub fn left(redis: &mut Client) -> Result<u64> {
    let stock = redis.ask(&["HGET", GATE, &format!("stock:{PRODUCT}")])?;
    match stock.split(' ').next().map(str::parse) {
        Some(Ok(left)) => Ok(left),
        _ => Err(format!("the gate says {stock:?}").into()),
    }
}
