//! `import`: what channels have sold enters the ledger, once a line.
//!
//! The sale happened at the marketplace, so it is counted whether the units are there or not: first from the listing's own source,
//! then from the pool, and at last from the pool below zero. A line that took units below zero is oversold, and says by how many.
//! What is given back goes back in the opposite order, so that a debt is paid first.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{
    Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use serde::{Deserialize, Serialize};

use super::{
    Item, Ledger, MAX_TRIES, StockRow, TraceEntry, stock_key, text,
    transact::{Refusal, Transacted, back_off},
    units,
};
use crate::{
    channel::{Handle, ItemId, LineState},
    clock::Timestamp,
    error::Error,
    id::ProductId,
    stock::Source,
};

/// Lines that one transaction enters: with two actions for every row they may want, it stays below DynamoDB's hundred.
const LINES_A_TRANSACTION: usize = 30;

/// A line as it is to enter the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewLine {
    /// Which channel sold it.
    pub channel: String,
    /// The channel's key of it.
    pub key: String,
    /// The channel's order.
    pub order_no: String,
    /// How the channel's port names it.
    pub handle: Handle,
    /// What the channel calls the product.
    pub item: ItemId,
    /// The product.
    pub product_id: ProductId,
    /// Where its listing sells from.
    pub source: Source,
    /// Units bought.
    pub ordered: u32,
    /// Units of these that are cancelled already.
    pub cancelled: u32,
    /// How far it is at the channel.
    pub state: LineState,
    /// Price of one unit, in won.
    pub unit_price: u64,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// The channel's payload.
    pub raw: String,
}

/// Units taken from a source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// From which.
    pub source: Source,
    /// How many.
    pub units: u32,
}

/// A line in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineRecord {
    /// Channel and key: see [`line_key`].
    pub pk: String,
    /// Grows by one with every change.
    pub revision: u64,
    /// Which channel sold it.
    pub channel: String,
    /// The channel's key of it.
    pub key: String,
    /// The channel's order.
    pub order_no: String,
    /// How the channel's port names it.
    pub handle: Handle,
    /// What the channel calls the product.
    pub item: ItemId,
    /// The product.
    pub product_id: ProductId,
    /// Units bought.
    pub ordered: u32,
    /// Units of these that were given back.
    pub cancelled: u32,
    /// Where its units are counted, first taken first: `ordered - cancelled` in all.
    pub taken: Vec<Taken>,
    /// Units of these that were not there when it came.
    pub oversold: u32,
    /// How far it was at the channel when it was looked at last.
    pub state: LineState,
    /// Price of one unit, in won.
    pub unit_price: u64,
    /// When it was paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Timestamp>,
    /// When it came into the ledger.
    pub imported_at: Timestamp,
    /// The channel's payload. It has personal data in it.
    pub raw: String,
}

/// What became of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Imported {
    /// It is in the ledger now.
    Now(LineRecord),
    /// It was already; this is what is there.
    Already(LineRecord),
}

/// The key of a line in the orders table.
#[must_use]
pub fn line_key(channel: &str, key: &str) -> String {
    format!("line#{channel}#{key}")
}

impl LineRecord {
    fn new(line: &NewLine, taken: Vec<Taken>, oversold: u32, now: Timestamp) -> Self {
        Self {
            pk: line_key(&line.channel, &line.key),
            revision: 1,
            channel: line.channel.clone(),
            key: line.key.clone(),
            order_no: line.order_no.clone(),
            handle: line.handle.clone(),
            item: line.item.clone(),
            product_id: line.product_id.clone(),
            ordered: line.ordered,
            cancelled: line.cancelled,
            taken,
            oversold,
            state: line.state,
            unit_price: line.unit_price,
            paid_at: line.paid_at,
            imported_at: now,
            raw: line.raw.clone(),
        }
    }

    fn to_item(&self) -> Result<Item, Error> {
        serde_dynamo::to_item(self).map_err(|error| Error::Corrupt(error.to_string()))
    }

    fn from_item(item: Item) -> Result<Self, Error> {
        serde_dynamo::from_item(item).map_err(|error| Error::Corrupt(error.to_string()))
    }
}

impl NewLine {
    const fn wanted(&self) -> u32 {
        self.ordered.saturating_sub(self.cancelled)
    }
}

impl Ledger {
    /// Enters lines, which differ from one another. One answer a line, in their order; a line whose outcome is not known has an
    /// error and may be entered again.
    pub async fn import(&self, lines: &[NewLine], now: Timestamp) -> Vec<Result<Imported, Error>> {
        let mut answers = Vec::with_capacity(lines.len());
        for chunk in lines.chunks(LINES_A_TRANSACTION) {
            match self.import_together(chunk, now).await {
                Ok(Some(imported)) => answers.extend(imported.into_iter().map(Ok)),
                // One of them is there, or its units are not: each by itself.
                Ok(None) => {
                    for line in chunk {
                        answers.push(self.import_line(line, now).await);
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, lines = chunk.len(), "importing lines failed; the next pull brings them again");
                    answers.push(Err(error));
                    answers.extend(chunk.iter().skip(1).map(|_| Err(Error::Conflict)));
                }
            }
        }
        answers
    }

    /// A line; `None` if it is not in the ledger.
    ///
    /// # Errors
    /// DynamoDB did not answer, or the item cannot be read.
    pub async fn line(&self, channel: &str, key: &str) -> Result<Option<LineRecord>, Error> {
        Ok(self
            .lines(channel, std::slice::from_ref(&key.to_owned()))
            .await?
            .pop())
    }

    /// Those of these lines of a channel that are in the ledger.
    ///
    /// # Errors
    /// DynamoDB did not answer, or an item cannot be read.
    pub async fn lines(&self, channel: &str, keys: &[String]) -> Result<Vec<LineRecord>, Error> {
        let keys = keys
            .iter()
            .map(|key| Item::from([("pk".to_owned(), text(line_key(channel, key)))]))
            .collect();
        let items = self.get_many(&self.orders_table, keys).await?;
        items.into_iter().map(LineRecord::from_item).collect()
    }

    /// Brings a line from what was read to how the channel has it now: units cancelled there since are given back. Returns what it is
    /// then, or, if somebody else changed it first, what they made of it.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so: read the line again.
    pub async fn follow_line(
        &self,
        read: &LineRecord,
        state: LineState,
        cancelled: u32,
        now: Timestamp,
    ) -> Result<LineRecord, Error> {
        // What was given back once is not taken again: a channel that says less later is late.
        let cancelled = cancelled.clamp(read.cancelled, read.ordered);
        let (taken, returned) = give_back(&read.taken, cancelled - read.cancelled);
        let next = LineRecord {
            revision: read.revision + 1,
            state,
            cancelled,
            taken,
            ..read.clone()
        };
        for attempt in 0..MAX_TRIES {
            let put = Put::builder()
                .table_name(&self.orders_table)
                .set_item(Some(next.to_item()?))
                .condition_expression("revision = :revision")
                .expression_attribute_values(":revision", units(read.revision))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                )
                .build()
                .map_err(|error| Error::Corrupt(error.to_string()))?;
            let mut actions = vec![TransactWriteItem::builder().put(put).build()];
            for taken in &returned {
                let count = u64::from(taken.units);
                actions.push(self.take_back(&read.product_id, &taken.source, count)?);
                let cause = format!("cancelled at {}: {}", read.channel, read.key);
                let entry = channel_entry(now, &taken.source, -i64::from(taken.units), cause);
                actions.push(self.trace_action(&read.product_id, &entry)?);
            }
            let reasons = match self.transact(actions).await? {
                Transacted::Done => return Ok(next),
                Transacted::Refused(reasons) => reasons,
            };
            if let Some(Refusal::Condition(item)) = reasons.into_iter().next() {
                return LineRecord::from_item(item);
            }
            back_off(attempt).await;
        }
        Err(Error::Conflict)
    }

    /// Enters lines in one transaction if all are new and their sources have the units; `None` if not.
    async fn import_together(
        &self,
        lines: &[NewLine],
        now: Timestamp,
    ) -> Result<Option<Vec<Imported>>, Error> {
        let records: Vec<LineRecord> = lines
            .iter()
            .map(|line| {
                let taken = taken([(&line.source, line.wanted())]);
                LineRecord::new(line, taken, 0, now)
            })
            .collect();
        let mut demand = BTreeMap::<(&ProductId, &Source), (u64, Vec<&str>)>::new();
        for line in lines.iter().filter(|line| line.wanted() > 0) {
            let (count, keys) = demand.entry((&line.product_id, &line.source)).or_default();
            *count += u64::from(line.wanted());
            keys.push(&line.key);
        }
        for attempt in 0..MAX_TRIES {
            let mut actions = Vec::with_capacity(records.len() + 2 * demand.len());
            for record in &records {
                actions.push(self.put_line(record)?);
            }
            for ((product, source), (count, keys)) in &demand {
                actions.push(self.sell(product, source, *count)?);
                let sold =
                    i64::try_from(*count).map_err(|_| Error::Corrupt("a line".to_owned()))?;
                let cause = format!("sold at {}: {}", lines[0].channel, keys.join(" "));
                actions.push(self.trace_action(product, &channel_entry(now, source, sold, cause))?);
            }
            match self.transact(actions).await? {
                Transacted::Done => {
                    return Ok(Some(records.into_iter().map(Imported::Now).collect()));
                }
                Transacted::Refused(reasons) => {
                    let refused = |reason: &Refusal| matches!(reason, Refusal::Condition(_));
                    if reasons.iter().any(refused) {
                        return Ok(None);
                    }
                    back_off(attempt).await;
                }
            }
        }
        Err(Error::Conflict)
    }

    /// Enters one line, and takes its units whether they are there or not.
    async fn import_line(&self, line: &NewLine, now: Timestamp) -> Result<Imported, Error> {
        for attempt in 0..MAX_TRIES {
            let own = self.stock_row(&line.product_id, &line.source).await?;
            let pool = if line.source == Source::Pool {
                None
            } else {
                self.stock_row(&line.product_id, &Source::Pool).await?
            };
            let (wanted, has) = (line.wanted(), |row: &Option<StockRow>| {
                let unsold = row.as_ref().map_or(0, |row| row.unsold);
                u32::try_from(unsold.max(0)).unwrap_or(u32::MAX)
            });
            let from_own = wanted.min(has(&own));
            let from_pool = if line.source == Source::Pool {
                0
            } else {
                (wanted - from_own).min(has(&pool))
            };
            let oversold = wanted - from_own - from_pool;
            let (own_units, pool_units) = if line.source == Source::Pool {
                (wanted, 0)
            } else {
                (from_own, from_pool + oversold)
            };
            let record = LineRecord::new(
                line,
                taken([(&line.source, own_units), (&Source::Pool, pool_units)]),
                oversold,
                now,
            );
            let mut actions = vec![self.put_line(&record)?];
            for (source, row, count) in [
                (&line.source, &own, own_units),
                (&Source::Pool, &pool, pool_units),
            ] {
                if count > 0 {
                    actions.push(self.oversell(line, source, row.as_ref(), count)?);
                    let short = if oversold > 0 { ", oversold" } else { "" };
                    let cause = format!("sold at {}: {}{short}", line.channel, line.key);
                    let entry = channel_entry(now, source, i64::from(count), cause);
                    actions.push(self.trace_action(&line.product_id, &entry)?);
                }
            }
            match self.transact(actions).await? {
                Transacted::Done => return Ok(Imported::Now(record)),
                Transacted::Refused(reasons) => {
                    if let Some(Refusal::Condition(item)) = reasons.into_iter().next() {
                        return LineRecord::from_item(item).map(Imported::Already);
                    }
                    back_off(attempt).await;
                }
            }
        }
        Err(Error::Conflict)
    }

    fn put_line(&self, record: &LineRecord) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.orders_table)
            .set_item(Some(record.to_item()?))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// Counts units as sold if the row is still as it was read, whether it has them or not.
    fn oversell(
        &self,
        line: &NewLine,
        source: &Source,
        read: Option<&StockRow>,
        count: u32,
    ) -> Result<TransactWriteItem, Error> {
        let mut update = Update::builder()
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(&line.product_id, source)))
            .update_expression(
                "SET granted = if_not_exists(granted, :none), version = if_not_exists(version, :none), \
                 sold = if_not_exists(sold, :none) + :units, unsold = if_not_exists(unsold, :none) - :units, kind = :kind ADD revision :one",
            )
            .expression_attribute_values(":units", units(u64::from(count)))
            .expression_attribute_values(":none", units(0))
            .expression_attribute_values(":one", units(1))
            .expression_attribute_values(":kind", text("source"));
        update = match read {
            None => update.condition_expression("attribute_not_exists(pk)"),
            Some(row) => update
                .condition_expression("revision = :revision")
                .expression_attribute_values(":revision", units(row.revision)),
        };
        let update = update
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

/// What is taken where, without the sources nothing is taken from.
fn taken<const N: usize>(parts: [(&Source, u32); N]) -> Vec<Taken> {
    let parts = parts.into_iter().filter(|(_, units)| *units > 0);
    parts
        .map(|(source, units)| Taken {
            source: source.clone(),
            units,
        })
        .collect()
}

/// Gives `count` units back, last taken first. Returns what stays taken, and what goes back.
fn give_back(taken: &[Taken], count: u32) -> (Vec<Taken>, Vec<Taken>) {
    let (mut kept, mut returned, mut left) = (Vec::new(), Vec::new(), count);
    for part in taken.iter().rev() {
        let back = part.units.min(left);
        left -= back;
        for (list, units) in [(&mut kept, part.units - back), (&mut returned, back)] {
            if units > 0 {
                list.push(Taken {
                    source: part.source.clone(),
                    units,
                });
            }
        }
    }
    kept.reverse();
    (kept, returned)
}

fn channel_entry(at: Timestamp, source: &Source, sold: i64, cause: String) -> TraceEntry {
    TraceEntry {
        at,
        source: source.clone(),
        granted: 0,
        sold,
        repaired: 0,
        cause,
        by: "channels".to_owned(),
        orders: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_go_back_where_they_were_taken_last() {
        let fixed = Source::Channel("coupang".to_owned());
        let was = taken([(&fixed, 3), (&Source::Pool, 2)]);
        assert_eq!(
            give_back(&was, 1),
            (
                taken([(&fixed, 3), (&Source::Pool, 1)]),
                taken([(&Source::Pool, 1)])
            )
        );
        assert_eq!(
            give_back(&was, 4),
            (
                taken([(&fixed, 1)]),
                taken([(&Source::Pool, 2), (&fixed, 2)])
            )
        );
        assert_eq!(give_back(&was, 9).0, []);
    }
}
