//! Settling orders: into the ledger, then the payment, then confirmed or given back, then the buyer is told. Every step may
//! be repeated: a message that comes twice, or again after a crash between any two steps, finds in the ledger how far its
//! order got.
//!
//! Three rules keep money and stock together. No charge before the order is in the ledger. No order that may have been charged
//! fails before the gateway has been asked. And money that came to an order which failed all the same is owed: the ledger says
//! so before it is given back, so that nobody forgets.
//!
//! | module | about |
//! |---|---|
//! | `place` | a batch of new orders: booked, charged, written down |
//! | `take` | money that a buyer authorized, and money that came |
//! | `refund` | money that goes back |
//! | `cancel` | orders taken back |
//! | `watch` | orders that somebody has to look at |
//! | `conclude` | the gate and the buyers hear of it |

mod cancel;
mod conclude;
mod place;
mod refund;
mod take;
mod watch;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use futures::{FutureExt, StreamExt, stream};
use metrics::counter;
use tokio::time::Instant;

use super::{AcceptedOrder, FailureReason, OrderId, OrderMessage, OrderStatus, pay::PaymentTerms};
use crate::{
    broadcast::fence::Fence, clock, error::Error, ledger::OrderRecord, payment::Gateway,
    room::Rooms, stock::Source,
};

/// Payments under way at once, in one batch.
const PAYMENTS_AT_ONCE: usize = 16;
/// How long a batch waits for the gateway: the function has 30 s, and what is paid by then has to be written down.
pub const GATEWAY_PATIENCE: Duration = Duration::from_secs(20);

/// Settles orders.
pub struct Settlement {
    /// The ledger and the gate.
    pub fence: Fence,
    /// Where orders are paid.
    pub payments: Box<dyn Gateway>,
    /// Where buyers are told.
    pub rooms: Rooms,
    /// How long a buyer may take to pay.
    pub terms: PaymentTerms,
    /// How long a batch waits for the gateway; usually [`GATEWAY_PATIENCE`].
    pub gateway_patience: Duration,
}

/// What is to become of an order that cannot be brought on now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Patience {
    /// It waits for its time.
    Wait,
    /// It fails, if it is certain that it was not paid.
    GiveUp,
}

impl Settlement {
    /// Handles messages. One outcome a message, in their order; a message with an error is to be brought again.
    pub async fn settle(&self, messages: Vec<OrderMessage>) -> Vec<Result<(), Error>> {
        let deadline = Instant::now() + self.gateway_patience;
        // The queue may deliver an order twice in one batch: the first copy settles, and speaks for the others.
        let mut seen = HashSet::new();
        let placed: Vec<AcceptedOrder> = messages
            .iter()
            .filter_map(|message| match message {
                OrderMessage::Place(order) => Some(order),
                OrderMessage::Pay(_) | OrderMessage::Check { .. } | OrderMessage::Cancel { .. } => {
                    None
                }
            })
            .filter(|order| seen.insert(order.order_id.clone()))
            .cloned()
            .collect();
        let ids = placed.iter().map(|order| order.order_id.clone());
        let (results, ()) = tokio::join!(self.place(&placed, deadline), self.show_stock(&placed));
        let mut outcomes: BTreeMap<OrderId, Result<(), Error>> = ids.zip(results).collect();

        // The others ask the gateway one by one, so they do not wait for each other.
        let attended: Vec<Result<(), Error>> = stream::iter(&messages)
            .map(async |message| {
                let outcome = within(deadline, self.attend(message)).await;
                self.conclude_one(outcome).await
            })
            .buffered(PAYMENTS_AT_ONCE)
            .collect()
            .await;
        messages
            .iter()
            .zip(attended)
            .map(|(message, attended)| match message {
                OrderMessage::Place(order) => match outcomes.get_mut(&order.order_id) {
                    Some(Ok(())) => Ok(()),
                    Some(failed) => std::mem::replace(failed, Err(Error::Conflict)),
                    None => Err(Error::Conflict),
                },
                OrderMessage::Pay(_) | OrderMessage::Check { .. } | OrderMessage::Cancel { .. } => {
                    attended
                }
            })
            .collect()
    }

    /// Does what a message asks of an order that is there already.
    async fn attend(&self, message: &OrderMessage) -> Result<Option<OrderRecord>, Error> {
        match message {
            OrderMessage::Place(_) => Ok(None), // it is placed with its batch
            OrderMessage::Pay(payment) => self.pay(payment).await,
            OrderMessage::Check { order_id } => self.follow_hint(order_id).await.map(|()| None),
            OrderMessage::Cancel { order_id, by } => self.cancel(order_id, by.as_str()).await,
        }
    }

    /// Handles a message that failed too often: its order ends here, paid if it was paid after all, else failed.
    ///
    /// # Errors
    /// A store or the gateway failed; the message is to be brought again.
    pub async fn give_up(&self, message: OrderMessage) -> Result<(), Error> {
        counter!("dead_letters").increment(1);
        let order_id = message.order_id();
        tracing::error!(order.id = %order_id, "an order could not be settled; giving it up");
        let ended = match &message {
            OrderMessage::Place(order) => self.end(order).await,
            OrderMessage::Pay(_) | OrderMessage::Check { .. } | OrderMessage::Cancel { .. } => {
                if self.is_unknown(order_id).await? {
                    // Its own message never came in all this time: nothing was held, charged or promised by it.
                    return Ok(());
                }
                self.attend(&message).await
            }
        };
        self.conclude_one(ended).await
    }

    /// Ends an order that cannot be placed: failed at once if it was not booked yet, else by what the gateway says.
    async fn end(&self, order: &AcceptedOrder) -> Result<Option<OrderRecord>, Error> {
        let reason = FailureReason::Undeliverable;
        let ledger = &self.fence.ledger;
        let record = ledger.book_failed(order, reason, clock::now()).await?;
        if record.revision == 1 && record.status == OrderStatus::Failed {
            return Ok(Some(record));
        }
        self.check(&order.order_id, Patience::GiveUp).await
    }

    async fn is_unknown(&self, order: &OrderId) -> Result<bool, Error> {
        let source = Source::Live(order.broadcast());
        Ok(self.fence.ledger.order(order).await?.is_none()
            && self.fence.gate.hold(&source, order).await?.is_none())
    }

    /// Makes a change; if somebody else was faster, what they made of the order stands.
    async fn change(
        &self,
        read: &OrderRecord,
        wanted: OrderRecord,
        cause: &str,
    ) -> Result<OrderRecord, Error> {
        let now = clock::now();
        let changed = self.fence.ledger.change(read, wanted, cause, now).await?;
        changed.record().ok_or(Error::Conflict)
    }
}

async fn within<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    // Boxed: a batch holds many of these.
    tokio::time::timeout_at(deadline, work.boxed_local())
        .await
        .unwrap_or_else(|_elapsed| Err(Error::Payment("no time left in this batch".to_owned())))
}
