//! What the shop answers, read into what the port says.

use serde::Deserialize;
use serde_json::Value;

use super::super::{
    Confirmation, Failure, Handle, ItemId, LineState, OrderLine, Page, Price, Pulled, Shown,
    call::{Answer, Effect},
};
use crate::clock::Timestamp;

/// Nobody buys more of a thing in one line.
const MOST_ORDERED: u32 = 100_000;

/// A page of lines, each still as it came.
#[derive(Deserialize)]
struct WirePage {
    lines: Vec<Value>,
    next_cursor: Option<String>,
}

#[derive(Deserialize)]
struct WireLine {
    line: String,
    order: String,
    item: String,
    quantity: u32,
    cancelled: u32,
    unit_price: u64,
    state: WireState,
    ordered_at: Timestamp,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireState {
    New,
    Confirmed,
    Shipped,
    Cancelled,
}

#[derive(Deserialize)]
struct WireItem {
    units: u64,
    price: u64,
    #[serde(default)]
    version: u64,
    #[serde(default = "yes")]
    on_sale: bool,
}

fn yes() -> bool {
    true
}

#[derive(Deserialize)]
struct Results {
    results: Vec<OneResult>,
}

#[derive(Deserialize)]
struct OneResult {
    line: String,
    result: String,
}

/// Why something was not done: problem+json.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Problem {
    #[serde(default)]
    pub(super) r#type: String,
    #[serde(default)]
    pub(super) detail: String,
    /// The version that a write was older than.
    pub(super) known_version: Option<u64>,
}

impl Problem {
    pub(super) fn read(body: &[u8]) -> Self {
        serde_json::from_slice(body).unwrap_or_default()
    }

    /// The last word of its type.
    pub(super) fn kind(&self) -> &str {
        self.r#type.rsplit(':').next().unwrap_or_default()
    }
}

/// Reads a page.
pub(super) fn page(answer: &Answer) -> Result<Page, Failure> {
    let page: WirePage = answer.json(Effect::Read)?;
    Ok(Page {
        lines: page.lines.into_iter().map(pulled).collect(),
        next: page.next_cursor.filter(|cursor| !cursor.is_empty()),
    })
}

fn pulled(value: Value) -> Pulled {
    let raw = value.to_string();
    let key = value["line"].as_str().map(str::to_owned);
    match line(value, &raw) {
        Ok(line) => Pulled::Line(line),
        Err(reason) => Pulled::Unreadable {
            key,
            reason: reason.to_owned(),
            raw,
        },
    }
}

fn line(value: Value, raw: &str) -> Result<OrderLine, &'static str> {
    // What serde says would quote the payload.
    let line: WireLine =
        serde_json::from_value(value).map_err(|_| "a field is missing or malformed")?;
    if !(1..=MOST_ORDERED).contains(&line.quantity) {
        return Err("quantity is no number of units");
    }
    if line.cancelled > line.quantity {
        return Err("more is cancelled than was bought");
    }
    let is_gone = line.cancelled == line.quantity;
    Ok(OrderLine {
        handle: Handle(line.line.clone()),
        key: line.line,
        order_no: line.order,
        item: ItemId {
            product: line.item,
            option: None,
        },
        ordered: line.quantity,
        cancelled: line.cancelled,
        state: match line.state {
            WireState::New | WireState::Confirmed if is_gone => LineState::Cancelled,
            WireState::New => LineState::Paid,
            WireState::Confirmed | WireState::Shipped => LineState::Confirmed,
            WireState::Cancelled => LineState::Cancelled,
        },
        unit_price: line.unit_price,
        // The shop shows an order when it is paid.
        paid_at: Some(line.ordered_at),
        raw: raw.to_owned(),
    })
}

/// Reads the answers to a confirmation: one a line that was asked for, in their order.
pub(super) fn confirmations(
    answer: &Answer,
    lines: &[Handle],
) -> Result<Vec<Confirmation>, Failure> {
    let Results { results } = answer.json(Effect::Write)?;
    let became = |line: &Handle| {
        let result = results.iter().find(|result| result.line == line.0);
        match result.map(|result| result.result.as_str()) {
            Some("confirmed" | "already_confirmed") => Confirmation::Done,
            Some("cancelled") => Confirmation::Cancelled,
            Some(other) => Confirmation::Refused(super::super::lenient::brief(other)),
            None => Confirmation::Later("the shop did not answer for the line".to_owned()),
        }
    };
    Ok(lines.iter().map(became).collect())
}

/// Reads an item, with the version its stock was written with.
pub(super) fn item(answer: &Answer) -> Result<(Shown, u64), Failure> {
    let item: WireItem = answer.json(Effect::Read)?;
    let shown = Shown {
        units: item.units,
        on_sale: item.on_sale,
        price: Some(Price {
            sale: item.price,
            effective: item.price,
        }),
    };
    Ok((shown, item.version))
}

#[cfg(test)]
mod tests {
    use reqwest::{StatusCode, header::HeaderMap};

    use super::*;

    fn answer(body: &[u8]) -> Answer {
        Answer {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: body.to_vec(),
        }
    }

    #[test]
    fn a_page_is_lines_and_what_cannot_be_read_beside_them() {
        let page = page(&answer(include_bytes!("fixtures/orders.json"))).expect("a page");
        assert_eq!(page.next.as_deref(), Some("MTc5NTEzNjQwMDo3"));
        type Read<'a> = Result<(&'a str, LineState, u32, u32), (Option<&'a str>, &'a str)>;
        let read: Vec<Read<'_>> = page
            .lines
            .iter()
            .map(|pulled| match pulled {
                Pulled::Line(line) => {
                    Ok((line.key.as_str(), line.state, line.ordered, line.cancelled))
                }
                Pulled::Unreadable { key, reason, .. } => Err((key.as_deref(), reason.as_str())),
            })
            .collect();
        assert_eq!(
            read,
            [
                Ok(("S000000001-1", LineState::Paid, 2, 0)),
                Ok(("S000000001-2", LineState::Confirmed, 3, 1)),
                Err((Some("S000000002-1"), "quantity is no number of units")),
                Ok(("S000000003-1", LineState::Confirmed, 1, 0)),
                Err((Some("S000000004-1"), "a field is missing or malformed")),
                Ok(("S000000005-1", LineState::Cancelled, 4, 4)),
                Err((None, "a field is missing or malformed")),
                Err((Some("S000000007-1"), "more is cancelled than was bought")),
            ]
        );
        let Pulled::Line(line) = &page.lines[0] else {
            panic!("{:?}", page.lines[0]);
        };
        assert_eq!(
            (line.unit_price, line.item.product.as_str()),
            (12_900, "mug-white")
        );
        assert_eq!(line.paid_at, Timestamp::parse("2026-11-20T00:58:01Z"));
    }

    #[test]
    fn what_is_no_page_is_none() {
        for body in ["", "<html>", "[]", "{}", r#"{"lines":{}}"#] {
            let unreadable = page(&answer(body.as_bytes())).expect_err("it is none");
            assert!(
                matches!(&unreadable, Failure::Unreadable { payload, .. } if payload.0 == body),
                "{unreadable}"
            );
        }
    }

    #[test]
    fn confirmations_come_in_the_order_that_was_asked() {
        let body = br#"{"results":[{"line":"b","result":"already_confirmed"},{"line":"a","result":"confirmed"},
            {"line":"c","result":"cancelled"},{"line":"d","result":"unknown"}]}"#;
        let lines: Vec<Handle> = ["a", "b", "c", "d", "e"]
            .into_iter()
            .map(|line| Handle(line.to_owned()))
            .collect();
        assert_eq!(
            confirmations(&answer(body), &lines),
            Ok(vec![
                Confirmation::Done,
                Confirmation::Done,
                Confirmation::Cancelled,
                Confirmation::Refused("unknown".into()),
                Confirmation::Later("the shop did not answer for the line".into()),
            ])
        );
        let unknown = confirmations(&answer(b"<html>"), &lines);
        assert!(matches!(unknown, Err(Failure::Unknown(_))), "{unknown:?}");
    }

    #[test]
    fn a_problem_is_read_as_far_as_it_is_one() {
        let problem = Problem::read(
            br#"{"type":"urn:onepool:problem:stale-version","status":409,"detail":"Version 9 is known.","known_version":9}"#,
        );
        assert_eq!(
            (problem.kind(), problem.known_version),
            ("stale-version", Some(9))
        );
        assert_eq!(Problem::read(b"<html>"), Problem::default());
    }
}
