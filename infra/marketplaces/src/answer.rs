//! What goes back over the wire, and refusals of the control API.

use axum::{
    body::Bytes,
    http::{HeaderName, HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// JSON as every marketplace that speaks it writes it.
pub(crate) const JSON: &str = "application/json;charset=UTF-8";

/// An HTTP response that is not sent yet. The body is bytes: not every marketplace writes UTF-8.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    content_type: HeaderValue,
    headers: Vec<(HeaderName, HeaderValue)>,
    pub(crate) body: Bytes,
}

impl Answer {
    /// A body of any kind. A content type that cannot be a header is left out.
    pub(crate) fn new(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: HeaderValue::from_str(content_type)
                .unwrap_or_else(|_| HeaderValue::from_static("")),
            headers: Vec::new(),
            body: body.into(),
        }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status, JSON, body.to_string())
    }

    pub(crate) fn ok(body: &Value) -> Self {
        Self::json(StatusCode::OK, body)
    }

    /// The same answer with one header more. A value that cannot be in a header is left out.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.push((HeaderName::from_static(name), value));
        }
        self
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

/// Why the control API did not do something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// The body makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            code: "INVALID_REQUEST",
            message: message.into(),
        }
    }

    /// It names something that is not there.
    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            code: "NOT_FOUND",
            message: format!("There is no {what} {id}."),
        }
    }

    /// A buyer could not do this either: sold out, not on sale, too late to cancel.
    pub(crate) fn impossible(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::CONFLICT,
            code: "IMPOSSIBLE",
            message: message.into(),
        }
    }

    /// As an order that was to be placed by a fault shows it.
    pub(crate) fn show(&self) -> Value {
        json!({ "code": self.code, "message": self.message })
    }
}

impl From<Result<Value, Refusal>> for Answer {
    fn from(outcome: Result<Value, Refusal>) -> Self {
        match outcome {
            Ok(body) => Self::ok(&body),
            Err(refusal) => Self::json(refusal.status, &refusal.show()),
        }
    }
}
