//! Order sheets: a sheet is one box, an item of it one line. A line is named by its box and its option: an order may have several
//! boxes, and an option may be in more than one.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::{
    channel::{Handle, ItemId, LineState, OrderLine, Pulled, korea, lenient},
    clock::Timestamp,
};

/// More units than this in one line is nothing that a buyer did.
const MOST_UNITS_OF_A_LINE: u32 = 1_000_000;

/// A sheet, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Sheet {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) shipment_box_id: String,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) order_id: String,
    pub(super) status: String,
    ordered_at: Option<String>,
    paid_at: Option<String>,
    order_items: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    #[serde(deserialize_with = "lenient::text")]
    vendor_item_id: String,
    shipping_count: u32,
    #[serde(default)]
    cancel_count: u32,
    #[serde(default)]
    hold_count_for_cancel: u32,
    sales_price: Money,
    instant_coupon_discount: Option<Money>,
    downloadable_coupon_discount: Option<Money>,
    #[serde(default)]
    canceled: bool,
}

/// An amount: an object since version 5, a plain number before.
#[derive(Deserialize)]
#[serde(untagged)]
enum Money {
    Object { units: u64 },
    Number(u64),
}

impl Money {
    const fn won(&self) -> u64 {
        match self {
            Self::Object { units } => *units,
            Self::Number(won) => *won,
        }
    }
}

/// What is counted of one option in a box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Counts {
    pub(super) ordered: u32,
    pub(super) cancelled: u32,
    /// Units whose cancellation is asked for.
    pub(super) held: u32,
    /// What all of them cost after the seller's coupons.
    cost: u64,
}

/// Where a line is named: box, option, order, as they go into a [`Handle`]. A handle is read again by its adapter alone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) shipment_box_id: String,
    pub(super) vendor_item_id: String,
    pub(super) order_id: String,
}

impl Name {
    pub(super) fn key(&self) -> String {
        format!("{}:{}", self.shipment_box_id, self.vendor_item_id)
    }

    pub(super) fn handle(&self) -> Handle {
        Handle(format!(
            "{}:{}:{}",
            self.shipment_box_id, self.vendor_item_id, self.order_id
        ))
    }

    /// `None` if it is not one of ours: each part is a number.
    pub(super) fn parse(handle: &Handle) -> Option<Self> {
        let mut parts = handle.0.split(':').map(|part| {
            let plain = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            plain.then(|| part.to_owned())
        });
        let name = Self {
            shipment_box_id: parts.next()??,
            vendor_item_id: parts.next()??,
            order_id: parts.next()??,
        };
        parts.next().is_none().then_some(name)
    }
}

impl Sheet {
    /// Reads a sheet. What serde says of a payload may quote it, so it is not passed on.
    pub(super) fn read(payload: &Value) -> Result<Self, &'static str> {
        Self::deserialize(payload).map_err(|_| "fields are missing or of another kind")
    }

    /// How far the box is, and whether it has left.
    fn stage(&self) -> Result<Stage, &'static str> {
        match self.status.as_str() {
            "ACCEPT" => Ok(Stage::New),
            // An invoice is written, and the carrier has not come yet.
            "INSTRUCT" | "DEPARTURE" => Ok(Stage::Acknowledged),
            "DELIVERING" | "FINAL_DELIVERY" | "NONE_TRACKING" => Ok(Stage::Shipped),
            _ => Err("an unknown status"),
        }
    }

    /// What is counted of each option. A bundle that Coupang made shows as the option it is made of, so the same option can
    /// stand in a box twice.
    pub(super) fn counts(&self) -> Result<BTreeMap<&str, Counts>, &'static str> {
        let shipped = self.stage()? == Stage::Shipped;
        let mut counts = BTreeMap::<&str, Counts>::new();
        for item in &self.order_items {
            let coupons = [
                &item.instant_coupon_discount,
                &item.downloadable_coupon_discount,
            ]
            .into_iter()
            .flatten()
            .map(Money::won)
            .fold(0, u64::saturating_add);
            let cancelled = if item.canceled {
                item.shipping_count
            } else {
                item.cancel_count.min(item.shipping_count)
            };
            let of_option = counts.entry(&item.vendor_item_id).or_default();
            let cost = item
                .sales_price
                .won()
                .saturating_mul(u64::from(item.shipping_count))
                .saturating_sub(coupons);
            *of_option = Counts {
                ordered: of_option.ordered.saturating_add(item.shipping_count),
                // Once a box has left, what is counted here has come back, or will.
                cancelled: of_option.cancelled + if shipped { 0 } else { cancelled },
                held: of_option.held.saturating_add(item.hold_count_for_cancel),
                cost: of_option.cost.saturating_add(cost),
            };
        }
        Ok(counts)
    }

    /// The line of an option, if it is in the box.
    pub(super) fn state_of(&self, vendor_item_id: &str) -> Result<Option<LineState>, &'static str> {
        let stage = self.stage()?;
        Ok(self
            .counts()?
            .get(vendor_item_id)
            .map(|counts| state(stage, counts)))
    }

    fn line(
        &self,
        vendor_item_id: &str,
        counts: &Counts,
        stage: Stage,
        raw: &str,
    ) -> Result<OrderLine, &'static str> {
        if !(1..=MOST_UNITS_OF_A_LINE).contains(&counts.ordered) {
            return Err("no usable quantity");
        }
        let name = Name {
            shipment_box_id: self.shipment_box_id.clone(),
            vendor_item_id: vendor_item_id.to_owned(),
            order_id: self.order_id.clone(),
        };
        let paid_at = self.paid_at.as_ref().or(self.ordered_at.as_ref());
        Ok(OrderLine {
            key: name.key(),
            order_no: self.order_id.clone(),
            handle: name.handle(),
            item: ItemId {
                product: vendor_item_id.to_owned(),
                option: None,
            },
            ordered: counts.ordered,
            cancelled: counts.cancelled,
            state: state(stage, counts),
            unit_price: counts.cost / u64::from(counts.ordered),
            paid_at: paid_at.and_then(|text| korea::parse(text)),
            raw: raw.to_owned(),
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    New,
    Acknowledged,
    Shipped,
}

fn state(stage: Stage, counts: &Counts) -> LineState {
    match stage {
        _ if counts.cancelled >= counts.ordered => LineState::Cancelled,
        Stage::New | Stage::Acknowledged if counts.held > 0 => LineState::CancelRequested,
        Stage::New => LineState::Paid,
        Stage::Acknowledged | Stage::Shipped => LineState::Confirmed,
    }
}

/// The lines of a sheet, each with the whole sheet as its payload.
pub(super) fn pulled(payload: &Value) -> Vec<Pulled> {
    let raw = payload.to_string();
    let read = || -> Result<Vec<Pulled>, &'static str> {
        let sheet = Sheet::read(payload)?;
        let stage = sheet.stage()?;
        Ok(sheet
            .counts()?
            .into_iter()
            .map(
                |(option, counts)| match sheet.line(option, &counts, stage, &raw) {
                    Ok(line) => Pulled::Line(line),
                    Err(reason) => Pulled::Unreadable {
                        key: Some(format!("{}:{option}", sheet.shipment_box_id)),
                        reason: reason.to_owned(),
                        raw: raw.clone(),
                    },
                },
            )
            .collect())
    };
    read().unwrap_or_else(|reason| {
        vec![Pulled::Unreadable {
            key: None,
            reason: reason.to_owned(),
            raw: raw.clone(),
        }]
    })
}

/// The line of what is only known from receipts: its sheet is gone, for all of it is cancelled or back.
pub(super) fn gone(
    name: &Name,
    ordered: u32,
    cancelled: u32,
    at: Option<Timestamp>,
    raw: String,
) -> OrderLine {
    OrderLine {
        key: name.key(),
        order_no: name.order_id.clone(),
        handle: name.handle(),
        item: ItemId {
            product: name.vendor_item_id.clone(),
            option: None,
        },
        ordered,
        cancelled,
        state: LineState::Cancelled,
        // A receipt does not tell what a unit cost, and nobody pays it any more.
        unit_price: 0,
        paid_at: at,
        raw,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sheets() -> Vec<Value> {
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/ordersheets.json")).expect("JSON");
        answer["data"].as_array().expect("sheets").clone()
    }

    fn lines(payload: &Value) -> Vec<OrderLine> {
        pulled(payload)
            .into_iter()
            .map(|pulled| match pulled {
                Pulled::Line(line) => line,
                Pulled::Unreadable { reason, .. } => panic!("{reason}"),
            })
            .collect()
    }

    #[test]
    fn a_new_sheet_is_read_whole() {
        let sheet = &sheets()[0];
        assert_eq!(
            lines(sheet),
            [OrderLine {
                key: "700000000000000001:3000000001".to_owned(),
                order_no: "9000000000001".to_owned(),
                handle: Handle("700000000000000001:3000000001:9000000000001".to_owned()),
                item: ItemId {
                    product: "3000000001".to_owned(),
                    option: None
                },
                ordered: 2,
                cancelled: 0,
                state: LineState::Paid,
                unit_price: 12_400,
                paid_at: Timestamp::parse("2026-11-20T09:58:05+09:00"),
                raw: sheet.to_string(),
            }]
        );
    }

    #[test]
    fn every_option_of_a_box_is_a_line_and_the_same_option_twice_is_one() {
        let lines = lines(&sheets()[1]);
        let told: Vec<_> = lines
            .iter()
            .map(|line| {
                (
                    line.key.as_str(),
                    line.ordered,
                    line.cancelled,
                    line.state,
                    line.unit_price,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (
                    "700000000000000002:3000000001",
                    4,
                    1,
                    LineState::Confirmed,
                    12_900
                ),
                (
                    "700000000000000002:3000000002",
                    2,
                    0,
                    LineState::CancelRequested,
                    9_900
                ),
                (
                    "700000000000000002:3000000003",
                    1,
                    1,
                    LineState::Cancelled,
                    5_000
                ),
            ]
        );
    }

    #[test]
    fn what_comes_back_after_it_left_is_not_counted() {
        let mut sheet = sheets()[1].clone();
        for (status, cancelled) in [
            ("ACCEPT", 1),
            ("DEPARTURE", 1),
            ("DELIVERING", 0),
            ("FINAL_DELIVERY", 0),
            ("NONE_TRACKING", 0),
        ] {
            sheet["status"] = json!(status);
            assert_eq!(lines(&sheet)[0].cancelled, cancelled, "{status}");
        }
        sheet["status"] = json!("SOMETHING_NEW");
        assert!(matches!(
            pulled(&sheet)[..],
            [Pulled::Unreadable { key: None, .. }]
        ));
    }

    #[test]
    fn amounts_of_the_version_before_are_read_too() {
        let mut sheet = sheets()[0].clone();
        sheet["orderItems"][0]["salesPrice"] = json!(12_900);
        sheet["orderItems"][0]["instantCouponDiscount"] = json!(0);
        assert_eq!(lines(&sheet)[0].unit_price, 12_900);
    }

    #[test]
    fn what_cannot_be_read_is_kept_without_being_quoted() {
        for (field, value) in [
            ("shippingCount", json!("Kim of Seoul")),
            ("shippingCount", json!(-1)),
            ("shippingCount", json!(0)),
            ("salesPrice", json!(null)),
        ] {
            let mut sheet = sheets()[0].clone();
            sheet["orderItems"][0][field] = value;
            match &pulled(&sheet)[..] {
                [Pulled::Unreadable { reason, raw, .. }] => {
                    assert!(!reason.contains("Kim"));
                    assert_eq!(*raw, sheet.to_string());
                }
                other => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_handle_names_box_option_and_order() {
        let name = Name::parse(&Handle("1:2:3".to_owned())).expect("a name");
        assert_eq!(
            (name.key(), name.handle().0),
            ("1:2".to_owned(), "1:2:3".to_owned())
        );
        for handle in ["", "1:2", "1:2:3:4", "1:2:x", "1::3", "1:../2:3"] {
            assert_eq!(Name::parse(&Handle(handle.to_owned())), None, "{handle}");
        }
    }
}
