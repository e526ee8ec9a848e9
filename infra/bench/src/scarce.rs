//! `channels.http_429`, `channels.decreases_first`: ten thousand products change, and the marketplace bears two calls a second.

use std::{
    collections::{HashMap, HashSet},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Result,
    fakes::{CHANNELS, Item},
    function, gate,
    mall::Mall,
    options::Options,
    report::Report,
};

const REFUSED: &str = "channels.http_429";
const FIRST: &str = "channels.decreases_first";
const FIGURES: [&str; 2] = [REFUSED, FIRST];

/// SmartStore, which names its limits in every answer.
const CHANNEL: usize = 0;
/// Calls a second of each of its APIs: its own limit.
const RATE: u64 = 2;
/// What lets the shop look at all products in less than an hour, before the clock starts.
const SETUP_RATE: u64 = 5_000;
const UNITS: u64 = 100;
const PROCESSES: usize = 2;
/// A push of a listing is four calls, three of them of one API.
const SECONDS_OF_A_PUSH: usize = 2;
const PATIENCE: Duration = Duration::from_secs(600);
/// In which the marketplace's bucket is full again.
const REST: Duration = Duration::from_secs(4);
const PUSHES: &str = r#""kind":"push""#;

/// What the marketplace was asked while it was watched.
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
    let mut mall = Mall::open("scarce", products, UNITS, |_| vec![CHANNEL])?;
    let rate = |rate: u64| json!({ "rate": rate });
    mall.fakes.does(CHANNEL, "settings", &rate(SETUP_RATE))?;
    let _syncing = mall.syncing(PROCESSES)?;
    mall.settle(PATIENCE)?;

    mall.fakes.does(CHANNEL, "settings", &rate(RATE))?;
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
    wait_for_backlog(&mall, products as u64)?;
    let before = last_request(&mall)?;
    mall.syncs.hold(None);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(seconds as u64) {
        thread::sleep(Duration::from_secs(5));
        let left = mall.backlog()?;
        eprintln!(
            "scarce: {} of {products} products are pushed after {:.0} s",
            (products as u64).saturating_sub(left),
            started.elapsed().as_secs_f64()
        );
    }
    mall.syncs.check()?;
    let watched = watched(&mall, before, decreases)?;
    drop(_syncing);
    thread::sleep(REST);
    let bare = bare(&mall, watched.calls)?;

    report.add_beside(REFUSED, watched.refused as f64, "answers", bare as f64);
    let share = watched.first as f64 / decreases as f64;
    report.add(FIRST, share, "share");
    report.note(format!(
        "{REFUSED}: {products} products on the backlog, {RATE} calls a second, watched for {seconds} s: {} calls, {} of {decreases} \
         decreases and {} increases were written; baseline: as many calls, one after another without a governor",
        watched.calls, watched.decreases, watched.increases
    ));
    Ok(())
}

/// Waits until every product that moved is on the backlog.
fn wait_for_backlog(mall: &Mall, products: u64) -> Result<()> {
    let started = Instant::now();
    let mut redis = mall.redis.connect()?;
    let ready = format!("{{{}}}:push:{}", gate::SHOP, CHANNELS[CHANNEL].name);
    loop {
        mall.syncs.check()?;
        let on_it = redis.ask_number(&["ZCARD", &ready])?;
        if on_it == products {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("{on_it} of {products} products are on the backlog").into());
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn requests(mall: &Mall, after: u64) -> Result<Vec<Value>> {
    let path = format!("requests?after={after}");
    let mut books = mall.fakes.books(CHANNEL, &path)?;
    Ok(serde_json::from_value(books["requests"].take())?)
}

fn last_request(mall: &Mall) -> Result<u64> {
    let requests = requests(mall, 0)?;
    let last = requests.last().and_then(|last| last["number"].as_u64());
    last.ok_or_else(|| "nobody has asked the marketplace anything".into())
}

fn watched(mall: &Mall, after: u64, decreases: usize) -> Result<Watched> {
    let numbers: HashMap<String, usize> = (0..mall.products)
        .map(|number| (Item::of(CHANNEL, number).option, number))
        .collect();
    let mut watched = Watched::default();
    let mut seen = HashSet::new();
    let mut requests = requests(mall, after)?;
    requests.sort_by_key(|request| request["done"].as_u64());
    for request in &requests {
        watched.calls += 1;
        watched.refused += usize::from(request["status"] == 429);
        if request["operation"] != "option_stock" || request["status"] != 200 {
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

/// So many calls with the token that `channel-sync` has, one after another. Returns how many were refused.
fn bare(mall: &Mall, calls: usize) -> Result<usize> {
    let key = json!({
        "pk": { "S": format!("channel#{}", CHANNELS[CHANNEL].name) },
        "sk": { "S": "token" },
    });
    let token = mall.aws.dynamodb()?.item(function::CATALOG_TABLE, &key)?;
    let token = token
        .as_ref()
        .and_then(|token| token["access"]["S"].as_str());
    let token = token.ok_or("channel-sync has no token")?;
    let headers = format!("authorization: Bearer {token}\r\n");
    let mut refused = 0;
    for number in 0..calls {
        let product = Item::of(CHANNEL, number % mall.products).product;
        let path = format!("/external/v2/products/origin-products/{product}");
        let answer = mall.fakes.ask(CHANNEL, "GET", &path, &headers, "")?;
        match answer.status {
            200 => {}
            429 => refused += 1,
            status => return Err(format!("{path} was answered {status}").into()),
        }
    }
    Ok(refused)
}
