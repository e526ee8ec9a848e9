//! Signatures in the manner of Standard Webhooks (standardwebhooks.com): an id, a time and an HMAC-SHA256, in three headers. Method and
//! target are signed as well as the body: a body alone would let a signed request be sent to another address.

use std::time::Duration;

use base64::{Engine, prelude::BASE64_STANDARD};
use ring::hmac;

use crate::{clock::Timestamp, config::Secret};

/// How old, or how far ahead, a request may be.
const TOLERANCE: Duration = Duration::from_secs(300);
const PREFIX: &str = "whsec_";
const VERSION: &str = "v1,";
const MAX_ID_CHARS: usize = 128;

/// The header of a message's id.
pub const ID: &str = "webhook-id";
/// The header of the second it was signed in, since 1970.
pub const TIMESTAMP: &str = "webhook-timestamp";
/// The header of its signatures, with a blank between them: there are several while a key is changed.
pub const SIGNATURE: &str = "webhook-signature";

/// What is signed.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Of the message: repeats have the same.
    pub id: &'a str,
    /// The method, in capitals.
    pub method: &'a str,
    /// Path and query as they are sent.
    pub target: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Why a message is nobody's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// A header is malformed.
    #[error("the headers of the signature are malformed")]
    Headers,
    /// It was signed too long ago, or in the future.
    #[error("it was not signed within five minutes")]
    Time,
    /// It was signed with another key, or is another message.
    #[error("the signature is wrong")]
    Signature,
}

/// The key that shop and pool share.
pub struct Key(hmac::Key);

impl Key {
    /// From `whsec_` and base64; text that is none is taken as it stands.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        let text = secret.reveal();
        let key = text
            .strip_prefix(PREFIX)
            .and_then(|encoded| BASE64_STANDARD.decode(encoded).ok());
        let key = key.unwrap_or_else(|| text.as_bytes().to_vec());
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The values of [`TIMESTAMP`] and [`SIGNATURE`].
    #[must_use]
    pub fn sign(&self, message: Message<'_>, now: Timestamp) -> (String, String) {
        let second = now.millis() / 1_000;
        let tag = hmac::sign(&self.0, &signed(message, second));
        let signature = format!("{VERSION}{}", BASE64_STANDARD.encode(tag));
        (second.to_string(), signature)
    }

    /// Whether one of the signatures is right, and of these minutes. They are compared in constant time.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn verify(
        &self,
        message: Message<'_>,
        timestamp: &str,
        signatures: &str,
        now: Timestamp,
    ) -> Result<(), Unsigned> {
        // A dot would let the id end elsewhere.
        let is_id = (1..=MAX_ID_CHARS).contains(&message.id.len()) && !message.id.contains('.');
        let second: u64 = timestamp.parse().map_err(|_| Unsigned::Headers)?;
        if !is_id || second.to_string() != timestamp {
            return Err(Unsigned::Headers);
        }
        if second.abs_diff(now.millis() / 1_000) > TOLERANCE.as_secs() {
            return Err(Unsigned::Time);
        }
        let signed = signed(message, second);
        signatures
            .split(' ')
            .filter_map(|signature| signature.strip_prefix(VERSION))
            .filter_map(|signature| BASE64_STANDARD.decode(signature).ok())
            .any(|signature| hmac::verify(&self.0, &signed, &signature).is_ok())
            .then_some(())
            .ok_or(Unsigned::Signature)
    }
}

fn signed(message: Message<'_>, second: u64) -> Vec<u8> {
    let Message {
        id,
        method,
        target,
        body,
    } = message;
    let mut signed = format!("{id}.{second}.{method} {target}.").into_bytes();
    signed.extend_from_slice(body);
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=";
    const NOW: Timestamp = Timestamp::from_millis(1_795_136_400_123);
    const MESSAGE: Message<'_> = Message {
        id: "msg_1",
        method: "PUT",
        target: "/onepool/items/mug/stock",
        body: br#"{"units":7,"version":3}"#,
    };

    fn key(secret: &str) -> Key {
        Key::new(&Secret::new(secret))
    }

    #[test]
    fn a_message_has_the_signature_of_the_protocol() {
        assert_eq!(
            key(SECRET).sign(MESSAGE, NOW),
            (
                "1795136400".to_owned(),
                "v1,vLhrCxcburF1KCyzKgYeF4iR2I6dYnRxKztAcCoqfGk=".to_owned()
            )
        );
    }

    #[test]
    fn what_is_signed_is_taken_for_five_minutes_either_way() {
        let key = key(SECRET);
        let (timestamp, signature) = key.sign(MESSAGE, NOW);
        let verify = |now| key.verify(MESSAGE, &timestamp, &signature, now);
        assert_eq!(verify(NOW), Ok(()));
        assert_eq!(verify(NOW + TOLERANCE), Ok(()));
        assert_eq!(verify(NOW.before(TOLERANCE)), Ok(()));
        let second = Duration::from_secs(1);
        assert_eq!(verify(NOW + TOLERANCE + second), Err(Unsigned::Time));
        assert_eq!(verify(NOW.before(TOLERANCE + second)), Err(Unsigned::Time));
    }

    #[test]
    fn another_message_or_key_is_not_taken() {
        let (timestamp, signature) = key(SECRET).sign(MESSAGE, NOW);
        let verify = |message| key(SECRET).verify(message, &timestamp, &signature, NOW);
        for other in [
            Message {
                id: "msg_2",
                ..MESSAGE
            },
            Message {
                method: "POST",
                ..MESSAGE
            },
            Message {
                target: "/onepool/items/cup/stock",
                ..MESSAGE
            },
            Message {
                body: br#"{"units":8,"version":3}"#,
                ..MESSAGE
            },
        ] {
            assert_eq!(verify(other), Err(Unsigned::Signature), "{other:?}");
        }
        assert_eq!(
            key("whsec_AAAA").verify(MESSAGE, &timestamp, &signature, NOW),
            Err(Unsigned::Signature)
        );
    }

    #[test]
    fn of_several_signatures_one_is_enough_and_oddities_are_none() {
        let key = key(SECRET);
        let (timestamp, signature) = key.sign(MESSAGE, NOW);
        let verify = |signatures: &str| key.verify(MESSAGE, &timestamp, signatures, NOW);
        assert_eq!(verify(&format!("v1,AAAA v2,x {signature}")), Ok(()));
        for odd in ["", "v1,", "v1,%%%", &signature[3..]] {
            assert_eq!(verify(odd), Err(Unsigned::Signature), "{odd}");
        }
        for odd in ["", "soon", "-1", "+1795136400", "01795136400"] {
            assert_eq!(
                key.verify(MESSAGE, odd, &signature, NOW),
                Err(Unsigned::Headers),
                "{odd}"
            );
        }
        let dotted = Message {
            id: "msg.1",
            ..MESSAGE
        };
        assert_eq!(
            key.verify(dotted, &timestamp, &signature, NOW),
            Err(Unsigned::Headers)
        );
    }
}
