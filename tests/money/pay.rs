//! Paying later: once, in any order with the messages, by the buyer alone, and again after a refusal.

use std::time::{Duration, Instant};

use onepool::{auth::Role, clock};
use onepool_tests::{Shop, billing_key};
use serde_json::json;

use super::till::{
    PAY, PRICE, failed, hold, left, money_of, order_to_pay, paid_order, pay, pay_at_checkout,
    record, status_of, take_money_unheard, unknown_order, wait_until,
};

#[tokio::test]
async fn an_order_paid_later_is_held_charged_once_and_confirmed() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "reserved");
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));

    let key = shop.checkout(&order, PRICE).await;
    for _ in 0..3 {
        assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    }
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_payment_may_come_before_its_order_is_in_the_ledger() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    pay_at_checkout(&shop, "u1", &order).await;
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    assert_eq!(
        failed(&shop, &messages[..1]).await,
        1,
        "it waits for its order"
    );
    assert_eq!(failed(&shop, &messages[1..]).await, 0);
    assert_eq!(failed(&shop, &messages[..1]).await, 0);
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_wrong_amount_somebody_elses_order_and_a_second_payment_move_nothing() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    let key = shop.checkout(&order, PRICE).await;
    for accepted in [true, false] {
        let (status, problem) = pay(&shop, "u1", &order, &key, PRICE - 1).await;
        assert_eq!(
            (status, &problem["field"]),
            (400, &json!("amount")),
            "{accepted}"
        );
        assert_eq!(pay(&shop, "u2", &order, &key, PRICE).await.0, 404);
        shop.process(10, 1).await;
    }
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));

    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let other = shop.checkout(&order, PRICE).await;
    let (status, problem) = pay(&shop, "u1", &order, &other, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    shop.process(10, 2).await;
    let (status, problem) = pay(&shop, "u1", &order, &other, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    let unknown = unknown_order(&show);
    assert_eq!(pay(&shop, "u1", &unknown, &key, PRICE).await.0, 404);
    let body = json!({ "payment_key": "a/../b", "amount": PRICE });
    let bad = shop
        .money(("u1", Role::Viewer), PAY, &order, "k9", body)
        .await;
    assert_eq!((bad.0, &bad.1["field"]), (400, &json!("payment_key")));
    let card = paid_order(&shop, &show, "u3").await;
    assert_eq!(
        pay(&shop, "u3", &card, &key, PRICE).await.1["code"],
        "already_settled"
    );
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 2);
}

#[tokio::test]
async fn the_same_key_with_another_payment_is_a_conflict() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let caller = ("u1", Role::Viewer);
    let key = shop.checkout(&order, PRICE).await;
    let body = json!({ "payment_key": key, "amount": PRICE });
    assert_eq!(shop.money(caller, PAY, &order, "k", body).await.0, 202);
    let body = json!({ "payment_key": "another", "amount": PRICE });
    let (status, problem) = shop.money(caller, PAY, &order, "k", body).await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_conflict"))
    );
}

#[tokio::test]
async fn a_declined_buyer_may_try_again_and_not_for_ever() {
    let shop = Shop::open().await;
    let show = shop.show(10, 2, None).await;
    let (lucky, unlucky) = (
        order_to_pay(&shop, &show, "u1").await,
        order_to_pay(&shop, &show, "u2").await,
    );
    shop.process(10, 1).await;
    let decline = |order: &str, times: u32| json!([{ "on": "confirm", "kind": "decline", "orderId": order, "times": times }]);
    shop.gateway_faults(decline(&lucky, 1)).await;
    pay_at_checkout(&shop, "u1", &lucky).await;
    shop.process(10, 2).await;
    let (_, view) = shop.status("u1", &lucky).await;
    assert_eq!(
        (&view["status"], &view["declined"]),
        (&json!("reserved"), &json!("REJECT_CARD_COMPANY"))
    );
    assert!(view["pay_by"].is_string(), "{view}");
    pay_at_checkout(&shop, "u1", &lucky).await;
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &lucky).await, "confirmed");

    shop.gateway_faults(decline(&unlucky, 3)).await;
    for _ in 0..3 {
        pay_at_checkout(&shop, "u2", &unlucky).await;
        shop.process(10, 2).await;
    }
    assert_eq!(
        status_of(&shop, "u2", &unlucky).await,
        "failed payment_declined"
    );
    assert_eq!(money_of(&shop, &unlucky).await, (0, 0, 0));
    let stock = &shop.quiet(&show.product).await["stock"];
    assert_eq!(
        (&stock["sold"], &stock["sources"][0]["left"]),
        (&json!(1), &json!(1))
    );
}

#[tokio::test]
async fn a_payment_that_is_refused_counts_once_however_often_its_message_comes() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    shop.gateway_faults(
        json!([{ "on": "confirm", "kind": "decline", "orderId": order, "times": 1 }]),
    )
    .await;
    pay_at_checkout(&shop, "u1", &order).await;
    let messages = shop.wire.take_messages("orders");
    for _ in 0..4 {
        shop.deliver(&messages).await;
    }
    assert_eq!(status_of(&shop, "u1", &order).await, "reserved");
    assert_eq!(record(&shop, &order).await.declines, 1);
    pay_at_checkout(&shop, "u1", &order).await;
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
}

#[tokio::test]
async fn payments_of_one_batch_do_not_wait_for_each_other() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let mut messages = Vec::new();
    for number in 0..6 {
        let viewer = format!("u{number}");
        let order = order_to_pay(&shop, &show, &viewer).await;
        shop.process(10, 1).await;
        pay_at_checkout(&shop, &viewer, &order).await;
        messages.extend(shop.wire.take_messages("orders"));
    }
    shop.gateway_faults(json!([{ "on": "confirm", "kind": "delay", "ms": 1_500, "times": 9 }]))
        .await;
    let began = Instant::now();
    assert_eq!(failed(&shop, &messages).await, 0);
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test]
async fn who_pays_before_the_order_is_in_the_ledger_has_time_and_is_noted_there() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    let key = pay_at_checkout(&shop, "u1", &order).await;
    let later = clock::now() + Duration::from_secs(60);
    shop.gate.raise_watermark(later).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 409, "the hold of a buyer who pays has ended");

    take_money_unheard(&shop, "confirm").await;
    let messages = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &messages).await, 1);
    let paying = record(&shop, &order).await;
    assert_eq!(paying.attempt.as_deref(), Some(key.as_str()));
    assert_eq!(failed(&shop, &messages).await, 0);
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn who_may_try_again_has_the_units_until_then_in_the_gate_too() {
    let mut shop = Shop::open().await;
    let show = shop.show(5, 5, None).await;
    let in_time = order_to_pay(&shop, &show, "u1").await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let late = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    wait_until(record(&shop, &late).await.pay_by).await;
    shop.reconcile.run().await.expect("runs");
    shop.process(10, 1).await;
    assert_eq!(left(&shop, &show).await, 4);
    shop.gateway_faults(json!([{ "on": "confirm", "kind": "decline", "times": 2 }]))
        .await;
    for (viewer, order) in [("u1", &in_time), ("u2", &late)] {
        pay_at_checkout(&shop, viewer, order).await;
        shop.process(10, 1).await;
        assert_eq!(status_of(&shop, viewer, order).await, "reserved");
        let held = hold(&shop, &show, order).await.reservation;
        assert!(held.open, "{viewer}");
        assert_eq!(held.deadline, record(&shop, order).await.pay_by);
    }
    assert_eq!(left(&shop, &show).await, 3);
}
