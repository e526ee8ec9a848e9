//! Money and stock together: paying later, late and twice, taking orders back, webhooks, dead letters. Over a real Redis, a
//! DynamoDB emulator and the payment sandbox, whose own books say what was charged and given back.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use onepool::{
    auth::Role,
    clock::{self, Timestamp},
    error::Error,
    ledger::{Ledger, OrderRecord, Refund},
    order::{OrderId, OrderMessage, PaymentView, pay::PaymentTerms},
    payment::{self, Charge, Gateway, PaymentStatus},
    stock::HoldState,
};
use onepool_tests::{Shop, Show, billing_key};
use serde_json::{Value, json};

const PAY: &str = "POST /orders/{order_id}/payment";
const CANCEL: &str = "POST /orders/{order_id}/cancel";
const WEBHOOK: &str = "POST /payments/webhook";
const PRICE: u64 = 19_900;

/// Places an order of one unit that is paid later.
async fn order_to_pay(shop: &Shop, show: &Show, viewer: &str) -> String {
    let (status, receipt) = shop
        .order(show, viewer, "k", json!(1), json!({ "method": "widget" }))
        .await;
    assert_eq!(status, 202, "{receipt}");
    assert!(receipt["pay_by"].is_string(), "{receipt}");
    receipt["order_id"].as_str().expect("an id").to_owned()
}

async fn paid_order(shop: &Shop, show: &Show, viewer: &str) -> String {
    let (status, receipt) = shop
        .order(show, viewer, "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "{receipt}");
    shop.process(10, 3).await;
    receipt["order_id"].as_str().expect("an id").to_owned()
}

async fn pay(shop: &Shop, viewer: &str, order: &str, key: &str, amount: u64) -> (u16, Value) {
    let body = json!({ "payment_key": key, "amount": amount });
    let idempotency_key = format!("pay-{order}-{key}-{amount}");
    shop.money((viewer, Role::Viewer), PAY, order, &idempotency_key, body)
        .await
}

async fn cancel(shop: &Shop, caller: (&str, Role), order: &str, key: &str) -> (u16, Value) {
    shop.money(caller, CANCEL, order, key, Value::Null).await
}

async fn record(shop: &Shop, order: &str) -> OrderRecord {
    let order = order.parse().expect("an id");
    let record = shop.ledger.order(&order).await.expect("answers");
    record.expect("is in the ledger")
}

/// What the gateway took and gave back for an order: charges, won taken, won it still has.
async fn money_of(shop: &Shop, order: &str) -> (u64, u64, u64) {
    let books = shop.books().await;
    let payments = books["payments"].as_array().expect("payments");
    let of_order = payments
        .iter()
        .filter(|payment| payment["orderId"] == order);
    let mut money = (0, 0, 0);
    for payment in of_order {
        let won = |name: &str| payment[name].as_u64().unwrap_or_default();
        money.0 += u64::from(won("approvedAmount") > 0);
        money.1 += won("approvedAmount");
        money.2 += won("balanceAmount");
    }
    money
}

async fn status_of(shop: &Shop, viewer: &str, order: &str) -> (String, String) {
    let (status, view) = shop.status(viewer, order).await;
    assert_eq!(status, 200, "{view}");
    let text = |name: &str| view[name].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

async fn hold(shop: &Shop, show: &Show, order: &str) -> HoldState {
    let order = order.parse().expect("an id");
    let hold = shop.gate.hold(&show.source(), &order).await;
    hold.expect("answers").expect("is known")
}

/// Units left at the live source, by the gate.
async fn left(shop: &Shop, show: &Show) -> i64 {
    let stock = shop.gate.stock(&show.product, &[&show.source()]).await;
    stock.expect("answers")[0].expect("is known").left
}

async fn change(shop: &Shop, read: &OrderRecord, wanted: OrderRecord) {
    let changed = shop.ledger.change(read, wanted, "test", clock::now()).await;
    changed.expect("answers").record().expect("changes");
}

async fn wait_until(time: Timestamp) {
    let left = time.since(clock::now());
    tokio::time::sleep(left + Duration::from_millis(5)).await;
}

/// Takes the money of a checkout at the gateway, past us.
async fn confirm_by_hand(shop: &Shop, order: &str, key: &str, amount: u64) {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/payments/confirm", shop.sandbox.base_url()))
        .basic_auth("test_sk_demo0000000000000000", Some(""))
        .json(&json!({ "paymentKey": key, "orderId": order, "amount": amount }))
        .send()
        .await
        .expect("the sandbox answers");
    assert!(answer.status().is_success());
}

fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn an_order_paid_later_is_held_charged_once_and_confirmed() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("reserved", ""));
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));

    let key = shop.checkout(&order, PRICE).await;
    for _ in 0..3 {
        assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    }
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_payment_may_come_before_its_order_is_in_the_ledger() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = order_to_pay(&shop, &show, "u1").await;
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    let first = shop.deliver(&messages[..1]).await;
    assert_eq!(first.batch_item_failures.len(), 1, "it waits for its order");
    assert_eq!(
        shop.deliver(&messages[1..]).await.batch_item_failures.len(),
        0
    );
    assert_eq!(
        shop.deliver(&messages[..1]).await.batch_item_failures.len(),
        0
    );
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
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
    let unknown = format!("{}-{}", show.broadcast, "a".repeat(26));
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
    let key = shop.checkout(&lucky, PRICE).await;
    assert_eq!(pay(&shop, "u1", &lucky, &key, PRICE).await.0, 202);
    shop.process(10, 2).await;
    let (_, view) = shop.status("u1", &lucky).await;
    assert_eq!(
        (&view["status"], &view["declined"]),
        (&json!("reserved"), &json!("REJECT_CARD_COMPANY"))
    );
    assert!(view["pay_by"].is_string(), "{view}");
    let key = shop.checkout(&lucky, PRICE).await;
    assert_eq!(pay(&shop, "u1", &lucky, &key, PRICE).await.0, 202);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &lucky).await, is("confirmed", ""));

    shop.gateway_faults(decline(&unlucky, 3)).await;
    for _ in 0..3 {
        let key = shop.checkout(&unlucky, PRICE).await;
        assert_eq!(pay(&shop, "u2", &unlucky, &key, PRICE).await.0, 202);
        shop.process(10, 2).await;
    }
    assert_eq!(
        status_of(&shop, "u2", &unlucky).await,
        is("failed", "payment_declined")
    );
    assert_eq!(money_of(&shop, &unlucky).await, (0, 0, 0));
    let stock = &shop.quiet(&show.product).await["stock"];
    assert_eq!(
        (&stock["sold"], &stock["sources"][0]["left"]),
        (&json!(1), &json!(1))
    );
}

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
    tokio::time::sleep(pay_by.since(clock::now()) + Duration::from_millis(5)).await;

    let (status, answer) = shop
        .order(&show, "u2", "k2", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(
        status_of(&shop, "u1", &slow).await,
        is("failed", "payment_expired")
    );
    let messages = shop.wire.take_messages("orders");
    let told = json!({ "kind": "check", "order_id": slow }).to_string();
    assert!(messages.contains(&told), "its buyer is not told");
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
    let order = answer["order_id"].as_str().expect("an id");
    assert_eq!(status_of(&shop, "u2", order).await, is("confirmed", ""));
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
    let pay_by = record(&shop, &order).await.pay_by;
    tokio::time::sleep(pay_by.since(clock::now()) + Duration::from_millis(5)).await;
    shop.reconcile.run().await.expect("runs");
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "payment_expired")
    );
    assert_eq!(
        shop.gate
            .stock(&show.product, &[&show.source()])
            .await
            .expect("answers")[0]
            .expect("known")
            .left,
        5
    );

    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let left = shop.gate.stock(&show.product, &[&show.source()]).await;
    assert_eq!(
        left.expect("answers")[0].expect("known").left,
        4,
        "somebody else may be promised the unit"
    );
    assert_eq!(shop.reconcile.run().await.expect("runs").drift, 0);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
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
    shop.gateway_faults(json!([
        { "on": "confirm", "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let messages = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);
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
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, PRICE));
    shop.process(10, 2).await;
    shop.quiet(&show.product).await;
}

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
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "cancelled")
    );
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
    assert_eq!(
        status_of(&shop, "u3", &other).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &other).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn an_order_taken_back_before_it_is_paid_is_never_charged() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    // Still on the queue, and its own message comes after the cancellation.
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let queued = receipt["order_id"].as_str().expect("an id").to_owned();
    assert_eq!(
        cancel(&shop, ("u1", Role::Viewer), &queued, "c").await.0,
        202
    );
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    for message in &messages {
        let answer = shop.deliver(std::slice::from_ref(message)).await;
        assert_eq!(answer.batch_item_failures.len(), 0);
    }
    assert_eq!(
        status_of(&shop, "u1", &queued).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &queued).await, (0, 0, 0));

    let order = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    assert_eq!(
        cancel(&shop, ("u2", Role::Viewer), &order, "c").await.0,
        202
    );
    shop.process(10, 2).await;
    let key = shop.checkout(&order, PRICE).await;
    let (status, problem) = pay(&shop, "u2", &order, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));

    // The payment is on the queue already, and comes after the cancellation: there is nothing more to do about it.
    let order = order_to_pay(&shop, &show, "u3").await;
    shop.process(10, 1).await;
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u3", &order, &key, PRICE).await.0, 202);
    assert_eq!(
        cancel(&shop, ("u3", Role::Viewer), &order, "c").await.0,
        202
    );
    let mut messages = shop.wire.take_messages("orders");
    messages.reverse();
    for message in messages.chunks(1) {
        assert_eq!(shop.deliver(message).await.batch_item_failures.len(), 0);
    }
    assert_eq!(
        status_of(&shop, "u3", &order).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn money_that_comes_for_an_order_that_failed_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    // The charge is under way, nobody knows its outcome, and the buyer takes the order back meanwhile.
    shop.gateway_faults(
        json!([{ "on": "billing", "kind": "commit_later", "ms": 2_000, "times": 1 }]),
    )
    .await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let order = receipt["order_id"].as_str().expect("an id").to_owned();
    let placed = shop.wire.take_messages("orders");
    shop.deliver(&placed).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("reserved", ""));
    assert_eq!(
        cancel(&shop, ("u1", Role::Viewer), &order, "c").await.0,
        202
    );
    shop.process(10, 2).await;
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "cancelled")
    );
    assert!(
        record(&shop, &order).await.due_at.is_some(),
        "nobody would look"
    );
    while money_of(&shop, &order).await.1 == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    shop.settlement
        .look_after(record(&shop, &order).await)
        .await
        .expect("looks");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "cancelled")
    );
    // The order's own message comes once more.
    shop.deliver(&placed).await;
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn a_refund_without_an_answer_stays_owed_until_it_has_one() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([
        { "on": "cancel", "kind": "error_before_commit", "status": 503, "times": 2, "recorded": false },
    ]))
    .await;
    assert_eq!(
        cancel(&shop, ("u1", Role::Viewer), &order, "c").await.0,
        202
    );
    shop.process(10, 2).await;
    let owed = record(&shop, &order).await;
    assert_eq!(owed.refund, Some(Refund::Due));
    assert!(owed.due_at.is_some(), "nobody would look");
    while record(&shop, &order).await.refund == Some(Refund::Due) {
        let owed = record(&shop, &order).await;
        shop.settlement.look_after(owed).await.expect("looks");
    }
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

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
        is("reserved", ""),
        "a forged webhook was believed"
    );
    let unknown = format!("{}-{}", show.broadcast, "a".repeat(26));
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
        is("confirmed", ""),
        "a forged webhook was believed"
    );
    let payment_key = record(&shop, &paid)
        .await
        .payment
        .expect("was paid")
        .payment_key;
    let url = format!(
        "{}/v1/payments/{payment_key}/cancel",
        shop.sandbox.base_url()
    );
    let answer = reqwest::Client::new()
        .post(url)
        .basic_auth("test_sk_demo0000000000000000", Some(""))
        .json(&json!({ "cancelReason": "by hand" }))
        .send()
        .await
        .expect("the sandbox answers");
    assert!(answer.status().is_success());
    for _ in 0..2 {
        let told = shop
            .money(caller, WEBHOOK, "", "-", webhook(&paid, "CANCELED"))
            .await;
        assert_eq!(told.0, 200);
        shop.process(10, 2).await;
    }
    assert_eq!(
        status_of(&shop, "u2", &paid).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &paid).await, (1, PRICE, 0));
    let still_open = cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
    assert_eq!(still_open.0, 202);
    shop.process(10, 2).await;
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
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
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let lost = receipt["order_id"].as_str().expect("an id").to_owned();
    let message = shop.wire.take_messages("orders").remove(0);
    for _ in 0..2 {
        give_up(&message).await.expect("ends it");
    }
    assert_eq!(
        status_of(&shop, "u1", &lost).await,
        is("failed", "undeliverable")
    );
    // A copy that comes later finds it ended.
    shop.deliver(std::slice::from_ref(&message)).await;
    assert_eq!(money_of(&shop, &lost).await, (0, 0, 0));

    // Charged, but nobody heard of it.
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    let (_, receipt) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    let charged = receipt["order_id"].as_str().expect("an id").to_owned();
    let message = shop.wire.take_messages("orders").remove(0);
    assert_eq!(
        shop.deliver(std::slice::from_ref(&message))
            .await
            .batch_item_failures
            .len(),
        1
    );
    shop.gateway_faults(json!([
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    assert!(give_up(&message).await.is_err(), "nobody may guess");
    assert_eq!(status_of(&shop, "u2", &charged).await, is("reserved", ""));
    give_up(&message).await.expect("ends it");
    assert_eq!(status_of(&shop, "u2", &charged).await, is("confirmed", ""));

    // About an order that never was: it may not come again for ever.
    for kind in ["check", "cancel"] {
        let unknown = format!("{}-{}", show.broadcast, "a".repeat(26));
        let message = json!({ "kind": kind, "order_id": unknown, "by": "u9" }).to_string();
        give_up(&message).await.expect("ends it");
    }

    // Reserved, and never charged.
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1 },
    ]))
    .await;
    let (_, receipt) = shop
        .order(&show, "u3", "k", json!(1), billing_key("bk"))
        .await;
    let unpaid = receipt["order_id"].as_str().expect("an id").to_owned();
    let message = shop.wire.take_messages("orders").remove(0);
    assert_eq!(
        shop.deliver(std::slice::from_ref(&message))
            .await
            .batch_item_failures
            .len(),
        1
    );
    give_up(&message).await.expect("ends it");
    assert_eq!(
        status_of(&shop, "u3", &unpaid).await,
        is("failed", "undeliverable")
    );
    assert!(
        record(&shop, &unpaid).await.due_at.is_some(),
        "a charge under way would stay"
    );
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn what_was_asked_for_an_order_is_not_forgotten_with_its_hold() {
    let mut shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let taken_back = receipt["order_id"].as_str().expect("an id").to_owned();
    let paid = order_to_pay(&shop, &show, "u2").await;
    let placed = shop.wire.take_messages("orders");
    assert_eq!(
        cancel(&shop, ("u1", Role::Viewer), &taken_back, "c")
            .await
            .0,
        202
    );
    let key = shop.checkout(&paid, PRICE).await;
    assert_eq!(pay(&shop, "u2", &paid, &key, PRICE).await.0, 202);
    let asked = shop.wire.take_messages("orders");
    shop.redis.kill_and_restart().await;
    let answer = shop.deliver(&asked).await;
    assert_eq!(answer.batch_item_failures.len(), 2, "they were dropped");
    shop.deliver(&placed).await;
    shop.deliver(&asked).await;
    assert_eq!(
        status_of(&shop, "u1", &taken_back).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &taken_back).await.2, 0);
    assert_eq!(status_of(&shop, "u2", &paid).await, is("confirmed", ""));
}

#[tokio::test]
async fn a_refusal_after_a_charge_without_an_outcome_is_not_the_last_word() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    shop.gateway_faults(
        json!([{ "on": "billing", "kind": "commit_later", "ms": 3_000, "times": 1 }]),
    )
    .await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let order = receipt["order_id"].as_str().expect("an id").to_owned();
    let placed = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&placed).await.batch_item_failures.len(), 1);
    // A minute later: another attempt, which the card company refuses while the first is under way.
    let reserved = record(&shop, &order).await;
    let older = OrderRecord {
        created_at: clock::now().before(Duration::from_secs(61)),
        ..reserved.clone()
    };
    shop.ledger
        .change(&reserved, older, "older", clock::now())
        .await
        .expect("answers");
    shop.gateway_faults(json!([{ "on": "billing", "kind": "decline", "times": 1 }]))
        .await;
    assert_eq!(shop.deliver(&placed).await.batch_item_failures.len(), 0);
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "payment_declined")
    );
    let failed = record(&shop, &order).await;
    assert!(failed.due_at.is_some(), "nobody would look");
    while money_of(&shop, &order).await.1 == 0 {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    shop.settlement
        .look_after(record(&shop, &order).await)
        .await
        .expect("looks");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
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
        let key = shop.checkout(&order, PRICE).await;
        assert_eq!(pay(&shop, &viewer, &order, &key, PRICE).await.0, 202);
        let _ = shop.wire.take_messages("orders"); // the messages are late
        let paying = record(&shop, &order).await;
        let due = OrderRecord {
            due_at: Some(clock::now()),
            ..paying.clone()
        };
        shop.ledger
            .change(&paying, due, "due", clock::now())
            .await
            .expect("answers");
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

#[tokio::test]
async fn units_that_are_back_before_their_money_are_no_drift() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([{ "on": "cancel", "kind": "delay", "ms": 5_000, "times": 1 }]))
        .await;
    cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
    let messages = shop.wire.take_messages("orders");
    let looking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        shop.reconcile.run().await.expect("runs")
    };
    let (_, report) = futures::future::join(shop.deliver(&messages), looking).await;
    assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn units_that_a_late_payer_took_again_are_not_promised_to_another() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    shop.process(10, 1).await;
    let pay_by = record(&shop, &order).await.pay_by;
    tokio::time::sleep(pay_by.since(clock::now()) + Duration::from_millis(5)).await;
    shop.reconcile.run().await.expect("runs");
    shop.process(10, 1).await;
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let report = shop.reconcile.run().await.expect("runs");
    let other = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(other.0, 409, "the unit was promised twice");
    assert_eq!(report.drift, 0);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
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
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let messages = shop.wire.take_messages("orders");
    for _ in 0..4 {
        shop.deliver(&messages).await;
    }
    assert_eq!(status_of(&shop, "u1", &order).await, is("reserved", ""));
    assert_eq!(record(&shop, &order).await.declines, 1);
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
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
    tokio::time::sleep(pay_by.since(clock::now()) + Duration::from_millis(5)).await;
    shop.reconcile.run().await.expect("runs");
    shop.deliver(&[serde_json::to_string(&cancel).expect("JSON")])
        .await;
    let (status, problem) = pay(&shop, "u1", &order, &key, PRICE).await;
    assert_eq!((status, &problem["code"]), (409, &json!("already_settled")));
    shop.process(10, 2).await;
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
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
        let key = shop.checkout(&order, PRICE).await;
        assert_eq!(pay(&shop, &viewer, &order, &key, PRICE).await.0, 202);
        messages.extend(shop.wire.take_messages("orders"));
    }
    shop.gateway_faults(json!([{ "on": "confirm", "kind": "delay", "ms": 1_500, "times": 9 }]))
        .await;
    let began = Instant::now();
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
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
    shop.gateway_faults(json!([
        { "on": "confirm", "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
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
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);

    wait_until(paying.pay_by).await;
    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(
        status, 409,
        "units of an order that is paid were sold again"
    );
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
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
    let key = shop.checkout(&declined, PRICE).await;
    assert_eq!(pay(&shop, "u1", &declined, &key, PRICE).await.0, 202);
    wait_until(record(&shop, &late).await.created_at + terms.ceiling).await;
    shop.process(10, 1).await;
    assert_eq!(
        status_of(&shop, "u1", &declined).await,
        is("failed", "payment_declined")
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
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let charged = receipt["order_id"].as_str().expect("an id").to_owned();
    let (_, receipt) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    let uncharged = receipt["order_id"].as_str().expect("an id").to_owned();
    let later = order_to_pay(&shop, &show, "u3").await;
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "close_after_commit", "times": 1, "orderId": charged },
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1, "orderId": uncharged },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "orderId": charged, "recorded": false },
    ]))
    .await;
    let messages = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 2);
    let key = shop.checkout(&uncharged, PRICE).await;
    assert_eq!(
        pay(&shop, "u2", &uncharged, &key, PRICE).await.1["code"],
        "already_settled",
        "it is paid by billing key"
    );
    let reserved = record(&shop, &uncharged).await;
    shop.settlement.look_after(reserved).await.expect("looks");
    assert_eq!(
        status_of(&shop, "u2", &uncharged).await,
        is("reserved", ""),
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
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
    assert_eq!(status_of(&shop, "u1", &charged).await, is("confirmed", ""));
    assert_eq!(
        status_of(&shop, "u2", &uncharged).await,
        is("confirmed", "")
    );
    assert_eq!(status_of(&shop, "u3", &later).await, is("reserved", ""));
    assert_eq!(money_of(&shop, &charged).await, (1, PRICE, PRICE));
}

#[tokio::test]
async fn who_pays_before_the_order_is_in_the_ledger_has_time_and_is_noted_there() {
    let mut shop = Shop::open().await;
    let show = shop.show(1, 1, None).await;
    shop.orders.orders.hold_period = Duration::from_millis(100);
    let order = order_to_pay(&shop, &show, "u1").await;
    let key = shop.checkout(&order, PRICE).await;
    assert_eq!(pay(&shop, "u1", &order, &key, PRICE).await.0, 202);
    let later = clock::now() + Duration::from_secs(60);
    shop.gate.raise_watermark(later).await.expect("answers");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let (status, _) = shop
        .order(&show, "u2", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 409, "the hold of a buyer who pays has ended");

    shop.gateway_faults(json!([
        { "on": "confirm", "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
    let messages = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 1);
    let paying = record(&shop, &order).await;
    assert_eq!(paying.attempt.as_deref(), Some(key.as_str()));
    assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));
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
        let key = shop.checkout(order, PRICE).await;
        assert_eq!(pay(&shop, viewer, order, &key, PRICE).await.0, 202);
        shop.process(10, 1).await;
        assert_eq!(status_of(&shop, viewer, order).await, is("reserved", ""));
        let held = hold(&shop, &show, order).await.reservation;
        assert!(held.open, "{viewer}");
        assert_eq!(held.deadline, record(&shop, order).await.pay_by);
    }
    assert_eq!(left(&shop, &show).await, 3);
}

#[tokio::test]
async fn money_past_us_is_found_and_of_another_amount_it_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(5, 5, None).await;
    let right = order_to_pay(&shop, &show, "u1").await;
    let wrong = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    // Another tab of the buyer was paid, and this one is declined.
    let other = shop.checkout(&right, PRICE).await;
    let key = shop.checkout(&right, PRICE).await;
    confirm_by_hand(&shop, &right, &other, PRICE).await;
    shop.gateway_faults(json!([
        { "on": "confirm", "kind": "decline", "times": 1, "orderId": right },
    ]))
    .await;
    assert_eq!(pay(&shop, "u1", &right, &key, PRICE).await.0, 202);
    let less = shop.checkout(&wrong, PRICE - 1).await;
    let key = shop.checkout(&wrong, PRICE).await;
    confirm_by_hand(&shop, &wrong, &less, PRICE - 1).await;
    assert_eq!(pay(&shop, "u2", &wrong, &key, PRICE).await.0, 202);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &right).await, is("confirmed", ""));
    let paid = record(&shop, &right).await.payment.expect("was paid");
    assert_eq!(paid.payment_key, other);
    assert_eq!(
        status_of(&shop, "u2", &wrong).await,
        is("failed", "payment_declined")
    );
    assert_eq!(money_of(&shop, &wrong).await, (1, PRICE - 1, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_charge_that_comes_after_its_order_expired_takes_the_units_or_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    for (viewer, gone) in [("u1", false), ("u2", true)] {
        shop.gateway_faults(
            json!([{ "on": "billing", "kind": "commit_later", "ms": 2_000, "times": 1 }]),
        )
        .await;
        let (_, receipt) = shop
            .order(&show, viewer, "k", json!(1), billing_key("bk"))
            .await;
        let order = receipt["order_id"].as_str().expect("an id").to_owned();
        let placed = shop.wire.take_messages("orders");
        assert_eq!(shop.deliver(&placed).await.batch_item_failures.len(), 1);
        let over = OrderRecord {
            pay_by: clock::now(),
            ..record(&shop, &order).await
        };
        shop.settlement.look_after(over).await.expect("looks");
        assert_eq!(
            status_of(&shop, viewer, &order).await,
            is("failed", "payment_expired")
        );
        if gone {
            paid_order(&shop, &show, "u3").await;
        }
        while money_of(&shop, &order).await.1 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let failed = record(&shop, &order).await;
        shop.settlement.look_after(failed).await.expect("looks");
        let (ended, kept) = if gone {
            (is("failed", "payment_expired"), 0)
        } else {
            (is("confirmed", ""), PRICE)
        };
        assert_eq!(status_of(&shop, viewer, &order).await, ended);
        assert_eq!(money_of(&shop, &order).await, (1, PRICE, kept));
    }
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 2);
}

#[tokio::test]
async fn a_failed_order_is_looked_at_ever_more_seldom_and_not_for_ever() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1 },
    ]))
    .await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let order = receipt["order_id"].as_str().expect("an id").to_owned();
    let lost = shop.wire.take_messages("orders");
    assert_eq!(shop.deliver(&lost).await.batch_item_failures.len(), 1);
    let over = OrderRecord {
        pay_by: clock::now(),
        ..record(&shop, &order).await
    };
    shop.settlement.look_after(over).await.expect("looks");
    // Some time later, as the index brings it up.
    let looked_at = async |since: u64| {
        let now = clock::now();
        let due = OrderRecord {
            settled_at: Some(now.before(Duration::from_secs(since))),
            due_at: Some(now),
            ..record(&shop, &order).await
        };
        shop.settlement.look_after(due).await.expect("looks");
        let next = record(&shop, &order).await.due_at;
        next.map(|next| next.since(now).as_secs())
    };
    let (soon, later) = (looked_at(10).await, looked_at(600).await);
    assert!(soon.is_some_and(|s| (60..80).contains(&s)), "{soon:?}");
    assert!(later.is_some_and(|s| (600..620).contains(&s)), "{later:?}");
    assert_eq!(looked_at(3_700).await, None);
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn an_order_taken_back_while_it_is_charged_is_refunded_at_once() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    shop.gateway_faults(json!([{ "on": "billing", "kind": "delay", "ms": 1_500, "times": 1 }]))
        .await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let order = receipt["order_id"].as_str().expect("an id").to_owned();
    let placed = shop.wire.take_messages("orders");
    let taking_back = async {
        let id = order.parse().expect("an id");
        while shop.ledger.order(&id).await.expect("answers").is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
        let messages = shop.wire.take_messages("orders");
        assert_eq!(shop.deliver(&messages).await.batch_item_failures.len(), 0);
        assert_eq!(money_of(&shop, &order).await, (0, 0, 0));
    };
    let (placed, ()) = futures::join!(shop.deliver(&placed), taking_back);
    assert_eq!(placed.batch_item_failures.len(), 0);
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        is("failed", "cancelled")
    );
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn a_refund_that_is_refused_for_good_waits_for_a_person() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([
        { "on": "cancel", "kind": "decline", "code": "NOT_CANCELABLE_AMOUNT", "times": 1 },
    ]))
    .await;
    cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
    shop.process(10, 2).await;
    let refused = record(&shop, &order).await;
    assert_eq!(
        (refused.refund, refused.due_at),
        (Some(Refund::Refused), None)
    );
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_failure_that_the_gateway_repeats_is_got_over_after_a_while() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    let fault = |on: &str| json!([{ "on": on, "kind": "error_before_commit", "status": 500, "times": 1, "recorded": true }]);
    let long_ago = || clock::now().before(Duration::from_secs(61));
    shop.gateway_faults(fault("billing")).await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    let order = receipt["order_id"].as_str().expect("an id").to_owned();
    let placed = shop.wire.take_messages("orders");
    for _ in 0..2 {
        assert_eq!(shop.deliver(&placed).await.batch_item_failures.len(), 1);
    }
    let reserved = record(&shop, &order).await;
    let older = OrderRecord {
        created_at: long_ago(),
        ..reserved.clone()
    };
    change(&shop, &reserved, older).await;
    assert_eq!(shop.deliver(&placed).await.batch_item_failures.len(), 0);
    assert_eq!(status_of(&shop, "u1", &order).await, is("confirmed", ""));

    shop.gateway_faults(fault("cancel")).await;
    cancel(&shop, ("u1", Role::Viewer), &order, "c").await;
    shop.process(10, 2).await;
    let owed = record(&shop, &order).await;
    shop.settlement.look_after(owed).await.expect("looks");
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Due));
    let owed = OrderRecord {
        settled_at: Some(long_ago()),
        ..record(&shop, &order).await
    };
    shop.settlement.look_after(owed).await.expect("looks");
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

/// A gateway that takes two payments of an order, which ours does not: while one is confirmed, another one is counted.
struct TakesTwo {
    ledger: Ledger,
    refunds: Arc<Mutex<Vec<String>>>,
}

impl Gateway for TakesTwo {
    fn charge<'a>(
        &'a self,
        _: &'a OrderId,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async { Err(Error::Payment("takes no cards".to_owned())) })
    }

    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
        _attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async move {
            let record = self.ledger.order(order).await?.expect("is there");
            let counted = PaymentView {
                payment_key: "counted".to_owned(),
                approved_at: None,
                refunded_at: None,
            };
            let now = clock::now();
            let paid = record.clone().confirmed(counted, now);
            self.ledger.change(&record, paid, "paid", now).await?;
            Ok(Charge::Paid(payment::Payment {
                payment_key: payment_key.to_owned(),
                order_id: Some(order.clone()),
                status: PaymentStatus::Done,
                total: amount,
                balance: amount,
                approved_at: None,
            }))
        })
    }

    fn lookup<'a>(
        &'a self,
        _: &'a OrderId,
    ) -> BoxFuture<'a, Result<Option<payment::Payment>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn refund<'a>(
        &'a self,
        payment: &'a payment::Payment,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<payment::Refund, Error>> {
        Box::pin(async {
            let mut refunds = self.refunds.lock().expect("no test panicked");
            refunds.push(payment.payment_key.clone());
            Ok(payment::Refund::Done(payment.clone()))
        })
    }
}

#[tokio::test]
async fn the_second_payment_of_an_order_goes_back_and_the_first_stays() {
    let mut shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    let refunds = Arc::default();
    shop.settlement.payments = Box::new(TakesTwo {
        ledger: shop.ledger.clone(),
        refunds: Arc::clone(&refunds),
    });
    for (viewer, key) in [("u1", "counted"), ("u2", "second")] {
        let order = order_to_pay(&shop, &show, viewer).await;
        shop.process(10, 1).await;
        assert_eq!(pay(&shop, viewer, &order, key, PRICE).await.0, 202);
        shop.process(10, 1).await;
        assert_eq!(status_of(&shop, viewer, &order).await, is("confirmed", ""));
        let paid = record(&shop, &order).await.payment.expect("was paid");
        assert_eq!(paid.payment_key, "counted");
    }
    assert_eq!(*refunds.lock().expect("no test panicked"), ["second"]);
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 2);
}
