//! What can go wrong around a service, whatever it does: late, lost on the way in, lost on the way back.

use crate::{
    control::Invalid,
    exchange::{Ending, HangUp},
    faults::unfit,
    hold::Released,
};

const MAX_MS: u64 = 600_000;

/// What goes wrong around the work of one request.
#[derive(Clone, Copy, Debug)]
pub enum Trouble {
    /// The work is done late.
    Delay {
        /// How late.
        ms: u64,
    },
    /// The request is lost on its way in.
    TimeoutBeforeCommit {
        /// How long the caller waits for nothing.
        ms: u64,
    },
    /// The work is done, but this caller never hears.
    TimeoutAfterCommit {
        /// How long the caller waits for nothing.
        ms: u64,
    },
    /// Lost on its way in, and the caller learns at once that the connection is gone.
    CloseBeforeCommit,
    /// The work is done, and the connection is gone at once.
    CloseAfterCommit,
    /// The connection is gone at once, and the work is done late: after what comes next, perhaps.
    CommitLater {
        /// How late.
        ms: u64,
    },
}

impl Trouble {
    /// Whether the request gets to the service at all.
    #[must_use]
    pub fn arrives(self) -> bool {
        match self {
            Self::TimeoutBeforeCommit { .. } | Self::CloseBeforeCommit => false,
            Self::Delay { .. }
            | Self::TimeoutAfterCommit { .. }
            | Self::CloseAfterCommit
            | Self::CommitLater { .. } => true,
        }
    }

    /// Has the work done, or not, when it is time, and gives its answer, or not.
    pub async fn around(
        self,
        work: impl FnOnce() -> Ending,
        released: &mut Released,
        hang_up: HangUp,
    ) -> Ending {
        match self {
            Self::Delay { ms } => {
                released.or_after(ms).await;
                work()
            }
            Self::TimeoutBeforeCommit { ms } => {
                released.or_after(ms).await;
                None
            }
            Self::TimeoutAfterCommit { ms } => {
                work();
                released.or_after(ms).await;
                None
            }
            Self::CloseBeforeCommit => None,
            Self::CloseAfterCommit => {
                work();
                None
            }
            Self::CommitLater { ms } => {
                hang_up.now();
                released.or_after(ms).await;
                work();
                None
            }
        }
    }
}

/// How long a rule holds a request; without end would outlive the test.
pub fn held(ms: Option<u64>) -> Result<u64, Invalid> {
    ms.filter(|ms| *ms <= MAX_MS)
        .ok_or_else(|| unfit("ms is needed, and at most 600000"))
}
