//! A sweep goes over the past days of a channel again, in the longest windows it takes, oldest first.
//!
//! A pull follows what is new. Lists that go by when an order was made do not show again what changed later (a transfer that is paid
//! after days, a claim that somebody handled in the seller's office), and a feed may have left something out. A sweep finds it: lines
//! are known by their key, so what was imported is only followed. It has a place of its own in the catalogue and a turn of its own,
//! and takes the calls that nobody else wants; when there are none, it waits for some.

use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::{
    Pull, TIME,
    quarantine::{circular, page_key},
};
use crate::{
    catalog::SweepState,
    channel::{Failure, Marketplace, Page, Window, wake::PullWake},
    clock::{self, Timestamp},
    error::Error,
};

/// The most days that one sweep goes back; no marketplace cancels what is older before it is shipped.
const MOST_DAYS: u32 = 60;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// A queue brings a message after so long at most.
const LONGEST_DELAY: Duration = Duration::from_secs(900);

impl Pull {
    /// Goes on with the sweep of a channel, or begins the next.
    pub(super) async fn run_sweep(
        &self,
        wake: &PullWake,
        port: &dyn Marketplace,
        days: u32,
    ) -> Result<(), Error> {
        let channel = wake.channel.as_str();
        let place = self.turns.keys.sweeping(channel);
        if !self.turns.take(&place).await? {
            // Whoever has it goes on to the end.
            return Ok(());
        }
        let outcome = self.sweep(channel, port, days).boxed().await;
        self.turns.give_back(&place).await?;
        match outcome? {
            Ok(true) => {
                self.circuits.note(channel, Ok(())).await?;
                Ok(())
            }
            Ok(false) => self.pulls.send(wake).await,
            Err(failure) => self.note_broken_sweep(wake, &failure).await,
        }
    }

    /// Returns whether the sweep came to its end in this run.
    async fn sweep(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        days: u32,
    ) -> Result<Result<bool, Failure>, Error> {
        let deadline = Instant::now() + TIME;
        let now = clock::now();
        let mut state = self.catalog.sweep_state(channel).await?;
        loop {
            if Instant::now() >= deadline {
                return Ok(Ok(false));
            }
            let (window, until) = window(&state, days, port.limits().longest_window, now);
            let place = page_key("sweep", state.cursor, state.page.as_deref());
            let Page { lines, next } = match port.sweep(window, state.page.as_deref()).await {
                Ok(page) => page,
                Err(failure) => {
                    self.keep_unreadable(channel, place, &failure).await?;
                    if matches!(failure, Failure::Refused(_)) && state.page.is_some() {
                        let begun = SweepState {
                            page: None,
                            ..state
                        };
                        self.catalog.put_sweep_state(channel, begun).await?;
                    }
                    return Ok(Err(failure));
                }
            };
            if state.error.is_some() {
                self.catalog.release_quarantined(channel, &place).await?;
            }
            let brought = self.import(channel, lines).boxed().await?;
            if next.is_some() && next == state.page {
                // What it has is counted; what is behind it has no name.
                self.keep_all_in_mind(channel, brought).await?;
                return Ok(Err(circular()));
            }
            // What cannot be answered now is kept in mind for the next pull.
            let answered = self
                .answer(channel, port, brought, deadline)
                .boxed()
                .await?;
            let is_over = next.is_none() && window.to >= until;
            let next = if is_over {
                SweepState {
                    swept_at: Some(clock::now()),
                    version: state.version,
                    ..SweepState::default()
                }
            } else {
                let is_done = next.is_none();
                SweepState {
                    until: Some(until),
                    cursor: Some(if is_done { window.to } else { window.from }),
                    page: next,
                    error: None,
                    ..state
                }
            };
            let Some(written) = self.catalog.put_sweep_state(channel, next).await? else {
                return Err(Error::Conflict);
            };
            state = written;
            if let Err(failure) = answered {
                return Ok(Err(failure));
            }
            if is_over {
                return Ok(Ok(true));
            }
        }
    }

    /// A sweep that broke off goes on from its page: soon if the channel only has no calls left for it, else with its next schedule.
    async fn note_broken_sweep(&self, wake: &PullWake, failure: &Failure) -> Result<(), Error> {
        let channel = wake.channel.as_str();
        let state = SweepState {
            error: Some(failure.to_string()),
            ..self.catalog.sweep_state(channel).await?
        };
        self.catalog.put_sweep_state(channel, state).await?;
        match failure {
            // No failure of the channel: its circuit would keep what is urgent waiting, too.
            Failure::Later {
                after: Some(span), ..
            }
            | Failure::Limited { after: span, .. }
            | Failure::Turn { after: span, .. } => {
                let soon = (*span).clamp(Duration::from_secs(1), LONGEST_DELAY);
                self.pulls.send_after(wake, soon).await
            }
            Failure::Later { after: None, .. }
            | Failure::Unreadable { .. }
            | Failure::Refused(_)
            | Failure::Unknown(_)
            | Failure::Credentials(_) => self.tell_failure(channel, failure).await.map(drop),
        }
    }
}

/// The window that the sweep goes on with, and where the sweep ends.
fn window(state: &SweepState, days: u32, longest: Duration, now: Timestamp) -> (Window, Timestamp) {
    let (from, until) = state.cursor.zip(state.until).unwrap_or_else(|| {
        let back = DAY * days.clamp(1, MOST_DAYS);
        (now.before(back), now)
    });
    let to = until.min(from + longest);
    (Window { from, to }, until)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_walks_the_days_without_a_gap() {
        let now = Timestamp::from_millis(1_795_136_400_000);
        let longest = DAY * 3;
        let mut state = SweepState::default();
        let mut spans = Vec::new();
        // The clock goes on; where a sweep ends does not.
        for late in 0..4 {
            let (window, until) = window(&state, 7, longest, now + DAY * late);
            assert_eq!(until, now);
            let ago = |at: Timestamp| now.since(at).as_secs() / 86_400;
            spans.push((ago(window.from), ago(window.to)));
            if window.to >= until {
                break;
            }
            state = SweepState {
                until: Some(until),
                cursor: Some(window.to),
                ..state
            };
        }
        assert_eq!(spans, [(7, 4), (4, 1), (1, 0)]);
    }
}
