//! The deployed local stack: the same template, the same binaries, separate processes, reached as a client reaches them.

mod channels;
mod room_client;
mod viewer;

use futures::{SinkExt, StreamExt};
use onepool_tests::{AsyncApi, PATIENCE, Stack, onepool_live, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio_tungstenite::{connect_async, tungstenite::Message};
use viewer::Viewer;

#[tokio::test]
async fn every_show_ends_with_books_buyers_and_screens_agreeing() {
    let folder = std::env::temp_dir().join(format!("onepool-shows-{}", std::process::id()));
    let shows = onepool_live()
        .env("SHOW", "only")
        .env("SHOWS", "3")
        .env("ONEPOOL_DIR", &folder)
        .output()
        .await
        .expect("it runs");
    let told = String::from_utf8_lossy(&shows.stdout);
    assert!(
        shows.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&shows.stderr)
    );
    drop(std::fs::remove_dir_all(&folder));
}

#[tokio::test]
async fn the_contract_holds_over_the_wire() {
    let stack = Stack::start("contract").await;
    let written = AsyncApi::read();
    a_viewer_sees_and_hears_what_the_poll_says(&stack, &written).await;
    viewer::all_that_is_heard_is_written(&stack, &written).await;
    room_client::who_was_cut_off_hears_everything_once(&stack, &written).await;
    refusals_have_the_contracts_shape(&stack).await;
    nobody_unknown_gets_a_socket(&stack).await;
    a_host_puts_a_viewer_out(&stack).await;
    an_order_is_paid_later_taken_back_and_the_gateway_is_heard(&stack).await;
    // One waits for a queue's patience to end, and neither has to do with the other.
    tokio::join!(
        a_message_that_is_not_ours_is_parked_for_a_person(&stack),
        channels::what_one_channel_sells_all_the_others_show(&stack),
    );
    stack.stop().await;
}

async fn a_viewer_sees_and_hears_what_the_poll_says(stack: &Stack, written: &AsyncApi) {
    let broadcast = stack.show("apple", 10).await;
    let mut viewer = Viewer::enter(stack, written, &broadcast).await;
    let init = viewer.hears("init").await;
    assert_eq!(
        (
            &init["broadcast"]["status"],
            &init["products"][0]["remaining"]
        ),
        (&json!("live"), &json!(10))
    );

    let order = json!({
        "lines": [{ "product_id": "apple", "quantity": 3 }],
        "payment": { "method": "billing_key", "billing_key": "bk_demo", "customer_key": "ck_demo" },
    });
    let path = format!("/broadcasts/{broadcast}/orders");
    let (status, _, receipt) = stack
        .call(
            Method::POST,
            &path,
            Some("viewer"),
            Some("k-1"),
            Some(order.to_string()),
        )
        .await;
    assert_eq!(
        (status, &receipt["status"], &receipt["amount"]),
        (202, &json!("accepted"), &json!(59_700))
    );
    let (_, _, again) = stack
        .call(
            Method::POST,
            &path,
            Some("viewer"),
            Some("k-1"),
            Some(order.to_string()),
        )
        .await;
    assert_eq!(again["order_id"], receipt["order_id"]);

    let result = viewer.hears("order_result").await;
    assert_eq!(viewer.hears("inventory_update").await["remaining"], 7);
    let poll = format!("/orders/{}", receipt["order_id"].as_str().expect("an id"));
    let (status, _, polled) = stack
        .call(Method::GET, &poll, Some("viewer"), None, None)
        .await;
    assert_eq!((status, &polled["status"]), (200, &json!("confirmed")));
    for (field, value) in polled.as_object().expect("an object") {
        assert_eq!(&result[field], value, "push and poll differ in {field}");
    }
    let product = stack
        .must(
            Method::GET,
            "/products/apple",
            "operator",
            None,
            Value::Null,
        )
        .await;
    assert_eq!(
        (&product["stock"]["sold"], &product["stock"]["held"]),
        (&json!(3), &json!(0))
    );
}

async fn refusals_have_the_contracts_shape(stack: &Stack) {
    let broadcast = stack.show("pear", 5).await;
    let orders = format!("/broadcasts/{broadcast}/orders");
    let order = |quantity: Value| {
        let payment =
            json!({ "method": "billing_key", "billing_key": "bk_demo", "customer_key": "ck_demo" });
        Some(json!({ "lines": [{ "product_id": "pear", "quantity": quantity }], "payment": payment }).to_string())
    };
    let start = format!("/broadcasts/{broadcast}/start");
    let viewer = Some("viewer");
    let cases = [
        (
            Method::POST,
            orders.as_str(),
            None,
            Some("k"),
            order(json!(1)),
            401,
            "unauthenticated",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            None,
            order(json!(1)),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            Some("{".into()),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            order(json!("1")),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            order(json!(0)),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            order(json!(-1)),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            order(json!(1_000_000)),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            Some(" ".repeat(70_000)),
            400,
            "invalid_request",
        ),
        (
            Method::POST,
            &orders,
            viewer,
            Some("k"),
            order(json!(6)),
            409,
            "sold_out",
        ),
        (
            Method::POST,
            "/broadcasts/nowhere/orders",
            viewer,
            Some("k"),
            order(json!(1)),
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/orders/nothing",
            viewer,
            None,
            None,
            404,
            "not_found",
        ),
        (
            Method::GET,
            "/products/pear",
            viewer,
            None,
            None,
            403,
            "forbidden",
        ),
        (Method::POST, &start, viewer, None, None, 403, "forbidden"),
        (
            Method::GET,
            "/products/nothing",
            Some("operator"),
            None,
            None,
            404,
            "not_found",
        ),
    ];
    for (method, path, role, key, body, status, code) in cases {
        let told = body
            .as_deref()
            .map(|body| body.chars().take(60).collect::<String>());
        let answer = stack.call(method.clone(), path, role, key, body).await;
        assert_eq!(
            (answer.0, answer.2["code"].as_str()),
            (status, Some(code)),
            "{method} {path} {told:?}: {}",
            answer.2
        );
        assert!(
            answer.1.starts_with("application/problem+json"),
            "{method} {path}: {}",
            answer.1
        );
        assert_eq!(answer.2["status"], status);
        assert!(answer.2["detail"].is_string());
    }
    let product = stack
        .must(Method::GET, "/products/pear", "operator", None, Value::Null)
        .await;
    assert_eq!(
        (&product["stock"]["sold"], &product["stock"]["held"]),
        (&json!(0), &json!(0)),
        "a refusal moved stock"
    );
}

async fn nobody_unknown_gets_a_socket(stack: &Stack) {
    let broadcast = stack.show("plum", 5).await;
    for (token, broadcast, status) in [
        ("nonsense", broadcast.as_str(), 401),
        ("", &broadcast, 401),
        (stack.token("viewer"), "nowhere", 404),
    ] {
        match connect_async(stack.socket_url(token, broadcast)).await {
            Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
                assert_eq!(answer.status().as_u16(), status)
            }
            other => panic!("{token:?} was answered with {other:?}"),
        }
    }
}

async fn a_host_puts_a_viewer_out(stack: &Stack) {
    let broadcast = stack.show("persimmon", 5).await;
    let url = stack.socket_url(stack.token("viewer"), &broadcast);
    let (mut socket, _) = connect_async(&url).await.expect("connects");
    for message in [
        json!({ "type": "join" }),
        json!({ "type": "chat", "message": "제 번호 010-1234-5678" }),
    ] {
        let sent = socket.send(Message::text(message.to_string())).await;
        sent.expect("sends");
    }
    let room = format!("/broadcasts/{broadcast}");
    let chat = wait_for("the message in the room", async || {
        let (_, _, room) = stack
            .call(Method::GET, &room, Some("viewer"), None, None)
            .await;
        room["recent_chat"].get(0).cloned()
    })
    .await;
    assert_eq!(chat["message"], "제 번호 ***-****-****");
    let moderation = format!("{room}/moderation");
    let moderate = async |action: &str| {
        let body = json!({ "action": action, "user_id": chat["user_id"] });
        stack
            .must(Method::POST, &moderation, "broadcaster", None, body)
            .await
    };
    moderate("ban").await;
    let closed = async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, closed).await;
    in_time.expect("the socket is closed");
    match connect_async(&url).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            assert_eq!(answer.status().as_u16(), 403);
        }
        other => panic!("who is banned was answered with {other:?}"),
    }
    moderate("unban").await;
    connect_async(&url).await.expect("connects again");
}

async fn an_order_is_paid_later_taken_back_and_the_gateway_is_heard(stack: &Stack) {
    let broadcast = stack.show("quince", 3).await;
    let post = async |path: &str, role: Option<&str>, key: &str, body: Value| {
        let body = Some(body.to_string());
        let (status, _, answer) = stack.call(Method::POST, path, role, Some(key), body).await;
        (status, answer)
    };
    let order = json!({
        "lines": [{ "product_id": "quince", "quantity": 1 }], "payment": { "method": "widget" },
    });
    let path = format!("/broadcasts/{broadcast}/orders");
    let (status, receipt) = post(&path, Some("viewer"), "later", order).await;
    assert_eq!(status, 202, "{receipt}");
    let id = receipt["order_id"].as_str().expect("an id");
    let settled = async |wanted: &str| {
        wait_for(wanted, async || {
            let path = format!("/orders/{id}");
            let viewer = Some("viewer");
            let (_, _, view) = stack.call(Method::GET, &path, viewer, None, None).await;
            (view["status"] == wanted).then_some(view)
        })
        .await
    };
    settled("reserved").await;

    let payments = stack.local["payments"].as_str().expect("an address");
    let checkout = json!({ "orderId": id, "amount": receipt["amount"] });
    let opened = stack
        .http
        .post(format!("{payments}/sandbox/checkouts"))
        .json(&checkout)
        .send()
        .await
        .expect("the sandbox answers");
    let opened: Value = opened.json().await.expect("JSON");
    let payment = json!({ "payment_key": opened["paymentKey"], "amount": receipt["amount"] });
    let (pay, cancel) = (
        format!("/orders/{id}/payment"),
        format!("/orders/{id}/cancel"),
    );
    assert_eq!(post(&pay, Some("viewer"), "pay", payment).await.0, 202);
    settled("confirmed").await;
    assert_eq!(
        post(&cancel, Some("operator"), "back", Value::Null).await.0,
        202
    );
    let failed = settled("failed").await;
    assert_eq!(failed["reason"], "cancelled");
    wait_for("the money", async || {
        let path = format!("/orders/{id}");
        let viewer = Some("viewer");
        let (_, _, view) = stack.call(Method::GET, &path, viewer, None, None).await;
        view["payment"]["refunded_at"].is_string().then_some(())
    })
    .await;

    // The gateway told of each change, and was heard each time.
    wait_for("the webhooks", async || {
        let told = stack.http.get(format!("{payments}/sandbox/webhook")).send();
        let told: Value = told.await.ok()?.json().await.ok()?;
        let counts = &told["counts"];
        assert_eq!(counts["failed_attempts"], 0, "{counts}");
        (counts["pending"] == 0 && counts["delivered"].as_u64() >= Some(2)).then_some(())
    })
    .await;
    let garbage = post("/payments/webhook", None, "-", json!("garbage")).await;
    assert_eq!(
        (garbage.0, &garbage.1["code"]),
        (400, &json!("invalid_request"))
    );

    let (status, _, trace) = stack
        .call(
            Method::GET,
            "/products/quince/trace?limit=1",
            Some("operator"),
            None,
            None,
        )
        .await;
    assert_eq!((status, &trace["changes"][0]["sold"]), (200, &json!(-1)));
}

async fn a_message_that_is_not_ours_is_parked_for_a_person(stack: &Stack) {
    let url = |queue: &str| stack.local["stack"][queue].as_str().expect("a queue");
    let (orders, dead) = (url("OrdersQueueUrl"), url("OrdersDeadLetterQueueUrl"));
    let parked = url("OrdersParkedQueueUrl");
    let attributes = async |queue: &str, names: Value| {
        let ask = json!({ "QueueUrl": queue, "AttributeNames": names });
        stack.sqs("GetQueueAttributes", ask).await["Attributes"].clone()
    };
    // The receives of the template, at its visibility, would take hours.
    let parked_arn = attributes(parked, json!(["QueueArn"])).await["QueueArn"].clone();
    let soon = json!({ "deadLetterTargetArn": parked_arn, "maxReceiveCount": 2 }).to_string();
    for (queue, quick) in [
        (orders, json!({ "VisibilityTimeout": "1" })),
        (
            dead,
            json!({ "VisibilityTimeout": "1", "RedrivePolicy": soon }),
        ),
    ] {
        let set = json!({ "QueueUrl": queue, "Attributes": quick });
        stack.sqs("SetQueueAttributes", set).await;
    }
    let foreign = json!({ "QueueUrl": orders, "MessageBody": "not one of ours" });
    stack.sqs("SendMessage", foreign).await;
    wait_for("the parked message", async || {
        let counts = attributes(parked, json!(["ApproximateNumberOfMessages"])).await;
        (counts["ApproximateNumberOfMessages"] == "1").then_some(())
    })
    .await;
}
