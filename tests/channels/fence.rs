//! A spotlight opens when the channels have shrunk, and waits for no dead one.

use std::time::Duration;

use axum::http::Method;
use onepool::{auth::Role, channel::wake::SyncWake, clock, stock::Source};
use onepool_tests::CHANNELS;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::mall::Mall;

/// Longer than any of these tests takes.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a test bears that waits to the end.
const SHORT: Duration = Duration::from_millis(400);

/// A shop with fifty mugs on all channels, a broadcast on air, and the path to its spotlight.
async fn on_air(patience: Duration) -> (Mall, String) {
    let mut mall = Mall::open(50, json!({ "mode": "shared" })).await;
    mall.shop = mall.shop.patient(patience);
    let id = mall.begin_broadcast().await;
    let path = format!("/broadcasts/{id}/products/spotlight");
    (mall, path)
}

impl Mall {
    /// The host goes on air, with nothing to sell yet. Answers the broadcast's id.
    pub(crate) async fn begin_broadcast(&self) -> String {
        let title = json!({ "title": "라이브" });
        let broadcast = self.admin(Method::POST, "/broadcasts", title).await;
        let id = broadcast["broadcast_id"].as_str().expect("an id");
        let start = format!("/broadcasts/{id}/start");
        self.admin(Method::POST, &start, json!({})).await;
        id.to_owned()
    }
}

/// So many mugs are put up for sale on air.
pub(crate) fn spotlight(units: u64) -> Value {
    json!({ "product_id": "mug", "live_price": 9_900, "limited_quantity": units })
}

fn live(path: &str) -> Source {
    let id = path.split('/').nth(2).expect("a broadcast");
    Source::Live(id.parse().expect("an id"))
}

/// What of the mug is for sale in the broadcast.
async fn for_sale(mall: &Mall, path: &str) -> i64 {
    let mug = "mug".parse().expect("an id");
    let stock = mall.shop.gate.stock(&mug, &[&live(path)]).await;
    let stock = stock.expect("answers").first().copied().flatten();
    stock.map_or(0, |stock| stock.left)
}

#[tokio::test]
async fn the_sale_opens_when_every_channel_shows_that_the_units_are_gone() {
    let (mall, path) = on_air(PATIENCE).await;
    let opening = mall.admin(Method::POST, &path, spotlight(30));
    let shrinking = async {
        // The units are taken at once, and nobody sells them yet.
        while mall.unsold(&live(&path)).await != 30 {
            sleep(Duration::from_millis(10)).await;
        }
        sleep(Duration::from_millis(300)).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 20);
        assert_eq!(for_sale(&mall, &path).await, 0, "no channel has shrunk yet");
        bring(&mall).await;
    };
    let (answer, ()) = tokio::join!(opening, shrinking);
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 20)));
    assert_eq!(
        (&answer["status"], &answer["remaining"]),
        (&json!("spotlighted"), &json!(30))
    );
    assert_eq!(answer.get("warning"), None, "{answer}");
    assert_eq!(for_sale(&mall, &path).await, 30);
}

#[tokio::test]
async fn a_channel_that_is_late_is_waited_for_within_bounds_and_named() {
    let (mall, path) = on_air(SHORT).await;
    let since = Instant::now();
    let token = mall.shop.token("host", Role::Broadcaster);
    let bearer = format!("Bearer {token}");
    let headers = [
        ("authorization", bearer.as_str()),
        ("accept-language", "en"),
    ];
    let (status, answer) = mall
        .shop
        .admin_raw(Method::POST, &path, headers, spotlight(30).to_string())
        .await;
    assert_eq!(status, 200, "{answer}");
    assert!(since.elapsed() >= SHORT, "it waited");
    assert_eq!(for_sale(&mall, &path).await, 30, "and went on");
    let behind = answer["channels_behind"].as_array().expect("a list");
    assert_eq!(behind.len(), 4, "{answer}");
    assert_eq!(
        behind[0],
        json!({ "channel": "smartstore", "shown": 50, "units": 20, "reason": "late" })
    );
    let warning = answer["warning"].as_str().expect("a sentence");
    assert!(warning.contains("smartstore, coupang"), "{warning}");
}

#[tokio::test]
async fn a_channel_that_is_left_alone_is_not_waited_for() {
    let (mall, path) = on_air(PATIENCE).await;
    let dead = |on: &str| json!({ "on": on, "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    let faults = ["quantity", "inventory"].map(dead);
    mall.does("coupang", "faults", json!({ "faults": faults }))
        .await;
    mall.stock(1).await;
    // Three failures in a row open its circuit.
    for _ in 0..3 {
        mall.deliver().await;
        mall.pass(Duration::from_secs(5)).await;
        mall.push.handle(SyncWake::Tick).await.expect("ticks");
    }
    let circuit = mall.push.circuits.of("coupang").await.expect("answers");
    assert!(circuit.is_open(clock::now()), "{circuit:?}");
    let opening = mall.admin(Method::POST, &path, spotlight(30));
    let shrinking = async {
        while mall.unsold(&live(&path)).await != 30 {
            sleep(Duration::from_millis(10)).await;
        }
        bring(&mall).await;
    };
    let since = Instant::now();
    let (answer, ()) = tokio::join!(opening, shrinking);
    assert!(since.elapsed() < PATIENCE);
    let behind = answer["channels_behind"].as_array().expect("a list");
    let named: Vec<_> = behind
        .iter()
        .map(|behind| (behind["channel"].clone(), behind["reason"].clone()))
        .collect();
    assert_eq!(named, [(json!("coupang"), json!("away"))]);
    assert!(
        answer["warning"]
            .as_str()
            .is_some_and(|text| text.contains("coupang"))
    );
}

#[tokio::test]
async fn units_that_are_added_on_air_are_sold_after_the_channels_have_shrunk_and_the_rest_comes_back()
 {
    let (mall, path) = on_air(PATIENCE).await;
    let opening = mall.admin(Method::POST, &path, spotlight(10));
    let (_, ()) = tokio::join!(opening, shrink(&mall, &path, 10));
    let product = path.replace("spotlight", "mug");
    let adding = mall.admin(Method::PATCH, &product, json!({ "add_quantity": 15 }));
    let shrinking = async {
        while mall.unsold(&live(&path)).await != 25 {
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(for_sale(&mall, &path).await, 10, "the new ones not yet");
        shrink(&mall, &path, 25).await;
    };
    let (answer, ()) = tokio::join!(adding, shrinking);
    assert_eq!(answer["remaining"], 25, "{answer}");
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 25)));
    let end = path.replace("products/spotlight", "end");
    let ended = mall.admin(Method::POST, &end, json!({})).await;
    assert_eq!(ended["returned"][0]["units"], 25);
    bring(&mall).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 50)));
}

/// Brings messages once the ledger has so many units in the fence.
async fn shrink(mall: &Mall, path: &str, units: i64) {
    while mall.unsold(&live(path)).await != units {
        sleep(Duration::from_millis(10)).await;
    }
    // The wake comes after the move.
    while !mall.deliver().await {
        sleep(Duration::from_millis(10)).await;
    }
    bring(mall).await;
}

/// Brings what waits, and what that brings about. A channel that is left alone wakes itself for ever.
async fn bring(mall: &Mall) {
    for _ in 0..4 {
        if !mall.deliver().await {
            return;
        }
    }
}

#[tokio::test]
async fn a_product_that_no_channel_lists_opens_at_once() {
    let mut mall = Mall::empty().await;
    mall.shop = mall.shop.patient(PATIENCE);
    let since = Instant::now();
    let show = mall.shop.show(50, 30, None).await;
    assert!(since.elapsed() < PATIENCE);
    assert_eq!(show.product.as_str(), "p1");
}
