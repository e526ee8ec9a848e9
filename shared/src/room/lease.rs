//! `lease`: one pump a shard.

use std::sync::LazyLock;

use redis::Script;

use super::{Rooms, Shard};
use crate::{clock::Timestamp, error::Error};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));

impl Rooms {
    /// Becomes the pump of the shard until `until`; `false` if there is another.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn lease(
        &self,
        shard: &Shard,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        self.hold(shard, token, (now, until), false).await
    }

    /// Stays the pump of the shard until `until`; `false` if the lease is not the caller's any more.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn renew(
        &self,
        shard: &Shard,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        self.hold(shard, token, (now, until), true).await
    }

    async fn hold(
        &self,
        shard: &Shard,
        token: &str,
        (now, until): (Timestamp, Timestamp),
        stay: bool,
    ) -> Result<bool, Error> {
        let mut call = SCRIPT.key(self.keys.room(&shard.broadcast));
        call.arg(now.millis())
            .arg(token)
            .arg(until.millis())
            .arg(shard.number)
            .arg(u8::from(stay));
        Ok(self.redis.run(&call).await?)
    }
}
