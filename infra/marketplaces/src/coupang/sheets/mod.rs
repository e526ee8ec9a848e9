//! Order sheets, one for each shipment box, and the receipts of cancellations and returns.

mod receipt;
mod sheet;
mod steps;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use time::OffsetDateTime;

use self::{
    receipt::Receipt,
    sheet::{Packed, Sheet},
};
pub(super) use self::{receipt::ReceiptStatus, sheet::Status};
use super::items::Shelf;
use crate::{
    answer::Refusal,
    clock::iso,
    market::{MAX_HELD, NewOrder, signed},
};

const FIRST_ORDER: u64 = 9_000_000_000_001;
/// Eighteen digits: too many for a float.
const FIRST_BOX: u64 = 700_000_000_000_000_001;

/// Why the seller's call about a box or a receipt did nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    NotFound,
    /// The delivery status cannot change that way.
    Status,
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
