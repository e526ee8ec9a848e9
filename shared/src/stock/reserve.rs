//! `reserve`: take units for one order, every line or none.

use std::{sync::LazyLock, time::Duration};

use redis::{RedisError, Script};

use super::{Gate, Source, malformed, number, status::parse_hold};
use crate::{
    clock::Timestamp,
    id::ProductId,
    order::{Line, OrderId, OrderRequest},
};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("reserve.lua")));

/// What an accepted order holds, as the gate recorded it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// When the order was accepted first.
    pub accepted_at: Timestamp,
    /// When the hold may be given back.
    pub deadline: Timestamp,
    /// The lines, priced by the terms of that moment.
    pub lines: Vec<Line>,
    /// Whether the order is unsettled still.
    pub open: bool,
}

/// Why nothing was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The same order id came with another request.
    Conflict,
    /// The gate does not know the product: load it from the ledger and ask again.
    Unknown(ProductId),
    /// Outside its window, paused, or closed.
    NotOnAir(ProductId),
    /// More than one viewer may have; with what the viewer may still take.
    LimitExceeded(ProductId, u64),
    /// Fewer units left than asked for.
    SoldOut {
        /// Of what.
        product: ProductId,
        /// How many are left.
        left: u64,
        /// Whether the deadline of a hold of this source has passed, so that [`Gate::expired`] may name orders to settle.
        due: bool,
    },
}

/// The answer to `reserve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reserved {
    /// The units are taken.
    Taken(Reservation),
    /// They had been taken by an earlier try of the same order. Without lines: the gate has a tombstone, and only the
    /// ledger knows what was ordered.
    Replayed(Reservation),
    /// Nothing was taken.
    Refused(Refusal),
}

impl Gate {
    /// Takes the units of `request` from `source` for `order`, and holds them for `period` from `now`.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time: then the units may be taken, and asking again tells.
    pub async fn reserve(
        &self,
        source: &Source,
        order: &OrderId,
        request: &OrderRequest,
        now: Timestamp,
        period: Duration,
    ) -> Result<Reserved, RedisError> {
        let mut call = SCRIPT.key(self.keys.gate(source));
        call.key(self.keys.deadlines(source))
            .arg(order.as_str())
            .arg(now.millis())
            .arg((now + period).millis())
            .arg(request.fingerprint())
            .arg(request.viewer.as_str());
        for (product, units) in request.lines() {
            call.arg(product.as_str()).arg(units);
        }
        let answer: String = self.redis.run(&call).await?;
        decode(&answer, request, now, period)
    }
}

fn decode(
    answer: &str,
    request: &OrderRequest,
    now: Timestamp,
    period: Duration,
) -> Result<Reserved, RedisError> {
    let (word, rest) = answer.split_once(' ').unwrap_or((answer, ""));
    let mut words = rest.split(' ');
    let mut product = || {
        let product = words.next().and_then(|product| product.parse().ok());
        product.ok_or_else(|| malformed("reserve answered without a product"))
    };
    Ok(match word {
        "reserved" => {
            let mut prices = rest.split(' ');
            let lines = request.lines().map(|(product, quantity)| {
                Ok(Line {
                    product_id: product.clone(),
                    quantity,
                    unit_price: number(&mut prices)?,
                })
            });
            let lines = lines.collect::<Result<_, RedisError>>()?;
            Reserved::Taken(Reservation {
                accepted_at: now,
                deadline: now + period,
                lines,
                open: true,
            })
        }
        "replayed" => Reserved::Replayed(parse_hold(rest)?.reservation),
        "conflict" => Reserved::Refused(Refusal::Conflict),
        "unknown" => Reserved::Refused(Refusal::Unknown(product()?)),
        "not_on_air" => Reserved::Refused(Refusal::NotOnAir(product()?)),
        "limit_exceeded" => {
            let product = product()?;
            Reserved::Refused(Refusal::LimitExceeded(product, number(&mut words)?))
        }
        // A gate that followed a smaller grant may owe units: nothing is left, whatever the sign.
        "sold_out" => {
            let product = product()?;
            Reserved::Refused(Refusal::SoldOut {
                product,
                left: number(&mut words).unwrap_or(0),
                due: words.next() == Some("1"),
            })
        }
        _ => return Err(malformed("reserve answered with an unknown word")),
    })
}
