//! Orders from the buyer's request to their end, through the code of the functions, over a real Redis, a DynamoDB emulator
//! and the payment sandbox.

use onepool::auth::Role;
use onepool_tests::{Fault, Shop, Show, billing_key, crash_after};
use serde_json::{Value, json};

async fn faults(shop: &Shop, faults: Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}/sandbox/faults", shop.sandbox.base_url()))
        .json(&json!({ "faults": faults }))
        .send()
        .await
        .expect("the sandbox answers");
    assert!(
        answer.status().is_success(),
        "{}",
        answer.text().await.unwrap_or_default()
    );
}

/// Charges a buyer's order had, by the sandbox's own books.
async fn charges(shop: &Shop) -> u64 {
    let books: Value = reqwest::get(format!("{}/sandbox/books", shop.sandbox.base_url()))
        .await
        .expect("the sandbox answers")
        .json()
        .await
        .expect("JSON");
    for order in books["orders"].as_array().expect("orders") {
        assert!(
            order["charges"].as_u64() <= Some(1),
            "charged twice: {order}"
        );
        assert_eq!(
            order["refusedDuplicates"], 0,
            "tried to charge twice: {order}"
        );
    }
    books["orders"]
        .as_array()
        .expect("orders")
        .iter()
        .filter(|order| order["charges"] == 1)
        .count() as u64
}

async fn accept(shop: &Shop, show: &Show, viewer: &str, payment: Value) -> String {
    let (status, receipt) = shop.order(show, viewer, "k", json!(1), payment).await;
    assert_eq!(status, 202, "{receipt}");
    receipt["order_id"].as_str().expect("an id").to_owned()
}

#[tokio::test]
async fn an_order_is_accepted_confirmed_and_told() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, Some(2)).await;
    let (status, receipt) = shop
        .order(&show, "u1", "k", json!(2), billing_key("bk"))
        .await;
    assert_eq!(status, 202);
    assert_eq!(receipt["status"], "accepted");
    assert_eq!(
        (&receipt["amount"], &receipt["currency"]),
        (&json!(39_800), &json!("KRW"))
    );
    let id = receipt["order_id"].as_str().expect("an id");

    let (status, waiting) = shop.status("u1", id).await;
    assert_eq!((status, &waiting["status"]), (200, &json!("accepted")));
    assert_eq!(shop.status("u2", id).await.0, 404, "another viewer read it");
    shop.process(10, 1).await;
    let (status, settled) = shop.status("u1", id).await;
    assert_eq!(
        (status, &settled["status"], &settled["amount"]),
        (200, &json!("confirmed"), &json!(39_800))
    );
    assert!(settled["settled_at"].is_string() && settled["payment"]["payment_key"].is_string());
    assert_eq!(shop.status("u2", id).await.0, 404, "another viewer read it");

    assert_eq!(charges(&shop).await, 1);
    let view = shop.quiet(&show.product).await;
    assert_eq!(
        (&view["stock"]["sold"], &view["stock"]["available"]),
        (&json!(2), &json!(20))
    );
}

#[tokio::test]
async fn accepting_takes_one_call_of_redis_and_one_send() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    accept(&shop, &show, "warm-up", billing_key("bk")).await;
    let mut redis = shop.redis.plain().await;
    let _: () = redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .query_async(&mut redis)
        .await
        .expect("resets");
    let (sends, others) = (shop.wire.calls("SendMessage"), shop.wire.calls("DynamoDB"));
    for buyer in 0..20 {
        accept(&shop, &show, &format!("u{buyer}"), billing_key("bk")).await;
    }
    assert_eq!(shop.wire.calls("SendMessage") - sends, 20);
    assert_eq!(shop.wire.calls("DynamoDB") - others, 0);
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut redis)
        .await
        .expect("answers");
    let calls = |command: &str| {
        let line = stats
            .lines()
            .find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next())
            .map_or(0, |calls| calls.parse::<u32>().expect("a number"))
    };
    assert_eq!(calls("evalsha"), 20);
    // What the script does: one read, one write, and the deadline.
    assert_eq!(
        (calls("hmget"), calls("hset"), calls("rpush")),
        (20, 20, 20)
    );
    let known = [
        "evalsha",
        "hmget",
        "hset",
        "rpush",
        "config|resetstat",
        "info",
    ];
    for line in stats
        .lines()
        .filter_map(|line| line.strip_prefix("cmdstat_"))
    {
        let command = line.split(':').next().unwrap_or_default();
        assert!(known.contains(&command), "{command} was called as well");
    }
}

#[tokio::test]
async fn the_same_key_is_one_order_however_often_and_whenever_it_comes() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let first = accept(&shop, &show, "u1", billing_key("bk")).await;
    let tries = (0..50).map(|_| accept(&shop, &show, "u1", billing_key("bk")));
    assert!(
        futures::future::join_all(tries)
            .await
            .iter()
            .all(|id| *id == first)
    );
    shop.process(100, 3).await;
    assert_eq!(
        accept(&shop, &show, "u1", billing_key("bk")).await,
        first,
        "after it was settled"
    );
    assert_eq!(
        shop.wire.take_messages("orders").len(),
        0,
        "a settled order was sent again"
    );
    let (status, problem) = shop
        .order(&show, "u1", "k", json!(2), billing_key("bk"))
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_conflict"))
    );
    assert_eq!(charges(&shop).await, 1);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_declined_card_gives_the_units_back() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, Some(1)).await;
    let id = accept(&shop, &show, "u1", billing_key("decline-1")).await;
    shop.process(10, 1).await;
    let (_, order) = shop.status("u1", &id).await;
    assert_eq!(
        (&order["status"], &order["reason"]),
        (&json!("failed"), &json!("payment_declined"))
    );
    let view = shop.quiet(&show.product).await;
    assert_eq!(
        (&view["stock"]["sold"], &view["stock"]["on_hand"]),
        (&json!(0), &json!(120))
    );
    let (status, _) = shop
        .order(&show, "u1", "again", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "the limit counts an order that failed");
}

#[tokio::test]
async fn a_payment_without_an_answer_is_looked_up_never_guessed() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let id = accept(&shop, &show, "u1", billing_key("bk")).await;
    faults(
        &shop,
        json!([{ "on": "billing", "kind": "close_after_commit", "times": 1 }]),
    )
    .await;
    shop.process(10, 1).await;
    assert_eq!(shop.status("u1", &id).await.1["status"], "confirmed");

    let id = accept(&shop, &show, "u2", billing_key("bk")).await;
    faults(
        &shop,
        json!([{ "on": "billing", "kind": "error_before_commit", "times": 1, "recorded": false }]),
    )
    .await;
    let bodies = shop.wire.take_messages("orders");
    assert_eq!(
        shop.deliver(&bodies).await.batch_item_failures.len(),
        1,
        "nobody knows: the message comes again"
    );
    assert_eq!(
        shop.wire.take_delays(),
        [2],
        "and soon, not when its visibility ends"
    );
    assert_eq!(shop.status("u2", &id).await.1["status"], "reserved");
    assert!(shop.deliver(&bodies).await.batch_item_failures.is_empty());
    assert_eq!(shop.status("u2", &id).await.1["status"], "confirmed");
    assert_eq!(charges(&shop).await, 2);
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_payment_is_looked_up_before_it_is_tried_again() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let id = accept(&shop, &show, "u1", billing_key("bk")).await;
    faults(
        &shop,
        json!([{ "on": "billing", "kind": "close_after_commit", "times": 1 },
               { "on": "lookup", "kind": "error_before_commit", "times": 1 }]),
    )
    .await;
    let bodies = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&bodies).await.batch_item_failures.len(), 1);
    // By now the gateway has forgotten the idempotency key: only looking keeps the buyer from being charged again.
    let forgotten = json!({ "advance_s": 16 * 24 * 3_600 });
    let clock = format!("{}/sandbox/clock", shop.sandbox.base_url());
    let answer = reqwest::Client::new()
        .post(clock)
        .json(&forgotten)
        .send()
        .await;
    assert!(answer.expect("the sandbox answers").status().is_success());
    assert!(shop.deliver(&bodies).await.batch_item_failures.is_empty());
    assert_eq!(shop.status("u1", &id).await.1["status"], "confirmed");
    assert_eq!(charges(&shop).await, 1);
}

#[tokio::test]
async fn messages_that_come_twice_or_together_settle_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let good = accept(&shop, &show, "u1", billing_key("bk")).await;
    let bad = accept(&shop, &show, "u2", billing_key("decline-1")).await;
    let bodies = shop.wire.take_messages("orders");
    let twice: Vec<String> = bodies.iter().chain(&bodies).cloned().collect();
    let deliveries = (0..4).map(|_| shop.deliver(&twice));
    futures::future::join_all(deliveries).await;
    assert!(shop.deliver(&bodies).await.batch_item_failures.is_empty());
    let third = accept(&shop, &show, "u3", billing_key("decline-1")).await;
    let mut copies = shop.wire.take_messages("orders");
    copies.extend_from_within(..);
    assert!(shop.deliver(&copies).await.batch_item_failures.is_empty());
    assert_eq!(shop.status("u3", &third).await.1["status"], "failed");
    assert_eq!(shop.status("u1", &good).await.1["status"], "confirmed");
    assert_eq!(shop.status("u2", &bad).await.1["status"], "failed");
    assert_eq!(charges(&shop).await, 1);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_send_that_is_refused_gives_the_units_back_and_one_without_an_answer_keeps_them() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    let (status, problem) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    assert!(problem["retry_after_s"].is_number());
    shop.quiet(&show.product).await;

    shop.wire.fail("SendMessage", Fault::AnswerLost, 2);
    assert_eq!(
        shop.order(&show, "u2", "k", json!(1), billing_key("bk"))
            .await
            .0,
        503
    );
    let stock = shop
        .gate
        .stock(&show.product, &[&show.source()])
        .await
        .expect("answers")[0]
        .expect("is known");
    assert_eq!(
        (stock.left, stock.held),
        (99, 1),
        "the order may be on the queue: its units must stay"
    );
    accept(&shop, &show, "u2", billing_key("bk")).await;
    shop.process(10, 1).await;
    assert_eq!(charges(&shop).await, 1);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_retry_after_a_refused_send_is_a_new_try() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let order = async || {
        shop.order(&show, "u1", "k", json!(1), billing_key("bk"))
            .await
            .0
    };
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    assert_eq!(order().await, 503);
    assert_eq!(shop.quiet(&show.product).await["stock"]["held"], 0);
    assert_eq!(order().await, 202, "the key is spoilt");
    shop.process(10, 1).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_refused_resend_leaves_the_units_of_an_order_that_is_queued() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    accept(&shop, &show, "u1", billing_key("bk")).await;
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    assert_eq!(
        shop.order(&show, "u1", "k", json!(1), billing_key("bk"))
            .await
            .0,
        503
    );
    shop.process(10, 2).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_billing_key_cannot_name_another_path_of_the_gateway() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    for key in [
        "..\\payments\\pk\\cancel",
        "../payments/pk/cancel",
        "a%2Fb",
        "a?b",
        "a#b",
        "a b",
        "",
    ] {
        let (status, _) = shop
            .order(&show, "u1", "k", json!(1), billing_key(key))
            .await;
        assert_eq!(status, 400, "{key:?} was taken");
    }
}

#[tokio::test]
async fn the_ledger_settles_what_a_crash_left_between_any_two_steps() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    for (buyer, call) in [
        ("u1", "TransactWriteItems"),
        ("u2", "TransactWriteItems"),
        ("u3", "UpdateItem"),
    ] {
        accept(&shop, &show, buyer, billing_key("bk")).await;
        // Enough for the SDK and for our own tries to give up once.
        shop.wire
            .fail(call, Fault::AnswerLost, if buyer == "u1" { 2 } else { 1 });
    }
    shop.process(10, 4).await;
    assert_eq!(charges(&shop).await, 3);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 3);
}

#[tokio::test]
async fn a_hundred_units_and_three_hundred_buyers() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, Some(2)).await;
    let names: Vec<String> = (0..300).map(|buyer| format!("u{buyer}")).collect();
    let orders = names
        .iter()
        .map(|buyer| shop.order(&show, buyer, "k", json!(1), billing_key("bk")));
    let answers = futures::future::join_all(orders).await;
    assert_eq!(
        answers.iter().filter(|(status, _)| *status == 202).count(),
        100
    );
    for (_, problem) in answers.iter().filter(|(status, _)| *status != 202) {
        assert_eq!(
            (&problem["code"], &problem["left"]),
            (&json!("sold_out"), &json!(0))
        );
    }
    shop.process(100, 1).await;
    assert_eq!(charges(&shop).await, 100);
    let view = shop.quiet(&show.product).await;
    assert_eq!(
        (&view["stock"]["sold"], &view["stock"]["on_hand"]),
        (&json!(100), &json!(20))
    );
}

#[tokio::test]
async fn selling_goes_on_when_redis_has_forgotten_everything_and_nothing_is_oversold() {
    let mut shop = Shop::open().await;
    let show = shop.show(100, 100, None).await;
    for buyer in 0..60 {
        accept(&shop, &show, &format!("u{buyer}"), billing_key("bk")).await;
        if buyer == 29 {
            shop.process(100, 1).await;
        }
    }
    // Thirty are in the ledger, thirty only on the queue.
    shop.redis.kill_and_restart().await;
    let mut accepted = 0;
    for buyer in 60..200 {
        accepted += u32::from(
            shop.order(
                &show,
                &format!("u{buyer}"),
                "k",
                json!(1),
                billing_key("bk"),
            )
            .await
            .0 == 202,
        );
    }
    assert_eq!(
        accepted, 70,
        "what the ledger has not sold is for sale again"
    );
    shop.process(100, 3).await;
    let view = shop
        .admin(axum::http::Method::GET, "/products/p1", None, Value::Null)
        .await
        .1;
    assert_eq!(view["stock"]["sold"], 100, "oversold or undersold");
    assert_eq!(charges(&shop).await, 100, "money and stock differ");
}

#[tokio::test]
async fn bad_orders_are_refused_and_move_nothing() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, Some(5)).await;
    let payment = billing_key("bk");
    let line = |product: &str, quantity: Value| {
        json!({ "lines": [{ "product_id": product, "quantity": quantity }], "payment": payment })
            .to_string()
    };
    let cases = [
        ("{".to_owned(), 400, "invalid_request"),
        ("[]".to_owned(), 400, "invalid_request"),
        (json!({ "payment": payment }).to_string(), 400, "invalid_request"),
        (json!({ "lines": [], "payment": payment }).to_string(), 400, "invalid_request"),
        (json!({ "lines": [{ "product_id": "p1", "quantity": 1 }] }).to_string(), 400, "invalid_request"),
        (json!({ "lines": [{ "product_id": "p1", "quantity": 1 }], "payment": { "method": "gold" } }).to_string(), 400, "invalid_request"),
        (line("p1", json!(0)), 400, "invalid_request"),
        (line("p1", json!(-1)), 400, "invalid_request"),
        (line("p1", json!(1.5)), 400, "invalid_request"),
        (line("p1", json!("1")), 400, "invalid_request"),
        (line("p1", json!(1_001)), 400, "invalid_request"),
        (line("p1", json!(99_999_999_999_u64)), 400, "invalid_request"),
        (line("p 1", json!(1)), 400, "invalid_request"),
        (line("nothing", json!(1)), 404, "not_found"),
        (line("p1", json!(6)), 409, "limit_exceeded"),
        (" ".repeat(64 * 1024 + 1), 400, "invalid_request"),
    ];
    for (body, status, code) in cases {
        let answer = shop
            .buyer(shop.order_event(&show.broadcast, "u1", "k", &body))
            .await;
        assert_eq!(
            (answer.0, answer.1["code"].as_str()),
            (status, Some(code)),
            "{}: {}",
            body.trim(),
            answer.1
        );
        assert!(
            answer.1["detail"].is_string()
                && answer.1["title"].is_string()
                && answer.1["status"] == status
        );
    }

    let good = line("p1", json!(1));
    for key in ["", "a b", &"k".repeat(300)] {
        let answer = shop
            .buyer(shop.order_event(&show.broadcast, "u1", key, &good))
            .await;
        assert_eq!(
            (answer.0, &answer.1["field"]),
            (400, &json!("Idempotency-Key"))
        );
    }
    let mut event = shop.order_event(&show.broadcast, "u1", "k", &good);
    event.headers.idempotency_key = None;
    assert_eq!(shop.buyer(event).await.0, 400);

    for token in [None, Some(""), Some("Bearer nonsense"), Some("Basic dTpw")] {
        let mut event = shop.order_event(&show.broadcast, "u1", "k", &good);
        event.headers.authorization = token.map(str::to_owned);
        let answer = shop.buyer(event).await;
        assert_eq!(
            (answer.0, &answer.1["code"]),
            (401, &json!("unauthenticated"))
        );
    }
    let unheard_of = "b9".parse().expect("an id");
    assert_eq!(
        shop.buyer(shop.order_event(&unheard_of, "u1", "k", &good))
            .await
            .0,
        404
    );
    assert_eq!(shop.status("u1", "nonsense").await.0, 404);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn nothing_is_sold_before_the_spotlight_while_paused_or_after_the_end() {
    use axum::http::Method;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let path = format!("/broadcasts/{}/products/p1", show.broadcast);
    let order = async |key: &str| {
        shop.order(&show, "u1", key, json!(1), billing_key("bk"))
            .await
    };
    assert_eq!(
        shop.admin(Method::PATCH, &path, None, json!({ "paused": true }))
            .await
            .0,
        200
    );
    assert_eq!(order("a").await.1["code"], "not_on_air");
    assert_eq!(
        shop.admin(
            Method::PATCH,
            &path,
            None,
            json!({ "paused": false, "live_price": 15_000 })
        )
        .await
        .0,
        200
    );
    let (status, receipt) = order("b").await;
    assert_eq!(
        (status, &receipt["amount"]),
        (202, &json!(15_000)),
        "the new price holds"
    );
    let end = format!("/broadcasts/{}/end", show.broadcast);
    assert_eq!(
        shop.admin(Method::POST, &end, None, Value::Null).await.0,
        200
    );
    assert_eq!(order("c").await.1["code"], "not_on_air");
    shop.process(10, 1).await;
    let view = shop.quiet(&show.product).await;
    assert_eq!(
        (&view["stock"]["sold"], &view["stock"]["available"]),
        (&json!(1), &json!(119))
    );
}

#[tokio::test]
async fn units_of_an_order_that_fails_after_the_end_go_to_the_pool() {
    use axum::http::Method;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    accept(&shop, &show, "u1", billing_key("decline-1")).await;
    let end = format!("/broadcasts/{}/end", show.broadcast);
    let (_, ended) = shop.admin(Method::POST, &end, None, Value::Null).await;
    assert_eq!(
        ended["returned"][0]["units"], 99,
        "what an order holds stays until it is settled"
    );
    shop.process(10, 1).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["available"], 120);
}

#[tokio::test]
async fn units_on_their_way_to_the_pool_get_there_wherever_it_breaks_off() {
    use axum::http::Method;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    for buyer in 0..90 {
        accept(&shop, &show, &format!("u{buyer}"), billing_key("decline-1")).await;
    }
    let end = format!("/broadcasts/{}/end", show.broadcast);
    shop.admin(Method::POST, &end, None, Value::Null).await;
    let messages = shop.wire.take_messages("orders");
    for (steps, message) in messages.chunks(1).enumerate() {
        let whole = crash_after(steps, shop.deliver(message)).await;
        while !shop.deliver(message).await.batch_item_failures.is_empty() {}
        let product = shop.admin(Method::GET, "/products/p1", None, Value::Null);
        let available = &product.await.1["stock"]["available"];
        assert_eq!(*available, 30 + steps + 1, "after {steps} steps");
        if whole.is_some() {
            return;
        }
    }
    panic!("there are more steps than orders");
}

#[tokio::test]
async fn a_message_that_is_not_ours_fails_alone() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let id = accept(&shop, &show, "u1", billing_key("bk")).await;
    let mut bodies = vec!["not JSON".to_owned(), "{}".to_owned()];
    bodies.extend(shop.wire.take_messages("orders"));
    let failed: Vec<String> = shop
        .deliver(&bodies)
        .await
        .batch_item_failures
        .into_iter()
        .map(|failure| failure.item_identifier)
        .collect();
    assert_eq!(failed, ["0", "1"]);
    assert_eq!(shop.status("u1", &id).await.1["status"], "confirmed");
}

#[tokio::test]
async fn an_operator_may_read_any_order() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let id = accept(&shop, &show, "u1", billing_key("bk")).await;
    shop.process(10, 1).await;
    let event = json!({
        "routeKey": "GET /orders/{order_id}",
        "headers": { "authorization": format!("Bearer {}", shop.token("operator-1", Role::Operator)) },
        "pathParameters": { "order_id": id },
    });
    assert_eq!(
        shop.buyer(serde_json::from_value(event).expect("an event"))
            .await
            .0,
        200
    );
}
