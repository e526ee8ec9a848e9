//! Personal data, masked before anyone sees it: in the heat of a sale people write their number into the chat.
//!
//! | masked | known by |
//! |---|---|
//! | telephone numbers of Korea | their prefix and length, with or without +82 |
//! | resident and foreigner registration numbers | 13 digits: a date, then 1 to 8. No check digit: those given since 2020 have none |
//! | payment cards | the first digits and the length of a brand, and the check digit (Luhn) |
//! | e-mail addresses | `@` between a name and a domain |
//!
//! Digits count in any form (full-width, circled, `o` and `l`, the Korean words `공일공`) and with up to [`MAX_GAP`] spaces or
//! signs between them. A number has to begin and end where a group of digits does, so nothing is found inside a longer number,
//! such as that of a parcel; nor in prices, because a number begins with a zero, a date or a card brand. Every digit and
//! letter becomes `*`, and what stands between stays: the text is as long as it was.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

/// How many characters between two digits leave them one number.
const MAX_GAP: usize = 4;
/// The longest number that is looked for.
const MAX_DIGITS: usize = 19;
/// Where a domain ends, if it is written with spaces. Without this, `@` before a name in a sentence would be an address.
const TOP_LEVEL: [&str; 16] = [
    "com", "net", "org", "kr", "jp", "cn", "us", "uk", "io", "me", "co", "info", "biz", "edu",
    "dev", "app",
];
const MASK: char = '*';

/// The message with its personal data masked.
#[must_use]
pub fn mask(message: &str) -> String {
    let letters: Vec<char> = message.chars().collect();
    let plain: Vec<char> = letters.iter().map(|letter| plain(*letter)).collect();
    let mut shown = letters.clone();
    for place in numbers(&plain) {
        shown[place] = MASK;
    }
    for range in addresses(&plain) {
        for place in range {
            if plain[place].is_alphanumeric() || matches!(plain[place], '_' | '+' | '%' | '-') {
                shown[place] = MASK;
            }
        }
    }
    shown.into_iter().collect()
}

/// The one plain character that a compatibility form stands for.
fn plain(letter: char) -> char {
    let mut forms = std::iter::once(letter).nfkc();
    match (forms.next(), forms.next()) {
        (Some(plain), None) => plain,
        // Of "1." and "(1)" the digit.
        (Some(first), Some(second)) => [first, second]
            .into_iter()
            .find(char::is_ascii_digit)
            .unwrap_or(letter),
        (None, _) => letter,
    }
}

struct Digit {
    place: usize,
    value: u8,
    /// Whether a group of digits begins, and ends, with it.
    begins: bool,
    ends: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Script {
    Digit,
    Latin,
    Korean,
}

fn digit(letter: char) -> Option<(u8, Script)> {
    Some(match letter {
        '0'..='9' => (u8::try_from(letter.to_digit(10)?).ok()?, Script::Digit),
        'o' | 'O' => (0, Script::Latin),
        'l' | 'I' | '|' => (1, Script::Latin),
        '공' | '영' => (0, Script::Korean),
        '일' => (1, Script::Korean),
        '이' => (2, Script::Korean),
        '삼' => (3, Script::Korean),
        '사' => (4, Script::Korean),
        '오' => (5, Script::Korean),
        '육' | '륙' => (6, Script::Korean),
        '칠' => (7, Script::Korean),
        '팔' => (8, Script::Korean),
        '구' => (9, Script::Korean),
        _ => return None,
    })
}

/// The places of digits that are of a number to mask.
fn numbers(text: &[char]) -> Vec<usize> {
    let mut masked = Vec::new();
    for run in runs(text) {
        let mut start = 0;
        while start < run.len() {
            match longest_number(&run[start..]) {
                Some(length) => {
                    masked.extend(run[start..start + length].iter().map(|digit| digit.place));
                    start += length;
                }
                None => start += 1,
            }
        }
    }
    masked
}

/// Digits that stand together, but for a few signs in between. Letters part them.
fn runs(text: &[char]) -> Vec<Vec<Digit>> {
    let mut runs: Vec<Vec<Digit>> = Vec::new();
    let mut run: Vec<Digit> = Vec::new();
    let mut gap = 0;
    let mut script = Script::Digit;
    for (place, letter) in text.iter().enumerate() {
        let Some((value, of)) = digit(*letter) else {
            gap += 1;
            if gap > MAX_GAP || !parts_no_number(*letter) {
                runs.push(std::mem::take(&mut run));
            }
            continue;
        };
        // A particle that reads like a digit ends a number: 010-1234-5678이.
        let begins = gap > 0 || run.is_empty() || of != script;
        if begins && let Some(last) = run.last_mut() {
            last.ends = true;
        }
        run.push(Digit {
            place,
            value,
            begins,
            ends: false,
        });
        (gap, script) = (0, of);
    }
    runs.push(run);
    for run in &mut runs {
        if let Some(last) = run.last_mut() {
            last.ends = true;
        }
    }
    runs
}

fn parts_no_number(letter: char) -> bool {
    // The last three are letters that look like dashes.
    !letter.is_alphanumeric() || matches!(letter, 'ㅡ' | 'ー' | '一' | 'ᅳ')
}

/// How many of the digits, from the first, are a number to mask.
fn longest_number(digits: &[Digit]) -> Option<usize> {
    if !digits.first()?.begins {
        return None;
    }
    let values: Vec<u8> = digits
        .iter()
        .take(MAX_DIGITS)
        .map(|digit| digit.value)
        .collect();
    (9..=values.len()).rev().find(|length| {
        let number = &values[..*length];
        digits[length - 1].ends
            && (is_telephone(number) || is_registration(number) || is_card(number))
    })
}

fn is_telephone(number: &[u8]) -> bool {
    let national: Vec<u8> = match number {
        [8, 2, 0, rest @ ..] | [8, 2, rest @ ..] | [0, 0, _, 8, 2, rest @ ..] => {
            [&[0], rest].concat()
        }
        _ => number.to_vec(),
    };
    let length = national.len();
    match national.as_slice() {
        [0, 1, 0, ..] | [0, 7, 0, ..] => length == 11,
        [0, 1, 1 | 6 | 7 | 8 | 9, ..] => matches!(length, 10 | 11),
        [0, 2, ..] => matches!(length, 9 | 10),
        [0, 3..=6, 1..=5, ..] => matches!(length, 10 | 11),
        [0, 5, 0, ..] => matches!(length, 11 | 12),
        _ => false,
    }
}

fn is_registration(number: &[u8]) -> bool {
    let [_, _, m, month, d, day, century, ..] = number else {
        return false;
    };
    number.len() == 13
        && (1..=12).contains(&(m * 10 + month))
        && (1..=31).contains(&(d * 10 + day))
        && (1..=8).contains(century)
}

fn is_card(number: &[u8]) -> bool {
    let brand = match number {
        [4, ..] => matches!(number.len(), 13 | 16 | 19),
        [3, 4 | 7, ..] => number.len() == 15,
        [3, 0 | 6 | 8 | 9, ..] => matches!(number.len(), 14 | 16),
        [3, 5, ..] | [5, ..] | [9, ..] | [2, 2..=7, ..] => number.len() == 16,
        [6, ..] => (16..=19).contains(&number.len()),
        _ => false,
    };
    brand && luhn(number)
}

fn luhn(number: &[u8]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, u32::from(*digit)) {
            (0, digit) => digit,
            (_, digit) if digit > 4 => digit * 2 - 9,
            (_, digit) => digit * 2,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Where addresses are, from the first letter of the name to the last of the domain.
fn addresses(text: &[char]) -> Vec<Range<usize>> {
    let ats = (0..text.len()).filter(|place| text[*place] == '@');
    ats.filter_map(|at| Some(name_before(text, at)?..domain_after(text, at)?))
        .collect()
}

fn name_before(text: &[char], at: usize) -> Option<usize> {
    let spaces = text[..at]
        .iter()
        .rev()
        .take_while(|letter| **letter == ' ')
        .count();
    let end = at - spaces;
    let ascii = |letter: char| {
        letter.is_ascii_alphanumeric() || matches!(letter, '.' | '_' | '+' | '%' | '-')
    };
    let mut start = end;
    loop {
        let taken = text[..start]
            .iter()
            .rev()
            .take_while(|letter| ascii(**letter))
            .count();
        // Letter by letter, each with a space: u s e r @.
        let one_by_one = taken == 1 && text[..start - taken].last() == Some(&' ');
        start -= taken;
        if !one_by_one
            || start < 2
            || !ascii(text[start - 2])
            || (start > 2 && text[start - 3] != ' ')
        {
            break;
        }
        start -= 1;
    }
    if start == end && spaces == 0 {
        start -= text[..end]
            .iter()
            .rev()
            .take_while(|letter| letter.is_alphanumeric())
            .count();
    }
    (start < end && spaces <= MAX_GAP).then_some(start)
}

fn domain_after(text: &[char], at: usize) -> Option<usize> {
    let spaces = |from: usize| {
        text[from..]
            .iter()
            .take_while(|letter| **letter == ' ')
            .count()
    };
    let label = |from: usize| {
        let part = text[from..].iter();
        part.take_while(|letter| letter.is_ascii_alphanumeric() || **letter == '-')
            .count()
    };
    let spaced_at = text.get(at + 1) == Some(&' ') || (at > 0 && text[at - 1] == ' ');
    let mut place = at + 1 + spaces(at + 1);
    place += Some(label(place)).filter(|length| *length > 0)?;
    let mut end = None;
    loop {
        let dot = place + spaces(place);
        if text.get(dot) != Some(&'.') {
            return end;
        }
        let begin = dot + 1 + spaces(dot + 1);
        let length = label(begin);
        let name: String = text[begin..begin + length]
            .iter()
            .collect::<String>()
            .to_ascii_lowercase();
        let spaced = spaced_at || dot > place || begin > dot + 1;
        place = begin + length;
        let top_level = if spaced {
            TOP_LEVEL.contains(&name.as_str())
        } else {
            length >= 2 && name.chars().all(|letter| letter.is_ascii_alphabetic())
        };
        if length == 0 {
            return end;
        }
        if top_level {
            end = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn telephone_numbers_are_masked_however_they_are_written() {
        for (message, shown) in [
            ("010-1234-5678", "***-****-****"),
            ("제 번호 01012345678이에요", "제 번호 ***********이에요"),
            ("010 1234 5678 로 전화", "*** **** **** 로 전화"),
            ("0 1 0 1 2 3 4 5 6 7 8", "* * * * * * * * * * *"),
            ("０１０－１２３４－５６７８", "***－****－****"),
            (
                "010.1234.5678, 010)1234-5678",
                "***.****.****, ***)****-****",
            ),
            ("010ㅡ1234ㅡ5678", "***ㅡ****ㅡ****"),
            ("⓪①⓪-①②③④-⑤⑥⑦⑧", "***-****-****"),
            ("o1o-1234-5678", "***-****-****"),
            ("공일공 일이삼사 오육칠팔", "*** **** ****"),
            ("공일공1234오육칠팔", "***********"),
            (
                "+82 10-1234-5678 / +82(0)10 1234 5678",
                "+** **-****-**** / +**(*)** **** ****",
            ),
            (
                "011-123-4567, 02-123-4567, 031-1234-5678",
                "***-***-****, **-***-****, ***-****-****",
            ),
            (
                "070-1234-5678 0504-1234-5678",
                "***-****-**** ****-****-****",
            ),
            ("010-1234-5678 3개요", "***-****-**** 3개요"),
        ] {
            assert_eq!(mask(message), shown, "{message}");
        }
    }

    #[test]
    fn registration_numbers_and_cards_are_masked() {
        for (message, shown) in [
            ("900101-1234567", "******-*******"),
            ("9 0 0 1 0 1 - 2 3 4 5 6 7 8", "* * * * * * - * * * * * * *"),
            (
                "주민번호９００１０１３２３４５６７요",
                "주민번호*************요",
            ),
            ("4111 1111 1111 1111", "**** **** **** ****"),
            ("4111111111111111 12/27", "**************** 12/27"),
            ("3782-822463-10005", "****-******-*****"),
            ("5555.5555.5555.4444", "****.****.****.****"),
            ("４２４２ ４２４２ ４２４２ ４２４２", "**** **** **** ****"),
        ] {
            assert_eq!(mask(message), shown, "{message}");
        }
    }

    #[test]
    fn addresses_are_masked() {
        for (message, shown) in [
            ("kim.cs+live@naver.com 으로", "***.*******@*****.*** 으로"),
            (
                "메일은 kim@mail.example.co.kr.",
                "메일은 ***@****.*******.**.**.",
            ),
            ("ｋｉｍ＠ｎａｖｅｒ．ｃｏｍ", "***＠*****．***"),
            ("kim @ naver . com", "*** @ ***** . ***"),
            ("k i m @ naver.com", "* * * @ *****.***"),
            ("홍길동@naver.com", "***@*****.***"),
        ] {
            assert_eq!(mask(message), shown, "{message}");
        }
    }

    #[test]
    fn what_is_no_personal_data_stays() {
        for message in [
            "1번 19,900원 2번 29,900원 3번 39,900원",
            "3개 사면 10% 할인, 2026-11-21 21:00",
            "송장 6123456789012345678901",
            "주문 4111111111111112",
            "1588-1234, 112, 119",
            "991301-1234567",
            "010-1234-567",
            "이 사이즈 오 육 칠",
            "@진행자 안녕하세요",
            "hello @john.doe 님",
            "10:30 @ 서울",
            "ㅋㅋㅋ lol lol lol lol",
            "***-****-****",
        ] {
            assert_eq!(mask(message), message);
        }
    }

    #[test]
    fn a_number_is_masked_whatever_stands_between_its_digits_and_around_it() {
        const NUMBERS: [&str; 4] = [
            "01098765432",
            "9203042345678",
            "4000056655665556",
            "378282246310005",
        ];
        const GAPS: [&str; 8] = ["", " ", "-", ".", " - ", "/", "ㅡ", "~"];
        for seed in 0..1_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let number = *random.choice(NUMBERS.iter()).expect("one of them");
            let (full_width, gaps) = (random.bool(), random.bool());
            let mut message = random
                .choice(["", "제 ", "번호:", "(", "x "])
                .expect("one of them")
                .to_owned();
            for digit in number.chars() {
                let wide = char::from_u32(digit as u32 - '0' as u32 + '０' as u32).unwrap_or(digit);
                message.push(if full_width { wide } else { digit });
                if gaps {
                    message.push_str(random.choice(GAPS).expect("one of them"));
                }
            }
            message.push_str(
                random
                    .choice(["", "입니다", "!", " 요", "이고요"])
                    .expect("one of them"),
            );
            let shown = mask(&message);
            assert!(
                !shown.chars().any(|letter| plain(letter).is_ascii_digit()),
                "seed {seed}: {message} → {shown}"
            );
            assert_eq!(
                shown.chars().count(),
                message.chars().count(),
                "seed {seed}"
            );
        }
    }

    #[test]
    fn masking_twice_is_masking_once() {
        for seed in 0..2_000 {
            let mut random = fastrand::Rng::with_seed(seed);
            let message: String = (0..random.usize(..60))
                .map(|_| {
                    *random
                        .choice(
                            [
                                '0', '1', '2', '8', ' ', '-', '@', '.', 'a', '공', '일', '가', 'm',
                            ]
                            .iter(),
                        )
                        .expect("one of them")
                })
                .collect();
            let shown = mask(&message);
            assert_eq!(mask(&shown), shown, "seed {seed}: {message}");
        }
    }
}
