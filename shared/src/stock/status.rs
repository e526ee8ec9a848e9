//! Reading the gate, without changing it.

use std::collections::BTreeMap;

use redis::RedisError;

use super::{Gate, Reservation, Source, malformed, number};
use crate::{
    clock::Timestamp,
    id::ProductId,
    order::{Line, OrderId},
};

/// Fields that one step of reading all holds looks at, about.
const SCAN_COUNT: usize = 1_000;

/// What the gate knows of a product at a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateStock {
    /// Units free. Negative if the ledger took more than were free: nothing is sold before they are made good.
    pub left: i64,
    /// Units in unsettled orders: what is granted, and neither left nor sold.
    pub held: i64,
    /// Units granted, as far as the gate knows; less what is withdrawn for a move under way.
    pub granted: i64,
    /// Grows with every change.
    pub version: u64,
}

/// An order's hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldState {
    /// What it holds, or held.
    pub reservation: Reservation,
    /// Who ordered; `-` if the hold is a tombstone of an order the gate does not know.
    pub viewer: String,
    /// The revision of the ledger's order that the gate follows; 0 if it has not heard of one.
    pub revision: u64,
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
            reads.hmget(self.keys.gate(source), &stock_fields(product));
        }
        let records: Vec<StockRecord> = self.redis.send(&reads).await?;
        records.iter().map(parse_record).collect()
    }

    /// What the gate knows of each of `products` at `source`; `None` where it knows nothing.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn stocks(
        &self,
        source: &Source,
        products: &[&ProductId],
    ) -> Result<Vec<Option<GateStock>>, RedisError> {
        let mut stocks = Vec::with_capacity(products.len());
        let gate = self.keys.gate(source);
        for products in products.chunks(SCAN_COUNT) {
            let mut reads = redis::pipe();
            for product in products {
                reads.hmget(&gate, &stock_fields(product));
            }
            let records: Vec<StockRecord> = self.redis.send(&reads).await?;
            for record in &records {
                stocks.push(parse_record(record)?);
            }
        }
        Ok(stocks)
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
        record.as_deref().map(parse_hold).transpose()
    }

    /// All open holds of `source`. They are read in steps, so an order that is taken or settled meanwhile may be among them
    /// or not.
    ///
    /// # Errors
    /// Redis cannot be reached, or did not answer in time.
    pub async fn holds(&self, source: &Source) -> Result<Vec<(OrderId, HoldState)>, RedisError> {
        // A hash that is resized during the reading names a field twice.
        let mut holds = BTreeMap::new();
        let mut cursor = 0;
        loop {
            let mut step = redis::pipe();
            step.cmd("HSCAN")
                .arg(self.keys.gate(source))
                .arg(cursor)
                .arg("MATCH")
                .arg("hold:*")
                .arg("COUNT")
                .arg(SCAN_COUNT);
            let ((next, records),): ((u64, Vec<(String, String)>),) =
                self.redis.send(&step).await?;
            for (field, record) in records {
                let hold = parse_hold(&record)?;
                if hold.reservation.open {
                    let order = field
                        .strip_prefix("hold:")
                        .and_then(|order| order.parse().ok())
                        .ok_or_else(|| malformed("a hold is of no order"))?;
                    holds.insert(order, hold);
                }
            }
            if next == 0 {
                return Ok(holds.into_iter().collect());
            }
            cursor = next;
        }
    }
}

/// Reads a `hold:<order>` record.
pub(super) fn parse_hold(record: &str) -> Result<HoldState, RedisError> {
    let mut words = record.split(' ');
    let open = matches!(words.next(), Some("open" | "kept"));
    let revision = number(&mut words)?;
    let deadline = Timestamp::from_millis(number(&mut words)?);
    let accepted_at = Timestamp::from_millis(number(&mut words)?);
    let _fingerprint = words.next();
    let viewer = words
        .next()
        .ok_or_else(|| malformed("a hold names no viewer"))?
        .to_owned();
    let mut lines = Vec::new();
    while let Some(product) = words.next() {
        lines.push(Line {
            product_id: product
                .parse()
                .map_err(|_| malformed("a hold names no product"))?,
            quantity: u32::try_from(number(&mut words)?)
                .map_err(|_| malformed("a hold is too large"))?,
            unit_price: number(&mut words)?,
        });
    }
    Ok(HoldState {
        reservation: Reservation {
            accepted_at,
            deadline,
            lines,
            open,
        },
        viewer,
        revision,
    })
}

/// `stock`, `granted` and `sold` of a product.
type StockRecord = [Option<String>; 3];

fn stock_fields(product: &ProductId) -> [String; 3] {
    ["stock", "granted", "sold"].map(|field| format!("{field}:{product}"))
}

fn parse_record(record: &StockRecord) -> Result<Option<GateStock>, RedisError> {
    let [Some(stock), Some(granted), Some(sold)] = record else {
        return Ok(None);
    };
    let (left, version) = parse_stock(stock)?;
    let granted = signed(granted)?;
    Ok(Some(GateStock {
        left,
        held: granted - left - signed(sold)?,
        granted,
        version,
    }))
}

fn signed(record: &str) -> Result<i64, RedisError> {
    i64::try_from(number(&mut record.split(' '))?).map_err(|_| malformed("too many units"))
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
