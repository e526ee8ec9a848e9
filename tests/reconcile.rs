//! Once a minute: what broke off is finished, what differs is found, put right and written down.

use std::{task::Poll, time::Duration};

use aws_sdk_dynamodb::types::AttributeValue;
use axum::http::Method;
use onepool::{clock, order::FailureReason, stock::Withdrawn};
use onepool_tests::{Fault, Shop, Show, billing_key, crash_after};
use serde_json::{Value, json};

async fn order(shop: &Shop, show: &Show, viewer: &str) -> String {
    let (status, receipt) = shop
        .order(show, viewer, "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "{receipt}");
    receipt["order_id"].as_str().expect("an id").to_owned()
}

/// Units left at the live source, by the gate.
async fn left(shop: &Shop, show: &Show) -> i64 {
    let stock = shop.gate.stock(&show.product, &[&show.source()]).await;
    stock.expect("answers")[0].expect("is known").left
}

/// Writes a count of the gate by hand, as a bug or a person would.
async fn set_left(shop: &Shop, show: &Show, left: i64) {
    let gate = format!("{{demo}}:gate:{}", show.source());
    let field = format!("stock:{}", show.product);
    let version = clock::now().millis() * 2_000;
    let record = format!("{left} {version}");
    shop.redis.command(&["HSET", &gate, &field, &record]).await;
}

async fn trace(shop: &Shop, query: &str) -> (u16, Value) {
    let path = format!("/products/p1/trace{query}");
    shop.admin(Method::GET, &path, None, Value::Null).await
}

#[tokio::test]
async fn a_gate_that_differs_is_put_right_once_and_the_trace_says_so() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    order(&shop, &show, "u1").await;
    shop.process(10, 2).await;
    for wrong in [12, 3, -1] {
        set_left(&shop, &show, wrong).await;
        let report = shop.reconcile.run().await.expect("runs");
        assert_eq!(report.drift, wrong.abs_diff(9), "{report:?}");
        assert_eq!(left(&shop, &show).await, 9);
        let (_, told) = trace(&shop, "?limit=1").await;
        assert_eq!(told["changes"][0]["repaired"], 9 - wrong, "{told}");
        assert_eq!(told["changes"][0]["by"], "reconcile");
    }
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!(
        (report.drift, report.failed, report.busy),
        (0, 0, 0),
        "{report:?}"
    );
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn orders_between_gate_and_ledger_are_no_drift() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    for number in 0..3 {
        order(&shop, &show, &format!("a{number}")).await;
    }
    let waiting = shop.wire.take_messages("orders");
    let (_, later) = shop
        .order(&show, "b1", "k", json!(2), json!({ "method": "widget" }))
        .await;
    assert_eq!(later["status"], "accepted");
    shop.process(10, 2).await;
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!((report.drift, report.busy), (0, 0), "{report:?}");
    assert_eq!(report.compared, 2, "the pool and the fence: {report:?}");
    assert_eq!(left(&shop, &show).await, 5);
    shop.deliver(&waiting).await;
    assert_eq!(shop.reconcile.run().await.expect("runs").drift, 0);
}

#[tokio::test]
async fn what_was_settled_in_the_ledger_and_never_told_to_the_gate_is_told() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    for (number, card) in ["bk", "decline"].into_iter().enumerate() {
        let viewer = format!("u{number}");
        let (status, _) = shop
            .order(&show, &viewer, "k", json!(1), billing_key(card))
            .await;
        assert_eq!(status, 202);
    }
    // The ledger has decided, Redis is away, and the messages never come again.
    let messages = shop.wire.take_messages("orders");
    shop.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 2);
    shop.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(left(&shop, &show).await, 8);
    // Those who settle get some seconds to do it themselves.
    let settling = clock::now() + Duration::from_secs(6);
    while left(&shop, &show).await != 9 {
        shop.reconcile.run().await.expect("runs");
        assert!(
            clock::now() < settling + Duration::from_secs(20),
            "nobody told the gate"
        );
    }
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn what_the_ledger_did_lately_is_told_to_the_gate_before_it_is_called_wrong() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    let id = order(&shop, &show, "u1").await;
    shop.process(10, 2).await;
    let paid = shop.ledger.order(&id.parse().expect("an id")).await;
    let paid = paid.expect("answers").expect("is there");
    // Taken back in the ledger; the process ends before the gate hears of it.
    let failed = paid.clone().failed(FailureReason::Cancelled, clock::now());
    shop.ledger
        .change(&paid, failed, "cancelled", clock::now())
        .await
        .expect("changes");
    assert_eq!(left(&shop, &show).await, 9);
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!(
        (report.drift, left(&shop, &show).await),
        (0, 10),
        "{report:?}"
    );
    let (_, told) = trace(&shop, "?limit=1").await;
    assert_eq!(told["changes"][0]["cause"], "cancelled", "it was repaired");
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_move_that_broke_off_is_followed() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    // Withdrawn long ago for a move that the ledger never made.
    let long_ago = clock::now().before(Duration::from_secs(60));
    let row = shop.ledger.stock_row(&show.product, &show.source()).await;
    let version = row.expect("answers").expect("is there").version;
    let withdrawn = shop
        .gate
        .withdraw(
            &show.source(),
            &show.product,
            (4, 4),
            version,
            "t",
            long_ago,
        )
        .await;
    assert_eq!(withdrawn.expect("answers"), Withdrawn::Units(4));
    assert_eq!(left(&shop, &show).await, 6);
    shop.reconcile.run().await.expect("runs");
    assert_eq!(left(&shop, &show).await, 10, "withdrawn units stay away");

    // Withdrawn a moment ago: whoever did it goes on, and until then the gate promises less.
    let row = shop.ledger.stock_row(&show.product, &show.source()).await;
    let version = row.expect("answers").expect("is there").version;
    let now = clock::now();
    let withdrawn = shop
        .gate
        .withdraw(&show.source(), &show.product, (4, 4), version, "t2", now)
        .await;
    assert_eq!(withdrawn.expect("answers"), Withdrawn::Units(4));
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!((report.drift, left(&shop, &show).await), (0, 6));
    let back = shop.gate.restore(&show.source(), &show.product, "t2").await;
    back.expect("answers");
    assert_eq!(left(&shop, &show).await, 10);

    // Granted in the ledger, and the gate never heard of it.
    let path = format!("/broadcasts/{}/products/{}", show.broadcast, show.product);
    let body = json!({ "add_quantity": 5 });
    for steps in 0..40 {
        if crash_after(
            steps,
            shop.admin(Method::PATCH, &path, Some("more"), body.clone()),
        )
        .await
        .is_some()
        {
            break;
        }
        shop.reconcile.run().await.expect("runs");
        shop.quiet(&show.product).await;
    }
    assert_eq!(left(&shop, &show).await, 15);
}

#[tokio::test]
async fn what_is_left_over_after_the_end_goes_back_to_the_pool() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    order(&shop, &show, "u1").await;
    shop.process(10, 2).await;
    let path = format!("/broadcasts/{}/end", show.broadcast);
    shop.wire.fail("TransactWriteItems", Fault::Refused(503), 9);
    let (status, _) = shop
        .admin(Method::POST, &path, Some("e"), Value::Null)
        .await;
    assert_eq!(status, 503, "the end breaks off before the units are back");
    shop.wire.calm();
    // What was withdrawn for the move comes back to the fence first, some seconds later.
    let stock = async || {
        let view = shop
            .admin(Method::GET, "/products/p1", None, Value::Null)
            .await
            .1;
        view["stock"]["sources"].clone()
    };
    let deadline = clock::now() + Duration::from_secs(40);
    while stock().await[0]["granted"] != 1 {
        shop.reconcile.run().await.expect("runs");
        assert!(clock::now() < deadline, "left over: {}", stock().await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let sources = stock().await;
    assert_eq!(
        (&sources[0]["left"], &sources[1]["left"]),
        (&json!(0), &json!(19))
    );
    shop.quiet(&show.product).await;
    shop.reconcile.run().await.expect("runs");
    assert_eq!(shop.ledger.rows().await.expect("answers").len(), 2);
    clock::put_ahead(Duration::from_secs(24 * 3_600));
    shop.reconcile.run().await.expect("runs");
    assert_eq!(
        shop.ledger.rows().await.expect("answers").len(),
        1,
        "a fence with nothing in it is compared for ever"
    );
}

#[tokio::test]
async fn an_order_whose_message_is_lost_is_ended_by_what_the_gateway_says() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    let mut records = Vec::new();
    for (viewer, fault) in [
        ("u1", "close_after_commit"),
        ("u2", "timeout_before_commit"),
    ] {
        let id = order(&shop, &show, viewer).await;
        shop.gateway_faults(json!([
            { "on": "billing", "kind": fault, "ms": 1, "times": 1, "orderId": id },
            { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
        ]))
        .await;
        let lost = shop.wire.take_messages("orders");
        assert_eq!(shop.deliver(&lost).await.batch_item_failures.len(), 1);
        let record = shop.ledger.order(&id.parse().expect("an id")).await;
        records.push(record.expect("answers").expect("is there"));
    }
    shop.sandbox_delete("/sandbox/faults").await;
    for record in &records {
        // Long after, as the index would bring it up.
        let due = onepool::ledger::OrderRecord {
            pay_by: clock::now(),
            ..record.clone()
        };
        shop.settlement.look_after(due).await.expect("looks");
    }
    let status = async |viewer: &str, place: usize| {
        let view = shop
            .status(viewer, records[place].order_id.as_str())
            .await
            .1;
        (view["status"].clone(), view["reason"].clone())
    };
    assert_eq!(status("u1", 0).await, (json!("confirmed"), Value::Null));
    assert_eq!(
        status("u2", 1).await,
        (json!("failed"), json!("payment_expired"))
    );
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn why_is_it_seven() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    for number in 0..3 {
        order(&shop, &show, &format!("u{number}")).await;
    }
    shop.process(10, 2).await;
    let (status, told) = trace(&shop, "").await;
    assert_eq!((status, &told["product_id"]), (200, &json!("p1")));
    let live = show.source().to_string();
    let newest = &told["changes"][0];
    assert_eq!(
        (
            &newest["source"],
            &newest["sold"],
            &newest["cause"],
            &newest["after"]
        ),
        (
            &json!(live),
            &json!(3),
            &json!("reserved"),
            &json!({ "granted": 10, "sold": 3, "left": 7 })
        )
    );
    assert_eq!(newest["orders"].as_array().map(Vec::len), Some(3));
    let oldest = told["changes"].as_array().expect("changes").last();
    let oldest = oldest.expect("is there");
    assert_eq!(
        (&oldest["cause"], &oldest["by"], &oldest["after"]["granted"]),
        (&json!("입고"), &json!("operator-1"), &json!(20))
    );
    assert_eq!(
        trace(&shop, "?limit=2").await.1["changes"]
            .as_array()
            .map(Vec::len),
        Some(2)
    );
    for bad in ["?limit=0", "?limit=1001", "?limit=many"] {
        let (status, problem) = trace(&shop, bad).await;
        assert_eq!((status, &problem["field"]), (400, &json!("limit")), "{bad}");
    }
    let nothing = shop
        .admin(Method::GET, "/products/p9/trace", None, Value::Null)
        .await;
    assert_eq!(nothing.0, 404);
}

#[tokio::test]
async fn a_fence_at_rest_is_looked_at_again_when_units_come_back_to_it() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(300);
    let (status, receipt) = shop
        .order(&show, "u1", "k", json!(1), json!({ "method": "widget" }))
        .await;
    assert_eq!(status, 202, "{receipt}");
    shop.process(10, 1).await;
    let path = format!("/broadcasts/{}/end", show.broadcast);
    let ended = shop
        .admin(Method::POST, &path, Some("e"), Value::Null)
        .await;
    assert_eq!(ended.0, 200);
    let fence = shop.ledger.stock_row(&show.product, &show.source()).await;
    let fence = fence.expect("answers").expect("is there");
    shop.ledger.rest(&fence).await.expect("rests");
    assert_eq!(shop.ledger.rows().await.expect("answers").len(), 1);
    // Nobody pays. The ledger says so, and whoever wrote it there breaks off.
    let id = receipt["order_id"].as_str().expect("an id");
    let order = shop.ledger.order(&id.parse().expect("an id")).await;
    let order = order.expect("answers").expect("is there");
    tokio::time::sleep(order.pay_by.since(clock::now()) + Duration::from_millis(5)).await;
    shop.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert!(shop.settlement.look_after(order).await.is_err());
    shop.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    assert_eq!(shop.status("u1", id).await.1["status"], "failed");

    shop.reconcile.run().await.expect("runs");
    shop.process(10, 1).await;
    let view = shop.quiet(&show.product).await;
    assert_eq!(view["stock"]["available"], 1, "the unit is lost: {view}");
}

#[tokio::test]
async fn an_order_that_cannot_be_read_hides_no_other() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let readable = order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([{ "on": "billing", "kind": "timeout_before_commit", "ms": 1 }]))
        .await;
    let messages = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);
    let aws = shop.wire.aws();
    let broken = format!("{}-{}", show.broadcast, "a".repeat(26));
    let put = aws.dynamodb().await.put_item().table_name("orders");
    let put = put
        .item("pk", AttributeValue::S(broken))
        .item("due_shard", AttributeValue::S("1".to_owned()))
        .item("due_at", AttributeValue::N("1".to_owned()));
    put.send().await.expect("is put");
    let later = clock::now() + Duration::from_secs(3_600);
    let due = shop.ledger.due(later, 100).await.expect("answers");
    let due: Vec<&str> = due.iter().map(|order| order.order_id.as_str()).collect();
    assert_eq!(due, [readable]);
}

#[tokio::test]
async fn a_hold_that_cannot_be_ended_keeps_no_other_ones_units() {
    let mut shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1);
    for viewer in ["u1", "u2"] {
        order(&shop, &show, viewer).await;
    }
    let _ = shop.wire.take_messages("orders"); // they never come
    let later = clock::now() + Duration::from_secs(60);
    shop.gate.raise_watermark(later).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(5)).await;
    let sweep = &shop.reconcile.sweep;
    shop.wire.fail("TransactWriteItems", Fault::Refused(400), 1);
    let swept = sweep.sweep(&show.source(), clock::now(), None).await;
    assert!(swept.is_err(), "the first was ended: {swept:?}");
    assert_eq!(left(&shop, &show).await, 1);
    let swept = sweep.sweep(&show.source(), clock::now(), None).await;
    assert_eq!(swept.expect("answers"), 1);
    shop.process(10, 1).await;
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_difference_that_passes_is_none() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    set_left(&shop, &show, 7).await;
    let passes = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        set_left(&shop, &show, 10).await;
    };
    let (report, ()) = futures::join!(shop.reconcile.run(), passes);
    let report = report.expect("runs");
    assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
    assert_eq!(left(&shop, &show).await, 10);
}

#[tokio::test]
async fn nothing_is_put_right_while_it_only_sells() {
    let shop = Shop::open().await;
    let show = shop.show(100_000, 100_000, None).await;
    let until = clock::now() + Duration::from_secs(10);
    let selling = async {
        let mut buyers = 0;
        while clock::now() < until {
            let names: Vec<_> = (buyers..buyers + 10).map(|n| format!("u{n}")).collect();
            let orders = names.iter().map(|name| order(&shop, &show, name));
            futures::future::join_all(orders).await;
            buyers += 10;
            if buyers % 50 == 0 {
                shop.process(50, 5).await;
            }
        }
        buyers
    };
    let comparing = async {
        while clock::now() < until {
            let report = shop.reconcile.run().await.expect("runs");
            assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
        }
    };
    let (buyers, ()) = futures::join!(selling, comparing);
    shop.process(100, 5).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], buyers);
}

#[tokio::test]
async fn a_gate_that_changes_while_it_is_looked_at_is_not_compared() {
    let shop = Shop::open().await;
    let show = shop.show(5_000, 5_000, None).await;
    let mut run = Box::pin(shop.reconcile.run());
    let mut buyers = 0;
    // Somebody orders between any two steps of it.
    let report = loop {
        if let Poll::Ready(report) = futures::poll!(&mut run) {
            break report.expect("runs");
        }
        order(&shop, &show, &format!("u{buyers}")).await;
        buyers += 1;
    };
    assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
    assert_eq!(report.busy, 1, "{report:?}");
}

#[tokio::test]
async fn a_gate_that_forgot_is_filled_before_anybody_asks() {
    let mut shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    order(&shop, &show, "u1").await;
    shop.process(10, 2).await;
    shop.redis.kill_and_restart().await;
    let deadline = clock::now() + Duration::from_secs(20);
    while shop.reconcile.run().await.expect("runs").loaded != 2 {
        assert!(clock::now() < deadline, "nobody filled the gate");
    }
    assert_eq!(left(&shop, &show).await, 9);
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_gate_with_an_older_memory_hears_what_the_host_said_last() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    let buy = async |viewer: &str| {
        let answer = shop.order(&show, viewer, "k", json!(1), billing_key("bk"));
        answer.await
    };
    let older = shop.redis.copy().await;
    let product = format!("/broadcasts/{}/products/{}", show.broadcast, show.product);
    let cheaper = json!({ "live_price": 700 });
    let (status, _) = shop
        .admin(Method::PATCH, &product, Some("p"), cheaper)
        .await;
    assert_eq!(status, 200);
    shop.redis.bring_back(&older).await;
    shop.reconcile.run().await.expect("runs");
    assert_eq!(buy("u1").await.1["amount"], 700, "the price of before");
    shop.process(10, 2).await;

    let older = shop.redis.copy().await;
    let end = format!("/broadcasts/{}/end", show.broadcast);
    let (status, _) = shop.admin(Method::POST, &end, Some("e"), Value::Null).await;
    assert_eq!(status, 200);
    shop.reconcile.run().await.expect("runs");
    shop.redis.bring_back(&older).await;
    assert_eq!(left(&shop, &show).await, 9, "the gate has what it had");
    shop.reconcile.run().await.expect("runs");
    assert_eq!(left(&shop, &show).await, 0);
    let (status, refused) = buy("u2").await;
    assert_eq!((status, &refused["code"]), (409, &json!("not_on_air")));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn what_is_due_is_looked_after() {
    let shop = Shop::open().await;
    let show = shop.show(20, 10, None).await;
    let id = order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    let lost = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&lost).await.batch_item_failures.len(), 1);
    let record = shop.ledger.order(&id.parse().expect("an id")).await;
    let record = record.expect("answers").expect("is there");
    let due = onepool::ledger::OrderRecord {
        due_at: Some(clock::now()),
        ..record.clone()
    };
    let changed = shop.ledger.change(&record, due, "test", clock::now()).await;
    changed.expect("changes");
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!((report.looked_after, report.failed), (1, 0), "{report:?}");
    assert_eq!(shop.status("u1", &id).await.1["status"], "confirmed");
    shop.quiet(&show.product).await;
}
