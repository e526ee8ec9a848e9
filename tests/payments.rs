//! The adapter of the payment gateway against the payment sandbox, over real HTTP. What was really charged and given back is
//! read from the sandbox's own books, never from the adapter.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Redirect},
    routing::any,
};
use futures::{future::join_all, stream};
use onepool::{
    config::Secret,
    error::{Error, Retry},
    order::OrderId,
    payment::{
        Charge, Gateway, PAYMENT_CANCELED, PAYMENT_OF_ANOTHER_ORDER, PAYMENT_OVER, Payment,
        PaymentStatus, Refund, Toss, UNUSABLE_KEY, Webhook,
    },
};
use payment_sandbox::{Sandbox, Settings};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, time::timeout};

const SECRET_KEY: &str = "test_sk_demo0000000000000000";
const AMOUNT: u64 = 25_800;
/// Longer than any test may take: a hold of this length ends by release.
const LONG_MS: u64 = 600_000;
/// Every way to lose a request before its work, or to leave it open whether it was done.
fn without_work(on: &str) -> [Value; 4] {
    [
        json!({ "on": on, "kind": "timeout_before_commit", "ms": 20 }),
        json!({ "on": on, "kind": "error_before_commit", "status": 503, "recorded": false }),
        json!({ "on": on, "kind": "error_before_commit", "status": 429 }),
        json!({ "on": on, "kind": "still_processing" }),
    ]
}
/// Every way to lose the answer of work that was done.
fn with_lost_answer(on: &str) -> [Value; 4] {
    [
        json!({ "on": on, "kind": "timeout_after_commit", "ms": 20 }),
        json!({ "on": on, "kind": "close_after_commit" }),
        json!({ "on": on, "kind": "error_after_commit" }),
        json!({ "on": on, "kind": "error_after_commit", "status": 502, "recorded": false }),
    ]
}

/// A sandbox, and the adapter of it.
struct Shop {
    sandbox: Sandbox,
    gateway: Toss,
    http: reqwest::Client,
}

impl Shop {
    async fn open() -> Self {
        let sandbox = Sandbox::start(Settings {
            secret_key: SECRET_KEY.to_owned(),
            ..Settings::default()
        })
        .await
        .expect("the sandbox starts");
        Self {
            gateway: adapter(sandbox.base_url(), SECRET_KEY),
            sandbox,
            http: reqwest::Client::new(),
        }
    }

    fn url(&self, what: &str) -> String {
        format!("{}/sandbox/{what}", self.sandbox.base_url())
    }

    async fn control(&self, what: &str, body: Value) -> Value {
        let answer = self.http.post(self.url(what)).json(&body).send().await;
        let answer = answer.expect("the sandbox answers");
        assert!(answer.status().is_success(), "{what}: {body}");
        answer.json().await.expect("JSON")
    }

    async fn show(&self, what: &str) -> Value {
        let answer = self.http.get(self.url(what)).send().await;
        answer
            .expect("the sandbox answers")
            .json()
            .await
            .expect("JSON")
    }

    async fn fault(&self, rule: Value) {
        self.control("faults", json!({ "faults": [rule] })).await;
    }

    /// Lets everything go that is delayed, held or to commit later.
    async fn release(&self) {
        let answer = self.http.delete(self.url("faults")).send().await;
        assert!(answer.expect("the sandbox answers").status().is_success());
    }

    /// A buyer's finished checkout: its payment key.
    async fn check_out(&self, order: &OrderId) -> String {
        let body = json!({ "orderId": order, "amount": AMOUNT });
        let checkout = self.control("checkouts", body).await;
        checkout["paymentKey"].as_str().expect("a key").to_owned()
    }

    async fn charge(&self, order: &OrderId, attempt: u32) -> Result<Charge, Error> {
        self.gateway
            .charge(order, "card-1", "buyer-1", AMOUNT, attempt)
            .await
    }

    async fn confirm(&self, order: &OrderId, payment_key: &str) -> Result<Charge, Error> {
        self.gateway.confirm(order, payment_key, AMOUNT, 1).await
    }

    async fn paid(&self, order: &OrderId) -> Payment {
        paid(self.charge(order, 1).await)
    }

    /// How often money was taken for an order.
    async fn charges(&self, order: &OrderId) -> u64 {
        let books = self.show("books").await;
        let orders = books["orders"].as_array().expect("orders");
        let order = orders
            .iter()
            .find(|line| line["orderId"] == order.as_str())
            .cloned()
            .unwrap_or_default();
        order["charges"].as_u64().unwrap_or_default()
    }

    /// What the books say of a payment: won taken, won given back, in how many cancellations.
    async fn book(&self, payment_key: &str) -> (u64, u64, u64) {
        let books = self.show("books").await;
        let payments = books["payments"].as_array().expect("payments");
        let line = payments
            .iter()
            .find(|line| line["paymentKey"] == payment_key)
            .expect("is in the books");
        let of = |name: &str| line[name].as_u64().expect("a number");
        (of("approvedAmount"), of("cancelledAmount"), of("cancels"))
    }

    async fn until_charged(&self, order: &OrderId) {
        timeout(Duration::from_secs(20), async {
            while self.charges(order).await == 0 {}
        })
        .await
        .expect("it is charged in the end");
    }
}

fn adapter(base_url: &str, secret_key: &str) -> Toss {
    Toss::new(base_url.to_owned(), Secret::new(secret_key))
}

fn order(name: &str) -> OrderId {
    let broadcast = "b-1".parse().expect("an id");
    OrderId::derive(&broadcast, &"viewer-1".parse().expect("an id"), name)
}

#[track_caller]
fn paid(charge: Result<Charge, Error>) -> Payment {
    match charge {
        Ok(Charge::Paid(payment)) => payment,
        other => panic!("not paid: {other:?}"),
    }
}

#[track_caller]
fn declined(charge: Result<Charge, Error>) -> String {
    match charge {
        Ok(Charge::Declined(code)) => code,
        other => panic!("not declined: {other:?}"),
    }
}

#[track_caller]
fn unknown<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Payment(cause)) => cause,
        other => panic!("not unknown: {other:?}"),
    }
}

#[track_caller]
fn misconfigured<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(error @ Error::PaymentConfiguration(_)) => {
            assert_eq!(error.retry(), Retry::AfterRepair);
            error.to_string()
        }
        other => panic!("not a fault of configuration: {other:?}"),
    }
}

#[track_caller]
fn refunded(refund: Result<Refund, Error>) -> Payment {
    match refund {
        Ok(Refund::Done(payment)) => payment,
        other => panic!("not refunded: {other:?}"),
    }
}

// Charges

#[tokio::test]
async fn a_card_is_charged_once_whatever_is_repeated() {
    let shop = Shop::open().await;
    let order = order("1");
    let together = join_all((0..20).map(|_| shop.charge(&order, 1))).await;
    for charge in together {
        assert!(
            matches!(charge, Ok(Charge::Paid(_)) | Err(Error::Payment(_))),
            "{charge:?}"
        );
    }
    let payment = shop.paid(&order).await;
    assert_eq!(
        (payment.status, payment.total, payment.balance),
        (PaymentStatus::Done, AMOUNT, AMOUNT)
    );
    assert_eq!(payment.order_id.as_ref(), Some(&order));
    assert!(payment.approved_at.is_some());
    assert_eq!(
        paid(shop.charge(&order, 2).await),
        payment,
        "the next attempt"
    );
    shop.control("clock", json!({ "advance_s": 16 * 24 * 3_600 }))
        .await;
    assert_eq!(
        shop.paid(&order).await,
        payment,
        "after its idempotency key is forgotten"
    );
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_repeat_is_the_same_request_to_the_gateway() {
    let shop = Shop::open().await;
    let order = order("1");
    let payment = shop.paid(&order).await;
    assert_eq!(shop.paid(&order).await, payment);
    let record = shop.show("requests").await;
    let requests = record["requests"].as_array().expect("requests");
    let [first, repeat] = [&requests[0], &requests[1]];
    assert_eq!(
        first["idempotencyKey"].as_str(),
        Some(format!("charge:{order}:1").as_str())
    );
    assert_eq!(
        (&repeat["idempotencyKey"], &repeat["replayed"]),
        (&first["idempotencyKey"], &json!(true))
    );
}

#[tokio::test]
async fn a_refusal_is_final_and_another_attempt_may_be_paid() {
    let shop = Shop::open().await;
    for code in [
        "REJECT_CARD_PAYMENT",
        "REJECT_CARD_COMPANY",
        "INVALID_CARD_EXPIRATION",
        "EXCEED_MAX_AMOUNT",
        "BELOW_MINIMUM_AMOUNT",
        "FDS_ERROR",
    ] {
        let order = order(code);
        shop.fault(json!({ "on": "billing", "kind": "decline", "code": code }))
            .await;
        assert_eq!(declined(shop.charge(&order, 1).await), code);
        assert_eq!(declined(shop.charge(&order, 1).await), code, "a repeat");
        assert_eq!(shop.charges(&order).await, 0);
        paid(shop.charge(&order, 2).await);
        assert_eq!(shop.charges(&order).await, 1);
    }
}

#[tokio::test]
async fn a_charge_without_an_outcome_is_never_declined() {
    let shop = Shop::open().await;
    for (number, rule) in without_work("billing").into_iter().enumerate() {
        let order = order(&number.to_string());
        shop.fault(rule.clone()).await;
        unknown(shop.charge(&order, 1).await);
        assert_eq!(shop.charges(&order).await, 0, "{rule}");
        shop.paid(&order).await;
        assert_eq!(shop.charges(&order).await, 1, "{rule}");
    }
    for code in [
        "PROVIDER_ERROR",
        "CARD_PROCESSING_ERROR",
        "ALREADY_PROCESSED_PAYMENT",
        "SOMETHING_NEW",
    ] {
        let order = order(code);
        shop.fault(json!({ "on": "billing", "kind": "decline", "code": code }))
            .await;
        assert_eq!(unknown(shop.charge(&order, 1).await), code);
        unknown(shop.charge(&order, 1).await); // the gateway repeats what it said
        paid(shop.charge(&order, 2).await);
        assert_eq!(shop.charges(&order).await, 1, "{code}");
    }
}

#[tokio::test]
async fn a_charge_whose_answer_is_lost_is_found_by_its_order() {
    let shop = Shop::open().await;
    for (number, rule) in with_lost_answer("billing").into_iter().enumerate() {
        let order = order(&number.to_string());
        shop.fault(rule.clone()).await;
        let payment = shop.paid(&order).await;
        assert_eq!(payment.order_id.as_ref(), Some(&order));
        shop.paid(&order).await;
        assert_eq!(shop.charges(&order).await, 1, "{rule}");
    }
}

#[tokio::test]
async fn a_charge_that_is_made_after_its_caller_gave_up_is_the_only_one() {
    let shop = Shop::open().await;
    let order = order("1");
    // A checkout of before, which is over: it says nothing of the charge that is on its way.
    shop.check_out(&order).await;
    shop.control("clock", json!({ "advance_s": 601 })).await;
    shop.fault(json!({ "on": "billing", "kind": "commit_later", "ms": LONG_MS }))
        .await;
    unknown(shop.charge(&order, 1).await);
    let found = shop.gateway.lookup(&order).await.expect("answers");
    assert_eq!(
        found.map(|payment| payment.status),
        Some(PaymentStatus::Dead)
    );
    assert_eq!(
        unknown(shop.charge(&order, 1).await),
        "IDEMPOTENT_REQUEST_PROCESSING"
    );
    assert_eq!(shop.charges(&order).await, 0);

    shop.release().await;
    shop.until_charged(&order).await;
    let payment = shop.paid(&order).await;
    assert_eq!(paid(shop.charge(&order, 2).await), payment);
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_slow_gateway_is_not_waited_for_and_what_it_does_is_found() {
    let shop = Shop::open().await;
    let order = order("1");
    shop.fault(json!({ "on": "billing", "kind": "delay", "ms": LONG_MS }))
        .await;
    // A function that waits has 30 seconds.
    let charge = timeout(Duration::from_secs(15), shop.charge(&order, 1)).await;
    unknown(charge.expect("gives up by itself"));
    shop.release().await;
    shop.until_charged(&order).await;
    shop.paid(&order).await;
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_lookup_that_fails_decides_nothing() {
    let shop = Shop::open().await;
    let order = order("1");
    for rule in [
        json!({ "on": "lookup", "kind": "error_before_commit" }),
        json!({ "on": "lookup", "kind": "error_before_commit", "status": 429 }),
        json!({ "on": "lookup", "kind": "timeout_before_commit", "ms": 20 }),
        // A 404 of something in between, not of the gateway's books.
        json!({ "on": "lookup", "kind": "decline", "code": "NOT_FOUND" }),
    ] {
        shop.fault(rule.clone()).await;
        unknown(shop.gateway.lookup(&order).await);
        shop.fault(json!({ "on": "billing", "kind": "timeout_before_commit", "ms": 0 }))
            .await;
        shop.fault(rule).await;
        unknown(shop.charge(&order, 1).await);
    }
    assert_eq!(
        shop.gateway.lookup(&order).await.expect("answers"),
        None,
        "the gateway knows none"
    );
}

#[tokio::test]
async fn a_lookup_finds_the_money_before_anything_newer() {
    let shop = Shop::open().await;
    let order = order("1");
    let key = shop.check_out(&order).await;
    let status = async || {
        let payment = shop.gateway.lookup(&order).await.expect("answers");
        payment.map(|payment| (payment.payment_key, payment.status))
    };
    assert_eq!(status().await, Some((key.clone(), PaymentStatus::Pending)));
    let payment = paid(shop.confirm(&order, &key).await);
    shop.check_out(&order).await;
    assert_eq!(status().await, Some((key.clone(), PaymentStatus::Done)));
    refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);
    assert_eq!(status().await, Some((key, PaymentStatus::Canceled)));
}

#[tokio::test]
async fn a_wrong_key_of_ours_is_a_fault_of_configuration_and_loses_nothing() {
    let shop = Shop::open().await;
    let [order, other] = [order("1"), order("2")];
    let payment = shop.paid(&other).await;
    let key = shop.check_out(&order).await;
    let wrong = adapter(shop.sandbox.base_url(), "test_sk_of_somebody_else");
    let outcomes = [
        misconfigured(wrong.charge(&order, "card-1", "buyer-1", AMOUNT, 1).await),
        misconfigured(wrong.confirm(&order, &key, AMOUNT, 1).await),
        misconfigured(wrong.lookup(&order).await),
        misconfigured(wrong.refund(&payment, "refund-1", "sold out").await),
    ];
    for text in outcomes {
        assert!(text.contains("UNAUTHORIZED_KEY") && !text.contains("somebody"));
    }
    paid(shop.confirm(&order, &key).await);
    refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);

    for code in [
        "INVALID_API_KEY",
        "INCORRECT_BASIC_AUTH_FORMAT",
        "INVALID_IDEMPOTENCY_KEY",
        "FORBIDDEN_REQUEST",
    ] {
        for on in ["billing", "confirm", "cancel", "lookup"] {
            shop.fault(json!({ "on": on, "kind": "decline", "code": code }))
                .await;
        }
        let order = self::order(code);
        let key = shop.check_out(&order).await;
        misconfigured(shop.charge(&order, 1).await);
        misconfigured(shop.confirm(&order, &key).await);
        misconfigured(shop.gateway.lookup(&order).await);
        misconfigured(shop.gateway.refund(&payment, code, "sold out").await);
        assert_eq!(shop.charges(&order).await, 0);
    }
}

// Checkouts

#[tokio::test]
async fn a_confirm_whose_failure_the_gateway_repeats_is_another_attempt_after_a_while() {
    let shop = Shop::open().await;
    let order = order("1");
    let key = shop.check_out(&order).await;
    shop.fault(json!({ "on": "confirm", "kind": "error_before_commit", "status": 500 }))
        .await;
    for _ in 0..2 {
        unknown(shop.confirm(&order, &key).await);
    }
    for _ in 0..2 {
        paid(shop.gateway.confirm(&order, &key, AMOUNT, 2).await);
    }
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_checkout_is_paid_once_whatever_is_repeated() {
    let shop = Shop::open().await;
    let order = order("1");
    let key = shop.check_out(&order).await;
    let together = join_all((0..20).map(|_| shop.confirm(&order, &key))).await;
    for charge in together {
        assert!(
            matches!(charge, Ok(Charge::Paid(_)) | Err(Error::Payment(_))),
            "{charge:?}"
        );
    }
    let payment = paid(shop.confirm(&order, &key).await);
    assert_eq!(
        (payment.payment_key.as_str(), payment.total),
        (key.as_str(), AMOUNT)
    );
    shop.control("clock", json!({ "advance_s": 16 * 24 * 3_600 }))
        .await;
    assert_eq!(
        paid(shop.confirm(&order, &key).await),
        payment,
        "it was processed already, and its idempotency key forgotten"
    );
    let second_tab = shop.check_out(&order).await;
    assert_eq!(
        paid(shop.confirm(&order, &second_tab).await),
        payment,
        "a second checkout of the order"
    );
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_second_checkout_after_a_decline_is_a_payment_of_its_own() {
    let shop = Shop::open().await;
    let order = order("1");
    for code in [
        "REJECT_CARD_COMPANY",
        "INVALID_CARD_LOST_OR_STOLEN",
        "EXCEED_MAX_DAILY_PAYMENT_COUNT",
    ] {
        let key = shop.check_out(&order).await;
        shop.fault(json!({ "on": "confirm", "kind": "decline", "code": code }))
            .await;
        assert_eq!(declined(shop.confirm(&order, &key).await), code);
        assert_eq!(declined(shop.confirm(&order, &key).await), code, "a repeat");
    }
    let key = shop.check_out(&order).await;
    assert_eq!(paid(shop.confirm(&order, &key).await).payment_key, key);
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_confirm_without_an_outcome_is_never_declined() {
    let shop = Shop::open().await;
    for (number, rule) in without_work("confirm").into_iter().enumerate() {
        let order = order(&number.to_string());
        let key = shop.check_out(&order).await;
        shop.fault(rule.clone()).await;
        unknown(shop.confirm(&order, &key).await);
        assert_eq!(shop.charges(&order).await, 0, "{rule}");
        paid(shop.confirm(&order, &key).await);
        assert_eq!(shop.charges(&order).await, 1, "{rule}");
    }
    for (number, rule) in with_lost_answer("confirm").into_iter().enumerate() {
        let order = order(&format!("lost {number}"));
        let key = shop.check_out(&order).await;
        shop.fault(rule.clone()).await;
        assert_eq!(paid(shop.confirm(&order, &key).await).payment_key, key);
        assert_eq!(shop.charges(&order).await, 1, "{rule}");
    }
    let order = order("late");
    let key = shop.check_out(&order).await;
    shop.fault(json!({ "on": "confirm", "kind": "commit_later", "ms": LONG_MS }))
        .await;
    unknown(shop.confirm(&order, &key).await);
    unknown(shop.confirm(&order, &key).await);
    shop.release().await;
    shop.until_charged(&order).await;
    assert_eq!(paid(shop.confirm(&order, &key).await).payment_key, key);
    assert_eq!(shop.charges(&order).await, 1);
}

#[tokio::test]
async fn a_checkout_that_is_over_is_declined() {
    let shop = Shop::open().await;
    let order = order("1");
    let key = shop.check_out(&order).await;
    shop.control("clock", json!({ "advance_s": 601 })).await;
    assert_eq!(
        declined(shop.confirm(&order, &key).await),
        "NOT_FOUND_PAYMENT_SESSION"
    );

    // A failure is the gateway's answer for good, so what ends the waiting is that the payment cannot be done any more.
    let key = shop.check_out(&order).await;
    shop.fault(json!({ "on": "confirm", "kind": "error_before_commit" }))
        .await;
    unknown(shop.confirm(&order, &key).await);
    unknown(shop.confirm(&order, &key).await);
    shop.control("clock", json!({ "advance_s": 601 })).await;
    shop.check_out(&order).await; // newer, and not what was asked about
    assert_eq!(declined(shop.confirm(&order, &key).await), PAYMENT_OVER);
    assert_eq!(shop.charges(&order).await, 0);
}

#[tokio::test]
async fn the_payment_of_another_order_pays_nothing_and_stays_as_it_is() {
    let shop = Shop::open().await;
    let [thief, buyer] = [order("thief"), order("buyer")];
    let key = shop.check_out(&buyer).await;
    let theft = shop.confirm(&thief, &key).await;
    assert_eq!(declined(theft), PAYMENT_OF_ANOTHER_ORDER);
    let payment = paid(shop.confirm(&buyer, &key).await);

    let again = shop.confirm(&thief, &key).await;
    assert_eq!(declined(again), PAYMENT_OF_ANOTHER_ORDER);
    let third = order("third");
    shop.fault(json!({ "on": "confirm", "kind": "decline", "code": "ALREADY_PROCESSED_PAYMENT" }))
        .await;
    let processed = shop.confirm(&third, &key).await;
    assert_eq!(declined(processed), PAYMENT_OF_ANOTHER_ORDER);
    assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, 0, 0));
    assert_eq!(shop.charges(&thief).await, 0);
}

#[tokio::test]
async fn a_payment_that_does_not_exist_is_declined() {
    let shop = Shop::open().await;
    let confirm = shop.confirm(&order("1"), "pay_of_nobody").await;
    assert_eq!(declined(confirm), "NOT_FOUND_PAYMENT");
}

#[tokio::test]
async fn a_payment_of_another_amount_tells_its_true_one() {
    let shop = Shop::open().await;
    let first = order("1");
    let key = shop.check_out(&first).await;
    let other = shop.gateway.confirm(&first, &key, AMOUNT - 1, 1).await;
    assert_eq!(declined(other), "INVALID_REQUEST");
    assert_eq!(shop.charges(&first).await, 0);

    let first = order("2");
    let key = shop.check_out(&first).await;
    paid(shop.confirm(&first, &key).await);
    let dearer = shop.gateway.charge(&first, "card-1", "buyer-1", 99_000, 1);
    assert_eq!(paid(dearer.await).total, AMOUNT);
    let order = order("3");
    shop.paid(&order).await;
    let key = shop.check_out(&order).await;
    let cheaper = shop.gateway.confirm(&order, &key, 1_000, 1).await;
    assert_eq!(paid(cheaper).total, AMOUNT);
    assert_eq!(shop.charges(&order).await, 1);
}

// Refunds

#[tokio::test]
async fn money_goes_back_once_whatever_is_repeated() {
    let shop = Shop::open().await;
    let order = order("1");
    let payment = shop.paid(&order).await;
    let reason = "품절".repeat(200);
    let together = (0..10).map(|_| shop.gateway.refund(&payment, "refund-1", &reason));
    for refund in join_all(together).await {
        assert!(
            matches!(refund, Ok(Refund::Done(_)) | Err(Error::Payment(_))),
            "{refund:?}"
        );
    }
    let refund = refunded(shop.gateway.refund(&payment, "refund-1", &reason).await);
    assert_eq!(
        (refund.status, refund.total, refund.balance),
        (PaymentStatus::Canceled, AMOUNT, 0)
    );
    let by_hand = shop.gateway.refund(&payment, "refund-2", "by hand").await;
    assert_eq!(refunded(by_hand), refund, "another refund of the payment");
    assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, AMOUNT, 1));
    assert_eq!(
        declined(shop.charge(&order, 2).await),
        PAYMENT_CANCELED,
        "an order id is paid once"
    );
    let key = shop.check_out(&order).await;
    assert_eq!(declined(shop.confirm(&order, &key).await), PAYMENT_CANCELED);
}

#[tokio::test]
async fn a_refund_without_an_answer_is_read_back() {
    let shop = Shop::open().await;
    for (number, rule) in with_lost_answer("cancel").into_iter().enumerate() {
        let payment = shop.paid(&order(&format!("lost {number}"))).await;
        shop.fault(rule).await;
        refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);
        assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, AMOUNT, 1));
    }
    for (number, rule) in without_work("cancel").into_iter().enumerate() {
        let payment = shop.paid(&order(&number.to_string())).await;
        shop.fault(rule.clone()).await;
        unknown(shop.gateway.refund(&payment, "refund-1", "sold out").await);
        assert_eq!(
            shop.book(&payment.payment_key).await,
            (AMOUNT, 0, 0),
            "{rule}"
        );
        refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);
        assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, AMOUNT, 1));
    }
    let payment = shop.paid(&order("unread")).await;
    shop.fault(json!({ "on": "cancel", "kind": "close_after_commit" }))
        .await;
    shop.fault(json!({ "on": "lookup", "kind": "error_before_commit" }))
        .await;
    unknown(shop.gateway.refund(&payment, "refund-1", "sold out").await);
    refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);
    assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, AMOUNT, 1));
}

#[tokio::test]
async fn a_refund_that_failed_at_the_gateway_is_asked_for_under_another_id() {
    let shop = Shop::open().await;
    for code in ["FAILED_REFUND_PROCESS", "FAILED_METHOD_HANDLING_CANCEL"] {
        let payment = shop.paid(&order(code)).await;
        shop.fault(json!({ "on": "cancel", "kind": "error_before_commit", "code": code }))
            .await;
        for _ in 0..2 {
            let refund = shop.gateway.refund(&payment, "refund-1", "sold out").await;
            assert_eq!(unknown(refund), code, "the gateway repeats what it said");
        }
        refunded(shop.gateway.refund(&payment, "refund-2", "sold out").await);
        assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, AMOUNT, 1));
    }
}

#[tokio::test]
async fn a_refund_that_can_never_be_waits_for_a_person() {
    let shop = Shop::open().await;
    for code in [
        "NOT_CANCELABLE_AMOUNT",
        "NOT_CANCELABLE_PAYMENT",
        "EXCEED_MAX_REFUND_DUE",
        "REFUND_REJECTED",
    ] {
        let payment = shop.paid(&order(code)).await;
        shop.fault(json!({ "on": "cancel", "kind": "decline", "code": code }))
            .await;
        let refund = shop.gateway.refund(&payment, "refund-1", "sold out").await;
        assert_eq!(refund.expect("answers"), Refund::Refused(code.to_owned()));
        assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, 0, 0));
    }
    let order = order("not paid");
    shop.check_out(&order).await;
    let pending = shop.gateway.lookup(&order).await.expect("answers");
    let pending = pending.expect("is known");
    let refund = shop.gateway.refund(&pending, "refund-1", "sold out").await;
    assert_eq!(
        refund.expect("answers"),
        Refund::Refused("NOT_CANCELABLE_PAYMENT".to_owned())
    );
}

// What else may come over the wire

#[tokio::test]
async fn a_key_leads_to_no_other_path() {
    let shop = Shop::open().await;
    let order = order("1");
    let payment = shop.paid(&order).await;
    for key in ["", ".", "..", &"k".repeat(201)] {
        let charge = shop.gateway.charge(&order, key, "buyer-1", AMOUNT, 2);
        assert_eq!(declined(charge.await), UNUSABLE_KEY);
        assert_eq!(declined(shop.confirm(&order, key).await), UNUSABLE_KEY);
        let forged = Payment {
            payment_key: key.to_owned(),
            ..payment.clone()
        };
        let refund = shop.gateway.refund(&forged, "refund-1", "sold out").await;
        assert_eq!(
            refund.expect("answers"),
            Refund::Refused(UNUSABLE_KEY.to_owned())
        );
    }
    let before = requests(&shop).await.len();
    let victim = format!("{}/cancel?", payment.payment_key);
    let up = format!("../payments/{}/cancel#", payment.payment_key);
    for key in [victim.as_str(), up.as_str(), "..%2f", "%2e%2e", "a b\n가"] {
        let order = self::order(key);
        let charge = shop.gateway.charge(&order, key, "buyer-1", AMOUNT, 1);
        paid(charge.await);
        let forged = Payment {
            payment_key: key.to_owned(),
            ..payment.clone()
        };
        let refund = shop.gateway.refund(&forged, "refund-1", "sold out").await;
        assert_eq!(
            refund.expect("answers"),
            Refund::Refused("NOT_FOUND_PAYMENT".to_owned())
        );
    }
    for path in &requests(&shop).await[before..] {
        assert!(
            path == "/v1/billing/***" || path.split('/').count() == 5 && path.ends_with("/cancel"),
            "{path}"
        );
    }
    assert_eq!(shop.book(&payment.payment_key).await, (AMOUNT, 0, 0));
}

/// The paths of the requests that the sandbox has had.
async fn requests(shop: &Shop) -> Vec<String> {
    let record = shop.show("requests").await;
    let requests = record["requests"].as_array().expect("requests");
    requests
        .iter()
        .map(|request| request["path"].as_str().expect("a path").to_owned())
        .collect()
}

/// A server that gives the same answer to everything, and counts.
async fn server<T, R>(answer: T) -> String
where
    T: Fn() -> R + Clone + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().fallback(any(async move || answer()));
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

#[tokio::test]
async fn an_answer_that_cannot_be_read_decides_nothing_and_is_not_repeated() {
    let order = order("1");
    let done = |status: &str| {
        json!({ "paymentKey": "pay_1", "orderId": order, "status": status, "totalAmount": AMOUNT,
            "balanceAmount": AMOUNT, "approvedAt": null, "card": { "number": "4330123456789012" } })
        .to_string()
    };
    let truncated = done("DONE")[..90].to_owned();
    let of_another = done("DONE").replace("b-1-", "b-2-");
    let text_amount = done("DONE").replace("25800", "\"4330123456789012\"");
    let refusal = json!({ "code": "4330123456789012 <b>", "message": "" }).to_string();
    for (status, body) in [
        (StatusCode::OK, "<html>4330123456789012</html>".to_owned()),
        (StatusCode::OK, String::new()),
        (StatusCode::OK, truncated),
        (StatusCode::OK, text_amount),
        (StatusCode::OK, done("SOMETHING_NEW")),
        (StatusCode::OK, of_another),
        (StatusCode::NOT_FOUND, "<html></html>".to_owned()),
        (StatusCode::FORBIDDEN, refusal),
    ] {
        let url = server(move || (status, body.clone())).await;
        let gateway = adapter(&url, SECRET_KEY);
        let cause = unknown(gateway.lookup(&order).await);
        assert!(!cause.contains("4330123456789012"), "{cause}");
    }

    let endless = || {
        let chunk = Bytes::from_static(&[b' '; 16_384]);
        Body::from_stream(stream::repeat_with(move || {
            Ok::<_, std::io::Error>(chunk.clone())
        }))
    };
    let gateway = adapter(&server(endless).await, SECRET_KEY);
    let cause = timeout(Duration::from_secs(5), gateway.lookup(&order)).await;
    assert!(unknown(cause.expect("stops reading")).contains("more than"));

    let elsewhere = Shop::open().await;
    let to = format!("{}/v1/payments/pay_1", elsewhere.sandbox.base_url());
    let gateway = adapter(&server(move || Redirect::temporary(&to)).await, SECRET_KEY);
    unknown(gateway.charge(&order, "card-1", "buyer-1", AMOUNT, 1).await);
    assert_eq!(requests(&elsewhere).await, [] as [String; 0]);
}

// Webhooks

#[tokio::test]
async fn a_webhook_is_a_reason_to_ask_and_never_an_answer() {
    let (sender, mut events) = mpsc::unbounded_channel::<Bytes>();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await;
    let listener = listener.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let hear = async |State(sender): State<Arc<mpsc::UnboundedSender<Bytes>>>, body: Bytes| {
        sender.send(body).expect("the test listens");
    };
    let router = Router::new()
        .fallback(any(hear))
        .with_state(Arc::new(sender));
    tokio::spawn(async move { axum::serve(listener, router).await });

    let shop = Shop::open().await;
    let plan = json!({ "url": url, "duplicate": true, "shuffle": true });
    let set = shop.http.put(shop.url("webhook")).json(&plan).send().await;
    assert!(set.expect("the sandbox answers").status().is_success());
    let order = order("1");
    let key = shop.check_out(&order).await;
    let payment = paid(shop.confirm(&order, &key).await);
    refunded(shop.gateway.refund(&payment, "refund-1", "sold out").await);

    let mut said = Vec::new();
    for _ in 0..6 {
        let body = timeout(Duration::from_secs(20), events.recv()).await;
        let body = body.expect("in time").expect("an event");
        let webhook = Webhook::parse(&body).expect("is one");
        assert_eq!(webhook.event_type, "PAYMENT_STATUS_CHANGED");
        assert_eq!(webhook.payment_key.as_deref(), Some(key.as_str()));
        assert_eq!(webhook.order_id.as_ref(), Some(&order));
        let truth = shop.gateway.lookup(&order).await.expect("answers");
        assert_eq!(
            truth.expect("is known").status,
            PaymentStatus::Canceled,
            "whatever it said"
        );
        said.extend(webhook.status);
    }
    said.sort();
    let each = ["CANCELED", "DONE", "IN_PROGRESS"];
    assert_eq!(
        said,
        each.map(|status| [status; 2]).concat(),
        "each came twice"
    );
}

fn status_changed(data: Value) -> Vec<u8> {
    json!({ "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-20T10:01:00.000000", "data": data })
        .to_string()
        .into_bytes()
}

#[track_caller]
fn not_a_webhook(body: &[u8]) {
    let parsed = Webhook::parse(body);
    assert!(matches!(parsed, Err(Error::Invalid { .. })), "{parsed:?}");
    let text = format!("{:?}", parsed.expect_err("is none"));
    assert!(!text.contains("4330123456789012"), "{text}");
}

#[test]
fn both_shapes_of_a_webhook_are_read() {
    let order = order("1");
    let data =
        json!({ "paymentKey": "pay_1", "orderId": order, "status": "DONE", "totalAmount": 25_800 });
    let webhook = Webhook::parse(&status_changed(data)).expect("is one");
    assert_eq!(
        webhook,
        Webhook {
            event_type: "PAYMENT_STATUS_CHANGED".to_owned(),
            payment_key: Some("pay_1".to_owned()),
            order_id: Some(order.clone()),
            status: Some("DONE".to_owned()),
        }
    );
    let mut deposit = json!({ "createdAt": "2026-11-20T10:01:00.000000", "secret": "ps_secret", "status": "DONE",
        "transactionKey": "txn_1", "orderId": order });
    for event_type in [None, Some("DEPOSIT_CALLBACK")] {
        if let Some(event_type) = event_type {
            deposit["eventType"] = json!(event_type);
        }
        let webhook = Webhook::parse(deposit.to_string().as_bytes()).expect("is one");
        assert_eq!(
            webhook,
            Webhook {
                event_type: "DEPOSIT_CALLBACK".to_owned(),
                payment_key: None,
                order_id: Some(order.clone()),
                status: Some("DONE".to_owned()),
            }
        );
        assert!(!format!("{webhook:?}").contains("ps_secret"));
    }
    let other = Webhook::parse(br#"{"eventType":"METHOD_UPDATED","data":[1]}"#).expect("is one");
    assert_eq!(
        (other.event_type.as_str(), other.payment_key, other.order_id),
        ("METHOD_UPDATED", None, None)
    );
    let data =
        json!({ "paymentKey": "pay_1", "orderId": "order-of-another-shop", "status": "DONE" });
    let foreign = Webhook::parse(&status_changed(data)).expect("is one");
    assert_eq!(foreign.order_id, None);
}

#[test]
fn a_body_that_is_no_webhook_is_refused_and_not_quoted() {
    let order = order("1");
    let good = status_changed(json!({ "paymentKey": "pay_1", "orderId": order, "status": "DONE" }));
    Webhook::parse(&good).expect("is one");
    for length in 0..good.len() {
        not_a_webhook(&good[..length]);
    }
    for data in [
        json!(null),
        json!("4330123456789012"),
        json!({}),
        json!({ "paymentKey": "pay_1", "orderId": order }),
        json!({ "paymentKey": 4_330_123_456_789_012_u64, "orderId": order, "status": "DONE" }),
        json!({ "paymentKey": "..", "orderId": order, "status": "DONE" }),
        json!({ "paymentKey": "k".repeat(201), "orderId": order, "status": "DONE" }),
        json!({ "paymentKey": "pay_1", "orderId": order, "status": "done\n4330123456789012" }),
    ] {
        not_a_webhook(&status_changed(data));
    }
    let mut huge = good;
    huge.resize(65 * 1024, b' ');
    not_a_webhook(&huge);
    for body in [
        &b""[..],
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        br#"{"eventType":"","data":{}}"#,
        br#"{"eventType":"DEPOSIT_CALLBACK","status":"DONE"}"#,
        "[".repeat(60_000).as_bytes(),
        format!("{{\"data\":{}1", "[".repeat(60_000)).as_bytes(),
    ] {
        not_a_webhook(body);
    }
}

#[tokio::test]
async fn nobody_listening_is_an_unknown_outcome() {
    let gateway = adapter("http://127.0.0.1:1", SECRET_KEY);
    let cause = unknown(
        gateway
            .charge(&order("1"), "card-1", "buyer-1", AMOUNT, 1)
            .await,
    );
    assert!(
        !cause.contains("card-1") && !cause.contains(SECRET_KEY),
        "{cause}"
    );
}
