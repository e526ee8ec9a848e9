//! Keys: those that payments are named by, and those that make a request happen once.

use crate::id;

/// Of a payment key or a billing key.
const MAX_KEY_CHARS: usize = 200;
/// More is refused as `INVALID_IDEMPOTENCY_KEY`.
const MAX_IDEMPOTENCY_KEY_CHARS: usize = 300;

/// `<verb>:<of>:<which>`, or a digest in place of what is too long for a key or cannot stand in a header.
pub(super) fn idempotency_key(verb: &str, of: &str, which: &str) -> String {
    let key = match which {
        "" => format!("{verb}:{of}"),
        which => format!("{verb}:{of}:{which}"),
    };
    if key.len() <= MAX_IDEMPOTENCY_KEY_CHARS && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        key
    } else {
        format!("{verb}:{}", id::digest(&[of, which], 32))
    }
}

/// Whether a key can be one: short enough, and not what a URL takes for a step up, encoded or not.
pub(in crate::payment) fn is_usable(key: &str) -> bool {
    (1..=MAX_KEY_CHARS).contains(&key.chars().count()) && !matches!(key, "." | "..")
}

/// A key as one segment of a path: the request carries our secret key, and must not go elsewhere.
pub(super) fn segment(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_fits_and_stands_for_one_thing() {
        assert_eq!(
            idempotency_key("charge", "b-1-order", "2"),
            "charge:b-1-order:2"
        );
        assert_eq!(idempotency_key("cancel", "refund-1", ""), "cancel:refund-1");
        let (long, other) = ("k".repeat(400), format!("{}x", "k".repeat(399)));
        let [key, of_other] = [&long, &other].map(|which| idempotency_key("confirm", "o", which));
        assert!(key.len() <= MAX_IDEMPOTENCY_KEY_CHARS && key != of_other);
        assert!(idempotency_key("cancel", "환불\n", "").is_ascii());
    }

    #[test]
    fn a_key_stays_one_segment_of_its_path() {
        assert_eq!(segment("pay_1-A=="), "pay_1-A%3D%3D");
        assert_eq!(segment("../a?b#c%2f"), "..%2Fa%3Fb%23c%252f");
        for key in ["", ".", "..", &"k".repeat(201)] {
            assert!(!is_usable(key), "{key:?} was taken");
        }
    }
}
