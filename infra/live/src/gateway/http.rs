//! Doors for requests: to the HTTP API, and from the functions back to the viewers.

use std::sync::Arc;

use axum::Router;
use axum::body::{self, Body};
use axum::extract::{Request, State};
use axum::http::uri::Uri;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::sync::Semaphore;

/// What one door lets through.
pub struct Limits {
    /// The largest body.
    pub body_bytes: usize,
    /// Requests inside at once; the others wait here.
    pub inside: usize,
    /// The words a body that is too large is answered with.
    pub too_large: &'static str,
    /// The type of that error, where an SDK looks for one.
    pub error_type: Option<&'static str>,
}

/// The HTTP API. Behind each request is a process of its own, and a laptop has few cores.
pub const HTTP_API: Limits = Limits {
    body_bytes: 10 * 1024 * 1024,
    inside: 8,
    too_large: "Request Entity Too Large",
    error_type: None,
};

/// `@connections`. A full room posts more than the emulator can take: unbounded, it would answer nobody else in time.
pub const CALLBACKS: Limits = Limits {
    body_bytes: 128 * 1024,
    inside: 4,
    too_large: "Payload Too Large",
    error_type: Some("PayloadTooLargeException"),
};

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
    limits: Limits,
}

/// Forwards every request to the same path below `behind`.
pub fn router(behind: &str, limits: Limits) -> Router {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let door = Door {
        behind: behind.to_owned(),
        client,
        inside: Semaphore::new(limits.inside),
        limits,
    };
    Router::new().fallback(forward).with_state(Arc::new(door))
}

async fn forward(State(door): State<Arc<Door>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let Ok(uri) = format!("{}{path}", door.behind).parse::<Uri>() else {
        return answer(StatusCode::BAD_REQUEST, "Bad Request");
    };
    let Ok(body) = body::to_bytes(body, door.limits.body_bytes).await else {
        let mut refusal = answer(StatusCode::PAYLOAD_TOO_LARGE, door.limits.too_large);
        if let Some(error_type) = door.limits.error_type {
            let value = HeaderValue::from_static(error_type);
            refusal.headers_mut().insert("x-amzn-errortype", value);
        }
        return refusal;
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
