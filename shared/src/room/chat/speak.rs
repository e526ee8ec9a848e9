//! `speak` and `like`: whether a person may do it now.

use std::{sync::LazyLock, time::Duration};

use redis::{ErrorKind, RedisError, Script};

use super::{super::Rooms, Refusal, personal, text};
use crate::{auth::UserId, catalog::Catalog, clock::Timestamp, error::Error, id::BroadcastId};

/// Messages a person may send at once, who has been quiet for a while.
pub const CHAT_BURST: u32 = 5;
/// What brings them one more.
pub const CHAT_INTERVAL: Duration = Duration::from_secs(1);
/// Likes of one person that count, a second and at once: ten full messages.
pub const LIKES_PER_SECOND: u32 = 10 * super::super::socket::MAX_LIKES;
/// How often a message is compared with words that have changed meanwhile.
const MAX_TRIES: usize = 4;

static SPEAK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("speak.lua")));
static LIKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("like.lua")));

/// Who speaks.
#[derive(Debug, Clone, Copy)]
pub struct Speaker<'a> {
    /// Who.
    pub user: &'a UserId,
    /// Whether they host broadcasts.
    pub host: bool,
}

impl Rooms {
    /// What others will read of a message, if its sender may say it now. It is counted against them then.
    ///
    /// # Errors
    /// [`Error::Refused`], or a store failed.
    pub async fn hear(
        &self,
        catalog: &Catalog,
        broadcast: &BroadcastId,
        speaker: Speaker<'_>,
        message: &str,
        now: Timestamp,
    ) -> Result<String, Error> {
        let text = text::clean(message).map_err(Error::Refused)?;
        let token = format!("{:016x}", fastrand::u64(..));
        for _ in 0..MAX_TRIES {
            let ready = self.words_ready(broadcast);
            let (version, banned) = ready.as_ref().map_or(("", false), |ready| {
                (ready.version.as_str(), ready.words.are_in(&text))
            });
            let mut call = SPEAK.key(self.keys.moderation(broadcast));
            call.key(self.keys.spoken(broadcast, speaker.user))
                .arg(now.millis())
                .arg(speaker.user.as_str())
                .arg(u8::from(speaker.host))
                .arg(version)
                .arg(u8::from(banned))
                .arg(CHAT_BURST)
                .arg(CHAT_INTERVAL.as_millis().to_string())
                .arg(&token);
            let answer: Vec<String> = self.redis.run(&call).await?;
            match decode(&answer)? {
                Verdict::Said => return Ok(personal::mask(&text)),
                Verdict::Refused(refusal) => return Err(Error::Refused(refusal)),
                Verdict::Unknown => self.recall_moderation(catalog, broadcast).await?,
                Verdict::Changed(version, words) => self.keep_words(broadcast, version, &words)?,
            }
        }
        Err(Error::Conflict)
    }

    /// How many of a person's likes count now.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn likes_that_count(
        &self,
        broadcast: &BroadcastId,
        user: &UserId,
        likes: u32,
        now: Timestamp,
    ) -> Result<u32, Error> {
        let mut call = LIKE.key(self.keys.moderation(broadcast));
        call.key(self.keys.liked(broadcast, user))
            .arg(now.millis())
            .arg(user.as_str())
            .arg(likes)
            .arg(LIKES_PER_SECOND)
            .arg(format!("{:016x}", fastrand::u64(..)));
        Ok(self.redis.run(&call).await?)
    }
}

enum Verdict {
    Said,
    Refused(Refusal),
    Unknown,
    Changed(String, String),
}

fn decode(answer: &[String]) -> Result<Verdict, RedisError> {
    let malformed = || RedisError::from((ErrorKind::Parse, "speak answered with something else"));
    let wait = |text: &str| {
        text.parse()
            .map(Duration::from_millis)
            .map_err(|_| malformed())
    };
    let words: Vec<&str> = answer.iter().map(String::as_str).collect();
    Ok(match words.as_slice() {
        ["said"] => Verdict::Said,
        ["unknown"] => Verdict::Unknown,
        ["changed", version, words] => Verdict::Changed((*version).to_owned(), (*words).to_owned()),
        ["banned"] => Verdict::Refused(Refusal::Banned),
        ["frozen"] => Verdict::Refused(Refusal::Frozen),
        ["word"] => Verdict::Refused(Refusal::BannedWord),
        ["slow", ms] => Verdict::Refused(Refusal::SlowMode { wait: wait(ms)? }),
        ["fast", ms] => Verdict::Refused(Refusal::TooFast { wait: wait(ms)? }),
        _ => return Err(malformed()),
    })
}
