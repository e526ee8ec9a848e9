//! The pair of tokens. A refresh token is good once, and the answer to its use has the only one that is good next: so one runner
//! at a time refreshes, and what it gets is kept before it is used.

use std::{sync::Arc, time::Duration};

use reqwest::StatusCode;
use serde::Deserialize;
use tokio::{sync::Mutex, time::sleep};

use super::super::{
    Failure, SetupError,
    call::{Caller, Effect, Setup, Terms, segment},
    korea,
    quota::{Rate, Urgency},
    token::{Token, TokenStore, unreachable},
};
use crate::{
    clock::{self, Timestamp},
    config::Secret,
};

/// A token with less left than this is followed by another one before it is used.
const MARGIN: Duration = Duration::from_secs(300);
/// How long to wait for the runner that refreshes: looks at the store, and what lies between them.
const LOOKS: u32 = 25;
const BETWEEN_LOOKS: Duration = Duration::from_millis(200);
/// How often a new pair is offered to a store that does not answer, before it waits for the next call.
const TRIES_TO_KEEP: u32 = 3;
/// Tokens are not among the calls that the bucket counts.
const BUCKET: &str = "cafe24-token";
const RATE: Rate = Rate {
    per_second: 1.0,
    burst: 2,
};

/// The mall's tokens.
pub(super) struct Tokens {
    store: Arc<dyn TokenStore>,
    client_id: Secret,
    client_secret: Secret,
    /// From the authorization in a browser.
    first: Secret,
    /// A pair that the store has not taken yet. There is no other copy of it.
    unkept: Mutex<Option<Token>>,
}

/// What came of a refresh.
enum Refreshed {
    Pair(Pair),
    /// The refresh token was not taken: it was used before, or is too old.
    Spent(String),
}

/// The answer to a refresh. Its times have no zone.
#[derive(Deserialize)]
struct Pair {
    access_token: String,
    expires_at: String,
    refresh_token: String,
    refresh_token_expires_at: String,
}

#[derive(Deserialize)]
struct Refusal {
    #[serde(default)]
    error: String,
}

impl Tokens {
    pub(super) fn new(setup: &Setup) -> Result<Self, SetupError> {
        Ok(Self {
            store: Arc::clone(&setup.tokens),
            client_id: setup.credential("client_id")?,
            client_secret: setup.credential("client_secret")?,
            first: setup.credential("refresh_token")?,
            unkept: Mutex::new(None),
        })
    }

    /// A token that is good for a while.
    pub(super) async fn good(&self, caller: &Caller) -> Result<Token, Failure> {
        self.look(caller, |token| token.expires_at > clock::now() + MARGIN)
            .await
    }

    /// A token that follows one that was not taken.
    pub(super) async fn after(&self, caller: &Caller, version: u64) -> Result<Token, Failure> {
        self.look(caller, |token| token.version > version).await
    }

    /// Until when the refresh token that is kept can be used.
    pub(super) async fn authorized_until(&self) -> Result<Option<Timestamp>, Failure> {
        Ok(self
            .load()
            .await?
            .and_then(|token| token.refresh_expires_at))
    }

    async fn look(&self, caller: &Caller, fits: impl Fn(&Token) -> bool) -> Result<Token, Failure> {
        self.keep_unkept().await?;
        for _ in 0..LOOKS {
            let token = self.load().await?;
            let known = token.as_ref().map(|token| token.version);
            if let Some(token) = token.filter(&fits) {
                return Ok(token);
            }
            let is_ours = self.store.take_turn(known).await;
            if is_ours.map_err(|error| unreachable(&error))? {
                return self.refresh(caller).await;
            }
            sleep(BETWEEN_LOOKS).await;
        }
        Err(Failure::Turn {
            reason: "another runner refreshes the token".to_owned(),
            after: Duration::from_secs(5),
        })
    }

    async fn load(&self) -> Result<Option<Token>, Failure> {
        self.store.load().await.map_err(|error| unreachable(&error))
    }

    /// Refreshes, as the one whose turn it is. A refresh whose answer was lost may have used the token up, or never have arrived: so
    /// it is tried once more. A token that is spent may have been replaced meanwhile: the store is asked again. And who authorizes the
    /// app anew puts a first token into the credentials, which is the last to be tried.
    async fn refresh(&self, caller: &Caller) -> Result<Token, Failure> {
        let kept = self.load().await?;
        let first = self.first.reveal();
        let current = kept
            .as_ref()
            .and_then(|token| token.refresh.as_deref())
            .unwrap_or(first);
        let version = |token: &Option<Token>| token.as_ref().map(|token| token.version);
        let (mut candidates, mut why) = (Vec::new(), String::new());
        match self.ask(caller, current).await {
            Ok(Refreshed::Pair(pair)) => return self.keep(version(&kept), pair).await,
            Ok(Refreshed::Spent(said)) => why = said,
            Err(Failure::Unknown(cause)) => {
                tracing::warn!(cause, "the answer to a refresh was lost");
                candidates.push(current);
            }
            // It was not asked, or answered about something else.
            Err(
                failure @ (Failure::Credentials(_)
                | Failure::Refused(_)
                | Failure::Later { .. }
                | Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unreadable { .. }),
            ) => return Err(failure),
        }
        let now = self.load().await?;
        if version(&now) != version(&kept)
            && let Some(token) = now
        {
            return Ok(token);
        }
        if current != first {
            candidates.push(first);
        }
        for candidate in candidates {
            match self.ask(caller, candidate).await {
                Ok(Refreshed::Pair(pair)) => return self.keep(version(&kept), pair).await,
                Ok(Refreshed::Spent(said)) => why = said,
                Err(Failure::Unknown(cause)) => {
                    return Err(Failure::Later {
                        reason: format!("the answer to a refresh was lost: {cause}"),
                        after: None,
                    });
                }
                Err(
                    failure @ (Failure::Credentials(_)
                    | Failure::Refused(_)
                    | Failure::Later { .. }
                    | Failure::Limited { .. }
                    | Failure::Turn { .. }
                    | Failure::Unreadable { .. }),
                ) => return Err(failure),
            }
        }
        Err(spent(&why))
    }

    async fn ask(&self, caller: &Caller, refresh_token: &str) -> Result<Refreshed, Failure> {
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency: Urgency::Down,
            effect: Effect::Write,
        };
        let form = format!(
            "grant_type=refresh_token&refresh_token={}",
            segment(refresh_token)
        );
        let answer = caller
            .send(terms, |client| {
                client
                    .post(caller.url("/api/v2/oauth/token"))
                    .basic_auth(self.client_id.reveal(), Some(self.client_secret.reveal()))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(form)
            })
            .await?;
        let status = answer.status;
        if status.is_success() {
            return serde_json::from_slice(&answer.body)
                .map(Refreshed::Pair)
                .map_err(|_| Failure::Unknown(format!("{status}: not a token that can be read")));
        }
        let error = serde_json::from_slice::<Refusal>(&answer.body)
            .map(|refusal| refusal.error)
            .unwrap_or_default();
        Err(match status {
            StatusCode::TOO_MANY_REQUESTS => Failure::Limited {
                reason: status.to_string(),
                after: Duration::from_secs(1),
            },
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Failure::Credentials(format!("{status}: client_id or client_secret"))
            }
            // How refusals look is not documented; RFC 6749 calls it invalid_grant, and another name is taken for the same thing.
            status if status.is_client_error() => {
                return Ok(Refreshed::Spent(format!("{status} {error}")));
            }
            status => Failure::Unknown(status.to_string()),
        })
    }

    /// Keeps a new pair before anyone uses it.
    async fn keep(&self, follows: Option<u64>, pair: Pair) -> Result<Token, Failure> {
        // Without a time that can be read it is good for what the documents say, less a little.
        let now = clock::now();
        let or = |text: &str, span: Duration| korea::parse(text).unwrap_or(now + span);
        let token = Token {
            expires_at: or(&pair.expires_at, Duration::from_secs(6_600)),
            refresh_expires_at: Some(or(
                &pair.refresh_token_expires_at,
                Duration::from_secs(13 * 24 * 3_600),
            )),
            access: pair.access_token,
            refresh: Some(pair.refresh_token),
            version: follows.unwrap_or(0) + 1,
        };
        *self.unkept.lock().await = Some(token.clone());
        self.keep_unkept().await?;
        Ok(self.load().await?.unwrap_or(token))
    }

    async fn keep_unkept(&self) -> Result<(), Failure> {
        let mut unkept = self.unkept.lock().await;
        let Some(token) = unkept.as_ref() else {
            return Ok(());
        };
        let mut tries = TRIES_TO_KEEP;
        loop {
            match self.store.keep(token).await {
                // Not kept, because a token with this number is there: ours, whose first try was not answered, or one that another
                // runner got meanwhile. In both cases the store is right.
                Ok(_) => {
                    *unkept = None;
                    return Ok(());
                }
                Err(error) => {
                    tries -= 1;
                    tracing::error!(error = %error, tries, "a new token pair is not kept yet");
                    if tries == 0 {
                        return Err(unreachable(&error));
                    }
                    sleep(BETWEEN_LOOKS).await;
                }
            }
        }
    }
}

fn spent(why: &str) -> Failure {
    Failure::Credentials(format!(
        "the refresh token is used up ({why}): authorize the app again, and put the new refresh token into the credentials"
    ))
}
