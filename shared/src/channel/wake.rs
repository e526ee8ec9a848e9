//! What travels on the two queues of the channels. A message is a hint that there is something to do, never what: that stands in the
//! ledger, the catalogue and the backlog, so a message that is lost, late or doubled does no harm.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::backlog::Backlog;
use crate::{error::Error, id::ProductId, queue::Queue};

/// A message of the `channel-sync` queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum SyncWake {
    /// Units of the pool or of a channel's share moved: see whose listings show another number now.
    Moved,
    /// A minute has passed: whatever waits goes on.
    Tick,
    /// Push what is on the backlog of this channel.
    Push {
        /// Which.
        channel: String,
    },
    /// Look at every listing of this channel, and put right what it shows.
    Sweep {
        /// Which.
        channel: String,
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
    /// Look at every listing of this channel, and change nothing.
    Look {
        /// Which.
        channel: String,
        /// Which look: one that another has taken the place of ends.
        number: u64,
        /// Where to go on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        after: Option<String>,
    },
}

/// A message of the `channel-pull` queue, or what a schedule says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullWake {
    /// Pull the orders of this channel.
    pub channel: String,
    /// Go over so many past days again, instead of pulling what is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep_days: Option<u32>,
}

impl PullWake {
    /// Asks for what is new at a channel.
    #[must_use]
    pub fn new(channel: impl Into<String>) -> Self {
        Self {
            channel: channel.into(),
            sweep_days: None,
        }
    }
}

/// Wakes `channel-sync`.
#[derive(Clone)]
pub struct Wakes {
    queue: Queue,
    backlog: Backlog,
}

impl Wakes {
    /// Wakes by this queue, for what this backlog has.
    #[must_use]
    pub fn new(queue: Queue, backlog: Backlog) -> Self {
        Self { queue, backlog }
    }

    /// Says that units moved. A wake that is lost is logged, and made up for by the next one, or by `reconcile`.
    pub async fn moved(&self) {
        if let Err(error) = self.send(&SyncWake::Moved).await {
            tracing::warn!(error = %error, "channel-sync was not woken; reconcile wakes it");
        }
    }

    /// Has the listings of a product looked at, because something other than its units changed.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn look_at(&self, product: &ProductId) -> Result<(), Error> {
        self.backlog.put_moved(product).await?;
        self.moved().await;
        Ok(())
    }

    /// Sends a wake.
    ///
    /// # Errors
    /// SQS did not take it, or did not say so.
    pub async fn send(&self, wake: &SyncWake) -> Result<(), Error> {
        self.queue.send(wake).await
    }

    /// Sends a wake that comes after a while.
    ///
    /// # Errors
    /// SQS did not take it, or did not say so.
    pub async fn send_after(&self, wake: &SyncWake, delay: Duration) -> Result<(), Error> {
        self.queue.send_after(wake, delay).await
    }
}
