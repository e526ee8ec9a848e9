//! Receipts: what was cancelled, is asked to be stopped before it leaves, or comes back. They all stand in one list.

use serde::Deserialize;
use serde_json::Value;

use super::sheet::Name;
use crate::{channel::lenient, clock::Timestamp};

/// A receipt, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Receipt {
    #[serde(deserialize_with = "lenient::text")]
    pub(super) receipt_id: String,
    #[serde(deserialize_with = "lenient::text")]
    pub(super) order_id: String,
    receipt_type: Option<String>,
    receipt_status: Option<String>,
    release_stop_status: Option<String>,
    created_at: Option<String>,
    return_items: Vec<ReturnItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReturnItem {
    #[serde(deserialize_with = "lenient::text")]
    vendor_item_id: String,
    #[serde(deserialize_with = "lenient::text")]
    shipment_box_id: String,
    cancel_count: u32,
    purchase_count: Option<u32>,
    release_status: Option<String>,
}

/// What a receipt says of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) name: Name,
    pub(super) units: u32,
    pub(super) purchased: Option<u32>,
    pub(super) fate: Fate,
}

/// What became of the units of a receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// They never left: cancelled before the acknowledgement, or stopped.
    Stayed,
    /// Their stop is asked for, and nobody has answered.
    Asked,
    /// They had left.
    Left,
}

impl Receipt {
    /// Reads a receipt. What serde says of a payload may quote it, so it is not passed on.
    pub(super) fn read(payload: &Value) -> Result<Self, &'static str> {
        Self::deserialize(payload).map_err(|_| "fields are missing or of another kind")
    }

    pub(super) fn created_at(&self) -> Option<Timestamp> {
        self.created_at
            .as_deref()
            .and_then(crate::channel::korea::parse)
    }

    /// Units of all lines of the receipt: a stop is agreed to for all of it.
    pub(super) fn units(&self) -> u32 {
        self.return_items
            .iter()
            .map(|item| item.cancel_count)
            .fold(0, u32::saturating_add)
    }

    /// What it says of each of its lines.
    pub(super) fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.return_items.iter().map(|item| Part {
            name: Name {
                shipment_box_id: item.shipment_box_id.clone(),
                vendor_item_id: item.vendor_item_id.clone(),
                order_id: self.order_id.clone(),
            },
            units: item.cancel_count,
            purchased: item.purchase_count,
            fate: self.fate(item),
        })
    }

    /// `receiptType` and `releaseStopStatus` come as codes from some versions and as words from others; `releaseStatus` of an item
    /// is Y (left), N (not yet), S (stopped) or A (had left already). What says nothing clear counts as having left: those units
    /// are not given back without a person's look.
    fn fate(&self, item: &ReturnItem) -> Fate {
        if matches!(self.receipt_type.as_deref(), Some("CANCEL" | "취소")) {
            return Fate::Stayed;
        }
        match (
            item.release_status.as_deref(),
            self.release_stop_status.as_deref(),
        ) {
            (Some("S"), _) | (_, Some("처리(출고중지)")) => Fate::Stayed,
            (Some("Y" | "A"), _) | (_, Some("처리(이미출고)" | "자동처리(이미출고)")) => {
                Fate::Left
            }
            (Some("N"), _) | (_, Some("미처리")) => Fate::Asked,
            (Some(_) | None, Some(_) | None)
                if self.receipt_status.as_deref() == Some("RELEASE_STOP_UNCHECKED") =>
            {
                Fate::Asked
            }
            (Some(_) | None, Some(_) | None) => Fate::Left,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn receipts() -> Vec<Receipt> {
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/return-requests.json")).expect("JSON");
        answer["data"]
            .as_array()
            .expect("receipts")
            .iter()
            .map(|receipt| Receipt::read(receipt).expect("can be read"))
            .collect()
    }

    #[test]
    fn a_receipt_says_what_became_of_its_units() {
        let told: Vec<_> = receipts()
            .iter()
            .flat_map(|receipt| {
                receipt
                    .parts()
                    .map(|part| (part.name.key(), part.units, part.purchased, part.fate))
                    .collect::<Vec<_>>()
            })
            .collect();
        let line =
            |key: &str, units, purchased, fate| (key.to_owned(), units, Some(purchased), fate);
        assert_eq!(
            told,
            [
                line("700000000000000003:3000000001", 2, 2, Fate::Stayed),
                line("700000000000000002:3000000002", 1, 2, Fate::Asked),
                line("700000000000000004:3000000001", 1, 3, Fate::Stayed),
                line("700000000000000005:3000000001", 1, 1, Fate::Left),
                line("700000000000000005:3000000002", 1, 1, Fate::Left),
            ]
        );
        assert_eq!(receipts()[3].units(), 2);
        assert_eq!(
            receipts()[0].created_at(),
            Timestamp::parse("2026-11-20T09:59:30+09:00")
        );
    }

    #[test]
    fn what_is_not_clear_counts_as_having_left() {
        for (status, stop, release, fate) in [
            ("RELEASE_STOP_UNCHECKED", None, None, Fate::Asked),
            ("RETURNS_UNCHECKED", None, None, Fate::Left),
            ("RETURNS_UNCHECKED", Some("미처리"), None, Fate::Asked),
            ("RETURNS_UNCHECKED", None, Some("N"), Fate::Asked),
            ("RETURNS_COMPLETED", Some("비대상"), None, Fate::Left),
            (
                "RETURNS_COMPLETED",
                Some("처리(출고중지)"),
                None,
                Fate::Stayed,
            ),
            ("RETURNS_COMPLETED", None, Some("S"), Fate::Stayed),
            (
                "RELEASE_STOP_UNCHECKED",
                Some("처리(이미출고)"),
                None,
                Fate::Left,
            ),
            (
                "RETURNS_COMPLETED",
                Some("something new"),
                Some("?"),
                Fate::Left,
            ),
        ] {
            let receipt = json!({ "receiptId": 1, "orderId": 2, "receiptType": "RETURN", "receiptStatus": status,
                "releaseStopStatus": stop, "returnItems": [{ "vendorItemId": 3, "shipmentBoxId": 4, "cancelCount": 1, "releaseStatus": release }] });
            let receipt = Receipt::read(&receipt).expect("can be read");
            let part = receipt.parts().next().expect("a part");
            assert_eq!(part.fate, fate, "{status} {stop:?} {release:?}");
        }
    }
}
