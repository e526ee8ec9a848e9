//! How times are told, unless a marketplace has a way of its own.

pub(crate) use fakes::clock::{Change, Clock, KOREA, MOST, written};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

const MILLISECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+09:00");

/// ISO 8601 with three digits of milliseconds and +09:00.
pub(crate) fn iso(at: OffsetDateTime) -> String {
    written(at, MILLISECONDS)
}
