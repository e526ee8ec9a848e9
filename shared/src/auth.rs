//! Tokens: who is calling, and as what. The shop's own backend signs them (JWT, HS256).

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{Error as JwtError, ErrorKind},
};
use ring::hmac;
use serde::{Deserialize, Serialize};
use signature::{Signer, Verifier};

use crate::{clock::Timestamp, config::Secret, error::Error};

/// A user of the shop, as the shop's backend names them: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserId(String);

impl UserId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for UserId {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if (1..=128).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text))
        } else {
            Err("expected 1 to 128 visible ASCII characters")
        }
    }
}

impl std::str::FromStr for UserId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl From<UserId> for String {
    fn from(id: UserId) -> Self {
        id.0
    }
}

/// What a caller may do. Each role may do all that the one before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Watches and buys.
    Viewer,
    /// Hosts broadcasts.
    Broadcaster,
    /// Runs the shop.
    Operator,
}

/// The claims of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Caller {
    /// Who.
    #[serde(rename = "sub")]
    pub user_id: UserId,
    /// The name others see.
    pub name: String,
    /// As what.
    pub role: Role,
    /// Until when, in seconds since 1970 UTC.
    pub exp: u64,
}

impl Caller {
    /// Lets the caller through if they have at least `role`.
    ///
    /// # Errors
    /// [`Error::Forbidden`].
    pub fn require(&self, role: Role) -> Result<(), Error> {
        if self.role >= role {
            Ok(())
        } else {
            Err(Error::Forbidden)
        }
    }
}

/// Verifies and signs tokens with the shop's secret.
#[derive(Clone)]
pub struct Tokens {
    verify: DecodingKey,
    sign: EncodingKey,
    rules: Validation,
}

impl Tokens {
    /// Tokens under `secret`.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        // Already there if these are not the first tokens of the process.
        let _installed = HS256_ONLY.install_default();
        let mut rules = Validation::new(Algorithm::HS256);
        rules.leeway = 0;
        rules.set_required_spec_claims(&["exp", "sub"]);
        Self {
            verify: DecodingKey::from_secret(secret.reveal().as_bytes()),
            sign: EncodingKey::from_secret(secret.reveal().as_bytes()),
            rules,
        }
    }

    /// Who presents this token.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if it is not ours, has expired, or its claims are not as they must be.
    pub fn verify(&self, token: &str) -> Result<Caller, Error> {
        jsonwebtoken::decode::<Caller>(token, &self.verify, &self.rules)
            .map(|token| token.claims)
            .map_err(|_| Error::Unauthenticated)
    }

    /// Who presents this `Authorization` header.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] as [`Tokens::verify`], or if the header is missing or not `Bearer`.
    pub fn verify_header(&self, authorization: Option<&str>) -> Result<Caller, Error> {
        let (scheme, token) = authorization
            .and_then(|header| header.split_once(' '))
            .ok_or(Error::Unauthenticated)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Error::Unauthenticated);
        }
        self.verify(token.trim())
    }

    /// A token as the shop's backend would sign it, for the local run and for tests.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`] if the claims cannot be signed.
    pub fn sign(
        &self,
        user_id: UserId,
        name: &str,
        role: Role,
        until: Timestamp,
    ) -> Result<String, Error> {
        let claims = Caller {
            user_id,
            name: name.to_owned(),
            role,
            exp: until.millis() / 1_000,
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .map_err(|_| Error::Unauthenticated)
    }
}

/// The one algorithm that is taken. The providers that come with the crate bring a dozen more, with two megabytes of code.
static HS256_ONLY: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(hs256(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(hs256(*algorithm, key.try_get_as_bytes()?)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(hmac::Key);

fn hs256(algorithm: Algorithm, secret: &[u8]) -> Result<Hs256, JwtError> {
    if algorithm != Algorithm::HS256 {
        return Err(ErrorKind::InvalidAlgorithm.into());
    }
    let mut derived = DERIVED.lock().unwrap_or_else(PoisonError::into_inner);
    let key = match derived.as_ref() {
        Some((of, key)) if **of == *secret => key.clone(),
        Some(_) | None => {
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
            *derived = Some((secret.into(), key.clone()));
            key
        }
    };
    Ok(Hs256(key))
}

/// A secret, and the key derived from it. A shop has one secret, and deriving hashes as much as the half of a token.
static DERIVED: Mutex<Option<(Box<[u8]>, hmac::Key)>> = Mutex::new(None);

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        // In constant time.
        hmac::verify(&self.0, message, signature).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock;

    fn tokens() -> Tokens {
        Tokens::new(&Secret::new("secret"))
    }

    fn token(tokens: &Tokens, role: Role, until: Timestamp) -> String {
        tokens
            .sign("u1".parse().expect("an id"), "이름", role, until)
            .expect("signs")
    }

    #[test]
    fn a_token_is_who_it_says() {
        let signed = token(
            &tokens(),
            Role::Viewer,
            clock::now() + Duration::from_secs(60),
        );
        let caller = tokens()
            .verify_header(Some(&format!("Bearer {signed}")))
            .expect("is ours");
        assert_eq!(
            (caller.user_id.as_str(), caller.name.as_str(), caller.role),
            ("u1", "이름", Role::Viewer)
        );
        assert!(caller.require(Role::Viewer).is_ok());
        assert!(matches!(
            caller.require(Role::Broadcaster),
            Err(Error::Forbidden)
        ));
    }

    #[test]
    fn a_token_that_is_forged_expired_unsigned_or_missing_is_refused() {
        let later = clock::now() + Duration::from_secs(60);
        let forged = token(&Tokens::new(&Secret::new("other")), Role::Operator, later);
        let expired = token(
            &tokens(),
            Role::Viewer,
            Timestamp::from_millis(clock::now().millis() - 2_000),
        );
        let unsigned = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJ1MSIsIm5hbWUiOiJuIiwicm9sZSI6Im9wZXJhdG9yIiwiZXhwIjo5OTk5OTk5OTk5fQ.";
        for bad in [forged.as_str(), expired.as_str(), unsigned, "", "a.b.c"] {
            assert!(
                matches!(tokens().verify(bad), Err(Error::Unauthenticated)),
                "{bad:?} was taken"
            );
        }
        for header in [None, Some(""), Some("Bearer"), Some("Basic abc")] {
            assert!(matches!(
                tokens().verify_header(header),
                Err(Error::Unauthenticated)
            ));
        }
    }
}
