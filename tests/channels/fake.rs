//! One of the fake marketplaces with its buyers, its faults and its books, and adapters that are pointed at it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use marketplaces::{Marketplaces, Settings};
use onepool::{
    channel::{
        Failure, ItemId, MARKETPLACES, Marketplace, OrderLine, Pulled, StockWrite, Window,
        call::Setup,
        quota::{Quota, Rate, Seen, Urgency},
        token::{InMemory, TokenStore},
    },
    clock,
    config::Secret,
};
use serde_json::{Value, json};

/// More pages than any test has.
const MOST_PAGES: usize = 1_000;

/// Allows everything, and keeps what it was told.
#[derive(Default)]
pub(crate) struct Notes(Mutex<Vec<Seen>>);

impl Notes {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Quota for Notes {
    fn permit<'a>(&'a self, _: &'a str, _: Rate, _: Urgency) -> BoxFuture<'a, Result<(), Failure>> {
        std::future::ready(Ok(())).boxed()
    }

    fn observe<'a>(&'a self, _: &'a str, seen: Seen) -> BoxFuture<'a, ()> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(seen);
        std::future::ready(()).boxed()
    }
}

/// One of the fakes.
pub(crate) struct Fake {
    /// All of them run; they stop with this.
    _all: Marketplaces,
    pub(crate) base_url: String,
    pub(crate) http: reqwest::Client,
    pub(crate) notes: Arc<Notes>,
}

impl Fake {
    pub(crate) async fn start(base_url: fn(&Marketplaces) -> &str) -> Self {
        let all = Marketplaces::start(Settings::default())
            .await
            .expect("the fakes start");
        Self {
            base_url: base_url(&all).to_owned(),
            _all: all,
            http: reqwest::Client::new(),
            notes: Arc::default(),
        }
    }

    /// An adapter of it, with a token store of its own.
    pub(crate) fn adapter(
        &self,
        channel: &str,
        credentials: &[(&str, &str)],
    ) -> Box<dyn Marketplace> {
        self.adapter_with(channel, credentials, Arc::new(InMemory::default()))
    }

    pub(crate) fn adapter_with(
        &self,
        channel: &str,
        credentials: &[(&str, &str)],
        tokens: Arc<dyn TokenStore>,
    ) -> Box<dyn Marketplace> {
        let (_, open) = MARKETPLACES
            .iter()
            .find(|(name, _)| *name == channel)
            .expect("it is in the table");
        let credentials: BTreeMap<String, Secret> = credentials
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Secret::new(*text)))
            .collect();
        open(Setup {
            channel: channel.to_owned(),
            base_url: self.base_url.clone(),
            credentials,
            quota: Arc::clone(&self.notes) as Arc<dyn Quota>,
            tokens,
        })
        .expect("it opens")
    }

    /// What a buyer, the seller's office or the fault script does.
    pub(crate) async fn does(&self, what: &str, body: Value) -> Value {
        let url = format!("{}/sandbox/{what}", self.base_url);
        let answer = self.http.post(url).json(&body).send().await;
        let answer = answer.expect("the fake answers");
        let status = answer.status();
        let text = answer.text().await.expect("a body");
        assert!(status.is_success(), "{what} {body}: {status} {text}");
        serde_json::from_str(&text).expect("JSON")
    }

    /// The fake's own books.
    pub(crate) async fn books(&self, what: &str) -> Vec<Value> {
        let url = format!("{}/sandbox/{what}", self.base_url);
        let answer = self.http.get(url).send().await.expect("the fake answers");
        let mut books: Value = answer.json().await.expect("JSON");
        let Value::Array(list) = books[what].take() else {
            panic!("{what} is no list: {books}");
        };
        list
    }

    pub(crate) async fn fault(&self, rule: Value) {
        self.does("faults", json!({ "faults": [rule] })).await;
    }

    /// How many requests of this operation have arrived.
    pub(crate) async fn arrived(&self, operation: &str) -> usize {
        let requests = self.books("requests").await;
        requests
            .iter()
            .filter(|request| request["operation"] == operation)
            .count()
    }

    /// A buyer orders one line. Answers the order's id.
    pub(crate) async fn order(&self, item: &ItemId, quantity: u64) -> String {
        let line =
            json!({ "productId": item.product, "optionId": item.option, "quantity": quantity });
        let order = self.does("orders", json!({ "lines": [line] })).await;
        order["orderId"].as_str().expect("an id").to_owned()
    }

    /// A line of an order, as the books have it.
    pub(crate) async fn line(&self, order: &str) -> Value {
        let orders = self.books("orders").await;
        orders
            .iter()
            .find(|found| found["orderId"] == order)
            .map(|found| found["lines"][0].clone())
            .expect("the order is in the books")
    }
}

/// The last half hour, and what is ordered while a test runs.
pub(crate) fn lately() -> Window {
    let now = clock::now();
    Window {
        from: now.before(Duration::from_secs(1_800)),
        to: now + Duration::from_secs(60),
    }
}

/// All pages of a window.
pub(crate) async fn pulled(market: &dyn Marketplace, window: Window) -> Vec<Pulled> {
    let (mut all, mut page) = (Vec::new(), None::<String>);
    for _ in 0..MOST_PAGES {
        let found = market
            .pull(window, page.as_deref(), Urgency::Order)
            .await
            .expect("a page");
        all.extend(found.lines);
        match found.next {
            Some(next) => page = Some(next),
            None => return all,
        }
    }
    panic!("the pages have no end");
}

/// All lines of a window, as the last page that has them shows them.
pub(crate) async fn lines(market: &dyn Marketplace, window: Window) -> BTreeMap<String, OrderLine> {
    pulled(market, window)
        .await
        .into_iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => (line.key.clone(), line),
            Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        })
        .collect()
}

/// The one line of an order.
pub(crate) async fn line_of(market: &dyn Marketplace, order: &str) -> OrderLine {
    lines(market, lately())
        .await
        .into_values()
        .find(|line| line.order_no == order)
        .expect("it is pulled")
}

pub(crate) fn stock(item: &ItemId, units: u64, version: u64) -> StockWrite {
    StockWrite {
        item: item.clone(),
        units,
        version,
        urgency: Urgency::Down,
    }
}
