//! The answer to a `join`: when to come back, on how many screens, and what a `last_seq` may be.

use onepool::clock::{self, Timestamp};
use onepool_tests::{Shop, Show, Viewer, billing_key};
use serde_json::{Value, json};

/// Seconds after which a viewer is to come back.
const RECONNECT_S: std::ops::RangeInclusive<u64> = 6_000..=6_900;

async fn connect<'a>(shop: &'a Shop, show: &Show, user: &str, connection: &'a str) -> Viewer<'a> {
    Viewer::connect(shop, show, (user, onepool::auth::Role::Viewer), connection).await
}

#[tokio::test]
async fn everyone_is_told_to_come_back_before_the_gateway_ends_it_and_not_all_at_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let seen = shop.room(&show).await["seq"].clone();
    for (kind, member, last_seq) in [
        ("init", "reconnect_at", Value::Null),
        ("reconnect", "at", seen),
    ] {
        let mut waits = Vec::new();
        for number in 0..20 {
            let connection = format!("{kind}-{number}");
            let viewer = connect(&shop, &show, &connection, &connection).await;
            let before = clock::now();
            viewer
                .send(json!({ "type": "join", "last_seq": last_seq }))
                .await;
            let after = clock::now();
            let told = viewer.read();
            let told: Vec<&Value> = told.iter().filter(|event| event["type"] == kind).collect();
            let [told] = told[..] else {
                panic!("{kind}: {told:?}")
            };
            let at = told[member].as_str().and_then(Timestamp::parse);
            let at = at.expect("a time");
            let (least, most) = (at.since(after).as_secs(), at.since(before).as_secs());
            assert!(
                RECONNECT_S.contains(&most) && least + 1 >= *RECONNECT_S.start(),
                "{kind}: after {most} s"
            );
            waits.push(most);
        }
        waits.sort_unstable();
        let spread = waits[waits.len() - 1] - waits[0];
        assert!(spread > 200, "{kind}: {waits:?}");
        waits.dedup();
        assert!(waits.len() > 10, "{kind}: {waits:?}");
    }
}

#[tokio::test]
async fn a_buyer_with_two_screens_sees_the_result_on_both() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let phone = Viewer::join(&shop, &show, "u1", "c1").await;
    let laptop = Viewer::join(&shop, &show, "u1", "c2").await;
    let other = Viewer::join(&shop, &show, "u2", "c3").await;
    shop.pump().await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    shop.process(10, 1).await;
    shop.pump().await;
    for (viewer, results) in [(phone, 1), (laptop, 1), (other, 0)] {
        let mut told = viewer.read();
        told.retain(|event| event["type"] == "order_result");
        assert_eq!(told.len(), results);
        assert!(
            told.iter()
                .all(|told| told["order_id"] == receipt["order_id"])
        );
    }
}

#[tokio::test]
async fn a_last_seq_that_is_no_sequence_number_is_refused_and_one_from_the_future_begins_anew() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = connect(&shop, &show, "u1", "c1").await;
    for last_seq in [
        r#""1767225600000042""#,
        r#""""#,
        "-1",
        "1.5",
        "1e30",
        "18446744073709551616",
        "true",
        "[]",
        "{}",
    ] {
        viewer
            .send_text(&format!(r#"{{"type":"join","last_seq":{last_seq}}}"#))
            .await;
        let told = viewer.read();
        let codes: Vec<&Value> = told.iter().map(|event| &event["code"]).collect();
        assert_eq!(codes, ["invalid_request"], "{last_seq}: {told:?}");
    }
    // Whoever was refused has not joined.
    shop.pump().await;
    assert_eq!(shop.room(&show).await["viewer_count"], 0);
    for last_seq in [
        "null",
        "0",
        "9007199254740991",
        "9007199254740993",
        "9223372036854775808",
        "18446744073709551615",
    ] {
        viewer
            .send_text(&format!(r#"{{"type":"join","last_seq":{last_seq}}}"#))
            .await;
        let told = viewer.read();
        let kinds: Vec<&Value> = told.iter().map(|event| &event["type"]).collect();
        assert_eq!(kinds, ["init"], "{last_seq}: {told:?}");
    }
}
