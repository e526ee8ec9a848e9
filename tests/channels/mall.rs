//! A shop with one product on all four marketplaces, and the two functions that keep them together. Time passes when a test says so,
//! in the shop and at the marketplaces alike.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::Method;
use futures::future::join_all;
use marketplaces::{Marketplaces, Settings};
use onepool::{
    channel::{
        ItemId, Ports,
        call::Setup,
        pull::Pull,
        push::Push,
        quota::{Quota, Unlimited},
        token::InMemory,
        wake::{PullWake, SyncWake},
    },
    clock::{self, Timestamp},
    config::Secret,
    error::Error,
    stock::Source,
};
use onepool_tests::{CHANNELS, Shop};
use serde_json::{Value, json};

/// Rounds in which everything has to come to rest.
const ROUNDS: usize = 40;
/// What passes between two rounds.
const STEP: Duration = Duration::from_secs(20);
/// Times that messages bring about messages.
const DELIVERIES: usize = 50;

/// What each marketplace calls the mug: product and option; and what we call it there.
const ITEMS: [(&str, &str, &str, Option<&str>); 4] = [
    (
        "smartstore",
        "11000000001",
        "41000000001",
        Some("41000000001"),
    ),
    ("coupang", "3000000001", "3000000001", None),
    ("elevenst", "9100000001", "44000000001", Some("44000000001")),
    ("ownstore", "100", "P000000100A0", Some("P000000100A0")),
];

/// The shop and its channels.
pub(crate) struct Mall {
    pub(crate) shop: Shop,
    pub(crate) pull: Pull,
    pub(crate) push: Push,
    /// What the seller's people do at the marketplaces by hand.
    pub(crate) office: Ports,
    urls: BTreeMap<&'static str, String>,
    http: reqwest::Client,
    /// Messages of the two queues, each with the moment from which it is received.
    queued: RefCell<Vec<(Timestamp, String)>>,
    _all: Marketplaces,
}

impl Mall {
    /// Opens a shop with so many mugs, each channel listing them with this distribution.
    pub(crate) async fn open(units: u64, distribution: Value) -> Self {
        let mall = Self::empty().await;
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
        let http = reqwest::Client::new();
        let token = post(&http, &urls["ownstore"], "actions/cafe24-tokens", json!({})).await;
        let refresh_token = token["refresh_token"].as_str().expect("a token").to_owned();
        let [for_pull, for_push, office] = ports(&urls, &refresh_token);
        let mall = Self {
            pull: shop.pull(for_pull),
            push: shop.push(for_push),
            office,
            shop,
            urls,
            http,
            queued: RefCell::default(),
            _all: all,
        };
        // An earlier shop of the same test may have put this thread's clock ahead.
        let real = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let ahead = Duration::from_millis(clock::now().millis()).saturating_sub(real);
        for channel in CHANNELS {
            let advance = json!({ "advance_s": ahead.as_secs() });
            mall.does(channel, "clock", advance).await;
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
        let (_, product, option, _) = item(channel);
        let options = json!([{ "optionId": option, "name": "흰색", "stock": stock }]);
        let item = if channel == "coupang" {
            json!({ "name": "머그", "price": 12_900, "options": options })
        } else {
            json!({ "productId": product, "name": "머그", "price": 12_900, "options": options })
        };
        self.does(channel, "items", item).await;
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
        let (_, product, _, option) = item(channel);
        let body = json!({
            "channel_product_id": product, "channel_option_id": option,
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

    /// What a marketplace calls the mug.
    pub(crate) fn item_of(&self, channel: &str) -> ItemId {
        let (_, product, _, option) = item(channel);
        ItemId {
            product: product.to_owned(),
            option: option.map(str::to_owned),
        }
    }

    /// What a buyer orders.
    pub(crate) fn order(&self, channel: &str, units: u64) -> Value {
        let (_, product, option, _) = item(channel);
        let line = if channel == "coupang" {
            json!({ "optionId": option, "quantity": units })
        } else {
            json!({ "productId": product, "optionId": option, "quantity": units })
        };
        json!({ "lines": [line] })
    }

    /// Units that were bought at a marketplace and not cancelled, by its own books.
    pub(crate) async fn bought(&self, channel: &str) -> i64 {
        let books = self.books(channel, "orders").await;
        let orders = books["orders"].as_array().expect("orders");
        let lines = orders
            .iter()
            .flat_map(|order| order["lines"].as_array().expect("lines"));
        let units = |line: &Value, name: &str| line[name].as_i64().expect("units");
        lines
            .map(|line| match channel {
                "smartstore" => units(line, "remainQuantity"),
                "coupang" => units(line, "quantity") - units(line, "cancelCount"),
                "elevenst" => units(line, "left"),
                // What is cancelled of an item is one of its own there.
                _ if line["state"]
                    .as_str()
                    .is_some_and(|state| state.starts_with("C4")) =>
                {
                    0
                }
                _ => units(line, "quantity"),
            })
            .sum()
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
        let order = self.order(channel, units);
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
        self.option(channel).await["stock"].as_i64().expect("units")
    }

    /// The price of the mug at a marketplace, by its own books.
    pub(crate) async fn asks(&self, channel: &str) -> i64 {
        self.item(channel).await["price"].as_i64().expect("a price")
    }

    async fn item(&self, channel: &str) -> Value {
        self.books(channel, "items").await["items"][0].clone()
    }

    async fn option(&self, channel: &str) -> Value {
        let (_, _, option, _) = item(channel);
        let item = self.item(channel).await;
        let options = item["options"].as_array().expect("options");
        options
            .iter()
            .find(|found| found["optionId"] == option)
            .expect("it is in the books")
            .clone()
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
        let mut credentials = credentials(channel);
        let token = if channel == "ownstore" {
            let pair = self.does(channel, "actions/cafe24-tokens", json!({})).await;
            pair["refresh_token"].as_str().expect("a token").to_owned()
        } else {
            String::new()
        };
        if channel == "ownstore" {
            credentials.push(("refresh_token", &token));
        }
        self.start_anew(channel, &credentials, quota);
    }

    fn start_anew(&mut self, channel: &str, credentials: &[(&str, &str)], quota: Arc<dyn Quota>) {
        let tokens = Arc::new(InMemory::default());
        for ports in [&mut self.pull.ports, &mut self.push.ports] {
            let terms = (Arc::clone(&quota), &tokens);
            open(ports, channel, &self.urls[channel], credentials, terms);
        }
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

fn item(
    channel: &str,
) -> (
    &'static str,
    &'static str,
    &'static str,
    Option<&'static str>,
) {
    let found = ITEMS.into_iter().find(|(name, ..)| *name == channel);
    found.expect("one of the four")
}

/// What each channel lets us in with. The own store's first token is its mall's.
pub(crate) fn credentials(channel: &str) -> Vec<(&'static str, &str)> {
    match channel {
        "smartstore" => vec![
            ("client_id", "demo-app-id"),
            ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye"),
        ],
        "coupang" => vec![
            ("access_key", "demo-access-key"),
            ("secret_key", "demo-secret-key"),
            ("vendor_id", "A00012345"),
            ("user_id", "wing-user"),
        ],
        "elevenst" => vec![("api_key", "demo0000000000000000000000000000")],
        _ => vec![
            ("mall_id", "demomall"),
            ("client_id", "demoClient"),
            ("client_secret", "demoSecret"),
        ],
    }
}

/// What a channel lets nobody in with, any more.
pub(crate) fn refused(channel: &str) -> Vec<(&'static str, &str)> {
    let mut credentials = credentials(channel);
    match channel {
        "smartstore" => credentials[1].1 = "$2a$04$......................",
        "coupang" => credentials[1].1 = "revoked-secret-key",
        "elevenst" => credentials[0].1 = "revoked0000000000000000000000000",
        _ => credentials.push(("refresh_token", "revoked")),
    }
    credentials
}

/// The same channels three times: as the two functions have them, and the office.
fn ports(urls: &BTreeMap<&'static str, String>, refresh_token: &str) -> [Ports; 3] {
    let mut all = [(); 3].map(|()| Ports::default());
    for channel in CHANNELS {
        let mut credentials = credentials(channel);
        if channel == "ownstore" {
            credentials.push(("refresh_token", refresh_token));
        }
        let tokens = Arc::new(InMemory::default());
        for ports in &mut all {
            let terms = (Arc::new(Unlimited) as Arc<dyn Quota>, &tokens);
            open(ports, channel, &urls[channel], &credentials, terms);
        }
    }
    all
}

fn open(
    ports: &mut Ports,
    channel: &str,
    url: &str,
    credentials: &[(&str, &str)],
    (quota, tokens): (Arc<dyn Quota>, &Arc<InMemory>),
) {
    let setup = Setup {
        channel: channel.to_owned(),
        base_url: url.to_owned(),
        credentials: credentials
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Secret::new(*text)))
            .collect(),
        quota,
        tokens: tokens.clone(),
    };
    let marketplace = if channel == "ownstore" {
        "cafe24"
    } else {
        channel
    };
    ports.open(marketplace, setup).expect("it opens");
}
