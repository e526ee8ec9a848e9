//! The service's own time: the real time plus what a test has advanced it by, so that long windows pass at once, or an
//! instant that stands still.

use serde::Deserialize;
use time::{
    Duration, OffsetDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::offset,
};

use crate::control::Invalid;

/// Korea has one zone and no summer time, so the offset is a constant of every API here.
pub const KOREA: UtcOffset = offset!(+9);

/// The farthest from the real time that a test may go; beyond it dates stop having four-digit years.
pub const MOST: Duration = Duration::days(10 * 366);

/// Where the time stands.
#[derive(Debug)]
pub enum Clock {
    /// It goes on, this far ahead of the real time.
    Running(Duration),
    /// It stands still: what happens now happens at one instant.
    Frozen(OffsetDateTime),
}

impl Default for Clock {
    fn default() -> Self {
        Self::Running(Duration::ZERO)
    }
}

/// The body of a `POST /sandbox/clock`; what it names is done in the order of the fields.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// RFC 3339.
    set: Option<String>,
    advance_s: Option<i64>,
    advance_ms: Option<i64>,
    /// True stops it, false lets it go on from where it stands.
    freeze: Option<bool>,
}

impl Clock {
    /// Whole milliseconds: no service tells more that matters, and what is compared must be what was told.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        let now = match self {
            Self::Running(ahead) => real() + *ahead,
            Self::Frozen(at) => *at,
        };
        let within = now.nanosecond() % 1_000_000;
        now - Duration::nanoseconds(i64::from(within))
    }

    /// False, and nothing moved, when that would be too far.
    #[must_use]
    pub fn advance(&mut self, by: Duration) -> bool {
        match self {
            Self::Running(ahead) => match ahead.checked_add(by) {
                Some(farther) if farther.abs() <= MOST => *ahead = farther,
                Some(_) | None => return false,
            },
            Self::Frozen(at) => match at.checked_add(by) {
                Some(later) if (later - real()).abs() <= MOST => *at = later,
                Some(_) | None => return false,
            },
        }
        true
    }

    /// All of the change, or nothing and why not.
    pub fn change(&mut self, change: &Change) -> Result<(), Invalid> {
        let mut to = match &change.set {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| Invalid::new("set is not an RFC 3339 time."))?,
            None => self.now(),
        };
        let by = [
            change.advance_s.map(Duration::seconds),
            change.advance_ms.map(Duration::milliseconds),
        ];
        for duration in by.into_iter().flatten() {
            to = to
                .checked_add(duration)
                .ok_or_else(|| Invalid::new("There is no such time."))?;
        }
        let ahead = to - real();
        if ahead.abs() > MOST {
            return Err(Invalid::new("The clock goes at most ten years away."));
        }
        let frozen = change.freeze.unwrap_or(matches!(self, Self::Frozen(_)));
        *self = if frozen {
            Self::Frozen(to.to_offset(KOREA))
        } else {
            Self::Running(ahead)
        };
        Ok(())
    }
}

fn real() -> OffsetDateTime {
    OffsetDateTime::now_utc().to_offset(KOREA)
}

/// The time in Korea in a service's own format.
#[must_use]
pub fn written(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    // Formatting fails only for a component the date lacks, and a full date-time lacks none.
    at.to_offset(KOREA).format(format).unwrap_or_default()
}
