//! What stands in front of Coupang's services: a rate for the whole vendor, and an edge that turns noisy callers away.

use std::collections::VecDeque;

use time::{Duration, OffsetDateTime};

/// Calls or errors of the last second, and until when their number has consequences.
#[derive(Debug, Default)]
pub(super) struct Burst {
    seen: VecDeque<OffsetDateTime>,
    blocked_until: Option<OffsetDateTime>,
}

impl Burst {
    /// Counts one; at `most` in a second there is a block, which begins anew as long as that goes on. 0 blocks nobody.
    pub(super) fn count(&mut self, most: usize, block: Duration, now: OffsetDateTime) {
        // What is later than now was counted before the clock was set back.
        self.seen
            .retain(|at| *at <= now && now - *at < Duration::SECOND);
        self.seen.push_back(now);
        if most > 0 && self.seen.len() >= most {
            self.blocked_until = Some(now + block);
            // More than the last `most` say nothing new.
            while self.seen.len() > most {
                self.seen.pop_front();
            }
        }
    }

    pub(super) fn is_blocked(&self, now: OffsetDateTime) -> bool {
        self.blocked_until.is_some_and(|until| now < until)
    }

    /// How many there were in the last second.
    pub(super) fn level(&self, now: OffsetDateTime) -> usize {
        self.seen
            .iter()
            .filter(|at| **at <= now && now - **at < Duration::SECOND)
            .count()
    }

    pub(super) fn lift(&mut self) {
        *self = Self::default();
    }
}
