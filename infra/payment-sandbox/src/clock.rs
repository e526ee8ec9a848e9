//! How Toss writes times. All are Korea's.

pub(crate) use fakes::clock::Clock;
use fakes::clock::written;
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, StaticFormatDescription},
    macros::format_description,
};

const ISO: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+09:00");

/// Webhooks carry the local time without a zone.
const WITHOUT_ZONE: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]");

/// ISO 8601 with +09:00, as every time in a Payment object.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    written(at, ISO)
}

/// The `createdAt` of a webhook.
pub(crate) fn without_zone(at: OffsetDateTime) -> String {
    written(at, WITHOUT_ZONE)
}
