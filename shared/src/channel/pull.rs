//! `channel-poll`: what channels sold comes into the ledger.
//!
//! A window of time is pulled page by page; where it stands is written down after each page, so a run that ends in the middle is
//! gone on with, and nothing is held in memory but a page. Windows overlap, because events show up late; lines are known by their key
//! and imported once. The sale has happened: it is counted even if the units are not there, and then a person hears of it. What
//! cannot be imported is quarantined with its payload, and never stops the rest.
//!
//! Beside it, `sweep` goes over the past days now and then, and `requests` answers buyers who want to cancel.

mod confirm;
mod import;
mod quarantine;
mod requests;
mod sweep;
mod turns;

pub use turns::Turns;

use std::{collections::BTreeSet, time::Duration};

use futures::FutureExt;
use tokio::time::Instant;

use self::{
    confirm::Known,
    import::Brought,
    quarantine::{circular, page_key},
};
use super::{
    Failure, Marketplace, Page, Ports, Window,
    alert::{Alert, Alerts},
    circuit::{Circuit, Circuits},
    quota::Urgency,
    wake::PullWake,
};
use crate::{
    broadcast::fence::Fence,
    catalog::{Catalog, PullState},
    clock::{self, Timestamp},
    error::Error,
    queue::Queue,
};

/// How long one run works; the function has 90 s, and the page that was begun is finished.
const TIME: Duration = Duration::from_secs(20);
/// How far back the first pull of a channel looks.
const FIRST_LOOK: Duration = Duration::from_secs(24 * 3_600);
/// When a wake comes again that found somebody pulling: that pull may have passed what it is about.
const TURN_TAKEN: Duration = Duration::from_secs(5);
/// When a pull that failed is tried again, at least; its circuit says when it is to be later.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest that a wake is put off: what takes longer is left to the schedule.
const LONGEST_DELAY: Duration = Duration::from_secs(600);
/// How soon a channel is pulled again that has just sold something: what is hot sells on.
const HOT: Duration = Duration::from_secs(60);
/// Lines that are written down at the same time.
const TOGETHER: usize = 8;
/// Credentials that expire sooner are told of.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 3_600);
/// The same of those that every use renews.
const RENEWED_TOO_LATE: Duration = Duration::from_secs(3 * 24 * 3_600);

/// Pulls.
pub struct Pull {
    /// The channels there are.
    pub ports: Ports,
    /// Listings, and where each pull stands.
    pub catalog: Catalog,
    /// The ledger, and the gate that follows it.
    pub fence: Fence,
    /// Which channels are left alone.
    pub circuits: Circuits,
    /// How it asks for its own next run.
    pub pulls: Queue,
    /// How it calls for a person.
    pub alerts: Alerts,
    /// Whether lines that were oversold are cancelled by us.
    pub cancels_oversold: bool,
    /// Whether we agree when a buyer asks to cancel what is not shipped; if not, a person decides.
    pub approves_cancellations: bool,
    /// Whose turn it is to pull.
    pub turns: Turns,
}

impl Pull {
    /// Pulls a channel until it is up to date, or goes over its past days; or until its time is over: then the queue brings the rest.
    ///
    /// # Errors
    /// A store failed; the wake may come again. A channel that fails is written down and told of, and pulled again when its circuit
    /// lets somebody see whether it is back.
    pub async fn run(&self, wake: PullWake) -> Result<(), Error> {
        let channel = wake.channel.as_str();
        let Some(port) = self.ports.get(channel) else {
            return match self.ports.why_left_out(channel) {
                Some(cause) => self.tell_left_out(channel, cause).await,
                None => Err(Error::NotFound("channel")),
            };
        };
        let (circuit, now) = (self.circuits.of(channel).await?, clock::now());
        if let Some(until) = circuit.open_until.filter(|until| *until > now) {
            return self.put_off(&wake, until.since(now)).await;
        }
        if let Some(days) = wake.sweep_days {
            return self.run_sweep(&wake, port, days).boxed().await;
        }
        let place = self.turns.keys.pulling(channel);
        if !self.turns.take(&place).await? {
            return self.put_off(&wake, TURN_TAKEN).await;
        }
        let outcome = self.pull(channel, port).boxed().await;
        self.turns.give_back(&place).await?;
        let again = match outcome? {
            Ok(again) => {
                self.circuits.note(channel, Ok(())).await?;
                again
            }
            Err(failure) => {
                let circuit = self.note_failure(channel, &failure).await?;
                let now = clock::now();
                let open_for = circuit
                    .open_until
                    .map_or(Duration::ZERO, |at| at.since(now));
                return match failure {
                    Failure::Refused(_) => Ok(()),
                    Failure::Turn { after, .. } => self.put_off(&wake, after).await,
                    Failure::Limited { after, .. } => {
                        self.put_off(&wake, open_for.max(after).max(AGAIN)).await
                    }
                    Failure::Later { .. }
                    | Failure::Unreadable { .. }
                    | Failure::Unknown(_)
                    | Failure::Credentials(_) => self.put_off(&wake, open_for.max(AGAIN)).await,
                };
            }
        };
        match again {
            None => Ok(()),
            // It has not come to its end: whoever comes next goes on with it.
            Some(Duration::ZERO) => self.pulls.send(&wake).await,
            Some(delay) => self.put_off(&wake, delay).await,
        }
    }

    /// Has a wake come again later, before its schedule. However many there are, one is on its way, and one that is to come sooner
    /// overtakes it.
    async fn put_off(&self, wake: &PullWake, span: Duration) -> Result<(), Error> {
        if span > LONGEST_DELAY {
            return Ok(());
        }
        // A queue counts whole seconds, and one that came too early would be put off again.
        let delay = Duration::from_secs(span.as_secs() + u64::from(span.subsec_nanos() > 0));
        let place = match wake.sweep_days {
            None => self.turns.keys.pull_coming(&wake.channel),
            Some(_) => self.turns.keys.sweep_coming(&wake.channel),
        };
        let now = clock::now();
        if self.turns.is_coming(&place, now, now + span).await? {
            return Ok(());
        }
        self.pulls.send_after(wake, delay).await?;
        self.turns.comes(&place, now + span).await
    }

    /// Returns when the channel should be pulled again before its schedule.
    async fn pull(
        &self,
        channel: &str,
        port: &dyn Marketplace,
    ) -> Result<Result<Option<Duration>, Failure>, Error> {
        let deadline = Instant::now() + TIME;
        let mut state = self.catalog.pull_state(channel).await?;
        let (mut sold, tried_up_to) = self
            .try_quarantined_again(channel, state.tried_up_to.clone())
            .boxed()
            .await?;
        if tried_up_to != state.tried_up_to {
            let next = PullState {
                tried_up_to,
                ..state
            };
            let Some(written) = self.catalog.put_pull_state(channel, next).await? else {
                return Err(Error::Conflict);
            };
            state = written;
        }
        let started = clock::now();
        // What one confirmation takes is confirmed at once. More is a rush: it is kept in mind until everything that was sold is in
        // the ledger, because until then the other channels show units that are gone.
        let at_once = port.limits().confirm_batch;
        let mut unconfirmed = if state.page.is_some() { at_once } else { 0 };
        // What this run was refused it does not ask for once more.
        let mut tried = BTreeSet::new();
        let mut unanswered = None;
        loop {
            if Instant::now() >= deadline {
                return Ok(unanswered.map_or(Ok(Some(Duration::ZERO)), Err));
            }
            let window = self.window(port, &state, started);
            let page = port
                .pull(window, state.page.as_deref(), Urgency::Order)
                .await;
            let place = page_key("page", state.cursor, state.page.as_deref());
            let Page { lines, next } = match page {
                Ok(page) => page,
                Err(failure) => {
                    self.keep_unreadable(channel, place, &failure).await?;
                    if matches!(failure, Failure::Refused(_)) && state.page.is_some() {
                        // Its name for the page may be good for a while only: the window is gone through again, and lines are known by their key.
                        let begun = PullState {
                            page: None,
                            ..state
                        };
                        self.catalog.put_pull_state(channel, begun).await?;
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
            sold |= brought.sold;
            unconfirmed += brought.unconfirmed.len();
            if unconfirmed > at_once || unanswered.is_some() {
                self.keep_all_in_mind(channel, brought).await?;
            } else {
                let lines = brought.unconfirmed.iter().chain(&brought.asked);
                tried.extend(lines.map(|line| line.key.clone()));
                match self
                    .answer(channel, port, brought, deadline)
                    .boxed()
                    .await?
                {
                    // What was agreed to is given back by a pull that finds it cancelled.
                    Ok(agreed) => sold |= agreed,
                    // It is kept in mind. What was sold comes first: the pages behind it are pulled all the same.
                    Err(failure) => unanswered = Some(failure),
                }
            }
            let is_done = next.is_none();
            let next = if is_done {
                PullState {
                    cursor: Some(window.to.max(state.cursor.unwrap_or(window.to))),
                    from: None,
                    to: None,
                    page: None,
                    pulled_at: Some(clock::now()),
                    error: None,
                    ..state
                }
            } else {
                PullState {
                    from: Some(window.from),
                    to: Some(window.to),
                    page: next,
                    error: None,
                    ..state
                }
            };
            let Some(written) = self.catalog.put_pull_state(channel, next).await? else {
                return Err(Error::Conflict);
            };
            state = written;
            if is_done && window.to >= started {
                break;
            }
        }
        let again = self.confirm_again(channel, port, tried, deadline).await?;
        match unanswered.map_or(again, Err) {
            Ok(true) => {}
            Ok(false) => return Ok(Ok(Some(Duration::ZERO))),
            Err(failure) => return Ok(Err(failure)),
        }
        self.look_at_credentials(channel, port, state).await?;
        Ok(Ok(sold.then_some(HOT)))
    }

    /// The window that is under way, or the next: from a little before where the last one ended.
    fn window(&self, port: &dyn Marketplace, state: &PullState, now: Timestamp) -> Window {
        if let (Some(from), Some(to)) = (state.from, state.to) {
            return Window { from, to };
        }
        let limits = port.limits();
        let from = state.cursor.map_or_else(
            || now.before(FIRST_LOOK),
            |cursor| cursor.before(limits.overlap),
        );
        Window {
            from,
            to: now.min(from + limits.longest_window),
        }
    }

    /// Tells the channel what becomes of the lines of a page. Returns whether a cancellation was agreed to.
    async fn answer(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        brought: Brought,
        deadline: Instant,
    ) -> Result<Result<bool, Failure>, Error> {
        let confirmed = self
            .confirm(channel, port, brought.unconfirmed, Known::New, deadline)
            .await?;
        if let Err(failure) = confirmed {
            for line in &brought.asked {
                self.keep_in_mind(channel, line).await?;
            }
            return Ok(Err(failure));
        }
        self.hear_requests(channel, port, brought.asked, Known::New, deadline)
            .await
            .map(Ok)
    }

    async fn look_at_credentials(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        state: PullState,
    ) -> Result<(), Error> {
        let Ok(credentials) = port.check().await else {
            // They were good enough for a pull a moment ago.
            return Ok(());
        };
        if state.credentials_expire_at != credentials.expires_at {
            let state = PullState {
                credentials_expire_at: credentials.expires_at,
                ..state
            };
            self.catalog.put_pull_state(channel, state).await?;
        }
        if let Some(at) = credentials.expires_at {
            let left = at.since(clock::now());
            let soon = if credentials.renewed_by_use {
                RENEWED_TOO_LATE
            } else {
                EXPIRES_SOON
            };
            if left < soon {
                let days = left.as_secs() / 86_400;
                self.alerts.tell(channel, &Alert::Expiring { days }).await;
            }
        }
        Ok(())
    }

    /// Returns how the channel's circuit is then.
    async fn note_failure(&self, channel: &str, failure: &Failure) -> Result<Circuit, Error> {
        let cause = failure.to_string();
        tracing::warn!(
            channel,
            failure = cause,
            "a pull failed; it goes on from its last page"
        );
        let state = PullState {
            error: Some(cause),
            ..self.catalog.pull_state(channel).await?
        };
        self.catalog.put_pull_state(channel, state).await?;
        self.tell_failure(channel, failure).await
    }

    /// A channel whose setup is wrong is told of like one that refuses its credentials; its schedule asks again.
    async fn tell_left_out(&self, channel: &str, cause: &str) -> Result<(), Error> {
        let cause = cause.to_owned();
        let state = PullState {
            error: Some(cause.clone()),
            ..self.catalog.pull_state(channel).await?
        };
        self.catalog.put_pull_state(channel, state).await?;
        self.alerts
            .tell(channel, &Alert::Credentials { cause })
            .await;
        Ok(())
    }

    /// Takes note of a failure on the channel's circuit, and calls a person if it needs one. Returns how the circuit is then.
    async fn tell_failure(&self, channel: &str, failure: &Failure) -> Result<Circuit, Error> {
        let cause = failure.to_string();
        let circuit = self.circuits.note(channel, Err(failure)).await?;
        let alert = match failure {
            Failure::Credentials(_) => Some(Alert::Credentials { cause }),
            Failure::Refused(_) => Some(Alert::Away { cause }),
            // Nobody is told that we wait for ourselves.
            Failure::Turn { .. } => None,
            Failure::Unreadable { .. } => circuit
                .is_open(clock::now())
                .then_some(Alert::Unreadable { cause }),
            Failure::Later { .. } | Failure::Limited { .. } | Failure::Unknown(_) => circuit
                .is_open(clock::now())
                .then_some(Alert::Away { cause }),
        };
        if let Some(alert) = alert {
            self.alerts.tell(channel, &alert).await;
        }
        Ok(circuit)
    }
}
