//! The own store says that something was sold there: heard if it is signed, and it only wakes the pull.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use onepool::{
    channel::{
        shop::{ID, Key, Message, SIGNATURE, TIMESTAMP},
        wake::PullWake,
    },
    clock,
    config::Secret,
    http::{HttpEvent, hints::HintsApi},
};
use onepool_tests::{CHANNELS, Fault, Shop};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet};

use crate::{mall::Mall, stalls::OwnStore};

/// What the own store signs with.
pub(crate) const SECRET: &str = "whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=";
const PATH: &str = "/channels/ownstore/hint";
const ROUTE: &str = "POST /channels/{channel}/hint";

/// An address that the own store's hints go to, as long as this is there.
pub(crate) struct Address {
    pub(crate) url: String,
    /// What each was answered.
    pub(crate) answers: mpsc::UnboundedReceiver<u16>,
    _served: JoinSet<io::Result<()>>,
}

impl Address {
    /// Hands them to the function that hears them.
    pub(crate) async fn of(api: HintsApi) -> Self {
        type Heard = (Arc<HintsApi>, mpsc::UnboundedSender<u16>);
        async fn take(
            State((api, told)): State<Heard>,
            headers: HeaderMap,
            body: Bytes,
        ) -> StatusCode {
            let headers = headers
                .iter()
                .map(|(name, value)| {
                    let value = value.to_str().expect("text");
                    (name.as_str().to_owned(), value.to_owned())
                })
                .collect();
            let body = String::from_utf8(body.to_vec()).expect("text");
            let (status, _) = serve(&api, event("ownstore", &headers, &body)).await;
            // Not everybody asks.
            told.send(status).ok();
            StatusCode::from_u16(status).expect("a status")
        }
        let (told, answers) = mpsc::unbounded_channel();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let app = Router::new()
            .route(PATH, post(take))
            .with_state((Arc::new(api), told));
        let mut served = JoinSet::new();
        served.spawn(async move { axum::serve(listener, app).await });
        Self {
            url: format!("http://{address}{PATH}"),
            answers,
            _served: served,
        }
    }
}

fn event(channel: &str, headers: &HashMap<String, String>, body: &str) -> HttpEvent {
    let event = json!({
        "routeKey": ROUTE, "headers": headers, "pathParameters": { "channel": channel }, "body": body,
    });
    serde_json::from_value(event).expect("an event")
}

/// The headers of a hint that was signed with this secret, so long ago.
fn signed(secret: &str, target: &str, body: &str, ago_s: u64) -> HashMap<String, String> {
    let message = Message {
        id: "msg_1",
        method: "POST",
        target,
        body: body.as_bytes(),
    };
    let at = clock::now().before(Duration::from_secs(ago_s));
    let (timestamp, signature) = Key::new(&Secret::new(secret)).sign(message, at);
    [
        (ID, "msg_1".to_owned()),
        (TIMESTAMP, timestamp),
        (SIGNATURE, signature),
        ("accept-language", "en".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

async fn serve(api: &HintsApi, event: HttpEvent) -> (u16, Value) {
    let answer = api.serve(event).await;
    let body = serde_json::from_str(&answer.body).expect("JSON");
    (answer.status_code, body)
}

#[tokio::test]
async fn hints_that_come_together_are_one_pull_after_them() {
    let shop = Shop::open().await;
    let api = shop.hints(Some(SECRET));
    let body = r#"{"type":"orders.changed"}"#;
    for _ in 0..5 {
        let hint = event("ownstore", &signed(SECRET, PATH, body, 0), body);
        assert_eq!(
            serve(&api, hint).await,
            (202, json!({ "status": "queued", "channel": "ownstore" }))
        );
    }
    let wakes = shop.wire.take_messages("pulls");
    assert_eq!(wakes, [r#"{"channel":"ownstore"}"#]);
    let wake: PullWake = serde_json::from_str(&wakes[0]).expect("ours");
    assert_eq!(wake, PullWake::new("ownstore"));
}

#[tokio::test]
async fn what_is_not_signed_by_the_store_wakes_nobody() {
    let shop = Shop::open().await;
    let api = shop.hints(Some(SECRET));
    let body = "{}";
    let good = signed(SECRET, PATH, body, 0);
    let without = |name: &str| {
        let mut headers = good.clone();
        headers.remove(name);
        headers
    };
    for (headers, sent) in [
        (signed("whsec_AAAA", PATH, body, 0), body),
        (signed(SECRET, "/channels/coupang/hint", body, 0), body),
        (signed(SECRET, PATH, body, 400), body),
        (good.clone(), "{ }"),
        (without(ID), body),
        (without(TIMESTAMP), body),
        (without(SIGNATURE), body),
        (HashMap::new(), body),
    ] {
        let (status, problem) = serve(&api, event("ownstore", &headers, sent)).await;
        assert_eq!(
            (status, &problem["code"]),
            (401, &json!("unauthenticated")),
            "{headers:?}"
        );
        let detail = problem["detail"].as_str().expect("a sentence");
        assert!(
            detail.contains("signature") || detail.contains("서명"),
            "{detail}"
        );
    }
    for channel in ["coupang", "nobody"] {
        let (status, problem) = serve(&api, event(channel, &good, body)).await;
        assert_eq!((status, &problem["code"]), (404, &json!("not_found")));
    }
    let long = "x".repeat(4 * 1024 + 1);
    let headers = signed(SECRET, PATH, &long, 0);
    let (status, problem) = serve(&api, event("ownstore", &headers, &long)).await;
    assert_eq!((status, &problem["code"]), (400, &json!("invalid_request")));
    let cafe24 = shop.hints(None);
    assert_eq!(serve(&cafe24, event("ownstore", &good, body)).await.0, 404);
    assert!(shop.wire.take_messages("pulls").is_empty());
}

#[tokio::test]
async fn a_hint_that_the_queue_did_not_take_may_be_given_again_at_once() {
    let shop = Shop::open().await;
    let api = shop.hints(Some(SECRET));
    let hint = || event("ownstore", &signed(SECRET, PATH, "{}", 0), "{}");
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    assert_eq!(serve(&api, hint()).await.0, 503);
    assert_eq!(serve(&api, hint()).await.0, 202);
    assert_eq!(shop.wire.take_messages("pulls").len(), 1);
}

#[tokio::test]
async fn what_the_shop_of_the_protocol_sells_is_shown_before_its_schedule_comes() {
    let shared = json!({ "mode": "shared" });
    let mut mall = Mall::open_with(OwnStore::Plain, 50, shared).await;
    mall.hear_hints().await;
    mall.buy("ownstore", 3).await.expect("it is there");
    let hints = mall.hints.as_mut().expect("it is heard");
    assert_eq!(hints.answers.recv().await, Some(202));
    // Hints that come together are one pull, after them.
    mall.deliver().await;
    mall.pass(Duration::from_secs(2)).await;
    mall.deliver().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 47)));
}
