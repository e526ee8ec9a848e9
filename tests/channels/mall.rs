//! A shop with one product on all four channels, and the two functions that keep them together. Time passes when a test says so,
//! in the shop and at the marketplaces alike.

use std::{cell::RefCell, collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::Method;
use futures::future::join_all;
use marketplaces::{Marketplaces, Settings};
use onepool::{
    channel::{
        Ports,
        pull::Pull,
        push::Push,
        quota::{Quota, Unlimited},
        token::InMemory,
        wake::{PullWake, SyncWake},
    },
    clock::{self, Timestamp},
    error::Error,
    stock::Source,
};
use onepool_tests::{CHANNELS, Shop};
use serde_json::{Value, json};

use crate::{
    hint::{self, Address},
    stalls::{OwnStore, Stall},
};

/// Rounds in which everything has to come to rest.
const ROUNDS: usize = 40;
/// What passes between two rounds.
const STEP: Duration = Duration::from_secs(20);
/// Times that messages bring about messages.
const DELIVERIES: usize = 50;

/// The shop and its channels.
pub(crate) struct Mall {
    pub(crate) shop: Shop,
    pub(crate) pull: Pull,
    pub(crate) push: Push,
    /// What the seller's people do at the marketplaces by hand.
    pub(crate) office: Ports,
    pub(crate) own: OwnStore,
    /// Where the own store's hints go, once it gives any.
    pub(crate) hints: Option<Address>,
    urls: BTreeMap<&'static str, String>,
    http: reqwest::Client,
    /// Messages of the two queues, each with the moment from which it is received.
    queued: RefCell<Vec<(Timestamp, String)>>,
    _all: Marketplaces,
}

impl Mall {
    /// Opens a shop with so many mugs, each channel listing them with this distribution.
    pub(crate) async fn open(units: u64, distribution: Value) -> Self {
        Self::open_with(OwnStore::Cafe24, units, distribution).await
    }

    /// The same, with this own store.
    pub(crate) async fn open_with(own: OwnStore, units: u64, distribution: Value) -> Self {
        let mall = Self::empty_with(own).await;
        let product = json!({ "name": "머그", "list_price": 12_900 });
        mall.admin(Method::PUT, "/products/mug", product).await;
        mall.stock(i64::try_from(units).expect("few")).await;
        for channel in CHANNELS {
            mall.create_item(channel, 0).await;
            mall.list(channel, distribution.clone(), 12_900, "list")
                .await;
        }
        mall.settle().await;
        mall
    }

    /// Opens a shop with nothing in it.
    pub(crate) async fn empty() -> Self {
        Self::empty_with(OwnStore::Cafe24).await
    }

    async fn empty_with(own: OwnStore) -> Self {
        let shop = Shop::open().await;
        let all = Marketplaces::start(Settings::default())
            .await
            .expect("the fakes start");
        let urls: BTreeMap<_, _> = [
            ("smartstore", all.smartstore()),
            ("coupang", all.coupang()),
            ("elevenst", all.elevenst()),
            ("ownstore", all.ownstore()),
        ]
        .map(|(name, url)| (name, url.to_owned()))
        .into();
        let mut mall = Self {
            pull: shop.pull(Ports::default()),
            push: shop.push(Ports::default()),
            office: Ports::default(),
            own,
            hints: None,
            shop,
            urls,
            http: reqwest::Client::new(),
            queued: RefCell::default(),
            _all: all,
        };
        // An earlier shop of the same test may have put this thread's clock ahead.
        mall.keep_up().await;
        for channel in CHANNELS {
            mall.renew(channel).await;
            mall.open_office(channel).await;
        }
        // What a marketplace bears is the subject of other tests.
        mall.does("smartstore", "settings", json!({ "rate": 0 }))
            .await;
        mall.does("coupang", "settings", json!({ "rate": 0, "errorBurst": 0 }))
            .await;
        let unlimited = json!({ "bucket": 1_000_000, "quota": 1_000_000 });
        mall.does("ownstore", "settings", json!({ "cafe24": unlimited }))
            .await;
        mall
    }

    /// The two functions ask the shop's own quota before they call this channel.
    pub(crate) async fn govern(&mut self, channel: &str) {
        let quota = Arc::new(self.shop.quota(channel));
        self.ration(channel, quota).await;
    }

    /// The mug is put up at a marketplace, by hand.
    pub(crate) async fn create_item(&self, channel: &str, stock: u64) {
        let (what, item) = self.stall(channel).new_item(stock);
        self.does(channel, what, item).await;
    }

    /// The operator lists the mug on a channel.
    pub(crate) async fn list(&self, channel: &str, distribution: Value, price: u64, policy: &str) {
        let listed = self.relist(channel, distribution, price, policy).await;
        assert!(listed, "{channel} does not list it so");
    }

    /// The operator lists the mug on a channel, if the pool has a fixed share for it.
    pub(crate) async fn relist(
        &self,
        channel: &str,
        distribution: Value,
        price: u64,
        policy: &str,
    ) -> bool {
        let item = self.stall(channel).item();
        let body = json!({
            "channel_product_id": item.product, "channel_option_id": item.option,
            "distribution": distribution, "price": price, "price_policy": policy,
        });
        let path = format!("/products/mug/listings/{channel}");
        self.asks_for(Method::PUT, &path, body).await.is_some()
    }

    /// The operator changes the stock.
    pub(crate) async fn stock(&self, delta: i64) {
        assert!(self.restock(delta).await, "{delta}");
    }

    /// The operator changes the stock, if there are so many to be taken out.
    pub(crate) async fn restock(&self, delta: i64) -> bool {
        let body = json!({ "delta": delta, "reason": "입고" });
        let answer = self.asks_for(Method::POST, "/products/mug/stock", body);
        answer.await.is_some()
    }

    /// The operator calls a route that has to work.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let answer = self.asks_for(method, path, body).await;
        answer.expect("it is not refused for want of units")
    }

    /// The operator calls a route; `None` if there are not so many units.
    pub(crate) async fn asks_for(&self, method: Method, path: &str, body: Value) -> Option<Value> {
        let key = format!("{:016x}", fastrand::u64(..));
        let (status, answer) = self.shop.admin(method, path, Some(&key), body).await;
        assert!(status < 300 || status == 409, "{path}: {status} {answer}");
        (status < 300).then_some(answer)
    }

    /// What a buyer, the seller's office or the fault script does at a marketplace.
    pub(crate) async fn does(&self, channel: &str, what: &str, body: Value) -> Value {
        post(&self.http, &self.urls[channel], what, body).await
    }

    /// What a buyer tries at a marketplace. Answers whether it was possible.
    pub(crate) async fn tries(&self, channel: &str, what: &str, body: Value) -> bool {
        let url = format!("{}/sandbox/{what}", self.urls[channel]);
        let answer = self.http.post(url).json(&body).send().await;
        answer.expect("the fake answers").status().is_success()
    }

    /// What a marketplace's control API shows.
    pub(crate) async fn books(&self, channel: &str, what: &str) -> Value {
        let url = format!("{}/sandbox/{what}", self.urls[channel]);
        let answer = self.http.get(url).send().await.expect("the fake answers");
        answer.json().await.expect("JSON")
    }

    /// The requests of an operation that have arrived at a marketplace, in their order.
    pub(crate) async fn requests(&self, channel: &str, operation: &str) -> Vec<Value> {
        let mut books = self.books(channel, "requests").await;
        let Value::Array(mut requests) = books["requests"].take() else {
            panic!("no requests: {books}");
        };
        requests.retain(|request| request["operation"] == operation);
        requests
    }

    /// The marketplace that a channel is.
    pub(crate) fn stall(&self, channel: &str) -> &'static Stall {
        Stall::of(channel, self.own)
    }

    /// Units that were bought at a marketplace and not cancelled, by its own books.
    pub(crate) async fn bought(&self, channel: &str) -> i64 {
        let books = self.books(channel, "orders").await;
        let orders = books["orders"].as_array().expect("orders");
        let lines = orders
            .iter()
            .flat_map(|order| order["lines"].as_array().expect("lines"));
        let stall = self.stall(channel);
        lines.map(|line| stall.kept(line)).sum()
    }

    /// No more faults at a marketplace.
    pub(crate) async fn calm(&self, channel: &str) {
        let url = format!("{}/sandbox/faults", self.urls[channel]);
        self.http
            .delete(url)
            .send()
            .await
            .expect("the fake answers");
    }

    /// A buyer orders at a marketplace; `None` if it is sold out there.
    pub(crate) async fn buy(&self, channel: &str, units: u64) -> Option<String> {
        let order = self.stall(channel).order(units);
        let url = format!("{}/sandbox/orders", self.urls[channel]);
        let answer = self.http.post(url).json(&order).send().await;
        let answer = answer.expect("the fake answers");
        if !answer.status().is_success() {
            return None;
        }
        let order: Value = answer.json().await.expect("JSON");
        Some(order["orderId"].as_str().expect("an id").to_owned())
    }

    /// The units of the mug that a marketplace shows, by its own books.
    pub(crate) async fn shows(&self, channel: &str) -> i64 {
        let item = self.item(channel).await;
        self.stall(channel).stock(&item)
    }

    /// The price of the mug at a marketplace, by its own books.
    pub(crate) async fn asks(&self, channel: &str) -> i64 {
        self.item(channel).await["price"].as_i64().expect("a price")
    }

    async fn item(&self, channel: &str) -> Value {
        self.books(channel, "items").await["items"][0].clone()
    }

    /// The two functions are given other credentials of a channel.
    pub(crate) fn reopen(&mut self, channel: &str, credentials: &[(&str, &str)]) {
        self.start_anew(channel, credentials, Arc::new(Unlimited));
    }

    /// What a person does whose credentials of a channel were revoked.
    pub(crate) async fn renew(&mut self, channel: &str) {
        self.ration(channel, Arc::new(Unlimited)).await;
    }

    /// The two functions start anew, and ask this quota before they call a channel.
    pub(crate) async fn ration(&mut self, channel: &str, quota: Arc<dyn Quota>) {
        let token = self.token(channel).await;
        let credentials = with_token(self.stall(channel), token.as_deref());
        self.start_anew(channel, &credentials, quota);
    }

    async fn open_office(&mut self, channel: &str) {
        let token = self.token(channel).await;
        let stall = self.stall(channel);
        let credentials = with_token(stall, token.as_deref());
        let (quota, tokens) = (Arc::new(Unlimited) as Arc<dyn Quota>, Arc::default());
        let url = &self.urls[channel];
        stall.open(&mut self.office, url, &credentials, &quota, &tokens);
    }

    /// The first token of a mall on Cafe24; no other marketplace gives one by hand.
    async fn token(&self, channel: &str) -> Option<String> {
        if self.stall(channel).marketplace != "cafe24" {
            return None;
        }
        let pair = self.does(channel, "actions/cafe24-tokens", json!({})).await;
        Some(pair["refresh_token"].as_str().expect("a token").to_owned())
    }

    fn start_anew(&mut self, channel: &str, credentials: &[(&str, &str)], quota: Arc<dyn Quota>) {
        let (stall, url) = (self.stall(channel), &self.urls[channel]);
        let tokens = Arc::new(InMemory::default());
        for ports in [&mut self.pull.ports, &mut self.push.ports] {
            stall.open(ports, url, credentials, &quota, &tokens);
        }
    }

    /// From now on the own store tells us when somebody buys or cancels there.
    pub(crate) async fn hear_hints(&mut self) {
        let address = Address::of(self.shop.hints(Some(hint::SECRET))).await;
        let url = json!({ "shop": { "hintUrl": address.url } });
        self.does("ownstore", "settings", url).await;
        self.hints = Some(address);
    }

    /// What every marketplace shows.
    pub(crate) async fn all_show(&self) -> Vec<(&'static str, i64)> {
        let mut shown = Vec::new();
        for channel in CHANNELS {
            shown.push((channel, self.shows(channel).await));
        }
        shown
    }

    /// What the ledger has unsold in a source.
    pub(crate) async fn unsold(&self, source: &Source) -> i64 {
        let mug = "mug".parse().expect("an id");
        let row = self.shop.ledger.stock_row(&mug, source).await;
        row.expect("answers").map_or(0, |row| row.unsold)
    }

    /// Brings the messages of the two queues that are due, and those that these bring about, until there are none; those of one moment
    /// at once, as to so many functions. Returns whether there were any.
    pub(crate) async fn deliver(&self) -> bool {
        let (any, failed) = self.bring().await;
        assert!(failed.is_empty(), "{failed:?}");
        any
    }

    /// As [`Mall::deliver`]; what failed comes again, and is told.
    pub(crate) async fn bring(&self) -> (bool, Vec<Error>) {
        let (mut any, mut failures) = (false, Vec::new());
        for _ in 0..DELIVERIES {
            let due = self.due();
            if due.is_empty() {
                break;
            }
            any = true;
            let outcomes = join_all(due.iter().map(|body| self.handle(body.clone()))).await;
            for (body, outcome) in due.into_iter().zip(outcomes) {
                if let Err(error) = outcome {
                    let again = clock::now() + STEP;
                    self.queued.borrow_mut().push((again, body));
                    failures.push(error);
                }
            }
        }
        (any, failures)
    }

    /// Takes the messages that are due now, each once.
    pub(crate) fn due(&self) -> Vec<String> {
        let now = clock::now();
        let mut queued = self.queued.borrow_mut();
        for queue in ["channels", "pulls"] {
            for (body, seconds) in self.shop.wire.take_delayed(queue) {
                queued.push((now + Duration::from_secs(seconds), body));
            }
        }
        let mut due = Vec::new();
        queued.retain(|(from, body)| {
            if *from <= now && !due.contains(body) {
                due.push(body.clone());
            }
            *from > now
        });
        due
    }

    /// Hands a message to the function that it is for.
    pub(crate) async fn handle(&self, body: String) -> Result<(), Error> {
        match serde_json::from_str::<SyncWake>(&body) {
            Ok(wake) => self.push.handle(wake).await,
            Err(_) => {
                let wake: PullWake = serde_json::from_str(&body).expect("ours");
                self.pull.run(wake).await
            }
        }
    }

    /// Pulls a channel, as its schedule does.
    pub(crate) async fn pull(&self, channel: &str) {
        self.pull.run(PullWake::new(channel)).await.expect("pulls");
    }

    /// Lets time pass, here and at the marketplaces.
    pub(crate) async fn pass(&self, span: Duration) {
        clock::put_ahead(span);
        for channel in CHANNELS {
            let advance = json!({ "advance_s": span.as_secs() });
            self.does(channel, "clock", advance).await;
        }
    }

    /// The marketplaces have the time that it is here.
    pub(crate) async fn keep_up(&self) {
        for channel in CHANNELS {
            let now = json!({ "set": clock::now().to_string() });
            self.does(channel, "clock", now).await;
        }
    }

    /// Schedules run and messages are brought until nothing waits for anything.
    pub(crate) async fn settle(&self) {
        self.rest(true).await;
    }

    /// The same; with `sweeps` if something was changed that only they find.
    pub(crate) async fn rest(&self, sweeps: bool) {
        for round in 0..ROUNDS {
            self.pass(STEP).await;
            for channel in CHANNELS {
                self.pull(channel).await;
            }
            self.push.handle(SyncWake::Tick).await.expect("ticks");
            self.deliver().await;
            if sweeps && round % 4 == 1 {
                for channel in CHANNELS {
                    let sweep = SyncWake::Sweep {
                        channel: channel.to_owned(),
                        after: None,
                    };
                    self.push.handle(sweep).await.expect("sweeps");
                }
                self.deliver().await;
            }
            let mut waiting = 0;
            for channel in CHANNELS {
                let backlog = self.push.backlog.waiting(channel, clock::now()).await;
                waiting += backlog.expect("answers").0;
            }
            if waiting == 0 && round > 1 {
                return;
            }
        }
        let offers = self
            .shop
            .catalog
            .offers(&"mug".parse().expect("an id"))
            .await;
        panic!(
            "the channels do not come to rest: {:#?}",
            offers.expect("answers").shown
        );
    }
}

async fn post(http: &reqwest::Client, url: &str, what: &str, body: Value) -> Value {
    let answer = http.post(format!("{url}/sandbox/{what}")).json(&body);
    let answer = answer.send().await.expect("the fake answers");
    let status = answer.status();
    let text = answer.text().await.expect("a body");
    assert!(status.is_success(), "{what} {body}: {status} {text}");
    serde_json::from_str(&text).expect("JSON")
}

/// What a marketplace lets us in with, and the token that it gave by hand.
fn with_token<'a>(stall: &Stall, token: Option<&'a str>) -> Vec<(&'static str, &'a str)> {
    let mut credentials: Vec<(&'static str, &'a str)> = stall.credentials();
    credentials.extend(token.map(|token| ("refresh_token", token)));
    credentials
}
