//! How the Admin API says yes and no, and how it writes money and time.

use axum::http::StatusCode;
use serde_json::{Value, json};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use crate::{answer::Answer, clock::written};

const ZONED: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+09:00");
const UNZONED: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]");
const DAY: StaticFormatDescription = format_description!("[year][month][day]");

/// Why something was not done. The code repeats the HTTP status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct No {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl No {
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
        }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    pub(crate) fn unfit(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, message)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("There is no such {what}."))
    }

    /// What is written says what is there already.
    pub(crate) fn same() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "The same content has been written already.",
        )
    }

    pub(crate) fn answer(&self) -> Answer {
        let body = json!({
            "error": {
                "code": self.status.as_u16(),
                "message": self.message,
                "more_info": {},
            },
        });
        Answer::json(self.status, &body)
    }
}

impl From<No> for Answer {
    fn from(no: No) -> Self {
        no.answer()
    }
}

/// Amounts are strings with two decimals, though won has none.
pub(crate) fn amount(won: i64) -> String {
    format!("{won}.00")
}

/// An amount as a caller may write it: a string or a number, and no part of a won.
pub(crate) fn won(value: &Value) -> Option<u64> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (whole, part) = text.split_once('.').unwrap_or((&text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let fits = digits(whole) && digits(part) && part.bytes().all(|byte| byte == b'0');
    fits.then(|| whole.parse().ok())
        .flatten()
        .filter(|won| *won <= 2_147_483_647)
}

/// The times of orders.
pub(crate) fn zoned(at: OffsetDateTime) -> String {
    written(at, ZONED)
}

/// The times of tokens: in Korea, and without saying so.
pub(crate) fn unzoned(at: OffsetDateTime) -> String {
    written(at, UNZONED)
}

/// `yyyyMMdd`, with which order ids begin.
pub(crate) fn day(at: OffsetDateTime) -> String {
    written(at, DAY)
}

/// T or F.
pub(crate) fn flag(is: bool) -> &'static str {
    if is { "T" } else { "F" }
}
