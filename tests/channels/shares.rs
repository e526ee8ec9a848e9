//! Fixed shares that are set again, and what an operator reads of a channel's credentials.

use std::time::Duration;

use axum::http::Method;
use onepool::{catalog::PullState, clock, stock::Source};
use serde_json::{Value, json};

use crate::mall::Mall;

fn fixed(units: u64) -> Value {
    json!({ "mode": "fixed", "units": units })
}

fn coupang() -> Source {
    Source::Channel("coupang".to_owned())
}

/// Fifty mugs of which ten are Coupang's, who has sold four of them.
async fn sold_four_of_ten() -> Mall {
    let mall = Mall::open(50, json!({ "mode": "shared" })).await;
    mall.list("coupang", fixed(10), 12_900, "list").await;
    mall.settle().await;
    mall.buy("coupang", 4).await.expect("it is there");
    mall.settle().await;
    assert_eq!(units(&mall).await, (40, 6));
    mall
}

async fn units(mall: &Mall) -> (i64, i64) {
    (
        mall.unsold(&Source::Pool).await,
        mall.unsold(&coupang()).await,
    )
}

fn listing(distribution: Value, price: u64) -> Value {
    json!({
        "channel_product_id": "3000000001", "distribution": distribution, "price": price, "price_policy": "list",
    })
}

#[tokio::test]
async fn a_share_that_is_set_again_is_filled_up_to_its_number_once_a_key() {
    let mall = sold_four_of_ten().await;
    let path = "/products/mug/listings/coupang";
    let put = async |key: &str, body: Value| {
        let (status, view) = mall.shop.admin(Method::PUT, path, Some(key), body).await;
        assert_eq!(status, 200, "{view}");
        view
    };
    let view = put("again", listing(fixed(10), 12_900)).await;
    assert_eq!(
        (view["units"].clone(), units(&mall).await),
        (json!(10), (36, 10))
    );
    mall.settle().await;
    assert_eq!(mall.shows("coupang").await, 10);
    mall.buy("coupang", 3).await.expect("it is there");
    mall.settle().await;
    assert_eq!(units(&mall).await, (36, 7));
    // The same request, sent again, is answered as the first time.
    put("again", listing(fixed(10), 12_900)).await;
    assert_eq!(units(&mall).await, (36, 7));
    put("another", listing(fixed(10), 12_900)).await;
    assert_eq!(units(&mall).await, (33, 10));
    put("less", listing(fixed(8), 12_900)).await;
    assert_eq!(
        units(&mall).await,
        (35, 8),
        "what is above its number goes back"
    );
    put("shared", listing(json!({ "mode": "shared" }), 12_900)).await;
    assert_eq!(units(&mall).await, (43, 0));
}

#[tokio::test]
async fn two_who_fill_a_share_at_once_fill_it_once() {
    let mall = sold_four_of_ten().await;
    let path = "/products/mug/listings/coupang";
    let put = |key: &'static str| {
        mall.shop
            .admin(Method::PUT, path, Some(key), listing(fixed(10), 12_900))
    };
    let (one, two) = tokio::join!(put("one"), put("two"));
    assert_eq!((one.0, two.0), (200, 200), "{} {}", one.1, two.1);
    assert_eq!(units(&mall).await, (36, 10));
}

#[tokio::test]
async fn a_share_that_keeps_its_number_takes_what_is_there_and_one_that_grows_all_or_nothing() {
    let mall = sold_four_of_ten().await;
    mall.stock(-38).await;
    assert_eq!(units(&mall).await, (2, 6));
    let path = "/products/mug/listings/coupang";
    let (status, problem) = mall
        .shop
        .admin(Method::PUT, path, None, listing(fixed(11), 12_900))
        .await;
    assert_eq!(
        (status, &problem["code"], &problem["left"]),
        (409, &json!("insufficient_pool"), &json!(2))
    );
    assert_eq!(units(&mall).await, (2, 6));
    // Another price must not fail for want of units.
    let (status, view) = mall
        .shop
        .admin(Method::PUT, path, None, listing(fixed(10), 13_900))
        .await;
    assert_eq!((status, &view["units"]), (200, &json!(8)), "{view}");
    assert_eq!(units(&mall).await, (0, 8));
}

#[tokio::test]
async fn an_operator_reads_when_credentials_expire_and_in_how_many_days() {
    let mall = Mall::open(1, json!({ "mode": "shared" })).await;
    let expires = clock::now() + Duration::from_secs(12 * 86_400 + 3_600);
    let state = mall.shop.catalog.pull_state("coupang").await;
    let state = PullState {
        credentials_expire_at: Some(expires),
        ..state.expect("answers")
    };
    let written = mall.shop.catalog.put_pull_state("coupang", state).await;
    assert!(written.expect("writes").is_some());
    let answer = mall.admin(Method::GET, "/channels", Value::Null).await;
    let coupang = &answer["channels"][1];
    assert_eq!(coupang["channel"], "coupang");
    assert_eq!(coupang["credentials_days_left"], 12);
    assert_eq!(coupang["credentials_expire_at"], json!(expires));
    let smartstore = &answer["channels"][0];
    assert_eq!(
        smartstore.get("credentials_days_left"),
        None,
        "its secret is good until another is issued"
    );
}
