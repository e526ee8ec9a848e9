//! Order sheets, one for each shipment box, and the receipts of cancellations and returns.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use super::{answers::won, items::Shelf};
use crate::{
    answer::Refusal,
    clock::{iso, written},
    market::{Cancel, MAX_HELD, Move, NewOrder},
};

const FIRST_ORDER: u64 = 9_000_000_000_001;
/// Eighteen digits: too many for a float.
const FIRST_BOX: u64 = 700_000_000_000_000_001;
const FIRST_RECEIPT: u64 = 500_000_001;

const MICROSECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+09:00");
const WITHOUT_ZONE: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// How far a box has come. The order of the variants is the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    /// Ordered, not paid: no list shows it.
    Unpaid,
    Accept,
    Instruct,
    Departure,
    Delivering,
    FinalDelivery,
    NoneTracking,
}

/// Where a receipt stands, in the words of the list's filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum ReceiptStatus {
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

/// One option in a box.
#[derive(Clone, Debug)]
pub(super) struct Packed {
    pub(super) vendor_item: u64,
    product: u64,
    product_name: String,
    name: String,
    seller_code: Option<String>,
    price: u64,
    count: u64,
    cancelled: u64,
    /// Asked to be stopped, and not decided.
    held: u64,
}

impl Packed {
    fn left(&self) -> u64 {
        self.count.saturating_sub(self.cancelled + self.held)
    }
}

/// One shipment box.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    pub(super) id: u64,
    pub(super) order: u64,
    pub(super) status: Status,
    pub(super) items: Vec<Packed>,
    buyer: String,
    address: u64,
    ordered: OffsetDateTime,
    paid: Option<OffsetDateTime>,
    invoice: Option<(String, String)>,
}

impl Sheet {
    /// Nothing is left in it to be sent.
    fn is_cancelled(&self) -> bool {
        self.items.iter().all(|item| item.cancelled == item.count)
    }

    fn has_held(&self) -> bool {
        self.items.iter().any(|item| item.held > 0)
    }

    /// An element of the list.
    pub(super) fn show(&self) -> Value {
        let (company, invoice) = match &self.invoice {
            Some((company, number)) => (company.as_str(), number.as_str()),
            None => ("", ""),
        };
        json!({
            "shipmentBoxId": self.id,
            "orderId": self.order,
            "orderedAt": written(self.ordered, MICROSECONDS),
            "paidAt": self.paid.map(|at| written(at, MICROSECONDS)),
            "status": self.status,
            "orderer": {
                "name": self.buyer,
                "email": "",
                "safeNumber": "0500-0000-0000",
                "ordererNumber": null,
            },
            "receiver": {
                "name": self.buyer,
                "safeNumber": "0500-0000-0000",
                "receiverNumber": null,
                "addr1": "서울",
                "addr2": self.address.to_string(),
                "postCode": "00000",
            },
            "shippingPrice": won(0),
            "remotePrice": null,
            "remoteArea": false,
            "parcelPrintMessage": "",
            "splitShipping": false,
            "ableSplitShipping": false,
            "orderItems": self.items.iter().map(packed).collect::<Vec<_>>(),
            "deliveryCompanyName": company,
            "invoiceNumber": invoice,
            "inTrasitDateTime": "",
            "deliveredDate": "",
            "refer": "안드로이드앱",
            "shipmentType": "THIRD_PARTY",
            "isCod": false,
        })
    }
}

fn packed(item: &Packed) -> Value {
    json!({
        "vendorItemId": item.vendor_item,
        "vendorItemName": item.name,
        "productId": item.product,
        "sellerProductId": item.product,
        "sellerProductName": item.product_name,
        "sellerProductItemName": item.name,
        "firstSellerProductItemName": item.name,
        "externalVendorSkuCode": item.seller_code.as_deref().unwrap_or_default(),
        "shippingCount": item.count,
        "cancelCount": item.cancelled,
        "holdCountForCancel": item.held,
        "salesPrice": won(item.price),
        "orderPrice": won(item.price * item.count),
        "discountPrice": won(0),
        "instantCouponDiscount": won(0),
        "downloadableCouponDiscount": won(0),
        "coupangDiscount": won(0),
        "canceled": item.cancelled == item.count,
        "pricingBadge": false,
        "upBundleItem": false,
        "upBundleVendorItemId": null,
        "upBundleSize": null,
    })
}

/// A cancellation or a return.
#[derive(Clone, Debug)]
pub(super) struct Receipt {
    id: u64,
    order: u64,
    sheet: u64,
    /// Cancelled before the seller acknowledged.
    pub(super) before_acknowledgement: bool,
    pub(super) status: ReceiptStatus,
    /// What was asked to be stopped is stopped or has left.
    stopped: Option<bool>,
    items: Vec<(u64, u64)>,
    reason: String,
    pub(super) created: OffsetDateTime,
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

/// Why the seller's call about a box or a receipt did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotFound,
    /// The delivery status cannot change that way.
    Status,
}

/// Where somebody moves a box by hand.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Moved {
    Accept,
    Instruct,
    Departure,
    Delivering,
    FinalDelivery,
    NoneTracking,
    AddressChanged,
}

/// All boxes and receipts.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    sheets: BTreeMap<u64, Sheet>,
    by_order: BTreeMap<u64, Vec<u64>>,
    receipts: BTreeMap<u64, Receipt>,
    orders: u64,
    boxes: u64,
}

impl Sheets {
    pub(super) fn place(
        &mut self,
        shelf: &mut Shelf,
        order: &NewOrder,
        box_per_item: bool,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        if self.sheets.len() + order.lines.len() > MAX_HELD {
            return Err(Refusal::impossible("There are too many orders."));
        }
        // All is decided before anything is taken. A box has an option once, however often it was ordered.
        let mut wanted: BTreeMap<u64, u64> = BTreeMap::new();
        for line in &order.lines {
            let units = wanted.entry(shelf.wanted(line)?).or_default();
            *units = units.saturating_add(line.quantity);
        }
        let mut items = Vec::new();
        for (id, units) in &wanted {
            let item = shelf
                .get(*id)
                .filter(|item| item.stock >= *units)
                .ok_or_else(|| Refusal::impossible("There are not that many left."))?;
            items.push(Packed {
                vendor_item: *id,
                product: item.product,
                product_name: item.product_name.clone(),
                name: item.name.clone(),
                seller_code: item.seller_code.clone(),
                price: item.price,
                count: *units,
                cancelled: 0,
                held: 0,
            });
        }
        for (id, units) in wanted {
            shelf.shift(id, -signed(units));
        }
        let order_id = FIRST_ORDER + self.orders;
        self.orders += 1;
        let buyer = match &order.buyer {
            Some(buyer) => buyer.clone(),
            None => format!("구매자{}", self.orders),
        };
        let boxes: Vec<Vec<Packed>> = if box_per_item {
            items.into_iter().map(|item| vec![item]).collect()
        } else {
            vec![items]
        };
        for items in boxes {
            let id = FIRST_BOX + self.boxes;
            self.boxes += 1;
            self.by_order.entry(order_id).or_default().push(id);
            self.sheets.insert(
                id,
                Sheet {
                    id,
                    order: order_id,
                    status: if order.paid {
                        Status::Accept
                    } else {
                        Status::Unpaid
                    },
                    items,
                    buyer: buyer.clone(),
                    address: 1,
                    ordered: now,
                    paid: order.paid.then_some(now),
                    invoice: None,
                },
            );
        }
        self.show_order(&order_id.to_string())
    }

    /// A sheet that is not cancelled: the others have vanished.
    pub(super) fn get(&self, id: u64) -> Option<&Sheet> {
        self.sheets
            .get(&id)
            .filter(|sheet| sheet.status != Status::Unpaid && !sheet.is_cancelled())
    }

    pub(super) fn of_order(&self, order: u64) -> Vec<&Sheet> {
        self.by_order
            .get(&order)
            .into_iter()
            .flatten()
            .filter_map(|id| self.get(*id))
            .collect()
    }

    /// Sheets that were created in the window and have this status now, from one id on.
    pub(super) fn list(
        &self,
        (from, to): (OffsetDateTime, OffsetDateTime),
        status: Status,
        first: u64,
    ) -> impl Iterator<Item = &Sheet> {
        self.sheets
            .range(first..)
            .filter_map(move |(id, _)| self.get(*id))
            .filter(move |sheet| {
                sheet.status == status && from <= sheet.ordered && sheet.ordered <= to
            })
    }

    /// Receipts that were created in the window, from one id on.
    pub(super) fn receipts(
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

    /// ACCEPT to INSTRUCT, and no way back.
    pub(super) fn acknowledge(&mut self, id: u64) -> Result<(), Problem> {
        if self.get(id).is_none() {
            return Err(Problem::NotFound);
        }
        match self.sheets.get_mut(&id) {
            Some(sheet) if sheet.status == Status::Accept && !sheet.has_held() => {
                sheet.status = Status::Instruct;
                Ok(())
            }
            Some(_) => Err(Problem::Status),
            None => Err(Problem::NotFound),
        }
    }

    /// INSTRUCT to DEPARTURE, when nothing in the box is asked to be stopped.
    pub(super) fn send(&mut self, id: u64, company: &str, invoice: &str) -> Result<(), Problem> {
        if self.get(id).is_none() {
            return Err(Problem::NotFound);
        }
        match self.sheets.get_mut(&id) {
            Some(sheet) if sheet.status == Status::Instruct && !sheet.has_held() => {
                sheet.status = Status::Departure;
                sheet.invoice = Some((company.to_owned(), invoice.to_owned()));
                Ok(())
            }
            Some(_) => Err(Problem::Status),
            None => Err(Problem::NotFound),
        }
    }

    /// Cancels units of one option of a box: at once in ACCEPT, as a stop of the shipment in INSTRUCT. Answers the
    /// receipt's number.
    pub(super) fn cancel_item(
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
    pub(super) fn decide(
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

    pub(super) fn receipt_units(&self, receipt: u64) -> Option<u64> {
        let receipt = self.receipts.get(&receipt)?;
        Some(receipt.items.iter().map(|(_, units)| units).sum())
    }

    /// A buyer cancels.
    pub(super) fn cancel(
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

    /// Moves boxes by hand, in Wing or at the courier's.
    pub(super) fn step(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let moved = Moved::deserialize(json!(to.state))
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let ids = self.boxes_of(order)?.clone();
        let meant: Vec<_> = ids
            .into_iter()
            .filter(|id| {
                to.line_id
                    .as_ref()
                    .is_none_or(|line| line.split(':').next() == Some(id.to_string().as_str()))
            })
            .collect();
        let fits = |sheet: &Sheet| match moved {
            Moved::Accept => sheet.status == Status::Unpaid,
            Moved::AddressChanged => sheet.status == Status::Accept,
            Moved::Instruct => sheet.status == Status::Accept,
            Moved::Departure | Moved::NoneTracking => sheet.status == Status::Instruct,
            Moved::Delivering => sheet.status == Status::Departure,
            Moved::FinalDelivery => {
                sheet.status > Status::Instruct && sheet.status != Status::FinalDelivery
            }
        };
        let all_fit = meant.iter().all(|id| self.sheets.get(id).is_some_and(fits));
        if meant.is_empty() || !all_fit {
            return Err(Refusal::impossible("It cannot go there from where it is."));
        }
        for id in meant {
            if let Some(sheet) = self.sheets.get_mut(&id) {
                match moved {
                    Moved::Accept => {
                        sheet.status = Status::Accept;
                        sheet.paid = Some(now);
                    }
                    Moved::Instruct => sheet.status = Status::Instruct,
                    Moved::Departure => sheet.status = Status::Departure,
                    Moved::Delivering => sheet.status = Status::Delivering,
                    Moved::FinalDelivery => sheet.status = Status::FinalDelivery,
                    Moved::NoneTracking => sheet.status = Status::NoneTracking,
                    Moved::AddressChanged => sheet.address += 1,
                }
            }
        }
        self.show_order(order)
    }

    pub(super) fn show(&self) -> Vec<Value> {
        self.by_order
            .keys()
            .filter_map(|order| self.show_order(&order.to_string()).ok())
            .collect()
    }

    fn boxes_of(&self, order: &str) -> Result<&Vec<u64>, Refusal> {
        order
            .parse()
            .ok()
            .and_then(|order: u64| self.by_order.get(&order))
            .ok_or_else(|| Refusal::not_found("order", order))
    }

    fn show_order(&self, order: &str) -> Result<Value, Refusal> {
        let sheets: Vec<_> = self
            .boxes_of(order)?
            .iter()
            .filter_map(|id| self.sheets.get(id))
            .collect();
        let lines: Vec<_> = sheets
            .iter()
            .flat_map(|sheet| sheet.items.iter().map(move |item| (sheet, item)))
            .map(|(sheet, item)| {
                json!({
                    "lineId": line_id(sheet.id, item.vendor_item),
                    "shipmentBoxId": sheet.id.to_string(),
                    "productId": item.product.to_string(),
                    "optionId": item.vendor_item.to_string(),
                    "quantity": item.count,
                    "cancelCount": item.cancelled,
                    "holdCountForCancel": item.held,
                    "status": sheet.status,
                })
            })
            .collect();
        let first = sheets.first();
        Ok(json!({
            "orderId": order,
            "at": first.map(|sheet| iso(sheet.ordered)),
            "buyer": first.map(|sheet| &sheet.buyer),
            "lines": lines,
        }))
    }
}

/// What names a line everywhere: the box, and the option in it.
fn line_id(sheet: u64, vendor_item: u64) -> String {
    format!("{sheet}:{vendor_item}")
}

/// Orders are far smaller than where this would matter.
fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
