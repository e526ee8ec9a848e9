//! Requests that change something are done once: the same request under the same Idempotency-Key gets the same answer,
//! whatever happened since.
//!
//! Kept are successes and what the caller did wrong, an answer that depends on the state of things included, because a client
//! that asks again wants to know what became of its request; and not a failure of ours: then asking again goes on with the
//! work.

use serde::Serialize;

use super::{HttpAnswer, idempotency_key};
use crate::{
    auth::UserId,
    catalog::{Catalog, Remembered, StoredAnswer},
    clock,
    error::{Error, Language},
    id,
};

/// A request under its Idempotency-Key.
pub(crate) struct Keyed {
    /// Who asks with which key.
    pub(crate) id: String,
    /// Tells the request from another one with the same key.
    pub(crate) fingerprint: String,
}

impl Keyed {
    /// What `user` asks for by this method, path and body, under the key of this header.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no key, or it cannot be one.
    pub(crate) fn new(
        user: &UserId,
        key: Option<&str>,
        method_and_path: &str,
        body: &[u8],
    ) -> Result<Self, Error> {
        let key = idempotency_key(key)?;
        let body = String::from_utf8_lossy(body);
        Ok(Self {
            id: id::digest(&["request", user.as_str(), key], 16),
            fingerprint: id::digest(&[method_and_path, &body], 16),
        })
    }

    /// Does the work and answers with what it returns, or answers as the first time.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`] if the key was used for another request, or the work failed by a fault of ours.
    pub(crate) async fn once<T: Serialize>(
        &self,
        catalog: &Catalog,
        (status, language): (u16, Language),
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<HttpAnswer, Error> {
        let (id, fingerprint) = (&self.id, &self.fingerprint);
        if let Remembered::Answered(earlier) = catalog
            .remember_request(id, fingerprint, clock::now())
            .await?
        {
            return Ok(earlier.into());
        }
        let answer = match work.await {
            Ok(body) => HttpAnswer::json(status, &body),
            Err(error) if error.is_callers() => HttpAnswer::problem(&error, language),
            Err(error) => return Err(error),
        };
        let answer = StoredAnswer {
            status: answer.status_code,
            body: answer.body,
        };
        let standing = catalog
            .answer_request(id, fingerprint, answer, clock::now())
            .await?;
        Ok(standing.into())
    }
}

impl From<StoredAnswer> for HttpAnswer {
    fn from(stored: StoredAnswer) -> Self {
        let kind = if stored.status < 400 {
            "application/json"
        } else {
            "application/problem+json"
        };
        Self {
            status_code: stored.status,
            headers: [("content-type", kind)],
            body: stored.body,
        }
    }
}
