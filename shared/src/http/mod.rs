//! HTTP: requests decoded, answers encoded, once for every function. What an order or a broadcast is stands elsewhere.

pub mod hints;
mod once;
pub mod orders;
pub mod payments;
pub mod studio;

use std::borrow::Cow;

use base64::Engine;
use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};

use crate::error::{Error, Language};

/// The largest body of a request, in bytes. An order of the most lines allowed has less than 4 KiB.
pub const MAX_BODY: usize = 64 * 1024;
/// The longest Idempotency-Key, in characters.
pub const MAX_IDEMPOTENCY_KEY: usize = 255;

/// What of an event of an HTTP API (payload 2.0) is read. The typed event of the events crate has thirty fields more, and
/// parsing them cost a tenth of an accept.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpEvent {
    /// Method and path pattern, as in the template.
    pub route_key: String,
    /// Headers.
    #[serde(default)]
    pub headers: Headers,
    /// A route without any comes without them, or with null.
    #[serde(default, deserialize_with = "null_is_none")]
    pub path_parameters: PathParameters,
    /// The body.
    #[serde(default)]
    pub body: Option<String>,
    /// Whether the body is Base64.
    #[serde(default)]
    pub is_base64_encoded: bool,
}

/// The headers that are read. Keeping the other dozen cost 25,000 instructions an order.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Headers {
    /// Whose request it is.
    pub authorization: Option<String>,
    /// Which request it is, however often it comes.
    pub idempotency_key: Option<String>,
    /// What the caller reads.
    pub accept_language: Option<String>,
    /// Which message it is, if its sender signs in the manner of Standard Webhooks.
    pub webhook_id: Option<String>,
    /// When that was signed, in seconds since 1970 UTC.
    pub webhook_timestamp: Option<String>,
    /// The signature.
    pub webhook_signature: Option<String>,
}

/// The parameters of the paths in the template.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct PathParameters {
    /// `{broadcast_id}`.
    pub broadcast_id: Option<String>,
    /// `{order_id}`.
    pub order_id: Option<String>,
    /// `{channel}`.
    pub channel: Option<String>,
}

/// What an HTTP API is answered (payload 2.0).
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpAnswer {
    /// Status.
    pub status_code: u16,
    /// Headers.
    #[serde(serialize_with = "headers_as_map::serialize")]
    pub headers: [(&'static str, &'static str); 1],
    /// JSON.
    pub body: String,
}

impl HttpEvent {
    /// The language the caller reads.
    #[must_use]
    pub fn language(&self) -> Language {
        Language::from_header(self.headers.accept_language.as_deref())
    }

    /// The body as `T`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is too large, not Base64 as announced, or not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        parse_body(&self.bytes()?)
    }

    /// The body as it was sent.
    ///
    /// # Errors
    /// [`Error::Invalid`] if it is not Base64 as announced.
    pub fn bytes(&self) -> Result<Cow<'_, [u8]>, Error> {
        let body = self.body.as_deref().unwrap_or_default();
        if self.is_base64_encoded {
            base64::engine::general_purpose::STANDARD
                .decode(body)
                .map(Cow::Owned)
                .map_err(|_| Error::invalid("body", "Base64, as announced"))
        } else {
            Ok(Cow::Borrowed(body.as_bytes()))
        }
    }
}

/// A parameter of the path; `None` if it cannot be one.
pub(crate) fn parameter<T: std::str::FromStr>(parameter: Option<&String>) -> Option<T> {
    parameter?.parse().ok()
}

/// Reads a body.
///
/// # Errors
/// [`Error::Invalid`] if it is too large or not a `T`, with what is wrong and where.
pub fn parse_body<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    if body.len() > MAX_BODY {
        return Err(Error::invalid("body", format!("at most {MAX_BODY} bytes")));
    }
    // Serde's sentence names the field and the place, and of the input only what stood there.
    serde_json::from_slice(body).map_err(|error| Error::invalid("body", format!("JSON ({error})")))
}

/// Checks an Idempotency-Key.
///
/// # Errors
/// [`Error::Invalid`] if it is missing, too long, or not visible ASCII.
pub fn idempotency_key(header: Option<&str>) -> Result<&str, Error> {
    header
        .filter(|key| {
            (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())
                && key.bytes().all(|byte| byte.is_ascii_graphic())
        })
        .ok_or_else(|| {
            Error::invalid(
                "Idempotency-Key",
                format!("a header of 1..={MAX_IDEMPOTENCY_KEY} visible characters"),
            )
        })
}

impl HttpAnswer {
    /// A JSON answer.
    ///
    /// # Panics
    /// Never: what is answered here serializes.
    #[must_use]
    pub fn json(status_code: u16, body: &impl Serialize) -> Self {
        Self {
            status_code,
            headers: [("content-type", "application/json")],
            body: serde_json::to_string(body).expect("an answer serializes"),
        }
    }

    /// The answer to a request that failed. A failure of ours is logged here, the one place that handles it.
    #[must_use]
    pub fn problem(error: &Error, language: Language) -> Self {
        if !error.is_callers() {
            log_failure(error);
        }
        let problem = error.problem(language);
        Self {
            status_code: problem.status,
            headers: [("content-type", "application/problem+json")],
            body: problem.body.to_string(),
        }
    }

    /// The answer to a request that is done with, well or not. The API's access log has every answer; writing it here too cost more
    /// than holding the units.
    pub(crate) fn conclude(outcome: Result<Self, Error>, route: &str, language: Language) -> Self {
        let answer = outcome.unwrap_or_else(|error| Self::problem(&error, language));
        tracing::debug!(route, status = answer.status_code, "answered");
        answer
    }
}

fn log_failure(error: &Error) {
    use std::error::Error as _;
    let mut causes = Vec::new();
    let mut source = error.source();
    while let Some(cause) = source {
        causes.push(cause.to_string());
        source = cause.source();
    }
    tracing::error!(error = %error, cause = causes.join(": "), "a request failed");
}

fn null_is_none<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathParameters, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

mod headers_as_map {
    use serde::{Serializer, ser::SerializeMap};

    pub(super) fn serialize<S: Serializer>(
        headers: &[(&'static str, &'static str); 1],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(headers.len()))?;
        for (name, value) in headers {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_that_is_wrong_is_refused_with_its_reason() {
        let wrong: Result<u32, Error> = parse_body(b"{");
        assert!(matches!(wrong, Err(Error::Invalid { field: "body", .. })));
        let large: Result<String, Error> = parse_body(&vec![b' '; MAX_BODY + 1]);
        assert!(
            matches!(large, Err(Error::Invalid { field: "body", expected }) if expected.contains("65536"))
        );
    }

    #[test]
    fn an_idempotency_key_is_bounded() {
        assert_eq!(idempotency_key(Some("k-1")).ok(), Some("k-1"));
        for bad in [None, Some(""), Some("a b"), Some("키")] {
            assert!(idempotency_key(bad).is_err(), "{bad:?}");
        }
        assert!(idempotency_key(Some(&"k".repeat(MAX_IDEMPOTENCY_KEY + 1))).is_err());
    }

    #[test]
    fn an_event_of_a_route_without_parameters_is_read() {
        for event in [
            r#"{"routeKey":"POST /payments/webhook"}"#,
            r#"{"routeKey":"POST /payments/webhook","pathParameters":null,"body":null}"#,
        ] {
            let event: HttpEvent = serde_json::from_str(event).expect("an event");
            assert_eq!(event.path_parameters, PathParameters::default());
        }
    }

    #[test]
    fn an_answer_is_what_an_http_api_expects() {
        let answer = serde_json::to_value(HttpAnswer::json(202, &serde_json::json!({"a": 1})))
            .expect("serializes");
        assert_eq!(
            answer,
            serde_json::json!({"statusCode": 202, "headers": {"content-type": "application/json"}, "body": "{\"a\":1}"})
        );
    }
}
