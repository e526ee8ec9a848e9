//! What goes back over the wire.

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::Value;

/// JSON as every service that speaks it writes it.
const JSON: &str = "application/json;charset=UTF-8";

/// An HTTP response that is not sent yet. The body is bytes: not every service writes UTF-8, and a repeat is to be the same
/// to the byte.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: StatusCode,
    content_type: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    /// A body of any kind. A content type that cannot be a header is left out.
    pub fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: HeaderValue::from_str(content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// A body of JSON.
    #[must_use]
    pub fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    /// A body of JSON, and 200.
    #[must_use]
    pub fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// The same answer with one header more. A value that cannot be in a header is left out.
    #[must_use]
    pub fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
    }
}

/// What was asked for, or the service's refusal in its own words.
impl<R: Into<Self>> From<Result<Value, R>> for Answer {
    fn from(outcome: Result<Value, R>) -> Self {
        match outcome {
            Ok(body) => Self::ok(&body),
            Err(refusal) => refusal.into(),
        }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, self.content_type);
        for (name, value) in self.headers {
            headers.append(name, value);
        }
        response
    }
}
