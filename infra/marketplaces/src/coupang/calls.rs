//! The calls themselves: parameters in, answers out.

use std::collections::BTreeMap;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use time::{
    Date, Duration, OffsetDateTime, PrimitiveDateTime, Time,
    format_description::StaticFormatDescription, macros::format_description,
};

use super::{
    Coupang, Endpoint, answers,
    items::{MAX_STOCK, PriceError},
    sheets::{Problem, ReceiptStatus, Status},
};
use crate::{answer::Answer, call::Call, clock::KOREA};

const MOST_PER_PAGE: usize = 50;
const MOST_BOXES: usize = 50;
/// Both days of a range count.
const MOST_DAYS: i64 = 31;

const DAY: StaticFormatDescription = format_description!("[year]-[month]-[day]");
const MINUTE: StaticFormatDescription = format_description!("[year]-[month]-[day]T[hour]:[minute]");
const OFFSET: &str = "+09:00";

/// Which part of time a list is about, and whether it comes in pages.
struct Window {
    between: (OffsetDateTime, OffsetDateTime),
    paged: bool,
}

impl Coupang {
    pub(super) fn work(&mut self, endpoint: &Endpoint, call: &Call, now: OffsetDateTime) -> Answer {
        let outcome = match endpoint {
            Endpoint::Sheets => self.list_sheets(call),
            Endpoint::Sheet(id) => self.one_sheet(id),
            Endpoint::SheetsOfOrder(id) => self.sheets_of_order(id),
            Endpoint::Acknowledge => self.acknowledge(call),
            Endpoint::Returns => self.list_returns(call),
            Endpoint::StopShipment(id) => self.stop_shipment(id, call),
            Endpoint::AlreadyShipped(id) => self.already_shipped(id, call),
            Endpoint::Cancel(order) => self.cancel_by_seller(order, call, now),
            Endpoint::Invoices => self.upload_invoices(call),
            Endpoint::Quantity { item, quantity } => self.set_quantity(item, quantity),
            Endpoint::Price { item, price } => self.set_price(item, price, call),
            Endpoint::OriginalPrice { item, price } => self.set_original_price(item, price),
            Endpoint::StopSale(item) => self.set_on_sale(item, false),
            Endpoint::ResumeSale(item) => self.set_on_sale(item, true),
            Endpoint::Inventory(item) => self.inventory(item),
        };
        outcome.unwrap_or_else(|refused| refused)
    }

    fn list_sheets(&self, call: &Call) -> Result<Answer, Answer> {
        let status: Status = match call.parameter("status") {
            None => return Err(answers::bad_list("required parameters are missing")),
            Some(word) => read(json!(word))
                .filter(|status| *status != Status::Unpaid)
                .ok_or_else(|| answers::bad_list("Invalid status"))?,
        };
        let window = window(call, true)?;
        let (size, first) = page(call, &window)?;
        let mut sheets = self.sheets.list(window.between, status, first);
        let data: Vec<_> = sheets
            .by_ref()
            .take(size)
            .map(|sheet| sheet.show())
            .collect();
        let next = sheets.next().map(|sheet| sheet.id.to_string());
        Ok(answers::found(
            &json!(data),
            Some(&next.unwrap_or_default()),
        ))
    }

    /// A sheet that was cancelled is not there either; the documents do not say how that is told.
    fn one_sheet(&self, id: &str) -> Result<Answer, Answer> {
        let sheet = id
            .parse()
            .ok()
            .and_then(|id| self.sheets.get(id))
            .ok_or_else(|| answers::bad_list("The order sheet cannot be found."))?;
        Ok(answers::found(&sheet.show(), None))
    }

    fn sheets_of_order(&self, order: &str) -> Result<Answer, Answer> {
        let order = order
            .parse()
            .map_err(|_| answers::bad_list("The order cannot be found."))?;
        let sheets: Vec<_> = self
            .sheets
            .of_order(order)
            .into_iter()
            .map(|sheet| sheet.show())
            .collect();
        if sheets.is_empty() {
            return Err(answers::bad_list("The order cannot be found."));
        }
        Ok(answers::found(&json!(sheets), None))
    }

    fn acknowledge(&mut self, call: &Call) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            vendor_id: String,
            shipment_box_ids: Vec<u64>,
        }
        let body: Body = body(call)?;
        self.check_vendor(&body.vendor_id)?;
        let ids = body.shipment_box_ids;
        if ids.is_empty() || ids.len() > MOST_BOXES {
            return Err(answers::bad("shipmentBoxIds must be 1 to 50."));
        }
        let results = ids
            .into_iter()
            .map(|id| (id, self.sheets.acknowledge(id)))
            .collect();
        Ok(results_of(results))
    }

    fn upload_invoices(&mut self, call: &Call) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Parcel {
            shipment_box_id: u64,
            delivery_company_code: String,
            invoice_number: String,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            vendor_id: String,
            order_sheet_invoice_apply_dtos: Vec<Parcel>,
        }
        let body: Body = body(call)?;
        self.check_vendor(&body.vendor_id)?;
        let results = body
            .order_sheet_invoice_apply_dtos
            .into_iter()
            .map(|parcel| {
                let (id, company) = (parcel.shipment_box_id, &parcel.delivery_company_code);
                (id, self.sheets.send(id, company, &parcel.invoice_number))
            })
            .collect();
        Ok(results_of(results))
    }

    /// Cancelled before the acknowledgement: `cancelType=CANCEL`, without a status. All else: by status.
    fn list_returns(&self, call: &Call) -> Result<Answer, Answer> {
        let status: Option<ReceiptStatus> = match call.parameter("status") {
            None => None,
            Some(word) => {
                Some(read(json!(word)).ok_or_else(|| answers::bad_list("Invalid status"))?)
            }
        };
        let cancelled = match call.parameter("cancelType").as_deref() {
            None | Some("RETURN") => false,
            Some("CANCEL") if status.is_some() => {
                return Err(answers::bad_list("cancelType CANCEL goes without a status"));
            }
            Some("CANCEL") => true,
            Some(_) => return Err(answers::bad_list("Invalid cancelType")),
        };
        if !cancelled && status.is_none() {
            return Err(answers::bad_list("required parameters are missing"));
        }
        let window = window(call, false)?;
        let (size, first) = page(call, &window)?;
        let mut receipts = self
            .sheets
            .receipts(window.between, first)
            .filter(|(receipt, _)| {
                receipt.before_acknowledgement == cancelled
                    && status.is_none_or(|status| receipt.status == status)
            })
            .map(|(_, shown)| shown);
        let data: Vec<_> = receipts.by_ref().take(size).collect();
        let next = receipts.next().map(|next| next["receiptId"].to_string());
        Ok(answers::found(
            &json!(data),
            Some(&next.unwrap_or_default()),
        ))
    }

    fn stop_shipment(&mut self, receipt: &str, call: &Call) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            vendor_id: String,
            receipt_id: u64,
            cancel_count: u64,
        }
        let body: Body = body(call)?;
        self.check_vendor(&body.vendor_id)?;
        check_receipt(receipt, body.receipt_id)?;
        if self.sheets.receipt_units(body.receipt_id) != Some(body.cancel_count) {
            return Err(answers::bad("cancelCount is not that of the receipt."));
        }
        self.decide(body.receipt_id, true)
    }

    fn already_shipped(&mut self, receipt: &str, call: &Call) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            vendor_id: String,
            receipt_id: u64,
            #[serde(rename = "deliveryCompanyCode")]
            _delivery_company_code: String,
            #[serde(rename = "invoiceNumber")]
            _invoice_number: String,
        }
        let body: Body = body(call)?;
        self.check_vendor(&body.vendor_id)?;
        check_receipt(receipt, body.receipt_id)?;
        self.decide(body.receipt_id, false)
    }

    fn decide(&mut self, receipt: u64, stopped: bool) -> Result<Answer, Answer> {
        let restores = self.switches.cancel_restores_stock;
        match self
            .sheets
            .decide(&mut self.shelf, receipt, stopped, restores)
        {
            Ok(()) => Ok(answers::changed(
                &json!({ "resultCode": "SUCCESS", "resultMessage": "" }),
            )),
            Err(Problem::NotFound) => Err(answers::bad("The receipt cannot be found.")),
            Err(Problem::Status) => Err(answers::bad("The receipt cannot change its status.")),
        }
    }

    /// At once before the acknowledgement, a stop of the shipment after it.
    fn cancel_by_seller(
        &mut self,
        order: &str,
        call: &Call,
        now: OffsetDateTime,
    ) -> Result<Answer, Answer> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Body {
            order_id: u64,
            vendor_item_ids: Vec<u64>,
            receipt_counts: Vec<u64>,
            big_cancel_code: String,
            middle_cancel_code: String,
            vendor_id: String,
            #[serde(rename = "userId")]
            _user_id: String,
        }
        let body: Body = body(call)?;
        self.check_vendor(&body.vendor_id)?;
        let is_known = body.big_cancel_code == "CANERR"
            && ["CCTTER", "CCPNER", "CCPRER"].contains(&body.middle_cancel_code.as_str());
        if !is_known || order != body.order_id.to_string() {
            return Err(answers::bad("The cancel codes or the order are not valid."));
        }
        let (ids, counts) = (&body.vendor_item_ids, &body.receipt_counts);
        if ids.is_empty() || ids.len() != counts.len() {
            return Err(answers::bad(
                "vendorItemIds and receiptCounts must be of one length.",
            ));
        }
        let restores = self.switches.cancel_restores_stock;
        let mut receipts: BTreeMap<String, Value> = BTreeMap::new();
        let mut failed = Vec::new();
        for (item, units) in ids.iter().zip(counts) {
            let sheet = self
                .sheets
                .of_order(body.order_id)
                .into_iter()
                .find(|sheet| sheet.items.iter().any(|packed| packed.vendor_item == *item))
                .map(|sheet| (sheet.id, sheet.status));
            let Some((sheet, status)) = sheet else {
                failed.push(*item);
                continue;
            };
            let reason = &body.middle_cancel_code;
            let line = (sheet, *item);
            match self.sheets.cancel_item(
                &mut self.shelf,
                line,
                Some(*units),
                reason,
                restores,
                now,
            ) {
                Ok(receipt) => {
                    let kind = match status {
                        Status::Accept => "CANCEL",
                        Status::Unpaid
                        | Status::Instruct
                        | Status::Departure
                        | Status::Delivering
                        | Status::FinalDelivery
                        | Status::NoneTracking => "STOP_SHIPMENT",
                    };
                    receipts.insert(
                        receipt.to_string(),
                        json!({
                            "receiptId": receipt,
                            "receiptType": kind,
                            "vendorItemIds": [item],
                            "totalCount": units,
                        }),
                    );
                }
                Err(Problem::NotFound | Problem::Status) => failed.push(*item),
            }
        }
        self.seller_cancels += receipts.len() as u64;
        let code = match (receipts.is_empty(), failed.is_empty()) {
            (false, true) => "SUCCESS",
            (false, false) => "PARTIAL",
            (true, _) => "FAIL",
        };
        Ok(Answer::ok(&json!({
            "code": code,
            "message": code,
            "data": {
                "receiptMap": receipts,
                "orderId": body.order_id,
                "failedVendorItemIds": failed,
            },
        })))
    }

    fn set_quantity(&mut self, item: &str, quantity: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let quantity = quantity
            .parse()
            .ok()
            .filter(|quantity| *quantity <= MAX_STOCK)
            .ok_or_else(|| answers::bad("The quantity is not valid."))?;
        self.shelf.set_stock(id, quantity);
        Ok(answers::success("재고 변경을 완료했습니다.", None))
    }

    fn set_price(&mut self, item: &str, price: &str, call: &Call) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let price = price
            .parse()
            .map_err(|_| answers::bad("The price is not valid."))?;
        let forced = call.parameter("forceSalePriceUpdate").as_deref() == Some("true");
        match self.shelf.set_price(id, price, forced) {
            Ok(()) => Ok(answers::success(
                "가격 변경을 완료했습니다.",
                Some(&Value::Null),
            )),
            Err(PriceError::Unit) => Err(answers::bad("The price must be a multiple of 10 won.")),
            Err(PriceError::Guard) => Err(answers::bad(&format!(
                "vendorItemId {id}: the price can change by -50% to +100% at a time."
            ))),
        }
    }

    fn set_original_price(&mut self, item: &str, price: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let price = price
            .parse()
            .ok()
            .filter(|price: &u64| price.is_multiple_of(10))
            .ok_or_else(|| answers::bad("The price must be a multiple of 10 won."))?;
        if let Some(item) = self.shelf.get_mut(id) {
            item.original_price = price;
        }
        Ok(answers::success(
            "할인율 기준가격을 변경했습니다.",
            Some(&Value::Null),
        ))
    }

    fn set_on_sale(&mut self, item: &str, on_sale: bool) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        if let Some(item) = self.shelf.get_mut(id) {
            item.on_sale = on_sale;
        }
        Ok(answers::success(
            if on_sale {
                "판매 재개 처리를 완료했습니다."
            } else {
                "판매 중지 처리를 완료했습니다."
            },
            Some(&Value::Null),
        ))
    }

    fn inventory(&self, item: &str) -> Result<Answer, Answer> {
        let id = self.vendor_item(item)?;
        let shown = self.shelf.get(id).map(|item| {
            json!({
                "sellerItemId": item.id,
                "amountInStock": item.stock,
                "salePrice": item.price,
                "onSale": item.on_sale,
            })
        });
        Ok(answers::success("", shown.as_ref()))
    }

    fn vendor_item(&self, item: &str) -> Result<u64, Answer> {
        item.parse()
            .ok()
            .filter(|id| self.shelf.get(*id).is_some())
            .ok_or_else(|| answers::bad(&format!("vendoritemid {item} not found")))
    }

    fn check_vendor(&self, vendor_id: &str) -> Result<(), Answer> {
        if vendor_id == self.credentials.vendor_id {
            Ok(())
        } else {
            Err(answers::bad("Invalid vendor ID"))
        }
    }
}

fn check_receipt(path: &str, body: u64) -> Result<(), Answer> {
    if path == body.to_string() {
        Ok(())
    } else {
        Err(answers::bad("receiptId is not that of the path."))
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Answer> {
    call.json().map_err(|error| answers::bad(&error))
}

fn read<T: DeserializeOwned>(word: Value) -> Option<T> {
    serde_json::from_value(word).ok()
}

/// What calls about many boxes answer. The word for a box in the wrong state is ours.
fn results_of(results: Vec<(u64, Result<(), Problem>)>) -> Answer {
    let done = results.iter().filter(|(_, result)| result.is_ok()).count();
    let (code, message) = match (done, results.len() - done) {
        (0, 0) => (-1, ""),
        (_, 0) => (0, "SUCCESS"),
        (0, _) => (99, "The delivery status cannot be changed."),
        (_, _) => (1, "PARTIAL_ERROR"),
    };
    let list: Vec<_> = results
        .iter()
        .map(|(id, result)| {
            let (code, message) = match result {
                Ok(()) => ("OK", ""),
                Err(Problem::NotFound) => ("NOT_FOUND_SHIPMENT_BOX", "There is no such box."),
                Err(Problem::Status) => {
                    ("INVALID_STATUS", "The delivery status cannot be changed.")
                }
            };
            json!({
                "shipmentBoxId": id,
                "succeed": result.is_ok(),
                "resultCode": code,
                "resultMessage": message,
                "retryRequired": false,
            })
        })
        .collect();
    answers::changed(&json!({
        "responseKey": 0,
        "responseCode": code,
        "responseMessage": message,
        "responseList": list,
    }))
}

/// Days, or minutes of one day with `searchType=timeFrame`. Order sheets write the offset, returns do not have to.
fn window(call: &Call, with_offset: bool) -> Result<Window, Answer> {
    let text = |name: &str| {
        let text = call
            .parameter(name)
            .ok_or_else(|| answers::bad_list("required parameters are missing"))?
            .into_owned();
        match text.strip_suffix(OFFSET) {
            Some(local) => Ok(local.to_owned()),
            None if !with_offset => Ok(text),
            None => Err(unreadable(name)),
        }
    };
    let (from, to) = (text("createdAtFrom")?, text("createdAtTo")?);
    match call.parameter("searchType").as_deref() {
        Some("timeFrame") => {
            let minute = |text: &str, name: &str| {
                PrimitiveDateTime::parse(text, MINUTE)
                    .map(|at| at.assume_offset(KOREA))
                    .map_err(|_| unreadable(name))
            };
            let from = minute(&from, "createdAtFrom")?;
            let to = minute(&to, "createdAtTo")?;
            let is_narrow = if with_offset {
                to - from < Duration::DAY && from.date() == to.date()
            } else {
                to - from < Duration::days(MOST_DAYS)
            };
            if !is_narrow {
                return Err(answers::bad_list("range should less than 1 day"));
            }
            check_order(from <= to)?;
            Ok(Window {
                between: (from, to),
                paged: false,
            })
        }
        Some(_) => Err(answers::bad_list("Invalid searchType")),
        None => {
            let day = |text: &str, name: &str| Date::parse(text, DAY).map_err(|_| unreadable(name));
            let from = day(&from, "createdAtFrom")?;
            let to = day(&to, "createdAtTo")?;
            if (to - from).whole_days() >= MOST_DAYS {
                return Err(answers::bad_list(
                    "endTime-startTime range should less than31.",
                ));
            }
            check_order(from <= to)?;
            let start = from.with_time(Time::MIDNIGHT).assume_offset(KOREA);
            let end = to.with_time(Time::MAX).assume_offset(KOREA);
            Ok(Window {
                between: (start, end),
                paged: true,
            })
        }
    }
}

fn check_order(is_ordered: bool) -> Result<(), Answer> {
    if is_ordered {
        Ok(())
    } else {
        Err(answers::bad_list("createdAtTo is before createdAtFrom"))
    }
}

fn unreadable(name: &str) -> Answer {
    answers::bad_list(&format!("{name} is not of the documented form"))
}

/// How many to show, and from which id on. Minutes are shown whole.
fn page(call: &Call, window: &Window) -> Result<(usize, u64), Answer> {
    if !window.paged {
        return Ok((usize::MAX, 0));
    }
    let size = match call.parameter("maxPerPage") {
        None => MOST_PER_PAGE,
        Some(text) => text
            .parse()
            .ok()
            .filter(|size| (1..=MOST_PER_PAGE).contains(size))
            .ok_or_else(|| answers::bad_list("maxPerPage must be 1 to 50"))?,
    };
    let first = match call.parameter("nextToken") {
        None => 0,
        Some(token) if token.is_empty() => 0,
        Some(token) => token
            .parse()
            .map_err(|_| answers::bad_list("Invalid nextToken"))?,
    };
    Ok((size, first))
}
