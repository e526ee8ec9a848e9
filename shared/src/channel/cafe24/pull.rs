//! Walks a window: orders by the day they were paid, then by the days their cancellations were asked for and done, page by page.
//!
//! A list shows only so many orders. One that has more is walked in parts of the window, and each of them in smaller ones if it has
//! to be: what was met before the list ended is met again.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    super::{
        Failure, Handle, ItemId, OrderLine, Page, Pulled, Window,
        call::{Effect, segment},
        korea,
        quota::Urgency,
    },
    call::Calls,
    order::{self, Line, Standing, Unreadable},
};
use crate::clock::Timestamp;

const LIMIT: usize = 200;
/// Beyond it the shop answers nothing.
const MOST_OFFSET: usize = 15_000;
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Times of orders are cut to it.
const SECOND: Duration = Duration::from_secs(1);
/// What a second is longer than its last millisecond.
const REST_OF_SECOND: Duration = Duration::from_millis(999);

/// By which of its days an order is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    Paid,
    CancelAsked,
    CancelDone,
}

impl By {
    const ALL: [Self; 3] = [Self::Paid, Self::CancelAsked, Self::CancelDone];

    fn date_type(self) -> &'static str {
        match self {
            Self::Paid => "pay_date",
            Self::CancelAsked => "cancel_request_date",
            Self::CancelDone => "cancel_complete_date",
        }
    }
}

/// Which list, of which of the window's parts, and behind how many orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At {
    list: usize,
    offset: usize,
    part: u32,
    /// Into how many the window is cut for this list; usually it is not.
    parts: u32,
}

impl At {
    const fn beginning(list: usize) -> Self {
        Self {
            list,
            offset: 0,
            part: 0,
            parts: 1,
        }
    }

    fn parse(page: Option<&str>) -> Option<Self> {
        let Some(page) = page else {
            return Some(Self::beginning(0));
        };
        let mut numbers = page.split('.');
        let list = numbers.next()?.parse().ok()?;
        let offset: usize = numbers.next()?.parse().ok()?;
        let (part, parts) = match numbers.next() {
            None => (0, 1),
            Some(part) => (part.parse().ok()?, numbers.next()?.parse().ok()?),
        };
        let is_whole = numbers.next().is_none() && part < parts;
        is_whole.then_some(Self {
            list,
            offset: offset.min(MOST_OFFSET),
            part,
            parts,
        })
    }

    fn written(self) -> String {
        let Self {
            list,
            offset,
            part,
            parts,
        } = self;
        if parts == 1 {
            format!("{list}.{offset}")
        } else {
            format!("{list}.{offset}.{part}.{parts}")
        }
    }

    /// `start_date` and `end_date` of the part: days, unless it is shorter than one. That they take a time as well is shown for the
    /// dates of products, under "How to use GET API".
    fn dates(self, window: Window) -> (String, String) {
        let whole = window.to.since(window.from);
        let edge = |part: u32| window.from + whole / self.parts * part;
        let from = edge(self.part);
        let is_last = self.part + 1 == self.parts;
        let to = if is_last {
            window.to
        } else {
            edge(self.part + 1)
        };
        if self.parts == 1 || to.since(from) >= DAY {
            (korea::date(from), korea::date(to))
        } else {
            (korea::second(from), korea::second(to + REST_OF_SECOND))
        }
    }

    /// What follows a page, which was full or the last of its part.
    fn next(self, window: Window, is_full: bool) -> Result<Option<Self>, Failure> {
        if is_full {
            let offset = self.offset + LIMIT;
            if offset <= MOST_OFFSET {
                return Ok(Some(Self { offset, ..self }));
            }
            let parts = self.parts.saturating_mul(2);
            if window.to.since(window.from) / parts < SECOND {
                return Err(Failure::Refused(format!(
                    "more than {MOST_OFFSET} orders at one time"
                )));
            }
            return Ok(Some(Self {
                list: self.list,
                offset: 0,
                part: self.part * 2,
                parts,
            }));
        }
        if self.part + 1 < self.parts {
            return Ok(Some(Self {
                offset: 0,
                part: self.part + 1,
                ..self
            }));
        }
        let list = self.list + 1;
        Ok((list < By::ALL.len()).then_some(Self::beginning(list)))
    }
}

/// A page of orders. Dates have no hours there, so those that were paid on the day but not in the window are left out here.
pub(super) async fn page(
    calls: &Calls,
    window: Window,
    page: Option<&str>,
    urgency: Urgency,
) -> Result<Page, Failure> {
    let unknown = || Failure::Refused("not a page of this window".to_owned());
    let at = At::parse(page).ok_or_else(unknown)?;
    let by = *By::ALL.get(at.list).ok_or_else(unknown)?;
    let (start, end) = at.dates(window);
    let path = format!(
        "/api/v2/admin/orders?shop_no={}&date_type={}&start_date={}&end_date={}&embed=items&limit={LIMIT}&offset={}",
        calls.shop_no(),
        by.date_type(),
        segment(&start),
        segment(&end),
        at.offset,
    );
    let reply = calls.get(&path, urgency).await?;
    let orders = reply["orders"]
        .as_array()
        .ok_or_else(|| Effect::Read.unreadable("an answer without orders", &reply.to_string()))?;
    let next = at.next(window, orders.len() == LIMIT)?;
    let lines = orders
        .iter()
        .filter(|order| !order::is_linked(order))
        .filter(|order| by != By::Paid || is_within(order, window))
        .flat_map(pulled)
        .collect();
    Ok(Page {
        lines,
        next: next.map(At::written),
    })
}

/// Times of orders are cut to the second. One without a time that can be read is in the window.
fn is_within(order: &Value, window: Window) -> bool {
    paid_at(order)
        .is_none_or(|paid_at| paid_at + REST_OF_SECOND >= window.from && paid_at <= window.to)
}

fn paid_at(order: &Value) -> Option<Timestamp> {
    order["payment_date"].as_str().and_then(korea::parse)
}

fn pulled(order: &Value) -> Vec<Pulled> {
    let (lines, unreadable) = order::lines(order);
    let order_no = order["order_id"].as_str();
    let mut about = order.clone();
    if let Some(fields) = about.as_object_mut() {
        fields.remove("items");
    }
    let raw = |items: Vec<&Value>| json!({ "order": about, "items": items }).to_string();
    let unread = unreadable.iter().map(|item| {
        let Unreadable {
            code,
            reason,
            raw: found,
        } = item;
        Pulled::Unreadable {
            key: code.clone(),
            reason: (*reason).to_owned(),
            raw: raw(vec![found]),
        }
    });
    let read = lines.iter().filter_map(|line| {
        let items = line.items.iter().map(|item| &item.raw).collect();
        match order_no {
            Some(order_no) => read(order, order_no, line, raw(items)).map(Pulled::Line),
            None => Some(Pulled::Unreadable {
                key: Some(line.first().code.clone()),
                reason: "order_id is missing".to_owned(),
                raw: raw(items),
            }),
        }
    });
    unread.chain(read).collect()
}

/// `None` if it is not paid.
fn read(order: &Value, order_no: &str, line: &Line, raw: String) -> Option<OrderLine> {
    let first = line.first();
    Some(OrderLine {
        key: first.code.clone(),
        order_no: order_no.to_owned(),
        handle: Handle(format!("{order_no} {}", first.code)),
        item: ItemId {
            product: first.product.clone(),
            option: Some(first.variant.clone()),
        },
        ordered: line.ordered(),
        cancelled: line.units(&[Standing::Cancelled]),
        state: line.state()?,
        unit_price: first.unit_price,
        paid_at: paid_at(order),
        raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::LineState;

    fn orders() -> Vec<Value> {
        let reply: Value =
            serde_json::from_str(include_str!("fixtures/orders.json")).expect("JSON");
        reply["orders"].as_array().expect("orders").clone()
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn a_line_is_its_item_with_what_was_split_off_it() {
        let lines = pulled(&orders()[1]);
        let Pulled::Line(line) = &lines[0] else {
            panic!("{:?}", lines[0]);
        };
        assert_eq!(line.key, "20261120-0000014-01");
        assert_eq!(line.handle.0, "20261120-0000014 20261120-0000014-01");
        assert_eq!((line.ordered, line.cancelled), (5, 2));
        assert_eq!(line.state, LineState::CancelRequested);
        assert_eq!(line.paid_at, Some(at("2026-11-20T09:58:05+09:00")));
        assert!(line.raw.contains("20261120-0000014-04"), "{}", line.raw);
        assert!(!line.raw.contains("20261120-0000014-02"), "{}", line.raw);
    }

    #[test]
    fn what_cannot_be_read_comes_beside_what_can_and_what_is_unpaid_does_not_come() {
        let lines = pulled(&orders()[2]);
        let unread = lines
            .iter()
            .filter(|pulled| matches!(pulled, Pulled::Unreadable { .. }))
            .count();
        assert_eq!((lines.len(), unread), (4, 3));
        assert_eq!(pulled(&orders()[3]), Vec::new());
    }

    #[test]
    fn only_what_was_paid_in_the_window_counts_and_a_time_that_is_not_there_does() {
        let window = Window {
            from: at("2026-11-20T09:58:05.500+09:00"),
            to: at("2026-11-20T10:00:00+09:00"),
        };
        let mut order = orders()[1].clone();
        assert!(is_within(&order, window), "its time is cut to the second");
        order["payment_date"] = json!("2026-11-20T09:58:04+09:00");
        assert!(!is_within(&order, window));
        order["payment_date"] = json!("2026-11-20T10:00:01+09:00");
        assert!(!is_within(&order, window));
        order["payment_date"] = json!(null);
        assert!(is_within(&order, window));
    }

    #[test]
    fn a_page_is_named_by_its_list_its_offset_and_its_part() {
        assert_eq!(At::parse(None), Some(At::beginning(0)));
        for page in ["0.0", "1.400", "2.15000", "1.200.3.4"] {
            assert_eq!(
                At::parse(Some(page)).map(At::written).as_deref(),
                Some(page)
            );
        }
        for odd in ["", "1", "x.0", "1.-1", "0.0.1", "0.0.2.2", "0.0.0.1.1"] {
            assert_eq!(At::parse(Some(odd)), None, "{odd}");
        }
        let beyond = At::parse(Some("0.15200")).map(At::written);
        assert_eq!(beyond.as_deref(), Some("0.15000"), "it goes on from there");
    }

    #[test]
    fn a_list_that_shows_no_more_is_walked_in_halves_without_a_gap() {
        let window = Window {
            from: at("2026-11-20T09:00:00+09:00"),
            to: at("2026-11-20T10:00:00.500+09:00"),
        };
        let (mut page, mut asked) = (At::beginning(1), Vec::new());
        assert_eq!(
            page.dates(window),
            ("2026-11-20".to_owned(), "2026-11-20".to_owned())
        );
        // The window has too many, and so has its second half.
        while page.list == 1 {
            let has_too_many = page.parts == 1 || (page.part, page.parts) == (1, 2);
            let offset = if has_too_many { MOST_OFFSET } else { 0 };
            page = At { offset, ..page };
            if !has_too_many {
                asked.push(page.dates(window));
            }
            let next = page.next(window, has_too_many).expect("a second is short");
            page = next.expect("another list follows");
        }
        assert_eq!(page, At::beginning(2));
        let time = |text: &str| format!("2026-11-20T{text}+09:00");
        assert_eq!(
            asked,
            [
                (time("09:00:00"), time("09:30:01")),
                (time("09:30:00"), time("09:45:01")),
                (time("09:45:00"), time("10:00:01")),
            ]
        );
    }

    #[test]
    fn too_many_orders_at_one_time_are_for_a_person_and_long_parts_are_days() {
        let window = |seconds: u64| Window {
            from: at("2026-11-10T09:00:00+09:00"),
            to: at("2026-11-10T09:00:00+09:00") + Duration::from_secs(seconds),
        };
        let full = At {
            offset: MOST_OFFSET,
            ..At::beginning(0)
        };
        assert!(matches!(
            full.next(window(1), true),
            Err(Failure::Refused(_))
        ));
        let Ok(Some(half)) = full.next(window(8 * 86_400), true) else {
            panic!("it has halves");
        };
        assert_eq!(
            half.dates(window(8 * 86_400)),
            ("2026-11-10".to_owned(), "2026-11-14".to_owned())
        );
    }
}
