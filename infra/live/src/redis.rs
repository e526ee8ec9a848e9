//! A real redis-server of this run's own: in memory, and never evicting. One that dies is started again on the same port,
//! empty: as a node that a managed service replaces, and what Onepool says it survives.

use std::path::Path;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::error::{Error, Result};
use crate::processes::{Death, Orphan, Processes};
use crate::{ports, say};

/// Where it listens.
pub struct Redis {
    /// `redis://127.0.0.1:port`
    pub url: String,
}

/// Starts it and waits until it answers.
pub async fn start(processes: &Processes, scratch: &Path) -> Result<Redis> {
    let since = Instant::now();
    let port = ports::free()?;
    let program = Path::new("redis-server");
    processes
        .start(
            "redis",
            (Orphan::Killed, Death::ComesBack),
            program,
            |command| {
                command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
                command.args([
                    "--save",
                    "",
                    "--appendonly",
                    "no",
                    "--maxmemory-policy",
                    "noeviction",
                ]);
                command.arg("--dir").arg(scratch);
            },
        )
        .map_err(installed)?;
    let version = processes
        .until_ready("redis", Duration::from_secs(10), async || {
            version(port).await
        })
        .await
        .map_err(installed)?;
    say::ready(
        &format!("redis {version}"),
        &format!("127.0.0.1:{port}"),
        since,
    );
    Ok(Redis {
        url: format!("redis://127.0.0.1:{port}"),
    })
}

fn installed(error: Error) -> Error {
    error.fix("run `infra/install.sh`, which installs redis-server")
}

async fn version(port: u16) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(b"INFO server\r\n").await.ok()?;
    let mut answer = vec![0; 4096];
    let length = stream.read(&mut answer).await.ok()?;
    let text = String::from_utf8_lossy(&answer[..length]).into_owned();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("redis_version:"))?;
    Some(line.trim().to_owned())
}
