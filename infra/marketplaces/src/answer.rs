//! Refusals of the control API, and what goes back over the wire.

use axum::http::StatusCode;
pub(crate) use fakes::answer::Answer;
use fakes::control::Invalid;
use serde_json::{Value, json};

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

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::json(refusal.status, &refusal.show())
    }
}

impl From<Invalid> for Refusal {
    fn from(Invalid(why): Invalid) -> Self {
        Self::invalid(why)
    }
}
