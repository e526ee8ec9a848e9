//! The sandbox over real HTTP, as Onepool's adapter and its tests use it.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

use std::{
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    time::Duration,
};

use axum::{Json, Router, http::StatusCode, routing::post};
use payment_sandbox::{Sandbox, Settings};
use reqwest::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinHandle, time::timeout};

const SECRET_KEY: &str = "test_sk_demo0000000000000000";
/// The documented vector of that key.
const AUTHORIZATION: &str = "Basic dGVzdF9za19kZW1vMDAwMDAwMDAwMDAwMDAwMDo=";
/// Longer than any test may take: a hold of this length ends by release or not at all.
const LONG_MS: u64 = 600_000;

/// A sandbox with a client of it.
struct Toss {
    sandbox: Sandbox,
    http: Client,
}

/// An answer that has come: its status and its body.
type Reply = (u16, Value);

impl Toss {
    async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    async fn start_with(settings: Settings) -> Self {
        Self {
            sandbox: Sandbox::start(settings).await.unwrap(),
            http: Client::new(),
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.sandbox.base_url())
    }

    fn post(&self, path: &str, body: &Value) -> RequestBuilder {
        self.http
            .post(self.url(path))
            .header("Authorization", AUTHORIZATION)
            .json(body)
    }

    fn charge(&self, order_id: &str) -> RequestBuilder {
        self.charge_key("billing-1", order_id)
    }

    fn charge_key(&self, billing_key: &str, order_id: &str) -> RequestBuilder {
        self.post(
            &format!("/v1/billing/{billing_key}"),
            &charge_body(order_id),
        )
    }

    fn confirm(&self, payment_key: &str, order_id: &str) -> RequestBuilder {
        let body = json!({ "paymentKey": payment_key, "orderId": order_id, "amount": 25_800 });
        self.post("/v1/payments/confirm", &body)
    }

    fn cancel(&self, payment_key: &str, amount: Option<u64>) -> RequestBuilder {
        let body = json!({ "cancelReason": "sold out", "cancelAmount": amount });
        self.post(&format!("/v1/payments/{payment_key}/cancel"), &body)
    }

    fn lookup(&self, path: &str) -> RequestBuilder {
        self.http
            .get(self.url(&format!("/v1/payments/{path}")))
            .header("Authorization", AUTHORIZATION)
    }

    /// A buyer's finished checkout, ready to confirm.
    async fn check_out(&self, order_id: &str) -> String {
        let body = json!({ "orderId": order_id, "amount": 25_800 });
        text(&self.control("checkouts", &body).await["paymentKey"])
    }

    async fn control(&self, what: &str, body: &Value) -> Value {
        let request = self.http.post(self.url(&format!("/sandbox/{what}")));
        let (status, body) = reply(request.json(body)).await;
        assert_eq!(status, 200, "{body}");
        body
    }

    async fn show(&self, what: &str) -> Value {
        let request = self.http.get(self.url(&format!("/sandbox/{what}")));
        reply(request).await.1
    }

    async fn fault(&self, rule: Value) {
        self.control("faults", &json!({ "faults": [rule] })).await;
    }

    /// Ends all holds and delays under way.
    async fn release(&self) {
        let request = self.http.delete(self.url("/sandbox/faults"));
        assert_eq!(reply(request).await.0, 200);
    }

    async fn charges(&self, order_id: &str) -> u64 {
        let books = self.show("books").await;
        let orders = books["orders"].as_array().unwrap();
        let order = orders.iter().find(|order| order["orderId"] == order_id);
        order.map_or(0, |order| order["charges"].as_u64().unwrap())
    }

    /// The last recorded request, once it fits.
    async fn until_last_request(&self, fits: impl Fn(&Value) -> bool) -> Value {
        until(async || {
            let record = self.show("requests").await;
            let last = record["requests"].as_array()?.last()?.clone();
            fits(&last).then_some(last)
        })
        .await
    }

    async fn set_webhook(&self, plan: Value) {
        let request = self.http.put(self.url("/sandbox/webhook")).json(&plan);
        assert_eq!(reply(request).await.0, 200);
    }
}

/// Asks again until there is an answer. Each question is a round trip, so nothing spins.
async fn until<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    timeout(Duration::from_secs(20), async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
    .unwrap()
}

async fn reply(request: RequestBuilder) -> Reply {
    read(request.send().await.unwrap()).await
}

async fn read(response: Response) -> Reply {
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Sends in the background; the handle gives the status, or an error when the connection is cut.
fn send(request: RequestBuilder) -> JoinHandle<Result<u16, reqwest::Error>> {
    tokio::spawn(async move { Ok(request.send().await?.status().as_u16()) })
}

async fn refused(request: RequestBuilder, status: u16, code: &str) {
    let (is, body) = reply(request).await;
    assert_eq!((is, &body["code"]), (status, &json!(code)), "{body}");
    assert!(body["message"].is_string());
}

fn charge_body(order_id: &str) -> Value {
    json!({
        "customerKey": "customer-1",
        "amount": 25_800,
        "orderId": order_id,
        "orderName": "Pear juice, 2 boxes",
    })
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn keyed(request: RequestBuilder, key: &str) -> RequestBuilder {
    request.header("Idempotency-Key", key)
}

// Payments

#[tokio::test]
async fn a_charge_can_be_looked_up_by_key_and_by_order() {
    let toss = Toss::start().await;
    let (status, payment) = reply(toss.charge("order-0001")).await;

    assert_eq!(status, 200);
    assert_eq!(payment["type"], "BILLING");
    assert_eq!(payment["status"], "DONE");
    assert_eq!(payment["orderId"], "order-0001");
    assert_eq!(payment["totalAmount"], 25_800);
    assert_eq!(payment["balanceAmount"], 25_800);
    assert_eq!(payment["suppliedAmount"], 23_455);
    assert_eq!(payment["vat"], 2_345);
    assert_eq!(payment["cancels"], Value::Null);
    let approved_at = payment["approvedAt"].as_str().unwrap();
    assert_eq!(approved_at.len(), "2026-11-20T10:00:59+09:00".len());
    assert!(approved_at.ends_with("+09:00"));

    let key = text(&payment["paymentKey"]);
    assert_eq!(reply(toss.lookup(&key)).await, (200, payment.clone()));
    let by_order = reply(toss.lookup("orders/order-0001")).await;
    assert_eq!(by_order, (200, payment));
    refused(toss.lookup("pay_nobody"), 404, "NOT_FOUND_PAYMENT").await;
    refused(toss.lookup("orders/order-none"), 404, "NOT_FOUND_PAYMENT").await;
}

#[tokio::test]
async fn a_checkout_is_confirmed_once() {
    let toss = Toss::start().await;
    let key = toss.check_out("order-0001").await;
    let waiting = reply(toss.lookup(&key)).await.1;
    assert_eq!(waiting["status"], "IN_PROGRESS");
    assert_eq!(waiting["approvedAt"], Value::Null);

    let other_amount = json!({ "paymentKey": key, "orderId": "order-0001", "amount": 1 });
    refused(
        toss.post("/v1/payments/confirm", &other_amount),
        400,
        "INVALID_REQUEST",
    )
    .await;
    refused(
        toss.confirm("pay_nobody", "order-0001"),
        404,
        "NOT_FOUND_PAYMENT",
    )
    .await;

    let (status, payment) = reply(toss.confirm(&key, "order-0001")).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&payment["type"], &payment["status"]),
        (&json!("NORMAL"), &json!("DONE"))
    );
    refused(
        toss.confirm(&key, "order-0001"),
        400,
        "ALREADY_PROCESSED_PAYMENT",
    )
    .await;
    assert_eq!(toss.charges("order-0001").await, 1);
}

#[tokio::test]
async fn an_order_is_paid_once_whichever_way_it_is_paid_again() {
    let toss = Toss::start().await;
    let second_tab = toss.check_out("order-0001").await;
    let (_, payment) = reply(toss.charge("order-0001")).await;

    refused(toss.charge("order-0001"), 400, "DUPLICATED_ORDER_ID").await;
    refused(
        toss.confirm(&second_tab, "order-0001"),
        400,
        "DUPLICATED_ORDER_ID",
    )
    .await;
    let found = reply(toss.lookup("orders/order-0001")).await.1;
    assert_eq!(found["paymentKey"], payment["paymentKey"]);

    // Not even when the money went back.
    let key = text(&payment["paymentKey"]);
    assert_eq!(reply(toss.cancel(&key, None)).await.0, 200);
    refused(toss.charge("order-0001"), 400, "DUPLICATED_ORDER_ID").await;

    let order = toss.show("books").await["orders"][0].clone();
    assert_eq!(
        order,
        json!({ "orderId": "order-0001", "charges": 1, "refusedDuplicates": 3 })
    );
}

#[tokio::test]
async fn a_payment_is_cancelled_once() {
    let toss = Toss::start().await;
    let key = text(&reply(toss.charge("order-0001")).await.1["paymentKey"]);

    let (status, payment) = reply(toss.cancel(&key, None)).await;
    assert_eq!(status, 200);
    assert_eq!(payment["status"], "CANCELED");
    assert_eq!(payment["totalAmount"], 25_800);
    assert_eq!(payment["balanceAmount"], 0);
    assert_eq!(payment["cancels"][0]["cancelAmount"], 25_800);
    assert_eq!(payment["cancels"][0]["cancelReason"], "sold out");
    assert_eq!(
        payment["lastTransactionKey"],
        payment["cancels"][0]["transactionKey"]
    );

    refused(toss.cancel(&key, None), 400, "ALREADY_CANCELED_PAYMENT").await;
    refused(toss.cancel("pay_nobody", None), 404, "NOT_FOUND_PAYMENT").await;
    let waiting = toss.check_out("order-0002").await;
    refused(toss.cancel(&waiting, None), 403, "NOT_CANCELABLE_PAYMENT").await;
}

#[tokio::test]
async fn a_payment_is_cancelled_in_parts_up_to_its_amount() {
    let toss = Toss::start().await;
    let key = text(&reply(toss.charge("order-0001")).await.1["paymentKey"]);

    let (_, payment) = reply(toss.cancel(&key, Some(5_800))).await;
    assert_eq!(payment["status"], "PARTIAL_CANCELED");
    assert_eq!(payment["balanceAmount"], 20_000);
    refused(
        toss.cancel(&key, Some(20_001)),
        403,
        "NOT_CANCELABLE_AMOUNT",
    )
    .await;
    refused(toss.cancel(&key, Some(0)), 400, "INVALID_REQUEST").await;

    let books = toss.show("books").await;
    assert_eq!(
        books["totals"],
        json!({ "approvedAmount": 25_800, "cancelledAmount": 5_800, "balanceAmount": 20_000 })
    );

    let (_, payment) = reply(toss.cancel(&key, None)).await;
    assert_eq!(payment["status"], "CANCELED");
    assert_eq!(payment["cancels"][1]["cancelAmount"], 20_000);
    assert_eq!(payment["cancels"][1]["refundableAmount"], 0);
    let line = toss.show("books").await["payments"][0].clone();
    assert_eq!(line["approvedAmount"], 25_800);
    assert_eq!(line["cancelledAmount"], 25_800);
    assert_eq!(line["balanceAmount"], 0);
}

#[tokio::test]
async fn a_checkout_lasts_ten_minutes() {
    let toss = Toss::start().await;
    let kept = toss.check_out("order-0001").await;
    toss.control("clock", &json!({ "advance_s": 590 })).await;
    assert_eq!(reply(toss.confirm(&kept, "order-0001")).await.0, 200);

    let lost = toss.check_out("order-0002").await;
    toss.control("clock", &json!({ "advance_s": 600 })).await;
    refused(
        toss.confirm(&lost, "order-0002"),
        404,
        "NOT_FOUND_PAYMENT_SESSION",
    )
    .await;
    assert_eq!(reply(toss.lookup(&lost)).await.1["status"], "EXPIRED");
    assert_eq!(reply(toss.lookup(&kept)).await.1["status"], "DONE");
}

#[tokio::test]
async fn a_billing_key_that_is_named_so_is_declined() {
    let toss = Toss::start().await;
    refused(
        toss.charge_key("decline-1", "order-0001"),
        403,
        "REJECT_CARD_COMPANY",
    )
    .await;
    refused(toss.lookup("orders/order-0001"), 404, "NOT_FOUND_PAYMENT").await;
    // Another card may pay the same order.
    assert_eq!(reply(toss.charge("order-0001")).await.0, 200);
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let toss = Toss::start().await;
    let wrong = [
        ("orderId", json!("short")),
        ("orderId", json!("o".repeat(65))),
        ("orderId", json!("order 0001")),
        ("amount", json!(0)),
        ("amount", json!(-1)),
        ("amount", json!(10.5)),
        ("amount", json!("25800")),
        ("customerKey", json!("")),
        ("orderName", Value::Null),
    ];
    for (field, value) in wrong {
        let mut body = charge_body("order-0001");
        body[field] = value;
        refused(
            toss.post("/v1/billing/billing-1", &body),
            400,
            "INVALID_REQUEST",
        )
        .await;
    }
    let body = json!({ "cancelReason": "" });
    refused(
        toss.post("/v1/payments/any/cancel", &body),
        400,
        "INVALID_REQUEST",
    )
    .await;
    let mut long = charge_body("order-0001");
    long["metadata"] = json!("m".repeat(70_000));
    refused(
        toss.post("/v1/billing/billing-1", &long),
        400,
        "INVALID_REQUEST",
    )
    .await;
    refused(toss.post("/v1/nothing", &json!({})), 404, "NOT_FOUND").await;
    assert_eq!(toss.charges("order-0001").await, 0);
}

#[tokio::test]
async fn only_the_secret_key_with_its_colon_is_let_in() {
    let toss = Toss::start().await;
    let url = toss.url("/v1/payments/orders/order-0001");
    let ask = |authorization: &str| {
        let request = toss.http.get(&url);
        request.header("Authorization", authorization)
    };
    refused(toss.http.get(&url), 401, "UNAUTHORIZED_KEY").await;
    refused(
        toss.http.get(&url).basic_auth("test_sk_other", Some("")),
        401,
        "UNAUTHORIZED_KEY",
    )
    .await;
    // "test_sk_demo0000000000000000" without the colon.
    refused(
        ask("Basic dGVzdF9za19kZW1vMDAwMDAwMDAwMDAwMDAwMA=="),
        403,
        "INCORRECT_BASIC_AUTH_FORMAT",
    )
    .await;
    refused(ask("Basic ???"), 403, "INCORRECT_BASIC_AUTH_FORMAT").await;
    refused(ask("Bearer token"), 403, "INCORRECT_BASIC_AUTH_FORMAT").await;
    refused(
        toss.http.get(&url).basic_auth(SECRET_KEY, Some("")),
        404,
        "NOT_FOUND_PAYMENT",
    )
    .await;
}

#[tokio::test]
async fn the_test_code_header_makes_its_error_for_test_keys_only() {
    let toss = Toss::start().await;
    let asked = |toss: &Toss, code: &str| {
        let request = toss.confirm("pay_any", "order-0001");
        request.header("TossPayments-Test-Code", code)
    };
    for (code, status) in [
        ("REJECT_CARD_PAYMENT", 403),
        ("EXCEED_MAX_AMOUNT", 400),
        ("FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", 500),
        ("NOT_FOUND_PAYMENT_SESSION", 404),
    ] {
        refused(asked(&toss, code), status, code).await;
    }

    let live = Toss::start_with(Settings {
        secret_key: "live_sk_demo0000000000000000".to_owned(),
        ..Settings::default()
    })
    .await;
    let url = live.url("/v1/payments/pay_any");
    let request = live
        .http
        .get(url)
        .basic_auth("live_sk_demo0000000000000000", Some(""))
        .header("TossPayments-Test-Code", "REJECT_CARD_PAYMENT");
    refused(request, 404, "NOT_FOUND_PAYMENT").await;
}

// Idempotency keys

#[tokio::test]
async fn a_repeat_gets_the_first_answer_whatever_its_body_says() {
    let toss = Toss::start().await;
    let first = reply(keyed(toss.charge("order-0001"), "once")).await;
    assert_eq!(first.0, 200);
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await, first);
    // The trap: another order under the same key is never charged.
    assert_eq!(reply(keyed(toss.charge("order-0002"), "once")).await, first);
    assert_eq!(toss.charges("order-0002").await, 0);
    let record = toss.show("requests").await;
    let replayed: Vec<_> = record["requests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["replayed"].as_bool().unwrap())
        .collect();
    assert_eq!(replayed, [false, true, true]);

    // Another URL or another key is another identity.
    let elsewhere = keyed(toss.charge_key("billing-2", "order-0002"), "once");
    assert_eq!(reply(elsewhere).await.0, 200);
    refused(
        keyed(toss.charge("order-0001"), "twice"),
        400,
        "DUPLICATED_ORDER_ID",
    )
    .await;
}

#[tokio::test]
async fn a_repeat_gets_the_first_error_too() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "decline", "code": "REJECT_CARD_PAYMENT" }))
        .await;
    for _ in 0..2 {
        refused(
            keyed(toss.charge("order-0001"), "once"),
            403,
            "REJECT_CARD_PAYMENT",
        )
        .await;
    }
    refused(
        keyed(toss.post("/v1/billing/b", &json!({})), "empty"),
        400,
        "INVALID_REQUEST",
    )
    .await;
    let repaired = keyed(
        toss.post("/v1/billing/b", &charge_body("order-0002")),
        "empty",
    );
    refused(repaired, 400, "INVALID_REQUEST").await;
    assert_eq!(toss.charges("order-0002").await, 0);
}

#[tokio::test]
async fn a_repeat_meets_a_409_while_the_first_request_runs() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "delay", "ms": LONG_MS }))
        .await;
    let first = send(keyed(toss.charge("order-0001"), "once"));
    toss.until_last_request(|entry| entry["fault"] == "delay")
        .await;

    refused(
        keyed(toss.charge("order-0001"), "once"),
        409,
        "IDEMPOTENT_REQUEST_PROCESSING",
    )
    .await;
    assert_eq!(toss.charges("order-0001").await, 0);

    toss.release().await;
    assert_eq!(first.await.unwrap().unwrap(), 200);
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
    assert_eq!(toss.charges("order-0001").await, 1);
}

#[tokio::test]
async fn of_many_equal_requests_at_once_one_is_charged() {
    let toss = Toss::start().await;
    let sent: Vec<_> = (0..50)
        .map(|_| send(keyed(toss.charge("order-0001"), "once")))
        .collect();
    for request in sent {
        let status = request.await.unwrap().unwrap();
        assert!([200, 409].contains(&status), "{status}");
    }
    let order = toss.show("books").await["orders"][0].clone();
    assert_eq!(
        order,
        json!({ "orderId": "order-0001", "charges": 1, "refusedDuplicates": 0 })
    );
}

#[tokio::test]
async fn idempotency_keys_have_a_length_and_an_age() {
    let toss = Toss::start().await;
    refused(
        keyed(toss.charge("order-0001"), &"k".repeat(301)),
        400,
        "INVALID_IDEMPOTENCY_KEY",
    )
    .await;
    let longest = "k".repeat(300);
    let first = reply(keyed(toss.charge("order-0001"), &longest)).await;
    assert_eq!(first.0, 200);
    // A GET does not even look at it.
    let by_order = keyed(toss.lookup("orders/order-0001"), &"k".repeat(301));
    assert_eq!(reply(by_order).await.0, 200);

    let almost = 15 * 24 * 60 * 60 - 60;
    toss.control("clock", &json!({ "advance_s": almost })).await;
    assert_eq!(
        reply(keyed(toss.charge("order-0001"), &longest)).await,
        first
    );
    toss.control("clock", &json!({ "advance_s": 60 })).await;
    refused(
        keyed(toss.charge("order-0001"), &longest),
        400,
        "DUPLICATED_ORDER_ID",
    )
    .await;
}

// Faults

#[tokio::test]
async fn a_declined_confirm_ends_the_checkout() {
    let toss = Toss::start().await;
    let key = toss.check_out("order-0001").await;
    toss.fault(json!({ "on": "confirm", "kind": "decline", "code": "INVALID_CARD_EXPIRATION" }))
        .await;
    refused(
        toss.confirm(&key, "order-0001"),
        400,
        "INVALID_CARD_EXPIRATION",
    )
    .await;
    let payment = reply(toss.lookup(&key)).await.1;
    assert_eq!(payment["status"], "ABORTED");
    assert_eq!(payment["failure"]["code"], "INVALID_CARD_EXPIRATION");
    refused(
        toss.confirm(&key, "order-0001"),
        404,
        "NOT_FOUND_PAYMENT_SESSION",
    )
    .await;

    // An error that is not about the card leaves the checkout as it is.
    let key = toss.check_out("order-0002").await;
    toss.fault(json!({ "on": "confirm", "kind": "decline", "code": "PROVIDER_ERROR" }))
        .await;
    refused(toss.confirm(&key, "order-0002"), 400, "PROVIDER_ERROR").await;
    assert_eq!(reply(toss.confirm(&key, "order-0002")).await.0, 200);
}

#[tokio::test]
async fn a_timeout_before_the_commit_leaves_no_trace() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "timeout_before_commit", "ms": LONG_MS }))
        .await;
    let lost = send(keyed(toss.charge("order-0001"), "once"));
    toss.until_last_request(|entry| entry["fault"] == "timeout_before_commit")
        .await;
    toss.release().await;
    assert!(lost.await.unwrap().is_err());
    toss.until_last_request(|entry| entry["outcome"] == "cut")
        .await;
    assert_eq!(toss.charges("order-0001").await, 0);
    refused(toss.lookup("orders/order-0001"), 404, "NOT_FOUND_PAYMENT").await;
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
}

#[tokio::test]
async fn a_timeout_after_the_commit_charges_and_keeps_its_answer_for_repeats() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "timeout_after_commit", "ms": LONG_MS }))
        .await;
    let held = send(keyed(toss.charge("order-0001"), "once"));
    until(async || (toss.charges("order-0001").await == 1).then_some(())).await;
    let found = reply(toss.lookup("orders/order-0001")).await;
    assert_eq!(found.1["status"], "DONE");
    // The same key while the first caller is still held: the work itself is over.
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await, found);
    assert_eq!(toss.charges("order-0001").await, 1);

    assert!(!held.is_finished());
    toss.release().await;
    assert!(held.await.unwrap().is_err());
}

#[tokio::test]
async fn work_goes_on_when_its_caller_hangs_up() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "delay", "ms": LONG_MS }))
        .await;
    let caller = send(toss.charge("order-0001"));
    toss.until_last_request(|entry| entry["fault"] == "delay")
        .await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());

    assert_eq!(toss.charges("order-0001").await, 0);
    toss.release().await;
    until(async || (toss.charges("order-0001").await == 1).then_some(())).await;
    toss.until_last_request(|entry| entry["outcome"] == "answered")
        .await;
}

#[tokio::test]
async fn a_connection_closed_after_the_commit_hides_the_charge() {
    let toss = Toss::start().await;
    let key = toss.check_out("order-0001").await;
    toss.fault(json!({ "on": "confirm", "kind": "close_after_commit" }))
        .await;
    let error = keyed(toss.confirm(&key, "order-0001"), "once")
        .send()
        .await
        .unwrap_err();
    assert!(!error.is_timeout());
    assert_eq!(reply(toss.lookup(&key)).await.1["status"], "DONE");
    let repeat = reply(keyed(toss.confirm(&key, "order-0001"), "once")).await;
    assert_eq!(repeat.0, 200);

    // A refund can be lost in the same way.
    toss.fault(json!({ "on": "cancel", "kind": "close_after_commit", "orderId": "order-0001" }))
        .await;
    assert!(toss.cancel(&key, None).send().await.is_err());
    refused(toss.cancel(&key, None), 400, "ALREADY_CANCELED_PAYMENT").await;
}

#[tokio::test]
async fn a_charge_that_is_gone_is_made_later() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "commit_later", "ms": LONG_MS }))
        .await;
    let cut = keyed(toss.charge("order-0001"), "once").send().await;
    assert!(cut.is_err());
    refused(toss.lookup("orders/order-0001"), 404, "NOT_FOUND_PAYMENT").await;
    refused(
        keyed(toss.charge("order-0001"), "once"),
        409,
        "IDEMPOTENT_REQUEST_PROCESSING",
    )
    .await;
    assert_eq!(toss.charges("order-0001").await, 0);

    toss.release().await;
    until(async || (toss.charges("order-0001").await == 1).then_some(())).await;
    let (status, payment) = reply(keyed(toss.charge("order-0001"), "once")).await;
    assert_eq!((status, &payment["status"]), (200, &json!("DONE")));
    assert_eq!(toss.charges("order-0001").await, 1);
}

#[tokio::test]
async fn a_charge_that_is_gone_can_be_made_by_another_meanwhile() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "commit_later", "ms": 50 }))
        .await;
    assert!(keyed(toss.charge("order-0001"), "1").send().await.is_err());
    assert_eq!(reply(keyed(toss.charge("order-0001"), "2")).await.0, 200);
    until(async || {
        let record = toss.show("requests").await;
        (record["requests"][0]["outcome"] == "cut").then_some(())
    })
    .await;
    assert_eq!(
        toss.charges("order-0001").await,
        1,
        "an order id is paid once"
    );
}

#[tokio::test]
async fn a_checkout_is_opened_again_after_a_decline_and_one_is_paid() {
    let toss = Toss::start().await;
    let [declined, paid, late] = [
        toss.check_out("order-0001").await,
        toss.check_out("order-0001").await,
        toss.check_out("order-0001").await,
    ];
    toss.fault(json!({ "on": "confirm", "kind": "decline" }))
        .await;
    refused(
        toss.confirm(&declined, "order-0001"),
        403,
        "REJECT_CARD_COMPANY",
    )
    .await;
    assert_eq!(reply(toss.confirm(&paid, "order-0001")).await.0, 200);
    refused(
        toss.confirm(&late, "order-0001"),
        400,
        "DUPLICATED_ORDER_ID",
    )
    .await;
    let found = reply(toss.lookup("orders/order-0001")).await.1;
    assert_eq!(
        found["paymentKey"], paid,
        "the one that took money, not the newest"
    );
    assert_eq!(toss.charges("order-0001").await, 1);
}

#[tokio::test]
async fn a_request_over_the_rate_is_not_worked_on_and_can_be_repeated() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "error_before_commit", "status": 429 }))
        .await;
    refused(
        keyed(toss.charge("order-0001"), "once"),
        429,
        "TOO_MANY_REQUESTS",
    )
    .await;
    assert_eq!(toss.charges("order-0001").await, 0);
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
}

#[tokio::test]
async fn a_server_error_says_nothing_about_the_charge() {
    let toss = Toss::start().await;
    let code = "FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING";
    for (order_id, kind, charges) in [
        ("order-0001", "error_before_commit", 0),
        ("order-0002", "error_after_commit", 1),
    ] {
        toss.fault(json!({ "on": "billing", "kind": kind })).await;
        for _ in 0..2 {
            refused(keyed(toss.charge(order_id), order_id), 500, code).await;
        }
        assert_eq!(toss.charges(order_id).await, charges);
    }
}

#[tokio::test]
async fn an_error_of_a_gateway_in_front_is_not_kept_for_repeats() {
    let toss = Toss::start().await;
    for (order_id, kind) in [
        ("order-0001", "error_before_commit"),
        ("order-0002", "error_after_commit"),
    ] {
        toss.fault(json!({
            "on": "billing", "kind": kind, "status": 503, "code": "COMMON_ERROR", "recorded": false,
        }))
        .await;
        refused(keyed(toss.charge(order_id), order_id), 503, "COMMON_ERROR").await;
        let (status, payment) = reply(keyed(toss.charge(order_id), order_id)).await;
        assert_eq!((status, &payment["status"]), (200, &json!("DONE")));
        assert_eq!(toss.charges(order_id).await, 1);
    }
}

#[tokio::test]
async fn a_request_is_said_to_be_processing_to_order() {
    let toss = Toss::start().await;
    toss.fault(json!({ "on": "billing", "kind": "still_processing", "times": 2 }))
        .await;
    for _ in 0..2 {
        refused(
            keyed(toss.charge("order-0001"), "once"),
            409,
            "IDEMPOTENT_REQUEST_PROCESSING",
        )
        .await;
    }
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
}

#[tokio::test]
async fn a_session_expires_to_order() {
    let toss = Toss::start().await;
    let key = toss.check_out("order-0001").await;
    toss.fault(json!({ "on": "confirm", "kind": "expired_session" }))
        .await;
    for _ in 0..2 {
        refused(
            toss.confirm(&key, "order-0001"),
            404,
            "NOT_FOUND_PAYMENT_SESSION",
        )
        .await;
    }
    assert_eq!(reply(toss.lookup(&key)).await.1["status"], "EXPIRED");
}

#[tokio::test]
async fn a_lookup_can_fail_too() {
    let toss = Toss::start().await;
    assert_eq!(reply(toss.charge("order-0001")).await.0, 200);
    toss.fault(json!({ "on": "lookup", "kind": "error_before_commit", "status": 502 }))
        .await;
    toss.fault(json!({ "on": "lookup", "kind": "close_after_commit" }))
        .await;
    let lookup = || toss.lookup("orders/order-0001");
    assert_eq!(reply(lookup()).await.0, 502);
    assert!(lookup().send().await.is_err());
    assert_eq!(reply(lookup()).await.0, 200);
}

#[tokio::test]
async fn network_faults_meet_repeats_and_faults_of_the_work_wait_for_work() {
    let toss = Toss::start().await;
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
    toss.fault(json!({ "on": "billing", "kind": "decline" }))
        .await;
    toss.fault(json!({ "on": "billing", "kind": "close_after_commit" }))
        .await;
    let repeat = || keyed(toss.charge("order-0001"), "once");
    assert!(repeat().send().await.is_err());
    assert_eq!(reply(repeat()).await.0, 200);
    refused(toss.charge("order-0002"), 403, "REJECT_CARD_COMPANY").await;
}

#[tokio::test]
async fn rules_are_tried_in_order_and_only_where_they_fit() {
    let toss = Toss::start().await;
    let script = json!({ "faults": [
        { "on": "billing", "kind": "decline", "code": "FDS_ERROR", "orderId": "order-0002" },
        { "on": "billing", "kind": "decline", "code": "REJECT_CARD_PAYMENT",
          "billingKey": "billing-3" },
        { "on": "cancel", "kind": "decline", "code": "NOT_CANCELABLE_PAYMENT",
          "billingKey": "billing-1" },
    ] });
    toss.control("faults", &script).await;

    let (status, payment) = reply(toss.charge("order-0001")).await;
    assert_eq!(status, 200);
    refused(toss.charge("order-0002"), 403, "FDS_ERROR").await;
    assert_eq!(reply(toss.charge("order-0002")).await.0, 200);
    refused(
        toss.charge_key("billing-3", "order-0003"),
        403,
        "REJECT_CARD_PAYMENT",
    )
    .await;
    let key = text(&payment["paymentKey"]);
    refused(toss.cancel(&key, None), 403, "NOT_CANCELABLE_PAYMENT").await;
    assert_eq!(reply(toss.cancel(&key, None)).await.0, 200);
    assert_eq!(toss.show("faults").await["faults"], json!([]));
}

#[tokio::test]
async fn dice_fall_the_same_way_for_the_same_seed() {
    let toss = Toss::start().await;
    let script = json!({
        "faults": [{ "on": "billing", "kind": "decline", "probability": 0.5 }],
        "seed": 7,
    });
    let mut runs = Vec::new();
    for _ in 0..2 {
        toss.control("reset", &json!({})).await;
        toss.control("faults", &script).await;
        let mut statuses = Vec::new();
        for order in 0..40 {
            statuses.push(reply(toss.charge(&format!("order-{order:04}"))).await.0);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    let declined = runs[0].iter().filter(|status| **status == 403).count();
    assert!((5..=35).contains(&declined), "{declined}");
    assert_eq!(toss.show("faults").await["faults"][0]["fired"], declined);
}

#[tokio::test]
async fn a_script_that_cannot_be_meant_is_refused_as_a_whole() {
    let toss = Toss::start().await;
    let good = json!({ "on": "billing", "kind": "close_after_commit" });
    for bad in [
        json!({ "on": "billing", "kind": "delay" }),
        json!({ "on": "billing", "kind": "delay", "ms": 600_001 }),
        json!({ "on": "billing", "kind": "expired_session" }),
        json!({ "on": "lookup", "kind": "still_processing" }),
        json!({ "on": "lookup", "kind": "commit_later", "ms": 1 }),
        json!({ "on": "billing", "kind": "commit_later" }),
        json!({ "on": "billing", "kind": "error_after_commit", "status": 429 }),
        json!({ "on": "billing", "kind": "error_before_commit", "status": 404 }),
        json!({ "on": "billing", "kind": "decline", "orderid": "order-0001" }),
        json!({ "on": "billing", "kind": "decline", "times": 0 }),
        json!({ "on": "billing", "kind": "decline", "probability": 1.5 }),
        json!({ "on": "refund", "kind": "decline" }),
    ] {
        let script = json!({ "faults": [good, bad] });
        let request = toss.http.post(toss.url("/sandbox/faults")).json(&script);
        refused(request, 400, "INVALID_REQUEST").await;
    }
    assert_eq!(toss.show("faults").await["faults"], json!([]));
}

#[tokio::test]
async fn a_reset_forgets_everything_and_what_was_under_way_stays_out() {
    let toss = Toss::start().await;
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
    toss.fault(json!({ "on": "billing", "kind": "delay", "ms": LONG_MS }))
        .await;
    let stale = send(toss.charge("order-0002"));
    toss.until_last_request(|entry| entry["fault"] == "delay")
        .await;

    toss.control("reset", &json!({})).await;
    assert!(stale.await.unwrap().is_err());
    assert_eq!(toss.show("books").await["payments"], json!([]));
    assert_eq!(toss.show("requests").await["requests"], json!([]));
    assert_eq!(reply(keyed(toss.charge("order-0001"), "once")).await.0, 200);
}

#[tokio::test]
async fn the_record_holds_no_secrets() {
    let toss = Toss::start().await;
    reply(keyed(
        toss.charge_key("billing-secret", "order-0001"),
        "once",
    ))
    .await;
    let record = toss.show("requests").await;
    assert!(!record.to_string().contains("billing-secret"));
    assert!(!record.to_string().contains("test_sk"));
    let entry = &record["requests"][0];
    assert_eq!(entry["method"], "POST");
    assert_eq!(entry["path"], "/v1/billing/***");
    assert_eq!(entry["orderId"], "order-0001");
    assert_eq!(entry["idempotencyKey"], "once");
    assert_eq!(entry["status"], 200);
}

// Webhooks

/// A shop that hears webhooks: it answers with the statuses it was given, then with 200.
struct Shop {
    url: String,
    heard: mpsc::UnboundedReceiver<Value>,
    server: JoinHandle<()>,
}

impl Shop {
    async fn open(failures: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/payments", listener.local_addr().unwrap());
        let (tell, heard) = mpsc::unbounded_channel();
        let failures_left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(failures));
        let hear = move |Json(event): Json<Value>| async move {
            tell.send(event).unwrap();
            let order = std::sync::atomic::Ordering::SeqCst;
            match failures_left.fetch_update(order, order, |left| left.checked_sub(1)) {
                Ok(_) => StatusCode::ACCEPTED,
                Err(_) => StatusCode::OK,
            }
        };
        let app = Router::new().route("/payments", post(hear));
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, heard, server }
    }

    async fn hears(&mut self) -> Value {
        let event = timeout(Duration::from_secs(20), self.heard.recv()).await;
        event.unwrap().unwrap()
    }

    async fn hears_statuses(&mut self, count: usize) -> Vec<String> {
        let mut statuses = Vec::new();
        for _ in 0..count {
            statuses.push(text(&self.hears().await["data"]["status"]));
        }
        statuses
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Toss {
    /// Once nothing is pending any more.
    async fn webhook_counts(&self) -> Value {
        until(async || {
            let counts = self.show("webhook").await["counts"].clone();
            (counts["pending"] == 0).then_some(counts)
        })
        .await
    }
}

#[tokio::test]
async fn the_shop_hears_of_every_change_in_order() {
    let mut shop = Shop::open(0).await;
    let toss = Toss::start_with(Settings {
        webhook_url: Some(shop.url.clone()),
        ..Settings::default()
    })
    .await;
    let key = toss.check_out("order-0001").await;
    reply(toss.confirm(&key, "order-0001")).await;
    reply(toss.cancel(&key, Some(800))).await;
    let (_, last) = reply(toss.cancel(&key, None)).await;

    let statuses = shop.hears_statuses(3).await;
    assert_eq!(statuses, ["IN_PROGRESS", "DONE", "PARTIAL_CANCELED"]);
    let event = shop.hears().await;
    assert_eq!(event["eventType"], "PAYMENT_STATUS_CHANGED");
    assert_eq!(event["data"], last);
    let created_at = event["createdAt"].as_str().unwrap();
    assert_eq!(created_at.len(), "2026-11-20T10:01:00.000000".len());

    let lost = toss.check_out("order-0002").await;
    toss.control("clock", &json!({ "advance_s": 600 })).await;
    let statuses = shop.hears_statuses(2).await;
    assert_eq!(statuses, ["IN_PROGRESS", "EXPIRED"]);
    assert_eq!(reply(toss.lookup(&lost)).await.1["status"], "EXPIRED");
    assert_eq!(toss.webhook_counts().await["delivered"], 6);
}

#[tokio::test]
async fn anything_but_a_200_is_tried_again() {
    let mut shop = Shop::open(2).await;
    let toss = Toss::start().await;
    toss.set_webhook(json!({ "url": shop.url, "minute_ms": 1 }))
        .await;
    reply(toss.charge("order-0001")).await;
    let events = [shop.hears().await, shop.hears().await, shop.hears().await];
    assert_eq!(events[0], events[1]);
    assert_eq!(events[1], events[2]);
    let counts = toss.webhook_counts().await;
    assert_eq!(counts["delivered"], 1);
    assert_eq!(counts["failed_attempts"], 2);
}

#[tokio::test]
async fn seven_retries_are_the_last() {
    let mut shop = Shop::open(usize::MAX).await;
    let toss = Toss::start().await;
    toss.set_webhook(json!({ "url": shop.url, "minute_ms": 0 }))
        .await;
    reply(toss.charge("order-0001")).await;
    assert_eq!(shop.hears_statuses(8).await, ["DONE"; 8]);
    let counts = toss.webhook_counts().await;
    assert_eq!(counts["failed_attempts"], 8);
    assert_eq!(counts["given_up"], 1);
}

#[tokio::test]
async fn webhooks_come_twice_and_out_of_order_to_order() {
    let mut shop = Shop::open(0).await;
    let toss = Toss::start().await;
    toss.set_webhook(json!({ "url": shop.url, "duplicate": true }))
        .await;
    let (_, payment) = reply(toss.charge("order-0001")).await;
    assert_eq!(shop.hears_statuses(2).await, ["DONE", "DONE"]);
    assert_eq!(toss.webhook_counts().await["delivered"], 2);

    toss.set_webhook(json!({ "url": shop.url, "shuffle": true }))
        .await;
    let key = text(&payment["paymentKey"]);
    // Eight changes fill a batch, so that it leaves without waiting for its time.
    for _ in 0..7 {
        assert_eq!(reply(toss.cancel(&key, Some(1))).await.0, 200);
    }
    reply(toss.cancel(&key, None)).await;
    let mut balances = Vec::new();
    for _ in 0..8 {
        let event = shop.hears().await;
        balances.push(event["data"]["balanceAmount"].as_u64().unwrap());
    }
    let expected = [0, 25_793, 25_794, 25_795, 25_796, 25_797, 25_798, 25_799];
    assert_eq!(balances.len(), expected.len());
    let mut sorted = balances.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_ne!(balances, sorted.into_iter().rev().collect::<Vec<_>>());
}

// The process

#[test]
fn the_binary_says_one_line_and_stops_on_sigterm() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_payment-sandbox"))
        .env("PAYMENT_SANDBOX_PORT", "0")
        .env_remove("TOSS_WEBHOOK_URL")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(process.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    let port = line
        .trim_end()
        .strip_prefix("payment-sandbox listening on http://127.0.0.1:")
        .unwrap();
    assert!(port.parse::<u16>().unwrap() > 0);

    let killed = Command::new("kill")
        .args(["-TERM", &process.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    assert!(process.wait().unwrap().success());
    let mut rest = String::new();
    stdout.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "");
}
