//! `change`: an order in the ledger goes from one state to the next, once.
//!
//! Every state has a revision. A change says which one it has read, and happens only if that is still the last: of two that
//! want to settle the same order, one does, and the other one hears what it was. Units follow the states: an order that is
//! failed gives its units back to their rows in the same transaction, one that is taken up again takes them.

use aws_sdk_dynamodb::types::{
    Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update, builders::UpdateBuilder,
};

use super::{
    Ledger, MAX_ACTIONS, MAX_TRIES, OrderRecord, TraceEntry, stock_key, text,
    transact::{Refusal, Transacted, back_off},
    units,
};
use crate::{clock::Timestamp, error::Error, id::ProductId, stock::Source};

/// What became of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changed {
    /// The order is as was wanted.
    Now(OrderRecord),
    /// Somebody else changed it first: this is what it is now.
    Overtaken(OrderRecord),
    /// There are no units for it; nothing changed.
    Short,
}

impl Changed {
    /// The order as it is now; `None` if there were no units for it.
    #[must_use]
    pub fn record(self) -> Option<OrderRecord> {
        match self {
            Self::Now(record) | Self::Overtaken(record) => Some(record),
            Self::Short => None,
        }
    }
}

impl Ledger {
    /// Brings an order from what was read to what is wanted. `cause` says why, for a person.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so: read the order again.
    pub async fn change(
        &self,
        read: &OrderRecord,
        wanted: OrderRecord,
        cause: &str,
        now: Timestamp,
    ) -> Result<Changed, Error> {
        let next = OrderRecord {
            revision: read.revision + 1,
            ..wanted
        };
        for attempt in 0..MAX_TRIES {
            let mut actions = vec![self.replace(read.revision, &next)?];
            actions.extend(self.follow_units(read, &next, cause, now)?);
            let reasons = match self.transact(actions).await? {
                Transacted::Done => return Ok(Changed::Now(next)),
                Transacted::Refused(reasons) => reasons,
            };
            let mut reasons = reasons.into_iter();
            if let Some(Refusal::Condition(item)) = reasons.next() {
                return OrderRecord::from_item(item).map(Changed::Overtaken);
            }
            if reasons.any(|reason| matches!(reason, Refusal::Condition(_))) {
                return Ok(Changed::Short);
            }
            back_off(attempt).await;
        }
        Err(Error::Conflict)
    }

    /// Brings orders from what was read to what is wanted, up to a hundred in one request. For changes that move no units.
    /// One answer an order, in their order; an order whose outcome is not known has an error.
    pub async fn change_together(
        &self,
        changes: &[(OrderRecord, OrderRecord)],
    ) -> Vec<Result<Changed, Error>> {
        let changes: Vec<(u64, OrderRecord)> = changes
            .iter()
            .map(|(read, wanted)| {
                let revision = read.revision + 1;
                (
                    read.revision,
                    OrderRecord {
                        revision,
                        ..wanted.clone()
                    },
                )
            })
            .collect();
        let mut answers = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(MAX_ACTIONS) {
            answers.extend(self.change_chunk(chunk).await);
        }
        answers
    }

    async fn change_chunk(&self, chunk: &[(u64, OrderRecord)]) -> Vec<Result<Changed, Error>> {
        let mut answers: Vec<Option<Result<Changed, Error>>> = chunk.iter().map(|_| None).collect();
        for attempt in 0..MAX_TRIES {
            let open: Vec<usize> = (0..chunk.len())
                .filter(|&index| answers[index].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            let actions: Result<Vec<_>, _> = open
                .iter()
                .map(|&index| self.replace(chunk[index].0, &chunk[index].1))
                .collect();
            let outcome = match actions {
                Ok(actions) => self.transact(actions).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Transacted::Done) => {
                    for index in open {
                        answers[index] = Some(Ok(Changed::Now(chunk[index].1.clone())));
                    }
                }
                Ok(Transacted::Refused(reasons)) => {
                    let mut dropped = false;
                    for (index, reason) in open.into_iter().zip(reasons) {
                        if let Refusal::Condition(item) = reason {
                            answers[index] =
                                Some(OrderRecord::from_item(item).map(Changed::Overtaken));
                            dropped = true;
                        }
                    }
                    if !dropped {
                        back_off(attempt).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, orders = open.len(), "changing orders failed; the queue brings them again");
                    break;
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(Error::Conflict)))
            .collect()
    }

    fn replace(&self, revision: u64, next: &OrderRecord) -> Result<TransactWriteItem, Error> {
        let put = Put::builder()
            .table_name(&self.orders_table)
            .set_item(Some(next.to_item()?))
            .condition_expression("revision = :revision")
            .expression_attribute_values(":revision", units(revision))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    /// What a change of state does to the rows the order's units are counted in.
    fn follow_units(
        &self,
        read: &OrderRecord,
        next: &OrderRecord,
        cause: &str,
        now: Timestamp,
    ) -> Result<Vec<TransactWriteItem>, Error> {
        let sign = match (read.counts(), next.counts()) {
            (true, false) => -1,
            (false, true) => 1,
            (true, true) | (false, false) => return Ok(Vec::new()),
        };
        let source = next.source();
        let mut actions = Vec::with_capacity(2 * next.lines.len());
        for line in &next.lines {
            let quantity = u64::from(line.quantity);
            actions.push(if sign > 0 {
                self.sell(&line.product_id, &source, quantity)?
            } else {
                self.take_back(&line.product_id, &source, quantity)?
            });
            let entry = TraceEntry::sale(
                now,
                &source,
                sign * i64::from(line.quantity),
                cause,
                vec![next.order_id.clone()],
            );
            actions.push(self.trace_action(&line.product_id, &entry)?);
        }
        Ok(actions)
    }

    /// Counts units as sold, if there are so many unsold. This condition is the last word on overselling.
    pub(super) fn sell(
        &self,
        product: &ProductId,
        source: &Source,
        count: u64,
    ) -> Result<TransactWriteItem, Error> {
        self.count(
            Update::builder(),
            (product, source, count),
            "SET sold = sold + :units, unsold = unsold - :units ADD revision :one",
            "unsold >= :units",
        )
    }

    /// Counts units as unsold again. A source that had come to rest has something left to sell by it, so it is listed again.
    pub(super) fn take_back(
        &self,
        product: &ProductId,
        source: &Source,
        count: u64,
    ) -> Result<TransactWriteItem, Error> {
        let update = Update::builder().expression_attribute_values(":kind", text("source"));
        self.count(
            update,
            (product, source, count),
            "SET sold = sold - :units, unsold = unsold + :units, kind = :kind ADD revision :one",
            "sold >= :units",
        )
    }

    fn count(
        &self,
        update: UpdateBuilder,
        (product, source, count): (&ProductId, &Source, u64),
        expression: &str,
        condition: &str,
    ) -> Result<TransactWriteItem, Error> {
        let update = update
            .table_name(&self.stock_table)
            .set_key(Some(stock_key(product, source)))
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_values(":units", units(count))
            .expression_attribute_values(":one", units(1))
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
