//! Tokens as the shop's own backend would sign them.

use std::fs::File;
use std::io::Read;
use std::time::Duration;

pub use onepool::auth::Role;
use onepool::auth::Tokens;
use onepool::clock;
use onepool::config::Secret;

use crate::error::{Context, Result};

const LIFETIME: Duration = Duration::from_hours(12);

/// Signs with one secret, new with every run.
#[derive(Clone)]
pub struct Signer {
    secret: String,
    tokens: Tokens,
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
        let secret: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let tokens = Tokens::new(&Secret::new(secret.clone()));
        Ok(Self { secret, tokens })
    }

    /// The secret, for the functions that verify.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// A token good for half a day.
    pub fn sign(&self, sub: &str, name: &str, role: Role) -> Result<String> {
        let signing = || format!("signing a token for {sub}");
        let user = sub
            .parse()
            .map_err(std::io::Error::other)
            .context(signing)?;
        self.tokens
            .sign(user, name, role, clock::now() + LIFETIME)
            .context(signing)
    }
}
