//! Times as Korean marketplaces write them: without a zone, and meant in Korea's.

use time::{
    OffsetDateTime, UtcOffset, format_description::BorrowedFormatItem, macros::format_description,
    macros::offset,
};

use crate::clock::Timestamp;

const KOREA: UtcOffset = offset!(+9);

/// Reads a time with or without a zone, with a blank or a `T` before the hours, or a date alone: its first moment.
pub(super) fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim().replacen(' ', "T", 1);
    Timestamp::parse(&text)
        .or_else(|| Timestamp::parse(&format!("{text}+09:00")))
        .or_else(|| Timestamp::parse(&format!("{text}T00:00:00+09:00")))
}

/// `202611200958`: the minute that has begun.
pub(super) fn minute(moment: Timestamp) -> String {
    written(
        moment,
        format_description!("[year][month][day][hour][minute]"),
    )
}

/// `2026-11-20T09:58`: the minute that has begun.
pub(super) fn minute_of_day(moment: Timestamp) -> String {
    written(
        moment,
        format_description!("[year]-[month]-[day]T[hour]:[minute]"),
    )
}

/// `2026-11-20T09:58:01.120+09:00`, always with three digits after the seconds.
pub(super) fn millisecond(moment: Timestamp) -> String {
    written(
        moment,
        format_description!(
            "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]+09:00"
        ),
    )
}

/// `2026-11-20T09:58:01+09:00`: the second that has begun.
pub(super) fn second(moment: Timestamp) -> String {
    written(
        moment,
        format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+09:00"),
    )
}

/// `2026-11-20`.
pub(super) fn date(moment: Timestamp) -> String {
    written(moment, format_description!("[year]-[month]-[day]"))
}

fn written(moment: Timestamp, format: &[BorrowedFormatItem<'_>]) -> String {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(moment.millis()) * 1_000_000)
        .ok()
        .and_then(|moment| moment.to_offset(KOREA).format(format).ok())
        // A year that has five digits is no time that anyone asks for.
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_without_a_zone_is_koreas() {
        let moment = Timestamp::parse("2026-11-20T09:58:01+09:00");
        assert!(moment.is_some());
        for text in [
            "2026-11-20 09:58:01",
            "2026-11-20T09:58:01.000",
            "2026-11-20T00:58:01Z",
            " 2026-11-20T09:58:01+09:00",
        ] {
            assert_eq!(parse(text), moment, "{text}");
        }
        assert_eq!(
            parse("2026-11-20"),
            Timestamp::parse("2026-11-19T15:00:00Z")
        );
        for text in ["", "null", "2026-13-01", "yesterday"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_moment_is_written_in_koreas_time() {
        let moment = Timestamp::parse("2026-11-19T23:58:59.999Z").expect("a time");
        assert_eq!(minute(moment), "202611200858");
        assert_eq!(minute_of_day(moment), "2026-11-20T08:58");
        assert_eq!(millisecond(moment), "2026-11-20T08:58:59.999+09:00");
        assert_eq!(second(moment), "2026-11-20T08:58:59+09:00");
        assert_eq!(date(moment), "2026-11-20");
    }
}
