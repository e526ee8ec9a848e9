//! `channel-poll`: what channels sold comes into the ledger.
//!
//! A window of time is pulled page by page; where it stands is written down after each page, so a run that ends in the middle is
//! gone on with, and nothing is held in memory but a page. Windows overlap, because events show up late; lines are known by their key
//! and imported once. The sale has happened: it is counted even if the units are not there, and then a person hears of it. What
//! cannot be imported is quarantined with its payload, and never stops the rest.
//!
//! Beside it, `sweep` goes over the past days now and then, and `requests` answers buyers who want to cancel.

mod requests;
mod sweep;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use futures::{FutureExt, StreamExt, TryStreamExt, stream};
use metrics::counter;
use tokio::time::Instant;

use super::{
    CancelReason, CancelWrite, Confirmation, Failure, ItemId, LineState, Marketplace, OrderLine,
    Page, Ports, Pulled, Window,
    alert::{Alert, Alerts},
    circuit::{Circuit, Circuits},
    count,
    listing::{Listing, ShownState},
    quota::Urgency,
    wake::PullWake,
};
use crate::{
    broadcast::fence::Fence,
    catalog::{Catalog, Offers, PullState, Quarantined, Unconfirmed},
    clock::{self, Timestamp},
    connection::Redis,
    error::Error,
    id::{self, ProductId},
    keys::Keys,
    ledger::{Imported, LineRecord, NewLine},
    queue::Queue,
    stock::Source,
};

/// How long one run works; the function has 60 s, and the page that was begun is finished.
const TIME: Duration = Duration::from_secs(20);
/// How long a run has its channel, should it die.
const LEASE: Duration = Duration::from_secs(75);
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
/// The most units a line may have. What is above is no order but a mistake, and would empty the pool.
const MOST_UNITS: u32 = 10_000;
/// The longest payload that is kept, in bytes; DynamoDB takes 400 KB an item.
const LONGEST_RAW: usize = 64 * 1024;
/// Quarantined lines that are tried again at once.
const TRIED_AGAIN: i32 = 100;
/// So often in one run; the next one goes on behind them.
const TRIED_PAGES: usize = 10;
/// How long a line is tried to be confirmed, or cancelled.
const LONGEST_TRIED: Duration = Duration::from_secs(7 * 24 * 3_600);
/// After so many calls for one line each that failed, the others wait for the next pull: each may have taken its time.
const MOST_FAILURES: usize = 3;
/// Lines that are written down at the same time.
const TOGETHER: usize = 8;
/// A marketplace's clock may be this far from ours: farther away it takes no signature of ours.
const CLOCKS_APART: Duration = Duration::from_secs(300);
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

/// One pull of a channel at a time, and one sweep.
#[derive(Clone)]
pub struct Turns {
    redis: Redis,
    keys: Keys,
}

impl Turns {
    /// Turns by this connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    async fn take(&self, place: &str) -> Result<bool, Error> {
        let mut command = redis::cmd("SET");
        command
            .arg(place)
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(LEASE.as_secs());
        let mut commands = redis::pipe();
        commands.add_command(command);
        let (got,): (Option<String>,) = self.redis.send(&commands).await?;
        Ok(got.is_some())
    }

    async fn give_back(&self, place: &str) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.del(place).ignore();
        Ok(self.redis.send(&commands).await?)
    }

    /// Whether a wake that was put off is on its way, and comes at this time or later.
    async fn is_coming(&self, place: &str, now: Timestamp) -> Result<bool, Error> {
        let mut commands = redis::pipe();
        commands.get(place);
        let (at,): (Option<u64>,) = self.redis.send(&commands).await?;
        Ok(at.is_some_and(|at| at > now.millis()))
    }

    async fn comes(&self, place: &str, at: Timestamp) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands
            .set_ex(place, at.millis(), 2 * LONGEST_DELAY.as_secs())
            .ignore();
        Ok(self.redis.send(&commands).await?)
    }
}

/// Whether a line that is to be confirmed is written down as such.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    New,
    KeptInMind,
}

/// What a page brought.
#[derive(Debug, Default)]
struct Brought {
    sold: bool,
    touched: BTreeSet<(ProductId, Source)>,
    counted_down: BTreeMap<ProductId, CountedDown>,
    unconfirmed: Vec<LineRecord>,
    /// Their buyers ask to cancel them.
    asked: Vec<LineRecord>,
}

/// What is new of a product, which its channel has counted down itself.
#[derive(Debug, Default)]
struct CountedDown {
    units: u64,
    /// When the first of them was paid; `None` if that is not known of one.
    since: Option<Timestamp>,
    /// Whether some were cancelled before they were met.
    cancelled: bool,
}

impl CountedDown {
    fn add(&mut self, record: &LineRecord, units: u64) {
        self.since = if self.units == 0 {
            record.paid_at
        } else {
            self.since
                .zip(record.paid_at)
                .map(|(one, other)| one.min(other))
        };
        self.units += units;
        self.cancelled |= record.cancelled > 0;
    }

    fn enter(&self, state: &mut ShownState) {
        let unexplained = state.uncollected.min(self.units);
        state.uncollected -= unexplained;
        let rest = self.units - unexplained;
        // A number that we wrote after the sale did not know of it, if it was not missing before: then it shows more than is kept here.
        let before = |at| self.since.is_none_or(|since| since <= at + CLOCKS_APART);
        state.doubtful |= rest > 0 && state.at.is_some_and(before);
        // Whether it put up again what was cancelled, it does not say.
        state.doubtful |= self.cancelled;
        state.units = state.units.map(|shown| shown.saturating_sub(rest));
    }
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
            return self.pulls.send_after(&wake, TURN_TAKEN).await;
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
        if let Some(delay) = again {
            self.pulls.send_after(&wake, delay).await?;
        }
        Ok(())
    }

    /// Has a wake come again that cannot be followed now: what it hints at may not wait for the schedule. However many there are,
    /// one is on its way.
    async fn put_off(&self, wake: &PullWake, span: Duration) -> Result<(), Error> {
        if span > LONGEST_DELAY {
            return Ok(());
        }
        // A queue counts whole seconds, and one that came too early would be put off again.
        let delay = Duration::from_secs(span.as_secs() + 1);
        let place = match wake.sweep_days {
            None => self.turns.keys.pull_coming(&wake.channel),
            Some(_) => self.turns.keys.sweep_coming(&wake.channel),
        };
        let now = clock::now();
        if self.turns.is_coming(&place, now).await? {
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
                    return Ok(Err(failure));
                }
            };
            if state.error.is_some() {
                self.catalog.release_quarantined(channel, &place).await?;
            }
            let brought = self.import(channel, lines).boxed().await?;
            sold |= brought.sold;
            unconfirmed += brought.unconfirmed.len();
            if unconfirmed > at_once || unanswered.is_some() {
                self.keep_all_in_mind(channel, brought).await?;
            } else {
                let lines = brought.unconfirmed.iter().chain(&brought.asked);
                tried.extend(lines.map(|line| line.key.clone()));
                match self.answer(channel, port, brought).boxed().await? {
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
    ) -> Result<Result<bool, Failure>, Error> {
        let confirmed = self
            .confirm(channel, port, brought.unconfirmed, Known::New)
            .await?;
        if let Err(failure) = confirmed {
            for line in &brought.asked {
                self.keep_in_mind(channel, line).await?;
            }
            return Ok(Err(failure));
        }
        self.hear_requests(channel, port, brought.asked, Known::New)
            .await
            .map(Ok)
    }

    /// Imports what a page has. What it cannot import it quarantines.
    async fn import(&self, channel: &str, pulled: Vec<Pulled>) -> Result<Brought, Error> {
        let mut lines = BTreeMap::new();
        for pulled in pulled {
            match pulled {
                Pulled::Line(line) => match absurd(&line) {
                    None => drop(lines.insert(line.key.clone(), line)),
                    Some(reason) => {
                        let (key, raw) = (Some(line.key), line.raw);
                        self.quarantine(channel, key, reason.to_owned(), raw, None)
                            .await?;
                    }
                },
                Pulled::Unreadable { key, reason, raw } => {
                    self.quarantine(channel, key, reason, raw, None).await?;
                }
            }
        }
        self.import_lines(channel, lines.into_values().collect())
            .await
    }

    async fn import_lines(&self, channel: &str, lines: Vec<OrderLine>) -> Result<Brought, Error> {
        let ledger = &self.fence.ledger;
        let now = clock::now();
        let keys: Vec<String> = lines.iter().map(|line| line.key.clone()).collect();
        let known: HashMap<String, LineRecord> = ledger
            .lines(channel, &keys)
            .await?
            .into_iter()
            .map(|record| (record.key.clone(), record))
            .collect();
        let items: BTreeSet<ItemId> = lines
            .iter()
            .filter(|line| !known.contains_key(&line.key))
            .map(|line| line.item.clone())
            .collect();
        let items: Vec<ItemId> = items.into_iter().collect();
        let products = self.catalog.products_of(channel, &items).await?;
        let mut offers = HashMap::<ProductId, Offers>::new();
        for product in products.values() {
            if !offers.contains_key(product) {
                offers.insert(product.clone(), self.catalog.offers(product).await?);
            }
        }
        let mut brought = Brought::default();
        let (mut new, mut gone, mut below) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for line in &lines {
            if let Some(record) = known.get(&line.key) {
                self.follow(line, record, &mut brought, now).await?;
                continue;
            }
            // It came and went between two pulls: nothing was taken, nothing is given back.
            let is_gone = line.cancelled >= line.ordered;
            let listing = products
                .get(&line.item)
                .and_then(|product| offers.get(product)?.on(channel));
            let Some((listing, _)) = listing else {
                if is_gone {
                    // It may be kept since before it was cancelled: nothing is taken for it once its item is listed.
                    self.catalog.release_quarantined(channel, &line.key).await?;
                    continue;
                }
                let reason = format!("no listing has item {}", item_name(&line.item));
                let (key, raw) = (Some(line.key.clone()), line.raw.clone());
                self.quarantine(channel, key, reason, raw, Some(line.clone()))
                    .await?;
                continue;
            };
            let product = &listing.product_id;
            if is_gone {
                gone.insert(product);
            } else if let Some(floor) = floor_above(line, listing, &offers[product]) {
                below.insert((product, line.unit_price, floor));
            }
            new.push(NewLine {
                channel: channel.to_owned(),
                key: line.key.clone(),
                order_no: line.order_no.clone(),
                handle: line.handle.clone(),
                item: line.item.clone(),
                product_id: listing.product_id.clone(),
                source: listing.source(),
                ordered: line.ordered,
                cancelled: line.cancelled,
                state: line.state,
                unit_price: line.unit_price,
                paid_at: line.paid_at,
                raw: bounded(&line.raw),
            });
        }
        // A number that was written after such a sale did not know of it, and its units may be up again on top. The ledger knows the
        // line from now on, so it is looked at once.
        for product in gone {
            self.doubt(product, channel).await?;
            self.fence.channels.look_at(product).await?;
        }
        let mut failed = None;
        for outcome in ledger.import(&new, now).await {
            match outcome {
                Ok(Imported::Now(record)) => {
                    self.came(channel, &record, &mut brought).await;
                }
                Ok(Imported::Already(record)) => {
                    if let Some(line) = lines.iter().find(|line| line.key == record.key) {
                        self.follow(line, &record, &mut brought, now).await?;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        for (product, counted_down) in &brought.counted_down {
            self.catalog
                .change_shown(product, channel, |state| counted_down.enter(state))
                .await?;
        }
        for (product, source) in &brought.touched {
            self.fence.follow(source, product, now).await?;
        }
        for (product, price, floor) in below {
            let product = product.to_string();
            let alert = Alert::BelowFloor {
                product,
                price,
                floor,
            };
            self.alerts.tell(channel, &alert).await;
        }
        failed.map_or(Ok(brought), Err)
    }

    /// A line has entered the ledger.
    async fn came(&self, channel: &str, record: &LineRecord, brought: &mut Brought) {
        let units = u64::from(record.ordered - record.cancelled);
        if units == 0 {
            return;
        }
        counter!("channel_units_sold", "channel" => channel.to_owned()).increment(units);
        brought.sold = true;
        for taken in &record.taken {
            let place = (record.product_id.clone(), taken.source.clone());
            brought.touched.insert(place);
        }
        brought
            .counted_down
            .entry(record.product_id.clone())
            .or_default()
            .add(record, units);
        if record.oversold > 0 {
            count("channel_units_oversold", channel, record.oversold.into());
            let alert = Alert::Oversold {
                order_no: record.order_no.clone(),
                product: record.product_id.to_string(),
                units: record.oversold,
            };
            self.alerts.tell(channel, &alert).await;
        }
        brought.note(record.clone());
    }

    /// A line is in the ledger already: what was cancelled since goes back.
    async fn follow(
        &self,
        line: &OrderLine,
        record: &LineRecord,
        brought: &mut Brought,
        now: Timestamp,
    ) -> Result<(), Error> {
        // A confirmation of ours may not be in the page yet.
        let state = match (record.state, line.state) {
            (LineState::Confirmed, LineState::Paid) => LineState::Confirmed,
            (_, state) => state,
        };
        let mut record = record.clone();
        if line.cancelled > record.cancelled || state != record.state {
            for taken in &record.taken {
                let place = (record.product_id.clone(), taken.source.clone());
                brought.touched.insert(place);
            }
            if line.cancelled > record.cancelled {
                // The marketplace may have put the units up again itself, and a sale elsewhere may leave the number as it was.
                self.doubt(&record.product_id, &record.channel).await?;
            }
            let ledger = &self.fence.ledger;
            record = ledger
                .follow_line(&record, state, line.cancelled, now)
                .await?;
        }
        brought.note(record);
        Ok(())
    }

    /// What a listing shows is to be read before it is believed.
    async fn doubt(&self, product: &ProductId, channel: &str) -> Result<(), Error> {
        self.catalog
            .change_shown(product, channel, |state| state.doubtful = true)
            .await?;
        Ok(())
    }

    async fn quarantine(
        &self,
        channel: &str,
        key: Option<String>,
        reason: String,
        raw: String,
        line: Option<OrderLine>,
    ) -> Result<(), Error> {
        let alert = match &line {
            Some(line) => Alert::Unlisted {
                item: item_name(&line.item),
            },
            None => Alert::Quarantined {
                reason: reason.clone(),
            },
        };
        let entry = Quarantined {
            key: key.unwrap_or_else(|| id::digest(&["unreadable", &raw], 16)),
            reason,
            since: clock::now(),
            raw: bounded(&raw),
            line: line.map(|line| OrderLine {
                raw: bounded(&line.raw),
                ..line
            }),
            version: 0,
        };
        if self.catalog.quarantine(channel, &entry).await? {
            self.alerts.tell(channel, &alert).await;
        }
        Ok(())
    }

    /// A page that cannot be read is kept for who has to find out why, until it can be.
    async fn keep_unreadable(
        &self,
        channel: &str,
        place: String,
        failure: &Failure,
    ) -> Result<(), Error> {
        let Failure::Unreadable { payload, .. } = failure else {
            return Ok(());
        };
        let entry = Quarantined {
            key: place,
            reason: failure.to_string(),
            since: clock::now(),
            raw: bounded(&payload.0),
            line: None,
            version: 0,
        };
        self.catalog.quarantine(channel, &entry).await.map(drop)
    }

    /// Lines of items that nobody had listed are imported once somebody has: some pages of what is kept, behind those that the run
    /// before has tried. Returns whether some were imported, and behind which the next run goes on.
    async fn try_quarantined_again(
        &self,
        channel: &str,
        mut after: Option<String>,
    ) -> Result<(bool, Option<String>), Error> {
        let mut sold = false;
        for _ in 0..TRIED_PAGES {
            let (entries, next) = self
                .catalog
                .quarantined_after(channel, after.as_deref(), TRIED_AGAIN)
                .await?;
            sold |= self.try_again(channel, entries).boxed().await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok((sold, after))
    }

    async fn try_again(&self, channel: &str, entries: Vec<Quarantined>) -> Result<bool, Error> {
        if entries.is_empty() {
            return Ok(false);
        }
        let ledger = &self.fence.ledger;
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        // Another list may have told more of a line than the one it was met in first: then it is there, and newer than what is kept.
        let mut there = ledger.lines(channel, &keys).await?;
        let mut brought = Brought::default();
        for record in &there {
            brought.note(record.clone());
        }
        let known: BTreeSet<&str> = there.iter().map(|record| record.key.as_str()).collect();
        let lines: Vec<OrderLine> = entries
            .into_iter()
            .filter_map(|entry| entry.line)
            .filter(|line| !known.contains(line.key.as_str()))
            .collect();
        let items: BTreeSet<ItemId> = lines.iter().map(|line| line.item.clone()).collect();
        let items: Vec<ItemId> = items.into_iter().collect();
        let products = self.catalog.products_of(channel, &items).await?;
        let listed: Vec<OrderLine> = lines
            .into_iter()
            .filter(|line| products.contains_key(&line.item))
            .collect();
        if !listed.is_empty() {
            let imported = self.import_lines(channel, listed).await?;
            brought.sold = imported.sold;
            brought.unconfirmed.extend(imported.unconfirmed);
            brought.asked.extend(imported.asked);
            there = ledger.lines(channel, &keys).await?;
        }
        let sold = brought.sold;
        // Their channel is told at the end of the pull that follows.
        self.keep_all_in_mind(channel, brought).await?;
        for record in there {
            self.catalog
                .release_quarantined(channel, &record.key)
                .await?;
        }
        Ok(sold)
    }

    /// Lines that the channel was not told of earlier, until the run's time is over. Returns whether each was tried.
    async fn confirm_again(
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
                .confirm(channel, port, waiting, Known::KeptInMind)
                .await?;
            self.hear_requests(channel, port, asked, Known::KeptInMind)
                .await?;
            if let Err(failure) = confirmed {
                return Ok(Err(failure));
            }
        }
    }

    /// A channel that never says what became of a line is asked no more: a person has to look.
    async fn give_up(&self, channel: &str, line: &LineRecord) -> Result<(), Error> {
        let days = LONGEST_TRIED.as_secs() / 86_400;
        let alert = Alert::Unconfirmed {
            order_no: line.order_no.clone(),
            product: line.product_id.to_string(),
            cause: format!("{days}일 동안 처리되지 않음, not done for {days} days"),
        };
        self.alerts.tell(channel, &alert).await;
        self.catalog.remove_unconfirmed(channel, &line.key).await
    }

    /// Confirms lines to their channel, and then cancels what of them is not there, if the shop wants that. Those that cannot be now
    /// are kept in mind: a cancellation that is always refused its answer holds up no confirmation.
    async fn confirm(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        lines: Vec<LineRecord>,
        known: Known,
    ) -> Result<Result<(), Failure>, Error> {
        let (oversold, lines): (Vec<_>, Vec<_>) = lines
            .into_iter()
            .partition(|line| self.cancels_oversold && line.oversold > line.cancelled);
        let batch = port.limits().confirm_batch.max(1);
        let mut chunks = lines.chunks(batch);
        while let Some(chunk) = chunks.next() {
            let handles: Vec<_> = chunk.iter().map(|line| line.handle.clone()).collect();
            let answers = match port.confirm(&handles).await {
                Ok(answers) => answers,
                Err(failure) => {
                    for line in chunk.iter().chain(chunks.flatten()).chain(&oversold) {
                        self.keep_in_mind(channel, line).await?;
                    }
                    return Ok(Err(failure));
                }
            };
            for (line, answer) in chunk.iter().zip(answers) {
                self.confirmed(channel, line, answer, known).await?;
            }
        }
        let mut failures = Vec::new();
        for line in &oversold {
            if failures.len() == MOST_FAILURES {
                self.keep_in_mind(channel, line).await?;
            } else if let Err(failure) = self.cancel(channel, port, line, known).await? {
                failures.push(failure);
            }
        }
        Ok(failures.pop().map_or(Ok(()), Err))
    }

    async fn confirmed(
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

    async fn keep_in_mind(&self, channel: &str, line: &LineRecord) -> Result<(), Error> {
        let entry = Unconfirmed {
            key: line.key.clone(),
            since: clock::now(),
        };
        self.catalog.put_unconfirmed(channel, &entry).await
    }

    async fn keep_all_in_mind(&self, channel: &str, brought: Brought) -> Result<(), Error> {
        stream::iter(brought.unconfirmed.into_iter().chain(brought.asked))
            .map(|line| async move { self.keep_in_mind(channel, &line).await })
            .buffer_unordered(TOGETHER)
            .try_collect()
            .await
    }

    /// Cancels what of a line is not there. The units are given back when the channel says that it is cancelled, and then the
    /// rest is confirmed: until then it is kept in mind.
    async fn cancel(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        line: &LineRecord,
        known: Known,
    ) -> Result<Result<(), Failure>, Error> {
        let write = CancelWrite {
            handle: line.handle.clone(),
            units: line.oversold,
            reason: CancelReason::SoldOut,
        };
        match port.cancel(&write).await {
            Ok(()) => {
                self.keep_in_mind(channel, line).await?;
                Ok(Ok(()))
            }
            // A person was told that it is oversold, and does it.
            Err(Failure::Refused(cause)) => {
                tracing::error!(
                    channel,
                    line.key,
                    cause,
                    "an oversold line was not cancelled"
                );
                if known == Known::KeptInMind {
                    self.catalog.remove_unconfirmed(channel, &line.key).await?;
                }
                Ok(Ok(()))
            }
            Err(failure) => {
                self.keep_in_mind(channel, line).await?;
                Ok(Err(failure))
            }
        }
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

impl Brought {
    /// Sorts a line by what its channel waits for.
    fn note(&mut self, record: LineRecord) {
        match record.state {
            LineState::Paid => self.unconfirmed.push(record),
            LineState::CancelRequested => self.asked.push(record),
            LineState::Confirmed | LineState::Cancelled => {}
        }
    }
}

/// The floor that a line was sold below, in won. The sale stands: a person looks at the discounts.
fn floor_above(line: &OrderLine, listing: &Listing, offers: &Offers) -> Option<u64> {
    let floor = listing.floor(offers.product.as_ref()?.list_price)?;
    // Some lists do not tell the price.
    (1..floor).contains(&line.unit_price).then_some(floor)
}

/// What makes a line none that can be imported.
fn absurd(line: &OrderLine) -> Option<&'static str> {
    if line.ordered == 0 {
        Some("a line of no units")
    } else if line.ordered > MOST_UNITS {
        Some("a line of absurdly many units")
    } else if line.cancelled > line.ordered {
        Some("more units cancelled than ordered")
    } else if line.key.is_empty() || line.key.len() > 200 {
        Some("a line without a usable key")
    } else {
        None
    }
}

/// A page behind a cursor: the same as long as nothing behind it was pulled.
fn page_key(list: &str, cursor: Option<Timestamp>, page: Option<&str>) -> String {
    let cursor = cursor.map_or_else(String::new, |at| at.to_string());
    let digest = id::digest(&[&cursor, page.unwrap_or_default()], 16);
    format!("{list}-{digest}")
}

fn bounded(raw: &str) -> String {
    let mut end = raw.len().min(LONGEST_RAW);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw[..end].to_owned()
}

fn item_name(item: &ItemId) -> String {
    match &item.option {
        None => item.product.clone(),
        Some(option) => format!("{} / {option}", item.product),
    }
}
