//! The marketplace's own time: the real time plus what a test has advanced it by, or an instant that stands still.

use serde::Deserialize;
use time::{
    Duration, OffsetDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, StaticFormatDescription, well_known::Rfc3339},
    macros::{format_description, offset},
};

use crate::answer::Refusal;

/// Korea has one zone and no summer time, so the offset is a constant of every API here.
pub(crate) const KOREA: UtcOffset = offset!(+9);

const MILLISECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+09:00");

/// The farthest from the real time that a test may go; beyond it dates stop having four-digit years.
pub(crate) const MOST: Duration = Duration::days(10 * 366);

/// Where the time stands.
#[derive(Debug)]
pub(crate) enum Clock {
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

/// The body of `POST /sandbox/clock`; what it names is done in the order of the fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Change {
    /// RFC 3339.
    set: Option<String>,
    advance_s: Option<i64>,
    advance_ms: Option<i64>,
    /// True stops it, false lets it go on from where it stands.
    freeze: Option<bool>,
}

impl Clock {
    /// Whole milliseconds: no marketplace tells more, and what is compared must be what was told.
    pub(crate) fn now(&self) -> OffsetDateTime {
        let now = match self {
            Self::Running(ahead) => real() + *ahead,
            Self::Frozen(at) => *at,
        };
        let within = now.nanosecond() % 1_000_000;
        now - Duration::nanoseconds(i64::from(within))
    }

    pub(crate) fn change(&mut self, change: &Change) -> Result<(), Refusal> {
        let mut to = match &change.set {
            Some(text) => OffsetDateTime::parse(text, &Rfc3339)
                .map_err(|_| Refusal::invalid("set is not an RFC 3339 time."))?,
            None => self.now(),
        };
        let by = [
            change.advance_s.map(Duration::seconds),
            change.advance_ms.map(Duration::milliseconds),
        ];
        for duration in by.into_iter().flatten() {
            to = to
                .checked_add(duration)
                .ok_or_else(|| Refusal::invalid("There is no such time."))?;
        }
        let ahead = to - real();
        if ahead.abs() > MOST {
            return Err(Refusal::invalid("The clock goes at most ten years away."));
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

/// ISO 8601 with three digits of milliseconds and +09:00.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    written(at, MILLISECONDS)
}

/// The time in Korea in a marketplace's own format.
pub(crate) fn written(at: OffsetDateTime, format: &[BorrowedFormatItem<'_>]) -> String {
    // Formatting fails only for a component the date lacks, and a full date-time lacks none.
    at.to_offset(KOREA).format(format).unwrap_or_default()
}
