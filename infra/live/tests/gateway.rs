//! The limits of API Gateway, which the emulator does not have, hold at the front gateway.

use std::collections::BTreeMap;
use std::path::PathBuf;

use axum::extract::ws::{Message as Received, WebSocketUpgrade};
use axum::extract::{Query, Request};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Router, body};
use futures::{SinkExt, StreamExt};
use onepool_live::aws::Aws;
use onepool_live::config::{Config, Show};
use onepool_live::deploy::Stack;
use onepool_live::gateway::{self, Gateway};
use tokio::net::TcpListener;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

const FRAME: usize = 32 * 1024;

/// Stands for the emulator: says what reached it, echoes what it is sent, refuses whom it is told to refuse.
async fn behind() -> Aws {
    let router = Router::new()
        .route("/_aws/execute-api/room/live", get(echo))
        .route("/_aws/execute-api/shop/$default/{*path}", any(mirror));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Aws::new(&endpoint)
}

async fn echo(
    Query(query): Query<BTreeMap<String, String>>,
    upgrade: WebSocketUpgrade,
) -> Response {
    match query.get("token").map(String::as_str) {
        Some("none") => StatusCode::UNAUTHORIZED.into_response(),
        Some("other") => StatusCode::FORBIDDEN.into_response(),
        _ => upgrade.on_upgrade(|mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if let Received::Text(text) = message {
                    let _sent = socket
                        .send(Received::Text(text.len().to_string().into()))
                        .await;
                }
            }
        }),
    }
}

async fn mirror(uri: Uri, request: Request) -> String {
    let body = body::to_bytes(request.into_body(), usize::MAX)
        .await
        .expect("a body");
    format!("{uri} {}", body.len())
}

async fn open() -> Gateway {
    let outputs = [("HttpApiId", "shop"), ("WebSocketApiId", "room")];
    let outputs = outputs
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let config = Config {
        root: PathBuf::new(),
        dir: PathBuf::new(),
        binaries: PathBuf::new(),
        machine: Vec::new(),
        aws_endpoint: None,
        toss_base_url: None,
        toss_secret_key: String::new(),
        channels: BTreeMap::new(),
        credentials: BTreeMap::new(),
        own_store_marketplace: "cafe24".into(),
        http_port: 0,
        websocket_port: 0,
        show: Show::No,
        shows: 1,
        until_stdin_closes: false,
    };
    let stack = Stack {
        outputs,
        queues: BTreeMap::new(),
    };
    gateway::open(&config, &behind().await, &stack)
        .await
        .expect("it opens")
}

/// What comes back for `messages`: the echoed length, or the close code.
async fn answer(url: &str, messages: Vec<Message>) -> Result<usize, u16> {
    let (mut socket, _handshake) = connect_async(url).await.expect("it connects");
    for message in messages {
        // A refused message may close the line while the rest of it is still being sent.
        let _sent = socket.send(message).await;
    }
    loop {
        match socket
            .next()
            .await
            .expect("an answer")
            .expect("a readable answer")
        {
            Message::Text(length) => return Ok(length.parse().expect("a length")),
            Message::Close(frame) => return Err(frame.expect("a reason").code.into()),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}

/// A message of `length` bytes in frames as large as they may be.
fn in_frames(length: usize) -> Vec<Message> {
    let count = length.div_ceil(FRAME);
    let frame = |index: usize| {
        let kind = if index == 0 {
            Data::Text
        } else {
            Data::Continue
        };
        let payload = vec![b'a'; FRAME.min(length - index * FRAME)];
        Message::Frame(Frame::message(
            payload,
            OpCode::Data(kind),
            index + 1 == count,
        ))
    };
    (0..count).map(frame).collect()
}

#[tokio::test]
async fn messages_and_frames_have_their_limits() {
    let gateway = open().await;
    let url = gateway.websocket.as_str();
    assert_eq!(
        answer(url, vec![Message::text("a".repeat(FRAME))]).await,
        Ok(FRAME)
    );
    assert_eq!(
        answer(url, vec![Message::text("a".repeat(FRAME + 1))]).await,
        Err(1009)
    );
    assert_eq!(answer(url, in_frames(4 * FRAME)).await, Ok(4 * FRAME));
    assert_eq!(answer(url, in_frames(4 * FRAME + 1)).await, Err(1009));
    assert_eq!(answer(url, vec![Message::binary(vec![1])]).await, Err(1003));
}

#[tokio::test]
async fn a_refused_handshake_keeps_its_status() {
    let gateway = open().await;
    for (token, status) in [("none", 401), ("other", 403)] {
        let refused = connect_async(format!("{}?token={token}", gateway.websocket)).await;
        let Err(Error::Http(response)) = refused else {
            panic!("{token} was let in")
        };
        assert_eq!(response.status(), status);
    }
}

#[tokio::test]
async fn requests_keep_their_path_and_have_a_limit() {
    let gateway = open().await;
    let http = reqwest::Client::new();
    let place = format!("{}/orders/a%20b?x=1&y=%2F", gateway.http);
    for (length, status) in [(10 * 1024 * 1024, 200), (10 * 1024 * 1024 + 1, 413)] {
        let response = http
            .post(&place)
            .body(vec![0; length])
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), status);
        if status == 200 {
            let text = response.text().await.expect("a body");
            assert_eq!(
                text,
                format!("/_aws/execute-api/shop/$default/orders/a%20b?x=1&y=%2F {length}")
            );
        }
    }
}

#[tokio::test]
async fn a_message_to_a_viewer_has_a_limit() {
    let callbacks = gateway::callbacks(&behind().await).await.expect("it opens");
    let http = reqwest::Client::new();
    let place = format!("{}/shop/$default/@connections/id", callbacks.url);
    for (length, status) in [(128 * 1024, 200), (128 * 1024 + 1, 413)] {
        let response = http
            .post(&place)
            .body(vec![0; length])
            .send()
            .await
            .expect("an answer");
        assert_eq!(response.status(), status);
        let error_type = response
            .headers()
            .get("x-amzn-errortype")
            .map(|value| value.as_bytes());
        assert_eq!(
            error_type,
            (status == 413).then_some(&b"PayloadTooLargeException"[..])
        );
    }
}
