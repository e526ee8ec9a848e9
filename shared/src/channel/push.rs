//! `channel-sync`: what has changed is shown on every channel.
//!
//! Units move in the ledger; the gate follows and notes which products moved; a wake brings this here. First every listing of those
//! products is looked at, and the ones that show another number than they should go on their channel's backlog ([`Backlog`]): no call to a
//! marketplace yet. Then each channel has one runner, which takes the most urgent listing first, and for each:
//!
//! 1. computes the number from the ledger *now* ([`shown_units`]): a hint that is old pushes nothing old;
//! 2. reads what the item shows. Units that are missing there without an order of ours are sales that were not pulled yet (the
//!    marketplace counts down by itself): they are left out of what is written, or the write would sell them twice; and a pull is asked for;
//! 3. writes if it differs, and reads back: an outcome that is not known becomes known.
//!
//! One runner a channel: no two writes of a listing pass each other, and a channel that hangs delays only itself.

mod price;

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, StreamExt, stream};
use metrics::{counter, gauge};
use tokio::time::Instant;

use super::{
    Failure, Marketplace, Ports, Shown, StockWrite,
    alert::{Alert, Alerts},
    backlog::{Backlog, Due, Suspicion, Turn},
    circuit::Circuits,
    listing::{Listing, ShownState, Unsold, price_to_ask, shown_units},
    look::Looks,
    quota::Urgency,
    wake::{PullWake, SyncWake, Wakes},
};
use crate::{
    catalog::{Bears, Catalog, Offers},
    clock::{self, Timestamp},
    error::Error,
    id::ProductId,
    ledger::Ledger,
    queue::Queue,
    stock::Source,
};

/// How long one run works; the function has 60 s, and a push that has begun may take some calls more.
const TIME: Duration = Duration::from_secs(25);
/// Pushes of a channel at the same time.
const TOGETHER: usize = 4;
/// Products that are looked at in one go.
const MOVED: isize = 64;
/// Listings that one sweep message puts on the backlog.
const SWEEP_PAGE: i32 = 200;
/// When a listing is looked at again whose units are not all explained.
const RECHECK: Duration = Duration::from_secs(15);
/// A write without an answer may be done so much later; until then its listing is looked at again.
const LATE: Duration = Duration::from_secs(60);
/// When a push that failed is tried again, at first; doubled each time.
const AGAIN: Duration = Duration::from_secs(2);
const AGAIN_LOG2: u32 = 7;
/// So many failures in a row of one listing, some ten minutes of them, are a person's.
const STUCK: u32 = 9;

/// Pushes.
pub struct Push {
    /// The channels there are.
    pub ports: Ports,
    /// Listings.
    pub catalog: Catalog,
    /// What is true.
    pub ledger: Ledger,
    /// What is to be pushed.
    pub backlog: Backlog,
    /// What was seen by those who only look.
    pub looks: Looks,
    /// Which channels are left alone.
    pub circuits: Circuits,
    /// How it wakes itself.
    pub wakes: Wakes,
    /// How it asks for a pull.
    pub pulls: Queue,
    /// How it calls for a person.
    pub alerts: Alerts,
}

/// What became of one push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pushed {
    /// The listing shows what it should.
    Done,
    /// It is to be looked at again after a while.
    Again(Duration),
}

impl Push {
    /// Does what a wake asks for.
    ///
    /// # Errors
    /// A store failed; the wake may come again.
    pub async fn handle(&self, wake: SyncWake) -> Result<(), Error> {
        match wake {
            SyncWake::Moved => self.spread().boxed().await,
            SyncWake::Tick => self.tick().boxed().await,
            SyncWake::Push { channel } => self.run(&channel).boxed().await,
            SyncWake::Sweep { channel, after } => self.sweep(&channel, after.as_deref()).await,
            SyncWake::Look {
                channel,
                number,
                after,
            } => self.look(&channel, number, after).boxed().await,
        }
    }

    /// What a schedule asks for, every minute: whatever waits goes on, whoever forgot it.
    async fn tick(&self) -> Result<(), Error> {
        self.backlog.look_again().await?;
        self.spread().await?;
        for channel in self.ports.names() {
            let (waiting, due) = self.backlog.waiting(channel, clock::now()).await?;
            gauge!("channel_backlog", "channel" => channel.to_owned()).set(waiting as f64);
            if due > 0 {
                self.wake(channel).await?;
            }
        }
        for (channel, cause) in self.ports.left_out() {
            self.tell_left_out(channel, cause).await?;
        }
        Ok(())
    }

    /// A channel whose setup is wrong is told of like one that refuses its credentials: a person has to put them right.
    async fn tell_left_out(&self, channel: &str, cause: &str) -> Result<(), Error> {
        self.circuits.leave_out(channel, cause).await?;
        let cause = cause.to_owned();
        let mut state = self.catalog.push_state(channel).await?;
        if state.error.as_ref() != Some(&cause) {
            state.error = Some(cause.clone());
            self.catalog.put_push_state(channel, &state).await?;
        }
        self.alerts
            .tell(channel, &Alert::Credentials { cause })
            .await;
        Ok(())
    }

    async fn wake(&self, channel: &str) -> Result<(), Error> {
        let channel = channel.to_owned();
        self.wakes.send(&SyncWake::Push { channel }).await
    }

    /// Finds the listings that show another number since units moved.
    async fn spread(&self) -> Result<(), Error> {
        let deadline = Instant::now() + TIME;
        self.backlog.woken().await?;
        loop {
            let moved = self.backlog.moved(MOVED).await?;
            if moved.is_empty() {
                return Ok(());
            }
            let mut due = BTreeMap::<String, Vec<(ProductId, Suspicion)>>::new();
            let mut looked_at = Vec::with_capacity(moved.len());
            let mut looked = Ok(());
            for product in moved {
                self.backlog.take_moved(&product).await?;
                match self.differing(&product).await {
                    Ok(found) => {
                        for (channel, suspicion) in found {
                            let due = due.entry(channel).or_default();
                            due.push((product.clone(), suspicion));
                        }
                        looked_at.push(product);
                    }
                    // It is looked at again with every tick, and holds up no other product.
                    Err(Error::Corrupt(cause)) => {
                        tracing::error!(%product, cause, "a product cannot be compared");
                    }
                    Err(error) => {
                        self.backlog.put_moved(&product).await?;
                        looked = Err(error);
                        break;
                    }
                }
            }
            for (channel, products) in &due {
                self.backlog.add(channel, products, clock::now()).await?;
                self.wake(channel).await?;
            }
            self.backlog.looked_at(&looked_at).await?;
            looked?;
            if Instant::now() >= deadline {
                return self.wakes.send(&SyncWake::Moved).await;
            }
        }
    }

    /// Whether a product shows something else than it should on its channels, as far as is known here.
    async fn differing(&self, product: &ProductId) -> Result<Vec<(String, Suspicion)>, Error> {
        let offers = self.catalog.offers(product).await?;
        let mut differing = Vec::new();
        for listing in &offers.listings {
            let Some(port) = self.ports.get(&listing.channel) else {
                // What moves while it is left out is pushed when it is back.
                if self.ports.why_left_out(&listing.channel).is_some() {
                    let suspicion = Suspicion::Differs(Urgency::Down);
                    differing.push((listing.channel.clone(), suspicion));
                }
                continue;
            };
            let state = offers.shown.get(&listing.channel).cloned();
            let state = state.unwrap_or_default().of(&listing.item);
            if state.quarantined {
                continue;
            }
            let limits = port.limits();
            let target = self.target(listing, limits.most_units).await?;
            let list_price = offers
                .product
                .as_ref()
                .map_or(0, |product| product.list_price);
            let ask = price_to_ask(listing, list_price, state.seen_price(), limits.price_step);
            let refused = state.refused_price.as_ref();
            let is_priced = state.price.is_none_or(|known| known == ask)
                || refused.is_some_and(|refused| refused.ask == ask);
            let suspicion = match state.units {
                Some(units) if units > target || state.doubtful => {
                    Suspicion::Differs(Urgency::Down)
                }
                Some(units) if units == target && is_priced => Suspicion::Agrees,
                Some(_) => Suspicion::Differs(Urgency::Up),
                None => Suspicion::Differs(Urgency::Down),
            };
            differing.push((listing.channel.clone(), suspicion));
        }
        Ok(differing)
    }

    /// The number a listing has to show, by the ledger as it is now.
    async fn target(&self, listing: &Listing, most: u64) -> Result<u64, Error> {
        let unsold = async |source: &Source| -> Result<i64, Error> {
            let row = self.ledger.stock_row(&listing.product_id, source).await?;
            Ok(row.map_or(0, |row| row.unsold))
        };
        let unsold = Unsold {
            pool: unsold(&Source::Pool).await?,
            share: match listing.source() {
                Source::Pool | Source::Live(_) => 0,
                share @ Source::Channel(_) => unsold(&share).await?,
            },
        };
        Ok(shown_units(listing.distribution, unsold, most))
    }

    /// Puts every listing of a channel on its backlog, behind everything else.
    async fn sweep(&self, channel: &str, after: Option<&str>) -> Result<(), Error> {
        let (products, next) = self.catalog.listed(channel, after, SWEEP_PAGE).await?;
        let products: Vec<_> = products
            .into_iter()
            .map(|product| (product, Suspicion::Differs(Urgency::Sweep)))
            .collect();
        self.backlog.add(channel, &products, clock::now()).await?;
        let channel = channel.to_owned();
        if next.is_some() {
            let wake = SyncWake::Sweep {
                channel: channel.clone(),
                after: next,
            };
            self.wakes.send(&wake).await?;
        } else {
            let mut state = self.catalog.push_state(&channel).await?;
            state.swept_at = Some(clock::now());
            self.catalog.put_push_state(&channel, &state).await?;
        }
        self.wakes.send(&SyncWake::Push { channel }).await
    }

    /// Works the backlog of a channel off, as its one runner.
    async fn run(&self, channel: &str) -> Result<(), Error> {
        let Some(port) = self.ports.get(channel) else {
            let is_left_out = self.ports.why_left_out(channel).is_some();
            return if is_left_out {
                Ok(())
            } else {
                Err(Error::NotFound("channel"))
            };
        };
        let token = format!("{:016x}", fastrand::u64(..));
        let deadline = Instant::now() + TIME;
        let (mut pushed, mut error) = (0_u64, None);
        let mut put_off: Option<(Urgency, Timestamp)> = None;
        let again = loop {
            let circuit = self.circuits.of(channel).await?;
            if let Some(until) = circuit.open_until.filter(|_| circuit.is_open(clock::now())) {
                break Some(until.since(clock::now()));
            }
            let mut due = match self
                .backlog
                .next(channel, &token, TOGETHER, clock::now())
                .await?
            {
                // It goes on until nothing is left, and looks once more after it has gone.
                Turn::Other => return Ok(()),
                Turn::Mine(due) => due,
            };
            let Some(first) = due.first().map(Due::urgency) else {
                break None;
            };
            // A number that goes up waits for those that go down, also for the ones in hand and those that wait for their quota.
            if let Some((urgency, until)) = put_off
                && first > urgency
                && until > clock::now()
            {
                break Some(until.since(clock::now()));
            }
            due.retain(|due| due.urgency() == first);
            if Instant::now() >= deadline {
                break Some(Duration::ZERO);
            }
            let outcomes: Vec<_> = stream::iter(due)
                .map(|due| self.try_one(channel, port, due).boxed())
                .buffer_unordered(TOGETHER)
                .collect()
                .await;
            for outcome in outcomes {
                match outcome? {
                    Ok(()) => pushed += 1,
                    Err(failure) => {
                        if let Failure::Turn { after, .. } = failure {
                            put_off = Some((first, clock::now() + after.max(AGAIN)));
                        }
                        error = Some(failure.to_string());
                    }
                }
            }
        };
        self.backlog.leave(channel).await?;
        counter!("channel_pushes", "channel" => channel.to_owned()).increment(pushed);
        if pushed > 0 || error.is_some() {
            let mut state = self.catalog.push_state(channel).await?;
            if pushed > 0 {
                state.pushed_at = Some(clock::now());
            }
            state.error = error;
            let limits = port.limits();
            state.bears = Some(Bears {
                most_units: limits.most_units,
                price_step: limits.price_step,
            });
            self.catalog.put_push_state(channel, &state).await?;
        }
        self.come_back(channel, again).await
    }

    /// Whatever came while the runner was going wakes the next; what is for later does after a while.
    async fn come_back(&self, channel: &str, again: Option<Duration>) -> Result<(), Error> {
        let (waiting, due) = self.backlog.waiting(channel, clock::now()).await?;
        let delay = match again {
            // A circuit that is open for long is left to the schedule.
            Some(span) if span > Duration::from_secs(600) => return Ok(()),
            Some(span) => span,
            None if due > 0 => Duration::ZERO,
            None if waiting > 0 => RECHECK,
            None => return Ok(()),
        };
        let channel = channel.to_owned();
        let wake = SyncWake::Push { channel };
        self.wakes.send_after(&wake, delay).await
    }

    /// Pushes one listing, and takes note of how that went: on the backlog, on the listing, and on the circuit.
    async fn try_one(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        due: Due,
    ) -> Result<Result<(), Failure>, Error> {
        let offers = self.catalog.offers(&due.product).await?;
        let Some((listing, state)) = offers.on(channel) else {
            self.backlog.tried(channel, &due, None).await?;
            return Ok(Ok(()));
        };
        let state = state.of(&listing.item);
        let failures = state.failures;
        let outcome = if state.quarantined {
            Ok(Pushed::Done)
        } else {
            self.push(port, &offers, listing, state, due.urgency())
                .await?
        };
        let now = clock::now();
        let (failure, again) = match outcome {
            Ok(Pushed::Done) => (None, None),
            Ok(Pushed::Again(span)) => (None, Some(now + span)),
            Err(failure) => {
                let longer = |span: Duration| span.max(AGAIN * (1 << failures.min(AGAIN_LOG2)));
                let span = match &failure {
                    Failure::Refused(_) => None,
                    // It says nothing of the channel: one more try is no worse than the first.
                    Failure::Turn { after, .. } => Some((*after).max(AGAIN)),
                    Failure::Later { after, .. } => Some(longer(after.unwrap_or(AGAIN))),
                    Failure::Limited { after, .. } => Some(longer(*after)),
                    Failure::Unreadable { .. } | Failure::Unknown(_) => Some(longer(AGAIN)),
                    Failure::Credentials(_) => Some(longer(RECHECK)),
                };
                (Some(failure), span.map(|span| now + span))
            }
        };
        if let Some(failure) = &failure {
            self.note_failure(channel, listing, failure).await?;
            if failures >= STUCK && !matches!(failure, Failure::Turn { .. }) {
                let (product, cause) = (due.product.to_string(), failure.to_string());
                let alert = Alert::Stuck { product, cause };
                self.alerts.tell(channel, &alert).await;
            }
        }
        let circuit = self
            .circuits
            .note(channel, failure.as_ref().map_or(Ok(()), Err))
            .await?;
        let told = failure
            .as_ref()
            .filter(|failure| !matches!(failure, Failure::Turn { .. }) && circuit.is_open(now));
        if let Some(failure) = told {
            let cause = failure.to_string();
            let alert = match failure {
                Failure::Credentials(_) => Alert::Credentials { cause },
                Failure::Unreadable { .. } => Alert::Unreadable { cause },
                Failure::Later { .. }
                | Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unknown(_)
                | Failure::Refused(_) => Alert::Away { cause },
            };
            self.alerts.tell(channel, &alert).await;
        }
        self.backlog.tried(channel, &due, again).await?;
        Ok(failure.map_or(Ok(()), Err))
    }

    async fn note_failure(
        &self,
        channel: &str,
        listing: &Listing,
        failure: &Failure,
    ) -> Result<(), Error> {
        let product = &listing.product_id;
        if matches!(failure, Failure::Turn { .. }) {
            tracing::info!(channel, product.id = %product, failure = %failure, "a push waits for its turn");
            return Ok(());
        }
        tracing::warn!(channel, product.id = %product, failure = %failure, "a push failed");
        let refused = matches!(failure, Failure::Refused(_));
        let lost_at = matches!(failure, Failure::Unknown(_)).then(clock::now);
        let cause = failure.to_string();
        self.catalog
            .change_shown(product, channel, |state| {
                state.error = Some(cause.clone());
                state.failures = state.failures.saturating_add(1);
                state.quarantined = refused;
                state.lost_at = lost_at.or(state.lost_at);
            })
            .await?;
        if refused {
            let product = product.to_string();
            self.alerts
                .tell(channel, &Alert::Refused { product, cause })
                .await;
        }
        Ok(())
    }

    /// Makes a listing show what it should.
    async fn push(
        &self,
        port: &dyn Marketplace,
        offers: &Offers,
        listing: &Listing,
        state: ShownState,
        urgency: Urgency,
    ) -> Result<Result<Pushed, Failure>, Error> {
        let limits = port.limits();
        let pulled_to = self.catalog.pull_state(&listing.channel).await?.cursor;
        // Nobody asks a price who does not know what it costs now.
        let look = if state.price.is_none() {
            urgency.max(Urgency::Up)
        } else {
            urgency
        };
        let shown = match port.read_item(&listing.item, look).await {
            Ok(shown) => shown,
            Err(failure) => return Ok(Err(failure)),
        };
        let (uncollected, collect) = uncollected(&state, shown.units, pulled_to);
        // Computed after the read: an order that came in between is in it.
        let target = self.target(listing, limits.most_units).await?;
        let units = target.saturating_sub(uncollected);
        if urgency == Urgency::Sweep {
            let ask = offers.product.as_ref().map(|product| {
                price_to_ask(listing, product.list_price, shown.price, limits.price_step)
            });
            note_drift(listing, &state, &shown, ask);
        }
        let (mut seen, mut is_sure) = (shown.clone(), true);
        if shown.units != units || (!shown.on_sale && units > 0) {
            let write = StockWrite {
                item: listing.item.clone(),
                units,
                version: clock::now().millis(),
                urgency: if units < shown.units {
                    Urgency::Down
                } else {
                    urgency.max(Urgency::Up)
                },
            };
            (seen, is_sure) = match write_back(port, &write).await {
                Ok(back) => back,
                Err(failure) => return Ok(Err(failure)),
            };
            // Who goes down may not be told the price again.
            seen.price = seen.price.or(shown.price);
        }
        // Sold between the write and the look back.
        let sold_since = units.saturating_sub(seen.units);
        let priced = self.push_price(port, offers, listing, &state, &seen).await;
        let at = clock::now();
        let lost_at = if is_sure { state.lost_at } else { Some(at) };
        let lost_at = lost_at.filter(|lost_at| at < *lost_at + LATE);
        let is_new = sold_since > 0 || uncollected > state.unpulled(pulled_to);
        let uncollected = uncollected + sold_since;
        let missing_at = if is_new { Some(at) } else { state.missing_at };
        self.catalog
            .change_shown(&listing.product_id, &listing.channel, |state| {
                *state = ShownState {
                    item: Some(listing.item.clone()),
                    units: Some(seen.units),
                    uncollected,
                    missing_at: missing_at.filter(|_| uncollected > 0),
                    price: priced.price.or(state.price),
                    effective: priced.effective,
                    refused_price: priced.refused.clone(),
                    at: Some(at),
                    lost_at,
                    // What was seen of the units stands, whatever becomes of the price.
                    failures: priced.failure.as_ref().map_or(0, |_| state.failures),
                    ..ShownState::default()
                };
            })
            .await?;
        if collect || sold_since > 0 {
            let wake = PullWake::new(&listing.channel);
            if let Err(error) = self.pulls.send(&wake).await {
                tracing::warn!(error = %error, "a pull was not asked for; its schedule does it");
            }
        }
        if seen.units > units {
            return Ok(Err(Failure::Unknown(
                "it shows more than was written".to_owned(),
            )));
        }
        if let Some(failure) = priced.failure {
            return Ok(Err(failure));
        }
        Ok(Ok(
            if uncollected > 0 || priced.waits || lost_at.is_some() {
                Pushed::Again(RECHECK)
            } else {
                Pushed::Done
            },
        ))
    }
}

/// Tells what a sweep finds: units that changed without us, and a price that is not what it has to be.
fn note_drift(listing: &Listing, state: &ShownState, shown: &Shown, ask: Option<u64>) {
    let channel = &listing.channel;
    let price = shown.price.map(|price| price.sale).or(state.price);
    let units_drifted = state.units.is_some_and(|known| known != shown.units);
    let price_drifted = ask.zip(price).is_some_and(|(ask, price)| ask != price);
    if units_drifted {
        counter!("channel_drift", "channel" => channel.clone()).increment(1);
    }
    if price_drifted {
        counter!("channel_price_drift", "channel" => channel.clone()).increment(1);
    }
    if units_drifted || price_drifted {
        tracing::warn!(
            channel,
            product.id = %listing.product_id,
            units = shown.units,
            units.known = state.units,
            price,
            price.known = state.price,
            price.wanted = ask,
            "a sweep found a listing that shows something else"
        );
    }
}

/// Units that are missing at the channel and that no imported order explains; and whether some of them are new, so that a pull is due.
fn uncollected(state: &ShownState, shown: u64, pulled_to: Option<Timestamp>) -> (u64, bool) {
    let before = state.unpulled(pulled_to);
    let missing = state.units.map_or(0, |known| known.saturating_sub(shown));
    (before + missing, missing > 0 || before > 0)
}

/// Writes a number and reads it back; an outcome that is not known is what is read then, and not sure.
async fn write_back(port: &dyn Marketplace, write: &StockWrite) -> Result<(Shown, bool), Failure> {
    let is_sure = match port.set_stock(write).await {
        Ok(()) => true,
        Err(Failure::Unknown(_)) => false,
        Err(failure) => return Err(failure),
    };
    match port.read_item(&write.item, write.urgency).await {
        Ok(seen) => Ok((seen, is_sure)),
        Err(failure) if is_sure => Err(failure),
        Err(failure) => Err(Failure::Unknown(failure.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(units: u64, uncollected: u64, at: u64) -> ShownState {
        ShownState {
            units: Some(units),
            uncollected,
            at: Some(Timestamp::from_millis(at)),
            ..ShownState::default()
        }
    }

    #[test]
    fn what_is_missing_at_a_channel_is_not_written_over_until_it_was_pulled() {
        let pulled = |millis| Some(Timestamp::from_millis(millis));
        assert_eq!(uncollected(&ShownState::default(), 5, None), (0, false));
        assert_eq!(uncollected(&seen(10, 0, 1_000), 10, None), (0, false));
        assert_eq!(
            uncollected(&seen(10, 0, 1_000), 8, None),
            (2, true),
            "two were sold"
        );
        assert_eq!(uncollected(&seen(8, 2, 1_000), 8, pulled(1_000)), (2, true));
        assert_eq!(
            uncollected(&seen(8, 2, 1_000), 8, pulled(6_000)),
            (0, false),
            "it was no sale"
        );
        let looked_again = ShownState {
            missing_at: Some(Timestamp::from_millis(1_000)),
            ..seen(8, 2, 16_000)
        };
        assert_eq!(
            uncollected(&looked_again, 8, pulled(6_000)),
            (0, false),
            "a look that finds nothing new puts nothing off"
        );
        assert_eq!(
            uncollected(&seen(8, 2, 1_000), 7, pulled(6_000)),
            (1, true),
            "one more since"
        );
        assert_eq!(
            uncollected(&seen(8, 0, 1_000), 20, pulled(6_000)),
            (0, false)
        );
    }
}
