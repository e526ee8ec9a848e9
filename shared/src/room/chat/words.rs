//! Banned words, however they are written.
//!
//! Word and message are both folded before they are compared: compatibility forms become plain letters (full-width, circled,
//! mathematical), upper case lower case, accents and whatever is no letter or digit goes, and Hangul falls apart into the
//! jamo it is typed with, so that `ㅅㅣ발`, `시바ㄹ` and `시발` are one.
//!
//! A match begins where a character begins and ends where one ends: `각시 바라` has the jamo of `시발` in it, but nobody reads it
//! so. Inside a word a match counts anywhere, and over punctuation too. Over a space it counts from the beginning of a word
//! only, and in a script with capitals to the end of one: `시 발` and `b a d` are found, `다시 발표` and `grab a door` are not.
//! Digits count as letters in a word that has some; they are looked over in one that has none, as in `시1발`.

use std::collections::BTreeSet;

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::text::is_invisible;
use crate::error::Error;

/// How many words a host may ban.
pub const MAX_WORDS: usize = 200;
/// How long one may be, in characters.
pub const MAX_WORD: usize = 30;

/// Banned words, ready to be looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    folded: Vec<Vec<char>>,
}

impl Words {
    /// The words of a list that [`check`] has let through.
    #[must_use]
    pub fn new(words: &[String]) -> Self {
        Self {
            folded: words.iter().map(|word| fold_word(word)).collect(),
        }
    }

    /// Whether one of them is in the message.
    #[must_use]
    pub fn are_in(&self, message: &str) -> bool {
        if self.folded.is_empty() {
            return false;
        }
        let all = fold(message, true);
        let without_digits = fold(message, false);
        self.folded.iter().any(|word| {
            let has_digits = word.iter().any(|letter| letter.is_numeric());
            is_in(word, if has_digits { &all } else { &without_digits })
        })
    }
}

/// The list as it is kept: trimmed, each word once.
///
/// # Errors
/// [`Error::Invalid`] if there are too many, or one is too long or has nothing in it that could be found.
pub fn check(words: Vec<String>) -> Result<Vec<String>, Error> {
    if words.len() > MAX_WORDS {
        return Err(Error::invalid("words", format!("0..={MAX_WORDS}")));
    }
    let mut known = BTreeSet::new();
    let mut kept = Vec::with_capacity(words.len());
    for word in words {
        let word = word.trim().to_owned();
        let folded = fold_word(&word);
        // One letter would be in every message.
        if word.chars().count() > MAX_WORD || folded.len() < 2 {
            let expected = format!("words of 1..={MAX_WORD} characters, of two letters at least");
            return Err(Error::invalid("words", expected));
        }
        if known.insert(folded) {
            kept.push(word);
        }
    }
    Ok(kept)
}

/// A letter of a folded text.
struct Letter {
    letter: char,
    /// Whether a character of the text begins, and ends, with it.
    begins: bool,
    ends: bool,
    /// What stands before it in the text.
    before: Gap,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    /// The letter before it.
    None,
    /// Something that is no letter.
    Mark,
    /// A space, or the beginning of the text.
    Space,
}

fn fold_word(word: &str) -> Vec<char> {
    fold(word, true)
        .into_iter()
        .map(|letter| letter.letter)
        .collect()
}

fn fold(text: &str, digits: bool) -> Vec<Letter> {
    let mut letters: Vec<Letter> = Vec::with_capacity(text.len());
    let mut before = Gap::Space;
    for character in text.chars().filter(|character| !is_invisible(*character)) {
        let first = letters.len();
        for letter in std::iter::once(character)
            .nfkd()
            .flat_map(char::to_lowercase)
            .filter(|letter| letter.is_alphanumeric() && !is_combining_mark(*letter))
            .filter(|letter| digits || !letter.is_numeric())
        {
            for jamo in jamo(letter) {
                let begins = letters.len() == first;
                letters.push(Letter {
                    letter: jamo,
                    begins,
                    ends: false,
                    before: if begins { before } else { Gap::None },
                });
            }
        }
        if letters.len() > first {
            before = Gap::None;
            if let Some(last) = letters.last_mut() {
                last.ends = true;
            }
        } else if character.is_whitespace() {
            before = Gap::Space;
        } else if !is_combining_mark(character) {
            before = before.max(Gap::Mark);
        }
    }
    letters
}

fn is_in(word: &[char], text: &[Letter]) -> bool {
    text.windows(word.len()).enumerate().any(|(start, window)| {
        let same = window
            .iter()
            .zip(word)
            .all(|(letter, of_word)| letter.letter == *of_word);
        let [first, inner @ ..] = window else {
            return false;
        };
        let Some(last) = window.last() else {
            return false;
        };
        if !(same && first.begins && last.ends) {
            return false;
        }
        if inner.iter().all(|letter| letter.before < Gap::Space) {
            return true;
        }
        let after = text.get(start + window.len());
        let word_ends = after.is_none_or(|after| after.before > Gap::None);
        first.before > Gap::None && (word_ends || is_jamo(last.letter))
    })
}

fn is_jamo(letter: char) -> bool {
    matches!(letter, '\u{1100}'..='\u{11FF}')
}

/// A jamo as the keys it is typed with: a final consonant is the initial one, a compound is its parts. Other letters are
/// themselves.
fn jamo(letter: char) -> impl Iterator<Item = char> {
    let parts: &[char] = match letter {
        // Vowels of two keys.
        'ᅪ' => &['ᅩ', 'ᅡ'],
        'ᅫ' => &['ᅩ', 'ᅢ'],
        'ᅬ' => &['ᅩ', 'ᅵ'],
        'ᅯ' => &['ᅮ', 'ᅥ'],
        'ᅰ' => &['ᅮ', 'ᅦ'],
        'ᅱ' => &['ᅮ', 'ᅵ'],
        'ᅴ' => &['ᅳ', 'ᅵ'],
        // Final consonants.
        '\u{11A8}' => &['ᄀ'],
        '\u{11A9}' => &['ᄁ'],
        '\u{11AA}' => &['ᄀ', 'ᄉ'],
        '\u{11AB}' => &['ᄂ'],
        '\u{11AC}' => &['ᄂ', 'ᄌ'],
        '\u{11AD}' => &['ᄂ', 'ᄒ'],
        '\u{11AE}' => &['ᄃ'],
        '\u{11AF}' => &['ᄅ'],
        '\u{11B0}' => &['ᄅ', 'ᄀ'],
        '\u{11B1}' => &['ᄅ', 'ᄆ'],
        '\u{11B2}' => &['ᄅ', 'ᄇ'],
        '\u{11B3}' => &['ᄅ', 'ᄉ'],
        '\u{11B4}' => &['ᄅ', 'ᄐ'],
        '\u{11B5}' => &['ᄅ', 'ᄑ'],
        '\u{11B6}' => &['ᄅ', 'ᄒ'],
        '\u{11B7}' => &['ᄆ'],
        '\u{11B8}' => &['ᄇ'],
        '\u{11B9}' => &['ᄇ', 'ᄉ'],
        '\u{11BA}' => &['ᄉ'],
        '\u{11BB}' => &['ᄊ'],
        '\u{11BC}' => &['ᄋ'],
        '\u{11BD}' => &['ᄌ'],
        '\u{11BE}' => &['ᄎ'],
        '\u{11BF}' => &['ᄏ'],
        '\u{11C0}' => &['ᄐ'],
        '\u{11C1}' => &['ᄑ'],
        '\u{11C2}' => &['ᄒ'],
        _ => &[],
    };
    let itself = parts.is_empty().then_some(letter);
    parts.iter().copied().chain(itself)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Words {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        Words::new(&check(words).expect("are words"))
    }

    #[test]
    fn a_word_is_found_however_it_is_written() {
        let banned = words(&["시발", "BadWord", "광고2"]);
        for message in [
            "시발",
            "아 시발점",
            "시 발",
            "시  발놈아",
            "시.발",
            "시...발놈",
            "야!시~!@발",
            "ㅅㅣ발",
            "ㅅ ㅣ ㅂ ㅏ ㄹ",
            "시바ㄹ",
            "\u{1109}\u{1175}\u{1107}\u{1161}\u{11AF}",
            "시\u{200B}발",
            "시\u{3164}발",
            "시1발",
            "ﾡ시발",
            "badword",
            "BADWORD",
            "xxbadwordxx",
            "b a d w o r d",
            "b.a.d-w_o*r/d",
            "ｂａｄＷＯＲＤ",
            "𝓫𝓪𝓭𝔀𝓸𝓻𝓭",
            "ⓑⓐⓓword",
            "bád wórd",
            "b\u{200D}adw\u{00AD}ord",
            "광 고 ２",
            "광고②",
        ] {
            assert!(banned.are_in(message), "{message:?} was let through");
        }
    }

    #[test]
    fn what_only_looks_so_to_a_program_is_let_through() {
        let banned = words(&["시발", "badword", "ass", "광고2"]);
        for message in [
            "다시 발표해 주세요",
            "각시 바라기",
            "시바견",
            "신발 사이즈 250",
            "bad word order",
            "as soon as possible",
            "gas sale",
            "광고 3",
            "시이발",
            "",
            "!!!",
        ] {
            assert_eq!(
                banned.are_in(message),
                message == "bad word order",
                "{message:?}"
            );
        }
        assert!(!Words::default().are_in("시발"));
    }

    #[test]
    fn a_list_is_bounded_and_has_only_what_can_be_found() {
        let of = |word: &str| check(vec![word.to_owned()]);
        for bad in ["", "  ", "!!", "a", "\u{200B}", &"가".repeat(MAX_WORD + 1)] {
            assert!(of(bad).is_err(), "{bad:?}");
        }
        assert!(of(&"가".repeat(MAX_WORD)).is_ok());
        assert!(check(vec!["ab".to_owned(); MAX_WORDS + 1]).is_err());
        let twice = ["시발", " ㅅㅣ발 ", "Ab", "ＡＢ"].map(str::to_owned);
        assert_eq!(
            check(twice.to_vec()).ok(),
            Some(vec!["시발".to_owned(), "Ab".to_owned()])
        );
    }

    #[test]
    fn a_word_survives_whatever_is_put_between_its_letters() {
        const NOISE: [&str; 9] = [" ", "  ", ".", "-", "\u{200B}", "\u{3164}", "♥", "~!", ""];
        let banned = words(&["시발", "badword"]);
        for seed in 0..1_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let word = random
                .choice(["시발", "ㅅㅣㅂㅏㄹ", "badword", "ＢａｄＷｏｒｄ"])
                .expect("one of them");
            let mut message = "말 ".to_owned();
            for letter in word.chars() {
                message.push(letter);
                message.push_str(random.choice(NOISE).expect("one of them"));
            }
            message.push_str(" 끝");
            assert!(banned.are_in(&message), "seed {seed}: {message:?}");
        }
    }
}
