//! `recover.*`: Redis comes back empty in the middle of a show. How long until every product sells again?

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{
    Result, accept, events::Events, function, messages::Delivering, options::Options,
    report::Report, runtime_api::Work, settle::BATCH, shop::Shop,
};

const FIGURE: &str = "recover.empty_redis_s";

/// Buyers who order at the same time, each from a process of its own.
const BUYERS: usize = 8;
const SETTLING: usize = 4;
/// Of each product.
const UNITS: u64 = 1_000;
/// Orders of each product that are settled before Redis is lost.
const SOLD: usize = 2;
const PATIENCE: Duration = Duration::from_secs(120);
const PROGRESS: Duration = Duration::from_secs(5);

/// Buyers who order every product in random order, again and again until each was accepted once.
struct Buyers {
    broadcast: String,
    products: Vec<String>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    events: Events,
    open: bool,
    /// What is ordered next, the last first.
    next: Vec<usize>,
    handed_out: HashMap<usize, usize>,
    number: usize,
    /// Products that have accepted no order yet.
    waiting: HashSet<usize>,
    /// Orders accepted, by product.
    accepted: Vec<u64>,
    refused: u64,
    recovered: Option<Instant>,
    failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
}

/// Measures it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&[FIGURE]) {
        return Ok(());
    }
    let products = options.size(1_000, 100);
    let mut shop = Shop::open("recover", products, UNITS)?;
    let messages = {
        let accepting = shop.accepting()?;
        shop.accept(&accepting, products * SOLD, 0)?
    };
    let how = Delivering {
        batch: BATCH,
        twice_percent: 0,
    };
    shop.settle(&shop.settling(SETTLING)?, messages, how, PATIENCE)?;

    // These processes have sold when Redis is lost: their connections lead nowhere afterwards.
    let buyers = Arc::new(Buyers::new(&shop)?);
    let _processes = function::start_all(accept::NAME, BUYERS, &buyers, shop.services())?;
    buyers.buy_until_all_sell()?;
    let before = buyers.start_again()?;

    shop.redis.replace()?;
    let started = Instant::now();
    let recovered = buyers.buy_until_all_sell()?;
    let seconds = (recovered - started).as_secs_f64();

    let state = buyers.lock();
    report.add(FIGURE, seconds, "s");
    let accepted: u64 = state.accepted.iter().sum();
    report.note(format!(
        "recover: {products} products on air, {} units sold; {accepted} orders accepted by {BUYERS} processes until the last \
         product sold again, {} answered otherwise; {before} held orders were forgotten",
        products * SOLD,
        state.refused
    ));
    never_more_than_the_ledger(&shop, &state.accepted)
}

/// The gate may not promise more than the ledger has not sold.
fn never_more_than_the_ledger(shop: &Shop, accepted: &[u64]) -> Result<()> {
    for ((row, stock), accepted) in shop.rows()?.iter().zip(shop.stocks()?).zip(accepted) {
        if row.sold != SOLD as u64 || stock.left + accepted > row.unsold {
            return Err(format!(
                "the ledger has {} units unsold; the gate has sold {accepted} of them and would sell {} more",
                row.unsold, stock.left
            )
            .into());
        }
    }
    Ok(())
}

impl Buyers {
    fn new(shop: &Shop) -> Result<Self> {
        let count = shop.products.len();
        Ok(Self {
            broadcast: shop.broadcast.clone(),
            products: shop.products.clone(),
            state: Mutex::new(State {
                // Numbers go on where the shop's own stopped: no buyer orders twice.
                events: shop.events.clone(),
                open: false,
                next: Vec::new(),
                handed_out: HashMap::new(),
                number: 0,
                waiting: (0..count).collect(),
                accepted: vec![0; count],
                refused: 0,
                recovered: None,
                failure: None,
            }),
            changed: Condvar::new(),
        })
    }

    /// Has everyone buy until every product has accepted an order, and tells when that was.
    fn buy_until_all_sell(&self) -> Result<Instant> {
        let started = Instant::now();
        self.lock().open = true;
        self.changed.notify_all();
        let mut state = self.lock();
        loop {
            if let Some(failure) = state.failure.take() {
                return Err(failure.into());
            }
            // Orders under way are waited for: the books are compared afterwards.
            if let (Some(moment), true) = (state.recovered, state.handed_out.is_empty()) {
                return Ok(moment);
            }
            if started.elapsed() > PATIENCE {
                let waiting = state.waiting.len();
                return Err(format!("{waiting} products never sold").into());
            }
            let (next, timeout) = self
                .changed
                .wait_timeout(state, PROGRESS)
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() {
                eprintln!("recover: {} products do not sell yet", state.waiting.len());
            }
        }
    }

    /// Forgets what was accepted, and tells how much that was.
    fn start_again(&self) -> Result<u64> {
        let mut state = self.lock();
        if state.refused > 0 {
            return Err(format!(
                "{} orders were refused before Redis was lost",
                state.refused
            )
            .into());
        }
        let count = self.products.len();
        let accepted = state.accepted.iter().sum();
        state.accepted = vec![0; count];
        state.waiting = (0..count).collect();
        state.next.clear();
        state.recovered = None;
        Ok(accepted)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Buyers {
    fn next(&self) -> (usize, String) {
        loop {
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| !state.open)
                .unwrap_or_else(PoisonError::into_inner);
            if state.next.is_empty() {
                state.next = (0..self.products.len()).collect();
                fastrand::shuffle(&mut state.next);
            }
            let Some(product) = state.next.pop() else {
                continue;
            };
            match state
                .events
                .order(&self.broadcast, &self.products[product], false)
            {
                Ok(event) => {
                    let number = state.number;
                    state.number += 1;
                    state.handed_out.insert(number, product);
                    return (number, event);
                }
                Err(error) => {
                    state.failure.get_or_insert(error.to_string());
                    state.open = false;
                    self.changed.notify_all();
                }
            }
        }
    }

    fn answered(&self, number: usize, body: &[u8], _latency: Duration) -> Result<()> {
        let Answer { status_code } = serde_json::from_slice(body)?;
        let mut state = self.lock();
        if let Some(product) = state.handed_out.remove(&number) {
            if status_code == 202 {
                state.accepted[product] += 1;
                state.waiting.remove(&product);
            } else {
                state.refused += 1;
            }
        }
        if state.waiting.is_empty() && state.recovered.is_none() {
            state.recovered = Some(Instant::now());
            state.open = false;
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    fn failed(&self, what: String) {
        self.lock().failure.get_or_insert(what);
        self.changed.notify_all();
    }
}
