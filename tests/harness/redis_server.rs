//! A redis-server of one's own: loopback, a free port, nothing kept.

use std::{ops::Range, pin::Pin, process::Stdio, time::Duration};

use futures::{Stream, StreamExt};
use onepool::{config::Secret, connection::Redis};
use redis::AsyncConnectionConfig;
use tokio::process::{Child, Command};

const PORTS: Range<u16> = 15_000..32_000;
const PORT_TRIES: usize = 20;
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// All keys of a server at one moment; by default, of an empty one.
#[derive(Default)]
pub struct Copy(Vec<(String, i64, Vec<u8>)>);

/// A running redis-server. It dies with this value.
pub struct RedisServer {
    port: u16,
    process: Option<Child>,
    extra: Vec<String>,
}

impl RedisServer {
    /// Starts one.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// Starts one in cluster mode, with no slot assigned.
    pub async fn start_cluster() -> Self {
        Self::start_with(&["--cluster-enabled", "yes"]).await
    }

    async fn start_with(extra: &[&str]) -> Self {
        let extra: Vec<String> = extra.iter().map(ToString::to_string).collect();
        // Below the range that sockets take their ports from by themselves, so that nobody takes the port of a server that
        // is being restarted. Another server may have it already: then the next one is tried.
        for _ in 0..PORT_TRIES {
            let mut server = Self {
                port: fastrand::u16(PORTS),
                process: None,
                extra: extra.clone(),
            };
            if server.launch().await {
                return server;
            }
        }
        panic!(
            "no free port for redis-server in {PORTS:?}, or it does not start: `make test` installs it"
        );
    }

    /// Kills it where it stands.
    pub async fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the server can be killed");
        }
    }

    /// Kills it where it stands, and starts an empty one on the same port.
    pub async fn kill_and_restart(&mut self) {
        self.kill().await;
        assert!(self.launch().await, "redis-server did not come back");
    }

    /// Whether it is this very server that answers on the port now.
    async fn launch(&mut self) -> bool {
        let process = Command::new("redis-server")
            .args([
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--port",
                &self.port.to_string(),
            ])
            .args(&self.extra)
            .args([
                "--dir",
                &std::env::temp_dir().to_string_lossy(),
                "--cluster-config-file",
                &self.cluster_file(),
            ])
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("redis-server starts: `make test` installs it");
        let process = self.process.insert(process);
        let deadline = tokio::time::Instant::now() + START_TIMEOUT;
        loop {
            if process.try_wait().expect("a child process").is_some() {
                return false; // the port is another's
            }
            if let Some(pid) = server_pid(self.port).await {
                return Some(pid) == process.id();
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "redis-server did not come up"
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn cluster_file(&self) -> String {
        format!("onepool-test-cluster-{}.conf", self.port)
    }

    /// The port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// A connection as the functions have it.
    #[must_use]
    pub fn connection(&self) -> Redis {
        Redis::new(&Secret::new(self.url())).expect("a redis URL")
    }

    /// Sends a command of an operator.
    pub async fn command(&self, words: &[&str]) {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let mut connection = self.plain().await;
        let answer: redis::RedisResult<()> = command.query_async(&mut connection).await;
        answer.expect("the server takes the command");
    }

    /// From now on, every command that the server does.
    pub async fn monitor(&self) -> Monitor {
        let client = redis::Client::open(self.url()).expect("a redis URL");
        let monitor = client.get_async_monitor().await.expect("answers");
        Monitor {
            told: Box::pin(monitor.into_on_message()),
            server: self.plain().await,
        }
    }

    /// All keys as they are now: what a replica has at this moment.
    pub async fn copy(&self) -> Copy {
        let mut connection = self.plain().await;
        let keys: Vec<String> = redis::cmd("KEYS")
            .arg("*")
            .query_async(&mut connection)
            .await
            .expect("the server answers");
        let mut copy = Vec::with_capacity(keys.len());
        for key in keys {
            let mut look = redis::pipe();
            look.cmd("DUMP").arg(&key).cmd("PTTL").arg(&key);
            let (dump, left_ms): (Option<Vec<u8>>, i64) = look
                .query_async(&mut connection)
                .await
                .expect("the server answers");
            // A key whose time has come since it was listed is not there.
            if let Some(dump) = dump {
                copy.push((key, left_ms.max(0), dump));
            }
        }
        Copy(copy)
    }

    /// A failover to a replica that had not heard of what came after `copy`: every connection ends, every later write is
    /// lost.
    pub async fn bring_back(&self, copy: &Copy) {
        let mut connection = self.plain().await;
        let mut bring = redis::pipe();
        bring.atomic().cmd("FLUSHALL").ignore();
        for (key, left_ms, dump) in &copy.0 {
            let restore = bring.cmd("RESTORE").arg(key).arg(left_ms);
            restore.arg(dump).ignore();
        }
        bring
            .cmd("CLIENT")
            .arg("KILL")
            .arg("TYPE")
            .arg("normal")
            .arg("SKIPME")
            .arg("yes")
            .ignore();
        let brought: redis::RedisResult<()> = bring.query_async(&mut connection).await;
        brought.expect("the server answers");
    }

    /// A plain connection, for what no function does.
    pub async fn plain(&self) -> redis::aio::MultiplexedConnection {
        let patient = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(START_TIMEOUT))
            .set_response_timeout(Some(START_TIMEOUT));
        redis::Client::open(self.url())
            .expect("a redis URL")
            .get_multiplexed_async_connection_with_config(&patient)
            .await
            .expect("the server answers")
    }
}

/// What a server does.
pub struct Monitor {
    told: Pin<Box<dyn Stream<Item = String> + Send>>,
    server: redis::aio::MultiplexedConnection,
}

impl Monitor {
    /// The commands since it was last asked, as `MONITOR` writes them: `<time> [<db> <client, or "lua">] "<word>" ...`.
    pub async fn commands(&mut self) -> Vec<String> {
        let mark = format!("{:016x}", fastrand::u64(..));
        let mut ping = redis::cmd("ECHO");
        let echoed: redis::RedisResult<String> =
            ping.arg(&mark).query_async(&mut self.server).await;
        echoed.expect("the server answers");
        let mut commands = Vec::new();
        while let Some(command) = self.told.next().await {
            if command.contains(&mark) {
                return commands;
            }
            commands.push(command);
        }
        panic!("the server ended");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Only a server in cluster mode has written it.
        let _absent = std::fs::remove_file(std::env::temp_dir().join(self.cluster_file()));
    }
}

/// The process that answers on a port; `None` if none does yet.
async fn server_pid(port: u16) -> Option<u32> {
    let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let info: redis::InfoDict = redis::cmd("INFO")
        .arg("server")
        .query_async(&mut connection)
        .await
        .ok()?;
    info.get("process_id")
}
