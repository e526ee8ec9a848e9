//! Requests that wait because a fault says so, and what lets go of them.

use std::time::Duration;

use tokio::sync::watch;

/// Lets go of all requests that are held or delayed: it counts up when they shall go on.
#[derive(Debug, Default)]
pub struct Release(watch::Sender<u64>);

impl Release {
    /// To be taken before the fault is, or a release in between would be missed.
    #[must_use]
    pub fn awaited(&self) -> Released {
        Released(self.0.subscribe())
    }

    /// What waits goes on.
    pub fn now(&self) {
        self.0.send_modify(|releases| *releases += 1);
    }
}

/// One request's end of a [`Release`].
#[derive(Debug)]
pub struct Released(watch::Receiver<u64>);

impl Released {
    /// Waits as long as the script says, or until the faults are cleared.
    pub async fn or_after(&mut self, ms: u64) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(ms)) => {}
            _ = self.0.changed() => {}
        }
    }
}
