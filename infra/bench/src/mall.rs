//! A shop whose products are on the marketplaces too, and the functions that keep them together. `broadcast-admin` sets it up; the
//! marketplaces are the fakes of `infra/marketplaces`.

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Result,
    aws::Aws,
    events::Events,
    fakes::{CHANNELS, Fakes, Item},
    function::{self, Services},
    gate,
    load::Load,
    process::Process,
    redis::Server,
    wakes::{Environments, Wakes},
};

/// Processes that set the shop up.
const ADMINS: usize = 2;
/// Requests between two words on progress.
const AT_ONCE: usize = 2_500;
const PRICE: u64 = 12_900;
const PATIENCE: Duration = Duration::from_secs(180);
/// How often it is looked whether something has happened.
const LOOK: Duration = Duration::from_millis(100);

/// The shop.
pub struct Mall {
    /// The gate, backlogs and quotas.
    pub redis: Server,
    /// The ledger and the queues.
    pub aws: Aws,
    /// The marketplaces.
    pub fakes: Fakes,
    /// What wakes `channel-sync`.
    pub syncs: Arc<Wakes>,
    what: &'static str,
    events: Events,
    channels: &'static [(String, String)],
    load: Arc<Load>,
    admins: Vec<Process>,
}

impl Mall {
    /// Opens one with so many units of each product, which the marketplaces show already. `on` says on which of [`CHANNELS`] a
    /// product is listed, `what` is said beside the progress.
    pub fn open(
        what: &'static str,
        products: usize,
        units: u64,
        on: impl Fn(usize) -> Vec<usize>,
    ) -> Result<Self> {
        let fakes = Fakes::start()?;
        // A mall or two in the life of a bench: kept to its end.
        let channels = Box::leak(fakes.variables()?.into_boxed_slice());
        let mut mall = Self {
            redis: Server::start()?,
            aws: Aws::with_dynamodb()?,
            fakes,
            syncs: Arc::default(),
            what,
            events: Events::new()?,
            channels,
            load: Arc::default(),
            admins: Vec::new(),
        };
        mall.aws.bring_wakes(function::SYNC_QUEUE, "", &mall.syncs);
        mall.admins = function::start_all("broadcast-admin", ADMINS, &mall.load, mall.services())?;
        eprintln!("{what}: opening a shop (products: {products})");
        let product = json!({ "name": "상품", "list_price": PRICE });
        let puts = (0..products).map(|number| ("PUT", path(number, ""), product.clone()));
        mall.ask(puts.collect())?;
        let stock = json!({ "delta": units, "reason": "bench" });
        let posts = (0..products).map(|number| ("POST", path(number, "/stock"), stock.clone()));
        mall.ask(posts.collect())?;
        let mut listings = Vec::new();
        for number in 0..products {
            for channel in on(number) {
                mall.fakes.put_on_sale(channel, number, PRICE, units)?;
                let place = path(number, &format!("/listings/{}", CHANNELS[channel].name));
                listings.push(("PUT", place, listing(channel, number)));
            }
        }
        mall.ask(listings)?;
        Ok(mall)
    }

    /// Where everything is.
    pub fn services(&self) -> Services {
        Services {
            aws: self.aws.address,
            // Nobody pays here.
            payments: self.aws.address,
            redis_port: self.redis.port,
            connections: None,
            channels: self.channels,
        }
    }

    /// Asks `broadcast-admin` for each of these.
    pub fn ask(&mut self, requests: Vec<(&str, String, Value)>) -> Result<()> {
        let count = requests.len();
        let mut asked = 0;
        let mut events = Vec::with_capacity(count.min(AT_ONCE));
        for (method, path, body) in requests {
            events.push(self.events.studio(method, &path, &body)?);
            asked += 1;
            if events.len() == AT_ONCE || asked == count {
                self.load
                    .run(std::mem::take(&mut events), ADMINS, PATIENCE)?;
                if count > AT_ONCE {
                    eprintln!("{}: {asked} of {count} requests are answered", self.what);
                }
            }
        }
        Ok(())
    }

    /// Asks `broadcast-admin` for one thing, and leaves the wait for its answer to another thread, which goes on with `then`.
    pub fn ask_meanwhile<T: Send + 'static>(
        &mut self,
        method: &str,
        path: &str,
        body: &Value,
        then: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let event = self.events.studio(method, path, body)?;
        let load = Arc::clone(&self.load);
        Ok(thread::spawn(move || {
            load.run(vec![event], ADMINS, PATIENCE)?;
            then()
        }))
    }

    /// What `broadcast-admin` answered last.
    pub fn answer(&self) -> Result<Value> {
        Ok(serde_json::from_str(&self.load.last_body())?)
    }

    /// Changes the stock of products, each by so much.
    pub fn stock(&mut self, changes: &[(usize, i64)]) -> Result<()> {
        let posts = changes.iter().map(|(number, delta)| {
            let body = json!({ "delta": delta, "reason": "bench" });
            ("POST", path(*number, "/stock"), body)
        });
        self.ask(posts.collect())
    }

    /// Starts processes of `channel-sync`.
    pub fn syncing(&self, count: usize) -> Result<Environments> {
        let services = self.services();
        Environments::start("channel-sync", count, &self.syncs, &self.aws, services)
    }

    /// Starts processes of `channel-poll`, for these wakes.
    pub fn polling(&self, count: usize, pulls: &Arc<Wakes>) -> Result<Environments> {
        Environments::start("channel-poll", count, pulls, &self.aws, self.services())
    }

    /// A minute has passed, says the schedule.
    pub fn tick(&self) {
        self.syncs
            .add(r#"{"kind":"tick"}"#.to_owned(), Duration::ZERO);
    }

    /// Units of a product that the ledger has unsold in the pool.
    pub fn unsold(&self, number: usize) -> Result<i64> {
        let row = self.row(number, "pool")?;
        let unsold = row["unsold"]["N"]
            .as_str()
            .and_then(|text| text.parse().ok());
        unsold.ok_or_else(|| format!("a row has no unsold units: {row}").into())
    }

    /// What the ledger has of a product at a source.
    pub fn row(&self, number: usize, source: &str) -> Result<Value> {
        let key = json!({ "pk": { "S": name(number) }, "sk": { "S": format!("source#{source}") } });
        let row = self.aws.dynamodb()?.item(function::STOCK_TABLE, &key)?;
        row.ok_or_else(|| format!("{} has no row of {source} in the ledger", name(number)).into())
    }

    /// Products that wait to be looked at or pushed.
    pub fn backlog(&self) -> Result<u64> {
        let mut redis = self.redis.connect()?;
        let mut waiting = redis.ask_number(&["SCARD", gate::MOVED])?;
        for channel in CHANNELS {
            let ready = format!("{{{}}}:push:{}", gate::SHOP, channel.name);
            waiting += redis.ask_number(&["ZCARD", &ready])?;
            waiting += redis.ask_number(&["ZCARD", &format!("{ready}:later")])?;
        }
        Ok(waiting)
    }

    /// Waits until nothing waits to be pushed.
    pub fn settle(&self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        let mut told = started;
        loop {
            let backlog = self.backlog()?;
            if backlog == 0 && self.syncs.is_idle() {
                return self.syncs.check();
            }
            self.syncs.check()?;
            if started.elapsed() > patience {
                return Err(format!("{}: {backlog} products wait to be pushed", self.what).into());
            }
            if told.elapsed() > Duration::from_secs(5) {
                told = Instant::now();
                eprintln!("{}: {backlog} products wait to be pushed", self.what);
            }
            thread::sleep(LOOK);
        }
    }
}

/// What the shop calls the product with this number.
pub fn name(number: usize) -> String {
    format!("sku-{number:05}")
}

fn path(number: usize, rest: &str) -> String {
    format!("/products/{}{rest}", name(number))
}

fn listing(channel: usize, number: usize) -> Value {
    let item = Item::of(channel, number);
    let mut listing = json!({
        "channel_product_id": item.product,
        "distribution": { "mode": "shared" },
        "price": PRICE,
        "price_policy": "list",
    });
    if CHANNELS[channel].name != "coupang" {
        listing["channel_option_id"] = json!(item.option);
    }
    listing
}
