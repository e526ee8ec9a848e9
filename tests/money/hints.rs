//! What others say of an order: webhooks, dead letters, and a gateway that says nothing for long.

use std::time::{Duration, Instant};

use onepool::{auth::Role, clock, ledger::OrderRecord, order::OrderMessage};
use onepool_tests::Shop;
use serde_json::json;

use super::till::{
    PRICE, WEBHOOK, at_the_gateway, cancel, change, failed, money_of, order_by_card, order_to_pay,
    paid_order, pay_at_checkout, record, status_of, take_money_unheard, unknown_order,
};

#[tokio::test]
async fn a_webhook_is_a_hint_and_moves_nothing_by_itself() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let webhook = |order: &str, status: &str| {
        json!({
            "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-20T10:01:00.000000",
            "data": { "paymentKey": "pk_forged", "orderId": order, "status": status, "totalAmount": PRICE },
        })
    };
    let caller = ("anybody", Role::Viewer);
    for status in ["DONE", "DONE", "CANCELED", "EXPIRED"] {
        let told = shop
            .money(caller, WEBHOOK, "", "-", webhook(&order, status))
            .await;
        assert_eq!(told.0, 200);
    }
    shop.process(10, 2).await;
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        "reserved",
        "a forged webhook was believed"
    );
    let log = shop.rooms.log(&show.broadcast, 0, 1 << 53).await;
    let told = log.expect("answers").into_iter();
    let told = told.filter(|event| event.json.contains(r#""type":"order_result""#));
    assert_eq!(told.count(), 1, "a look that changes nothing was told");
    let unknown = unknown_order(&show);
    for order in [unknown.as_str(), "not-ours", ""] {
        let told = shop
            .money(caller, WEBHOOK, "", "-", webhook(order, "DONE"))
            .await;
        assert_eq!(told.0, 200);
    }
    assert_eq!(shop.wire.take_messages("orders"), [] as [String; 0]);
    let garbage = shop.money(caller, WEBHOOK, "", "-", json!("x")).await;
    assert_eq!(garbage.0, 400);

    // Somebody gives the money back at the gateway: the units follow.
    let paid = paid_order(&shop, &show, "u2").await;
    let told = shop
        .money(caller, WEBHOOK, "", "-", webhook(&paid, "CANCELED"))
        .await;
    assert_eq!(told.0, 200);
    shop.process(10, 2).await;
    assert_eq!(
        status_of(&shop, "u2", &paid).await,
        "confirmed",
        "a forged webhook was believed"
    );
    let payment_key = record(&shop, &paid)
        .await
        .payment
        .expect("was paid")
        .payment_key;
    at_the_gateway(
        &shop,
        &format!("{payment_key}/cancel"),
        json!({ "cancelReason": "by hand" }),
    )
    .await;
    for _ in 0..2 {
        let told = shop
            .money(caller, WEBHOOK, "", "-", webhook(&paid, "CANCELED"))
            .await;
        assert_eq!(told.0, 200);
        shop.process(10, 2).await;
    }
    assert_eq!(status_of(&shop, "u2", &paid).await, "failed cancelled");
    assert_eq!(money_of(&shop, &paid).await, (1, PRICE, 0));
    let still_open = cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
    assert_eq!(still_open.0, 202);
    shop.process(10, 2).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn money_that_was_given_back_before_the_order_heard_of_it_pays_for_nothing() {
    for hint_is_first in [true, false] {
        let shop = Shop::open().await;
        let show = shop.show(10, 10, None).await;
        take_money_unheard(&shop, "billing").await;
        let order = order_by_card(&shop, &show, "u1").await;
        let message = shop.wire.take_messages("orders").remove(0);
        shop.deliver(std::slice::from_ref(&message)).await;
        assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
        assert_eq!(status_of(&shop, "u1", &order).await, "reserved");
        let books = shop.books().await;
        let payment_key = books["payments"][0]["paymentKey"].as_str().expect("a key");
        let by_hand = json!({ "cancelReason": "by hand" });
        at_the_gateway(&shop, &format!("{payment_key}/cancel"), by_hand).await;

        let hint = OrderMessage::Check {
            order_id: order.parse().expect("an id"),
        };
        let mut messages = [serde_json::to_string(&hint).expect("JSON"), message];
        if !hint_is_first {
            messages.reverse();
        }
        for message in messages {
            shop.deliver(&[message]).await;
            assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
        }
        assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
        assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
    }
}

#[tokio::test]
async fn a_dead_letter_ends_its_order_after_asking_the_gateway() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let give_up = async |body: &str| {
        let message: OrderMessage = serde_json::from_str(body).expect("a message");
        shop.settlement.give_up(message).await
    };
    // Never in the ledger.
    let lost = order_by_card(&shop, &show, "u1").await;
    let message = shop.wire.take_messages("orders").remove(0);
    for _ in 0..2 {
        give_up(&message).await.expect("ends it");
    }
    assert_eq!(status_of(&shop, "u1", &lost).await, "failed undeliverable");
    // A copy that comes later finds it ended.
    shop.deliver(std::slice::from_ref(&message)).await;
    assert_eq!(money_of(&shop, &lost).await, (0, 0, 0));

    // Charged, but nobody heard of it.
    take_money_unheard(&shop, "billing").await;
    let charged = order_by_card(&shop, &show, "u2").await;
    let message = shop.wire.take_messages("orders").remove(0);
    assert_eq!(failed(&shop, std::slice::from_ref(&message)).await, 1);
    shop.gateway_faults(json!([
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    assert!(give_up(&message).await.is_err(), "nobody may guess");
    assert_eq!(status_of(&shop, "u2", &charged).await, "reserved");
    give_up(&message).await.expect("ends it");
    assert_eq!(status_of(&shop, "u2", &charged).await, "confirmed");

    // About an order that never was: it may not come again for ever.
    for kind in ["check", "cancel"] {
        let unknown = unknown_order(&show);
        let message = json!({ "kind": kind, "order_id": unknown, "by": "u9" }).to_string();
        give_up(&message).await.expect("ends it");
    }

    // Reserved, and never charged.
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1 },
    ]))
    .await;
    let unpaid = order_by_card(&shop, &show, "u3").await;
    let message = shop.wire.take_messages("orders").remove(0);
    assert_eq!(failed(&shop, std::slice::from_ref(&message)).await, 1);
    give_up(&message).await.expect("ends it");
    assert_eq!(
        status_of(&shop, "u3", &unpaid).await,
        "failed undeliverable"
    );
    assert!(
        record(&shop, &unpaid).await.due_at.is_some(),
        "a charge under way would stay"
    );
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_hanging_gateway_keeps_nobody_from_comparing() {
    let mut shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    shop.reconcile.settlement.gateway_patience = Duration::from_millis(500);
    for number in 0..4 {
        let viewer = format!("u{number}");
        let order = order_to_pay(&shop, &show, &viewer).await;
        shop.process(10, 1).await;
        pay_at_checkout(&shop, &viewer, &order).await;
        let _ = shop.wire.take_messages("orders"); // the messages are late
        let paying = record(&shop, &order).await;
        let due = OrderRecord {
            due_at: Some(clock::now()),
            ..paying.clone()
        };
        change(&shop, &paying, due).await;
    }
    shop.gateway_faults(json!([{ "on": "confirm", "kind": "delay", "ms": 3_000, "times": 9 }]))
        .await;
    let began = Instant::now();
    let report = shop.reconcile.run().await.expect("runs");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(report.compared, 2);
}
