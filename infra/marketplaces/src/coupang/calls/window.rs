//! Which part of time a list is about, and its pages.

use time::{
    Date, Duration, OffsetDateTime, PrimitiveDateTime, Time,
    format_description::StaticFormatDescription, macros::format_description,
};

use crate::{answer::Answer, call::Call, clock::KOREA, coupang::answers};

const MOST_PER_PAGE: usize = 50;
/// Both days of a range count.
const MOST_DAYS: i64 = 31;

const DAY: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const MINUTE: StaticFormatDescription = format_description!("[year]-[month]-[day]T[hour]:[minute]");
const OFFSET: &str = "+09:00";

/// Which part of time a list is about, and whether it comes in pages.
pub(super) struct Window {
    pub(super) between: (OffsetDateTime, OffsetDateTime),
    pub(super) paged: bool,
}

/// Days, or minutes of one day with `searchType=timeFrame`. Order sheets write the offset, returns do not have to.
pub(super) fn window(call: &Call, with_offset: bool) -> Result<Window, Answer> {
    let text = |name: &str| {
        let text = call
            .parameter(name)
            .ok_or_else(|| answers::bad_list("required parameters are missing"))?
            .into_owned();
        match text.strip_suffix(OFFSET) {
            Some(local) => Ok(local.to_owned()),
            None if !with_offset => Ok(text),
            None => Err(unreadable(name)),
        }
    };
    let (from, to) = (text("createdAtFrom")?, text("createdAtTo")?);
    match call.parameter("searchType").as_deref() {
        Some("timeFrame") => {
            let minute = |text: &str, name: &str| {
                PrimitiveDateTime::parse(text, MINUTE)
                    .map(|at| at.assume_offset(KOREA))
                    .map_err(|_| unreadable(name))
            };
            let from = minute(&from, "createdAtFrom")?;
            let to = minute(&to, "createdAtTo")?;
            let is_narrow = if with_offset {
                to - from < Duration::DAY && from.date() == to.date()
            } else {
                to - from < Duration::days(MOST_DAYS)
            };
            if !is_narrow {
                return Err(answers::bad_list("range should less than 1 day"));
            }
            check_order(from <= to)?;
            Ok(Window {
                between: (from, to),
                paged: false,
            })
        }
        Some(_) => Err(answers::bad_list("Invalid searchType")),
        None => {
            let day = |text: &str, name: &str| Date::parse(text, DAY).map_err(|_| unreadable(name));
            let from = day(&from, "createdAtFrom")?;
            let to = day(&to, "createdAtTo")?;
            if (to - from).whole_days() >= MOST_DAYS {
                return Err(answers::bad_list(
                    "endTime-startTime range should less than31.",
                ));
            }
            check_order(from <= to)?;
            let start = from.with_time(Time::MIDNIGHT).assume_offset(KOREA);
            let end = to.with_time(Time::MAX).assume_offset(KOREA);
            Ok(Window {
                between: (start, end),
                paged: true,
            })
        }
    }
}

/// How many to show, and from which id on. Minutes are shown whole.
pub(super) fn page(call: &Call, window: &Window) -> Result<(usize, u64), Answer> {
    if !window.paged {
        return Ok((usize::MAX, 0));
    }
    let size = match call.parameter("maxPerPage") {
        None => MOST_PER_PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=MOST_PER_PAGE).contains(size))
            .ok_or_else(|| answers::bad_list("maxPerPage must be 1 to 50"))?,
    };
    let first = match call.parameter("nextToken") {
        None => 0,
        Some(token) if token.is_empty() => 0,
        Some(token) => token
            .parse()
            .map_err(|_| answers::bad_list("Invalid nextToken"))?,
    };
    Ok((size, first))
}

fn check_order(is_ordered: bool) -> Result<(), Answer> {
    if is_ordered {
        Ok(())
    } else {
        Err(answers::bad_list("createdAtTo is before createdAtFrom"))
    }
}

fn unreadable(name: &str) -> Answer {
    answers::bad_list(&format!("{name} is not of the documented form"))
}
