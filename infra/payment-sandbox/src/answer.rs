//! Answers as Toss writes them: a Payment object, or `{code, message}` with the code's HTTP status.

use axum::http::StatusCode;
pub(crate) use fakes::answer::Answer;
use fakes::control::Invalid;
use serde_json::json;

/// Codes with the status they come with. A code that is not here answers 400.
const STATUSES: &[(&str, u16)] = &[
    ("UNAUTHORIZED_KEY", 401),
    ("REJECT_CARD_PAYMENT", 403),
    ("REJECT_CARD_COMPANY", 403),
    ("REJECT_ACCOUNT_PAYMENT", 403),
    ("FORBIDDEN_REQUEST", 403),
    ("FORBIDDEN_CONSECUTIVE_REQUEST", 403),
    ("INCORRECT_BASIC_AUTH_FORMAT", 403),
    ("EXCEED_MAX_ONE_DAY_AMOUNT", 403),
    ("FDS_ERROR", 403),
    ("NOT_CANCELABLE_AMOUNT", 403),
    ("NOT_CANCELABLE_PAYMENT", 403),
    ("EXCEED_MAX_REFUND_DUE", 403),
    ("NOT_ALLOWED_PARTIAL_REFUND", 403),
    ("NOT_FOUND", 404),
    ("NOT_FOUND_PAYMENT", 404),
    ("NOT_FOUND_PAYMENT_SESSION", 404),
    ("IDEMPOTENT_REQUEST_PROCESSING", 409),
    ("COMMON_ERROR", 500),
    ("FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", 500),
    ("FAILED_INTERNAL_SYSTEM_PROCESSING", 500),
    ("FAILED_REFUND_PROCESS", 500),
    ("FAILED_PARTIAL_REFUND", 500),
    ("FAILED_METHOD_HANDLING_CANCEL", 500),
    ("UNKNOWN_PAYMENT_ERROR", 500),
];

/// Why something was not done, in Toss's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: String,
    pub(crate) message: String,
}

impl Refusal {
    pub(crate) fn new(code: &str, message: &str) -> Self {
        Self {
            code: code.to_owned(),
            message: message.to_owned(),
        }
    }

    pub(crate) fn invalid_request(message: &str) -> Self {
        Self::new("INVALID_REQUEST", message)
    }

    /// The card company said no, so the payment is over. Other errors say nothing about the card.
    pub(crate) fn is_by_the_card(&self) -> bool {
        const PREFIXES: [&str; 3] = ["REJECT_", "INVALID_CARD_", "EXCEED_MAX_"];
        const CODES: [&str; 3] = ["INVALID_STOPPED_CARD", "BELOW_MINIMUM_AMOUNT", "FDS_ERROR"];
        PREFIXES.iter().any(|prefix| self.code.starts_with(prefix))
            || CODES.contains(&self.code.as_str())
    }

    fn status(&self) -> StatusCode {
        STATUSES
            .iter()
            .find(|(code, _)| *code == self.code)
            .and_then(|(_, status)| StatusCode::from_u16(*status).ok())
            .unwrap_or(StatusCode::BAD_REQUEST)
    }

    /// With another status than its own.
    pub(crate) fn with(&self, status: StatusCode) -> Answer {
        Answer::json(
            status,
            &json!({ "code": self.code, "message": self.message }),
        )
    }
}

impl From<&Refusal> for Answer {
    fn from(refusal: &Refusal) -> Self {
        refusal.with(refusal.status())
    }
}

impl From<Refusal> for Answer {
    fn from(refusal: Refusal) -> Self {
        Self::from(&refusal)
    }
}

impl From<Invalid> for Refusal {
    fn from(Invalid(why): Invalid) -> Self {
        Self::invalid_request(&why)
    }
}
