//! Why a message, or a person, is refused: a code of the contract's closed list, and a sentence for who is refused.

use std::time::Duration;

use super::MAX_CHAT;

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is nothing to see in it.
    Empty,
    /// It has more than [`MAX_CHAT`] characters.
    TooLong,
    /// It is no text, or has characters that nobody types.
    NotText,
    /// It has a word in it that the host has banned.
    BannedWord,
    /// This person has said much in a short time.
    TooFast {
        /// When they may speak again.
        wait: Duration,
    },
    /// Everyone may speak once in a while only, and this person has.
    SlowMode {
        /// When they may speak again.
        wait: Duration,
    },
    /// Nobody but the host may speak.
    Frozen,
    /// This person may not be in this room.
    Banned,
}

/// What is told of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// HTTP status, where there is one.
    pub status: u16,
    /// Of the contract's closed list.
    pub code: &'static str,
    /// For a program.
    pub title: &'static str,
    /// For a person, in Korean.
    pub korean: String,
    /// For a person, in English.
    pub english: String,
    /// After how many seconds it may go well.
    pub retry_after_s: Option<u64>,
}

impl Refusal {
    /// What is told of it.
    #[must_use]
    pub fn told(self) -> Told {
        let invalid = |korean: String, english: String| Told {
            status: 400,
            code: "invalid_request",
            title: "Invalid request",
            korean,
            english,
            retry_after_s: None,
        };
        let forbidden = |korean: &str, english: &str| Told {
            status: 403,
            code: "forbidden",
            title: "Forbidden",
            korean: korean.to_owned(),
            english: english.to_owned(),
            retry_after_s: None,
        };
        let later = |korean: &str, english: &str, wait: Duration| {
            // Rounded up: who comes back after so many whole seconds is not told to wait again.
            let seconds = u64::try_from(wait.as_millis().div_ceil(1_000))
                .unwrap_or(u64::MAX)
                .max(1);
            Told {
                status: 429,
                code: "rate_limited",
                title: "Too many requests",
                korean: format!("{korean} {seconds}초 후에 다시 보내 주세요."),
                english: format!("{english} Try again in {seconds} s."),
                retry_after_s: Some(seconds),
            }
        };
        match self {
            Self::Empty => invalid(
                "보낼 내용을 입력해 주세요.".to_owned(),
                "The message is empty.".to_owned(),
            ),
            Self::TooLong => invalid(
                format!("메시지는 {MAX_CHAT}자까지 보낼 수 있습니다."),
                format!("A message has at most {MAX_CHAT} characters."),
            ),
            Self::NotText => invalid(
                "메시지는 글자로만 보낼 수 있습니다.".to_owned(),
                "A message is plain text, without control characters.".to_owned(),
            ),
            Self::BannedWord => forbidden(
                "이 방송에서 사용할 수 없는 단어가 들어 있습니다.",
                "The message has a word in it that is not allowed in this broadcast.",
            ),
            Self::TooFast { wait } => later(
                "메시지를 너무 빨리 보내고 있습니다.",
                "You are sending too fast.",
                wait,
            ),
            Self::SlowMode { wait } => later(
                "지금은 느린 채팅 모드입니다.",
                "The chat is in slow mode.",
                wait,
            ),
            Self::Frozen => forbidden(
                "지금은 진행자가 채팅을 멈추었습니다.",
                "The host has frozen the chat.",
            ),
            Self::Banned => forbidden(
                "이 방송의 이용이 제한되어 참여할 수 없습니다.",
                "You are banned from this broadcast.",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_as_long_as_told_has_waited_long_enough() {
        for (millis, seconds) in [(0, 1), (1, 1), (1_000, 1), (1_001, 2), (59_999, 60)] {
            let told = Refusal::SlowMode {
                wait: Duration::from_millis(millis),
            }
            .told();
            assert_eq!(told.retry_after_s, Some(seconds));
            assert!(
                told.korean.contains(&format!("{seconds}초")),
                "{}",
                told.korean
            );
            assert!(
                told.english.contains(&format!("{seconds} s")),
                "{}",
                told.english
            );
        }
    }
}
