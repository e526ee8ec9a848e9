//! Receipts: what buyers and the seller cancel, and what becomes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use super::{
    Problem, Sheets, line_id,
    sheet::{Sheet, Status},
};
use crate::{
    answer::Refusal,
    clock::written,
    coupang::items::Shelf,
    market::{Cancel, signed},
};

const FIRST_RECEIPT: u64 = 500_000_001;

const WITHOUT_ZONE: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// Where a receipt stands, in the words of the list's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) enum ReceiptStatus {
    /// A stop of the shipment is asked for.
    #[serde(rename = "RU")]
    StopRequested,
    /// The return is received.
    #[serde(rename = "UC")]
    Received,
    /// It is done.
    #[serde(rename = "CC")]
    Completed,
    /// Coupang looks into it.
    #[serde(rename = "PR")]
    Checked,
}

impl ReceiptStatus {
    /// As `receiptStatus` of the list.
    fn long(self) -> &'static str {
        match self {
            Self::StopRequested => "RELEASE_STOP_UNCHECKED",
            Self::Received => "RETURNS_UNCHECKED",
            Self::Completed => "RETURNS_COMPLETED",
            Self::Checked => "REQUEST_COUPANG_CHECK",
        }
    }
}

/// A cancellation or a return.
#[derive(Clone, Debug)]
pub(crate) struct Receipt {
    id: u64,
    order: u64,
    sheet: u64,
    /// Cancelled before the seller acknowledged.
    pub(crate) before_acknowledgement: bool,
    pub(crate) status: ReceiptStatus,
    /// What was asked to be stopped is stopped or has left.
    stopped: Option<bool>,
    items: Vec<(u64, u64)>,
    reason: String,
    pub(crate) created: OffsetDateTime,
}

impl Receipt {
    fn show(&self, sheet: Option<&Sheet>) -> Value {
        let of = |vendor_item| {
            sheet.and_then(|sheet| sheet.items.iter().find(|i| i.vendor_item == vendor_item))
        };
        let items: Vec<_> = self
            .items
            .iter()
            .map(|(vendor_item, count)| {
                json!({
                    "vendorItemId": vendor_item,
                    "vendorItemName": of(*vendor_item).map(|item| &item.name),
                    "sellerProductId": of(*vendor_item).map(|item| item.product),
                    "shipmentBoxId": self.sheet,
                    "purchaseCount": of(*vendor_item).map(|item| item.count),
                    "cancelCount": count,
                    "releaseStatus": match self.stopped {
                        None => "N",
                        Some(true) => "S",
                        Some(false) => "A",
                    },
                })
            })
            .collect();
        json!({
            "receiptId": self.id,
            "orderId": self.order,
            "paymentId": self.order,
            "receiptType": if self.before_acknowledgement { "CANCEL" } else { "RETURN" },
            "receiptStatus": self.status.long(),
            "createdAt": written(self.created, WITHOUT_ZONE),
            "modifiedAt": written(self.created, WITHOUT_ZONE),
            "cancelReasonCategory1": "고객변심",
            "cancelReasonCategory2": "단순변심",
            "cancelReason": self.reason,
            "cancelCountSum": self.items.iter().map(|(_, count)| count).sum::<u64>(),
            "releaseStopStatus": match self.stopped {
                None if self.status == ReceiptStatus::StopRequested => "미처리",
                None => "비대상",
                Some(true) => "처리(출고중지)",
                Some(false) => "처리(이미출고)",
            },
            "returnItems": items,
            "returnDeliveryDtos": [],
        })
    }
}

impl Sheets {
    /// A buyer cancels.
    pub(crate) fn cancel(
        &mut self,
        shelf: &mut Shelf,
        order: &str,
        cancel: &Cancel,
        restores: bool,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let mut lines = Vec::new();
        for id in self.boxes_of(order)? {
            let Some(sheet) = self.sheets.get(id) else {
                continue;
            };
            for item in &sheet.items {
                let line = line_id(sheet.id, item.vendor_item);
                let is_meant = cancel.line_id.as_ref().is_none_or(|wanted| *wanted == line);
                if !is_meant {
                    continue;
                }
                if sheet.status > Status::Instruct {
                    return Err(Refusal::impossible("It is too late to cancel."));
                }
                let units = cancel.quantity.unwrap_or(item.left());
                if units > item.left() {
                    return Err(Refusal::impossible(
                        "There are not that many left to cancel.",
                    ));
                }
                if units > 0 {
                    lines.push(((sheet.id, item.vendor_item), units));
                }
            }
        }
        if lines.is_empty() {
            return Err(Refusal::impossible("There is nothing to cancel."));
        }
        let reason = cancel.reason.as_deref().unwrap_or("단순변심");
        for (line, units) in lines {
            // It was checked above, so it cannot be refused.
            let _ = self.cancel_item(shelf, line, Some(units), reason, restores, now);
        }
        self.show_order(order)
    }

    /// Cancels units of one option of a box: at once in ACCEPT, as a stop of the shipment in INSTRUCT. Answers the
    /// receipt's number.
    pub(crate) fn cancel_item(
        &mut self,
        shelf: &mut Shelf,
        (sheet, vendor_item): (u64, u64),
        units: Option<u64>,
        reason: &str,
        restores: bool,
        now: OffsetDateTime,
    ) -> Result<u64, Problem> {
        let id = FIRST_RECEIPT + self.receipts.len() as u64;
        let sheet = self.sheets.get_mut(&sheet).ok_or(Problem::NotFound)?;
        let status = sheet.status;
        let item = sheet
            .items
            .iter_mut()
            .find(|item| item.vendor_item == vendor_item)
            .ok_or(Problem::NotFound)?;
        let units = units.unwrap_or(item.left());
        if units == 0 || units > item.left() {
            return Err(Problem::Status);
        }
        let before_acknowledgement = match status {
            Status::Unpaid | Status::Accept => {
                item.cancelled += units;
                if restores {
                    shelf.shift(vendor_item, signed(units));
                }
                true
            }
            Status::Instruct => {
                item.held += units;
                false
            }
            Status::Departure
            | Status::Delivering
            | Status::FinalDelivery
            | Status::NoneTracking => return Err(Problem::Status),
        };
        self.receipts.insert(
            id,
            Receipt {
                id,
                order: sheet.order,
                sheet: sheet.id,
                before_acknowledgement,
                status: if before_acknowledgement {
                    ReceiptStatus::Completed
                } else {
                    ReceiptStatus::StopRequested
                },
                stopped: None,
                items: vec![(vendor_item, units)],
                reason: reason.to_owned(),
                created: now,
            },
        );
        Ok(id)
    }

    /// The seller answers a request to stop a shipment: it is stopped, or it has left.
    pub(crate) fn decide(
        &mut self,
        shelf: &mut Shelf,
        receipt: u64,
        stopped: bool,
        restores: bool,
    ) -> Result<(), Problem> {
        let receipt = self.receipts.get_mut(&receipt).ok_or(Problem::NotFound)?;
        if receipt.status != ReceiptStatus::StopRequested {
            return Err(Problem::Status);
        }
        receipt.stopped = Some(stopped);
        receipt.status = if stopped {
            ReceiptStatus::Completed
        } else {
            ReceiptStatus::Received
        };
        let Some(sheet) = self.sheets.get_mut(&receipt.sheet) else {
            return Ok(());
        };
        for (vendor_item, units) in &receipt.items {
            for item in sheet
                .items
                .iter_mut()
                .filter(|i| i.vendor_item == *vendor_item)
            {
                item.held = item.held.saturating_sub(*units);
                if stopped {
                    item.cancelled += units;
                }
            }
            if stopped && restores {
                shelf.shift(*vendor_item, signed(*units));
            }
        }
        if !stopped && sheet.status == Status::Instruct {
            sheet.status = Status::Departure;
        }
        Ok(())
    }

    /// Receipts that were created in the window, from one id on.
    pub(crate) fn receipts(
        &self,
        (from, to): (OffsetDateTime, OffsetDateTime),
        first: u64,
    ) -> impl Iterator<Item = (&Receipt, Value)> {
        self.receipts
            .range(first..)
            .map(|(_, receipt)| receipt)
            .filter(move |receipt| from <= receipt.created && receipt.created <= to)
            .map(move |receipt| (receipt, receipt.show(self.sheets.get(&receipt.sheet))))
    }

    pub(crate) fn receipt_units(&self, receipt: u64) -> Option<u64> {
        let receipt = self.receipts.get(&receipt)?;
        Some(receipt.items.iter().map(|(_, units)| units).sum())
    }
}
