//! How much a caller may ask: a bucket that leaks, and a quota for ten minutes.

use std::collections::VecDeque;

use time::{Duration, OffsetDateTime};

use crate::answer::Answer;

const QUOTA_PERIOD: Duration = Duration::minutes(10);

/// One bucket for the app and the mall.
#[derive(Debug)]
pub(crate) struct Limits {
    pub(crate) capacity: f64,
    pub(crate) leak_per_second: f64,
    /// Calls in ten minutes.
    pub(crate) quota: usize,
    level: f64,
    seen: Option<OffsetDateTime>,
    recent: VecDeque<OffsetDateTime>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            capacity: 40.0,
            leak_per_second: 2.0,
            quota: 3_000,
            level: 0.0,
            seen: None,
            recent: VecDeque::new(),
        }
    }
}

impl Limits {
    /// False when the call is one too many; such a call does not fill the bucket.
    pub(crate) fn take(&mut self, now: OffsetDateTime) -> bool {
        self.leak(now);
        if self.level + 1.0 > self.capacity || self.recent.len() >= self.quota {
            return false;
        }
        self.level += 1.0;
        self.recent.push_back(now);
        true
    }

    fn leak(&mut self, now: OffsetDateTime) {
        let since = self.seen.map_or(Duration::ZERO, |seen| now - seen);
        // A clock that a test turned back lets nothing leak.
        let leaked = since.as_seconds_f64().max(0.0) * self.leak_per_second;
        self.level = (self.level - leaked).max(0.0);
        self.seen = Some(now);
        self.recent.retain(|at| now - *at < QUOTA_PERIOD);
    }

    /// The headers of every answer of the Admin API. What `Remain` says when nothing is throttled, and how processing
    /// time is measured, is not documented; no time is counted here.
    pub(crate) fn dress(&mut self, answer: Answer, now: OffsetDateTime) -> Answer {
        self.leak(now);
        let wait = match self.recent.front() {
            Some(first) if self.recent.len() >= self.quota => {
                (QUOTA_PERIOD - (now - *first)).whole_seconds().max(1)
            }
            Some(_) | None => 0,
        };
        answer
            .with_header(
                "x-api-call-limit",
                &format!("{:.0}/{:.0}", self.level.ceil(), self.capacity),
            )
            .with_header("x-cafe24-call-usage", &self.recent.len().to_string())
            .with_header("x-cafe24-call-remain", &wait.to_string())
            .with_header("x-cafe24-time-usage", "0")
            .with_header("x-cafe24-time-remain", "0")
    }
}
