//! The HTTP API.

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

/// The largest request API Gateway takes.
const BODY_BYTES_MAX: usize = 10 * 1024 * 1024;
/// Requests inside at once; the others wait here. Behind each is a process of its own, and a laptop has few cores.
const REQUESTS_INSIDE_MAX: usize = 24;
/// About this connection, not about the request.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
];

struct Door {
    behind: String,
    client: Client<HttpConnector, Body>,
    inside: Semaphore,
}

/// Forwards every request to the same path below `behind`.
pub fn router(behind: &str) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let door = Door {
        behind: behind.to_owned(),
        client,
        inside: Semaphore::new(REQUESTS_INSIDE_MAX),
    };
    Router::new().fallback(forward).with_state(Arc::new(door))
}

async fn forward(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("{}{path}", door.behind).parse::<Uri>() else {
        return answer(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let Ok(body) = body::to_bytes(body, BODY_BYTES_MAX).await else {
        return answer(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large");
    };
    parts.uri = uri;
    without_hop_by_hop(&mut parts.headers);
    parts.headers.remove(header::HOST);
    let Ok(_inside) = door.inside.acquire().await else {
        return answer(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable");
    };
    match door
        .client
        .request(Request::from_parts(parts, Body::from(body)))
        .await
    {
        Ok(response) => {
            let (mut parts, body) = response.into_parts();
            without_hop_by_hop(&mut parts.headers);
            Response::from_parts(parts, Body::new(body))
        }
        Err(_unreachable) => answer(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable"),
    }
}

fn without_hop_by_hop(headers: &mut HeaderMap) {
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

/// As API Gateway words its own refusals.
fn answer(status: StatusCode, message: &str) -> Response {
    let json = format!("{{\"message\":\"{message}\"}}");
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}
