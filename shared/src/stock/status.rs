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
        let mut reads = redis::pipe();
        for source in sources {
            reads.hget(self.keys.gate(source), format!("stock:{product}"));
        }
        let records: Vec<Option<String>> = self.redis.send(&reads).await?;
        records
            .iter()
            .map(|record| record.as_deref().map(GateStock::parse).transpose())
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

impl GateStock {
    /// Reads a `stock:<product>` record.
    pub(crate) fn parse(record: &str) -> Result<Self, RedisError> {
        let mut words = record.split(' ');
        // A gate that followed a smaller grant may owe units: nothing is free then.
        let left = words
            .next()
            .and_then(|word| word.parse::<i64>().ok())
            .ok_or_else(|| malformed("no units left"))?;
        Ok(Self {
            left: u64::try_from(left).unwrap_or(0),
            held: number(&mut words)?,
            version: number(&mut words)?,
        })
    }
}
