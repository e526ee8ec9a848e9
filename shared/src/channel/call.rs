//! One HTTP call to a marketplace: asked of the quota, bounded in time and size, and read as bytes. What an answer means is the
//! adapter's business.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{Client, RequestBuilder, StatusCode, header::HeaderMap, redirect};
use serde::de::DeserializeOwned;
use tokio::sync::OnceCell;

use super::{
    Failure, Payload, SetupError,
    quota::{Quota, Rate, Seen, Urgency},
    token::TokenStore,
};
use crate::config::Secret;

/// Marketplaces take their time over wide windows; the function that waits has longer.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest that a `retry-after` is believed.
const LONGEST_PAUSE: Duration = Duration::from_secs(24 * 3_600);
/// The longest answer that is read. A day of orders of a large seller stays below it; what is longer is asked for in smaller windows.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// All but what RFC 3986 reserves for nothing.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A text as one segment of a path, or one value of a query: it must not lead elsewhere.
#[must_use]
pub fn segment(text: &str) -> String {
    match text {
        // A URL takes these for steps, encoded or not.
        "." | ".." => "-".to_owned(),
        text => utf8_percent_encode(text, RESERVED).to_string(),
    }
}

/// What a port is made of.
#[derive(Clone)]
pub struct Setup {
    /// The channel's name.
    pub channel: String,
    /// The marketplace, without a trailing slash.
    pub base_url: String,
    /// Its credentials, by the names that its file says.
    pub credentials: BTreeMap<String, Secret>,
    /// Who may call next.
    pub quota: Arc<dyn Quota>,
    /// Where its token is kept.
    pub tokens: Arc<dyn TokenStore>,
}

impl Setup {
    /// One of the credentials.
    ///
    /// # Errors
    /// It is missing.
    pub fn credential(&self, name: &'static str) -> Result<Secret, SetupError> {
        self.optional(name)
            .ok_or_else(|| self.wrong(name, "missing"))
    }

    /// One of the credentials, if it is there.
    #[must_use]
    pub fn optional(&self, name: &'static str) -> Option<Secret> {
        self.credentials.get(name).cloned()
    }

    /// Says what is wrong with a credential.
    #[must_use]
    pub fn wrong(&self, name: &'static str, what: &'static str) -> SetupError {
        SetupError {
            channel: self.channel.clone(),
            name,
            what,
        }
    }
}

/// What a call does at the marketplace, and so what its failure means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing: a lost answer is [`Failure::Later`].
    Read,
    /// Something: a lost answer is [`Failure::Unknown`].
    Write,
}

impl Effect {
    /// The failure of a call of which nothing more is known than `cause`.
    #[must_use]
    pub fn lost(self, cause: impl Into<String>) -> Failure {
        match self {
            Self::Read => Failure::Later {
                reason: cause.into(),
                after: None,
            },
            Self::Write => Failure::Unknown(cause.into()),
        }
    }

    /// The failure of a call whose answer is none that its marketplace's documents know.
    #[must_use]
    pub fn unreadable(self, reason: impl Into<String>, payload: &str) -> Failure {
        match self {
            Self::Read => Failure::Unreadable {
                reason: reason.into(),
                payload: Payload(payload.to_owned()),
            },
            Self::Write => Failure::Unknown(reason.into()),
        }
    }

    /// The failure that a status other than success stands for, where the marketplace's own words do not say better.
    #[must_use]
    pub fn failure(self, status: StatusCode, reason: String) -> Failure {
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Credentials(reason),
            StatusCode::REQUEST_TIMEOUT => self.lost(reason),
            status if status.is_server_error() => self.lost(reason),
            _ => Failure::Refused(reason),
        }
    }
}

/// An answer.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, undecoded.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON. Bytes that are no text, such as a buyer's note in another encoding, are replaced: they take no order with them.
    ///
    /// # Errors
    /// [`Failure::Unreadable`] or, of a call that writes, [`Failure::Unknown`].
    pub fn json<T: DeserializeOwned>(&self, effect: Effect) -> Result<T, Failure> {
        let text = String::from_utf8_lossy(&self.body);
        // What serde says would quote the payload.
        serde_json::from_str(&text).map_err(|_| {
            let reason = format!("{}: not an answer that can be read", self.status);
            effect.unreadable(reason, &text)
        })
    }

    /// A header as a number.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<u64> {
        self.headers.get(name)?.to_str().ok()?.trim().parse().ok()
    }
}

/// The quota a call counts against, and what it does.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a> {
    /// What the marketplace counts together.
    pub bucket: &'a str,
    /// What its documents allow.
    pub rate: Rate,
    /// Who goes first.
    pub urgency: Urgency,
    /// What the call does.
    pub effect: Effect,
}

/// Makes calls.
pub struct Caller {
    base_url: String,
    quota: Arc<dyn Quota>,
    client: OnceCell<Client>,
}

impl Caller {
    /// Calls to the marketplace of this setup.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            base_url: setup.base_url.clone(),
            quota: Arc::clone(&setup.quota),
            client: OnceCell::new(),
        }
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path_and_query: &str) -> String {
        format!("{}{path_and_query}", self.base_url)
    }

    /// The client, to build a request with. It follows no redirect, and repeats nothing by itself: some marketplaces write by GET.
    ///
    /// # Errors
    /// It cannot be made.
    pub async fn client(&self) -> Result<&Client, Failure> {
        self.client
            .get_or_try_init(|| async {
                Client::builder()
                    .timeout(CALL_TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    .redirect(redirect::Policy::none())
                    .retry(reqwest::retry::never())
                    .build()
            })
            .await
            .map_err(|error| Failure::Refused(error.without_url().to_string()))
    }

    /// Waits for the turn of a call.
    ///
    /// # Errors
    /// [`Failure::Turn`] if it does not come soon.
    pub async fn permit(&self, terms: Terms<'_>) -> Result<(), Failure> {
        self.quota
            .permit(terms.bucket, terms.rate, terms.urgency)
            .await
    }

    /// Tells the quota what an answer said.
    pub async fn observe(&self, bucket: &str, seen: Seen) {
        self.quota.observe(bucket, seen).await;
    }

    /// Holds the calls of a bucket back if an answer says that there were too many, for as long as its `retry-after` says, or else
    /// `pause`.
    ///
    /// # Errors
    /// [`Failure::Limited`] if it does.
    pub async fn check_rate(
        &self,
        bucket: &str,
        answer: &Answer,
        pause: Duration,
    ) -> Result<(), Failure> {
        if answer.status != StatusCode::TOO_MANY_REQUESTS {
            return Ok(());
        }
        let pause = answer
            .number("retry-after")
            .map_or(pause, Duration::from_secs)
            .min(LONGEST_PAUSE);
        self.observe(bucket, Seen::Blocked(pause)).await;
        Err(Failure::Limited {
            reason: answer.status.to_string(),
            after: pause,
        })
    }

    /// Waits for its turn, then makes the call. The request is built after the wait: a signature has a time in it.
    ///
    /// # Errors
    /// [`Failure::Turn`] if it was not made; [`Failure::Later`] if nothing reached the marketplace, or a reading call got no answer;
    /// [`Failure::Unknown`] if a writing one did not.
    pub async fn send(
        &self,
        terms: Terms<'_>,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Answer, Failure> {
        let answer = self.send_bounded(terms, build).await?;
        answer.ok_or_else(|| {
            terms
                .effect
                .lost(format!("more than {MAX_ANSWER_BYTES} bytes"))
        })
    }

    /// As [`Caller::send`], but for an answer that is longer than what is read: `None`. Whoever asked for too much asks for less.
    ///
    /// # Errors
    /// As [`Caller::send`].
    pub async fn send_bounded(
        &self,
        terms: Terms<'_>,
        build: impl FnOnce(&Client) -> RequestBuilder,
    ) -> Result<Option<Answer>, Failure> {
        self.permit(terms).await?;
        let client = self.client().await?;
        let lost = |error: reqwest::Error| {
            let unsent = error.is_connect() || error.is_builder();
            let effect = if unsent { Effect::Read } else { terms.effect };
            effect.lost(error.without_url().to_string())
        };
        let mut response = build(client).send().await.map_err(lost)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(lost)? {
            if body.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Ok(None);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Some(Answer {
            status,
            headers,
            body,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_one() {
        assert_eq!(segment("P0000BKV000A-1"), "P0000BKV000A-1");
        assert_eq!(
            segment("../a?b#c%2f+09:00"),
            "..%2Fa%3Fb%23c%252f%2B09%3A00"
        );
        assert_eq!(segment(".."), "-");
    }

    #[test]
    fn bytes_that_are_no_text_take_nothing_else_with_them() {
        let answer = |body: &[u8]| Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.to_vec(),
        };
        // A note in EUC-KR, in JSON.
        let noted = answer(b"{\"id\":\"1\",\"note\":\"\xb0\xa1\xb3\xaa\"}");
        let read: serde_json::Value = noted.json(Effect::Read).expect("JSON");
        assert_eq!(read["id"], "1");
        let page = answer("<h1>점검</h1>".as_bytes());
        match page.json::<serde_json::Value>(Effect::Read) {
            Err(failure @ Failure::Unreadable { .. }) => {
                assert!(
                    format!("{failure} {failure:?}").is_ascii(),
                    "it quotes nothing"
                );
            }
            other => panic!("{other:?}"),
        }
        let written = page.json::<serde_json::Value>(Effect::Write);
        assert!(matches!(written, Err(Failure::Unknown(_))), "{written:?}");
    }

    #[test]
    fn a_status_says_what_is_known_of_the_outcome() {
        let failure =
            |effect: Effect, status: StatusCode| effect.failure(status, status.to_string());
        for effect in [Effect::Read, Effect::Write] {
            for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
                assert!(matches!(failure(effect, status), Failure::Credentials(_)));
            }
            for status in [StatusCode::NOT_FOUND, StatusCode::MOVED_PERMANENTLY] {
                assert!(matches!(failure(effect, status), Failure::Refused(_)));
            }
        }
        for status in [StatusCode::SERVICE_UNAVAILABLE, StatusCode::REQUEST_TIMEOUT] {
            assert!(matches!(
                failure(Effect::Read, status),
                Failure::Later { .. }
            ));
            assert!(matches!(
                failure(Effect::Write, status),
                Failure::Unknown(_)
            ));
        }
    }
}
