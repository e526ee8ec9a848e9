//! When the time to pay is over: units go on to who asks for them, unless money may be under way.

use std::time::Duration;

use onepool::{clock, ledger::OrderRecord, order::pay::PaymentTerms};
use onepool_tests::{Shop, billing_key};
use serde_json::json;

use super::till::{
    PRICE, change, failed, hold, left, look_after, money_of, order_by_card, order_to_pay, pay,
    pay_at_checkout, record, status_of, take_money_unheard, wait_until,
};

#[tokio::test]
async fn a_hold_is_free_again_after_its_deadline_for_a_buyer_who_asks() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(1_500);
    let slow = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 409, "the hold has not ended");
    let pay_by = record(&shop, &slow).await.pay_by;
    wait_until(pay_by).await;

    let (status, answer) = shop
        .order(&show, "u2", "k2", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        status_of(&shop, "u1", &slow).await,
        "failed payment_expired"
    );
    let messages = shop.wire.take_messages("orders");
    let told = json!({ "kind": "check", "order_id": slow }).to_string();
    assert!(messages.contains(&told), "its buyer is not told");
    assert_eq!(failed(&shop, &messages).await, 0);
    let order = answer["order_id"].as_str().expect("an id");
    assert_eq!(status_of(&shop, "u2", order).await, "confirmed");
    // Its units are gone: the buyer who comes too late hears so, and pays nothing.
    let key = shop.checkout(&slow, PRICE).await;
    let (status, problem) = pay(&shop, "u1", &slow, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_expired")));
    assert_eq!(money_of(&shop, &slow).await, (0, 0, 0));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_payment_after_its_time_takes_the_units_again_if_they_are_there() {
    let mut shop = Shop::open().await;
    let show = shop.show(5, 5, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    wait_until(record(&shop, &order).await.pay_by).await;
    shop.reconcile.run().await.expect("runs");
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        "failed payment_expired"
    );
    assert_eq!(left(&shop, &show).await, 5);

    pay_at_checkout(&shop, "u1", &order).await;
    assert_eq!(
        left(&shop, &show).await,
        4,
        "somebody else may be promised the unit"
    );
    assert_eq!(shop.reconcile.run().await.expect("runs").drift, 0);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn an_order_being_paid_is_never_expired_before_the_gateway_was_asked() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(200);
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let key = shop.checkout(&order, PRICE).await;
    // The money is taken, and nobody hears of it.
    take_money_unheard(&shop, "confirm").await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let messages = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &messages).await, 1);
    let pay_by = record(&shop, &order).await.pay_by;
    assert!(pay_by > clock::now(), "who pays has time");

    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(
        status, 409,
        "units of an order that may be paid were sold again"
    );
    shop.reconcile.run().await.expect("runs");
    shop.deliver(&messages).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    shop.process(10, 2).await;
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn units_that_a_late_payer_took_again_are_not_promised_to_another() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    wait_until(record(&shop, &order).await.pay_by).await;
    shop.reconcile.run().await.expect("runs");
    shop.process(10, 1).await;
    pay_at_checkout(&shop, "u1", &order).await;
    let report = shop.reconcile.run().await.expect("runs");
    let other = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(other.0, 409, "the unit was promised twice");
    assert_eq!(report.drift, 0);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn an_order_being_paid_is_left_alone_even_when_its_time_is_over() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(200);
    let ceiling = Duration::from_secs(2);
    shop.payments.payments.terms = PaymentTerms::with_ceiling(ceiling);
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let key = shop.checkout(&order, PRICE).await;
    take_money_unheard(&shop, "confirm").await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let paying = record(&shop, &order).await;
    assert_eq!(
        paying.pay_by,
        paying.created_at + ceiling,
        "there is a longest time"
    );
    let held = hold(&shop, &show, &order).await.reservation;
    assert_eq!(held.deadline, paying.pay_by, "the hold goes on as long");
    let messages = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &messages).await, 1);

    wait_until(paying.pay_by).await;
    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(
        status, 409,
        "units of an order that is paid were sold again"
    );
    assert_eq!(failed(&shop, &messages).await, 0);
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    shop.process(10, 2).await;
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn nobody_keeps_units_unpaid_beyond_the_ceiling() {
    let mut shop = Shop::open().await;
    let show = shop.show(5, 5, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let terms = PaymentTerms::with_ceiling(Duration::from_secs(2));
    shop.payments.payments.terms = terms;
    shop.settlement.terms = terms;
    let declined = order_to_pay(&shop, &show, "u1").await;
    let late = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    shop.gateway_faults(json!([{ "on": "confirm", "kind": "decline", "times": 1 }]))
        .await;
    pay_at_checkout(&shop, "u1", &declined).await;
    wait_until(record(&shop, &late).await.created_at + terms.ceiling).await;
    shop.process(10, 1).await;
    assert_eq!(
        status_of(&shop, "u1", &declined).await,
        "failed payment_declined"
    );
    let key = shop.checkout(&late, PRICE).await;
    let (status, problem) = pay(&shop, "u2", &late, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("payment_expired")));
    shop.reconcile.run().await.expect("runs");
    shop.process(10, 1).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn an_order_that_may_be_charged_or_has_time_left_is_left_alone_by_the_sweep() {
    let mut shop = Shop::open().await;
    let show = shop.show(3, 3, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(200);
    // One is charged, one is not, of neither anybody has heard; the third is paid later.
    let charged = order_by_card(&shop, &show, "u1").await;
    let uncharged = order_by_card(&shop, &show, "u2").await;
    let later = order_to_pay(&shop, &show, "u3").await;
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "close_after_commit", "times": 1, "orderId": charged },
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1, "orderId": uncharged },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "orderId": charged, "recorded": false },
    ]))
    .await;
    let messages = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &messages).await, 2);
    let key = shop.checkout(&uncharged, PRICE).await;
    assert_eq!(
        pay(&shop, "u2", &uncharged, &key, PRICE).await.1["code"],
        "already_settled",
        "it is paid by billing key"
    );
    let reserved = record(&shop, &uncharged).await;
    look_after(&shop, reserved).await;
    assert_eq!(
        status_of(&shop, "u2", &uncharged).await,
        "reserved",
        "it has time left"
    );
    // The first is past its time; the third got more of it, and the gate has not heard.
    let reserved = record(&shop, &charged).await;
    let over = OrderRecord {
        pay_by: clock::now(),
        ..reserved.clone()
    };
    change(&shop, &reserved, over).await;
    let reserved = record(&shop, &later).await;
    wait_until(reserved.pay_by).await;
    let until = clock::now() + Duration::from_secs(60);
    let extended = OrderRecord {
        pay_by: until,
        due_at: Some(until),
        ..reserved.clone()
    };
    change(&shop, &reserved, extended).await;

    let (status, _) = shop
        .order(&show, "u4", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 409, "units that are not free were sold again");
    let held = hold(&shop, &show, &later).await.reservation;
    assert_eq!(held.deadline, until, "the gate does not hear of it");
    assert_eq!(failed(&shop, &messages).await, 0);
    assert_eq!(status_of(&shop, "u1", &charged).await, "confirmed");
    assert_eq!(status_of(&shop, "u2", &uncharged).await, "confirmed");
    assert_eq!(status_of(&shop, "u3", &later).await, "reserved");
    assert_eq!(money_of(&shop, &charged).await, (1, PRICE, PRICE));
}
