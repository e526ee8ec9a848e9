//! What is the same for every marketplace: faults, the record, the clock, loads. Shown with Coupang, which has the
//! simplest calls.
#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on has failed, and the panic says where"
)]

mod wing;

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::wing::{ITEM, START, Wing, item, reply, text, vendor};

/// Longer than any test may take: a hold of this length ends by release or not at all.
const LONG_MS: u64 = 600_000;

impl Wing {
    async fn fault(&self, rule: Value) {
        self.control("faults", json!({ "faults": [rule] })).await;
    }

    /// The last recorded request, once it fits.
    async fn until_last_request(&self, fits: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let requests = self.show("requests").await;
                let last = requests["requests"].as_array().unwrap().last().cloned();
                if let Some(last) = last.filter(|last| fits(last)) {
                    return last;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap()
    }

    /// Ends all holds and delays under way.
    async fn release(&self) {
        let request = self.http.delete(self.url("/sandbox/faults"));
        assert_eq!(reply(request).await.0, 200);
    }

    /// The write of a quantity, whose answer does not come.
    async fn lost_write(&self, quantity: u64) {
        let path = item(&format!("quantities/{quantity}"));
        let sent = self.signed(Method::PUT, &path, "").send().await;
        assert!(sent.is_err(), "{sent:?}");
    }
}

#[tokio::test]
async fn a_fault_is_met_once_and_only_by_what_it_is_about() {
    let wing = Wing::start().await;
    wing.fault(json!({ "on": "quantity", "kind": "error_before_commit", "itemId": "1" }))
        .await;
    wing.fault(json!({ "on": "quantity", "kind": "error_before_commit", "itemId": ITEM }))
        .await;

    let (status, body) = wing.set_quantity(7).await;
    assert_eq!((status, &body["code"]), (500, &json!("ERROR")));
    assert_eq!(wing.stock().await, 10);

    assert_eq!(wing.set_quantity(7).await.0, 200);
    assert_eq!(wing.stock().await, 7);
    let rules = wing.show("faults").await;
    assert_eq!(rules["faults"].as_array().unwrap().len(), 1);
    assert_eq!(rules["faults"][0]["itemId"], "1");
}

#[tokio::test]
async fn too_many_calls_may_be_told_when_to_ask_again() {
    let wing = Wing::start().await;
    for (retry_after_s, said) in [(json!(30), Some("30")), (Value::Null, None)] {
        let rule =
            json!({ "on": "quantity", "kind": "rate_limited", "retryAfterS": retry_after_s });
        wing.fault(rule).await;
        let write = wing.signed(Method::PUT, &item("quantities/7"), "");
        let answer = write.send().await.unwrap();
        assert_eq!(answer.status(), 429);
        let header = answer.headers().get("retry-after");
        assert_eq!(header.map(|value| value.to_str().unwrap()), said);
        assert_eq!(wing.stock().await, 10);
    }
}

#[tokio::test]
async fn errors_after_the_commit_hide_work_that_was_done() {
    let wing = Wing::start().await;
    wing.fault(json!({ "on": "quantity", "kind": "error_after_commit", "status": 504 }))
        .await;
    let (status, body) = wing.set_quantity(7).await;
    assert_eq!(status, 504);
    assert!(text(&body["message"]).starts_with("Request timed out"));
    assert_eq!(wing.stock().await, 7);

    wing.fault(json!({ "on": "quantity", "kind": "close_after_commit" }))
        .await;
    wing.lost_write(6).await;
    assert_eq!(wing.stock().await, 6);

    wing.fault(json!({ "on": "quantity", "kind": "close_before_commit" }))
        .await;
    wing.lost_write(5).await;
    assert_eq!(wing.stock().await, 6);
}

#[tokio::test]
async fn a_held_request_is_cut_when_the_faults_are_cleared() {
    let wing = Wing::start().await;
    for (kind, left) in [("timeout_before_commit", 10), ("timeout_after_commit", 7)] {
        wing.fault(json!({ "on": "quantity", "kind": kind, "ms": LONG_MS }))
            .await;
        let ends = async {
            let held = wing
                .until_last_request(|last| last["outcome"] == "running")
                .await;
            assert_eq!(held["fault"], kind);
            wing.release().await;
        };
        tokio::join!(wing.lost_write(7), ends);
        assert_eq!(wing.stock().await, left);
    }
    let last = wing
        .until_last_request(|last| last["outcome"] == "cut")
        .await;
    assert_eq!(last["status"], Value::Null);
}

#[tokio::test]
async fn a_write_that_is_done_late_overtakes_a_newer_one() {
    let wing = Wing::start().await;
    wing.fault(json!({ "on": "quantity", "kind": "commit_later", "ms": LONG_MS }))
        .await;
    wing.lost_write(3).await;
    assert_eq!(wing.set_quantity(8).await.0, 200);
    assert_eq!(wing.stock().await, 8);

    wing.release().await;
    let requests = wing.until_late_write_is_done().await;
    assert_eq!(wing.stock().await, 3);
    // Arrived first, done last.
    let (first, second) = (&requests[0], &requests[1]);
    assert!(first["number"].as_u64() < second["number"].as_u64());
    assert!(first["done"].as_u64() > second["done"].as_u64());
    assert_eq!(
        first["stock"],
        json!([{ "item": ITEM, "from": 8, "to": 3 }])
    );
}

impl Wing {
    async fn until_late_write_is_done(&self) -> Value {
        let wait = async {
            loop {
                let requests = self.show("requests").await["requests"].clone();
                if !requests[0]["done"].is_null() {
                    return requests;
                }
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap()
    }
}

#[tokio::test]
async fn a_delayed_request_is_worked_on_when_it_is_let_go() {
    let wing = Wing::start().await;
    wing.fault(json!({ "on": "quantity", "kind": "delay", "ms": LONG_MS }))
        .await;
    let lets_go = async {
        wing.until_last_request(|last| last["fault"] == "delay")
            .await;
        assert_eq!(wing.stock().await, 10);
        wing.release().await;
    };
    let ((status, _), ()) = tokio::join!(wing.set_quantity(4), lets_go);
    assert_eq!(status, 200);
    assert_eq!(wing.stock().await, 4);
}

#[tokio::test]
async fn garbage_comes_in_place_of_the_answer() {
    let wing = Wing::start().await;
    wing.fault(json!({ "on": "quantity", "kind": "garbage_after_commit" }))
        .await;
    wing.fault(json!({
        "on": "quantity", "kind": "garbage_before_commit", "status": 502,
        "contentType": "application/json", "body": "{\"code\":",
    }))
    .await;

    let path = item("quantities/7");
    let first = wing.signed(Method::PUT, &path, "").send().await.unwrap();
    assert_eq!(first.status(), 200);
    assert_eq!(first.headers()["content-type"], "text/html");
    assert!(first.text().await.unwrap().contains("502 Bad Gateway"));
    assert_eq!(wing.stock().await, 7);

    let path = item("quantities/6");
    let second = wing.signed(Method::PUT, &path, "").send().await.unwrap();
    assert_eq!(second.status(), 502);
    assert_eq!(second.headers()["content-type"], "application/json");
    assert_eq!(second.text().await.unwrap(), "{\"code\":");
    assert_eq!(wing.stock().await, 7);
}

#[tokio::test]
async fn a_buyer_is_faster_than_the_next_write() {
    let wing = Wing::start().await;
    let lines = json!([{ "optionId": ITEM, "quantity": 4 }]);
    wing.fault(json!({ "on": "quantity", "kind": "order_before", "order": { "lines": lines } }))
        .await;
    assert_eq!(wing.set_quantity(10).await.0, 200);

    // The absolute number wrote over the sale.
    assert_eq!(wing.stock().await, 10);
    let last = wing
        .until_last_request(|last| !last["done"].is_null())
        .await;
    assert_eq!(
        last["stock"],
        json!([{ "item": ITEM, "from": 6, "to": 10 }])
    );
    let order = text(&last["before"]["orderId"]);
    let orders = wing.show("orders").await;
    assert_eq!(orders["orders"][0]["orderId"], order.as_str());

    // And a buyer may change his mind right before the seller takes note.
    let sheet = orders["orders"][0]["lines"][0]["shipmentBoxId"].clone();
    wing.fault(json!({
        "on": "acknowledge", "kind": "cancel_before", "cancel": { "orderId": order },
    }))
    .await;
    let body = json!({
        "vendorId": "A00012345",
        "shipmentBoxIds": [sheet.as_str().unwrap().parse::<u64>().unwrap()],
    });
    let path = format!("{}/ordersheets/acknowledgement", vendor("v4"));
    let (status, body) = wing.send(Method::PUT, &path, &body).await;
    assert_eq!((status, &body["data"]["responseCode"]), (200, &json!(99)));
}

#[tokio::test]
async fn dice_fall_the_same_way_for_the_same_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let wing = Wing::start().await;
        let rule = json!({ "on": "quantity", "kind": "error_before_commit", "probability": 0.5 });
        wing.control("faults", json!({ "faults": [rule], "seed": 7 }))
            .await;
        let mut statuses = Vec::new();
        for quantity in 0..20 {
            statuses.push(wing.set_quantity(quantity).await.0);
        }
        runs.push(statuses);
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].contains(&200) && runs[0].contains(&500));
}

#[tokio::test]
async fn an_unfit_rule_is_refused_whole() {
    let wing = Wing::start().await;
    let good = json!({ "on": "quantity", "kind": "rate_limited" });
    for bad in [
        json!({ "on": "no_such_call", "kind": "delay", "ms": 1 }),
        json!({ "on": "quantity", "kind": "delay" }),
        json!({ "on": "quantity", "kind": "error_before_commit", "status": 404 }),
        json!({ "on": "quantity", "kind": "rate_limited", "times": 0 }),
        json!({ "on": "quantity", "kind": "order_before" }),
        json!({ "on": "quantity", "kind": "rate_limited", "item": ITEM }),
    ] {
        let script = json!({ "faults": [good, bad] });
        let (status, body) = wing.try_control("faults", script).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!("INVALID_REQUEST")),
            "{bad}"
        );
    }
    assert_eq!(wing.show("faults").await["faults"], json!([]));
}

#[tokio::test]
async fn the_record_tells_what_was_asked_and_hides_what_is_secret() {
    let wing = Wing::start().await;
    wing.set_quantity(7).await;
    let query = "createdAtFrom=2026-01-01%2B09:00&createdAtTo=2026-01-01%2B09:00&status=ACCEPT";
    wing.get(&format!("{}/ordersheets", vendor("v5")), query)
        .await;

    let requests = wing.show("requests").await;
    let requests = requests["requests"].as_array().unwrap();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0]["at"], "2026-01-01T09:00:00.000+09:00");
    assert_eq!(requests[0]["method"], "PUT");
    assert_eq!(requests[0]["path"], item("quantities/7"));
    assert_eq!(requests[0]["items"], json!([ITEM]));
    assert_eq!(requests[0]["status"], 200);
    assert_eq!(requests[0]["outcome"], "answered");
    assert_eq!(requests[1]["query"], query);
    let headers = requests[0]["headers"].as_array().unwrap();
    assert!(headers.contains(&json!(["authorization", "CEA ***"])));
    assert!(headers.contains(&json!(["x-requested-by", "A00012345"])));

    let rest = wing.show("requests?after=1").await;
    assert_eq!(rest["requests"].as_array().unwrap().len(), 1);
    assert_eq!(rest["dropped"], 0);
}

#[tokio::test]
async fn the_clock_stands_goes_on_and_is_set() {
    let wing = Wing::start().await;
    let start = json!("2026-01-01T09:00:00.000+09:00");
    assert_eq!(wing.show("clock").await["now"], start);
    assert_eq!(wing.show("clock").await["now"], start);

    let moved = wing
        .control("clock", json!({ "advance_s": 60, "advance_ms": 5 }))
        .await;
    assert_eq!(moved["now"], "2026-01-01T09:01:00.005+09:00");

    wing.control("clock", json!({ "freeze": false })).await;
    let now = wing.show("clock").await["now"].clone();
    timeout(Duration::from_secs(20), async {
        while wing.show("clock").await["now"] == now {}
    })
    .await
    .unwrap();

    let (status, _) = wing
        .try_control("clock", json!({ "set": "tomorrow" }))
        .await;
    assert_eq!(status, 400);
    let (status, _) = wing
        .try_control("clock", json!({ "set": "2096-01-01T00:00:00Z" }))
        .await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_load_of_orders_stops_when_it_is_sold_out() {
    let wing = Wing::start().await;
    wing.set_quantity(5_000).await;
    let lines = json!([{ "optionId": ITEM, "quantity": 1 }]);
    let load = wing
        .control("orders", json!({ "lines": lines, "count": 6_000 }))
        .await;
    assert_eq!(load["placed"], 5_000);
    assert_eq!(load["refused"]["code"], "IMPOSSIBLE");
    assert_eq!(load["orders"].as_array().unwrap().len(), 5_000);
    assert_eq!(wing.stock().await, 0);

    let (status, body) = wing.try_control("orders", json!({ "lines": lines })).await;
    assert_eq!((status, &body["code"]), (409, &json!("IMPOSSIBLE")));
}

#[tokio::test]
async fn a_reset_forgets_everything_and_cuts_what_is_held() {
    let wing = Wing::start().await;
    wing.order(1).await;
    wing.fault(json!({ "on": "quantity", "kind": "delay", "ms": LONG_MS }))
        .await;
    let resets = async {
        wing.until_last_request(|last| last["fault"] == "delay")
            .await;
        wing.control("reset", json!({})).await;
    };
    tokio::join!(wing.lost_write(7), resets);
    assert_eq!(wing.show("orders").await["orders"], json!([]));
    assert_eq!(wing.show("items").await["items"], json!([]));
    assert_eq!(wing.show("settings").await["rate"], 10);
    assert_ne!(wing.show("clock").await["now"], START);
}

#[tokio::test]
async fn the_listeners_are_worlds_of_their_own() {
    let wing = Wing::start().await;
    let urls = [
        wing.marketplaces.smartstore(),
        wing.marketplaces.elevenst(),
        wing.marketplaces.ownstore(),
    ];
    for url in urls {
        let items = reply(wing.http.get(format!("{url}/sandbox/items"))).await.1;
        assert_eq!(items["items"], json!([]));
        let clock = reply(wing.http.get(format!("{url}/sandbox/clock"))).await.1;
        assert!(!text(&clock["now"]).starts_with("2026-01-01T09:00:00"));
    }
}

/// The process as it is run: four lines when it listens, and it ends when it is asked to.
#[tokio::test]
async fn the_process_says_where_it_listens_and_stops_when_it_is_told() {
    let mut process = Command::new(env!("CARGO_BIN_EXE_onepool-marketplaces"))
        .env("MARKETPLACES_SMARTSTORE_PORT", "0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    for name in ["smartstore", "coupang", "elevenst", "ownstore"] {
        let line = lines.next().unwrap().unwrap();
        let (said, url) = line.split_once(" listening on ").unwrap();
        assert_eq!(said, name);
        let (status, _) = reply(Client::new().get(format!("{url}/sandbox/items"))).await;
        assert_eq!(status, 200);
    }
    let killed = Command::new("kill").arg(process.id().to_string()).status();
    assert!(killed.unwrap().success());
    assert!(process.wait().unwrap().success());
    assert!(lines.next().is_none());
}
