//! The token that calls carry. It is good for three hours; all runners of a channel share one.
//!
//! The form of the request is watched by the gateway: parameters in the query, another content type, or an `account_id`
//! beside `SELF`, once, and every API of the application answers one call an hour until the morning after a clean day.

use std::{sync::Arc, time::Duration};

use reqwest::header::CONTENT_TYPE;
use serde::Deserialize;
use tokio::sync::Mutex;

use super::{sign::Signer, wire::refusal};
use crate::{
    channel::{
        Failure,
        call::{Caller, Effect, Terms, segment},
        quota::{Rate, Urgency},
        token::{Token, TokenStore, unreachable},
    },
    clock::{self, Timestamp},
};

/// With more than half an hour left the gateway hands out the same token again. A minute later than that its clock has
/// passed the half hour too.
const RENEW_BELOW: Duration = Duration::from_secs(29 * 60);
/// With less than this a token is not begun with: the call it is for takes a while.
const USABLE_ABOVE: Duration = Duration::from_secs(60);
/// While another runner fetches the token, it is looked for so often, and so long apart.
const LOOKS: u32 = 10;
const BETWEEN_LOOKS: Duration = Duration::from_millis(300);
/// Asking for a token is not metered; this only keeps a fault of ours from asking without end.
const RATE: Rate = Rate {
    per_second: 1.0,
    burst: 2,
};

/// Whose store the calls are about.
pub(super) enum Account {
    /// The application's own.
    Own,
    /// That of a seller who uses a solution, by its account id.
    Seller(String),
}

/// Hands out the token, and fetches the next one in time.
pub(super) struct Tokens {
    signer: Signer,
    account: Account,
    store: Arc<dyn TokenStore>,
    /// What this process saw last: a call does not ask the store each time.
    seen: Mutex<Option<Token>>,
}

#[derive(Deserialize)]
struct WireToken {
    access_token: String,
    expires_in: u64,
}

impl Tokens {
    pub(super) fn new(signer: Signer, account: Account, store: Arc<dyn TokenStore>) -> Self {
        Self {
            signer,
            account,
            store,
            seen: Mutex::new(None),
        }
    }

    /// A token to call with now.
    pub(super) async fn current(&self, caller: &Caller) -> Result<Token, Failure> {
        let seen = self.seen.lock().await.clone();
        if let Some(token) = seen.filter(|token| left(token) > RENEW_BELOW) {
            return Ok(token);
        }
        match self.load().await? {
            Some(token) if left(&token) > RENEW_BELOW => Ok(self.remember(token).await),
            Some(token) => {
                let usable = left(&token) > USABLE_ABOVE;
                match self.next(caller, Some(token.version), usable).await {
                    Ok(Some(next)) => Ok(next),
                    // An old token stays good until its own end.
                    Ok(None) | Err(_) if usable => Ok(self.remember(token).await),
                    Ok(None) => Err(somebody_else_fetches()),
                    Err(failure) => Err(failure),
                }
            }
            None => self
                .next(caller, None, false)
                .await?
                .ok_or_else(somebody_else_fetches),
        }
    }

    /// The token that follows one which the marketplace did not take.
    pub(super) async fn after(&self, caller: &Caller, refused: &Token) -> Result<Token, Failure> {
        match self.load().await? {
            Some(token) if token.version != refused.version => Ok(self.remember(token).await),
            stored => self
                .next(caller, stored.map(|token| token.version), false)
                .await?
                .ok_or_else(somebody_else_fetches),
        }
    }

    /// Fetches the token that follows `known`, or waits for the runner whose turn it is. `None` if it is another's turn, and
    /// that one was not waited for or did not get it in time.
    async fn next(
        &self,
        caller: &Caller,
        known: Option<u64>,
        in_no_hurry: bool,
    ) -> Result<Option<Token>, Failure> {
        let turn = self
            .store
            .take_turn(known)
            .await
            .map_err(|error| unreachable(&error))?;
        if turn {
            let token = self.fetch(caller, known.unwrap_or(0) + 1).await?;
            // Kept or not, it is good: the gateway gives all who ask the same one.
            self.store
                .keep(&token)
                .await
                .map_err(|error| unreachable(&error))?;
            return Ok(Some(self.remember(token).await));
        }
        let looks = if in_no_hurry { 0 } else { LOOKS };
        for _ in 0..looks {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            if let Some(token) = self
                .load()
                .await?
                .filter(|token| Some(token.version) != known)
            {
                return Ok(Some(self.remember(token).await));
            }
        }
        Ok(None)
    }

    async fn fetch(&self, caller: &Caller, version: u64) -> Result<Token, Failure> {
        let now = clock::now();
        let form = form(&self.signer, &self.account, now).ok_or_else(|| {
            Failure::Credentials("client_id and client_secret cannot sign".to_owned())
        })?;
        let terms = Terms {
            bucket: "POST /v1/oauth2/token",
            rate: RATE,
            urgency: Urgency::Down,
            effect: Effect::Read,
        };
        let url = caller.url("/v1/oauth2/token");
        let answer = caller
            .send(terms, |client| {
                client
                    .post(url)
                    .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
                    .body(form)
            })
            .await?;
        if !answer.status.is_success() {
            return Err(match refusal(&answer, Effect::Read) {
                // Whatever is wrong with this request is wrong with who asks.
                Failure::Refused(reason) => Failure::Credentials(reason),
                failure @ (Failure::Later { .. }
                | Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unreadable { .. }
                | Failure::Unknown(_)
                | Failure::Credentials(_)) => failure,
            });
        }
        let token: WireToken = serde_json::from_slice(&answer.body)
            .map_err(|_| Effect::Read.lost("a token that cannot be read"))?;
        Ok(Token {
            access: token.access_token,
            expires_at: now + Duration::from_secs(token.expires_in),
            refresh: None,
            refresh_expires_at: None,
            version,
        })
    }

    async fn load(&self) -> Result<Option<Token>, Failure> {
        self.store.load().await.map_err(|error| unreachable(&error))
    }

    async fn remember(&self, token: Token) -> Token {
        *self.seen.lock().await = Some(token.clone());
        token
    }
}

/// The body of a token request, and all of it: nothing of it is in the query.
fn form(signer: &Signer, account: &Account, now: Timestamp) -> Option<String> {
    let signature = signer.sign(now.millis())?;
    let mut form = format!(
        "client_id={}&timestamp={}&grant_type=client_credentials&client_secret_sign={}",
        segment(signer.client_id()),
        now.millis(),
        segment(&signature),
    );
    match account {
        Account::Own => form.push_str("&type=SELF"),
        Account::Seller(id) => {
            form.push_str(&format!("&type=SELLER&account_id={}", segment(id)));
        }
    }
    Some(form)
}

fn left(token: &Token) -> Duration {
    token.expires_at.since(clock::now())
}

fn somebody_else_fetches() -> Failure {
    Failure::Turn {
        reason: "another runner fetches the token".to_owned(),
        after: Duration::from_secs(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_the_documented_one_and_an_account_goes_with_seller_alone() {
        let signer = || {
            Signer::new("demo-app-id".to_owned(), "$2a$04$N9qo8uLOickgx2ZMRZoMye").expect("a salt")
        };
        let now = Timestamp::from_millis(1_767_225_600_000);
        let own = form(&signer(), &Account::Own, now).expect("a form");
        assert_eq!(
            own,
            "client_id=demo-app-id&timestamp=1767225600000&grant_type=client_credentials&client_secret_sign=\
             JDJhJDA0JE45cW84dUxPaWNrZ3gyWk1SWm9NeWVKNGxnZkdLSGRRdkpVN1U0R2c4WkdNcHdOcmI2TWVl&type=SELF"
        );
        let seller =
            form(&signer(), &Account::Seller("shop one+".to_owned()), now).expect("a form");
        assert!(seller.ends_with("&type=SELLER&account_id=shop%20one%2B"));
    }
}
