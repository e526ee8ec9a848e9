//! Orders and their items. Where some units of an item are cancelled, the shop splits a new item off it: both are one line here,
//! named by the item that was there first.

use serde_json::Value;

use super::{
    super::{Failure, LineState},
    goods::{whole, won},
};

/// Nobody buys more of a thing in one line.
const MOST_ORDERED: i64 = 100_000;
/// An item that was split off one that was split off, and so on, this often.
const MOST_SPLITS: usize = 20;

/// Where an order was placed, when it was not the shop itself: its own channel brings it. Orders through Naver Pay's form at the
/// shop (`NCHECKOUT`) are the shop's.
const LINKED_PLACES: [&str; 6] = ["inpark", "auction", "sk11st", "gmarket", "coupang", "shopn"];
const OWN_MARKETS: [&str; 4] = ["", "self", "cafe24", "NCHECKOUT"];

/// What an item's status means here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not paid, or cancelled before it was.
    Unpaid,
    /// Paid: "preparing product".
    Paid,
    /// Prepared, or further; being returned or exchanged.
    Confirmed,
    /// Its buyer asks to cancel it.
    CancelAsked,
    /// Somebody has agreed; the refund is under way.
    Cancelling,
    /// Cancelled before it was shipped.
    Cancelled,
    /// It came back.
    Returned,
    /// A status that is not in the documents.
    Unknown,
}

fn standing(status: &str) -> Standing {
    match status {
        "N00" | "N02" | "N03" | "C47" | "C48" | "C49" => Standing::Unpaid,
        "N10" => Standing::Paid,
        // C11: the shop has refused to cancel it.
        "N01" | "N20" | "N21" | "N22" | "N30" | "N40" | "N50" | "C11" => Standing::Confirmed,
        "C00" => Standing::CancelAsked,
        "C10" | "C34" | "C35" | "C36" => Standing::Cancelling,
        "C40" | "C41" | "C42" | "C43" => Standing::Cancelled,
        "R40" | "R41" | "R42" | "R43" => Standing::Returned,
        status if status.starts_with('R') || status.starts_with('E') => Standing::Confirmed,
        _ => Standing::Unknown,
    }
}

/// An item of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) code: String,
    pub(super) standing: Standing,
    pub(super) units: u32,
    pub(super) product: String,
    pub(super) variant: String,
    pub(super) unit_price: u64,
    pub(super) raw: Value,
    /// Its number, where it is told.
    number: Option<String>,
    /// The item it was split off, by number or code.
    split_off: Option<String>,
    /// A replacement, sent in exchange for something else.
    is_replacement: bool,
}

impl Item {
    fn is_part_of(&self, other: &Self) -> bool {
        let named = |name: &String| *name == other.code || Some(name) == other.number.as_ref();
        !self.is_replacement
            && self.code != other.code
            && self.variant == other.variant
            && self.split_off.as_ref().is_some_and(named)
    }
}

/// An item, with what was split off it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The first is the one that names the line.
    pub(super) items: Vec<Item>,
}

impl Line {
    /// The item that names it.
    pub(super) fn first(&self) -> &Item {
        &self.items[0]
    }

    pub(super) fn units(&self, of: &[Standing]) -> u32 {
        let fitting = self.items.iter().filter(|item| of.contains(&item.standing));
        fitting.map(|item| item.units).sum()
    }

    pub(super) fn codes(&self, of: Standing) -> impl Iterator<Item = &str> {
        self.items
            .iter()
            .filter(move |item| item.standing == of)
            .map(|item| item.code.as_str())
    }

    pub(super) fn ordered(&self) -> u32 {
        self.items.iter().map(|item| item.units).sum()
    }

    pub(super) fn has(&self, standing: Standing) -> bool {
        self.items.iter().any(|item| item.standing == standing)
    }

    /// How far it is; `None` if it is not paid.
    pub(super) fn state(&self) -> Option<LineState> {
        let is_all = |of: &[Standing]| self.items.iter().all(|item| of.contains(&item.standing));
        if is_all(&[Standing::Unpaid]) {
            None
        } else if is_all(&[Standing::Cancelled, Standing::Returned, Standing::Unpaid]) {
            Some(LineState::Cancelled)
        } else if self.has(Standing::CancelAsked) || self.has(Standing::Cancelling) {
            Some(LineState::CancelRequested)
        } else if self.has(Standing::Paid) {
            Some(LineState::Paid)
        } else {
            Some(LineState::Confirmed)
        }
    }
}

/// An item that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) code: Option<String>,
    pub(super) reason: &'static str,
    pub(super) raw: Value,
}

/// Whether a linked marketplace brings the order itself.
pub(super) fn is_linked(order: &Value) -> bool {
    let place = order["order_place_id"].as_str().unwrap_or_default();
    let market = order["market_id"].as_str().unwrap_or_default();
    LINKED_PLACES.contains(&place) || !OWN_MARKETS.contains(&market)
}

/// The lines of an order.
pub(super) fn lines(order: &Value) -> (Vec<Line>, Vec<Unreadable>) {
    let (mut items, mut unreadable) = (Vec::new(), Vec::new());
    match order["items"].as_array() {
        Some(list) => {
            for raw in list {
                match item(raw) {
                    Ok(item) => items.push(item),
                    Err(reason) => unreadable.push(Unreadable {
                        code: raw["order_item_code"].as_str().map(str::to_owned),
                        reason,
                        raw: raw.clone(),
                    }),
                }
            }
        }
        None => unreadable.push(Unreadable {
            code: None,
            reason: "an order without items",
            raw: order.clone(),
        }),
    }
    (grouped(items), unreadable)
}

fn grouped(items: Vec<Item>) -> Vec<Line> {
    let firsts: Vec<usize> = (0..items.len()).map(|place| first(&items, place)).collect();
    let mut lines = Vec::new();
    for (place, item) in items.iter().enumerate() {
        if firsts[place] != place {
            continue;
        }
        let parts = items.iter().zip(&firsts).enumerate();
        let parts = parts
            .filter(|(part, (_, first))| *part != place && **first == place)
            .map(|(_, (part, _))| part.clone());
        lines.push(Line {
            items: std::iter::once(item.clone()).chain(parts).collect(),
        });
    }
    lines
}

/// The item that this one was split off in the end.
fn first(items: &[Item], place: usize) -> usize {
    let mut first = place;
    for _ in 0..MOST_SPLITS {
        let of = &items[first];
        match items.iter().position(|other| of.is_part_of(other)) {
            Some(other) => first = other,
            None => return first,
        }
    }
    // Items that were split off each other: each stands for itself.
    place
}

fn item(raw: &Value) -> Result<Item, &'static str> {
    let text = |name: &str| match &raw[name] {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        // A list of one in answers of some versions.
        Value::Array(list) => match list.as_slice() {
            [Value::String(text)] => Some(text.clone()),
            [Value::Number(number)] => Some(number.to_string()),
            _ => None,
        },
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Object(_) => None,
    };
    let status = text("order_status").ok_or("order_status is missing")?;
    let units = whole(&raw["quantity"])
        .filter(|units| (1..=MOST_ORDERED).contains(units))
        .and_then(|units| u32::try_from(units).ok())
        .ok_or("quantity is no number of units")?;
    // What was paid for the item is told only by shops that reckon discounts by item.
    let unit_price = match won(&raw["payment_amount"]) {
        Some(paid) => paid / i64::from(units),
        None => {
            won(&raw["product_price"]).ok_or("it has no price")?
                + won(&raw["option_price"]).unwrap_or(0)
        }
    };
    let standing = standing(&status);
    if standing == Standing::Unknown {
        return Err("order_status is none that is known");
    }
    Ok(Item {
        code: text("order_item_code").ok_or("order_item_code is missing")?,
        standing,
        units,
        product: text("product_no").ok_or("product_no is missing")?,
        variant: text("variant_code").ok_or("variant_code is missing")?,
        unit_price: u64::try_from(unit_price).map_err(|_| "its price is below zero")?,
        raw: raw.clone(),
        number: text("item_no"),
        split_off: text("original_item_no"),
        is_replacement: matches!(status.as_str(), "N01" | "N02" | "N03")
            || raw["status_code"].as_str() == Some("N2"),
    })
}

/// Finds a line of an order that was read alone.
pub(super) fn find(reply: &Value, code: &str) -> Result<Line, Failure> {
    let (lines, _) = lines(&reply["order"]);
    lines
        .into_iter()
        .find(|line| line.first().code == code)
        .ok_or_else(|| Failure::Refused("the order does not have the line".to_owned()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn orders() -> Vec<Value> {
        let reply: Value =
            serde_json::from_str(include_str!("fixtures/orders.json")).expect("JSON");
        reply["orders"].as_array().expect("orders").clone()
    }

    #[test]
    fn every_status_of_the_documents_means_something() {
        for (statuses, is) in [
            ("N00 N02 N03 C47 C48 C49", Standing::Unpaid),
            ("N10", Standing::Paid),
            (
                "N01 N20 N21 N22 N30 N40 N50 C11 R00 R10 R11 R12 R13 R20 R30 R31 R34 R36 \
                 E00 E10 E11 E12 E13 E20 E30 E31 E32 E33 E34 E35 E36 E40",
                Standing::Confirmed,
            ),
            ("C00", Standing::CancelAsked),
            ("C10 C34 C35 C36", Standing::Cancelling),
            ("C40 C41 C42 C43", Standing::Cancelled),
            ("R40 R41 R42 R43", Standing::Returned),
            ("X1 N99 C77", Standing::Unknown),
        ] {
            for status in statuses.split_whitespace() {
                assert_eq!(standing(status), is, "{status}");
            }
        }
    }

    #[test]
    fn orders_of_linked_marketplaces_are_told_by_place_or_market() {
        for (place, market, is) in [
            ("self", "self", false),
            ("cafe24", "self", false),
            ("mobile", "self", false),
            ("NCHECKOUT", "self", false),
            ("coupang", "coupang", true),
            ("shopn", "self", true),
            ("self", "sk11st", true),
        ] {
            let order = json!({ "order_place_id": place, "market_id": market });
            assert_eq!(is_linked(&order), is, "{place} {market}");
        }
        assert!(!is_linked(&json!({ "market_id": null })));
    }

    #[test]
    fn items_that_were_split_off_are_one_line() {
        let (lines, unreadable) = lines(&orders()[1]);
        assert!(unreadable.is_empty(), "{unreadable:?}");
        assert_eq!(lines.len(), 2);
        let line = &lines[0];
        assert_eq!(line.first().code, "20261120-0000014-01");
        assert_eq!(line.ordered(), 5);
        assert_eq!(line.units(&[Standing::Cancelled]), 2);
        assert_eq!(line.state(), Some(LineState::CancelRequested));
        let asked: Vec<&str> = line.codes(Standing::CancelAsked).collect();
        assert_eq!(asked, ["20261120-0000014-04"]);
        assert_eq!(lines[1].first().code, "20261120-0000014-02");
    }

    #[test]
    fn one_item_that_cannot_be_read_leaves_the_others() {
        let (lines, unreadable) = lines(&orders()[2]);
        assert_eq!(lines.len(), 1);
        let reasons: Vec<(Option<&str>, &str)> = unreadable
            .iter()
            .map(|item| (item.code.as_deref(), item.reason))
            .collect();
        assert_eq!(
            reasons,
            [
                (
                    Some("20261120-0000015-02"),
                    "quantity is no number of units"
                ),
                (None, "order_item_code is missing"),
                (
                    Some("20261120-0000015-04"),
                    "order_status is none that is known"
                ),
            ]
        );
    }

    #[test]
    fn items_that_name_each_other_stand_alone() {
        let mut order = orders()[1].clone();
        order["items"][0]["original_item_no"] = json!("20261120-0000014-03");
        let (lines, _) = lines(&order);
        assert_eq!(lines.iter().map(Line::ordered).sum::<u32>(), 6);
    }

    #[test]
    fn a_price_is_what_was_paid_for_a_unit_or_what_it_costs() {
        let (lines, _) = lines(&orders()[0]);
        assert_eq!(lines[0].first().unit_price, 12_400);
        assert_eq!(lines[1].first().unit_price, 13_900);
        assert_eq!(lines[0].state(), Some(LineState::Paid));
    }
}
