//! Tokens as the shop's own backend would sign them.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::Serialize;

use crate::error::{Context, Result};

const LIFETIME: Duration = Duration::from_hours(12);

/// Who may do what.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Buys, watches and chats.
    Viewer,
    /// Runs broadcasts.
    Broadcaster,
    /// Runs the catalogue and the stock.
    Operator,
}

/// Signs with one secret, new with every run.
#[derive(Clone)]
pub struct Signer {
    secret: String,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: &'a str,
    name: &'a str,
    role: Role,
    exp: u64,
}

impl Signer {
    /// With a secret that nobody knows yet.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; 32];
        let reading = || "random bytes".to_owned();
        File::open("/dev/urandom")
            .context(reading)?
            .read_exact(&mut bytes)
            .context(reading)?;
        Ok(Self {
            secret: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        })
    }

    /// The secret, for the functions that verify.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// A token good for half a day.
    pub fn sign(&self, sub: &str, name: &str, role: Role) -> Result<String> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let claims = Claims {
            sub,
            name,
            role,
            exp: (now + LIFETIME).as_secs(),
        };
        let key = EncodingKey::from_secret(self.secret.as_bytes());
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)
            .context(|| "signing a token".into())
    }
}
