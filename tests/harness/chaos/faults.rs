//! Faults that are not on the wire of AWS: a process that dies between two steps, and what happens to Redis.

use std::{pin::pin, time::Duration};

use futures::future::poll_fn;
use tokio::time::Instant;

use super::history::RedisFault;
use crate::{RedisServer, redis_server::Copy};

/// Runs `work`, which dies when it has been polled `dies` times: everything between two of its steps may be its end. What
/// it has sent by then goes on.
pub async fn mortal<T>(work: impl Future<Output = T>, dies: Option<u16>) -> Option<T> {
    let mut work = pin!(work);
    let mut left = dies;
    poll_fn(|context| {
        left = left.map(|polls| polls.saturating_sub(1));
        let polled = work.as_mut().poll(context).map(Some);
        if polled.is_pending() && left == Some(0) {
            // Nobody may wake it any more: it is dead now, not at its next wake.
            return std::task::Poll::Ready(None);
        }
        polled
    })
    .await
}

/// A Redis to which things happen.
#[derive(Default)]
pub struct Torment {
    copy: Copy,
    read_only_turns: u8,
    slow_until: Option<Instant>,
    away: Option<Away>,
}

/// A server that no new connection reaches; it is still heard through the one that sent it away.
struct Away {
    turns: u8,
    back: redis::aio::MultiplexedConnection,
}

impl Torment {
    /// Something happens to Redis. Returns whether it may have lost something that it had said.
    pub async fn strike(&mut self, server: &mut RedisServer, fault: RedisFault) -> bool {
        self.wait().await;
        self.come_back(server).await;
        match fault {
            RedisFault::Flush => {
                run(server, &["FLUSHALL"]).await;
                true
            }
            RedisFault::Restart => {
                self.read_only_turns = 0;
                server.kill_and_restart().await;
                true
            }
            RedisFault::Copy => {
                self.copy = server.copy().await;
                false
            }
            RedisFault::Failover => {
                self.writable(server).await;
                server.bring_back(&self.copy).await;
                true
            }
            RedisFault::ReadOnly(turns) => {
                self.read_only_turns = turns;
                // A master that nobody is: the data stays, and writes are refused.
                run(server, &["REPLICAOF", "127.0.0.1", "1"]).await;
                false
            }
            RedisFault::Slow(ms) => {
                run(server, &["CLIENT", "PAUSE", &ms.to_string(), "ALL"]).await;
                self.slow_until = Some(Instant::now() + Duration::from_millis(ms));
                false
            }
            RedisFault::Away(turns) => {
                let mut back = server.plain().await;
                for words in [
                    &["CONFIG", "SET", "port", "0"][..],
                    &["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"],
                ] {
                    let sent: redis::RedisResult<redis::Value> =
                        command(words).query_async(&mut back).await;
                    sent.expect("redis answers");
                }
                self.away = Some(Away { turns, back });
                false
            }
            RedisFault::Disconnect => {
                run(server, &["CLIENT", "KILL", "TYPE", "normal"]).await;
                false
            }
        }
    }

    /// A turn has passed.
    pub async fn pass(&mut self, server: &RedisServer) {
        match self.read_only_turns {
            0 => {}
            // Who cannot be reached cannot be told.
            1 if self.away.is_some() => {}
            1 => self.writable(server).await,
            turns => self.read_only_turns = turns - 1,
        }
        match &mut self.away {
            Some(away) if away.turns > 1 => away.turns -= 1,
            Some(_) => self.come_back(server).await,
            None => {}
        }
    }

    /// Nothing is wrong with Redis any more; what it has lost stays lost.
    pub async fn end(&mut self, server: &RedisServer) {
        self.come_back(server).await;
        self.writable(server).await;
        self.copy = Copy::default();
    }

    async fn come_back(&mut self, server: &RedisServer) {
        if let Some(mut away) = self.away.take() {
            let port = server.port().to_string();
            let listening: redis::RedisResult<redis::Value> =
                command(&["CONFIG", "SET", "port", &port])
                    .query_async(&mut away.back)
                    .await;
            listening.expect("the server listens again");
        }
    }

    async fn writable(&mut self, server: &RedisServer) {
        self.wait().await;
        if self.read_only_turns > 0 {
            run(server, &["REPLICAOF", "NO", "ONE"]).await;
            self.read_only_turns = 0;
        }
    }

    async fn wait(&mut self) {
        if let Some(until) = self.slow_until.take() {
            tokio::time::sleep_until(until).await;
        }
    }
}

async fn run(server: &RedisServer, words: &[&str]) {
    let mut connection = server.plain().await;
    // A server that cuts all sockets cuts this one, too.
    let _answer: redis::RedisResult<redis::Value> =
        command(words).query_async(&mut connection).await;
}

fn command(words: &[&str]) -> redis::Cmd {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
}
