//! The local AWS: the pinned emulator in the project's venv, or whatever the configuration names instead.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::aws::{Aws, REGION};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::processes::{Death, Orphan, Processes};
use crate::{ports, say};

/// Invocations at once. Each is a process with a cold start: a laptop is faster with few of them than with hundreds.
const CONCURRENT_CALLS: &str = "64";

/// A local AWS that answers.
pub struct Emulator {
    /// Talks to it.
    pub aws: Aws,
    /// Its process, when it is ours.
    pub pid: Option<u32>,
}

/// Starts it, unless the configuration names another endpoint.
pub async fn start(processes: &Processes, config: &Config, scratch: &Path) -> Result<Emulator> {
    let since = Instant::now();
    if let Some(endpoint) = &config.aws_endpoint {
        say::ready("aws (given)", endpoint, since);
        return Ok(Emulator {
            aws: Aws::new(endpoint),
            pid: None,
        });
    }
    let python = config.root.join(".onepool/venv/bin/python");
    if !python.is_file() {
        return Err(
            Error::new(format!("{} is missing", python.display())).fix("run `infra/install.sh`")
        );
    }
    let port = ports::free()?;
    let endpoint = format!("http://127.0.0.1:{port}");
    let functions_log = processes.log("functions");
    // Appended to by the emulator: begin anew with every run.
    let _absent = std::fs::remove_file(&functions_log);
    let pid = processes.start(
        "emulator",
        (Orphan::EndsItself, Death::EndsTheRun),
        &python,
        |command| {
            command
                .arg("-u")
                .arg(config.root.join("infra/live/emulator.py"))
                // The functions inherit what the emulator has: nothing of this machine's that the template did not give
                // them, least of all a variable it forgot, or the credentials of the person who started this.
                .env_clear()
                .envs(config.machine.iter().cloned())
                .env("HOME", scratch)
                .env("BIND_HOST", "127.0.0.1")
                .env("GATEWAY_PORT", port.to_string())
                .env("AWS_ENDPOINT_URL", &endpoint)
                .env("AWS_ACCESS_KEY_ID", "test")
                .env("AWS_SECRET_ACCESS_KEY", "test")
                .env("AWS_REGION", REGION)
                .env("AWS_DEFAULT_REGION", REGION)
                .env("MINISTACK_REGION", REGION)
                .env("MINISTACK_WORKER_THREADS", CONCURRENT_CALLS)
                .env("TMPDIR", scratch)
                .env("ONEPOOL_FUNCTIONS_LOG", &functions_log)
                .env("ONEPOOL_STOP_WITH_STDIN", "1");
        },
    )?;
    let aws = Aws::new(&endpoint);
    processes
        .until_ready("emulator", Duration::from_secs(30), async || {
            aws.is_up().await.then_some(())
        })
        .await
        .map_err(|error| {
            error.fix("run `rm -rf .onepool/venv && infra/install.sh` if the venv is broken")
        })?;
    say::ready("aws (ministack)", &endpoint, since);
    Ok(Emulator {
        aws,
        pid: Some(pid),
    })
}
