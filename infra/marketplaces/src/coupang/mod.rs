//! Coupang: the Wing Open API as developers.coupangcorp.com describes it.

mod answers;
mod calls;
mod endpoint;
mod gate;
mod items;
mod sheets;
mod signature;
mod switches;

use axum::http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use self::{
    endpoint::Endpoint, gate::Burst, items::Shelf, sheets::Sheets, signature::verify,
    switches::Switches,
};
use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
    switches::{changed, seconds},
};

pub use self::signature::Credentials;

/// A seller at the marketplace.
#[derive(Debug)]
pub(crate) struct Coupang {
    credentials: Credentials,
    switches: Switches,
    calls: Burst,
    errors: Burst,
    shelf: Shelf,
    sheets: Sheets,
    transactions: u64,
    /// Each costs the seller score.
    seller_cancels: u64,
}

impl Market for Coupang {
    type Credentials = Credentials;
    const NAME: &'static str = "coupang";
    const OPERATIONS: &'static [&'static str] = &[
        "ordersheets",
        "ordersheet",
        "ordersheets_of_order",
        "acknowledge",
        "returns",
        "stop_shipment",
        "already_shipped",
        "cancel",
        "invoices",
        "quantity",
        "price",
        "original_price",
        "stop_sale",
        "resume_sale",
        "inventory",
    ];

    fn new(credentials: &Credentials) -> Self {
        Self {
            credentials: credentials.clone(),
            switches: Switches::default(),
            calls: Burst::default(),
            errors: Burst::default(),
            shelf: Shelf::default(),
            sheets: Sheets::default(),
            transactions: 0,
            seller_cancels: 0,
        }
    }

    fn subject(&self, call: &Call) -> Subject {
        match Endpoint::of(call) {
            Some(endpoint) => endpoint.subject(call),
            None => Subject::default(),
        }
    }

    fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        self.transactions += 1;
        if self.errors.is_blocked(now) {
            return Err(answers::access_denied(self.transactions));
        }
        if self.switches.ip_blocked {
            return Err(answers::error(
                StatusCode::FORBIDDEN,
                "[FORBIDDEN] Not allowed IP",
            ));
        }
        self.check_path(call)?;
        let window = seconds(self.switches.signature_window_s);
        if let Err(message) = verify(&self.credentials, call, window, now) {
            return Err(answers::unauthorized(message, self.transactions));
        }
        let block = seconds(self.switches.block_s);
        self.calls.count(self.switches.rate, block, now);
        if self.switches.rate > 0 && self.calls.is_blocked(now) {
            return Err(self.failure(StatusCode::TOO_MANY_REQUESTS, now));
        }
        if self.switches.overloaded {
            return Err(self.failure(StatusCode::GATEWAY_TIMEOUT, now));
        }
        match call.segments().as_slice() {
            [
                "v2",
                "providers",
                "openapi",
                "apis",
                "api",
                _,
                "vendors",
                vendor,
                ..,
            ] if *vendor != self.credentials.vendor_id => {
                Err(answers::bad_list("Invalid vendor ID"))
            }
            _ => Ok(()),
        }
    }

    fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        match Endpoint::of(call) {
            Some(endpoint) => self.work(&endpoint, call, now),
            None => answers::error(StatusCode::NOT_FOUND, "There is no such API."),
        }
    }

    fn failure(&mut self, status: StatusCode, _now: OffsetDateTime) -> Answer {
        let message = match status.as_u16() {
            429 => "Too Many Requests",
            504 | 521 => "Request timed out. Please try again later.",
            _ => "Internal server error.",
        };
        answers::error(status, message)
    }

    /// Counts errors for the edge, and warns near the rate.
    fn dress(&mut self, _call: &Call, answer: Answer, now: OffsetDateTime) -> Answer {
        let is_error = answer.status.is_client_error() || answer.status.is_server_error();
        if is_error {
            let block = seconds(self.switches.error_block_s);
            self.errors.count(self.switches.error_burst, block, now);
        }
        let rate = self.switches.rate;
        if rate > 0 && self.calls.level(now).saturating_mul(10) >= rate.saturating_mul(9) {
            return answer.with_header("x-cag-warnings", "Throttling is near.");
        }
        answer
    }

    fn take_stock_changes(&mut self) -> Vec<StockChange> {
        self.shelf.take_changes()
    }

    fn list_item(&mut self, item: NewItem, _now: OffsetDateTime) -> Result<Value, Refusal> {
        self.shelf.list(item)
    }

    fn items(&self) -> Vec<Value> {
        self.shelf.show()
    }

    fn place_order(&mut self, order: &NewOrder, now: OffsetDateTime) -> Result<Value, Refusal> {
        let box_per_item = self.switches.box_per_item;
        self.sheets.place(&mut self.shelf, order, box_per_item, now)
    }

    fn orders(&self) -> Vec<Value> {
        self.sheets.show()
    }

    fn cancel_order(
        &mut self,
        order: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let restores = self.switches.cancel_restores_stock;
        self.sheets
            .cancel(&mut self.shelf, order, cancel, restores, now)
    }

    fn move_order(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        self.sheets.step(order, to, now)
    }

    fn switches(&self) -> Value {
        json!(self.switches)
    }

    fn change_switches(&mut self, body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        self.switches = changed(&self.switches, body)?;
        Ok(self.switches())
    }

    /// `lift-blocks` forgets calls and errors that were too many; `score` tells how often the seller cancelled.
    fn act(&mut self, action: &str, _body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        match action {
            "lift-blocks" => {
                self.calls.lift();
                self.errors.lift();
                Ok(json!({}))
            }
            "score" => Ok(json!({ "sellerCancels": self.seller_cancels })),
            _ => Err(Refusal::not_found("action", action)),
        }
    }
}

impl Coupang {
    /// What the gateway says to a path or a method that it does not know.
    fn check_path(&self, call: &Call) -> Result<(), Answer> {
        if Endpoint::of(call).is_some() {
            return Ok(());
        }
        if let Some(method) = Endpoint::right_method(call) {
            return Err(answers::precondition(&format!(
                "Request method is not supported: try {method}."
            )));
        }
        match call.segments().as_slice() {
            [
                "v2",
                "providers",
                "openapi" | "seller_api",
                ..,
                "seller-products",
                _,
                _,
            ] => Err(answers::precondition("There is no such resource.")),
            ["v2", "providers", "openapi" | "seller_api", ..] => Err(answers::error(
                StatusCode::NOT_FOUND,
                "There is no such API.",
            )),
            _ => Err(answers::bad("Provider id is not specified correctly.")),
        }
    }
}
