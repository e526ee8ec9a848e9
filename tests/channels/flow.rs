//! One warehouse, one number: a sale on one channel lowers all others, whatever fails on the way.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use onepool::{
    auth::Role,
    catalog::Quarantined,
    channel::{
        backlog::Backlog,
        quota::{Quota, Rate, Seen, Urgency},
        wake::SyncWake,
    },
    clock::{self, Timestamp},
    keys::Keys,
    stock::Source,
};
use onepool_tests::{CHANNELS, Fault};
use serde_json::{Value, json};

use crate::{fence::spotlight, mall::Mall};

fn shared() -> Value {
    json!({ "mode": "shared" })
}

async fn buffered(units: u64) -> Mall {
    Mall::open(units, json!({ "mode": "shared", "buffer": { "units": 2 } })).await
}

#[tokio::test]
async fn a_sale_on_one_channel_lowers_every_other_one() {
    let mall = buffered(50).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 48)));
    for (bought, channel) in CHANNELS.into_iter().enumerate() {
        mall.buy(channel, 3).await.expect("it is there");
        mall.pull(channel).await;
        mall.deliver().await;
        let left = 48 - 3 * (i64::try_from(bought).expect("few") + 1);
        assert_eq!(
            mall.all_show().await,
            CHANNELS.map(|name| (name, left)),
            "{channel}"
        );
    }
    assert_eq!(mall.unsold(&Source::Pool).await, 38);
}

#[tokio::test]
async fn the_fence_of_a_broadcast_shrinks_the_channels_and_returns_what_is_left() {
    let mall = Mall::open(50, shared()).await;
    let id = mall.begin_broadcast().await;
    let path = format!("/broadcasts/{id}/products/spotlight");
    mall.admin(Method::POST, &path, spotlight(30)).await;
    mall.deliver().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 20)));
    mall.admin(Method::POST, &format!("/broadcasts/{id}/end"), json!({}))
        .await;
    mall.deliver().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 50)));
}

#[tokio::test]
async fn what_is_sold_twice_is_counted_flagged_and_no_channel_goes_below_zero() {
    let mall = Mall::open(5, shared()).await;
    for channel in ["smartstore", "coupang"] {
        mall.buy(channel, 4).await.expect("both still show five");
    }
    for channel in ["smartstore", "coupang"] {
        mall.pull(channel).await;
    }
    mall.settle().await;
    assert_eq!(mall.unsold(&Source::Pool).await, -3);
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 0)));
    let order = mall
        .shop
        .ledger
        .trace(&"mug".parse().expect("an id"), 10)
        .await;
    let causes: Vec<_> = order
        .expect("answers")
        .into_iter()
        .map(|entry| entry.cause)
        .collect();
    assert!(
        causes.iter().any(|cause| cause.ends_with("oversold")),
        "{causes:?}"
    );
    // New stock pays the debt first.
    mall.stock(10).await;
    mall.deliver().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 7)));
}

#[tokio::test]
async fn a_cancellation_at_a_channel_gives_the_units_back_once() {
    for channel in CHANNELS {
        let mall = Mall::open(20, shared()).await;
        let order = mall.buy(channel, 3).await.expect("it is there");
        mall.pull(channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 17, "{channel}");
        mall.pass(Duration::from_secs(60)).await;
        let at_once = json!({ "cancelAtOnce": true });
        match channel {
            "elevenst" => drop(mall.does(channel, "settings", at_once).await),
            "ownstore" => {
                drop(
                    mall.does(channel, "settings", json!({ "cafe24": at_once }))
                        .await,
                );
            }
            _ => {}
        }
        mall.does(channel, &format!("orders/{order}/cancel"), json!({}))
            .await;
        mall.settle().await;
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}");
        assert_eq!(
            mall.all_show().await,
            CHANNELS.map(|name| (name, 20)),
            "{channel}"
        );
    }
}

#[tokio::test]
async fn a_dead_channel_delays_no_other_and_catches_up() {
    let mall = Mall::open(50, shared()).await;
    let dead = |on: &str| json!({ "on": on, "kind": "error_before_commit", "status": 503, "probability": 1.0 });
    let faults = ["quantity", "inventory", "ordersheets"].map(dead);
    mall.does("coupang", "faults", json!({ "faults": faults }))
        .await;
    mall.buy("smartstore", 7).await.expect("it is there");
    mall.pull("smartstore").await;
    mall.deliver().await;
    let shown = mall.all_show().await;
    assert_eq!(
        shown,
        [
            ("smartstore", 43),
            ("coupang", 50),
            ("elevenst", 43),
            ("ownstore", 43)
        ]
    );
    let (_, channels) = mall
        .shop
        .admin(Method::GET, "/channels", None, Value::Null)
        .await;
    let coupang = &channels["channels"][1];
    assert!(coupang["backlog"].as_u64() > Some(0), "{coupang}");
    assert!(coupang["error"].is_string(), "{coupang}");
    mall.calm("coupang").await;
    mall.pass(Duration::from_secs(600)).await;
    mall.settle().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 43)));
}

#[tokio::test]
async fn what_somebody_edits_by_hand_is_found_and_put_right() {
    let mall = Mall::open(50, shared()).await;
    mall.does(
        "ownstore",
        "actions/cafe24-price",
        json!({ "productId": "100", "price": 9_000 }),
    )
    .await;
    mall.edit("ownstore", 70).await;
    mall.pass(Duration::from_secs(60)).await;
    mall.rest(false).await;
    let shown = (mall.shows("ownstore").await, mall.asks("ownstore").await);
    assert_eq!(shown, (70, 9_000), "nobody was told");
    let sweep = SyncWake::Sweep {
        channel: "ownstore".into(),
        after: None,
    };
    mall.push.handle(sweep).await.expect("sweeps");
    mall.deliver().await;
    let shown = (mall.shows("ownstore").await, mall.asks("ownstore").await);
    assert_eq!(shown, (50, 12_900));
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 50)));
}

#[tokio::test]
async fn a_channel_that_has_just_sold_is_pulled_again_after_a_minute() {
    let mall = Mall::open(50, shared()).await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("coupang").await;
    drop(mall.shop.wire.take_delayed("pulls"));
    mall.pull("coupang").await;
    let nothing: [(String, u64); 0] = [];
    assert_eq!(mall.shop.wire.take_delayed("pulls"), nothing);
    mall.buy("coupang", 2).await.expect("it is there");
    mall.pull("coupang").await;
    let mut again = mall.shop.wire.take_delayed("pulls");
    assert_eq!(again.len(), 1, "{again:?}");
    let (body, seconds) = again.remove(0);
    assert_eq!(seconds, 60);
    mall.buy("coupang", 1).await.expect("it is there");
    mall.pass(Duration::from_secs(seconds)).await;
    mall.handle(body).await.expect("pulls");
    assert_eq!(mall.unsold(&Source::Pool).await, 47, "before its schedule");
}

#[tokio::test]
async fn how_a_channel_is_can_be_read() {
    let mall = Mall::open(50, shared()).await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("coupang").await;
    let pulled_at = clock::now();
    mall.pass(Duration::from_secs(60)).await;
    mall.stock(1).await;
    mall.deliver().await;
    let pushed_at = clock::now();
    let rate = Rate {
        per_second: 1.0,
        burst: 40,
    };
    let quota = mall.shop.quota("coupang");
    quota
        .permit("orders", rate, Urgency::Order)
        .await
        .expect("a rest");
    let seen = Seen::Left {
        calls: 7,
        rate: None,
    };
    quota.observe("orders", seen).await;
    mall.pass(Duration::from_secs(60)).await;
    let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
    let coupang = &channels["channels"][1];
    let since = |name: &str| {
        let at = Timestamp::parse(coupang[name].as_str().expect("a time")).expect("a time");
        clock::now().since(at).as_secs()
    };
    let ago = |at: Timestamp| clock::now().since(at).as_secs();
    assert!(
        since("last_pull").abs_diff(ago(pulled_at)) < 20,
        "{coupang}"
    );
    assert!(
        since("last_push").abs_diff(ago(pushed_at)) < 20,
        "{coupang}"
    );
    assert_eq!(coupang["quota_left"], json!({ "orders": 7 }), "{coupang}");
}

#[tokio::test]
async fn what_cannot_be_read_is_kept_with_its_payload_and_the_rest_of_its_page_is_imported() {
    let mall = Mall::open(50, shared()).await;
    let item = |code: &str, quantity: Value| {
        json!({
            "order_item_code": code, "product_no": 100, "variant_code": "P000000100A0", "quantity": quantity,
            "product_price": "12900.00", "option_price": "0.00", "payment_amount": null, "order_status": "N10",
        })
    };
    let items = [item("A-01", json!(2)), item("A-02", json!("many"))];
    let body = json!({ "orders": [
        { "order_id": "A", "market_id": "self", "order_place_id": "self", "payment_date": null, "items": items },
    ] });
    mall.fault(
        "ownstore",
        json!({
            "on": "orders", "kind": "garbage_before_commit", "contentType": "application/json", "body": body.to_string(),
        }),
    )
    .await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("ownstore").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 48, "the other line");
    let kept = mall.shop.catalog.quarantined("ownstore", 10).await;
    let kept = kept.expect("answers");
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].key.as_str(), kept[0].reason.as_str()),
        ("A-02", "quantity is no number of units")
    );
    assert_eq!(kept[0].line, None);
    let raw: Value = serde_json::from_str(&kept[0].raw).expect("its payload");
    assert_eq!(raw["items"], json!([items[1]]));
}

#[tokio::test]
async fn while_credentials_are_revoked_nothing_is_lost() {
    for channel in CHANNELS {
        let mut mall = Mall::open(50, shared()).await;
        mall.reopen(channel, &mall.stall(channel).revoked());
        mall.buy(channel, 3).await.expect("it is there");
        mall.stock(5).await;
        for _ in 0..3 {
            mall.minute().await;
        }
        assert_eq!(mall.unsold(&Source::Pool).await, 55, "{channel}");
        assert_eq!(mall.shows(channel).await, 47, "{channel}");
        let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
        let channels = channels["channels"].as_array().expect("channels");
        for view in channels {
            let is_open = view["circuit"] == "open";
            assert_eq!(is_open, view["channel"] == channel, "{view}");
        }
        mall.renew(channel).await;
        mall.pass(Duration::from_secs(601)).await;
        mall.rest(false).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 52, "{channel}");
        assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 52)));
    }
}

/// What has happened at a channel is pulled, and no window to come has it.
async fn leave_behind(mall: &Mall, channel: &str) {
    mall.pull(channel).await;
    mall.pass(Duration::from_secs(7_200)).await;
    mall.pull(channel).await;
}

#[tokio::test]
async fn a_line_is_imported_however_many_others_are_kept_before_it() {
    let mall = Mall::empty().await;
    let product = json!({ "name": "머그", "list_price": 12_900 });
    mall.admin(Method::PUT, "/products/mug", product).await;
    mall.stock(10).await;
    mall.create_item("elevenst", 10).await;
    let options = json!([{ "optionId": "44000000007", "name": "파랑", "stock": 1_000 }]);
    let other =
        json!({ "productId": "9100000007", "name": "접시", "price": 9_900, "options": options });
    mall.does("elevenst", "items", other).await;
    let line = json!({ "productId": "9100000007", "optionId": "44000000007", "quantity": 1 });
    let orders = json!({ "lines": [line], "count": 150 });
    mall.does("elevenst", "orders", orders).await;
    mall.pass(Duration::from_secs(60)).await;
    mall.buy("elevenst", 4).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    let kept = mall.shop.catalog.quarantined("elevenst", 200).await;
    let kept = kept.expect("answers");
    let places: Vec<bool> = kept
        .iter()
        .filter_map(|entry| entry.line.as_ref())
        .map(|line| line.item == mall.stall("elevenst").item())
        .collect();
    assert_eq!(places.len(), 151);
    assert_eq!(places.iter().position(|is_mug| *is_mug), Some(150));
    leave_behind(&mall, "elevenst").await;
    mall.list("elevenst", shared(), 12_900, "list").await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 6);
    let kept = mall.shop.catalog.quarantined("elevenst", 200).await;
    assert_eq!(kept.expect("answers").len(), 150);
}

#[tokio::test]
async fn what_is_kept_can_be_seen_without_its_buyer_and_let_go_of() {
    let mall = Mall::empty().await;
    mall.create_item("elevenst", 10).await;
    for _ in 0..3 {
        mall.buy("elevenst", 1).await.expect("it is there");
    }
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    let path = "/channels/elevenst/quarantine";
    let first = format!("{path}?limit=2");
    let page = mall.admin(Method::GET, &first, Value::Null).await;
    let next = page["next"].as_str().expect("there is more").to_owned();
    let rest = format!("{path}?limit=2&after={}", next.replace(':', "%3A"));
    let rest = mall.admin(Method::GET, &rest, Value::Null).await;
    assert_eq!(rest["next"], Value::Null, "{rest}");
    let entries = |page: &Value| page["kept"].as_array().expect("a list").clone();
    let kept = [entries(&page), entries(&rest)].concat();
    assert_eq!(kept.len(), 3);
    let stored = mall.shop.catalog.quarantined("elevenst", 10).await;
    let stored = stored.expect("answers");
    for (entry, stored) in kept.iter().zip(&stored) {
        let line = stored.line.as_ref().expect("a line");
        assert_eq!(entry["key"], stored.key.as_str());
        assert_eq!(entry["line"]["order_no"], line.order_no.as_str());
        assert_eq!(entry["line"]["item"]["option"], "44000000001");
        assert!(stored.raw.contains("<ordNm>"), "its buyer: {}", stored.raw);
        assert!(entry.get("raw").is_none() && entry["line"].get("raw").is_none());
    }
    let one = format!("{path}/{}", stored[1].key.replace(':', "%3A"));
    let dropped = mall.admin(Method::DELETE, &one, Value::Null).await;
    assert_eq!(dropped["dropped"], stored[1].key.as_str());
    let left = mall.admin(Method::GET, path, Value::Null).await;
    assert_eq!(entries(&left), [kept[0].clone(), kept[2].clone()]);
    let asks = async |method: Method, path: &str| {
        let (status, _) = mall.shop.admin(method, path, None, Value::Null).await;
        status
    };
    assert_eq!(asks(Method::DELETE, &one).await, 404, "it is gone");
    for (path, status) in [
        ("/channels/amazon/quarantine", 404),
        ("/channels/elevenst/quarantine?limit=101", 400),
        ("/channels/elevenst/quarantine?limit=all", 400),
    ] {
        assert_eq!(asks(Method::GET, path).await, status, "{path}");
    }
    let viewer = format!("Bearer {}", mall.shop.token("viewer-1", Role::Broadcaster));
    let headers = [("authorization", viewer.as_str())];
    for (method, path) in [(Method::GET, path), (Method::DELETE, &one)] {
        let answer = mall.shop.admin_raw(method, path, headers, String::new());
        assert_eq!(answer.await.0, 403, "operators alone");
    }
}

#[tokio::test]
async fn what_a_run_does_not_get_to_the_next_one_tries_again() {
    let mall = Mall::empty().await;
    let product = json!({ "name": "머그", "list_price": 12_900 });
    mall.admin(Method::PUT, "/products/mug", product).await;
    mall.stock(10).await;
    mall.create_item("smartstore", 10).await;
    mall.buy("smartstore", 4).await.expect("it is there");
    leave_behind(&mall, "smartstore").await;
    let catalog = &mall.shop.catalog;
    // Keys of SmartStore are numbers. Coupang, around midnight, is asked for whole days.
    for number in 0..1_050 {
        let entry = Quarantined {
            key: format!("#{number:04}"),
            reason: "not one that can be read".to_owned(),
            since: clock::now(),
            raw: "{}".to_owned(),
            line: None,
            version: 0,
        };
        assert!(
            catalog
                .quarantine("smartstore", &entry)
                .await
                .expect("keeps")
        );
    }
    mall.list("smartstore", shared(), 12_900, "list").await;
    mall.pull("smartstore").await;
    assert_eq!(
        mall.unsold(&Source::Pool).await,
        10,
        "it has tried a thousand"
    );
    mall.pull("smartstore").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 6);
    let state = catalog.pull_state("smartstore").await.expect("answers");
    assert_eq!(state.tried_up_to, None, "the next begins anew");
}

#[tokio::test]
async fn a_kept_line_that_is_cancelled_before_its_item_is_listed_takes_nothing() {
    for (units, left) in [(4, 10), (1, 7)] {
        for channel in CHANNELS {
            let mall = Mall::empty().await;
            let product = json!({ "name": "머그", "list_price": 12_900 });
            mall.admin(Method::PUT, "/products/mug", product).await;
            mall.stock(10).await;
            mall.create_item(channel, 10).await;
            let at_once = json!({ "cancelAtOnce": true });
            let at_once = match channel {
                "elevenst" => at_once,
                "ownstore" => json!({ "cafe24": at_once }),
                _ => json!({}),
            };
            mall.does(channel, "settings", at_once).await;
            let order = mall.buy(channel, 4).await.expect("it is there");
            mall.pass(Duration::from_secs(60)).await;
            mall.pull(channel).await;
            let kept = mall.shop.catalog.quarantined(channel, 10).await;
            assert_eq!(kept.expect("answers").len(), 1, "{channel}");
            let lines = mall.books(channel, "orders").await;
            let line = &lines["orders"][0]["lines"][0]["lineId"];
            let cancel = json!({ "lineId": line, "quantity": units });
            mall.does(channel, &format!("orders/{order}/cancel"), cancel)
                .await;
            mall.pass(Duration::from_secs(60)).await;
            leave_behind(&mall, channel).await;
            mall.list(channel, shared(), 12_900, "list").await;
            mall.pull(channel).await;
            assert_eq!(mall.unsold(&Source::Pool).await, left, "{channel} {units}");
            let kept = mall.shop.catalog.quarantined(channel, 10).await;
            assert_eq!(kept.expect("answers"), [], "{channel}");
        }
    }
}

#[tokio::test]
async fn orders_of_an_item_that_nobody_listed_wait_and_are_imported_once_it_is() {
    let mall = Mall::empty().await;
    let product = json!({ "name": "머그", "list_price": 12_900 });
    mall.admin(Method::PUT, "/products/mug", product).await;
    mall.stock(10).await;
    mall.create_item("elevenst", 10).await;
    mall.buy("elevenst", 4).await.expect("it is there");
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 10);
    let kept = mall
        .shop
        .catalog
        .quarantined("elevenst", 10)
        .await
        .expect("answers");
    assert_eq!(kept.len(), 1);
    assert!(!kept[0].raw.is_empty(), "with its payload");
    mall.list("elevenst", shared(), 12_900, "list").await;
    mall.pass(Duration::from_secs(60)).await;
    mall.pull("elevenst").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 6);
    let kept = mall
        .shop
        .catalog
        .quarantined("elevenst", 10)
        .await
        .expect("answers");
    assert!(kept.is_empty());
}

#[tokio::test]
async fn a_lowest_price_is_raised_before_the_own_store_and_never_below_it() {
    let mall = Mall::open(10, shared()).await;
    mall.list("coupang", shared(), 12_900, "lowest").await;
    mall.settle().await;
    assert_eq!(mall.asks("coupang").await, 12_900);
    let raised = json!({ "name": "머그", "list_price": 13_905 });
    mall.admin(Method::PUT, "/products/mug", raised).await;
    mall.settle().await;
    assert_eq!(
        mall.asks("coupang").await,
        13_910,
        "on the marketplace's step, rounded up"
    );
}

/// What a marketplace calls the writing of a number.
#[tokio::test]
async fn a_sale_between_the_look_and_the_write_is_made_up_for_without_a_sweep() {
    for channel in CHANNELS {
        let mall = Mall::open(50, shared()).await;
        let other = if channel == "coupang" {
            "smartstore"
        } else {
            "coupang"
        };
        let stall = mall.stall(channel);
        let (on, order) = (stall.write, stall.order(2));
        let rule = json!({ "on": on, "kind": "order_before", "order": order });
        mall.fault(channel, rule).await;
        mall.buy(other, 3).await.expect("it is there");
        mall.pull(other).await;
        mall.deliver().await;
        assert_eq!(
            mall.shows(channel).await,
            47,
            "{channel}: the write did not know of the two"
        );
        mall.rest(false).await;
        assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 45)));
    }
}

#[tokio::test]
async fn a_write_that_is_done_late_over_a_newer_one_is_found_without_a_sweep() {
    let mall = Mall::open(50, shared()).await;
    let rule = json!({ "on": "quantity", "kind": "commit_later", "ms": 300 });
    mall.fault("coupang", rule).await;
    mall.buy("smartstore", 3).await.expect("it is there");
    mall.pull("smartstore").await;
    mall.deliver().await;
    mall.buy("smartstore", 2).await.expect("it is there");
    mall.pull("smartstore").await;
    mall.deliver().await;
    mall.pass(Duration::from_secs(20)).await;
    mall.deliver().await;
    // Then the first write is done.
    let late = async {
        loop {
            let requests = mall.books("coupang", "requests").await;
            let requests = requests["requests"].as_array().expect("requests").clone();
            let running = |request: &Value| request["outcome"] == "running";
            if !requests.iter().any(running) {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    late.await;
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 45)));
}

#[tokio::test]
async fn a_move_is_not_forgotten_with_who_was_to_look_at_it() {
    let mall = Mall::open(50, shared()).await;
    for steps in 0..24 {
        mall.stock(1).await;
        mall.push_killed(SyncWake::Moved, steps).await;
        mall.end_leases().await;
        mall.minute().await;
        let units = 51 + i64::try_from(steps).expect("few");
        assert_eq!(
            mall.all_show().await,
            CHANNELS.map(|name| (name, units)),
            "killed after {steps}"
        );
    }
}

#[tokio::test]
async fn a_product_that_cannot_be_read_holds_up_no_other() {
    let mall = Mall::open(50, shared()).await;
    let aws = mall.shop.wire.aws();
    let put = aws.dynamodb().await.put_item().table_name("catalog");
    let put = put
        .item("pk", AttributeValue::S("product#cup".to_owned()))
        .item("sk", AttributeValue::S("listing#coupang".to_owned()));
    put.send().await.expect("is put");
    let backlog = Backlog::new(mall.shop.redis.connection(), Keys::new("demo"));
    let cup = "cup".parse().expect("an id");
    backlog.put_moved(&cup).await.expect("is noted");
    mall.stock(1).await;
    mall.minute().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 51)));
}

#[tokio::test]
async fn what_is_known_of_a_number_is_changed_once_though_the_answer_is_lost() {
    let mall = Mall::open(50, shared()).await;
    mall.pass(Duration::from_secs(900)).await;
    for channel in ["coupang", "smartstore"] {
        mall.buy(channel, 2).await.expect("it is there");
    }
    mall.pull("smartstore").await;
    mall.shop.wire.fail("PutItem", Fault::AnswerLost, 1);
    mall.pull("coupang").await;
    // Twice two less is what it should show now, and does not.
    mall.deliver().await;
    mall.rest(false).await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 46)));
}

#[tokio::test]
async fn a_clock_that_is_too_far_off_is_named_and_nothing_is_lost() {
    for (place, channel, word) in [(0, "smartstore", "timestamp"), (1, "coupang", "clock")] {
        for skew in [420_000, -420_000] {
            let mall = Mall::open(20, shared()).await;
            // A token that is good still needs no signature.
            mall.pass(Duration::from_secs(4 * 3_600)).await;
            mall.skew(channel, skew).await;
            mall.buy(channel, 3).await.expect("it is there");
            mall.buy("elevenst", 2).await.expect("it is there");
            for _ in 0..4 {
                mall.minute().await;
            }
            let channels = mall.admin(Method::GET, "/channels", Value::Null).await;
            let error = channels["channels"][place]["error"].as_str();
            let error = error.unwrap_or_default().to_lowercase();
            assert!(error.contains(word), "{channel}: {error:?}");
            assert_eq!(mall.shows("ownstore").await, 18, "the others go on");
            mall.skew(channel, -skew).await;
            mall.pass(Duration::from_secs(900)).await;
            mall.rest(false).await;
            assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 15)));
        }
    }
}
