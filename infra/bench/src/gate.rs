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
/// String: the time up to which accepted orders are known to have been looked at.
pub const WATERMARK: &str = "{bench}:watermark";
/// Set: products whose units moved outside the broadcasts.
pub const MOVED: &str = "{bench}:moved";
/// String: there while somebody was woken for these a moment ago.
pub const MOVED_WAKE: &str = "{bench}:moved:wake";
/// The script that is measured.
pub const RESERVE: &str = include_str!("../../../shared/src/stock/reserve.lua");

/// What `reserve.lua` is called with, keys first: one unit for an order of this viewer.
pub fn reservation(order: &str, viewer: &str) -> Vec<String> {
    let words = [
        "2",
        GATE,
        DEADLINES,
        order,
        "1700000000000",
        "1700000300000",
        "mfrggzdfmztwq2lk",
        viewer,
        PRODUCT,
        "1",
    ];
    words.map(str::to_owned).into()
}

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
    Ok(stock(redis, GATE, PRODUCT)?.left)
}

/// What a gate says of a product.
pub struct Stock {
    /// Units free.
    pub left: u64,
    /// Units in confirmed orders.
    pub sold: u64,
}

/// Reads what `gate` says of `product`.
pub fn stock(redis: &mut Client, gate: &str, product: &str) -> Result<Stock> {
    let [stock, sold] = ["stock", "sold"].map(|field| format!("{field}:{product}"));
    let answer = redis.ask(&["HMGET", gate, &stock, &sold])?;
    // <left> <version>, and in a line of its own what is sold
    let mut words = answer.split_whitespace();
    let left = words.next().and_then(|word| word.parse().ok());
    let sold = words.nth(1).and_then(|word| word.parse().ok());
    match (left, sold) {
        (Some(left), Some(sold)) => Ok(Stock { left, sold }),
        _ => Err(format!("the gate says {answer:?} of {product}").into()),
    }
}
