//! What a channel is told of its lines: confirmed, or cancelled by us where they were oversold. What it does not take now is kept in
//! mind, and told at the next pull.

use std::{collections::BTreeSet, time::Duration};

use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::Instant;

use super::{Pull, TOGETHER, import::Brought};
use crate::{
    catalog::Unconfirmed,
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, LineState, Marketplace, alert::Alert,
    },
    clock,
    error::Error,
    ledger::LineRecord,
};

/// How long a line is tried to be confirmed, or cancelled.
pub(super) const LONGEST_TRIED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// After so many calls for one line each that failed, the others wait for the next pull: each may have taken its time.
pub(super) const MOST_FAILURES: usize = 3;

/// Whether a line that is to be confirmed is written down as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    New,
    KeptInMind,
}

impl Pull {
    /// Lines that the channel was not told of earlier, until the run's time is over. Returns whether each was tried.
    pub(super) async fn confirm_again(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        mut tried: BTreeSet<String>,
        deadline: Instant,
    ) -> Result<Result<bool, Failure>, Error> {
        let batch = port.limits().confirm_batch.max(1);
        let mut stuck = tried.len();
        loop {
            let most = batch + stuck;
            let limit = i32::try_from(most).unwrap_or(i32::MAX);
            let entries = self.catalog.unconfirmed(channel, limit).await?;
            let found = entries.len();
            let now = clock::now();
            let old: BTreeSet<String> = (entries.iter())
                .filter(|entry| entry.since + LONGEST_TRIED <= now)
                .map(|entry| entry.key.clone())
                .collect();
            let mut keys: Vec<String> = entries.into_iter().map(|entry| entry.key).collect();
            keys.retain(|key| !tried.contains(key));
            // Those that are there once more could not be told this time either: beyond them are others.
            stuck = found - keys.len();
            if keys.is_empty() && found < most {
                return Ok(Ok(true));
            }
            if Instant::now() >= deadline {
                return Ok(Ok(false));
            }
            let (mut waiting, mut asked) = (Vec::new(), Vec::new());
            for line in self.fence.ledger.lines(channel, &keys).await? {
                let is_waiting = matches!(line.state, LineState::Paid | LineState::CancelRequested);
                if is_waiting && old.contains(&line.key) {
                    self.give_up(channel, &line).await?;
                    continue;
                }
                match line.state {
                    LineState::Paid => waiting.push(line),
                    LineState::CancelRequested => asked.push(line),
                    LineState::Confirmed | LineState::Cancelled => {
                        self.catalog.remove_unconfirmed(channel, &line.key).await?;
                    }
                }
            }
            tried.extend(keys);
            let confirmed = self
                .confirm(channel, port, waiting, Known::KeptInMind, deadline)
                .await?;
            self.hear_requests(channel, port, asked, Known::KeptInMind, deadline)
                .await?;
            if let Err(failure) = confirmed {
                return Ok(Err(failure));
            }
        }
    }

    /// A channel that never says what became of a line is asked no more: a person has to look.
    pub(super) async fn give_up(&self, channel: &str, line: &LineRecord) -> Result<(), Error> {
        let days = LONGEST_TRIED.as_secs() / 86_400;
        let alert = Alert::Unconfirmed {
            order_no: line.order_no.clone(),
            product: line.product_id.to_string(),
            cause: format!("{days}일 동안 처리되지 않음, not done for {days} days"),
        };
        self.alerts.tell(channel, &alert).await;
        self.catalog.remove_unconfirmed(channel, &line.key).await
    }

    /// Confirms lines to their channel, and cancels what of them is not there, if the shop wants that: until the channel says that it
    /// is cancelled the line is kept in mind, and then its rest is confirmed. So is what cannot be told now; a cancellation that
    /// fails holds up no confirmation, and is no failure of the pull. One that is refused is a person's, who was told that the line is
    /// oversold: it is confirmed like any other.
    ///
    /// # Errors
    /// The channel takes no confirmation now.
    pub(super) async fn confirm(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        lines: Vec<LineRecord>,
        known: Known,
        deadline: Instant,
    ) -> Result<Result<(), Failure>, Error> {
        let (oversold, lines): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .partition(|line| self.cancels_oversold && line.oversold > line.cancelled);
        let confirmed = self.confirm_all(channel, port, &lines, known).await?;
        if let Err(failure) = confirmed {
            for line in &oversold {
                self.keep_in_mind(channel, line).await?;
            }
            return Ok(Err(failure));
        }
        let (mut failures, mut refused) = (0, Vec::new());
        for line in oversold {
            if failures == MOST_FAILURES || Instant::now() >= deadline {
                self.keep_in_mind(channel, &line).await?;
                continue;
            }
            let write = CancelWrite {
                handle: line.handle.clone(),
                units: line.oversold,
                reason: CancelReason::SoldOut,
            };
            match port.cancel(&write).await {
                Ok(()) => self.keep_in_mind(channel, &line).await?,
                Err(Failure::Refused(cause)) => {
                    tracing::error!(
                        channel,
                        line.key,
                        cause,
                        "an oversold line was not cancelled"
                    );
                    refused.push(line);
                }
                Err(failure) => {
                    tracing::warn!(channel, line.key, %failure, "an oversold line is to be cancelled later");
                    failures += 1;
                    self.keep_in_mind(channel, &line).await?;
                }
            }
        }
        self.confirm_all(channel, port, &refused, known).await
    }

    async fn confirm_all(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        lines: &[LineRecord],
        known: Known,
    ) -> Result<Result<(), Failure>, Error> {
        let batch = port.limits().confirm_batch.max(1);
        let mut chunks = lines.chunks(batch);
        while let Some(chunk) = chunks.next() {
            let handles: Vec<_> = chunk.iter().map(|line| line.handle.clone()).collect();
            let answers = match port.confirm(&handles).await {
                Ok(answers) => answers,
                Err(failure) => {
                    for line in chunk.iter().chain(chunks.flatten()) {
                        self.keep_in_mind(channel, line).await?;
                    }
                    return Ok(Err(failure));
                }
            };
            for (line, answer) in chunk.iter().zip(answers) {
                self.confirmed(channel, line, answer, known).await?;
            }
        }
        Ok(Ok(()))
    }

    pub(super) async fn confirmed(
        &self,
        channel: &str,
        line: &LineRecord,
        answer: Confirmation,
        known: Known,
    ) -> Result<(), Error> {
        match answer {
            Confirmation::Done => {
                let ledger = &self.fence.ledger;
                ledger
                    .follow_line(line, LineState::Confirmed, line.cancelled, clock::now())
                    .await?;
            }
            // How much of it is cancelled, the next pull says.
            Confirmation::Cancelled => {}
            Confirmation::Later(reason) => {
                tracing::warn!(channel, line.key, reason, "a line is to be confirmed later");
                return self.keep_in_mind(channel, line).await;
            }
            Confirmation::Refused(cause) => {
                let alert = Alert::Unconfirmed {
                    order_no: line.order_no.clone(),
                    product: line.product_id.to_string(),
                    cause,
                };
                self.alerts.tell(channel, &alert).await;
            }
        }
        match known {
            Known::New => Ok(()),
            Known::KeptInMind => self.catalog.remove_unconfirmed(channel, &line.key).await,
        }
    }

    pub(super) async fn keep_in_mind(&self, channel: &str, line: &LineRecord) -> Result<(), Error> {
        let entry = Unconfirmed {
            key: line.key.clone(),
            since: clock::now(),
        };
        self.catalog.put_unconfirmed(channel, &entry).await
    }

    pub(super) async fn keep_all_in_mind(
        &self,
        channel: &str,
        brought: Brought,
    ) -> Result<(), Error> {
        stream::iter(brought.unconfirmed.into_iter().chain(brought.asked))
            .map(|line| async move { self.keep_in_mind(channel, &line).await })
            .buffer_unordered(TOGETHER)
            .try_collect()
            .await
    }
}
