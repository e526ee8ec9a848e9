//! Order sheets: lists of them, and what moves them on.

use serde::Deserialize;
use serde_json::json;

use super::{
    body, read,
    window::{page, window},
};
use crate::{
    answer::Answer,
    call::Call,
    coupang::{
        Coupang, answers,
        sheets::{Problem, Status},
    },
};

const MOST_BOXES: usize = 50;

impl Coupang {
    pub(super) fn list_sheets(&self, call: &Call) -> Result<Answer, Answer> {
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
    pub(super) fn one_sheet(&self, id: &str) -> Result<Answer, Answer> {
        let sheet = id
            .parse()
            .ok()
            .and_then(|id| self.sheets.get(id))
            .ok_or_else(|| answers::bad_list("The order sheet cannot be found."))?;
        Ok(answers::found(&sheet.show(), None))
    }

    pub(super) fn sheets_of_order(&self, order: &str) -> Result<Answer, Answer> {
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

    pub(super) fn acknowledge(&mut self, call: &Call) -> Result<Answer, Answer> {
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

    pub(super) fn upload_invoices(&mut self, call: &Call) -> Result<Answer, Answer> {
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
