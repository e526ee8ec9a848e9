//! What the environment says. Nothing else in the crate reads it.

use std::io;

use fakes::env::{parsed, text};

/// The secret key when none is given: the example key of the Toss documents' shape.
const DEFAULT_SECRET_KEY: &str = "test_sk_demo0000000000000000";

/// A documented minute of the webhook retry ladder, when nothing scales it.
pub(crate) const REAL_MINUTE_MS: u64 = 60_000;

/// How a sandbox is set up at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The port of 127.0.0.1 to listen on; 0 takes a free one.
    pub port: u16,
    /// The only secret key that is accepted.
    pub secret_key: String,
    /// Where webhooks go from the start; the control API can change it.
    pub webhook_url: Option<String>,
    /// How long one minute of the webhook retry ladder really lasts.
    pub webhook_minute_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 0,
            secret_key: DEFAULT_SECRET_KEY.to_owned(),
            webhook_url: None,
            webhook_minute_ms: REAL_MINUTE_MS,
        }
    }
}

impl Settings {
    /// Reads `PAYMENT_SANDBOX_PORT`, `TOSS_SECRET_KEY`, `TOSS_WEBHOOK_URL` and
    /// `TOSS_WEBHOOK_MINUTE_MS`; what is unset or empty keeps its default.
    pub fn from_env() -> io::Result<Self> {
        let default = Self::default();
        Ok(Self {
            port: parsed("PAYMENT_SANDBOX_PORT")?.unwrap_or(default.port),
            secret_key: text("TOSS_SECRET_KEY")?.unwrap_or(default.secret_key),
            webhook_url: text("TOSS_WEBHOOK_URL")?,
            webhook_minute_ms: parsed("TOSS_WEBHOOK_MINUTE_MS")?
                .unwrap_or(default.webhook_minute_ms),
        })
    }

    /// Live keys switch off what exists only for tests, as at Toss.
    pub(crate) fn is_test_key(&self) -> bool {
        self.secret_key.starts_with("test_")
    }
}
