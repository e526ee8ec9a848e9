//! The sandbox's own time: the real time plus what a test has advanced it by, so that the ten-minute
//! and fifteen-day windows pass at once.

use time::{
    Duration, OffsetDateTime, UtcOffset,
    format_description::{BorrowedFormatItem, StaticFormatDescription},
    macros::{format_description, offset},
};

/// Korea has one zone and no summer time, so the offset is a constant of the API.
const KOREA: UtcOffset = offset!(+9);

const ISO: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+09:00");

/// Webhooks carry the local time without a zone.
const WITHOUT_ZONE: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

#[derive(Debug, Default)]
pub(crate) struct Clock {
    ahead: Duration,
}

impl Clock {
    pub(crate) fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc().to_offset(KOREA) + self.ahead
    }

    /// The farthest a test may push the clock in all; beyond it dates stop having four-digit years.
    pub(crate) const MAX_AHEAD_S: u64 = 10 * 366 * 24 * 60 * 60;

    /// False, and nothing moved, when that would be too far.
    pub(crate) fn advance(&mut self, seconds: u64) -> bool {
        let left =
            i64::try_from(Self::MAX_AHEAD_S).unwrap_or(i64::MAX) - self.ahead.whole_seconds();
        match i64::try_from(seconds) {
            Ok(seconds) if seconds <= left => {
                self.ahead += Duration::seconds(seconds);
                true
            }
            Ok(_) | Err(_) => false,
        }
    }
}

/// ISO 8601 with +09:00, as every time in a Payment object.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    written(at, ISO)
}

/// The `createdAt` of a webhook.
pub(crate) fn without_zone(at: OffsetDateTime) -> String {
    written(at, WITHOUT_ZONE)
}

fn written(at: OffsetDateTime, format: &[BorrowedFormatItem<'static>]) -> String {
    // Formatting fails only for a component the date lacks, and a full date-time lacks none.
    at.to_offset(KOREA).format(format).unwrap_or_default()
}
