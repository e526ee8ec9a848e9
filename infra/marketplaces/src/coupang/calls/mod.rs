//! The calls themselves: parameters in, answers out.

mod items;
mod returns;
mod sheets;
mod window;

use serde::de::DeserializeOwned;
use serde_json::Value;
use time::OffsetDateTime;

use super::{Coupang, Endpoint, answers};
use crate::{answer::Answer, call::Call};

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

    fn check_vendor(&self, vendor_id: &str) -> Result<(), Answer> {
        if vendor_id == self.credentials.vendor_id {
            Ok(())
        } else {
            Err(answers::bad("Invalid vendor ID"))
        }
    }
}

fn body<T: DeserializeOwned>(call: &Call) -> Result<T, Answer> {
    call.json().map_err(|error| answers::bad(&error))
}

fn read<T: DeserializeOwned>(word: Value) -> Option<T> {
    serde_json::from_value(word).ok()
}
