//! A list price that changes: the own store follows, and no lowest-price promise is broken on the way.

use std::time::Duration;

use axum::http::Method;
use serde_json::{Value, json};

use crate::mall::Mall;

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
        let tick = onepool::channel::wake::SyncWake::Tick;
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
