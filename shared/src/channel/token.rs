//! Tokens that a marketplace hands out for a while, kept where every runner finds them.

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::Failure;
use crate::{
    clock::{self, Timestamp},
    error::Error,
};

/// A token. It has no `Debug`: it must not be shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Token {
    /// What calls carry.
    pub access: String,
    /// Until when it is good.
    pub expires_at: Timestamp,
    /// What the next one is asked for with, where there is such a thing. It is good once.
    pub refresh: Option<String>,
    /// Until when that is good.
    pub refresh_expires_at: Option<Timestamp>,
    /// Which token this is; the first is 1.
    pub version: u64,
}

/// Where the token of a channel is kept.
pub trait TokenStore: Send + Sync {
    /// The token there is.
    ///
    /// # Errors
    /// The store did not answer.
    fn load(&self) -> BoxFuture<'_, Result<Option<Token>, Error>>;

    /// Takes the turn to fetch the token that follows `known` (`None`: there is none), for a minute. Of many that ask at once one gets it. Returns
    /// whether it did.
    ///
    /// # Errors
    /// The store did not answer.
    fn take_turn(&self, known: Option<u64>) -> BoxFuture<'_, Result<bool, Error>>;

    /// Keeps a token if it follows the one that is there by its version. Returns whether it was kept.
    ///
    /// # Errors
    /// The store did not do it, or did not say so; asking again is safe.
    fn keep<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<bool, Error>>;
}

/// Why a call that needs the token is not made when the store fails. The marketplace was not asked anything.
pub(super) fn unreachable(error: &Error) -> Failure {
    Failure::Later {
        reason: format!("the token store failed: {error}"),
        after: None,
    }
}

/// How long a turn lasts: longer than fetching takes, and short enough to wait for when its taker died.
const TURN: Duration = Duration::from_secs(60);

/// A store for one process alone.
#[derive(Default)]
pub struct InMemory(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// The version whose successor is being fetched, and since when.
    turn: Option<(Option<u64>, Timestamp)>,
}

impl Kept {
    fn version(&self) -> Option<u64> {
        self.token.as_ref().map(|token| token.version)
    }
}

impl InMemory {
    /// A store that has this token.
    #[must_use]
    pub fn with(token: Token) -> Self {
        Self(Mutex::new(Kept {
            token: Some(token),
            turn: None,
        }))
    }
}

impl TokenStore for InMemory {
    fn load(&self) -> BoxFuture<'_, Result<Option<Token>, Error>> {
        async { Ok(self.0.lock().await.token.clone()) }.boxed()
    }

    fn take_turn(&self, known: Option<u64>) -> BoxFuture<'_, Result<bool, Error>> {
        async move {
            let mut kept = self.0.lock().await;
            let is_taken = kept
                .turn
                .is_some_and(|(of, since)| of == known && clock::now().since(since) < TURN);
            let takes = kept.version() == known && !is_taken;
            if takes {
                kept.turn = Some((known, clock::now()));
            }
            Ok(takes)
        }
        .boxed()
    }

    fn keep<'a>(&'a self, token: &'a Token) -> BoxFuture<'a, Result<bool, Error>> {
        async {
            let mut kept = self.0.lock().await;
            let follows = kept.version().unwrap_or(0) + 1 == token.version;
            if follows {
                kept.token = Some(token.clone());
            }
            Ok(follows)
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(version: u64) -> Token {
        Token {
            access: format!("access-{version}"),
            expires_at: Timestamp::NEVER,
            refresh: None,
            refresh_expires_at: None,
            version,
        }
    }

    #[tokio::test]
    async fn one_gets_the_turn_and_the_next_token_is_a_turn_of_its_own() {
        let store = InMemory::default();
        assert!(store.take_turn(None).await.expect("answers"));
        assert!(!store.take_turn(None).await.expect("answers"));
        assert!(store.keep(&token(1)).await.expect("answers"));
        assert!(!store.keep(&token(1)).await.expect("answers"));
        assert!(!store.take_turn(None).await.expect("answers"));
        assert!(store.take_turn(Some(1)).await.expect("answers"));
        assert!(!store.take_turn(Some(1)).await.expect("answers"));
        clock::put_ahead(TURN);
        assert!(store.take_turn(Some(1)).await.expect("answers"));
    }
}
