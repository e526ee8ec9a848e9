//! Taking orders back: before, while and after they are paid.

use std::time::Duration;

use onepool::{auth::Role, ledger::Refund, order::OrderMessage};
use onepool_tests::{Shop, billing_key};
use serde_json::json;

use super::till::{
    PRICE, cancel, failed, money_of, order_by_card, order_to_pay, paid_order, pay, pay_at_checkout,
    record, status_of, take_back, wait_until,
};

#[tokio::test]
async fn an_order_taken_back_returns_its_units_and_its_money_once() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, Some(1)).await;
    let order = paid_order(&shop, &show, "u1").await;
    assert_eq!(
        cancel(&shop, ("u2", Role::Viewer), &order, "c").await.0,
        404
    );
    assert_eq!(
        cancel(&shop, ("host", Role::Broadcaster), &order, "c")
            .await
            .0,
        403
    );
    let sent = shop.wire.calls("SendMessage");
    for key in ["c1", "c1", "c2"] {
        assert_eq!(
            cancel(&shop, ("u1", Role::Viewer), &order, key).await.0,
            202
        );
    }
    let sent = shop.wire.calls("SendMessage") - sent;
    assert_eq!(sent, 2, "a repeated request was done again");
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    let repeated = cancel(&shop, ("u1", Role::Viewer), &order, "c1").await;
    assert_eq!(repeated.0, 202, "the same key has another answer");
    let (status, problem) = cancel(&shop, ("u1", Role::Viewer), &order, "c3").await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    let (_, view) = shop.status("u1", &order).await;
    assert!(view["payment"]["refunded_at"].is_string(), "{view}");
    let stock = &shop.quiet(&show.product).await["stock"];
    assert_eq!(
        (&stock["sold"], &stock["sources"][0]["left"]),
        (&json!(0), &json!(10))
    );
    let again = shop
        .order(&show, "u1", "k2", json!(1), billing_key("bk"))
        .await;
    assert_eq!(again.0, 202, "the limit still counts what was taken back");

    let other = paid_order(&shop, &show, "u3").await;
    assert_eq!(
        cancel(&shop, ("boss", Role::Operator), &other, "c").await.0,
        202
    );
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u3", &other).await, "failed cancelled");
    assert_eq!(money_of(&shop, &other).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn an_order_taken_back_before_it_is_paid_is_never_charged() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    // Still on the queue, and its own message comes after the cancellation.
    let queued = order_by_card(&shop, &show, "u1").await;
    take_back(&shop, "u1", &queued).await;
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    for message in &messages {
        assert_eq!(failed(&shop, std::slice::from_ref(message)).await, 0);
    }
    assert_eq!(status_of(&shop, "u1", &queued).await, "failed cancelled");
    assert_eq!(money_of(&shop, &queued).await, (0, 0, 0));

    let order = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    take_back(&shop, "u2", &order).await;
    shop.process(10, 2).await;
    let key = shop.checkout(&order, PRICE).await;
    let (status, problem) = pay(&shop, "u2", &order, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));

    // The payment is on the queue already, and comes after the cancellation: there is nothing more to do about it.
    let order = order_to_pay(&shop, &show, "u3").await;
    shop.process(10, 1).await;
    pay_at_checkout(&shop, "u3", &order).await;
    take_back(&shop, "u3", &order).await;
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    for message in messages.chunks(1) {
        assert_eq!(failed(&shop, message).await, 0);
    }
    assert_eq!(status_of(&shop, "u3", &order).await, "failed cancelled");
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn what_was_asked_for_an_order_is_not_forgotten_with_its_hold() {
    let mut shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let taken_back = order_by_card(&shop, &show, "u1").await;
    let paid = order_to_pay(&shop, &show, "u2").await;
    let placed = shop.wire.take_messages("orders");
    take_back(&shop, "u1", &taken_back).await;
    pay_at_checkout(&shop, "u2", &paid).await;
    let asked = shop.wire.take_messages("orders");
    shop.redis.kill_and_restart().await;
    assert_eq!(failed(&shop, &asked).await, 2, "they were dropped");
    shop.deliver(&placed).await;
    shop.deliver(&asked).await;
    assert_eq!(
        status_of(&shop, "u1", &taken_back).await,
        "failed cancelled"
    );
    assert_eq!(money_of(&shop, &taken_back).await.2, 0);
    assert_eq!(status_of(&shop, "u2", &paid).await, "confirmed");
}

#[tokio::test]
async fn an_order_taken_back_after_its_time_is_not_taken_up_by_a_late_payment() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    let key = shop.checkout(&order, PRICE).await;
    let placed = shop.wire.take_messages("orders");
    shop.deliver(&placed).await;
    let pay_by = record(&shop, &order).await.pay_by;
    let cancel = OrderMessage::Cancel {
        order_id: order.parse().expect("an id"),
        by: "u1".parse().expect("an id"),
    };
    wait_until(pay_by).await;
    shop.reconcile.run().await.expect("runs");
    shop.deliver(&[serde_json::to_string(&cancel).expect("JSON")])
        .await;
    let (status, problem) = pay(&shop, "u1", &order, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
}

#[tokio::test]
async fn an_order_taken_back_while_it_is_charged_is_refunded_at_once() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    shop.gateway_faults(json!([{ "on": "billing", "kind": "delay", "ms": 1_500, "times": 1 }]))
        .await;
    let order = order_by_card(&shop, &show, "u1").await;
    let placed = shop.wire.take_messages("orders");
    let taking_back = async {
        let id = order.parse().expect("an id");
        while shop.ledger.order(&id).await.expect("answers").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
        let messages = shop.wire.take_messages("orders");
        assert_eq!(failed(&shop, &messages).await, 0);
        assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
    };
    let (placed, ()) = futures::join!(shop.deliver(&placed), taking_back);
    assert_eq!(placed.batch_item_failures.len(), 0);
    assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}
