//! `channels.propagation_*`, `channels.wrong_*`: a sale in one place, and the numbers that all others show; first one sale after the
//! other, then many, with marketplaces that falter.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Result,
    fakes::CHANNELS,
    function,
    mall::Mall,
    options::Options,
    report::Report,
    show::Show,
    wakes::{Environments, Wakes},
};

const PROPAGATION: &str = "channels.propagation_p95_s";
const WRONG: &str = "channels.wrong_numbers_after_quiet";

const PRODUCTS: usize = 5;
const UNITS: u64 = 1_000;
/// One for each channel, and some for what comes between.
const SYNCING: usize = 6;
const POLLING: usize = 4;
/// What is pushed every quarter of an hour is late by that much at worst.
const RIVALS_S: f64 = 900.0;
/// In which marketplaces' quotas come back, as far as a push of one listing uses them.
const REST: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(60);
/// How exactly the moments are known at which the ledger and a marketplace have a number.
const LOOK: Duration = Duration::from_millis(3);
const LOOK_AT_SHOWN: Duration = Duration::from_millis(15);

/// What each marketplace calls writing stock, listing orders and confirming them.
const CALLS: [[&str; 3]; 4] = [
    ["option_stock", "feed", "confirm"],
    ["quantity", "ordersheets", "acknowledge"],
    ["stockqty", "complete", "reqpackaging"],
    ["set_inventory", "orders", "process_status"],
];
/// The same turns and faults every time.
const SEED: u64 = 20_261_120;
const BETWEEN_TURNS: Duration = Duration::from_millis(250);
/// When it has to be quiet. Circuits are open for less, and what has failed is tried again sooner.
const QUIET: Duration = Duration::from_secs(240);
/// How often schedules run meanwhile.
const ROUND: Duration = Duration::from_secs(15);

/// Measures both.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&[PROPAGATION, WRONG]) {
        return Ok(());
    }
    let mut market = Market::open()?;
    let sales = options.size(30, 10);
    let mut seconds = Vec::with_capacity(sales);
    let mut shows = Vec::new();
    for number in 0..sales {
        // The channels in turns, then the show.
        let place = number % (CHANNELS.len() + 1);
        let product = number / (CHANNELS.len() + 1) % PRODUCTS;
        let (took, named) = match CHANNELS.get(place) {
            Some(channel) => (market.sale(place, product)?, channel.name),
            None => {
                let (took, ordered) = market.sale_in_show(product)?;
                shows.push((took, ordered));
                (took, "a show")
            }
        };
        eprintln!(
            "propagation: sale {} of {sales}, at {named}: {took:.2} s",
            number + 1
        );
        seconds.push(took);
    }
    let worst = |values: Vec<f64>| values.into_iter().fold(0.0, f64::max);
    let early = shows.iter().map(|(shown, ordered)| shown - ordered);
    seconds.sort_by(f64::total_cmp);
    let rank = (sales as f64 * 0.95).ceil() as usize;
    report.add_beside(PROPAGATION, seconds[rank - 1], "s", RIVALS_S);
    report.note(format!(
        "{PROPAGATION}: {sales} sales, at the channels in turns and in a show; middle {:.2} s, worst {:.2} s; baseline: a push every \
         15 minutes",
        seconds[sales / 2],
        seconds[sales - 1]
    ));
    report.note(format!(
        "{PROPAGATION}: the {} of the show from when their unit was to go on air: worst {:.2} s; {:.2} s at worst from when the order of \
         the unit was accepted, which none was sooner than {:.2} s after the beginning",
        shows.len(),
        worst(shows.iter().map(|(shown, _)| *shown).collect()),
        worst(early.collect()),
        shows.iter().map(|(_, ordered)| *ordered).fold(f64::INFINITY, f64::min),
    ));

    let turns = options.size(60, 25);
    market.storm(turns)?;
    let (wrong, quiet_after) = market.quiet()?;
    report.add(WRONG, wrong.len() as f64, "listings");
    report.note(format!(
        "{WRONG}: of {} listings, {:.0} s after {turns} random turns with faults at every marketplace",
        PRODUCTS * CHANNELS.len(),
        quiet_after.as_secs_f64(),
    ));
    for wrong in wrong {
        report.note(format!("{WRONG}: {wrong}"));
    }
    market.check()
}

/// The shop, its functions, and what the ledger has to have.
struct Market {
    mall: Mall,
    show: Show,
    pulls: Arc<Wakes>,
    expected: Vec<i64>,
    _syncing: Environments,
    _polling: Environments,
}

impl Market {
    fn open() -> Result<Self> {
        let mut mall = Mall::open("propagation", PRODUCTS, UNITS, |_| {
            (0..CHANNELS.len()).collect()
        })?;
        // Where something was sold is pulled again a minute later. That is left out: quotas are to be idle.
        let pulls = Arc::new(Wakes::only_now());
        mall.aws.bring_wakes(function::PULL_QUEUE, "", &pulls);
        let market = Self {
            _syncing: mall.syncing(SYNCING)?,
            _polling: mall.polling(POLLING, &pulls)?,
            expected: vec![i64::try_from(UNITS)?; PRODUCTS],
            show: Show::start(&mut mall)?,
            pulls,
            mall,
        };
        market.mall.settle(PATIENCE)?;
        // The first pull of a channel looks far back.
        (0..CHANNELS.len()).for_each(|channel| market.pull(channel));
        market.rest()?;
        Ok(market)
    }

    fn pull(&self, channel: usize) {
        let wake = json!({ "channel": CHANNELS[channel].name }).to_string();
        self.pulls.add(wake, Duration::ZERO);
    }

    /// One unit is sold at a channel. Returns how many seconds it takes until every other channel shows it, from when the ledger
    /// has it.
    fn sale(&mut self, place: usize, product: usize) -> Result<f64> {
        self.expected[product] -= 1;
        let asked = Instant::now();
        self.buys(place, product, 1)?;
        self.pull(place);
        while self.mall.unsold(product)? != self.expected[product] {
            self.go_on(asked, "the ledger does not have a sale")?;
            thread::sleep(LOOK);
        }
        let counted = Instant::now();
        let others = (0..CHANNELS.len()).filter(|channel| *channel != place);
        let shown = self.shown(others.collect(), product)?;
        self.rest()?;
        Ok((shown - counted).as_secs_f64())
    }

    /// One unit is sold in a show. Returns when every channel shows that it is gone, and when the viewer's order was accepted: both in
    /// seconds from when the unit was to go on air, which is when it leaves the pool.
    fn sale_in_show(&mut self, product: usize) -> Result<(f64, f64)> {
        self.expected[product] -= 1;
        let asked = Instant::now();
        let order = self.show.sell(&mut self.mall, product)?;
        let shown = self.shown((0..CHANNELS.len()).collect(), product)?;
        let ordered = order.join().map_err(|_| "the host of the show is gone")??;
        self.show.settle(&mut self.mall, product)?;
        self.rest()?;
        if !self.wrong()?.is_empty() || !self.is_counted()? {
            return Err(
                "an order of a show changed what the pool has, or what a channel shows".into(),
            );
        }
        let since = |moment: Instant| (moment - asked).as_secs_f64();
        Ok((since(shown), since(ordered)))
    }

    /// When the last of these channels shows the right number.
    fn shown(&self, mut waiting: Vec<usize>, product: usize) -> Result<Instant> {
        let since = Instant::now();
        loop {
            let mut left = Vec::new();
            for channel in waiting {
                if !self.is_right(channel, product)? {
                    left.push(channel);
                }
            }
            if left.is_empty() {
                return Ok(Instant::now());
            }
            self.go_on(since, "a channel does not show a sale")?;
            waiting = left;
            thread::sleep(LOOK_AT_SHOWN);
        }
    }

    fn buys(&self, channel: usize, product: usize, units: u64) -> Result<()> {
        if self.mall.fakes.buys(channel, product, units)? {
            return Ok(());
        }
        Err(format!("{} has not got what it sells", CHANNELS[channel].name).into())
    }

    fn go_on(&self, since: Instant, otherwise: &str) -> Result<()> {
        self.mall.syncs.check()?;
        self.pulls.check()?;
        if since.elapsed() > PATIENCE {
            return Err(format!("{otherwise} after {} s", PATIENCE.as_secs()).into());
        }
        Ok(())
    }

    fn is_right(&self, channel: usize, product: usize) -> Result<bool> {
        let shown = self.mall.fakes.shown(channel, PRODUCTS)?[product];
        Ok(i64::try_from(shown)? == self.expected[product].max(0))
    }

    /// Waits until nobody has anything to do, and then for the quotas.
    fn rest(&self) -> Result<()> {
        let started = Instant::now();
        while !self.pulls.is_idle() {
            self.go_on(started, "a pull does not end")?;
            thread::sleep(LOOK);
        }
        self.mall.settle(PATIENCE)?;
        thread::sleep(REST);
        Ok(())
    }

    /// Buyers, the warehouse and pulls at random, while each marketplace loses answers, breaks before or after it has done its work,
    /// and answers with pages.
    fn storm(&mut self, turns: usize) -> Result<()> {
        for (channel, [write, orders, confirm]) in CALLS.into_iter().enumerate() {
            let broken = |on: &str, kind: &str, probability: f64| json!({ "on": on, "kind": kind, "probability": probability });
            let faults = [
                broken(write, "close_after_commit", 0.1),
                broken(write, "error_before_commit", 0.1),
                broken(write, "garbage_after_commit", 0.1),
                broken(orders, "error_before_commit", 0.1),
                broken(confirm, "close_after_commit", 0.1),
            ];
            let rules = json!({ "faults": faults, "seed": SEED });
            self.mall.fakes.does(channel, "faults", &rules)?;
        }
        let mut rng = fastrand::Rng::with_seed(SEED);
        for turn in 1..=turns {
            let (channel, product) = (rng.usize(..CHANNELS.len()), rng.usize(..PRODUCTS));
            match rng.u8(..10) {
                0..6 => {
                    let units = rng.u64(1..4);
                    self.expected[product] -= i64::try_from(units)?;
                    self.buys(channel, product, units)?;
                }
                6..8 => {
                    let delta = [-3, -2, -1, 1, 2, 3][rng.usize(..6)];
                    self.expected[product] += delta;
                    self.mall.stock(&[(product, delta)])?;
                }
                _ => self.pull(channel),
            }
            if turn % 20 == 0 {
                eprintln!("quiet: turn {turn} of {turns}");
            }
            thread::sleep(BETWEEN_TURNS);
        }
        for channel in 0..CHANNELS.len() {
            self.mall.fakes.calm(channel)?;
        }
        Ok(())
    }

    /// Schedules run until everything has come to rest. Returns which listings show a wrong number then, and how long it took.
    fn quiet(&self) -> Result<(Vec<String>, Duration)> {
        let started = Instant::now();
        let mut rounds = 0;
        loop {
            if started.elapsed() >= ROUND * rounds {
                (0..CHANNELS.len()).for_each(|channel| self.pull(channel));
                self.mall.tick();
                rounds += 1;
            }
            self.mall.syncs.check()?;
            self.pulls.check()?;
            let wrong = self.wrong()?;
            let is_quiet =
                self.mall.syncs.is_idle() && self.pulls.is_idle() && self.mall.backlog()? == 0;
            if (wrong.is_empty() && is_quiet && self.is_counted()?) || started.elapsed() > QUIET {
                return Ok((wrong, started.elapsed()));
            }
            thread::sleep(Duration::from_millis(500));
        }
    }

    fn wrong(&self) -> Result<Vec<String>> {
        let mut wrong = Vec::new();
        for (channel, at) in CHANNELS.iter().enumerate() {
            let shown = self.mall.fakes.shown(channel, PRODUCTS)?;
            for (product, (shown, expected)) in shown.iter().zip(&self.expected).enumerate() {
                if i64::try_from(*shown)? != (*expected).max(0) {
                    let (name, number) = (at.name, product + 1);
                    wrong.push(format!(
                        "{name} shows {shown} of product {number}, not {expected}"
                    ));
                }
            }
        }
        Ok(wrong)
    }

    fn is_counted(&self) -> Result<bool> {
        for (product, expected) in self.expected.iter().enumerate() {
            if self.mall.unsold(product)? != *expected {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// What must hold on every machine: each sale is in the ledger once.
    fn check(&self) -> Result<()> {
        if self.is_counted()? {
            return Ok(());
        }
        Err("the ledger does not have every sale of the channels once".into())
    }
}
