//! One transaction, and what its refusal says.

use std::time::Duration;

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError,
    types::{CancellationReason, TransactWriteItem},
};

use super::{Item, Ledger};
use crate::{aws, error::Error};

/// The outcome of a transaction.
pub(super) enum Transacted {
    /// All of it happened.
    Done,
    /// None of it happened. One reason an action, in their order.
    Refused(Vec<Refusal>),
}

/// Why an action stopped its transaction.
pub(super) enum Refusal {
    /// It did not: another one did.
    None,
    /// Its condition does not hold, for this item.
    Condition(Item),
    /// Another transaction was on the same item, or there was no capacity: it may go through later.
    Busy,
}

impl Ledger {
    /// Sends a transaction. The SDK gives every call a token of its own, so its retries after a lost answer cannot apply
    /// it twice; a later call with the same actions is held off by their conditions.
    pub(super) async fn transact(
        &self,
        actions: Vec<TransactWriteItem>,
    ) -> Result<Transacted, Error> {
        let answer = self
            .aws
            .dynamodb()
            .await
            .transact_write_items()
            .set_transact_items(Some(actions))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(Transacted::Done),
            Err(error) => {
                if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                    error.as_service_error()
                {
                    return cancelled
                        .cancellation_reasons()
                        .iter()
                        .map(refusal)
                        .collect::<Result<_, _>>()
                        .map(Transacted::Refused);
                }
                Err(aws::failed("TransactWriteItems")(error))
            }
        }
    }
}

fn refusal(reason: &CancellationReason) -> Result<Refusal, Error> {
    match reason.code() {
        None | Some("None") => Ok(Refusal::None),
        Some("ConditionalCheckFailed") => Ok(Refusal::Condition(
            reason.item().cloned().unwrap_or_default(),
        )),
        Some("TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError") => {
            Ok(Refusal::Busy)
        }
        Some(code) => Err(Error::Corrupt(format!(
            "a transaction was cancelled with {code}"
        ))),
    }
}

/// Waits before try number `attempt + 1` of a transaction that lost a race: 5 ms doubling, with full jitter, so that the
/// racers part.
pub(super) async fn back_off(attempt: u32) {
    let ceiling = 5_u64 << attempt.min(8);
    tokio::time::sleep(Duration::from_millis(fastrand::u64(1..=ceiling))).await;
}
