//! A redis-server of one's own: loopback, a free port, nothing kept.

use std::{net::TcpListener, process::Stdio, time::Duration};

use onepool::{config::Secret, connection::Redis};
use tokio::process::{Child, Command};

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
        let port = TcpListener::bind(("127.0.0.1", 0))
            .and_then(|socket| socket.local_addr())
            .expect("a free port")
            .port();
        let mut server = Self {
            port,
            process: None,
            extra: extra.iter().map(ToString::to_string).collect(),
        };
        server.launch().await;
        server
    }

    /// Kills it where it stands, and starts an empty one on the same port.
    pub async fn kill_and_restart(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().await.expect("the server can be killed");
        }
        self.launch().await;
    }

    async fn launch(&mut self) {
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
        self.process = Some(process);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", self.port))
            .await
            .is_err()
        {
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

    /// A plain connection, for what no function does.
    pub async fn plain(&self) -> redis::aio::MultiplexedConnection {
        redis::Client::open(self.url())
            .expect("a redis URL")
            .get_multiplexed_async_connection()
            .await
            .expect("the server answers")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Only a server in cluster mode has written it.
        let _absent = std::fs::remove_file(std::env::temp_dir().join(self.cluster_file()));
    }
}
