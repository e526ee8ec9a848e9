//! A shop with one product on all four marketplaces, and the two functions that keep them together. Time passes when a test says so,
//! in the shop and at the marketplaces alike.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::http::Method;
use marketplaces::{Marketplaces, Settings};
use onepool::{
    channel::{
        Ports,
        call::Setup,
        pull::Pull,
        push::Push,
        quota::Unlimited,
        token::InMemory,
        wake::{PullWake, SyncWake},
    },
    clock,
    config::Secret,
    stock::Source,
};
use onepool_tests::{CHANNELS, Shop};
use serde_json::{Value, json};

/// Rounds in which everything has to come to rest.
const ROUNDS: usize = 40;
/// What passes between two rounds.
const STEP: Duration = Duration::from_secs(20);

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
    urls: BTreeMap<&'static str, String>,
    http: reqwest::Client,
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
        let ports = || ports(&urls, &refresh_token);
        let (for_pull, for_push) = ports();
        let mall = Self {
            pull: shop.pull(for_pull),
            push: shop.push(for_push),
            shop,
            urls,
            http,
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
        mall
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
        let (_, product, _, option) = item(channel);
        let body = json!({
            "channel_product_id": product, "channel_option_id": option,
            "distribution": distribution, "price": price, "price_policy": policy,
        });
        let path = format!("/products/mug/listings/{channel}");
        self.admin(Method::PUT, &path, body).await;
    }

    /// The operator changes the stock.
    pub(crate) async fn stock(&self, delta: i64) {
        let body = json!({ "delta": delta, "reason": "입고" });
        self.admin(Method::POST, "/products/mug/stock", body).await;
    }

    /// The operator calls a route that has to work.
    pub(crate) async fn admin(&self, method: Method, path: &str, body: Value) -> Value {
        let key = format!("{:016x}", fastrand::u64(..));
        let (status, answer) = self.shop.admin(method, path, Some(&key), body).await;
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    }

    /// What a buyer, the seller's office or the fault script does at a marketplace.
    pub(crate) async fn does(&self, channel: &str, what: &str, body: Value) -> Value {
        post(&self.http, &self.urls[channel], what, body).await
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

    /// Units that were bought at a marketplace, by its own books.
    pub(crate) async fn bought(&self, channel: &str) -> i64 {
        let url = format!("{}/sandbox/orders", self.urls[channel]);
        let answer = self.http.get(url).send().await.expect("the fake answers");
        let books: Value = answer.json().await.expect("JSON");
        let orders = books["orders"].as_array().expect("orders");
        let lines = orders
            .iter()
            .flat_map(|order| order["lines"].as_array().expect("lines"));
        lines
            .map(|line| line["quantity"].as_i64().expect("units"))
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
        let url = format!("{}/sandbox/items", self.urls[channel]);
        let answer = self.http.get(url).send().await.expect("the fake answers");
        let books: Value = answer.json().await.expect("JSON");
        books["items"][0].clone()
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

    /// Brings the messages that wait on the two queues, and those that these bring about, until there are none. Returns whether there were any.
    pub(crate) async fn deliver(&self) -> bool {
        let mut any = false;
        for _ in 0..50 {
            let syncs = self.shop.wire.take_messages("channels");
            let pulls = self.shop.wire.take_messages("pulls");
            drop(self.shop.wire.take_delays());
            if syncs.is_empty() && pulls.is_empty() {
                break;
            }
            any = true;
            let mut seen = Vec::new();
            for body in pulls {
                if !seen.contains(&body) {
                    let wake: PullWake = serde_json::from_str(&body).expect("ours");
                    self.pull.run(wake).await.expect("pulls");
                    seen.push(body);
                }
            }
            for body in syncs {
                if !seen.contains(&body) {
                    let wake: SyncWake = serde_json::from_str(&body).expect("ours");
                    self.push.handle(wake).await.expect("pushes");
                    seen.push(body);
                }
            }
            // Looks that are for later come with the next step, not in a circle.
            if seen
                .iter()
                .all(|body| body.contains("push") || body.contains("channel\":"))
                && seen.len() < 2
            {
                break;
            }
        }
        any
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
        for round in 0..ROUNDS {
            self.pass(STEP).await;
            for channel in CHANNELS {
                self.pull(channel).await;
            }
            self.push.handle(SyncWake::Tick).await.expect("ticks");
            self.deliver().await;
            if round % 4 == 1 {
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

/// The same channels twice, as the two functions have them.
fn ports(urls: &BTreeMap<&'static str, String>, refresh_token: &str) -> (Ports, Ports) {
    let (mut first, mut second) = (Ports::default(), Ports::default());
    for channel in CHANNELS {
        let (marketplace, credentials): (&str, Vec<(&str, &str)>) = match channel {
            "smartstore" => (
                channel,
                vec![
                    ("client_id", "demo-app-id"),
                    ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye"),
                ],
            ),
            "coupang" => (
                channel,
                vec![
                    ("access_key", "demo-access-key"),
                    ("secret_key", "demo-secret-key"),
                    ("vendor_id", "A00012345"),
                    ("user_id", "wing-user"),
                ],
            ),
            "elevenst" => (
                channel,
                vec![("api_key", "demo0000000000000000000000000000")],
            ),
            _ => (
                "cafe24",
                vec![
                    ("mall_id", "demomall"),
                    ("client_id", "demoClient"),
                    ("client_secret", "demoSecret"),
                    ("refresh_token", refresh_token),
                ],
            ),
        };
        let tokens = Arc::new(InMemory::default());
        for ports in [&mut first, &mut second] {
            let setup = Setup {
                channel: channel.to_owned(),
                base_url: urls[channel].clone(),
                credentials: credentials
                    .iter()
                    .map(|(name, text)| ((*name).to_owned(), Secret::new(*text)))
                    .collect(),
                quota: Arc::new(Unlimited),
                tokens: tokens.clone(),
            };
            ports.open(marketplace, setup).expect("it opens");
        }
    }
    (first, second)
}
