//! The WebSocket API.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{self, protocol};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::WEBSOCKET_STAGE;

/// The largest message API Gateway takes, in frames of at most [`FRAME_BYTES_MAX`].
const MESSAGE_BYTES_MAX: usize = 128 * 1024;
/// The largest frame API Gateway takes.
const FRAME_BYTES_MAX: usize = 32 * 1024;
/// Handshakes inside at once: each runs the $connect function.
const HANDSHAKES_INSIDE_MAX: usize = 4;
/// How long a client that broke a limit may take to read why.
const GOODBYE: Duration = Duration::from_secs(1);

const TOO_BIG: u16 = 1009;
const UNSUPPORTED: u16 = 1003;
const GOING_AWAY: u16 = 1001;

type Upstream = WebSocketStream<MaybeTlsStream<TcpStream>>;

struct Door {
    behind: String,
    inside: Semaphore,
}

/// Forwards each connection to `behind`, with its query and headers.
pub fn router(behind: &str) -> Router {
    let door = Door {
        behind: behind.to_owned(),
        inside: Semaphore::new(HANDSHAKES_INSIDE_MAX),
    };
    Router::new()
        .route(&format!("/{WEBSOCKET_STAGE}"), get(enter))
        .fallback(forbidden)
        .with_state(Arc::new(door))
}

/// There is no other stage.
async fn forbidden() -> Response {
    refuse(StatusCode::FORBIDDEN)
}

/// As API Gateway words it.
fn refuse(status: StatusCode) -> Response {
    let message = status.canonical_reason().unwrap_or_default();
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        format!("{{\"message\":\"{message}\"}}"),
    )
        .into_response()
}

/// Asks the function first: its refusal has to reach the client as the status of the handshake.
async fn enter(
    State(door): State<Arc<Door>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let url = query.map_or_else(
        || door.behind.clone(),
        |query| format!("{}?{query}", door.behind),
    );
    let Ok(mut request) = url.into_client_request() else {
        return refuse(StatusCode::BAD_REQUEST);
    };
    for (name, value) in &headers {
        let of_this_handshake = [header::HOST, header::CONNECTION, header::UPGRADE].contains(name)
            || name.as_str().starts_with("sec-websocket");
        if !of_this_handshake {
            request.headers_mut().append(name, value.clone());
        }
    }
    let Ok(_inside) = door.inside.acquire().await else {
        return refuse(StatusCode::SERVICE_UNAVAILABLE);
    };
    match connect_async(request).await {
        Ok((upstream, _handshake)) => upgrade
            .max_message_size(MESSAGE_BYTES_MAX)
            .max_frame_size(FRAME_BYTES_MAX)
            .on_upgrade(move |client| relay(client, upstream)),
        Err(tungstenite::Error::Http(refusal)) => refuse(refusal.status()),
        Err(_unreachable) => refuse(StatusCode::BAD_GATEWAY),
    }
}

async fn relay(client: WebSocket, upstream: Upstream) {
    let (mut to_client, mut from_client) = client.split();
    let (mut to_upstream, mut from_upstream) = upstream.split();
    loop {
        tokio::select! {
            sent = from_client.next() => match sent {
                Some(Ok(Message::Text(text))) => {
                    if to_upstream.send(tungstenite::Message::text(text.as_str())).await.is_err() {
                        break;
                    }
                }
                Some(Ok(Message::Binary(_bytes))) => {
                    let _gone = to_upstream.send(closing(UNSUPPORTED, "binary")).await;
                    return turn_away(&mut to_client, UNSUPPORTED, "Binary is not supported").await;
                }
                // Answered by the library, as API Gateway answers them by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1005, String::new()), |frame| (frame.code, frame.reason.to_string()));
                    let _gone = to_upstream.send(closing(code, &reason)).await;
                    return;
                }
                Some(Err(error)) => {
                    if !is_too_big(error) {
                        // The line broke: the function learns it as an abnormal end.
                        let _gone = to_upstream.send(closing(GOING_AWAY, "connection lost")).await;
                        return;
                    }
                    let _gone = to_upstream.send(closing(TOO_BIG, "too big")).await;
                    return turn_away(&mut to_client, TOO_BIG, "Message too big").await;
                }
                None => return,
            },
            received = from_upstream.next() => match received {
                Some(Ok(tungstenite::Message::Text(text))) => {
                    if to_client.send(Message::text(text.as_str())).await.is_err() {
                        let _gone = to_upstream.send(closing(GOING_AWAY, "connection lost")).await;
                        return;
                    }
                }
                Some(Ok(tungstenite::Message::Binary(bytes))) => {
                    if to_client.send(Message::Binary(bytes)).await.is_err() {
                        break;
                    }
                }
                Some(Ok(tungstenite::Message::Ping(_) | tungstenite::Message::Pong(_) | tungstenite::Message::Frame(_))) => {}
                Some(Ok(tungstenite::Message::Close(frame))) => {
                    let (code, reason) = frame.map_or((1000, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
                    return turn_away(&mut to_client, code, &reason).await;
                }
                Some(Err(_)) | None => return turn_away(&mut to_client, GOING_AWAY, "").await,
            },
        }
    }
}

/// Says why, and leaves the client the time to read it.
async fn turn_away(to_client: &mut (impl SinkExt<Message> + Unpin), code: u16, reason: &str) {
    let frame = CloseFrame {
        code,
        reason: reason.into(),
    };
    if to_client.send(Message::Close(Some(frame))).await.is_ok() {
        tokio::time::sleep(GOODBYE).await;
    }
}

fn closing(code: u16, reason: &str) -> tungstenite::Message {
    // 1005 stands for a close without a code and must not be sent.
    let frame = (code != 1005).then(|| protocol::CloseFrame {
        code: code.into(),
        reason: reason.into(),
    });
    tungstenite::Message::Close(frame)
}

fn is_too_big(error: axum::Error) -> bool {
    let inner = error.into_inner();
    matches!(
        inner.downcast_ref::<tungstenite::Error>(),
        Some(tungstenite::Error::Capacity(_))
    )
}
