//! `resume`: what a viewer missed.

use std::sync::LazyLock;

use redis::Script;

use super::{LoggedEvent, Rooms, frame::read_events};
use crate::{error::Error, id::BroadcastId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("resume.lua")));

impl Rooms {
    /// The sequence number of the room's last event, and all events after `seen`; `None` if the log does not have them all.
    /// Costs what was missed, whatever the room holds.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn resume(
        &self,
        broadcast: &BroadcastId,
        seen: u64,
    ) -> Result<Option<(u64, Vec<LoggedEvent>)>, Error> {
        let mut call = SCRIPT.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast)).arg(seen);
        let answer: Vec<String> = self.redis.run(&call).await?;
        let mut words = answer.into_iter();
        let head = words.next().and_then(|head| head.parse().ok());
        match head {
            Some(head) => Ok(Some((head, read_events(words)?))),
            None => Ok(None),
        }
    }
}
