//! Signatures in the manner of Standard Webhooks, over the method and the target too: a body alone would let a signed
//! request be sent to another address.

use axum::http::HeaderMap;
use base64::{Engine, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::{Duration, OffsetDateTime};

/// How old, or how far ahead, a request may be.
const TOLERANCE: Duration = Duration::minutes(5);
const PREFIX: &str = "whsec_";

/// The key that shop and seller share.
#[derive(Clone)]
pub(crate) struct Secret(Vec<u8>);

impl std::fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Secret(***)")
    }
}

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    pub(crate) id: &'a str,
    /// Seconds since 1970.
    pub(crate) timestamp: i64,
    pub(crate) method: &'a str,
    /// Path and query as they are sent.
    pub(crate) target: &'a str,
    pub(crate) body: &'a [u8],
}

impl Secret {
    /// From `whsec_` and base64; text that is none is taken as it stands.
    pub(crate) fn read(text: &str) -> Self {
        let encoded = text.strip_prefix(PREFIX);
        let key = encoded.and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        Self(key.unwrap_or_else(|| text.as_bytes().to_vec()))
    }

    /// `v1,` and base64 of HMAC-SHA256.
    pub(crate) fn sign(&self, message: Message<'_>) -> String {
        match self.mac(message) {
            Some(mac) => format!("v1,{}", BASE64_STANDARD.encode(mac.finalize().into_bytes())),
            None => String::new(),
        }
    }

    /// Whether one of the signatures of a header is right. There are several while a key is changed.
    fn verify(&self, message: Message<'_>, signatures: &str) -> bool {
        signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix("v1,"))
            .filter_map(|signature| BASE64_STANDARD.decode(signature).ok())
            // Compared in constant time.
            .any(|signature| {
                self.mac(message)
                    .is_some_and(|mac| mac.verify_slice(&signature).is_ok())
            })
    }

    fn mac(&self, message: Message<'_>) -> Option<Hmac<Sha256>> {
        // HMAC takes a key of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        let Message {
            id,
            timestamp,
            method,
            target,
            body,
        } = message;
        mac.update(format!("{id}.{timestamp}.{method} {target}.").as_bytes());
        mac.update(body);
        Some(mac)
    }
}

/// Why a request is nobody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsigned {
    /// A header is missing or malformed.
    Headers,
    /// Signed too long ago, or in the future.
    Time,
    Signature,
}

/// The id of a request that is signed as it should be.
pub(crate) fn check<'a>(
    secret: &Secret,
    headers: &'a HeaderMap,
    (method, target, body): (&str, &str, &[u8]),
    now: OffsetDateTime,
) -> Result<&'a str, Unsigned> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let id = header("webhook-id")
        // A dot would let the id end elsewhere.
        .filter(|id| !id.is_empty() && id.len() <= 128 && !id.contains('.'))
        .ok_or(Unsigned::Headers)?;
    let timestamp = header("webhook-timestamp").and_then(|text| text.parse::<i64>().ok());
    let timestamp = timestamp.ok_or(Unsigned::Headers)?;
    let signatures = header("webhook-signature").ok_or(Unsigned::Headers)?;
    if now.unix_timestamp().abs_diff(timestamp) > TOLERANCE.whole_seconds().unsigned_abs() {
        return Err(Unsigned::Time);
    }
    let message = Message {
        id,
        timestamp,
        method,
        target,
        body,
    };
    if secret.verify(message, signatures) {
        Ok(id)
    } else {
        Err(Unsigned::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vector of the README.
    #[test]
    fn a_request_has_one_signature() {
        let secret = Secret::read("whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=");
        let signature = secret.sign(Message {
            id: "msg_1",
            timestamp: 1_795_136_400,
            method: "PUT",
            target: "/onepool/items/mug/stock",
            body: br#"{"units":7,"version":3}"#,
        });
        assert_eq!(signature, "v1,vLhrCxcburF1KCyzKgYeF4iR2I6dYnRxKztAcCoqfGk=");
    }
}
