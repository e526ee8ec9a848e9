//! Walks a window: orders by the day they were paid, then by the days their cancellations were asked for and done, page by page.

use serde_json::{Value, json};

use super::{
    super::{
        Failure, Handle, ItemId, OrderLine, Page, Pulled, Window, call::segment, korea,
        quota::Urgency,
    },
    call::Calls,
    order::{self, Line, Standing, Unreadable},
};
use crate::clock::Timestamp;

const LIMIT: usize = 200;
/// Beyond it the shop answers nothing.
const MOST_OFFSET: usize = 15_000;

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

fn parse(page: Option<&str>) -> Option<(usize, usize)> {
    let Some(page) = page else {
        return Some((0, 0));
    };
    let (list, offset) = page.split_once('.')?;
    Some((list.parse().ok()?, offset.parse().ok()?))
}

/// A page of orders. Dates have no hours there, so those that were paid on the day but not in the window are left out here.
pub(super) async fn page(
    calls: &Calls,
    window: Window,
    page: Option<&str>,
    urgency: Urgency,
) -> Result<Page, Failure> {
    let unknown = || Failure::Refused("not a page of this window".to_owned());
    let (list, offset) = parse(page).ok_or_else(unknown)?;
    let by = *By::ALL.get(list).ok_or_else(unknown)?;
    if offset > MOST_OFFSET {
        return Err(Failure::Refused(format!(
            "more than {MOST_OFFSET} orders in the days of one window"
        )));
    }
    let path = format!(
        "/api/v2/admin/orders?shop_no={}&date_type={}&start_date={}&end_date={}&embed=items&limit={LIMIT}&offset={offset}",
        calls.shop_no(),
        by.date_type(),
        segment(&korea::date(window.from)),
        segment(&korea::date(window.to)),
    );
    let reply = calls.get(&path, urgency).await?;
    let orders = reply["orders"].as_array().ok_or_else(|| Failure::Later {
        reason: "an answer without orders".to_owned(),
        after: None,
    })?;
    let next = if orders.len() == LIMIT {
        Some((list, offset + LIMIT))
    } else {
        (list + 1 < By::ALL.len()).then_some((list + 1, 0))
    };
    let lines = orders
        .iter()
        .filter(|order| !order::is_linked(order))
        .filter(|order| by != By::Paid || is_within(order, window))
        .flat_map(pulled)
        .collect();
    Ok(Page {
        lines,
        next: next.map(|(list, offset)| format!("{list}.{offset}")),
    })
}

/// Times of orders are cut to the second. One without a time that can be read is in the window.
fn is_within(order: &Value, window: Window) -> bool {
    paid_at(order).is_none_or(|paid_at| {
        let second = std::time::Duration::from_millis(999);
        paid_at + second >= window.from && paid_at <= window.to
    })
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
    fn a_page_is_named_by_its_list_and_its_offset() {
        assert_eq!(parse(None), Some((0, 0)));
        assert_eq!(parse(Some("1.400")), Some((1, 400)));
        for odd in ["", "1", "x.0", "1.-1"] {
            assert_eq!(parse(Some(odd)), None, "{odd}");
        }
    }
}
