//! The till: orders placed, paid and taken back in one line, and what the ledger, the gate and the gateway say of them.

use std::time::Duration;

use onepool::{
    auth::Role,
    clock::{self, Timestamp},
    ledger::OrderRecord,
    stock::HoldState,
};
use onepool_tests::{Shop, Show, billing_key};
use serde_json::{Value, json};

pub const PAY: &str = "POST /orders/{order_id}/payment";
pub const CANCEL: &str = "POST /orders/{order_id}/cancel";
pub const WEBHOOK: &str = "POST /payments/webhook";
pub const PRICE: u64 = 19_900;

/// Places an order of one unit that is paid later.
pub async fn order_to_pay(shop: &Shop, show: &Show, viewer: &str) -> String {
    let (status, receipt) = shop
        .order(show, viewer, "k", json!(1), json!({ "method": "widget" }))
        .await;
    assert_eq!(status, 202, "{receipt}");
    assert!(receipt["pay_by"].is_string(), "{receipt}");
    receipt["order_id"].as_str().expect("an id").to_owned()
}

/// Places an order of one unit that is charged to a card as soon as it is in the ledger.
pub async fn order_by_card(shop: &Shop, show: &Show, viewer: &str) -> String {
    let (status, receipt) = shop
        .order(show, viewer, "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202, "{receipt}");
    receipt["order_id"].as_str().expect("an id").to_owned()
}

/// Places an order by card, and sees it through.
pub async fn paid_order(shop: &Shop, show: &Show, viewer: &str) -> String {
    let order = order_by_card(shop, show, viewer).await;
    shop.process(10, 3).await;
    order
}

/// Authorizes a payment of the whole order at the gateway, and has it taken; returns its key.
pub async fn pay_at_checkout(shop: &Shop, viewer: &str, order: &str) -> String {
    let key = shop.checkout(order, PRICE).await;
    assert_eq!(pay(shop, viewer, order, &key, PRICE).await.0, 202);
    key
}

/// Takes an order back that may be taken back.
pub async fn take_back(shop: &Shop, viewer: &str, order: &str) {
    let caller = (viewer, Role::Viewer);
    assert_eq!(cancel(shop, caller, order, "c").await.0, 202);
}

/// The next money that moves by this verb moves unheard of: its answer is lost, and the lookup after it fails.
pub async fn take_money_unheard(shop: &Shop, verb: &str) {
    shop.gateway_faults(json!([
        { "on": verb, "kind": "close_after_commit", "times": 1 },
        { "on": "lookup", "kind": "error_before_commit", "status": 503, "times": 1, "recorded": false },
    ]))
    .await;
}

/// Delivers messages, and says how many are to come again.
pub async fn failed(shop: &Shop, messages: &[String]) -> usize {
    shop.deliver(messages).await.batch_item_failures.len()
}

/// Has an order looked after, as it is said to be.
pub async fn look_after(shop: &Shop, record: OrderRecord) {
    shop.settlement.look_after(record).await.expect("looks");
}

/// Waits for a charge that the gateway makes late.
pub async fn until_charged(shop: &Shop, order: &str) {
    while money_of(shop, order).await.1 == 0 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The id of an order that never was.
pub fn unknown_order(show: &Show) -> String {
    format!("{}-{}", show.broadcast, "a".repeat(26))
}

/// Asks to have a payment taken: the answer.
pub async fn pay(shop: &Shop, viewer: &str, order: &str, key: &str, amount: u64) -> (u16, Value) {
    let body = json!({ "payment_key": key, "amount": amount });
    let idempotency_key = format!("pay-{order}-{key}-{amount}");
    shop.money((viewer, Role::Viewer), PAY, order, &idempotency_key, body)
        .await
}

/// Asks to have an order taken back: the answer.
pub async fn cancel(shop: &Shop, caller: (&str, Role), order: &str, key: &str) -> (u16, Value) {
    shop.money(caller, CANCEL, order, key, Value::Null).await
}

/// An order, as the ledger has it.
pub async fn record(shop: &Shop, order: &str) -> OrderRecord {
    let order = order.parse().expect("an id");
    let record = shop.ledger.order(&order).await.expect("answers");
    record.expect("is in the ledger")
}

/// What the gateway took and gave back for an order: charges, won taken, won it still has.
pub async fn money_of(shop: &Shop, order: &str) -> (u64, u64, u64) {
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

/// What its buyer reads of an order: its status, and the reason if there is one.
pub async fn status_of(shop: &Shop, viewer: &str, order: &str) -> String {
    let (status, view) = shop.status(viewer, order).await;
    assert_eq!(status, 200, "{view}");
    let words = [&view["status"], &view["reason"]];
    let words: Vec<&str> = words.into_iter().filter_map(Value::as_str).collect();
    words.join(" ")
}

/// The hold of an order, by the gate.
pub async fn hold(shop: &Shop, show: &Show, order: &str) -> HoldState {
    let order = order.parse().expect("an id");
    let hold = shop.gate.hold(&show.source(), &order).await;
    hold.expect("answers").expect("is known")
}

/// Units left at the live source, by the gate.
pub async fn left(shop: &Shop, show: &Show) -> i64 {
    let stock = shop.gate.stock(&show.product, &[&show.source()]).await;
    stock.expect("answers")[0].expect("is known").left
}

/// Makes an order in the ledger what a test needs it to be.
pub async fn change(shop: &Shop, read: &OrderRecord, wanted: OrderRecord) {
    let changed = shop.ledger.change(read, wanted, "test", clock::now()).await;
    changed.expect("answers").record().expect("changes");
}

/// Waits until a little after this time.
pub async fn wait_until(time: Timestamp) {
    let left = time.since(clock::now());
    tokio::time::sleep(left + Duration::from_millis(5)).await;
}

/// Does something to a payment at the gateway, past us.
pub async fn at_the_gateway(shop: &Shop, path: &str, body: Value) {
    let answer = reqwest::Client::new()
        .post(format!("{}/v1/payments/{path}", shop.sandbox.base_url()))
        .basic_auth("test_sk_demo0000000000000000", Some(""))
        .json(&body)
        .send()
        .await
        .expect("the sandbox answers");
    assert!(answer.status().is_success());
}

/// Takes the money of a checkout at the gateway, past us.
pub async fn confirm_by_hand(shop: &Shop, order: &str, key: &str, amount: u64) {
    let body = json!({ "paymentKey": key, "orderId": order, "amount": amount });
    at_the_gateway(shop, "confirm", body).await;
}
