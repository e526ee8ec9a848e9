//! The `Idempotency-Key` header of a POST.
//!
//! The body is not part of what a key stands for: a key used again for another payment gets the first
//! payment's answer, and the second payment is never made. That trap is the real service's.

use std::collections::{HashMap, VecDeque};

use axum::http::{HeaderMap, Method, Uri};
use time::{Duration, OffsetDateTime};

use crate::answer::{Answer, Refusal};

const VALID_FOR: Duration = Duration::days(15);
const MAX_KEY_CHARS: usize = 300;
/// More distinct keys than any test run makes. Forgetting one would break the promise, so the
/// sandbox refuses work beyond it instead.
const MAX_ENTRIES: usize = 500_000;

/// What one key stands for. Toss adds the secret key; the sandbox accepts only one, so it would be
/// the same in every identity.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    key: String,
    method: Method,
    url: String,
}

impl Identity {
    /// None for a GET, or without the header: then nothing is remembered.
    pub(crate) fn of(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, Refusal> {
        let Some(key) = headers.get("idempotency-key") else {
            return Ok(None);
        };
        let key = String::from_utf8_lossy(key.as_bytes()).into_owned();
        if *method != Method::POST || key.is_empty() {
            return Ok(None);
        }
        if key.chars().count() > MAX_KEY_CHARS {
            return Err(Refusal::new(
                "INVALID_IDEMPOTENCY_KEY",
                "An idempotency key has at most 300 characters.",
            ));
        }
        Ok(Some(Self {
            key,
            method: method.clone(),
            url: uri.to_string(),
        }))
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }
}

/// The 409 of a repeat that comes while the first request runs.
pub(crate) fn still_processing() -> Refusal {
    Refusal::new(
        "IDEMPOTENT_REQUEST_PROCESSING",
        "An earlier request with this idempotency key is still being processed.",
    )
}

/// What is known of an identity.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    Never,
    /// The first request has not ended yet.
    Running,
    /// Its answer, errors included.
    Answered(Answer),
}

#[derive(Debug, Default)]
pub(crate) struct Idempotency {
    entries: HashMap<Identity, Option<Answer>>,
    by_first_use: VecDeque<(OffsetDateTime, Identity)>,
}

impl Idempotency {
    pub(crate) fn seen(&mut self, identity: &Identity, now: OffsetDateTime) -> Seen {
        self.forget_the_expired(now);
        match self.entries.get(identity) {
            None => Seen::Never,
            Some(None) => Seen::Running,
            Some(Some(answer)) => Seen::Answered(answer.clone()),
        }
    }

    /// Takes the identity for the request that is about to run.
    pub(crate) fn begin(
        &mut self,
        identity: &Identity,
        now: OffsetDateTime,
    ) -> Result<(), Refusal> {
        if self.entries.len() >= MAX_ENTRIES {
            return Err(Refusal::new(
                "COMMON_ERROR",
                "The sandbox holds no more idempotency keys: reset it.",
            ));
        }
        self.entries.insert(identity.clone(), None);
        self.by_first_use.push_back((now, identity.clone()));
        Ok(())
    }

    /// Keeps the answer for every repeat to come.
    pub(crate) fn settle(&mut self, identity: &Identity, answer: &Answer) {
        // Gone when the clock was advanced past its fifteen days while the request ran.
        if let Some(entry) = self.entries.get_mut(identity) {
            *entry = Some(answer.clone());
        }
    }

    fn forget_the_expired(&mut self, now: OffsetDateTime) {
        // Oldest first: the clock never goes back.
        while let Some((first_use, _)) = self.by_first_use.front()
            && now - *first_use >= VALID_FOR
            && let Some((_, identity)) = self.by_first_use.pop_front()
        {
            self.entries.remove(&identity);
        }
    }
}
