//! Reading the gate, without changing it.

use redis::RedisError;

use super::{Gate, Reservation, Source, malformed, number, reserve::parse_hold};
use crate::{id::ProductId, order::OrderId};

/// What the gate knows of a product at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateStock {
    /// Units free.
    pub left: u64,
    /// Units in unsettled orders.
    pub held: u64,
    /// Grows with every change.
    pub version: u64,
}

/// An order's hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldState {
    /// What it holds, or held.
    pub reservation: Reservation,
    /// Who ordered.
    pub viewer: String,
}

impl Gate {
    /// What the gate knows of `product` at each source; `None` where it knows nothing.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn stock(
        &self,
        product: &ProductId,
        sources: &[&Source],
    ) -> Result<Vec<Option<GateStock>>, RedisError> {
        if sources.is_empty() {
            return Ok(Vec::new());
        }
        let fields = [
            format!("stock:{product}"),
            format!("granted:{product}"),
            format!("sold:{product}"),
        ];
        let mut reads = redis::pipe();
        for source in sources {
            reads.hmget(self.keys.gate(source), &fields);
        }
        let records: Vec<[Option<String>; 3]> = self.redis.send(&reads).await?;
        records
            .iter()
            .map(|record| {
                let [Some(stock), Some(granted), Some(sold)] = record else {
                    return Ok(None);
                };
                let (left, version) = parse_stock(stock)?;
                let granted = number(&mut granted.split(' '))?;
                let held = i128::from(granted)
                    - i128::from(left)
                    - i128::from(number(&mut sold.split(' '))?);
                let [left, held] =
                    [i128::from(left), held].map(|units| u64::try_from(units).unwrap_or(0));
                Ok(Some(GateStock {
                    left,
                    held,
                    version,
                }))
            })
            .collect()
    }

    /// The hold of `order`, open or settled; `None` if the gate never took it, or forgot.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn hold(
        &self,
        source: &Source,
        order: &OrderId,
    ) -> Result<Option<HoldState>, RedisError> {
        let mut read = redis::pipe();
        read.hget(self.keys.gate(source), format!("hold:{order}"));
        let (record,): (Option<String>,) = self.redis.send(&read).await?;
        record
            .map(|record| {
                let viewer = record
                    .split(' ')
                    .nth(4)
                    .ok_or_else(|| malformed("a hold names no viewer"))?
                    .to_owned();
                Ok(HoldState {
                    reservation: parse_hold(&record)?,
                    viewer,
                })
            })
            .transpose()
    }
}

/// Reads a `stock:<product>` record: units free, and the version. A gate that followed a smaller grant may owe units; then
/// the first is negative.
pub(crate) fn parse_stock(record: &str) -> Result<(i64, u64), RedisError> {
    let mut words = record.split(' ');
    let left = words
        .next()
        .and_then(|word| word.parse().ok())
        .ok_or_else(|| malformed("no units left"))?;
    Ok((left, number(&mut words)?))
}
