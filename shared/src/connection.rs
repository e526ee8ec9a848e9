//! The connection to Redis.
//!
//! One multiplexed connection a process, opened at the first call (never during start: a Redis that is down must not make
//! a function crash-loop). A Lambda is frozen between invocations, so its socket may be dead without having said so, and
//! after a failover it may lead to a replica: a timeout, a broken socket and READONLY all drop the connection, and the call
//! is made once more on a fresh one. The first may have run all the same, so a repeated script must do nothing more than the
//! first: most find what they wrote; `withdraw` and the room's `append` would not, so they carry a token and remember what
//! they answered to it. `undo` cannot be repeated in any way, and goes through [`Redis::run_once`].

use std::{sync::Arc, time::Duration};

use redis::{
    AsyncConnectionConfig, Client, ErrorKind, FromRedisValue, IntoConnectionInfo, RedisError,
    ScriptInvocation, ServerErrorKind, aio::MultiplexedConnection, io::tcp::TcpSettings,
};
use tokio::sync::Mutex;

use crate::config::Secret;

const CONNECT_TIMEOUT: Duration = Duration::from_millis(1_000);
const RESPONSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A lazy, self-healing connection. Clones share it.
#[derive(Clone)]
pub struct Redis {
    client: Client,
    open: Arc<Mutex<Option<MultiplexedConnection>>>,
}

impl Redis {
    /// Prepares a connection to `url`; nothing is sent yet.
    ///
    /// # Errors
    /// The URL is not one of Redis.
    pub fn new(url: &Secret) -> Result<Self, RedisError> {
        if url.reveal().starts_with("rediss:") {
            // The crate takes the provider of the process; another one in this binary would leave it undecided.
            let _installed = rustls::crypto::ring::default_provider().install_default();
        }
        let tcp = TcpSettings::default().set_nodelay(true);
        let info = url.reveal().into_connection_info()?.set_tcp_settings(tcp);
        Ok(Self {
            client: Client::open(info)?,
            open: Arc::default(),
        })
    }

    /// Runs a script whose repetition does no harm.
    ///
    /// # Errors
    /// Redis cannot be reached, did not answer in time (the script may have run), or the script failed.
    pub async fn run<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let first = match self.connection().await {
            Ok(mut connection) => script.invoke_async(&mut connection).await,
            Err(error) => Err(error),
        };
        match first {
            Err(error) if is_stale(&error) => {
                self.drop_connection().await;
                script.invoke_async(&mut self.connection().await?).await
            }
            answer => answer,
        }
    }

    /// Runs a script once, whatever becomes of it: for what must not be repeated.
    ///
    /// # Errors
    /// As [`Redis::run`]; and a connection that went stale unnoticed is an error here.
    pub async fn run_once<T: FromRedisValue>(
        &self,
        script: &ScriptInvocation<'_>,
    ) -> Result<T, RedisError> {
        let answer = script.invoke_async(&mut self.connection().await?).await;
        if answer.as_ref().is_err_and(is_stale) {
            self.drop_connection().await;
        }
        answer
    }

    /// Sends commands whose repetition does no harm, as one transaction or pipeline.
    ///
    /// # Errors
    /// As [`Redis::run`].
    pub async fn send<T: FromRedisValue>(
        &self,
        commands: &redis::Pipeline,
    ) -> Result<T, RedisError> {
        let first = match self.connection().await {
            Ok(mut connection) => commands.query_async(&mut connection).await,
            Err(error) => Err(error),
        };
        match first {
            Err(error) if is_stale(&error) => {
                self.drop_connection().await;
                commands.query_async(&mut self.connection().await?).await
            }
            answer => answer,
        }
    }

    async fn connection(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut open = self.open.lock().await;
        if let Some(connection) = open.as_ref() {
            return Ok(connection.clone());
        }
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(RESPONSE_TIMEOUT));
        let connection = self
            .client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok(open.insert(connection).clone())
    }

    async fn drop_connection(&self) {
        self.open.lock().await.take();
    }
}

fn is_stale(error: &RedisError) -> bool {
    error.is_timeout()
        || error.is_io_error()
        || error.is_unrecoverable_error()
        || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
}
