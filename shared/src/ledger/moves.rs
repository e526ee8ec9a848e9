//! `move`: units come into the pool, leave it, or go from one source to another. Each move is written down with its cause,
//! under an id that makes a repeated request find itself.

use aws_sdk_dynamodb::types::{
    Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};

use super::{
    Item, Ledger, MAX_TRIES, StockRow, TraceEntry, stock_key, text,
    transact::{Refusal, Transacted, back_off},
    units,
};
use crate::{aws, clock::Timestamp, error::Error, id::ProductId, stock::Source};

/// A move of units.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its id: the same request has the same one.
    pub id: String,
    /// Of what.
    pub product_id: ProductId,
    /// Where the units come from, and the version of that row the caller has read; `None` is from outside.
    pub from: Option<(Source, Option<u64>)>,
    /// Where they go; `None` is out of the shop.
    pub to: Option<Source>,
    /// How many.
    pub units: u64,
    /// Why, for a person.
    pub cause: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Tells this request from another one with the same id.
    pub fingerprint: String,
}

/// The outcome of a move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moved {
    /// The units are moved.
    Now,
    /// The same request had moved units before; so many.
    Already(u64),
    /// The same id was used for another request.
    Conflict,
    /// The source has not so many unsold; with how many it has.
    Short(u64),
    /// The row the units come from has changed since the caller read it.
    Stale,
}

impl Change {
    fn ends(&self) -> impl Iterator<Item = (&Source, i64)> {
        let from = self.from.iter().map(|(source, _)| (source, -1));
        from.chain(self.to.iter().map(|source| (source, 1)))
    }

    fn entry(&self, source: &Source, sign: i64) -> Result<TraceEntry, Error> {
        let units = i64::try_from(self.units).map_err(|_| Error::Corrupt("a move".to_owned()))?;
        Ok(TraceEntry {
            at: self.at,
            source: source.clone(),
            granted: sign * units,
            sold: 0,
            repaired: 0,
            cause: self.cause.clone(),
            by: self.by.clone(),
            orders: Vec::new(),
        })
    }
}

impl Ledger {
    /// Moves units, once.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so; asking again with the same id is safe.
    pub async fn move_units(&self, change: &Change) -> Result<Moved, Error> {
        for attempt in 0..MAX_TRIES {
            let mut actions = vec![self.write_down(change)?];
            if let Some((source, version)) = &change.from {
                actions.push(self.take(change, source, *version)?);
            }
            if let Some(source) = &change.to {
                actions.push(self.put(change, source)?);
            }
            for (source, sign) in change.ends() {
                actions.push(self.trace_action(&change.product_id, &change.entry(source, sign)?)?);
            }
            let Transacted::Refused(reasons) = self.transact(actions).await? else {
                return Ok(Moved::Now);
            };
            let mut reasons = reasons.into_iter();
            match (reasons.next(), reasons.next()) {
                (Some(Refusal::Condition(earlier)), _) => {
                    return Ok(same_request(&earlier, &change.fingerprint));
                }
                (_, Some(Refusal::Condition(row))) => {
                    let row = StockRow::from_item(&row).ok();
                    let expected = change.from.as_ref().and_then(|(_, version)| *version);
                    let stale =
                        expected.is_some() && expected != row.as_ref().map(|row| row.version);
                    return Ok(if stale {
                        Moved::Stale
                    } else {
                        Moved::Short(row.map_or(0, |row| u64::try_from(row.unsold).unwrap_or(0)))
                    });
                }
                _ => back_off(attempt).await,
            }
        }
        Err(Error::Conflict)
    }

    /// Whether the request with this id has moved units of `product` already: [`Moved::Already`] with how many, or
    /// [`Moved::Conflict`] if that was another request; `None` if it has not.
    ///
    /// # Errors
    /// DynamoDB did not answer.
    pub async fn moved(
        &self,
        product: &ProductId,
        id: &str,
        fingerprint: &str,
    ) -> Result<Option<Moved>, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .get_item()
            .table_name(&self.stock_table)
            .key("pk", text(product))
            .key("sk", text(format!("change#{id}")))
            .consistent_read(true)
            .send()
            .await
            .map_err(aws::failed("GetItem change"))?;
        Ok(answer
            .item
            .map(|earlier| same_request(&earlier, fingerprint)))
    }

    fn write_down(&self, change: &Change) -> Result<TransactWriteItem, Error> {
        let mut item = Item::from([
            ("pk".to_owned(), text(&change.product_id)),
            ("sk".to_owned(), text(format!("change#{}", change.id))),
            ("units".to_owned(), units(change.units)),
            ("cause".to_owned(), text(&change.cause)),
            ("by".to_owned(), text(&change.by)),
            ("at".to_owned(), text(change.at)),
            ("fingerprint".to_owned(), text(&change.fingerprint)),
        ]);
        for (name, source) in [
            ("from", change.from.as_ref().map(|(source, _)| source)),
            ("to", change.to.as_ref()),
        ] {
            if let Some(source) = source {
                item.insert(name.to_owned(), text(source));
            }
        }
        let put = Put::builder()
            .table_name(&self.stock_table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn take(
        &self,
        change: &Change,
        source: &Source,
        version: Option<u64>,
    ) -> Result<TransactWriteItem, Error> {
        let (condition, version) = match version {
            Some(version) => (
                "unsold >= :units AND version = :version",
                Some(units(version)),
            ),
            None => ("unsold >= :units", None),
        };
        let mut update = Update::builder()
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(&change.product_id, source)))
            .update_expression("SET granted = granted - :units, unsold = unsold - :units, version = version + :one ADD revision :one")
            .condition_expression(condition)
            .expression_attribute_values(":units", units(change.units))
            .expression_attribute_values(":one", units(1))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        if let Some(version) = version {
            update = update.expression_attribute_values(":version", version);
        }
        let update = update
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn put(&self, change: &Change, source: &Source) -> Result<TransactWriteItem, Error> {
        let update = Update::builder()
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(&change.product_id, source)))
            .update_expression(
                "SET granted = if_not_exists(granted, :none) + :units, unsold = if_not_exists(unsold, :none) + :units, \
                 sold = if_not_exists(sold, :none), version = if_not_exists(version, :none) + :one, kind = :kind ADD revision :one",
            )
            .expression_attribute_values(":units", units(change.units))
            .expression_attribute_values(":one", units(1))
            .expression_attribute_values(":none", units(0))
            .expression_attribute_values(":kind", text("source"))
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}

fn same_request(earlier: &Item, fingerprint: &str) -> Moved {
    if earlier.get("fingerprint") == Some(&text(fingerprint)) {
        let moved = earlier.get("units").and_then(|units| units.as_n().ok());
        Moved::Already(moved.and_then(|units| units.parse().ok()).unwrap_or(0))
    } else {
        Moved::Conflict
    }
}
