//! The seam between gate, queue, ledger and gateway: everything that can break there, broken on purpose. After each of these
//! nothing is oversold, nothing lost, nothing doubled, and selling goes on by itself.

use std::time::{Duration, Instant};

use onepool::{auth::Role, clock, order::OrderMessage};
use onepool_tests::{Fault, Shop, Show, billing_key, crash_after};
use serde_json::{Value, json};

async fn order(shop: &Shop, show: &Show, viewer: &str, key: &str) -> (u16, Value) {
    shop.order(show, viewer, key, json!(1), billing_key("bk"))
        .await
}

/// Asks with the same key until there is an answer, as a client does.
async fn order_until_answered(shop: &Shop, show: &Show, viewer: &str) -> Value {
    for _ in 0..20 {
        let (status, answer) = order(shop, show, viewer, "k").await;
        if status != 503 {
            assert_eq!(status, 202, "{answer}");
            return answer;
        }
    }
    panic!("no answer for {viewer}");
}

/// How often each order was charged, by the gateway's books: never more than once.
async fn charged(shop: &Shop) -> usize {
    let books = shop.books().await;
    let orders = books["orders"].as_array().expect("orders");
    for order in orders {
        assert!(order["charges"].as_u64() <= Some(1), "{order}");
    }
    orders.iter().filter(|order| order["charges"] == 1).count()
}

async fn sold(shop: &Shop, show: &Show) -> usize {
    let view = shop.quiet(&show.product).await;
    usize::try_from(view["stock"]["sold"].as_u64().expect("a number")).expect("small")
}

#[tokio::test]
async fn an_accept_may_crash_anywhere_and_its_retry_is_the_same_order() {
    let shop = Shop::open().await;
    let show = shop.show(500, 500, None).await;
    let mut crashes = 0;
    loop {
        let viewer = format!("u{crashes}");
        let fell = crash_after(crashes, order(&shop, &show, &viewer, "k")).await;
        let answer = order_until_answered(&shop, &show, &viewer).await;
        if let Some((status, first)) = fell {
            assert_eq!((status, &first["order_id"]), (202, &answer["order_id"]));
            break;
        }
        crashes += 1;
    }
    assert!(
        crashes >= 2,
        "it waits for Redis and for the queue at least"
    );
    shop.process(10, 3).await;
    assert_eq!(sold(&shop, &show).await, crashes + 1);
    assert_eq!(charged(&shop).await, crashes + 1);
}

#[tokio::test]
async fn an_accept_that_crashed_and_never_came_again_gives_its_units_back() {
    let mut shop = Shop::open().await;
    let show = shop.show(50, 50, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1);
    let mut crashes = 0;
    while crash_after(crashes, order(&shop, &show, &format!("u{crashes}"), "k"))
        .await
        .is_none()
    {
        crashes += 1;
    }
    shop.process(10, 2).await;
    // Whether a crashed accept is on the queue, nobody can know; what is not there is given back once the queue is done.
    let later = clock::now() + Duration::from_secs(60);
    shop.gate.raise_watermark(later).await.expect("answers");
    shop.reconcile.run().await.expect("runs");
    shop.process(10, 2).await;
    let sold = sold(&shop, &show).await;
    assert_eq!(charged(&shop).await, sold);
    assert!((1..=crashes + 1).contains(&sold));
}

#[tokio::test]
async fn a_backlog_does_not_expire_what_was_accepted() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1);
    let (status, _) = order(&shop, &show, "u1", "k").await;
    assert_eq!(status, 202);
    tokio::time::sleep(Duration::from_millis(5)).await;
    let reads = shop.wire.calls("GetItem");
    for viewer in ["u2", "u3", "u4", "u5"] {
        assert_eq!(
            order(&shop, &show, viewer, "k").await.0,
            409,
            "its order is on the queue"
        );
    }
    assert!(
        shop.wire.calls("GetItem") - reads <= 2,
        "everyone who meets sold out looks after the expired"
    );
    shop.reconcile.run().await.expect("runs");
    let watermark = async || shop.gate.watermark().await.expect("answers");
    assert_eq!(watermark().await, None, "the queue is not empty");
    // The queue is not strictly in order.
    let done = clock::now() + Duration::from_secs(5);
    shop.gate.raise_watermark(done).await.expect("answers");
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!(report.expired, 0, "{report:?}");
    shop.process(10, 2).await;
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (1, 1));
}

#[tokio::test]
async fn the_sweep_hears_how_far_the_queue_is_done() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    order(&shop, &show, "u1", "k").await;
    let accepted = clock::now();
    shop.process(10, 2).await;
    let watermark = async || shop.gate.watermark().await.expect("answers");
    let done = watermark().await.expect("it was told");
    assert!(done <= accepted && done > accepted.before(Duration::from_secs(30)));

    // Nobody orders: what is not on an empty queue will never come from it. What was sent a moment ago may not show there.
    let shop = Shop::open().await;
    shop.show(10, 10, None).await;
    let now = clock::now();
    shop.reconcile.run().await.expect("runs");
    let done = shop.gate.watermark().await.expect("answers");
    let done = done.expect("the queue is empty");
    assert!(done < now && done > now.before(Duration::from_secs(120)));
}

#[tokio::test]
async fn a_hold_goes_back_some_day_even_if_nobody_says_how_far_the_queue_is() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let (_, receipt) = order(&shop, &show, "u1", "k").await;
    let id = receipt["order_id"].as_str().expect("an id");
    let lost = shop.wire.take_messages("orders");
    let hold = shop
        .gate
        .hold(&show.source(), &id.parse().expect("an id"))
        .await;
    let deadline = hold
        .expect("answers")
        .expect("is known")
        .reservation
        .deadline;
    let sweep = async |after: u64| {
        let later = deadline + Duration::from_secs(after);
        let sweep = &shop.reconcile.sweep;
        let swept = sweep.sweep(&show.source(), later, None).await;
        swept.expect("answers")
    };
    assert_eq!(sweep(800).await, 0, "its message may still come");
    assert_eq!(sweep(1_000).await, 1);
    assert_eq!(shop.deliver(&lost).await.batch_item_failures.len(), 0);
    shop.process(10, 2).await;
    assert_eq!(shop.status("u1", id).await.1["reason"], "expired");
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (0, 0));
}

#[tokio::test]
async fn what_the_ledger_has_ended_is_free_for_a_buyer_who_asks() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1);
    shop.order(&show, "u1", "k", json!(1), billing_key("decline"))
        .await;
    let messages = shop.wire.take_messages("orders");
    shop.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);
    shop.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    order_until_answered(&shop, &show, "u2").await;
    shop.process(10, 2).await;
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (1, 1));
}

#[tokio::test]
async fn a_message_that_comes_after_its_order_expired_finds_it_ended() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1);
    let (_, first) = order(&shop, &show, "u1", "k").await;
    let late = shop.wire.take_messages("orders");
    let later = clock::now() + Duration::from_secs(60);
    shop.gate.raise_watermark(later).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(
        order(&shop, &show, "u2", "k").await.0,
        202,
        "the unit is free again"
    );
    shop.process(10, 2).await;
    for _ in 0..2 {
        assert_eq!(shop.deliver(&late).await.batch_item_failures.len(), 0);
    }
    let id = first["order_id"].as_str().expect("an id");
    let (_, view) = shop.status("u1", id).await;
    assert_eq!(
        (&view["status"], &view["reason"]),
        (&json!("failed"), &json!("expired"))
    );
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (1, 1));
}

#[tokio::test]
async fn settling_may_crash_between_any_two_steps() {
    let shop = Shop::open().await;
    let show = shop.show(2_000, 2_000, None).await;
    let mut crashes = 0;
    let mut orders = 0;
    loop {
        for card in ["bk", "decline"] {
            let viewer = format!("{card}{crashes}");
            let (status, _) = shop
                .order(&show, &viewer, "k", json!(1), billing_key(card))
                .await;
            assert_eq!(status, 202);
        }
        orders += 1;
        let messages = shop.wire.take_messages("orders");
        let whole = crash_after(crashes, shop.deliver(&messages)).await;
        for _ in 0..3 {
            if shop.deliver(&messages).await.batch_item_failures.is_empty() {
                break;
            }
        }
        if whole.is_some() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes >= 5, "it has only {crashes} steps");
    assert_eq!(
        (sold(&shop, &show).await, charged(&shop).await),
        (orders, orders)
    );
}

#[tokio::test]
async fn the_same_messages_at_the_same_time_settle_once() {
    let shop = Shop::open().await;
    let show = shop.show(100, 100, None).await;
    for number in 0..20 {
        let card = if number % 4 == 0 { "decline" } else { "bk" };
        let viewer = format!("u{number}");
        shop.order(&show, &viewer, "k", json!(1), billing_key(card))
            .await;
    }
    let messages = shop.wire.take_messages("orders");
    let mut reversed = messages.clone();
    reversed.reverse();
    futures::future::join4(
        shop.deliver(&messages),
        shop.deliver(&messages),
        shop.deliver(&reversed),
        shop.deliver(&reversed[..10]),
    )
    .await;
    for _ in 0..5 {
        if shop.deliver(&messages).await.batch_item_failures.is_empty() {
            break;
        }
    }
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (15, 15));
}

#[tokio::test]
async fn taking_back_and_paying_may_crash_between_any_two_steps() {
    let shop = Shop::open().await;
    let show = shop.show(2_000, 2_000, None).await;
    for crashes in 0..60 {
        let viewer = format!("u{crashes}");
        let (_, receipt) = shop
            .order(&show, &viewer, "k", json!(1), json!({ "method": "widget" }))
            .await;
        let id = receipt["order_id"].as_str().expect("an id");
        shop.process(10, 1).await;
        let key = shop.checkout(id, 19_900).await;
        let body = json!({ "payment_key": key, "amount": 19_900 });
        let caller = (viewer.as_str(), Role::Viewer);
        let route = "POST /orders/{order_id}/payment";
        let asked = shop.money(caller, route, id, "p", body).await;
        assert_eq!(asked.0, 202);
        let pay = shop.wire.take_messages("orders");
        crash_after(crashes, shop.deliver(&pay)).await;
        let cancel = OrderMessage::Cancel {
            order_id: id.parse().expect("an id"),
            by: viewer.parse().expect("an id"),
        };
        let cancel = [serde_json::to_string(&cancel).expect("JSON")];
        crash_after(crashes / 2, shop.deliver(&cancel)).await;
        shop.deliver(&pay).await;
        shop.deliver(&cancel).await;
        let owed = shop.ledger.order(&id.parse().expect("an id")).await;
        let owed = owed.expect("answers").expect("is there");
        shop.settlement.look_after(owed).await.expect("looks");
    }
    assert_eq!(sold(&shop, &show).await, 0);
    let books = shop.books().await;
    for payment in books["payments"].as_array().expect("payments") {
        assert!(
            payment["balanceAmount"].as_u64().unwrap_or_default() == 0
                || payment["status"] != "DONE",
            "money stayed: {payment}"
        );
    }
}

#[tokio::test]
async fn a_ledger_that_is_throttled_away_or_silent_loses_nothing() {
    let shop = Shop::open().await;
    let show = shop.show(300, 300, None).await;
    let faults = [
        Fault::Throttled,
        Fault::Refused(503),
        Fault::AnswerLost,
        Fault::TransactionConflict,
    ];
    let mut viewers = 0;
    for fault in faults {
        for times in [1, 2, 3, 7] {
            for _ in 0..5 {
                viewers += 1;
                let (status, _) = order(&shop, &show, &format!("u{viewers}"), "k").await;
                assert_eq!(status, 202);
            }
            shop.wire.fail("TransactWriteItems", fault, times);
            shop.process(10, 20).await;
        }
    }
    assert_eq!(
        (sold(&shop, &show).await, charged(&shop).await),
        (viewers, viewers)
    );
}

#[tokio::test]
async fn a_failover_that_lost_the_last_writes_oversells_nothing_and_is_repaired() {
    let shop = Shop::open().await;
    let show = shop.show(30, 30, None).await;
    for number in 0..10 {
        order_until_answered(&shop, &show, &format!("a{number}")).await;
    }
    shop.process(100, 2).await;
    let old = shop.redis.copy().await;
    for number in 0..10 {
        order_until_answered(&shop, &show, &format!("b{number}")).await;
    }
    let on_the_queue = shop.wire.take_messages("orders");
    shop.redis.bring_back(&old).await;
    // The gate believes that 20 are left; the ledger knows of 10 sold, and 10 more are on their way to it.
    for number in 0..20 {
        order_until_answered(&shop, &show, &format!("c{number}")).await;
    }
    shop.deliver(&on_the_queue).await;
    shop.process(100, 3).await;
    shop.reconcile.run().await.expect("runs");
    let report = shop.reconcile.run().await.expect("runs");
    assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (30, 30));
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_sells_on_within_seconds() {
    let mut shop = Shop::open().await;
    let show = shop.show(30, 30, None).await;
    for number in 0..10 {
        order_until_answered(&shop, &show, &format!("a{number}")).await;
    }
    shop.redis.kill_and_restart().await;
    let back = Instant::now();
    order_until_answered(&shop, &show, "b1").await;
    assert!(back.elapsed() < Duration::from_secs(5));
    shop.process(100, 3).await;
    // Ten were on the queue while the gate forgot them: it has too many, until somebody compares.
    shop.reconcile.run().await.expect("runs");
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (11, 11));
    let trace = shop.ledger.trace(&show.product, 10).await.expect("answers");
    assert_eq!(
        trace[0].repaired, -10,
        "the repair is not written down: {trace:?}"
    );
}

#[tokio::test]
async fn what_an_empty_redis_sold_too_much_is_refused_once_not_again_and_again() {
    let mut shop = Shop::open().await;
    let show = shop.show(20, 20, None).await;
    for number in 0..10 {
        order_until_answered(&shop, &show, &format!("a{number}")).await;
    }
    let on_the_queue = shop.wire.take_messages("orders");
    shop.redis.kill_and_restart().await;
    // The ledger does not know of the ten yet, so the gate has twenty again.
    for number in 0..20 {
        order_until_answered(&shop, &show, &format!("b{number}")).await;
    }
    shop.deliver(&on_the_queue).await;
    shop.process(100, 2).await;
    assert_eq!(charged(&shop).await, 20);
    let (status, answer) = order(&shop, &show, "c", "k").await;
    assert_eq!(
        (status, &answer["code"]),
        (409, &json!("sold_out")),
        "units were sold that had been refused: {answer}"
    );
    shop.reconcile.run().await.expect("runs");
    assert_eq!(sold(&shop, &show).await, 20);
}

#[tokio::test]
async fn a_redis_that_only_reads_is_slow_or_away_costs_no_order() {
    let mut shop = Shop::open().await;
    let show = shop.show(100, 100, None).await;
    order_until_answered(&shop, &show, "u0").await;

    shop.redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await;
    assert_eq!(order(&shop, &show, "u1", "k").await.0, 503);
    let messages = shop.wire.take_messages("orders");
    let failed = shop.deliver(&messages).await.batch_item_failures.len();
    assert_eq!(failed, 1, "the gate does not agree yet");
    shop.redis.command(&["REPLICAOF", "NO", "ONE"]).await;
    order_until_answered(&shop, &show, "u1").await;
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);

    shop.redis
        .command(&["CLIENT", "PAUSE", "1500", "ALL"])
        .await;
    assert_eq!(order(&shop, &show, "u2", "k").await.0, 503);
    order_until_answered(&shop, &show, "u2").await;

    shop.redis.kill().await;
    assert_eq!(order(&shop, &show, "u3", "k").await.0, 503);
    shop.redis.kill_and_restart().await;
    order_until_answered(&shop, &show, "u3").await;
    shop.process(100, 5).await;
    shop.reconcile.run().await.expect("runs");
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (4, 4));
}

#[tokio::test]
async fn a_hanging_gateway_does_not_take_the_paid_along() {
    let mut shop = Shop::open().await;
    let show = shop.show(100, 100, None).await;
    shop.settlement.gateway_patience = Duration::from_secs(3);
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "delay", "ms": 7_000, "billingKey": "slow" },
    ]))
    .await;
    let (_, slow) = shop
        .order(&show, "u0", "k", json!(1), billing_key("slow"))
        .await;
    for number in 1..10 {
        order_until_answered(&shop, &show, &format!("u{number}")).await;
    }
    let messages = shop.wire.take_messages("orders");
    let began = Instant::now();
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);
    assert!(began.elapsed() < Duration::from_secs(6));
    let id = slow["order_id"].as_str().expect("an id");
    assert_eq!(shop.status("u0", id).await.1["status"], "reserved");
    shop.settlement.gateway_patience = Duration::from_secs(20);
    while !shop.deliver(&messages).await.batch_item_failures.is_empty() {}
    assert_eq!((sold(&shop, &show).await, charged(&shop).await), (10, 10));
}
