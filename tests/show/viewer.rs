//! A viewer at the WebSocket of the stack. All it is sent, and all it says in earnest, is held against `infra/asyncapi.yaml`.

use std::collections::BTreeSet;

use futures::{SinkExt, StreamExt};
use onepool_tests::{AsyncApi, PATIENCE, Stack};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

pub struct Viewer<'a> {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    written: &'a AsyncApi,
    events: Vec<Value>,
    seq: u64,
}

impl<'a> Viewer<'a> {
    /// Connects and joins.
    pub async fn enter(stack: &Stack, written: &'a AsyncApi, broadcast: &str) -> Self {
        Self::join(stack, written, broadcast, json!({ "type": "join" })).await
    }

    async fn join(stack: &Stack, written: &'a AsyncApi, broadcast: &str, join: Value) -> Self {
        let (socket, _) = connect_async(stack.socket_url(stack.token("viewer"), broadcast))
            .await
            .expect("connects");
        let mut viewer = Self {
            socket,
            written,
            events: Vec::new(),
            seq: 0,
        };
        viewer.says(join).await;
        viewer
    }

    /// Says what is written.
    pub async fn says(&mut self, message: Value) {
        let kind = message["type"].as_str().expect("a type");
        let pointer = format!("/components/messages/{kind}/payload");
        if let Err(why) = self.written.check(&pointer, &message) {
            panic!("{message} is not what is written: {why}");
        }
        self.blurts(&message.to_string()).await;
    }

    /// Says anything.
    async fn blurts(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.expect("sends");
    }

    /// The latest event of a kind; waits for it if there is none.
    pub async fn hears(&mut self, kind: &str) -> Value {
        self.hears_that(kind, |_| true).await
    }

    /// The latest such event of a kind; waits for it if there is none.
    pub async fn hears_that(&mut self, kind: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        let it = |event: &&Value| event["type"] == kind && is_it(event);
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            if let Some(event) = self.events.iter().rev().find(it) {
                return event.clone();
            }
            let message = tokio::time::timeout_at(deadline, self.socket.next()).await;
            let message = message
                .unwrap_or_else(|_| panic!("waited in vain for {kind}"))
                .expect("the socket is open")
                .expect("a message");
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                self.written.must_be_a_frame(&frame);
                self.seq = self.seq.max(frame["seq"].as_u64().expect("a number"));
                self.events
                    .extend(frame["events"].as_array().expect("events").clone());
            }
        }
    }
}

/// Everything that a room can say today is said, and is as it is written.
pub async fn all_that_is_heard_is_written(stack: &Stack, written: &AsyncApi) {
    let broadcast = stack.show("fig", 10).await;
    let mut viewer = Viewer::enter(stack, written, &broadcast).await;
    viewer.hears("init").await;
    viewer
        .says(json!({ "type": "chat", "message": "<b>굵게</b>" }))
        .await;
    viewer.says(json!({ "type": "like", "count": 3 })).await;
    viewer.says(json!({ "type": "ping" })).await;
    let too_long = json!({ "type": "chat", "message": "가".repeat(201) });
    viewer.blurts(&too_long.to_string()).await;
    for kind in ["chat", "like_count", "viewer_count", "pong", "error"] {
        viewer.hears(kind).await;
    }

    let orders = format!("/broadcasts/{broadcast}/orders");
    for (card, status) in [("decline_1", "failed"), ("bk_demo", "confirmed")] {
        let order = json!({
            "lines": [{ "product_id": "fig", "quantity": 1 }],
            "payment": { "method": "billing_key", "billing_key": card, "customer_key": "ck_demo" },
        });
        stack
            .must(Method::POST, &orders, "viewer", Some(card), order)
            .await;
        viewer
            .hears_that("order_result", |order| order["status"] == status)
            .await;
    }
    viewer.hears("inventory_update").await;
    let product = format!("/broadcasts/{broadcast}/products/fig");
    for (change, kind) in [
        (json!({ "live_price": 17_900 }), "product_spotlight"),
        (json!({ "paused": true }), "product_closed"),
    ] {
        let key = format!("fig-{kind}");
        stack
            .must(Method::PATCH, &product, "broadcaster", Some(&key), change)
            .await;
        viewer.hears(kind).await;
    }

    let heard: BTreeSet<&str> = viewer
        .events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    for kind in written.events() {
        // The room of this show is not moderated, and a viewer reads in `init` when to leave.
        let is_said = !["moderation", "reconnect"].contains(&kind);
        assert!(heard.contains(kind) || !is_said, "{kind} was never heard");
    }

    let back = json!({ "type": "join", "last_seq": viewer.seq });
    let mut viewer = Viewer::join(stack, written, &broadcast, back).await;
    viewer
        .says(json!({ "type": "chat", "message": "again" }))
        .await;
    assert_eq!(viewer.hears("chat").await["message"], "again");
    assert!(
        viewer.events.iter().all(|event| event["type"] != "init"),
        "who comes back in time gets what was missed, not the room"
    );
}
