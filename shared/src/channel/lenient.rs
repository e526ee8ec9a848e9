//! What marketplaces write in more than one way: numbers that are text elsewhere, and reasons for a person.

use serde::{Deserialize, Deserializer};

/// The longest reason that is kept of a refusal, in characters.
const MAX_REASON_CHARS: usize = 200;

/// A number here, text there. Ids have 18 digits and more, so none passes through a float.
#[derive(Deserialize)]
#[serde(untagged)]
enum Loose {
    Number(u64),
    Text(String),
}

impl Loose {
    fn into_text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.trim().to_owned(),
        }
    }
}

/// A field that is a number or text, as text. For `deserialize_with`.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Loose::deserialize(deserializer).map(Loose::into_text)
}

/// The same of a field that may be null or empty: `None`. For `deserialize_with`, with `default`.
pub(super) fn optional_text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<String>, D::Error> {
    let loose = Option::<Loose>::deserialize(deserializer)?;
    Ok(loose
        .map(Loose::into_text)
        .filter(|text| !text.is_empty() && text != "null"))
}

/// What a marketplace says of a refusal, on one line and not too long for a log.
pub(super) fn brief(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|character| !character.is_control())
        .take(MAX_REASON_CHARS)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Ids {
        #[serde(deserialize_with = "text")]
        id: String,
        #[serde(default, deserialize_with = "optional_text")]
        option: Option<String>,
    }

    #[test]
    fn an_id_keeps_every_digit_whichever_way_it_is_written() {
        for (json, id, option) in [
            (
                r#"{"id":700000000000000001,"option":41}"#,
                "700000000000000001",
                Some("41"),
            ),
            (
                r#"{"id":"700000000000000001","option":""}"#,
                "700000000000000001",
                None,
            ),
            (r#"{"id":1,"option":null}"#, "1", None),
            (r#"{"id":1}"#, "1", None),
        ] {
            let ids: Ids = serde_json::from_str(json).expect("ids");
            assert_eq!((ids.id.as_str(), ids.option.as_deref()), (id, option));
        }
        assert!(serde_json::from_str::<Ids>(r#"{"id":1.5}"#).is_err());
    }

    #[test]
    fn a_reason_is_one_short_line() {
        assert_eq!(brief(" no\n such\u{7} item "), "no such item");
        assert_eq!(brief(&"가".repeat(300)).chars().count(), MAX_REASON_CHARS);
    }
}
