//! Coupang: the Wing Open API as developers.coupangcorp.com describes it.

mod answers;
mod calls;
mod gate;
mod items;
mod sheets;
mod signature;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use self::{gate::Burst, items::Shelf, sheets::Sheets, signature::verify};
use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    clock, control,
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
};

pub use self::signature::Credentials;

/// What the control API can change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Switches {
    /// So many calls in a second are too many, for all calls of the vendor together. 0 limits nothing.
    rate: usize,
    /// How long a caller over the rate is refused, from the last time it was over it.
    block_s: u64,
    /// So many errors in a second make the edge turn the caller away. Not documented; 0 for never.
    error_burst: usize,
    error_block_s: u64,
    /// How far a signature's date may be from now. Not documented; five minutes are the usual belief.
    signature_window_s: u64,
    /// The caller's address is not registered.
    ip_blocked: bool,
    /// Every service answers that it took too long.
    overloaded: bool,
    /// Each option of an order goes into a box of its own.
    box_per_item: bool,
    /// What was cancelled is for sale again. Not documented.
    cancel_restores_stock: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rate: 10,
            block_s: 300,
            error_burst: 10,
            error_block_s: 60,
            signature_window_s: 300,
            ip_blocked: false,
            overloaded: false,
            box_per_item: false,
            cancel_restores_stock: true,
        }
    }
}

/// What a change of the switches says; a misspelt one is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SwitchChange {
    rate: Option<usize>,
    block_s: Option<u64>,
    error_burst: Option<usize>,
    error_block_s: Option<u64>,
    signature_window_s: Option<u64>,
    ip_blocked: Option<bool>,
    overloaded: Option<bool>,
    box_per_item: Option<bool>,
    cancel_restores_stock: Option<bool>,
}

/// A path and a method that the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
    Sheets,
    Sheet(String),
    SheetsOfOrder(String),
    Acknowledge,
    Returns,
    StopShipment(String),
    AlreadyShipped(String),
    Cancel(String),
    Invoices,
    Quantity { item: String, quantity: String },
    Price { item: String, price: String },
    OriginalPrice { item: String, price: String },
    StopSale(String),
    ResumeSale(String),
    Inventory(String),
}

/// Where order calls begin, and where product calls do.
const OPENAPI: [&str; 5] = ["v2", "providers", "openapi", "apis", "api"];
const VENDOR_ITEMS: [&str; 8] = [
    "v2",
    "providers",
    "seller_api",
    "apis",
    "api",
    "v1",
    "marketplace",
    "vendor-items",
];

impl Endpoint {
    fn of(call: &Call) -> Option<Self> {
        Self::by(call.method.as_str(), &call.segments())
    }

    /// The method that the path wants, when it is not the call's.
    fn right_method(call: &Call) -> Option<&'static str> {
        ["GET", "PUT", "POST", "PATCH"]
            .into_iter()
            .find(|method| Self::by(method, &call.segments()).is_some())
    }

    fn by(method: &str, segments: &[&str]) -> Option<Self> {
        if let Some(path) = segments.strip_prefix(&OPENAPI) {
            return Self::of_orders(method, path);
        }
        let path = segments.strip_prefix(&VENDOR_ITEMS)?;
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, path) {
            ("PUT", [item, "quantities", quantity]) => Self::Quantity {
                item: own(item),
                quantity: own(quantity),
            },
            ("PUT", [item, "prices", price]) => Self::Price {
                item: own(item),
                price: own(price),
            },
            ("PUT", [item, "original-prices", price]) => Self::OriginalPrice {
                item: own(item),
                price: own(price),
            },
            ("PUT", [item, "sales", "stop"]) => Self::StopSale(own(item)),
            ("PUT", [item, "sales", "resume"]) => Self::ResumeSale(own(item)),
            ("GET", [item, "inventories"]) => Self::Inventory(own(item)),
            _ => return None,
        })
    }

    /// Order sheets are in version 5, with what acknowledges them still in version 4.
    fn of_orders(method: &str, path: &[&str]) -> Option<Self> {
        let own = |text: &&str| (*text).to_owned();
        Some(match (method, path) {
            ("GET", ["v5", "vendors", _, "ordersheets"]) => Self::Sheets,
            ("GET", ["v5", "vendors", _, "ordersheets", sheet]) => Self::Sheet(own(sheet)),
            ("GET", ["v4" | "v5", "vendors", _, order, "ordersheets"]) => {
                Self::SheetsOfOrder(own(order))
            }
            ("PUT" | "PATCH", ["v4", "vendors", _, "ordersheets", "acknowledgement"]) => {
                Self::Acknowledge
            }
            ("GET", ["v6", "vendors", _, "returnRequests"]) => Self::Returns,
            ("PUT" | "PATCH", ["v4", "vendors", _, "returnRequests", id, "stoppedShipment"]) => {
                Self::StopShipment(own(id))
            }
            (
                "PUT" | "PATCH",
                [
                    "v4",
                    "vendors",
                    _,
                    "returnRequests",
                    id,
                    "completedShipment",
                ],
            ) => Self::AlreadyShipped(own(id)),
            ("POST", ["v5", "vendors", _, "orders", order, "cancel"]) => Self::Cancel(own(order)),
            ("POST", ["v4", "vendors", _, "orders", "invoices"]) => Self::Invoices,
            _ => return None,
        })
    }

    /// As fault scripts name it.
    fn operation(&self) -> &'static str {
        match self {
            Self::Sheets => "ordersheets",
            Self::Sheet(_) => "ordersheet",
            Self::SheetsOfOrder(_) => "ordersheets_of_order",
            Self::Acknowledge => "acknowledge",
            Self::Returns => "returns",
            Self::StopShipment(_) => "stop_shipment",
            Self::AlreadyShipped(_) => "already_shipped",
            Self::Cancel(_) => "cancel",
            Self::Invoices => "invoices",
            Self::Quantity { .. } => "quantity",
            Self::Price { .. } => "price",
            Self::OriginalPrice { .. } => "original_price",
            Self::StopSale(_) => "stop_sale",
            Self::ResumeSale(_) => "resume_sale",
            Self::Inventory(_) => "inventory",
        }
    }
}

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
        let Some(endpoint) = Endpoint::of(call) else {
            return Subject::default();
        };
        let mut subject = Subject::of(endpoint.operation());
        match endpoint {
            Endpoint::Quantity { item, .. }
            | Endpoint::Price { item, .. }
            | Endpoint::OriginalPrice { item, .. }
            | Endpoint::StopSale(item)
            | Endpoint::ResumeSale(item)
            | Endpoint::Inventory(item) => subject.items = vec![item],
            Endpoint::Sheet(id)
            | Endpoint::SheetsOfOrder(id)
            | Endpoint::StopShipment(id)
            | Endpoint::AlreadyShipped(id)
            | Endpoint::Cancel(id) => subject.orders = vec![id],
            Endpoint::Acknowledge => {
                let body: Value = call.json().unwrap_or_default();
                let ids = body["shipmentBoxIds"].as_array();
                subject.orders = ids.into_iter().flatten().map(text_of).collect();
            }
            Endpoint::Invoices => {
                let body: Value = call.json().unwrap_or_default();
                let parcels = body["orderSheetInvoiceApplyDtos"].as_array();
                subject.orders = parcels
                    .into_iter()
                    .flatten()
                    .map(|parcel| text_of(&parcel["shipmentBoxId"]))
                    .collect();
            }
            Endpoint::Sheets | Endpoint::Returns => {}
        }
        subject
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
        let change: SwitchChange = control::read(body)?;
        let switches = &mut self.switches;
        set(&mut switches.rate, change.rate);
        set(&mut switches.block_s, change.block_s);
        set(&mut switches.error_burst, change.error_burst);
        set(&mut switches.error_block_s, change.error_block_s);
        set(&mut switches.signature_window_s, change.signature_window_s);
        set(&mut switches.ip_blocked, change.ip_blocked);
        set(&mut switches.overloaded, change.overloaded);
        set(&mut switches.box_per_item, change.box_per_item);
        set(
            &mut switches.cancel_restores_stock,
            change.cancel_restores_stock,
        );
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

fn set<T>(switch: &mut T, to: Option<T>) {
    if let Some(to) = to {
        *switch = to;
    }
}

/// At most as far as the clock goes.
fn seconds(s: u64) -> Duration {
    let most = clock::MOST;
    i64::try_from(s).map_or(most, |s| Duration::seconds(s).min(most))
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
