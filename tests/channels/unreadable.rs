//! A marketplace that answers with something nobody can read: it is kept for who finds out why, told of, and nothing is lost.

use std::time::Duration;

use onepool::{channel::wake::PullWake, clock, stock::Source};
use serde_json::{Value, json};

use crate::{alerts::Pager, mall::Mall, stalls::OwnStore};

/// What each marketplace calls its order list, and one that is well-formed and none.
const LISTS: [(&str, &str, &str); 4] = [
    ("smartstore", "feed", r#"{"data":5}"#),
    ("coupang", "ordersheets", r#"{"code":200,"data":5}"#),
    ("elevenst", "complete", "<list/>"),
    ("ownstore", "orders", r#"{"orders":5}"#),
];
const PAGE: &str = "<html><body><h1>Under maintenance</h1></body></html>";
/// What a pull tries before its channel is left alone.
const TRIES: usize = 3;
/// Longer than a channel is left alone.
const OPEN: Duration = Duration::from_secs(301);

fn garbage(operation: &str) -> Value {
    json!({ "on": operation, "kind": "garbage_before_commit", "probability": 1.0, "body": PAGE })
}

async fn kept(mall: &Mall, channel: &str) -> Vec<String> {
    let kept = mall.shop.catalog.quarantined(channel, 100).await;
    let kept = kept.expect("answers").into_iter();
    kept.map(|entry| entry.raw).collect()
}

#[tokio::test]
async fn a_page_that_cannot_be_read_is_kept_and_told_of_until_it_can_be() {
    let mut mall = Mall::open(50, json!({ "mode": "shared" })).await;
    let mut left = 50;
    for (channel, list, _) in LISTS {
        let mut pager = Pager::of_pulls(&mut mall).await;
        mall.fault(channel, garbage(list)).await;
        mall.buy(channel, 2).await.expect("it is there");
        for _ in 0..TRIES {
            mall.pull(channel).await;
        }
        let told = pager.told();
        let [alert] = told.as_slice() else {
            panic!("{channel}: {told:?}");
        };
        assert!(alert.contains("읽을 수 없습니다"), "{alert}");
        assert!(
            !alert.contains("maintenance"),
            "no word of the payload: {alert}"
        );
        mall.pass(OPEN).await;
        mall.pull(channel).await;
        assert_eq!(kept(&mall, channel).await, [PAGE], "{channel}: one entry");
        assert_eq!(
            mall.unsold(&Source::Pool).await,
            left,
            "nothing is known of it"
        );

        mall.calm(channel).await;
        mall.pass(OPEN).await;
        mall.pull(channel).await;
        left -= 2;
        assert_eq!(mall.unsold(&Source::Pool).await, left, "{channel}");
        assert!(kept(&mall, channel).await.is_empty(), "{channel}");
    }
}

#[tokio::test]
async fn so_is_one_of_another_shape() {
    let mall = Mall::open(50, json!({ "mode": "shared" })).await;
    for (channel, list, page) in LISTS {
        let mut rule = garbage(list);
        rule["body"] = json!(page);
        mall.fault(channel, rule).await;
        mall.pull(channel).await;
        let kept = kept(&mall, channel).await;
        let [kept] = kept.as_slice() else {
            panic!("{channel}: {kept:?}");
        };
        // At Coupang what is kept is what stands where the list has to.
        assert!(page.contains(kept.as_str()), "{channel}: {kept}");
    }
    // Neither is what says nothing at all an empty list.
    mall.calm("coupang").await;
    mall.pass(OPEN).await;
    let mut rule = garbage("ordersheets");
    rule["body"] = json!("{}");
    mall.fault("coupang", rule).await;
    mall.pull("coupang").await;
    let state = mall.shop.catalog.pull_state("coupang").await;
    let error = state.expect("answers").error.expect("it was not read");
    assert!(error.contains("unreadable"), "{error}");
}

#[tokio::test]
async fn what_a_page_has_that_leads_to_itself_is_counted_and_the_channel_is_told_of() {
    let mall = Mall::open_with(OwnStore::Plain, 50, json!({ "mode": "shared" })).await;
    let page = |lines: Value, times: u64| {
        let body = json!({ "lines": lines, "next_cursor": "again" });
        let mut rule = json!({ "on": "shop_orders", "kind": "garbage_before_commit", "contentType": "application/json" });
        rule["body"] = json!(body.to_string());
        rule["times"] = json!(times);
        rule
    };
    let line = json!({
        "line": "L-1", "order": "O-1", "item": "mug", "quantity": 2,
        "cancelled": 0, "unit_price": 12_900, "state": "confirmed", "ordered_at": clock::now(),
    });
    mall.fault("ownstore", page(json!([]), 1)).await;
    mall.fault("ownstore", page(json!([line]), 1)).await;
    mall.pull("ownstore").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 48);
    let state = mall.shop.catalog.pull_state("ownstore").await;
    let error = state.expect("answers").error.expect("it does not end");
    assert!(error.contains("leads to itself"), "{error}");
}

#[tokio::test]
async fn a_page_of_past_days_that_cannot_be_read_is_kept_too() {
    let mall = Mall::open(50, json!({ "mode": "shared" })).await;
    let sweep = || PullWake {
        sweep_days: Some(3),
        ..PullWake::new("coupang")
    };
    mall.fault("coupang", garbage("ordersheets")).await;
    mall.pull.run(sweep()).await.expect("it is noted");
    assert_eq!(kept(&mall, "coupang").await, [PAGE]);
    mall.calm("coupang").await;
    mall.pass(OPEN).await;
    mall.pull.run(sweep()).await.expect("sweeps");
    assert!(kept(&mall, "coupang").await.is_empty());
}
