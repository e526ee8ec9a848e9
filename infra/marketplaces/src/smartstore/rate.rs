//! One token bucket for each API, and the hourly quota of an application under sanction.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

const MILLI: u64 = 1_000;

/// Thousandths of calls, so that a bucket fills by the millisecond.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    milli: u64,
    at: OffsetDateTime,
}

impl Bucket {
    fn filled(self, rate: u64, now: OffsetDateTime) -> Self {
        // A clock that was set back fills nothing.
        let passed_ms = u64::try_from((now - self.at).whole_milliseconds()).unwrap_or(0);
        let milli = self.milli.saturating_add(passed_ms.saturating_mul(rate));
        Self {
            milli: milli.min(capacity(rate).saturating_mul(MILLI)),
            at: now,
        }
    }
}

/// The burst is twice the rate.
pub(super) fn capacity(rate: u64) -> u64 {
    rate.saturating_mul(2)
}

#[derive(Debug, Default)]
pub(super) struct Limits {
    buckets: HashMap<&'static str, Bucket>,
    /// When each API was last called under sanction.
    hourly: HashMap<&'static str, OffsetDateTime>,
}

impl Limits {
    /// True, and one call taken, when the bucket has one. A rate of 0 limits nothing.
    pub(super) fn take(&mut self, api: &'static str, rate: u64, now: OffsetDateTime) -> bool {
        if rate == 0 {
            return true;
        }
        let mut bucket = self.bucket(api, rate, now);
        let enough = bucket.milli >= MILLI;
        if enough {
            bucket.milli -= MILLI;
        }
        self.buckets.insert(api, bucket);
        enough
    }

    pub(super) fn remaining(&self, api: &'static str, rate: u64, now: OffsetDateTime) -> u64 {
        self.bucket(api, rate, now).milli / MILLI
    }

    /// True when this API has not been called for an hour.
    pub(super) fn take_hourly(&mut self, api: &'static str, now: OffsetDateTime) -> bool {
        let free = self
            .hourly
            .get(api)
            .is_none_or(|last| now - *last >= Duration::HOUR || now < *last);
        if free {
            self.hourly.insert(api, now);
        }
        free
    }

    fn bucket(&self, api: &'static str, rate: u64, now: OffsetDateTime) -> Bucket {
        match self.buckets.get(api) {
            Some(bucket) => bucket.filled(rate, now),
            None => Bucket {
                milli: capacity(rate).saturating_mul(MILLI),
                at: now,
            },
        }
    }
}
