//! Cancellations and returns: lists of them, the seller's own, and his answers to those of buyers.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    body, read,
    window::{page, window},
};
use crate::{
    answer::Answer,
    call::Call,
    coupang::{
        Coupang, answers,
        sheets::{Problem, ReceiptStatus, Status},
    },
};

impl Coupang {
    /// Cancelled before the acknowledgement: `cancelType=CANCEL`, without a status. All else: by status.
    pub(super) fn list_returns(&self, call: &Call) -> Result<Answer, Answer> {
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

    pub(super) fn stop_shipment(&mut self, receipt: &str, call: &Call) -> Result<Answer, Answer> {
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

    pub(super) fn already_shipped(&mut self, receipt: &str, call: &Call) -> Result<Answer, Answer> {
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
    pub(super) fn cancel_by_seller(
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
}

fn check_receipt(path: &str, body: u64) -> Result<(), Answer> {
    if path == body.to_string() {
        Ok(())
    } else {
        Err(answers::bad("receiptId is not that of the path."))
    }
}
