//! Whose turn it is to pull.

use std::time::Duration;

use super::LONGEST_DELAY;
use crate::{clock::Timestamp, connection::Redis, error::Error, keys::Keys};

/// How long a run has its channel, should it die.
const LEASE: Duration = Duration::from_secs(105);

/// One pull of a channel at a time, and one sweep.
#[derive(Clone)]
pub struct Turns {
    redis: Redis,
    pub(super) keys: Keys,
}

impl Turns {
    /// Turns by this connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    pub(super) async fn take(&self, place: &str) -> Result<bool, Error> {
        let mut command = redis::cmd("SET");
        command
            .arg(place)
            .arg(1)
            .arg("NX")
            .arg("EX")
            .arg(LEASE.as_secs());
        let mut commands = redis::pipe();
        commands.add_command(command);
        let (got,): (Option<String>,) = self.redis.send(&commands).await?;
        Ok(got.is_some())
    }

    pub(super) async fn give_back(&self, place: &str) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands.del(place).ignore();
        Ok(self.redis.send(&commands).await?)
    }

    /// Whether a wake that was put off is on its way, and comes in time.
    pub(super) async fn is_coming(
        &self,
        place: &str,
        now: Timestamp,
        in_time: Timestamp,
    ) -> Result<bool, Error> {
        let mut commands = redis::pipe();
        commands.get(place);
        let (at,): (Option<u64>,) = self.redis.send(&commands).await?;
        Ok(at.is_some_and(|at| (now.millis() + 1..=in_time.millis()).contains(&at)))
    }

    pub(super) async fn comes(&self, place: &str, at: Timestamp) -> Result<(), Error> {
        let mut commands = redis::pipe();
        commands
            .set_ex(place, at.millis(), 2 * LONGEST_DELAY.as_secs())
            .ignore();
        Ok(self.redis.send(&commands).await?)
    }
}
