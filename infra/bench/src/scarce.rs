//! `channels.http_429`, `channels.decreases_first`: ten thousand products change, and a marketplace bears two calls a second; a hundred of
//! them at another too, which stops whoever calls too often for minutes.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{
    Result,
    fakes::{self, CHANNELS, Item},
    function, gate,
    mall::Mall,
    options::Options,
    report::Report,
};

const REFUSED: &str = "channels.http_429";
const FIRST: &str = "channels.decreases_first";
const FIGURES: [&str; 2] = [REFUSED, FIRST];

/// Names its limits in every answer.
const SMARTSTORE: usize = 0;
/// Names none: the tenth call in a second is refused, and all of the next five minutes.
const COUPANG: usize = 1;
/// Calls a second of each of SmartStore's APIs: its own limit.
const RATE: u64 = 2;
/// What lets the shop look at all products in less than an hour, before the clock starts.
const SETUP_RATE: u64 = 5_000;
/// Products that are at Coupang too. More than can be written there while it is watched, and few enough to look at at its own rate.
const AT_COUPANG: usize = 120;
const UNITS: u64 = 100;
const PROCESSES: usize = 2;
/// A push of a listing is four calls, three of them of one API.
const SECONDS_OF_A_PUSH: usize = 2;
const PATIENCE: Duration = Duration::from_secs(600);
/// In which the marketplaces' buckets are full again.
const REST: Duration = Duration::from_secs(4);
const PUSHES: &str = r#""kind":"push""#;

/// A marketplace that is watched.
struct Place {
    channel: usize,
    /// What it calls writing units.
    writes: &'static str,
    /// How many of the products it has.
    products: usize,
    /// The last request before it was watched.
    before: u64,
}

/// What a marketplace was asked while it was watched.
#[derive(Default)]
struct Watched {
    calls: usize,
    refused: usize,
    decreases: usize,
    increases: usize,
    /// Decreases that were written before the first increase.
    first: usize,
}

/// Measures both.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&FIGURES) {
        return Ok(());
    }
    let products = options.size(10_000, 300);
    let seconds = options.size(60, 25);
    // Some increases are to follow in the time there is.
    let decreases = seconds / SECONDS_OF_A_PUSH * 2 / 3;
    let place = |channel, writes, products| Place {
        channel,
        writes,
        products,
        before: 0,
    };
    let mut places = [
        place(SMARTSTORE, "option_stock", products),
        place(COUPANG, "quantity", AT_COUPANG),
    ];
    let mut mall = Mall::open("scarce", products, UNITS, |number| {
        let has = places.iter().filter(|place| number < place.products);
        has.map(|place| place.channel).collect()
    })?;
    let rate = |rate: u64| json!({ "rate": rate });
    mall.fakes.does(SMARTSTORE, "settings", &rate(SETUP_RATE))?;
    let syncing = mall.syncing(PROCESSES)?;
    mall.settle(PATIENCE)?;

    mall.fakes.does(SMARTSTORE, "settings", &rate(RATE))?;
    // The next answer says so.
    mall.stock(&[(0, 1)])?;
    mall.settle(PATIENCE)?;
    thread::sleep(REST);

    mall.syncs.hold(Some(PUSHES));
    let mut changes: Vec<(usize, i64)> = (0..products)
        .map(|number| (number, if number < decreases { -1 } else { 1 }))
        .collect();
    fastrand::Rng::with_seed(1).shuffle(&mut changes);
    mall.stock(&changes)?;
    for place in &mut places {
        place.wait_for_backlog(&mall)?;
        place.before = mall.fakes.last_request(place.channel)?;
    }
    mall.syncs.hold(None);
    let started = Instant::now();
    let listings: usize = places.iter().map(|place| place.products).sum();
    while started.elapsed() < Duration::from_secs(seconds as u64) {
        thread::sleep(Duration::from_secs(5));
        let left = mall.backlog()?;
        eprintln!(
            "scarce: {} of {listings} listings are pushed after {:.0} s",
            (listings as u64).saturating_sub(left),
            started.elapsed().as_secs_f64()
        );
    }
    mall.syncs.check()?;
    let watched = places
        .iter()
        .map(|place| place.watched(&mall, decreases))
        .collect::<Result<Vec<_>>>()?;
    drop(syncing);
    thread::sleep(REST);
    let mut bare = 0;
    for (place, watched) in places.iter().zip(&watched) {
        bare += place.bare(&mall, watched.calls)?;
    }

    let sum = |count: fn(&Watched) -> usize| watched.iter().map(count).sum::<usize>() as f64;
    report.add_beside(
        REFUSED,
        sum(|watched| watched.refused),
        "answers",
        bare as f64,
    );
    let share = sum(|watched| watched.first) / (decreases * places.len()) as f64;
    report.add(FIRST, share, "share");
    let rates = [
        format!("{RATE} calls a second of each API"),
        "its own limit".to_owned(),
    ];
    for ((place, watched), rate) in places.iter().zip(&watched).zip(rates) {
        report.note(format!(
            "{REFUSED}: {} with {} products on the backlog, {rate}, watched for {seconds} s: {} calls, {} refused; {} of {decreases} \
             decreases and {} increases were written, {} of the decreases before the first increase",
            CHANNELS[place.channel].name,
            place.products,
            watched.calls,
            watched.refused,
            watched.decreases,
            watched.increases,
            watched.first
        ));
    }
    report.note(format!(
        "{REFUSED}: the sum of both; baseline: as many calls of each, one after another without a governor"
    ));
    Ok(())
}

impl Place {
    /// Waits until every product that moved is on the backlog.
    fn wait_for_backlog(&self, mall: &Mall) -> Result<()> {
        let started = Instant::now();
        let mut redis = mall.redis.connect()?;
        let name = CHANNELS[self.channel].name;
        let ready = format!("{{{}}}:push:{name}", gate::SHOP);
        loop {
            mall.syncs.check()?;
            let on_it = redis.ask_number(&["ZCARD", &ready])?;
            if on_it == self.products as u64 {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                let products = self.products;
                return Err(
                    format!("{on_it} of {products} products are on the backlog of {name}").into(),
                );
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    fn watched(&self, mall: &Mall, decreases: usize) -> Result<Watched> {
        let numbers: HashMap<String, usize> = (0..self.products)
            .map(|number| (Item::of(self.channel, number).option, number))
            .collect();
        let mut watched = Watched::default();
        let mut seen = HashSet::new();
        let mut requests = mall.fakes.requests(self.channel, self.before)?;
        requests.sort_by_key(|request| request["done"].as_u64());
        for request in &requests {
            let status = request["status"].as_u64().unwrap_or_default();
            watched.calls += 1;
            watched.refused += usize::from(fakes::is_one_too_many(self.channel, status));
            if request["operation"] != self.writes || status != 200 {
                continue;
            }
            let items = request["items"].as_array().into_iter().flatten();
            for number in items.filter_map(|item| numbers.get(item.as_str()?)) {
                if !seen.insert(*number) {
                    continue;
                }
                if *number < decreases {
                    watched.decreases += 1;
                    watched.first += usize::from(watched.increases == 0);
                } else {
                    watched.increases += 1;
                }
            }
        }
        Ok(watched)
    }

    /// So many calls, one after another. Returns how many were refused as too many.
    fn bare(&self, mall: &Mall, calls: usize) -> Result<usize> {
        let mut refused = 0;
        let ask = match self.channel {
            COUPANG => signed(mall)?,
            _ => bearing(mall)?,
        };
        for number in 0..calls {
            let (path, headers) = ask(number % self.products);
            let answer = mall.fakes.ask(self.channel, "GET", &path, &headers, "")?;
            match u64::from(answer.status) {
                200 => {}
                status if fakes::is_one_too_many(self.channel, status) => refused += 1,
                status => return Err(format!("{path} was answered {status}").into()),
            }
        }
        Ok(refused)
    }
}

/// The path and the headers that ask for a product.
type Ask = Box<dyn Fn(usize) -> (String, String)>;

/// Asks SmartStore with the token that `channel-sync` has.
fn bearing(mall: &Mall) -> Result<Ask> {
    let key = json!({
        "pk": { "S": format!("channel#{}", CHANNELS[SMARTSTORE].name) },
        "sk": { "S": "token" },
    });
    let token = mall.aws.dynamodb()?.item(function::CATALOG_TABLE, &key)?;
    let token = token
        .as_ref()
        .and_then(|token| token["access"]["S"].as_str());
    let token = token.ok_or("channel-sync has no token")?;
    let headers = format!("authorization: Bearer {token}\r\n");
    Ok(Box::new(move |number| {
        let product = Item::of(SMARTSTORE, number).product;
        let path = format!("/external/v2/products/origin-products/{product}");
        (path, headers.clone())
    }))
}

/// Asks Coupang with its keys. Its clock is set to the one moment that is signed here.
fn signed(mall: &Mall) -> Result<Ask> {
    const MOMENT: &str = "260101T000000Z";
    let clock = json!({ "set": "2026-01-01T00:00:00Z" });
    mall.fakes.does(COUPANG, "clock", &clock)?;
    let key = Hmac::<Sha256>::new_from_slice(fakes::COUPANG_SECRET_KEY.as_bytes())?;
    Ok(Box::new(move |number| {
        let item = Item::of(COUPANG, number).option;
        let path = format!(
            "/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items/{item}/inventories"
        );
        let said = key.clone().chain_update(format!("{MOMENT}GET{path}"));
        let signature = HEXLOWER.encode(&said.finalize().into_bytes());
        let headers = format!(
            "authorization: CEA algorithm=HmacSHA256, access-key={}, signed-date={MOMENT}, signature={signature}\r\n",
            fakes::COUPANG_ACCESS_KEY
        );
        (path, headers)
    }))
}
