//! Answers as Coupang writes them. `code` is a number in lists, a text in acknowledgements, and a word elsewhere.

use axum::http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;

/// 200 with a word for a code.
pub(super) fn success(message: &str, data: Option<&Value>) -> Answer {
    let mut body = json!({ "code": "SUCCESS", "message": message });
    if let Some(data) = data {
        body["data"] = data.clone();
    }
    Answer::ok(&body)
}

/// 200 with a number for a code: lists, and single sheets.
pub(super) fn found(data: &Value, next_token: Option<&str>) -> Answer {
    let mut body = json!({ "code": 200, "message": "OK", "data": data });
    if let Some(token) = next_token {
        body["nextToken"] = json!(token);
    }
    Answer::ok(&body)
}

/// 200 with a text for a code: what changes sheets.
pub(super) fn changed(data: &Value) -> Answer {
    Answer::ok(&json!({ "code": "200", "message": "OK", "data": data }))
}

pub(super) fn error(status: StatusCode, message: &str) -> Answer {
    Answer::json(status, &json!({ "code": "ERROR", "message": message }))
}

pub(super) fn bad(message: &str) -> Answer {
    error(StatusCode::BAD_REQUEST, message)
}

/// The list calls name their code by its number when they refuse.
pub(super) fn bad_list(message: &str) -> Answer {
    Answer::json(
        StatusCode::BAD_REQUEST,
        &json!({ "code": 400, "message": message }),
    )
}

/// Who is calling could not be told.
pub(super) fn unauthorized(message: &str, transaction: u64) -> Answer {
    Answer::json(
        StatusCode::UNAUTHORIZED,
        &json!({
            "code": "ERROR",
            "message": message,
            "transactionId": format!("00000000-0000-4000-8000-{transaction:012x}"),
        }),
    )
}

/// A path or a method that no provider has.
pub(super) fn precondition(message: &str) -> Answer {
    Answer::json(
        StatusCode::PRECONDITION_FAILED,
        &json!({ "code": "PRECONDITION_FAILED", "message": message }),
    )
}

/// What the edge in front of everything answers: no JSON.
pub(super) fn access_denied(reference: u64) -> Answer {
    Answer::new(
        StatusCode::FORBIDDEN,
        "text/html",
        format!(
            "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY><H1>Access Denied</H1>\
             You don't have permission to access this server.<P>Reference #18.{reference:x}</BODY></HTML>"
        ),
    )
}

/// Money as version 5 of the order sheets writes it.
pub(super) fn won(units: u64) -> Value {
    json!({ "currencyCode": "KRW", "units": units, "nanos": 0 })
}
