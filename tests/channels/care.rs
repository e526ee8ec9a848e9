//! What keeps the promises of the channels when it gets tight: what is written, and when; which listing is left alone.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use onepool::{
    catalog::{PullState, Quarantined},
    channel::{ItemId, LineState, OrderLine, wake::SyncWake},
    clock,
    stock::{Granted, Source},
};
use onepool_tests::CHANNELS;
use serde_json::{Value, json};

use crate::{alerts::Pager, mall::Mall, trouble::Away};

fn shared() -> Value {
    json!({ "mode": "shared" })
}

/// The numbers that were written at Coupang, in their order.
async fn written(mall: &Mall) -> Vec<u64> {
    let writes = mall.requests("coupang", "quantity").await;
    let number = |write: &Value| {
        let path = write["path"].as_str().expect("a path");
        path.rsplit('/')
            .next()
            .and_then(|number| number.parse().ok())
    };
    writes
        .iter()
        .map(|write| number(write).expect("a number"))
        .collect()
}

#[tokio::test]
async fn a_number_is_computed_after_the_look() {
    let mall = Mall::open(50, shared()).await;
    mall.stock(5).await;
    let slow = json!({ "on": "inventory", "kind": "delay", "ms": 60_000 });
    mall.fault("coupang", slow).await;
    let sale = async {
        until_it_runs(&mall, "inventory").await;
        mall.buy("smartstore", 3).await.expect("it is there");
        mall.pull("smartstore").await;
        // The look goes on.
        mall.calm("coupang").await;
    };
    tokio::join!(mall.deliver(), sale);
    let last = written(&mall).await.pop();
    assert_eq!(last, Some(52));
    let numbers = written(&mall).await;
    assert!(!numbers.contains(&55), "{numbers:?}: three were sold");
}

#[tokio::test]
async fn units_that_a_channel_sold_and_nobody_pulled_are_not_put_up_again() {
    let mall = Mall::open(50, shared()).await;
    mall.buy("coupang", 2).await.expect("it is there");
    mall.stock(5).await;
    mall.deliver().await;
    mall.rest(false).await;
    let numbers = written(&mall).await;
    assert!(numbers.contains(&53), "{numbers:?}");
    assert!(numbers.iter().all(|units| *units <= 53), "{numbers:?}");
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 53)));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_read_back_and_made_again_at_once() {
    let mall = Mall::open(50, shared()).await;
    let lost = json!({ "on": "quantity", "kind": "close_before_commit" });
    mall.fault("coupang", lost).await;
    mall.buy("smartstore", 3).await.expect("it is there");
    mall.pull("smartstore").await;
    mall.deliver().await;
    mall.pass(Duration::from_secs(3)).await;
    mall.push.handle(SyncWake::Tick).await.expect("ticks");
    mall.deliver().await;
    assert_eq!(mall.shows("coupang").await, 47);
}

#[tokio::test]
async fn an_order_of_a_clock_that_is_behind_or_ahead_is_not_missed() {
    for skew in [-200_000, 200_000] {
        let mall = Mall::open(50, shared()).await;
        for channel in CHANNELS {
            mall.skew(channel, skew).await;
        }
        mall.rest(false).await;
        for channel in CHANNELS {
            mall.buy(channel, 1).await.expect("it is there");
        }
        mall.pass(Duration::from_secs(240)).await;
        mall.rest(false).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 46, "{skew} ms");
        assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 46)));
    }
}

#[tokio::test]
async fn the_own_store_is_raised_after_whoever_promises_the_lowest_price() {
    let mall = Mall::open(10, shared()).await;
    mall.list("coupang", shared(), 12_900, "lowest").await;
    mall.settle().await;
    mall.lose("coupang", Away::Down).await;
    let raised = json!({ "name": "머그", "list_price": 13_900 });
    mall.admin(Method::PUT, "/products/mug", raised).await;
    mall.list("coupang", shared(), 13_900, "lowest").await;
    mall.list("ownstore", shared(), 13_900, "list").await;
    mall.minute().await;
    mall.minute().await;
    let prices = (mall.asks("coupang").await, mall.asks("ownstore").await);
    assert_eq!(prices, (12_900, 12_900), "the own store waits");
    mall.calm("coupang").await;
    mall.pass(Duration::from_secs(600)).await;
    mall.rest(false).await;
    let prices = (mall.asks("coupang").await, mall.asks("ownstore").await);
    assert_eq!(prices, (13_900, 13_900));
}

#[tokio::test]
async fn a_line_of_absurdly_many_units_takes_nothing_and_is_kept_for_a_person() {
    let mall = Mall::open(50, shared()).await;
    mall.edit("coupang", 20_000).await;
    let mut order = mall.stall("coupang").order(6_000);
    let line = order["lines"][0].clone();
    order["lines"] = json!([line.clone(), line]);
    mall.does("coupang", "orders", order).await;
    mall.minute().await;
    assert_eq!(mall.unsold(&Source::Pool).await, 50);
    let kept = mall.shop.catalog.quarantined("coupang", 10).await;
    let kept = kept.expect("answers");
    assert_eq!(kept.len(), 1);
    assert!(kept[0].raw.contains("12000"), "with its payload");
}

#[tokio::test]
async fn a_number_that_somebody_wrote_by_hand_is_put_right_by_the_sweep() {
    for channel in CHANNELS {
        let mall = Mall::open(50, shared()).await;
        mall.edit(channel, 70).await;
        mall.rest(false).await;
        assert_eq!(mall.shows(channel).await, 70, "nobody was told");
        mall.settle().await;
        assert_eq!(mall.shows(channel).await, 50, "{channel}");
    }
}

#[tokio::test]
async fn what_is_cancelled_after_its_confirmation_comes_back_once_it_is_agreed_to() {
    for channel in CHANNELS {
        let mut mall = Mall::open(20, shared()).await;
        mall.pull.approves_cancellations = false;
        let order = mall.buy(channel, 3).await.expect("it is there");
        mall.minute().await;
        assert_eq!(mall.unsold(&Source::Pool).await, 17, "{channel}");
        let cancel = format!("orders/{order}/cancel");
        assert!(mall.tries(channel, &cancel, json!({})).await, "{channel}");
        mall.minute().await;
        assert_eq!(
            mall.unsold(&Source::Pool).await,
            17,
            "{channel}: only asked"
        );
        let line = mall.shop.dynamodb.lines(channel).remove(0);
        assert_eq!(line.state, LineState::CancelRequested, "{channel}");
        let port = mall.office.get(channel).expect("one of the four");
        port.approve_cancel(&line.handle).await.expect("agrees");
        mall.rest(false).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}");
        assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 20)));
    }
}

#[tokio::test]
async fn what_is_oversold_is_cancelled_if_the_shop_wants_that() {
    let mut mall = Mall::open(5, shared()).await;
    mall.pull.cancels_oversold = true;
    for channel in ["smartstore", "coupang"] {
        mall.buy(channel, 4).await.expect("both still show five");
    }
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("smartstore").await;
    mall.pull("coupang").await;
    mall.pass(Duration::from_secs(60)).await;
    mall.rest(false).await;
    assert_eq!(mall.bought("smartstore").await, 4);
    assert_eq!(mall.bought("coupang").await, 1, "three were not there");
    assert_eq!(mall.unsold(&Source::Pool).await, 0);
    let line = mall.shop.dynamodb.lines("coupang").remove(0);
    assert_eq!(line.state, LineState::Confirmed, "the one that is there");
    let kept = mall.shop.catalog.unconfirmed("coupang", 10).await;
    assert!(kept.expect("answers").is_empty());
    let cancelled = mall.requests("coupang", "cancel").await;
    assert_eq!(cancelled.len(), 1, "{cancelled:?}");
}

/// A channel sold what was not there, and takes no cancellation.
async fn uncancellable(channel: &str) -> Mall {
    let mut mall = Mall::open(5, shared()).await;
    mall.pull.cancels_oversold = true;
    mall.buy("elevenst", 4).await.expect("it is there");
    for units in [1, 4] {
        mall.buy(channel, units).await.expect("it shows five");
    }
    let lost =
        json!({ "on": "cancel", "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    mall.fault(channel, lost).await;
    mall.pull("elevenst").await;
    mall
}

async fn in_mind(mall: &Mall, channel: &str) -> usize {
    let kept = mall.shop.catalog.unconfirmed(channel, 10).await;
    kept.expect("answers").len()
}

#[tokio::test]
async fn a_cancellation_that_fails_holds_up_no_line_and_no_page() {
    let mall = uncancellable("smartstore").await;
    mall.pull("smartstore").await;
    let state_of = |units| {
        let lines = mall.shop.dynamodb.lines("smartstore");
        let line = lines.into_iter().find(|line| line.ordered == units);
        line.expect("it is there").state
    };
    assert_eq!(state_of(1), LineState::Confirmed, "beside it");
    assert_eq!(state_of(4), LineState::Paid);
    assert_eq!(in_mind(&mall, "smartstore").await, 1);
    // Later orders are met though it goes on failing.
    mall.stock(20).await;
    mall.edit("smartstore", 2).await;
    mall.buy("smartstore", 2).await.expect("it is there");
    mall.pass(Duration::from_secs(300)).await;
    let before = clock::now();
    for _ in 0..3 {
        mall.pull("smartstore").await;
    }
    assert_eq!(state_of(2), LineState::Confirmed, "behind it");
    let circuit = mall.pull.circuits.of("smartstore").await.expect("answers");
    assert_eq!(circuit.failures, 0, "the pull is well");
    let state = mall.shop.catalog.pull_state("smartstore").await;
    let cursor = state.expect("answers").cursor.expect("it was pulled");
    assert!(cursor >= before, "it is pulled up to {cursor}");
    mall.calm("smartstore").await;
    mall.rest(false).await;
    assert_eq!(in_mind(&mall, "smartstore").await, 0);
    assert_eq!(state_of(4), LineState::Cancelled);
}

#[tokio::test]
async fn a_cancellation_that_is_refused_is_a_persons_and_its_line_is_confirmed() {
    let mall = uncancellable("coupang").await;
    mall.calm("coupang").await;
    let refused = json!({ "on": "cancel", "kind": "garbage_before_commit", "status": 400, "probability": 1.0,
        "contentType": "application/json", "body": r#"{"code":400,"message":"no"}"# });
    mall.fault("coupang", refused).await;
    mall.pull("coupang").await;
    let lines = mall.shop.dynamodb.lines("coupang");
    assert!(lines.iter().all(|line| line.state == LineState::Confirmed));
    assert_eq!(in_mind(&mall, "coupang").await, 0);
    mall.pass(Duration::from_secs(600)).await;
    mall.pull("coupang").await;
    let asked = mall.requests("coupang", "cancel").await;
    assert_eq!(asked.len(), 1, "it is asked once");
}

#[tokio::test]
async fn a_page_that_is_known_no_more_is_gone_through_again_from_its_window() {
    let mall = Mall::open(50, shared()).await;
    for channel in CHANNELS {
        let state = mall.shop.catalog.pull_state(channel).await;
        let state = state.expect("answers");
        let now = clock::now();
        let under_way = PullState {
            from: state.cursor,
            to: Some(now),
            page: Some("no page of theirs".to_owned()),
            ..state
        };
        let put = mall.shop.catalog.put_pull_state(channel, under_way).await;
        assert!(put.expect("answers").is_some());
        mall.buy(channel, 1).await.expect("it is there");
    }
    for channel in CHANNELS {
        mall.pull(channel).await;
    }
    mall.pass(Duration::from_secs(60)).await;
    for channel in CHANNELS {
        mall.pull(channel).await;
    }
    assert_eq!(mall.unsold(&Source::Pool).await, 46);
}

#[tokio::test]
async fn however_often_it_sells_a_channel_is_pulled_again_once() {
    let mall = Mall::open(50, shared()).await;
    drop(mall.due());
    for _ in 0..4 {
        mall.buy("coupang", 1).await.expect("it is there");
        mall.pull("coupang").await;
    }
    let wakes = mall.shop.wire.take_delayed("pulls");
    assert_eq!(wakes.len(), 1, "{wakes:?}");
    assert!(wakes[0].1 >= 60, "{wakes:?}");
}

#[tokio::test]
async fn a_listing_that_goes_on_failing_is_told_of() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of(&mut mall).await;
    let down = json!({ "on": "inventory", "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    mall.fault("coupang", down).await;
    mall.stock(1).await;
    for _ in 0..11 {
        mall.deliver().await;
        mall.pass(Duration::from_secs(301)).await;
        mall.push.handle(SyncWake::Tick).await.expect("ticks");
    }
    let told = pager.told();
    let stuck = told.iter().find(|alert| alert.contains("계속 실패"));
    assert!(stuck.is_some_and(|alert| alert.contains("mug")), "{told:?}");
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_holds_up_no_pull() {
    let mall = Mall::open(50, shared()).await;
    let aws = mall.shop.wire.aws();
    let put = aws.dynamodb().await.put_item().table_name("catalog");
    let put = put
        .item("pk", AttributeValue::S("channel#coupang".to_owned()))
        .item("sk", AttributeValue::S("quarantine#1".to_owned()));
    put.send().await.expect("is put");
    mall.buy("coupang", 1).await.expect("it is there");
    mall.pull("coupang").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 49);
}

#[tokio::test]
async fn lines_are_kept_in_mind_when_their_channel_takes_no_confirmation() {
    let mall = uncancellable("coupang").await;
    let lost = json!({ "on": "acknowledge", "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    mall.fault("coupang", lost).await;
    mall.pull("coupang").await;
    assert_eq!(in_mind(&mall, "coupang").await, 2, "the oversold one, too");
    let cancelled = mall.requests("coupang", "cancel").await;
    assert!(cancelled.is_empty(), "it does not answer: {cancelled:?}");
}

#[tokio::test]
async fn a_line_whose_channel_never_answers_for_it_is_left_to_a_person_in_the_end() {
    let mut mall = uncancellable("coupang").await;
    mall.pull("coupang").await;
    let mut pager = Pager::of_pulls(&mut mall).await;
    mall.pass(Duration::from_secs(6 * 24 * 3_600)).await;
    mall.pull("coupang").await;
    assert_eq!(in_mind(&mall, "coupang").await, 1, "it is tried on");
    let tries = mall.requests("coupang", "cancel").await.len();
    assert_eq!(tries, 2);
    drop(pager.told());
    mall.pass(Duration::from_secs(24 * 3_600)).await;
    mall.pull("coupang").await;
    let told = pager.told();
    assert!(told.iter().any(|alert| alert.contains("7일")), "{told:?}");
    assert_eq!(in_mind(&mall, "coupang").await, 0);
    mall.pass(Duration::from_secs(600)).await;
    mall.pull("coupang").await;
    assert_eq!(mall.requests("coupang", "cancel").await.len(), tries);
}

#[tokio::test]
async fn a_listing_that_is_refused_for_good_is_left_alone_until_somebody_lists_it_anew() {
    let mall = Mall::open(50, shared()).await;
    // 11st has no such stock number.
    let body = json!({
        "channel_product_id": "9100000001", "channel_option_id": "44000000009",
        "distribution": shared(), "price": 12_900, "price_policy": "list",
    });
    mall.admin(Method::PUT, "/products/mug/listings/elevenst", body)
        .await;
    mall.minute().await;
    let looks = async || mall.requests("elevenst", "stck").await.len();
    let before = looks().await;
    for _ in 0..3 {
        mall.stock(1).await;
        mall.minute().await;
    }
    assert_eq!(looks().await, before, "it was refused for good");
    mall.list("elevenst", shared(), 12_900, "list").await;
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 53)));
}

#[tokio::test]
async fn a_line_that_another_list_told_more_of_is_left_to_nobody() {
    let mall = Mall::open(50, shared()).await;
    mall.buy("elevenst", 2).await.expect("it is there");
    mall.minute().await;
    let line = mall.shop.dynamodb.lines("elevenst").remove(0);
    // As a list of claims shows it: without its stock number.
    let met_first = OrderLine {
        key: line.key.clone(),
        order_no: line.order_no.clone(),
        handle: line.handle.clone(),
        item: ItemId {
            option: None,
            ..line.item.clone()
        },
        ordered: line.ordered,
        cancelled: 0,
        state: LineState::CancelRequested,
        unit_price: 0,
        paid_at: None,
        raw: line.raw.clone(),
    };
    let entry = Quarantined {
        key: line.key.clone(),
        reason: "no listing has it".to_owned(),
        since: clock::now(),
        raw: line.raw.clone(),
        line: Some(met_first),
        version: 0,
    };
    let catalog = &mall.shop.catalog;
    assert!(catalog.quarantine("elevenst", &entry).await.expect("keeps"));
    mall.minute().await;
    let kept = catalog.quarantined("elevenst", 10).await;
    assert_eq!(kept.expect("answers"), []);
    assert_eq!(mall.unsold(&Source::Pool).await, 48);
}

#[tokio::test]
async fn the_gate_follows_the_ledgers_newest_row() {
    let mall = Mall::open(50, shared()).await;
    let mug = "mug".parse().expect("an id");
    let row = mall.shop.ledger.stock_row(&mug, &Source::Pool).await;
    let older = row.expect("answers").expect("a row");
    mall.buy("coupang", 3).await.expect("it is there");
    mall.minute().await;
    let late = mall.shop.gate.grant(&older, clock::now()).await;
    assert_eq!(late.expect("answers"), Granted::Current);
    let product = mall.admin(Method::GET, "/products/mug", Value::Null).await;
    assert_eq!(product["stock"]["available"], 47);
}

#[tokio::test]
async fn units_that_a_channel_put_up_again_itself_are_seen_though_the_number_stays() {
    let mall = Mall::open(20, shared()).await;
    mall.buy("smartstore", 3).await.expect("it is there");
    mall.minute().await;
    let line = mall.shop.dynamodb.lines("smartstore").remove(0);
    let cancel = format!("orders/{}/cancel", line.order_no);
    assert!(mall.tries("smartstore", &cancel, json!({})).await);
    let port = mall.office.get("smartstore").expect("one of the four");
    port.approve_cancel(&line.handle).await.expect("agrees");
    mall.buy("coupang", 3).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("smartstore").await;
    mall.pull("coupang").await;
    assert_eq!(mall.shows("smartstore").await, 20, "three are up again");
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 17)));
}

#[tokio::test]
async fn units_that_were_sold_and_cancelled_between_two_pulls_are_not_up_twice() {
    let mall = Mall::open(20, shared()).await;
    let restores = json!({ "cancelRestoresStock": true });
    mall.does("coupang", "settings", restores).await;
    let order = mall.buy("coupang", 3).await.expect("it is there");
    // Somebody does not know of the sale, and fills up what is missing.
    mall.edit("coupang", 20).await;
    let cancel = format!("orders/{order}/cancel");
    assert!(mall.tries("coupang", &cancel, json!({})).await);
    assert_eq!(mall.shows("coupang").await, 23, "three are up twice");
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 20)));
    let lines = mall.shop.dynamodb.lines("coupang");
    assert!(lines.iter().all(|line| line.taken.is_empty()));
    let looks = mall.requests("coupang", "inventory").await.len();
    mall.pass(Duration::from_secs(60)).await;
    mall.rest(false).await;
    assert_eq!(
        mall.requests("coupang", "inventory").await.len(),
        looks,
        "it was looked at"
    );
}

#[tokio::test]
async fn a_listing_that_is_saved_again_keeps_in_mind_what_was_sold_and_not_pulled() {
    let mall = Mall::open(50, shared()).await;
    let push = async || {
        mall.push.handle(SyncWake::Moved).await.expect("looks");
        let channel = "coupang".to_owned();
        let wake = SyncWake::Push { channel };
        mall.push.handle(wake).await.expect("pushes");
    };
    let before = written(&mall).await.len();
    mall.buy("coupang", 3).await.expect("it is there");
    // Once before anybody has seen it, and once after.
    for _ in 0..2 {
        mall.list("coupang", shared(), 12_900, "list").await;
        push().await;
        assert_eq!(mall.shows("coupang").await, 47, "three are sold");
    }
    let numbers = written(&mall).await.split_off(before);
    assert!(numbers.iter().all(|units| *units == 47), "{numbers:?}");
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 47)));
}

#[tokio::test]
async fn a_listing_that_is_moved_to_another_item_knows_nothing_of_it() {
    let mall = Mall::open(50, shared()).await;
    let options = json!([{ "optionId": "3000000007", "name": "파랑", "stock": 9 }]);
    let item = json!({ "name": "머그", "price": 12_900, "options": options });
    mall.does("coupang", "items", item).await;
    let body = json!({
        "channel_product_id": "3000000007",
        "distribution": shared(), "price": 12_900, "price_policy": "list",
    });
    mall.admin(Method::PUT, "/products/mug/listings/coupang", body)
        .await;
    mall.deliver().await;
    let last = written(&mall).await.pop();
    assert_eq!(last, Some(50), "what it has less was not sold");
}

#[tokio::test]
async fn a_price_that_is_refused_holds_no_number_up_and_is_asked_for_once() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of(&mut mall).await;
    // Coupang takes no more than double.
    mall.list("coupang", shared(), 30_000, "list").await;
    mall.deliver().await;
    let alert = pager.next().await;
    assert!(
        alert.contains("30000") && alert.contains("[coupang]"),
        "{alert}"
    );
    for left in [47, 44] {
        mall.buy("smartstore", 3).await.expect("it is there");
        mall.minute().await;
        assert_eq!(mall.shows("coupang").await, left);
    }
    assert_eq!(
        mall.requests("coupang", "price").await.len(),
        1,
        "it was refused"
    );
    let path = "/channels/coupang/resync?dry_run=true";
    let answer = mall.admin(Method::POST, path, Value::Null).await;
    let difference = &answer["differences"][0];
    assert_eq!(
        (
            &difference["units"],
            &difference["shown"],
            &difference["price"],
            &difference["shown_price"]
        ),
        (&json!(44), &json!(44), &json!(30_000), &json!(12_900)),
        "{answer}"
    );
    let error = difference["error"].as_str().expect("a sentence");
    assert!(error.contains("30000"), "{error}");
    mall.list("coupang", shared(), 20_000, "list").await;
    mall.rest(false).await;
    assert_eq!(mall.asks("coupang").await, 20_000);
    let answer = mall.admin(Method::POST, path, Value::Null).await;
    assert_eq!(answer["differences"], json!([]), "{answer}");
}

#[tokio::test]
async fn a_channel_whose_setup_is_wrong_is_left_out_alone_and_told_of() {
    let mut mall = Mall::open(50, shared()).await;
    let mut pager = Pager::of(&mut mall).await;
    let wrong = "credential access_key of channel coupang is missing";
    for ports in [&mut mall.pull.ports, &mut mall.push.ports] {
        ports.leave_out("coupang", wrong);
    }
    mall.buy("smartstore", 3).await.expect("it is there");
    mall.minute().await;
    let shown = mall.all_show().await;
    let others: Vec<_> = shown
        .iter()
        .filter(|(name, _)| *name != "coupang")
        .collect();
    assert!(others.iter().all(|(_, units)| *units == 47), "{others:?}");
    let alert = pager.next().await;
    assert!(alert.contains(wrong), "{alert}");
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    let coupang = &channels["channels"][1];
    assert_eq!(
        (&coupang["error"], &coupang["circuit"]),
        (&json!(wrong), &json!("open")),
        "{channels}"
    );
    assert_eq!(channels["channels"][0]["circuit"], "closed");
    // Put right, it is started anew: what moved meanwhile is shown without a sweep.
    mall.govern("coupang").await;
    mall.pass(Duration::from_secs(60)).await;
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 47)));
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    assert_eq!(channels["channels"][1]["circuit"], "closed", "{channels}");
}

#[tokio::test]
async fn a_dry_run_computes_a_number_as_a_push_does() {
    let mall = Mall::open(120_000, shared()).await;
    let dry_run = async || {
        let path = "/channels/coupang/resync?dry_run=true";
        let answer = mall.admin(Method::POST, path, Value::Null).await;
        answer["differences"].clone()
    };
    assert_eq!(mall.shows("coupang").await, 99_999, "it cannot show more");
    assert_eq!(dry_run().await, json!([]));
    mall.stock(-119_950).await;
    mall.deliver().await;
    mall.rest(false).await;
    assert_eq!(dry_run().await, json!([]));
    mall.buy("coupang", 2).await.expect("it is there");
    mall.list("coupang", shared(), 12_900, "list").await;
    mall.push.handle(SyncWake::Moved).await.expect("looks");
    let channel = "coupang".to_owned();
    let wake = SyncWake::Push { channel };
    mall.push.handle(wake).await.expect("pushes");
    assert_eq!(mall.unsold(&Source::Pool).await, 50, "it is not pulled yet");
    assert_eq!(dry_run().await, json!([]), "it shows 48, as it has to");
}

/// Brings somebody to the middle of a call of Coupang that takes its time.
async fn until_it_runs(mall: &Mall, operation: &str) {
    let runs = |request: &Value| request["outcome"] == "running";
    while !mall.requests("coupang", operation).await.iter().any(runs) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_channel_is_pulled_by_one_at_a_time_and_who_comes_meanwhile_comes_again() {
    let mall = Mall::open(50, shared()).await;
    drop(mall.shop.wire.take_delayed("pulls"));
    let slow = json!({ "on": "ordersheets", "kind": "delay", "ms": 60_000 });
    mall.fault("coupang", slow).await;
    let second = async {
        until_it_runs(&mall, "ordersheets").await;
        let asked = mall.requests("coupang", "ordersheets").await.len();
        mall.pull("coupang").await;
        assert_eq!(mall.requests("coupang", "ordersheets").await.len(), asked);
        let again = mall.shop.wire.take_delayed("pulls");
        assert_eq!(again, [(r#"{"channel":"coupang"}"#.to_owned(), 5)]);
        // Another channel is another turn.
        mall.buy("smartstore", 1).await.expect("it is there");
        mall.pull("smartstore").await;
        assert_eq!(mall.unsold(&Source::Pool).await, 49);
        mall.calm("coupang").await;
    };
    tokio::join!(mall.pull("coupang"), second);
    let asked = mall.requests("coupang", "ordersheets").await.len();
    mall.pull("coupang").await;
    assert!(
        mall.requests("coupang", "ordersheets").await.len() > asked,
        "it was given back"
    );
}

#[tokio::test]
async fn a_pull_that_breaks_off_goes_on_from_its_page() {
    let mall = Mall::open(50, shared()).await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    mall.buy("elevenst", 2).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    let asked = async || {
        let books = mall.books("elevenst", "requests").await;
        let requests = books["requests"].as_array().expect("requests").iter();
        let operation = |request: &Value| request["operation"].as_str().expect("a name").to_owned();
        requests.map(operation).collect::<Vec<_>>()
    };
    // The second of its lists.
    let down = json!({ "on": "packaging", "kind": "error_before_commit", "status": 503 });
    mall.fault("elevenst", down).await;
    let before = asked().await.len();
    mall.pull("elevenst").await;
    let first = asked().await.split_off(before);
    assert_eq!(
        (first[0].as_str(), first.last().map(String::as_str)),
        ("complete", Some("packaging"))
    );
    assert_eq!(
        mall.unsold(&Source::Pool).await,
        48,
        "what was read is imported"
    );
    let before = asked().await.len();
    mall.pull("elevenst").await;
    let second = asked().await.split_off(before);
    assert_eq!(second[0], "packaging", "{second:?}");
    assert_eq!(mall.unsold(&Source::Pool).await, 48);
}
