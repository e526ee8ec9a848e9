//! Which lists a window is made of, one after another, and how a page of it is named.
//!
//! Sheets are listed by status and by when they were made, not by when they changed. So a window asks for each status in which a
//! sheet may be by now, and what was cancelled has left those lists and stands in that of the receipts.

use std::time::Duration;

use super::wire::Call;
use crate::{
    channel::{Failure, Window, call::segment, korea, quota::Urgency},
    clock::Timestamp,
};

/// Up to this a window is asked for by the minute.
const SHORT: Duration = Duration::from_secs(30 * 60);
/// Wide lists by the minute run into the gateway's timeout, even empty ones.
const SLICE: Duration = Duration::from_secs(10 * 60);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The most that a list by days gives at once.
const SHEETS_OF_A_PAGE: usize = 50;
/// Each receipt is one more call, for its sheet.
const RECEIPTS_OF_A_PAGE: usize = 20;

/// Where a sheet may be within minutes of its order: somebody in Wing may be faster than we are.
const SOON: [&str; 3] = ["ACCEPT", "INSTRUCT", "DEPARTURE"];
/// Where it may be within days.
const EVER: [&str; 6] = [
    "ACCEPT",
    "INSTRUCT",
    "DEPARTURE",
    "DELIVERING",
    "FINAL_DELIVERY",
    "NONE_TRACKING",
];
/// What stands in the list of returns without having been shipped: a stop that is asked for, and what became of it. What a seller
/// cancels is in these too. The fourth status, PR, is about goods that are back.
const STOPS: [&str; 3] = ["RU", "UC", "CC"];

/// One list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) list: List,
    span: Span,
}

/// What is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// Sheets in this status.
    Sheets(&'static str),
    /// Receipts of orders that were cancelled before they were acknowledged.
    Cancellations,
    /// Receipts of stops and returns in this status.
    Stops(&'static str),
}

/// When what is listed was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Span {
    /// Within one Korean day, all at once.
    Minutes(Timestamp, Timestamp),
    /// Days, a page at a time.
    Days(Timestamp, Timestamp),
}

/// A page: of which list, and from where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) list: usize,
    pub(super) token: Option<String>,
}

impl Place {
    /// Reads the name of a page.
    pub(super) fn parse(page: Option<&str>) -> Result<Self, Failure> {
        let Some(page) = page else {
            return Ok(Self {
                list: 0,
                token: None,
            });
        };
        let (list, token) = page.split_once(':').unwrap_or((page, ""));
        Ok(Self {
            list: list
                .parse()
                .map_err(|_| Failure::Refused("no page of these lists".to_owned()))?,
            token: Some(token.to_owned()).filter(|token| !token.is_empty()),
        })
    }

    pub(super) fn name(&self) -> String {
        match &self.token {
            Some(token) => format!("{}:{token}", self.list),
            None => self.list.to_string(),
        }
    }

    /// The page after this one. A token that is handed out twice leads nowhere.
    pub(super) fn after(&self, next_token: Option<String>, lists: usize) -> Option<Self> {
        match next_token.filter(|token| Some(token) != self.token.as_ref()) {
            Some(token) => Some(Self {
                list: self.list,
                token: Some(token),
            }),
            None => Some(Self {
                list: self.list + 1,
                token: None,
            })
            .filter(|place| place.list < lists),
        }
    }
}

/// The lists of a window. Sheets come before receipts: what is cancelled between two calls is in the later one at least.
pub(super) fn lists(window: Window) -> Vec<Ask> {
    let long = window.to.since(window.from) > SHORT;
    let mut asks = Vec::new();
    let mut add = |list, span| asks.push(Ask { list, span });
    if long {
        let days = Span::Days(window.from, window.to);
        for status in EVER {
            add(List::Sheets(status), days);
        }
        add(List::Cancellations, days);
        for status in STOPS {
            add(List::Stops(status), days);
        }
        return asks;
    }
    for status in SOON {
        for (from, to) in slices(window, SLICE) {
            add(List::Sheets(status), Span::Minutes(from, to));
        }
    }
    // A list by the minute ends on its day, at 23:59, and may not have what was made in that last minute. New orders of it are
    // asked for by the day: those that wait for an acknowledgement are few.
    for (_, to) in slices(window, DAY) {
        if begins_a_day(to + MINUTE) {
            add(List::Sheets("ACCEPT"), Span::Days(to, to));
        }
    }
    for (from, to) in slices(window, DAY) {
        add(List::Cancellations, Span::Minutes(from, to));
        for status in STOPS {
            add(List::Stops(status), Span::Minutes(from, to));
        }
    }
    asks
}

/// The window in whole minutes, in parts that touch and none of which crosses midnight in Korea.
fn slices(window: Window, longest: Duration) -> Vec<(Timestamp, Timestamp)> {
    let mut slices = Vec::new();
    let mut from = minute_of(window.from);
    let last = minute_of(window.to) + MINUTE;
    while from < last {
        let midnight = midnight_after(from);
        let to = last.min(from + longest);
        if to < midnight {
            slices.push((from, to));
            from = to;
        } else {
            slices.push((from, midnight.before(MINUTE)));
            from = midnight;
        }
    }
    slices
}

fn minute_of(moment: Timestamp) -> Timestamp {
    let minute = 60_000;
    Timestamp::from_millis(moment.millis() / minute * minute)
}

/// The first moment of the next day in Korea, which has no summer time.
fn midnight_after(moment: Timestamp) -> Timestamp {
    const AHEAD_MS: u64 = 9 * 60 * 60 * 1_000;
    const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
    let day = (moment.millis() + AHEAD_MS) / DAY_MS + 1;
    Timestamp::from_millis(day * DAY_MS - AHEAD_MS)
}

fn begins_a_day(moment: Timestamp) -> bool {
    midnight_after(moment.before(MINUTE)) == moment
}

impl Ask {
    /// The call for a page of this list. The offset is written as it has to arrive, `%2B` for its `+`; colons stay.
    pub(super) fn call(&self, vendor_id: &str, place: &Place, urgency: Urgency) -> Call<'static> {
        let vendor = segment(vendor_id);
        let (path, offset) = match self.list {
            List::Sheets(_) => (
                format!("/v2/providers/openapi/apis/api/v5/vendors/{vendor}/ordersheets"),
                "%2B09:00",
            ),
            List::Cancellations | List::Stops(_) => (returns_path(vendor_id), ""),
        };
        let mut query = match self.span {
            Span::Minutes(from, to) => format!(
                "createdAtFrom={}{offset}&createdAtTo={}{offset}&searchType=timeFrame",
                korea::minute_of_day(from),
                korea::minute_of_day(to)
            ),
            Span::Days(from, to) => format!(
                "createdAtFrom={}{offset}&createdAtTo={}{offset}&maxPerPage={}",
                korea::date(from),
                korea::date(to),
                match self.list {
                    List::Sheets(_) => SHEETS_OF_A_PAGE,
                    List::Cancellations | List::Stops(_) => RECEIPTS_OF_A_PAGE,
                }
            ),
        };
        match self.list {
            List::Sheets(status) | List::Stops(status) => {
                query.push_str(&format!("&status={status}"));
            }
            // This one takes no status.
            List::Cancellations => query.push_str("&cancelType=CANCEL"),
        }
        if let Some(token) = &place.token {
            query.push_str(&format!("&nextToken={}", segment(token)));
        }
        Call::read(path, query, urgency)
    }
}

/// Where receipts are listed.
pub(super) fn returns_path(vendor_id: &str) -> String {
    let vendor = segment(vendor_id);
    format!("/v2/providers/openapi/apis/api/v6/vendors/{vendor}/returnRequests")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from: &str, to: &str) -> Window {
        let at = |text: &str| Timestamp::parse(&format!("2026-11-{text}+09:00")).expect("a time");
        Window {
            from: at(from),
            to: at(to),
        }
    }

    fn queries(window: Window) -> Vec<String> {
        let first = Place {
            list: 0,
            token: None,
        };
        lists(window)
            .iter()
            .map(|ask| ask.call("A00012345", &first, Urgency::Order).query)
            .collect()
    }

    #[test]
    fn a_short_window_is_asked_for_by_the_minute_in_parts_that_touch() {
        let queries = queries(window("20T09:48:30", "20T09:59:10"));
        assert_eq!(
            queries,
            [
                "createdAtFrom=2026-11-20T09:48%2B09:00&createdAtTo=2026-11-20T09:58%2B09:00&searchType=timeFrame&status=ACCEPT",
                "createdAtFrom=2026-11-20T09:58%2B09:00&createdAtTo=2026-11-20T10:00%2B09:00&searchType=timeFrame&status=ACCEPT",
                "createdAtFrom=2026-11-20T09:48%2B09:00&createdAtTo=2026-11-20T09:58%2B09:00&searchType=timeFrame&status=INSTRUCT",
                "createdAtFrom=2026-11-20T09:58%2B09:00&createdAtTo=2026-11-20T10:00%2B09:00&searchType=timeFrame&status=INSTRUCT",
                "createdAtFrom=2026-11-20T09:48%2B09:00&createdAtTo=2026-11-20T09:58%2B09:00&searchType=timeFrame&status=DEPARTURE",
                "createdAtFrom=2026-11-20T09:58%2B09:00&createdAtTo=2026-11-20T10:00%2B09:00&searchType=timeFrame&status=DEPARTURE",
                "createdAtFrom=2026-11-20T09:48&createdAtTo=2026-11-20T10:00&searchType=timeFrame&cancelType=CANCEL",
                "createdAtFrom=2026-11-20T09:48&createdAtTo=2026-11-20T10:00&searchType=timeFrame&status=RU",
                "createdAtFrom=2026-11-20T09:48&createdAtTo=2026-11-20T10:00&searchType=timeFrame&status=UC",
                "createdAtFrom=2026-11-20T09:48&createdAtTo=2026-11-20T10:00&searchType=timeFrame&status=CC",
            ]
        );
    }

    #[test]
    fn no_list_by_the_minute_crosses_midnight_and_its_last_minute_is_asked_for_by_the_day() {
        let across = queries(window("20T23:55:00", "21T00:03:00"));
        let accept: Vec<_> = across
            .iter()
            .filter(|query| query.contains("ACCEPT"))
            .map(String::as_str)
            .collect();
        assert_eq!(
            accept,
            [
                "createdAtFrom=2026-11-20T23:55%2B09:00&createdAtTo=2026-11-20T23:59%2B09:00&searchType=timeFrame&status=ACCEPT",
                "createdAtFrom=2026-11-21T00:00%2B09:00&createdAtTo=2026-11-21T00:04%2B09:00&searchType=timeFrame&status=ACCEPT",
                "createdAtFrom=2026-11-20%2B09:00&createdAtTo=2026-11-20%2B09:00&maxPerPage=50&status=ACCEPT",
            ]
        );
        let within = queries(window("20T23:40:00", "20T23:57:00"));
        assert!(within.iter().all(|query| query.contains("timeFrame")));
    }

    #[test]
    fn a_long_window_is_asked_for_by_the_day_in_every_status() {
        let queries = queries(window("18T09:00:00", "20T10:00:00"));
        assert_eq!(queries.len(), EVER.len() + 1 + STOPS.len());
        assert_eq!(
            queries[0],
            "createdAtFrom=2026-11-18%2B09:00&createdAtTo=2026-11-20%2B09:00&maxPerPage=50&status=ACCEPT"
        );
        assert_eq!(
            queries[6],
            "createdAtFrom=2026-11-18&createdAtTo=2026-11-20&maxPerPage=20&cancelType=CANCEL"
        );
    }

    #[test]
    fn pages_follow_tokens_and_then_lists() {
        let place = Place::parse(Some("3:to:ken+/=")).expect("a page");
        assert_eq!((place.list, place.token.as_deref()), (3, Some("to:ken+/=")));
        assert_eq!(place.name(), "3:to:ken+/=");
        let ask = &lists(window("18T09:00:00", "20T10:00:00"))[3];
        assert!(
            ask.call("A00012345", &place, Urgency::Order)
                .query
                .ends_with("&status=DELIVERING&nextToken=to%3Aken%2B%2F%3D")
        );
        let named = |place: Option<Place>| place.map(|place| place.name());
        assert_eq!(
            named(place.after(Some("next".to_owned()), 5)).as_deref(),
            Some("3:next")
        );
        assert_eq!(named(place.after(None, 5)).as_deref(), Some("4"));
        assert_eq!(
            named(place.after(Some("to:ken+/=".to_owned()), 5)).as_deref(),
            Some("4")
        );
        assert_eq!(named(place.after(None, 4)), None);
        assert!(Place::parse(Some("x")).is_err());
    }
}
