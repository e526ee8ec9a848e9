//! `channels.pull_*`: the orders of a day wait at each marketplace. How long until the ledger has them, whether that is within the
//! marketplace's limits, and how much memory it takes.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Result,
    fakes::{self, CHANNELS},
    function,
    mall::Mall,
    options::Options,
    report::Report,
    wakes::{Environments, Wakes},
};

/// Products of each channel, which no other has.
const PRODUCTS: usize = 10;
/// The day in which they were ordered, in steps.
const DAY_S: i64 = 23 * 3_600;
const STEPS: usize = 100;
/// 11st publishes no limit, so its fake has none. It gets one: clients in production keep to one and a half calls a second.
const ELEVENST: usize = 2;
const ELEVENST_RATE: u64 = 2;
/// Memory is looked at whenever so many more are in the ledger.
const EACH: i64 = 1_000;
const LOOK: Duration = Duration::from_millis(50);
const PROGRESS: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(600);

/// A channel that is being pulled.
struct Pulling {
    channel: usize,
    environment: Environments,
    wakes: Arc<Wakes>,
    imported: i64,
    /// Memory after each thousand orders.
    resident: Vec<f64>,
    seconds: Option<f64>,
}

/// Measures all channels, side by side: none has anything to do with another.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let names = CHANNELS.map(|channel| {
        [
            format!("channels.pull_10000_s.{}", channel.figure),
            format!("channels.pull_refusals.{}", channel.figure),
            format!("channels.pull_rss_mib.{}", channel.figure),
        ]
    });
    let asked: Vec<usize> = (0..CHANNELS.len())
        .filter(|channel| options.wants(&names[*channel].each_ref().map(String::as_str)))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    let orders = options.size(10_000, 2_000);
    let mall = Mall::open("pull", PRODUCTS * CHANNELS.len(), orders as u64, |number| {
        vec![number / PRODUCTS]
    })?;
    for channel in &asked {
        order(&mall, *channel, orders)?;
    }
    let rate = json!({ "requestsPerSecond": ELEVENST_RATE });
    mall.fakes.does(ELEVENST, "settings", &rate)?;
    let started = Instant::now();
    let mut pulling: Vec<Pulling> = asked
        .iter()
        .map(|channel| Pulling::start(&mall, *channel))
        .collect::<Result<_>>()?;
    let mut told = Instant::now();
    while pulling.iter().any(|pulling| pulling.seconds.is_none()) {
        for pulling in &mut pulling {
            pulling.look(&mall, started, i64::try_from(orders)?)?;
        }
        if told.elapsed() > PROGRESS {
            told = Instant::now();
            let each = pulling
                .iter()
                .map(|pulling| format!("{} {}", CHANNELS[pulling.channel].name, pulling.imported));
            eprintln!("pull: {}", each.collect::<Vec<_>>().join(", "));
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("the orders are not pulled after {} s", PATIENCE.as_secs()).into());
        }
        thread::sleep(LOOK);
    }
    for pulling in &pulling {
        let [seconds, refusals, memory] = &names[pulling.channel];
        report.add(seconds, pulling.seconds.unwrap_or(f64::NAN), "s");
        // Those of the confirmations too, which go on until the last marketplace is pulled.
        let requests = mall.fakes.requests(pulling.channel, 0)?;
        let statuses = requests.iter().map(|request| request["status"].as_u64());
        let refused = statuses
            .flatten()
            .filter(|status| fakes::is_one_too_many(pulling.channel, *status))
            .count();
        report.add_beside(refusals, refused as f64, "answers", requests.len() as f64);
        if let [first, ..] = pulling.resident[..] {
            let most = pulling.resident.iter().copied().fold(first, f64::max);
            report.add_beside(memory, most, "MiB", first);
        }
        let each = pulling.resident.iter().map(|mib| format!("{mib:.1}"));
        report.note(format!(
            "{memory}: after each thousand orders {}",
            each.collect::<Vec<_>>().join(", ")
        ));
    }
    report.note(format!(
        "pull: {orders} orders of the last 23 hours at each marketplace, all at once; baseline of refusals: all calls of the marketplace; of \
         memory: after {EACH} orders"
    ));
    Ok(())
}

/// Places the orders, evenly over the last day: the marketplace's clock is set back for it.
fn order(mall: &Mall, channel: usize, orders: usize) -> Result<()> {
    let advance = |seconds: i64| {
        mall.fakes
            .does(channel, "clock", &json!({ "advance_s": seconds }))
    };
    advance(-DAY_S)?;
    for step in 0..STEPS {
        let mut order = fakes::order(channel, PRODUCTS * channel + step % PRODUCTS, 1);
        order["count"] = json!(orders / STEPS);
        let placed = mall.fakes.does(channel, "orders", &order)?;
        if placed["placed"] != orders / STEPS {
            return Err(format!("orders were refused: {}", placed["refused"]).into());
        }
        advance(DAY_S / STEPS as i64)?;
    }
    Ok(())
}

impl Pulling {
    fn start(mall: &Mall, channel: usize) -> Result<Self> {
        let wakes = Arc::new(Wakes::default());
        let name = CHANNELS[channel].name;
        let about = format!("\"{name}\"");
        mall.aws.bring_wakes(function::PULL_QUEUE, &about, &wakes);
        let environment = mall.polling(1, &wakes)?;
        wakes.add(json!({ "channel": name }).to_string(), Duration::ZERO);
        Ok(Self {
            channel,
            environment,
            wakes,
            imported: 0,
            resident: Vec::new(),
            seconds: None,
        })
    }

    fn look(&mut self, mall: &Mall, started: Instant, orders: i64) -> Result<()> {
        if self.seconds.is_some() {
            return Ok(());
        }
        self.wakes.check()?;
        let mut imported = 0;
        for product in PRODUCTS * self.channel..PRODUCTS * (self.channel + 1) {
            imported += orders - mall.unsold(product)?;
        }
        self.imported = imported;
        while imported / EACH > i64::try_from(self.resident.len())? {
            self.resident.push(self.environment.resident_mib()?);
        }
        if imported >= orders {
            self.seconds = Some(started.elapsed().as_secs_f64());
        }
        if imported > orders {
            return Err(format!(
                "{} sold {orders} units, and the ledger has {imported}",
                CHANNELS[self.channel].name
            )
            .into());
        }
        Ok(())
    }
}
