//! `lease`: one pump a room.

use std::sync::LazyLock;

use redis::Script;

use super::Rooms;
use crate::{clock::Timestamp, error::Error, id::BroadcastId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("lease.lua")));

impl Rooms {
    /// Becomes the pump of the room until `until`; `false` if there is another.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn lease(
        &self,
        broadcast: &BroadcastId,
        token: &str,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<bool, Error> {
        let mut call = SCRIPT.key(self.keys.room(broadcast));
        call.arg(now.millis()).arg(token).arg(until.millis());
        Ok(self.redis.run(&call).await?)
    }
}
