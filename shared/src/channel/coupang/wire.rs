//! What goes over the wire: signed calls, the vendor's one limit, and what refusals mean. Gateway, edge and services answer in
//! different ways: `code` is a number here and text there, and some refusals are HTML.

use std::time::Duration;

use reqwest::{
    Method, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER},
};
use serde::Deserialize;
use serde_json::Value;

use super::Coupang;
use crate::{
    channel::{
        Failure,
        call::{Answer, Effect, Terms},
        lenient::brief,
        quota::{Rate, Seen, Urgency},
    },
    clock,
};

/// What the vendor's calls are counted in: all of them together.
const BUCKET: &str = "vendor";
/// Ten a second and more are too many; half of it leaves room for what else calls with the vendor's name.
const RATE: Rate = Rate {
    per_second: 5.0,
    burst: 5,
};
/// A block is lifted minutes to tens of minutes after the calls have become fewer, and going on can make it permanent.
const BLOCKED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long the clocks are given to come together again.
const CLOCK_SKEW_FOR: Duration = Duration::from_secs(30);

/// One call.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// Path and query as they are sent: encoded, in the order they are signed in.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) body: Option<&'a Value>,
    pub(super) urgency: Urgency,
    pub(super) effect: Effect,
}

impl<'a> Call<'a> {
    pub(super) fn read(path: String, query: String, urgency: Urgency) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            body: None,
            urgency,
            effect: Effect::Read,
        }
    }

    pub(super) fn write(
        method: Method,
        path: String,
        body: Option<&'a Value>,
        urgency: Urgency,
    ) -> Self {
        Self {
            method,
            path,
            query: String::new(),
            body,
            urgency,
            effect: Effect::Write,
        }
    }
}

/// The envelope of every answer.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Envelope {
    #[serde(deserialize_with = "crate::channel::lenient::optional_text")]
    pub(super) code: Option<String>,
    #[serde(deserialize_with = "crate::channel::lenient::optional_text")]
    pub(super) message: Option<String>,
    #[serde(
        rename = "nextToken",
        deserialize_with = "crate::channel::lenient::optional_text"
    )]
    pub(super) next_token: Option<String>,
    pub(super) data: Value,
}

impl Coupang {
    /// Makes a call and opens its envelope. A `code` that says no is a refusal whatever the status.
    pub(super) async fn call(&self, call: Call<'_>) -> Result<Envelope, Failure> {
        let answer = self.send(&call).await?;
        if !answer.status.is_success() {
            return Err(refusal(&answer, call.effect));
        }
        let envelope = answer.json::<Envelope>(call.effect)?;
        if envelope.code.is_none() && envelope.data.is_null() {
            let text = String::from_utf8_lossy(&answer.body);
            let reason = "an envelope with neither code nor data";
            return Err(call.effect.unreadable(reason, &text));
        }
        match envelope.code.as_deref() {
            Some("200" | "SUCCESS" | "OK") | None => Ok(envelope),
            // Partly done is for who asked to sort out.
            Some("PARTIAL") => Ok(envelope),
            Some(code) if code.starts_with('5') => Err(call.effect.lost(reason(&answer))),
            Some(_) => Err(Failure::Refused(reason(&answer))),
        }
    }

    async fn send(&self, call: &Call<'_>) -> Result<Answer, Failure> {
        let query = match call.query.as_str() {
            "" => String::new(),
            query => format!("?{query}"),
        };
        let url = Url::parse(&self.caller.url(&format!("{}{query}", call.path)))
            .map_err(|error| Failure::Refused(error.to_string()))?;
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency: call.urgency,
            effect: call.effect,
        };
        let answer = self
            .caller
            .send(terms, |client| {
                // Signed is what the URL says after it was parsed, so what is sent and what is signed cannot differ.
                let authorization = self.signer.authorization(
                    clock::now(),
                    call.method.as_str(),
                    url.path(),
                    url.query().unwrap_or_default(),
                );
                let request = client
                    .request(call.method.clone(), url)
                    .header(AUTHORIZATION, authorization)
                    .header(CONTENT_TYPE, "application/json;charset=UTF-8")
                    .header("X-Requested-By", &self.vendor_id)
                    .header("X-MARKET", "KR");
                match call.body {
                    Some(body) => request.json(body),
                    None => request,
                }
            })
            .await?;
        if let Some(seen) = seen(&answer) {
            self.caller.observe(BUCKET, seen).await;
        }
        Ok(answer)
    }
}

/// What an answer says of the quota.
fn seen(answer: &Answer) -> Option<Seen> {
    if answer.status == StatusCode::TOO_MANY_REQUESTS || is_edge_block(answer) {
        return Some(Seen::Blocked(blocked_for(answer)));
    }
    // It warns near nine tenths of the limit: nothing is left for now.
    answer
        .headers
        .contains_key("X-CAG-Warnings")
        .then_some(Seen::Left {
            calls: 0,
            rate: None,
        })
}

fn blocked_for(answer: &Answer) -> Duration {
    // `Retry-After` is not documented. If it is there, it is not believed to be shorter than a minute.
    answer
        .number(RETRY_AFTER.as_str())
        .map_or(BLOCKED_FOR, |seconds| {
            Duration::from_secs(seconds.clamp(60, 24 * 60 * 60))
        })
}

/// Many failing calls make the edge in front of the gateway answer by itself, in HTML.
fn is_edge_block(answer: &Answer) -> bool {
    answer.status == StatusCode::FORBIDDEN
        && serde_json::from_slice::<Envelope>(&answer.body).is_err()
        && !names_the_address(&answer.body)
}

fn names_the_address(body: &[u8]) -> bool {
    String::from_utf8_lossy(body)
        .to_ascii_lowercase()
        .contains("not allowed ip")
}

/// What an answer that is no success means.
pub(super) fn refusal(answer: &Answer, effect: Effect) -> Failure {
    let reason = reason(answer);
    let later = |reason, after| Failure::Later {
        reason,
        after: Some(after),
    };
    match answer.status {
        // No matter of the next second: the vendor is blocked for minutes, and for good if it goes on all the same.
        StatusCode::TOO_MANY_REQUESTS => later(format!("blocked: {reason}"), blocked_for(answer)),
        StatusCode::FORBIDDEN if is_edge_block(answer) => {
            later("blocked at the edge: 403".to_owned(), blocked_for(answer))
        }
        // The clocks differ, or the call waited long on its way. The next attempt has a signature of its own.
        StatusCode::UNAUTHORIZED if reason.to_ascii_lowercase().contains("expired") => {
            later(format!("clock skew? {reason}"), CLOCK_SKEW_FOR)
        }
        // Of these 504 and 521 are overload within; what was asked may have been done.
        status => effect.failure(status, reason),
    }
}

/// Status, code and message. What is not the envelope is not quoted.
fn reason(answer: &Answer) -> String {
    let envelope = serde_json::from_slice::<Envelope>(&answer.body).unwrap_or_default();
    let words = [
        Some(answer.status.as_str().to_owned()),
        envelope.code,
        envelope.message,
        names_the_address(&answer.body).then(|| "address not allowed".to_owned()),
    ];
    brief(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderValue};

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn kind(failure: &Failure) -> &'static str {
        match failure {
            Failure::Refused(_) => "refused",
            Failure::Later { .. } => "later",
            Failure::Limited { .. } => "limited",
            Failure::Turn { .. } => "turn",
            Failure::Unreadable { .. } => "unreadable",
            Failure::Unknown(_) => "unknown",
            Failure::Credentials(_) => "credentials",
        }
    }

    const EDGE: &str =
        "<HTML><HEAD><TITLE>Access Denied</TITLE></HEAD><BODY>Reference #18.1</BODY></HTML>";

    #[test]
    fn every_failure_is_of_its_kind_and_a_write_that_may_have_happened_is_unknown() {
        let said = |message: &str| {
            format!(r#"{{"code":"ERROR","message":"{message}","transactionId":"t"}}"#)
        };
        for (status, body, read, write) in [
            (
                401,
                said("Invalid signature."),
                "credentials",
                "credentials",
            ),
            (
                401,
                said("HMAC format is invalid."),
                "credentials",
                "credentials",
            ),
            (
                401,
                said("Specified signature is expired."),
                "later",
                "later",
            ),
            (
                403,
                said("[FORBIDDEN] Not allowed IP"),
                "credentials",
                "credentials",
            ),
            (
                403,
                "<html>[FORBIDDEN] Not allowed IP</html>".to_owned(),
                "credentials",
                "credentials",
            ),
            (403, EDGE.to_owned(), "later", "later"),
            (429, said("Too Many Requests"), "later", "later"),
            (429, "<html></html>".to_owned(), "later", "later"),
            (400, said("vendoritemid 1 not found"), "refused", "refused"),
            (404, EDGE.to_owned(), "refused", "refused"),
            (410, said("retired"), "refused", "refused"),
            (412, said("PRECONDITION_FAILED"), "refused", "refused"),
            (500, said("oops"), "later", "unknown"),
            (504, said("Request timed out"), "later", "unknown"),
            (521, String::new(), "later", "unknown"),
        ] {
            let answer = answer(status, &body);
            assert_eq!(
                kind(&refusal(&answer, Effect::Read)),
                read,
                "{status} {body}"
            );
            assert_eq!(
                kind(&refusal(&answer, Effect::Write)),
                write,
                "{status} {body}"
            );
        }
    }

    #[test]
    fn a_code_is_read_as_a_number_and_as_text() {
        for body in [
            r#"{"code":200,"message":"OK","data":[],"nextToken":""}"#,
            r#"{"code":"200","message":"OK","data":null}"#,
        ] {
            let envelope: Envelope = serde_json::from_str(body).expect("an envelope");
            assert_eq!(envelope.code.as_deref(), Some("200"));
            assert_eq!(envelope.next_token, None);
        }
    }

    #[test]
    fn a_block_lasts_minutes_and_a_warning_stops_the_next_call() {
        assert_eq!(
            seen(&answer(429, "Too Many Requests")),
            Some(Seen::Blocked(BLOCKED_FOR))
        );
        assert_eq!(seen(&answer(403, EDGE)), Some(Seen::Blocked(BLOCKED_FOR)));
        let mut limited = answer(429, "");
        limited
            .headers
            .insert(RETRY_AFTER, HeaderValue::from_static("90"));
        assert_eq!(seen(&limited), Some(Seen::Blocked(Duration::from_secs(90))));
        let mut warned = answer(200, "{}");
        warned
            .headers
            .insert("x-cag-warnings", HeaderValue::from_static("90%"));
        assert_eq!(
            seen(&warned),
            Some(Seen::Left {
                calls: 0,
                rate: None
            })
        );
        assert_eq!(seen(&answer(200, "{}")), None);
    }
}
