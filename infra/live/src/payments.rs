//! The payment sandbox, a process of its own that is reached over HTTP like the real gateway.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::config::Config;
use crate::error::{Context, Error, Result};
use crate::processes::{Death, Orphan, Processes};
use crate::say;

/// The route of `template.yaml` that hears of payments.
const WEBHOOK_ROUTE: &str = "/payments/webhook";

/// Where payments go.
pub struct Payments {
    /// Base of the gateway's API.
    pub url: String,
    /// Its process, when it is ours.
    pub pid: Option<u32>,
}

impl Payments {
    /// Has the sandbox tell the HTTP API at `http` what becomes of payments. A gateway that was given is told where to send
    /// them in its own console.
    pub async fn send_webhooks_to(&self, http: &str) -> Result<()> {
        if self.pid.is_none() {
            return Ok(());
        }
        let answer = reqwest::Client::new()
            .put(format!("{}/sandbox/webhook", self.url))
            .json(&json!({ "url": format!("{http}{WEBHOOK_ROUTE}") }))
            .send()
            .await
            .and_then(reqwest::Response::error_for_status);
        answer
            .map(drop)
            .context(|| "the payment sandbox was not told where its webhooks go".into())
    }
}

/// Starts the sandbox, unless the configuration names another gateway.
pub async fn start(processes: &Processes, config: &Config) -> Result<Payments> {
    let since = Instant::now();
    if let Some(url) = &config.toss_base_url {
        say::ready("payments (given)", url, since);
        return Ok(Payments {
            url: url.clone(),
            pid: None,
        });
    }
    let program = config.binaries.join("payment-sandbox");
    if !program.is_file() {
        return Err(Error::new(format!("{} is missing", program.display())).fix("run `make build`"));
    }
    let pid = processes.start(
        "payment-sandbox",
        (Orphan::Killed, Death::EndsTheRun),
        &program,
        |command| {
            command
                .env("PAYMENT_SANDBOX_PORT", "0")
                .env("TOSS_SECRET_KEY", &config.toss_secret_key);
        },
    )?;
    let log = processes.log("payment-sandbox");
    let url = processes
        .until_ready("payment-sandbox", Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(&log).ok()?;
            text.lines()
                .find_map(|line| line.strip_prefix("payment-sandbox listening on "))
                .map(|url| url.trim().to_owned())
        })
        .await?;
    say::ready("payment sandbox", &url, since);
    Ok(Payments {
        url,
        pid: Some(pid),
    })
}
