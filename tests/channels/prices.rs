//! What a buyer pays. A list price that changes: the own store follows, and no lowest-price promise is broken on the way. Discounts
//! that take a price below its floor, and prices that somebody changed by hand: they are found, told of and put right.

use std::time::Duration;

use axum::http::Method;
use onepool::{channel::wake::SyncWake, stock::Source};
use onepool_tests::{CHANNELS, Counters};
use serde_json::{Value, json};

use crate::{alerts::Pager, mall::Mall};

async fn list_price(mall: &Mall, won: u64) -> Value {
    let product = json!({ "name": "머그", "list_price": won });
    mall.admin(Method::PUT, "/products/mug", product).await
}

/// All channels at 12,900 won, and Coupang promises the lowest price.
async fn promised() -> Mall {
    let mall = Mall::open(10, json!({ "mode": "shared" })).await;
    mall.list("coupang", json!({ "mode": "shared" }), 12_900, "lowest")
        .await;
    mall.settle().await;
    mall
}

/// Step by step, until nothing waits; after each, Coupang is not below the own store.
async fn watch(mall: &Mall) {
    for _ in 0..12 {
        mall.deliver().await;
        let (coupang, own) = (mall.asks("coupang").await, mall.asks("ownstore").await);
        assert!(
            coupang >= own,
            "coupang {coupang} below the own store {own}"
        );
        mall.pass(Duration::from_secs(20)).await;
        let tick = SyncWake::Tick;
        mall.push.handle(tick).await.expect("ticks");
    }
}

#[tokio::test]
async fn the_own_store_follows_its_list_price_and_a_promise_is_kept_all_the_way() {
    let mall = promised().await;
    let answer = list_price(&mall, 14_900).await;
    assert_eq!(answer.get("warning"), None, "{answer}");
    watch(&mall).await;
    assert_eq!(mall.asks("ownstore").await, 14_900, "it follows");
    assert_eq!(mall.asks("coupang").await, 14_900, "its floor has risen");
    assert_eq!(mall.asks("smartstore").await, 12_900, "under no rule");
    list_price(&mall, 11_900).await;
    watch(&mall).await;
    assert_eq!(mall.asks("ownstore").await, 11_900);
    assert_eq!(
        mall.asks("coupang").await,
        12_900,
        "what was set, now that it may"
    );
}

#[tokio::test]
async fn an_own_store_at_another_price_stays_there_and_the_operator_is_told() {
    let mall = promised().await;
    mall.list("ownstore", json!({ "mode": "shared" }), 11_900, "list")
        .await;
    mall.settle().await;
    let answer = list_price(&mall, 13_900).await;
    let warning = answer["warning"].as_str().expect("a sentence");
    assert!(
        warning.contains("11900") && warning.contains("/products/mug/listings/ownstore"),
        "{warning}"
    );
    mall.settle().await;
    assert_eq!(mall.asks("ownstore").await, 11_900);
    assert_eq!(
        mall.asks("coupang").await,
        13_900,
        "the list price is the floor"
    );
}

const PLATE: &str = "11000000002";

fn plate(price: u64) -> Value {
    json!({
        "channel_product_id": PLATE,
        "distribution": { "mode": "shared" }, "price": price, "price_policy": "lowest",
    })
}

async fn discount(mall: &Mall, percent: u64) {
    let method = json!({ "value": percent, "unitType": "PERCENT" });
    let given = json!({ "productId": PLATE, "discountMethod": method });
    mall.does("smartstore", "actions/discount", given).await;
}

/// A product without options at SmartStore, which promises the lowest price.
async fn promised_plate() -> Mall {
    let mall = Mall::empty().await;
    list_price(&mall, 12_900).await;
    mall.stock(10).await;
    let item = json!({ "productId": PLATE, "name": "접시", "price": 12_900, "stock": 0 });
    mall.does("smartstore", "items", item).await;
    let path = "/products/mug/listings/smartstore";
    mall.admin(Method::PUT, path, plate(12_900)).await;
    mall.settle().await;
    mall
}

async fn sweep(mall: &Mall, channel: &str) {
    let sweep = SyncWake::Sweep {
        channel: channel.to_owned(),
        after: None,
    };
    mall.push.handle(sweep).await.expect("sweeps");
    mall.deliver().await;
}

async fn prices_written(mall: &Mall) -> usize {
    mall.requests("smartstore", "multi_update").await.len()
}

#[tokio::test]
async fn a_discount_of_so_many_percent_is_made_up_for_at_once() {
    let mall = promised_plate().await;
    assert_eq!(mall.asks("smartstore").await, 12_900);
    discount(&mall, 10).await;
    sweep(&mall, "smartstore").await;
    let asked = mall.asks("smartstore").await;
    assert!(asked - asked / 10 >= 12_900, "{asked} less ten percent");
    assert!(asked < 14_500, "{asked} is more than it takes");
    let before = prices_written(&mall).await;
    for _ in 0..2 {
        sweep(&mall, "smartstore").await;
    }
    assert_eq!(prices_written(&mall).await, before, "it goes to and fro");
    let path = "/products/mug/listings/smartstore";
    let key = "k-2";
    let (status, answer) = mall
        .shop
        .admin(Method::PUT, path, Some(key), plate(13_500))
        .await;
    assert_eq!(status, 422, "a buyer would pay 12,150 won: {answer}");
    let floor = answer["floor"].as_u64().expect("a price");
    let listed = mall.admin(Method::PUT, path, plate(floor + 100)).await;
    assert_eq!(
        listed["price"].as_u64(),
        Some(floor + 100),
        "that is enough: {listed}"
    );
}

#[tokio::test]
async fn a_discount_that_cannot_be_made_up_for_is_told_of() {
    let mut mall = promised_plate().await;
    let mut pager = Pager::of(&mut mall).await;
    discount(&mall, 90).await;
    sweep(&mall, "smartstore").await;
    let alert = pager.next().await;
    assert!(alert.contains("12900"), "{alert}");
    assert!(mall.asks("smartstore").await < 30_000, "it is not tenfold");
}

/// Somebody at the seller's office asks another price.
async fn edit_price(mall: &Mall, channel: &str, won: u64) {
    let office = mall.office.get(channel).expect("one of the four");
    let edited = office.set_price(&mall.stall(channel).item(), won).await;
    edited.expect("it is taken");
}

async fn dry_run(mall: &Mall, channel: &str) -> Value {
    let path = format!("/channels/{channel}/resync?dry_run=true");
    mall.admin(Method::POST, &path, Value::Null).await
}

#[tokio::test]
async fn a_price_that_somebody_changed_by_hand_is_counted_and_put_right() {
    let counters = Counters::default();
    let _counting = counters.start();
    for channel in CHANNELS {
        let mall = Mall::open(10, json!({ "mode": "shared" })).await;
        let drifted = || counters.of("channel_price_drift", channel);
        sweep(&mall, channel).await;
        assert_eq!(drifted(), 0, "{channel}: as it was set");
        assert_eq!(counters.of("channel_drift", channel), 0, "{channel}");
        // The number goes down with it: who goes down is not told the price at 11st.
        edit_price(&mall, channel, 11_900).await;
        mall.edit(channel, 30).await;
        for _ in 0..2 {
            sweep(&mall, channel).await;
            assert_eq!(drifted(), 1, "{channel}");
            assert_eq!(counters.of("channel_drift", channel), 1, "{channel}");
            let put_right = (mall.asks(channel).await, mall.shows(channel).await);
            assert_eq!(put_right, (12_900, 10), "{channel}");
        }
        let report = dry_run(&mall, channel).await;
        assert_eq!(
            (&report["differences"], &report["unpriced"]),
            (&json!([]), &json!(0))
        );
    }
}

#[tokio::test]
async fn a_report_says_of_how_many_listings_it_does_not_know_the_price() {
    let mall = Mall::open(10, json!({ "mode": "shared" })).await;
    let no_price = json!({ "on": "product", "kind": "garbage_before_commit", "probability": 1.0,
        "contentType": "text/xml", "body": "<Products><message>no</message></Products>" });
    mall.fault("elevenst", no_price).await;
    mall.list("elevenst", json!({ "mode": "shared" }), 12_900, "list")
        .await;
    mall.stock(5).await;
    mall.settle().await;
    assert_eq!(mall.shows("elevenst").await, 15, "its units are shown");
    assert_eq!(dry_run(&mall, "elevenst").await["unpriced"], 1);
    mall.calm("elevenst").await;
    sweep(&mall, "elevenst").await;
    assert_eq!(dry_run(&mall, "elevenst").await["unpriced"], 0);
}

#[tokio::test]
async fn a_discount_at_11st_is_seen_and_made_up_for_though_nobody_goes_below_the_floor() {
    let mall = Mall::open(10, json!({ "mode": "shared" })).await;
    let discount = json!({ "productId": "9100000001", "value": 10, "unitType": "PERCENT" });
    mall.does("elevenst", "actions/discount", discount).await;
    mall.list("elevenst", json!({ "mode": "shared" }), 12_900, "lowest")
        .await;
    mall.deliver().await;
    let asked = mall.asks("elevenst").await;
    assert!(
        (14_334..14_500).contains(&asked),
        "{asked} less ten percent"
    );
    let before = mall.requests("elevenst", "price").await;
    // What goes down is not told the price, and leaves it as it is.
    mall.buy("coupang", 3).await.expect("it is there");
    mall.pull("coupang").await;
    mall.deliver().await;
    assert_eq!(mall.shows("elevenst").await, 7);
    assert_eq!(mall.requests("elevenst", "price").await.len(), before.len());
    for request in before {
        let path = request["path"].as_str().expect("a path");
        let won: u64 = path
            .rsplit('/')
            .next()
            .and_then(|won| won.parse().ok())
            .expect("won");
        assert!(won > 12_900, "{path}: below the floor less ten percent");
    }
}

#[tokio::test]
async fn what_was_sold_below_the_floor_is_taken_and_told_of() {
    for channel in CHANNELS {
        let mut mall = Mall::open(10, json!({ "mode": "shared" })).await;
        mall.list(channel, json!({ "mode": "shared" }), 12_900, "lowest")
            .await;
        mall.settle().await;
        let mut pager = Pager::of_pulls(&mut mall).await;
        mall.buy(channel, 1).await.expect("it is there");
        mall.pull(channel).await;
        assert_eq!(pager.told(), [""; 0], "{channel}: at the floor");
        edit_price(&mall, channel, 11_900).await;
        for _ in 0..2 {
            mall.buy(channel, 2).await.expect("it is there");
        }
        mall.pass(Duration::from_secs(60)).await;
        mall.pull(channel).await;
        assert_eq!(
            mall.unsold(&Source::Pool).await,
            5,
            "{channel}: all are sold"
        );
        let told = pager.told();
        let [alert] = &told[..] else {
            panic!("{channel}: {told:?}");
        };
        assert!(
            alert.contains("11900") && alert.contains("12900"),
            "{alert}"
        );
    }
}
