//! Identifiers. Each is checked when it is made, so that it can stand in a key, a script's record or a URL as it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A text that cannot be an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("expected 1 to {max} letters, digits, '.', '_' or '-'")]
pub struct InvalidId {
    /// The longest this kind of id may be, in characters.
    pub max: usize,
}

pub(crate) fn check(text: &str, max: usize) -> Result<(), InvalidId> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if (1..=max).contains(&text.len()) && text.bytes().all(plain) {
        Ok(())
    } else {
        Err(InvalidId { max })
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                check(text, $max).map(|()| Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                check(&text, $max).map(|()| Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// A sellable unit (SKU), as the shop names it.
    ProductId, 64
}

id! {
    /// A broadcast. Short, because an order id contains it and a payment gateway allows an order id 64 characters.
    BroadcastId, 24
}

/// Lower-case, URL-safe text of the first `bytes` bytes of the SHA-256 of `parts`, each closed by a zero byte so that
/// `("ab", "c")` and `("a", "bc")` differ.
pub(crate) fn digest(parts: &[&str], bytes: usize) -> String {
    use ring::digest::{Context, SHA256};
    let mut hash = Context::new(&SHA256);
    for part in parts {
        hash.update(part.as_bytes());
        hash.update(&[0]);
    }
    data_encoding::BASE32_NOPAD
        .encode(&hash.finish().as_ref()[..bytes])
        .to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_could_break_a_key_or_a_record_is_refused() {
        for bad in ["", "a b", "a:b", "{a}", "상품", &"x".repeat(65)] {
            assert!(bad.parse::<ProductId>().is_err(), "{bad:?} was taken");
        }
        assert_eq!(
            "SKU-1.red_XL".parse::<ProductId>().map(String::from),
            Ok("SKU-1.red_XL".to_owned())
        );
    }

    #[test]
    fn a_digest_keeps_its_parts_apart() {
        assert_ne!(digest(&["ab", "c"], 16), digest(&["a", "bc"], 16));
        assert_eq!(digest(&["a"], 16).len(), 26);
    }
}
