//! `resume`: what a viewer missed.

use std::sync::LazyLock;

use redis::Script;

use super::{LoggedEvent, Rooms, chat::Refusal, frame::read_events};
use crate::{auth::UserId, error::Error, id::BroadcastId};

static SCRIPT: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("resume.lua")));

impl Rooms {
    /// The sequence number of the room's last event, and all events after `seen`; `None` if the log does not have them all.
    /// Costs what was missed, whatever the room holds.
    ///
    /// # Errors
    /// [`Error::Refused`] if `user` is banned, or Redis did not answer.
    pub async fn resume(
        &self,
        broadcast: &BroadcastId,
        user: &UserId,
        seen: u64,
    ) -> Result<Option<(u64, Vec<LoggedEvent>)>, Error> {
        let mut call = SCRIPT.key(self.keys.room(broadcast));
        call.key(self.keys.log(broadcast))
            .key(self.keys.moderation(broadcast))
            .arg(seen)
            .arg(user.as_str());
        let answer: Vec<String> = self.redis.run(&call).await?;
        let mut words = answer.into_iter();
        match words.next().as_deref() {
            Some("banned") => Err(Error::Refused(Refusal::Banned)),
            Some(head) if let Ok(head) = head.parse() => Ok(Some((head, read_events(words)?))),
            _ => Ok(None),
        }
    }
}
