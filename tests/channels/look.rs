//! A dry run of a resync: every listing is looked at and nothing is changed, and what differs is told.

use std::{sync::Arc, time::Duration};

use axum::http::Method;
use futures::{StreamExt, stream};
use onepool::{
    channel::{
        ItemId,
        listing::{Buffer, Distribution, Listing, PricePolicy},
    },
    stock::Source,
};
use onepool_tests::CHANNELS;
use serde_json::{Value, json};

use crate::{mall::Mall, scarce::Scarce, trouble::Away};

/// More listings than one answer compares.
const MANY: usize = 1_030;

async fn mall() -> Mall {
    Mall::open(50, json!({ "mode": "shared" })).await
}

/// What a dry run says when it is asked for, and what after its look was made.
async fn dry_runs(mall: &Mall, channel: &str) -> (Value, Value) {
    let path = format!("/channels/{channel}/resync?dry_run=true");
    let first = mall.admin(Method::POST, &path, Value::Null).await;
    mall.deliver().await;
    let second = mall.admin(Method::POST, &path, Value::Null).await;
    (first, second)
}

/// The names of what a marketplace was asked to do.
async fn asked(mall: &Mall, channel: &str) -> Vec<String> {
    let books = mall.books(channel, "requests").await;
    let requests = books["requests"].as_array().expect("requests");
    let name = |request: &Value| request["operation"].as_str().expect("a name").to_owned();
    requests.iter().map(name).collect()
}

#[tokio::test]
async fn a_number_that_was_edited_by_hand_is_shown_before_it_is_put_right() {
    let mall = mall().await;
    for (channel, read) in CHANNELS
        .into_iter()
        .zip(["product", "inventory", "stck", "product"])
    {
        mall.edit(channel, 60).await;
        let before = asked(&mall, channel).await.len();
        let (first, second) = dry_runs(&mall, channel).await;
        assert_eq!(
            (
                &first["complete"],
                &first["looked_at"],
                &first["differences"]
            ),
            (&json!(false), &json!(0), &json!([])),
            "{first}"
        );
        assert_eq!(
            (
                &second["complete"],
                &second["looked_at"],
                &second["compared"]
            ),
            (&json!(true), &json!(1), &json!(1)),
            "{second}"
        );
        let difference = &second["differences"][0];
        assert_eq!(
            (&difference["units"], &difference["shown"]),
            (&json!(50), &json!(60)),
            "{channel}: {second}"
        );
        let asked = asked(&mall, channel).await.split_off(before);
        // 11st tells the price elsewhere.
        let reads = [read, "product"];
        assert!(
            !asked.is_empty() && asked.iter().all(|name| reads.contains(&name.as_str())),
            "{asked:?}"
        );
        assert_eq!(mall.shows(channel).await, 60, "a dry run changes nothing");

        let path = format!("/channels/{channel}/resync");
        mall.admin(Method::POST, &path, Value::Null).await;
        mall.deliver().await;
        assert_eq!(mall.shows(channel).await, 50, "{channel}");
        let (first, second) = dry_runs(&mall, channel).await;
        for answer in [first, second] {
            assert_eq!(answer["differences"], json!([]), "{answer}");
        }
    }
}

#[tokio::test]
async fn units_that_went_missing_are_told_of_and_not_put_up_again() {
    let mall = mall().await;
    mall.buy("coupang", 2).await.expect("it is there");
    let (_, answer) = dry_runs(&mall, "coupang").await;
    let difference = &answer["differences"][0];
    assert_eq!(
        (
            &difference["units"],
            &difference["shown"],
            &difference["unexplained"]
        ),
        (&json!(50), &json!(48), &json!(2)),
        "{answer}"
    );
    // The push that comes later knows that they are missing: the look has taken nothing from it.
    mall.stock(5).await;
    mall.deliver().await;
    assert_eq!(mall.shows("coupang").await, 53);
    mall.pull("coupang").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 53);
    let (_, answer) = dry_runs(&mall, "coupang").await;
    assert_eq!(answer["differences"], json!([]), "{answer}");
}

#[tokio::test]
async fn what_cannot_be_bought_is_told_of_though_its_number_is_right() {
    let mall = mall().await;
    let body = json!({ "code": "SUCCESS", "message": "",
        "data": { "sellerItemId": 1, "amountInStock": 50, "salePrice": 12_900, "onSale": false } });
    let stopped = json!({ "on": "inventory", "kind": "garbage_before_commit", "probability": 1.0,
        "contentType": "application/json", "body": body.to_string() });
    mall.fault("coupang", stopped).await;
    let (_, answer) = dry_runs(&mall, "coupang").await;
    let difference = &answer["differences"][0];
    assert_eq!(
        (
            &difference["units"],
            &difference["shown"],
            &difference["on_sale"]
        ),
        (&json!(50), &json!(50), &json!(false)),
        "{answer}"
    );
    mall.calm("coupang").await;
    let (_, answer) = dry_runs(&mall, "coupang").await;
    assert_eq!(answer["differences"], json!([]), "{answer}");
}

#[tokio::test]
async fn a_channel_that_is_away_is_said_to_be_and_looked_at_anew_when_it_is_back() {
    let mall = mall().await;
    mall.edit("elevenst", 60).await;
    mall.lose("elevenst", Away::Down).await;
    let (_, answer) = dry_runs(&mall, "elevenst").await;
    let error = answer["error"].as_str().expect("a sentence");
    assert!(error.contains("503"), "{error}");
    assert_eq!(answer["complete"], false, "{answer}");
    mall.calm("elevenst").await;
    mall.pass(Duration::from_secs(300)).await;
    let (_, answer) = dry_runs(&mall, "elevenst").await;
    assert_eq!(answer["complete"], true, "{answer}");
    assert_eq!(answer["differences"][0]["shown"], 60, "{answer}");
}

#[tokio::test]
async fn a_look_waits_for_calls_to_spare_and_one_that_died_is_begun_anew() {
    let mut mall = mall().await;
    mall.edit("smartstore", 60).await;
    mall.ration("smartstore", Arc::new(Scarce::new(1, 0.1)))
        .await;
    let (_, answer) = dry_runs(&mall, "smartstore").await;
    assert_eq!(
        (&answer["complete"], &answer["looked_at"]),
        (&json!(false), &json!(0)),
        "{answer}"
    );
    for _ in 0..10 {
        mall.pass(Duration::from_secs(20)).await;
        mall.deliver().await;
    }
    let path = "/channels/smartstore/resync?dry_run=true";
    let answer = mall.admin(Method::POST, path, Value::Null).await;
    assert_eq!(answer["complete"], true, "{answer}");
    assert_eq!(answer["differences"][0]["shown"], 60, "{answer}");
    // Its wake is lost.
    mall.admin(Method::POST, path, Value::Null).await;
    drop(mall.due());
    mall.admin(Method::POST, path, Value::Null).await;
    assert!(mall.due().is_empty(), "it is thought to be under way");
    mall.pass(Duration::from_secs(181)).await;
    let (_, answer) = dry_runs(&mall, "smartstore").await;
    assert_eq!(answer["complete"], true, "{answer}");
}

#[tokio::test]
async fn what_a_look_found_is_news_for_a_while() {
    let mall = mall().await;
    let path = "/channels/coupang/resync?dry_run=true";
    mall.admin(Method::POST, path, Value::Null).await;
    mall.deliver().await;
    mall.edit("coupang", 60).await;
    mall.pass(Duration::from_secs(601)).await;
    let (first, second) = dry_runs(&mall, "coupang").await;
    assert_eq!(first["complete"], false, "it looks anew: {first}");
    assert_eq!(second["differences"][0]["shown"], 60, "{second}");
}

#[tokio::test]
async fn more_listings_than_an_answer_compares_are_gone_on_with() {
    let mall = Mall::empty().await;
    let catalog = &mall.shop.catalog;
    stream::iter(0..MANY)
        .for_each_concurrent(16, |number| async move {
            let listing = Listing {
                product_id: format!("sku-{number:04}").parse().expect("an id"),
                channel: "coupang".to_owned(),
                item: ItemId {
                    product: format!("{number:04}"),
                    option: None,
                },
                distribution: Distribution::Shared {
                    buffer: Buffer::Units(0),
                },
                price: 12_900,
                price_policy: PricePolicy::List,
                version: 1,
            };
            catalog.put_listing(&listing, None).await.expect("listed");
        })
        .await;
    let path = "/channels/coupang/resync?dry_run=true";
    let first = mall.admin(Method::POST, path, Value::Null).await;
    let after = first["after"].as_str().expect("there are more");
    let path = format!("{path}&after={}", after.replace('#', "%23"));
    let second = mall.admin(Method::POST, &path, Value::Null).await;
    let compared = |answer: &Value| answer["compared"].as_u64().expect("a number");
    assert_eq!(compared(&first) + compared(&second), MANY as u64);
    assert!(second["after"].is_null(), "{second}");
    let (status, answer) = mall
        .shop
        .admin(
            Method::POST,
            "/channels/coupang/resync?dry_run=true&after=",
            None,
            Value::Null,
        )
        .await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!("invalid_request")),
        "{answer}"
    );
}
