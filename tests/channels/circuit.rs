//! When a channel is left alone, and for how long; and when not.

use std::time::Duration;

use axum::http::Method;
use onepool::{
    channel::{
        quota::{Quota, Seen},
        wake::SyncWake,
    },
    clock,
    stock::Source,
};
use onepool_tests::CHANNELS;
use serde_json::{Value, json};

use crate::{alerts::Pager, mall::Mall, trouble::Away};

fn shared() -> Value {
    json!({ "mode": "shared" })
}

async fn circuit(mall: &Mall, channel: &str) -> &'static str {
    let pulls = mall.pull.circuits.of(channel).await.expect("answers");
    let pushes = mall.push.circuits.of(channel).await.expect("answers");
    pulls.worse(pushes).word(clock::now())
}

#[tokio::test]
async fn a_channel_that_does_not_answer_is_left_alone_for_a_while() {
    let mall = Mall::open(50, shared()).await;
    mall.lose("coupang", Away::Down).await;
    for _ in 0..4 {
        mall.minute().await;
    }
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    assert_eq!(channels["channels"][1]["circuit"], "open", "{channels}");
    let before = mall.requests("coupang", "ordersheets").await.len();
    for _ in 0..3 {
        mall.pull("coupang").await;
    }
    assert_eq!(mall.requests("coupang", "ordersheets").await.len(), before);
    mall.calm("coupang").await;
    mall.pass(Duration::from_secs(301)).await;
    mall.pull("coupang").await;
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    assert_eq!(channels["channels"][1]["circuit"], "closed", "{channels}");
}

#[tokio::test]
async fn orders_that_do_not_come_keep_no_number_waiting_and_numbers_that_go_do_not_hide_it() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    let down = json!({ "on": "ordersheets", "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    mall.fault("coupang", down).await;
    for left in [51, 52, 53] {
        mall.pull("coupang").await;
        mall.stock(1).await;
        mall.push.handle(SyncWake::Moved).await.expect("looks");
        let channel = "coupang".to_owned();
        let wake = SyncWake::Push { channel };
        mall.push.handle(wake).await.expect("pushes");
        assert_eq!(mall.shows("coupang").await, left);
    }
    let told = pager.told();
    assert!(
        told.iter().any(|alert| alert.contains("응답하지")),
        "{told:?}"
    );
    assert_eq!(circuit(&mall, "coupang").await, "open", "of its pulls");
    mall.stock(1).await;
    mall.deliver().await;
    assert_eq!(mall.shows("coupang").await, 54);
}

/// A day of Coupang's calls is used up for so long.
async fn use_up(mall: &Mall, span: Duration) {
    let quota = mall.shop.quota("coupang");
    quota.observe("vendor", Seen::Blocked(span)).await;
}

#[tokio::test]
async fn who_waits_for_our_own_quota_opens_no_circuit_and_comes_again() {
    let mut mall = Mall::open(50, shared()).await;
    mall.govern("coupang").await;
    use_up(&mall, Duration::from_secs(40)).await;
    mall.buy("smartstore", 3).await.expect("it is there");
    mall.buy("coupang", 1).await.expect("it is there");
    mall.pull("smartstore").await;
    for _ in 0..3 {
        mall.pull("coupang").await;
    }
    mall.deliver().await;
    assert_eq!(mall.shows("coupang").await, 49);
    assert_eq!(circuit(&mall, "coupang").await, "closed");
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    let error = channels["channels"][1]["error"].as_str();
    assert!(
        error.is_some_and(|error| error.contains("quota")),
        "{channels}"
    );
    mall.pass(Duration::from_secs(45)).await;
    // No schedule comes: what was put off does.
    mall.deliver().await;
    assert_eq!(mall.unsold(&Source::Pool).await, 46);
    assert!(mall.shows("coupang").await <= 46, "it has gone down");
    assert_eq!(circuit(&mall, "coupang").await, "closed");
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 46)));
}

#[tokio::test]
async fn a_pull_that_meets_an_open_circuit_comes_again_once_when_it_is_to_be_tried() {
    let mall = Mall::open(50, shared()).await;
    mall.lose("coupang", Away::Down).await;
    for _ in 0..3 {
        mall.pull("coupang").await;
    }
    assert_eq!(circuit(&mall, "coupang").await, "open");
    let put_off = mall.shop.wire.take_delayed("pulls");
    assert_eq!(put_off.len(), 1, "{put_off:?}: of three that failed");
    mall.pass(Duration::from_secs(6)).await;
    for _ in 0..3 {
        mall.pull("coupang").await;
    }
    let put_off = mall.shop.wire.take_delayed("pulls");
    let [(wake, delay)] = &put_off[..] else {
        panic!("{put_off:?}: one of three that met an open circuit");
    };
    mall.calm("coupang").await;
    mall.buy("coupang", 2).await.expect("it is there");
    mall.pass(Duration::from_secs(*delay)).await;
    mall.handle(wake.clone()).await.expect("pulls");
    assert_eq!(mall.unsold(&Source::Pool).await, 48);
    assert_eq!(circuit(&mall, "coupang").await, "closed");
}

/// A marketplace says "too many" to so many calls of an operation.
async fn limit(mall: &Mall, channel: &str, on: &str, times: u32) {
    let rule = json!({ "on": on, "kind": "rate_limited", "times": times });
    mall.fault(channel, rule).await;
}

/// What those whose documents speak of no block call the reading of a number, and the pulling of orders.
const UNBLOCKED: [(&str, &str, &str); 3] = [
    ("smartstore", "product", "feed"),
    ("elevenst", "stck", "complete"),
    ("ownstore", "product", "orders"),
];

#[tokio::test]
async fn too_many_calls_once_are_asked_for_again_and_keep_nobody_waiting() {
    for (channel, read, list) in UNBLOCKED {
        let mut mall = Mall::open(50, shared()).await;
        let mut pager = Pager::of(&mut mall).await;
        mall.buy("coupang", 3).await.expect("it is there");
        mall.pull("coupang").await;
        limit(&mall, channel, read, 1).await;
        mall.deliver().await;
        assert_eq!(mall.shows(channel).await, 50, "{channel}: not now");
        assert_eq!(circuit(&mall, channel).await, "closed", "{channel}");
        mall.buy(channel, 1).await.expect("it is there");
        mall.pull(channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 46, "{channel} is pulled");
        mall.buy(channel, 1).await.expect("it is there");
        limit(&mall, channel, list, 1).await;
        mall.pass(Duration::from_secs(20)).await;
        mall.pull(channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 46, "{channel}: not now");
        assert_eq!(circuit(&mall, channel).await, "closed", "{channel}");
        assert_eq!(mall.shows(channel).await, 48, "{channel}");
        mall.deliver().await;
        assert_eq!(mall.shows(channel).await, 45, "{channel} is pushed");
        mall.pass(Duration::from_secs(8)).await;
        // No schedule comes: what was put off does.
        mall.deliver().await;
        mall.rest(false).await;
        assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 45)));
        assert_eq!(pager.told(), [""; 0], "{channel}");
    }
}

#[tokio::test]
async fn too_many_calls_again_and_again_open_the_circuit() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of(&mut mall).await;
    limit(&mall, "elevenst", "complete", 3).await;
    for word in ["closed", "closed", "open"] {
        mall.pass(Duration::from_secs(6)).await;
        mall.pull("elevenst").await;
        assert_eq!(circuit(&mall, "elevenst").await, word);
    }
    let alert = pager.next().await;
    assert!(
        alert.contains("[elevenst]") && alert.contains("429"),
        "{alert}"
    );
    mall.rest(false).await;
    assert_eq!(circuit(&mall, "elevenst").await, "closed");
}

#[tokio::test]
async fn a_block_that_is_documented_is_kept_to_from_its_first_answer() {
    let mall = Mall::open(50, shared()).await;
    limit(&mall, "coupang", "ordersheets", 1).await;
    let sanction = json!({ "sanction": "on" });
    mall.does("smartstore", "settings", sanction).await;
    for (channel, operation, minutes) in
        [("coupang", "ordersheets", 10), ("smartstore", "feed", 60)]
    {
        // A sanction leaves one call an hour.
        for _ in 0..2 {
            mall.pull(channel).await;
        }
        assert_eq!(circuit(&mall, channel).await, "open", "{channel}");
        let asked = mall.requests(channel, operation).await.len();
        mall.pass(Duration::from_secs(minutes * 60 - 5)).await;
        mall.pull(channel).await;
        assert_eq!(mall.requests(channel, operation).await.len(), asked);
        assert_eq!(circuit(&mall, channel).await, "open", "{channel}");
        mall.pass(Duration::from_secs(5)).await;
        assert_eq!(circuit(&mall, channel).await, "half_open", "{channel}");
    }
}
