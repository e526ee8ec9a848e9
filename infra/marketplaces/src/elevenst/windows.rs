//! The time windows of lists, and the two ways in which 11st writes a time.

use time::{
    Duration, OffsetDateTime, PrimitiveDateTime,
    format_description::{BorrowedFormatItem, StaticFormatDescription},
    macros::format_description,
};

use crate::{
    clock::{KOREA, written},
    elevenst::xml::Verdict,
};

const MINUTES: &[BorrowedFormatItem<'static>] =
    format_description!("[year][month][day][hour][minute]");
const SECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");
const DAY: StaticFormatDescription = format_description!("[year][month][day]");

/// From one minute to another, both included. Whether a real list holds what came within the last minute after its
/// first second is not documented; here it does not, which is the harder case for a caller.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    start: OffsetDateTime,
    end: OffsetDateTime,
}

/// How a list refuses its window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) most: Duration,
    pub(crate) bad_start: i32,
    pub(crate) bad_end: i32,
    pub(crate) too_long: i32,
}

/// Order lists take a week.
pub(crate) const ORDERS: Limits = Limits {
    most: Duration::days(7),
    bad_start: -3303,
    bad_end: -3304,
    too_long: -3305,
};

/// Claim lists take thirty days. Their codes are -28001 to -28008; which is which is not documented.
pub(crate) const CLAIMS: Limits = Limits {
    most: Duration::days(30),
    bad_start: -28001,
    bad_end: -28002,
    too_long: -28003,
};

impl Window {
    pub(crate) fn read(start: &str, end: &str, limits: Limits) -> Result<Self, Verdict> {
        let start = minute(start)
            .ok_or_else(|| Verdict::new(limits.bad_start, "시작일시 형식이 올바르지 않습니다."))?;
        let end = minute(end)
            .ok_or_else(|| Verdict::new(limits.bad_end, "종료일시 형식이 올바르지 않습니다."))?;
        if end < start {
            return Err(Verdict::business("시작일시가 종료일시보다 늦습니다."));
        }
        if end - start > limits.most {
            return Err(Verdict::new(limits.too_long, "조회 기간을 초과하였습니다."));
        }
        Ok(Self { start, end })
    }

    pub(crate) fn holds(&self, at: OffsetDateTime) -> bool {
        (self.start..=self.end).contains(&at)
    }
}

/// `YYYYMMDDhhmm` in Korea.
pub(crate) fn minute(text: &str) -> Option<OffsetDateTime> {
    let digits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    let at = digits.then(|| PrimitiveDateTime::parse(text, MINUTES).ok())??;
    Some(at.assume_offset(KOREA))
}

/// `yyyy-MM-dd HH:mm:ss`, or the text `null` for what has not happened.
pub(crate) fn seconds(at: Option<OffsetDateTime>) -> String {
    at.map_or_else(|| "null".to_owned(), |at| written(at, SECONDS))
}

/// `yyyyMMdd`, with which order numbers begin.
pub(crate) fn day(at: OffsetDateTime) -> String {
    written(at, DAY)
}
