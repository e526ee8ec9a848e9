//! What may stand in a message. Text is data and stays what it is, markup included; what cannot be seen does not stay.
//!
//! | in the message | becomes |
//! |---|---|
//! | a line break or a tab | a space: a message is one line |
//! | another control character, a private one, one that never will be any | a refusal: nobody typed it |
//! | more than [`MAX_MARKS`] marks on one letter | a refusal: it covers the lines around it |
//! | a bidirectional control, a zero-width or a filler character, a tag | nothing: it changes how others read what stands beside it, or hides in it; an honest message has it from where it was copied |
//! | a joiner or a variation selector inside an emoji | itself |
//! | letters and marks apart (Hangul from some keyboards) | one character (NFC), as others write it |

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};
use unicode_properties::{GeneralCategory, UnicodeEmoji, UnicodeGeneralCategory};

use super::Refusal;

/// How long a message may be, in Unicode scalar values as they were sent.
pub const MAX_CHAT: usize = 200;
/// How many combining marks one letter may carry. Vietnamese needs two, Thai and Tibetan some more.
const MAX_MARKS: usize = 4;

const JOINER: char = '\u{200D}';

/// The message as others will read it.
///
/// # Errors
/// [`Refusal::TooLong`], [`Refusal::NotText`] or [`Refusal::Empty`].
pub fn clean(message: &str) -> Result<String, Refusal> {
    if message.chars().count() > MAX_CHAT {
        return Err(Refusal::TooLong);
    }
    let mut kept: Vec<char> = Vec::with_capacity(message.len());
    let mut marks = 0;
    let mut rest = message.chars().peekable();
    while let Some(letter) = rest.next() {
        let letter = if matches!(letter, '\n' | '\r' | '\t') {
            ' '
        } else {
            letter
        };
        if is_no_text(letter) {
            return Err(Refusal::NotText);
        }
        let in_emoji = kept.last().is_some_and(|before| is_emoji(*before))
            && match letter {
                JOINER => rest.peek().is_some_and(|next| is_emoji(*next)),
                _ => matches!(letter, '\u{FE0E}' | '\u{FE0F}'),
            };
        if is_invisible(letter) && !in_emoji {
            continue;
        }
        marks = if is_combining_mark(letter) {
            marks + 1
        } else {
            0
        };
        if marks > MAX_MARKS {
            return Err(Refusal::NotText);
        }
        kept.push(letter);
    }
    let text: String = kept.into_iter().nfc().collect();
    if text.chars().all(char::is_whitespace) {
        return Err(Refusal::Empty);
    }
    Ok(text)
}

/// Whether a character is none that a person types. One that is not assigned yet may be: next year's emoji come before the
/// tables here know them.
fn is_no_text(letter: char) -> bool {
    let never_assigned =
        matches!(letter, '\u{FDD0}'..='\u{FDEF}') || u32::from(letter) & 0xFFFE == 0xFFFE;
    never_assigned
        || matches!(
            letter.general_category(),
            GeneralCategory::Control | GeneralCategory::PrivateUse
        )
}

/// Whether a character shows nothing by itself.
pub(super) fn is_invisible(letter: char) -> bool {
    letter.general_category() == GeneralCategory::Format
        || matches!(
            letter,
            // Grapheme joiner, fillers of Hangul and Khmer, Mongolian and other variation selectors, the blank of Braille,
            // the separators of lines and paragraphs.
            '\u{034F}'
                | '\u{115F}'
                | '\u{1160}'
                | '\u{3164}'
                | '\u{FFA0}'
                | '\u{17B4}'
                | '\u{17B5}'
                | '\u{180B}'..='\u{180F}'
                | '\u{FE00}'..='\u{FE0F}'
                | '\u{E0100}'..='\u{E01EF}'
                | '\u{2800}'
                | '\u{2028}'
                | '\u{2029}'
        )
}

fn is_emoji(letter: char) -> bool {
    // Digits count as emoji of a kind, because of the keycaps; a selector may follow them.
    letter.is_emoji_char() || matches!(letter, '\u{FE0F}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cleaned(message: &str) -> String {
        clean(message).expect("is text")
    }

    #[test]
    fn a_chat_is_counted_in_characters_not_bytes() {
        assert!(clean(&"가".repeat(MAX_CHAT)).is_ok());
        assert_eq!(clean(&"가".repeat(MAX_CHAT + 1)), Err(Refusal::TooLong));
        assert_eq!(
            clean(&"😀".repeat(MAX_CHAT)).map(|text| text.chars().count()),
            Ok(MAX_CHAT)
        );
    }

    #[test]
    fn text_is_data_and_passes_unchanged() {
        for message in [
            "<script>alert(document.cookie)</script>",
            "<b>안녕하세요</b> & \"따옴표\" \\ {\"type\":\"frame\"}",
            "'; DROP TABLE orders; --",
            "  앞뒤 공백  ",
            "👨‍👩‍👧‍👦 ❤️ 👍🏽 1️⃣ 🇰🇷 🏳️‍🌈",
            "Việt Nam ไทย हिन्दी العربية",
        ] {
            assert_eq!(cleaned(message), message);
        }
    }

    #[test]
    fn what_cannot_be_seen_does_not_stay() {
        for (message, expected) in [
            ("a\u{200B}b\u{FEFF}c\u{2060}d\u{00AD}e", "abcde"),
            (
                "\u{202E}거꾸로\u{202C} \u{2066}x\u{2069}\u{200F}",
                "거꾸로 x",
            ),
            ("가\u{3164}나\u{115F}다\u{FFA0}", "가나다"),
            ("a\u{200D}b", "ab"),
            ("x\u{FE0F}", "x"),
            ("hi\u{E0068}\u{E0069}\u{E0100}", "hi"),
            ("둘\n째\t줄\r", "둘 째 줄 "),
            ("\u{1112}\u{1161}\u{11AB}", "한"),
        ] {
            assert_eq!(cleaned(message), expected, "{message:?}");
        }
    }

    #[test]
    fn what_nobody_types_is_no_text() {
        for message in [
            "a\0b",
            "a\u{1b}[31m",
            "\u{7f}",
            "\u{85}",
            "\u{E000}",
            "\u{FFFE}",
            "\u{10FFFF}",
        ] {
            assert_eq!(clean(message), Err(Refusal::NotText), "{message:?}");
        }
        let zalgo = format!("a{}", "\u{0301}".repeat(MAX_MARKS + 1));
        assert_eq!(clean(&zalgo), Err(Refusal::NotText));
    }

    #[test]
    fn nothing_to_see_is_empty() {
        for message in ["", " ", "\n\t", "\u{200B}\u{200D}\u{3164}", "\u{2800}"] {
            assert_eq!(clean(message), Err(Refusal::Empty), "{message:?}");
        }
    }

    #[test]
    fn whatever_comes_what_is_kept_is_clean_and_no_longer() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let message: String = (0..random.usize(..=MAX_CHAT))
                .map(|_| match random.u8(..4) {
                    0 => random.char('\0'..='\u{FF}'),
                    1 => random.char('\u{1100}'..='\u{11FF}'),
                    2 => random.char('\u{2000}'..='\u{20FF}'),
                    _ => random.char(..),
                })
                .collect();
            if let Ok(text) = clean(&message) {
                assert!(
                    text.chars().count() <= message.chars().count(),
                    "seed {seed}"
                );
                assert_eq!(
                    clean(&text).as_ref(),
                    Ok(&text),
                    "seed {seed}: cleaning twice is cleaning once"
                );
            }
        }
    }
}
