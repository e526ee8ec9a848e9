//! `local.json`: where everything is, for programs.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::Serialize;

use crate::error::{Context, Result};

/// The addresses of a run. Fields may be added, none may change its meaning.
#[derive(Debug, Serialize)]
pub struct Addresses {
    /// The HTTP API.
    pub http: String,
    /// The WebSocket API; `token` and `broadcast_id` are added as its query.
    pub websocket: String,
    /// The broadcaster's page.
    pub console: String,
    /// Redis.
    pub redis: String,
    /// DynamoDB.
    pub dynamodb: String,
    /// SQS.
    pub sqs: String,
    /// The payment gateway.
    pub payments: String,
    /// Marketplaces by name.
    pub channels: BTreeMap<String, String>,
    /// What tokens are signed with (HS256).
    pub token_secret: String,
    /// One token for each role.
    pub tokens: Tokens,
    /// The processes of this run.
    pub pids: BTreeMap<&'static str, u32>,
    /// The AWS endpoint that all of it is deployed to.
    pub aws: String,
    /// The region it is deployed to there.
    pub region: &'static str,
    /// The outputs of the stack.
    pub stack: BTreeMap<String, String>,
    /// The queues of the stack by logical id.
    pub queues: BTreeMap<String, String>,
    /// What is on air in the demo shop, once it is.
    pub demo: Option<Demo>,
}

/// A broadcast to try things on.
#[derive(Debug, Serialize)]
pub struct Demo {
    /// The broadcast.
    pub broadcast_id: String,
    /// What it sells.
    pub product_id: String,
}

/// One token for each role.
#[derive(Debug, Serialize)]
pub struct Tokens {
    /// Runs the catalogue and the stock.
    pub operator: String,
    /// Runs broadcasts.
    pub broadcaster: String,
    /// Buys, watches and chats.
    pub viewer: String,
}

impl Addresses {
    /// Writes them where only this user can read them: there are secrets inside.
    pub fn write(&self, path: &Path) -> Result<()> {
        let writing = || format!("{}", path.display());
        let json = serde_json::to_string_pretty(self).context(writing)?;
        // Whoever waits for the file must never see half of it.
        let unfinished = path.with_extension("json.new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)
            .context(writing)?;
        file.write_all(json.as_bytes())
            .and_then(|()| file.write_all(b"\n"))
            .context(writing)?;
        std::fs::rename(&unfinished, path).context(writing)
    }
}
