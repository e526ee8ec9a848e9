//! `confirm` and `fail`: a reserved order gets its end, once.

use aws_sdk_dynamodb::types::{ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update};

use super::{
    Ledger, MAX_ACTIONS, MAX_TRIES, OrderRecord, stock_key, text,
    transact::{Refusal, Transacted, back_off},
    units,
};
use crate::{
    clock::Timestamp,
    error::Error,
    order::{FailureReason, OrderStatus, PaymentView},
};

impl Ledger {
    /// Makes RESERVED orders CONFIRMED, up to a hundred in one request. One answer an order, in their order: the order as it
    /// is now, which is what an earlier settlement made of it if there was one.
    pub async fn confirm(
        &self,
        orders: Vec<(OrderRecord, PaymentView)>,
        now: Timestamp,
    ) -> Vec<Result<OrderRecord, Error>> {
        let settled: Vec<OrderRecord> = orders
            .into_iter()
            .map(|(order, payment)| OrderRecord {
                status: OrderStatus::Confirmed,
                settled_at: Some(now),
                payment: Some(payment),
                ..order
            })
            .collect();
        let mut answers = Vec::with_capacity(settled.len());
        for chunk in settled.chunks(MAX_ACTIONS) {
            answers.extend(self.confirm_chunk(chunk).await);
        }
        answers
    }

    async fn confirm_chunk(&self, chunk: &[OrderRecord]) -> Vec<Result<OrderRecord, Error>> {
        let mut answers: Vec<Option<Result<OrderRecord, Error>>> =
            chunk.iter().map(|_| None).collect();
        for attempt in 0..MAX_TRIES {
            let open: Vec<usize> = (0..chunk.len())
                .filter(|&index| answers[index].is_none())
                .collect();
            if open.is_empty() {
                break;
            }
            let actions: Result<Vec<_>, _> = open
                .iter()
                .map(|&index| self.settle_action(&chunk[index]))
                .collect();
            let outcome = match actions {
                Ok(actions) => self.transact(actions).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(Transacted::Done) => {
                    for index in open {
                        answers[index] = Some(Ok(chunk[index].clone()));
                    }
                }
                Ok(Transacted::Refused(reasons)) => {
                    let mut dropped = false;
                    for (index, reason) in open.into_iter().zip(reasons) {
                        if let Refusal::Condition(item) = reason {
                            answers[index] = Some(OrderRecord::from_item(item));
                            dropped = true;
                        }
                    }
                    if !dropped {
                        back_off(attempt).await;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = %error, orders = open.len(), "confirming failed; the queue brings the orders again");
                    break;
                }
            }
        }
        answers
            .into_iter()
            .map(|answer| answer.unwrap_or(Err(Error::Conflict)))
            .collect()
    }

    /// Makes a RESERVED order FAILED and gives its units back to their rows, in one transaction. The answer is the order as
    /// it is now, which is what an earlier settlement made of it if there was one.
    ///
    /// # Errors
    /// DynamoDB did not do it, or did not say so.
    pub async fn fail(
        &self,
        order: OrderRecord,
        reason: FailureReason,
        now: Timestamp,
    ) -> Result<OrderRecord, Error> {
        let source = order.source();
        let settled = OrderRecord {
            status: OrderStatus::Failed,
            reason: Some(reason),
            settled_at: Some(now),
            ..order
        };
        for attempt in 0..MAX_TRIES {
            let mut actions = vec![self.settle_action(&settled)?];
            for line in &settled.lines {
                let update = Update::builder()
                    .table_name(&self.stock_table)
                    .set_key(Some(stock_key(&line.product_id, &source)))
                    .update_expression("SET sold = sold - :units, unsold = unsold + :units")
                    .condition_expression("sold >= :units")
                    .expression_attribute_values(":units", units(u64::from(line.quantity)))
                    .build()
                    .map_err(|error| Error::Corrupt(error.to_string()))?;
                actions.push(TransactWriteItem::builder().update(update).build());
            }
            match self.transact(actions).await? {
                Transacted::Done => return Ok(settled),
                Transacted::Refused(reasons) => match reasons.into_iter().next() {
                    Some(Refusal::Condition(item)) => return OrderRecord::from_item(item),
                    Some(Refusal::Busy | Refusal::None) | None => back_off(attempt).await,
                },
            }
        }
        Err(Error::Conflict)
    }

    fn settle_action(&self, settled: &OrderRecord) -> Result<TransactWriteItem, Error> {
        let item = settled.to_item()?;
        let mut update = Update::builder()
            .table_name(&self.orders_table)
            .key("pk", text(&settled.order_id))
            .condition_expression("#status = :reserved")
            .expression_attribute_names("#status", "status")
            .expression_attribute_values(":reserved", text("reserved"))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let mut sets = Vec::new();
        for (attribute, value) in ["status", "reason", "settled_at", "payment"]
            .iter()
            .filter_map(|name| item.get_key_value(*name))
        {
            sets.push(format!("#{attribute} = :{attribute}"));
            update = update
                .expression_attribute_names(format!("#{attribute}"), attribute)
                .expression_attribute_values(format!(":{attribute}"), value.clone());
        }
        let update = update
            .update_expression(format!("SET {}", sets.join(", ")))
            .build()
            .map_err(|error| Error::Corrupt(error.to_string()))?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
