//! Buyers who ask to cancel what is not shipped yet.
//!
//! We agree, unless the shop decides each time itself: then, and when the channel does not take our agreement, a person hears of it.
//! Agreeing moves no units: they go back when the channel says that the line is cancelled, as with every other cancellation. A
//! request that cannot be answered now is kept in mind, and holds up nothing else of its channel.

use metrics::counter;
use tokio::time::Instant;

use super::{
    Pull,
    confirm::{Known, MOST_FAILURES},
};
use crate::{
    channel::{Failure, Marketplace, alert::Alert},
    error::Error,
    ledger::LineRecord,
};

impl Pull {
    /// Answers the requests of buyers for these lines. Returns whether one was agreed to.
    pub(super) async fn hear_requests(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        lines: Vec<LineRecord>,
        known: Known,
        deadline: Instant,
    ) -> Result<bool, Error> {
        let (mut agreed, mut failures) = (false, 0);
        for line in lines {
            if failures == MOST_FAILURES || Instant::now() >= deadline {
                self.keep_in_mind(channel, &line).await?;
                continue;
            }
            if !self.approves_cancellations {
                self.ask_a_person(channel, &line, None).await;
            } else {
                match port.approve_cancel(&line.handle).await {
                    Ok(()) => {
                        counter!("channel_cancellations_approved", "channel" => channel.to_owned())
                            .increment(1);
                        agreed = true;
                    }
                    Err(Failure::Refused(cause)) => {
                        self.ask_a_person(channel, &line, Some(cause)).await;
                    }
                    // Asked again later: agreeing twice is agreeing once.
                    Err(
                        failure @ (Failure::Later { .. }
                        | Failure::Limited { .. }
                        | Failure::Turn { .. }
                        | Failure::Unreadable { .. }
                        | Failure::Unknown(_)
                        | Failure::Credentials(_)),
                    ) => {
                        tracing::warn!(channel, line.key, %failure, "a cancellation is to be agreed to later");
                        failures += 1;
                        self.keep_in_mind(channel, &line).await?;
                        continue;
                    }
                }
            }
            if known == Known::KeptInMind {
                self.catalog.remove_unconfirmed(channel, &line.key).await?;
            }
        }
        Ok(agreed)
    }

    async fn ask_a_person(&self, channel: &str, line: &LineRecord, cause: Option<String>) {
        let alert = Alert::CancelAsked {
            order_no: line.order_no.clone(),
            product: line.product_id.to_string(),
            cause,
        };
        self.alerts.tell(channel, &alert).await;
    }
}
