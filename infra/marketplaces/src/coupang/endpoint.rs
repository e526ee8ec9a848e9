//! Which call a request is, and what it is about.

use serde_json::Value;

use crate::call::{Call, Subject};

/// A path and a method that the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
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
    pub(super) fn of(call: &Call) -> Option<Self> {
        Self::by(call.method.as_str(), &call.segments())
    }

    /// The method that the path wants, when it is not the call's.
    pub(super) fn right_method(call: &Call) -> Option<&'static str> {
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
    pub(super) fn operation(&self) -> &'static str {
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

    /// What a fault rule can ask about a call of it.
    pub(super) fn subject(self, call: &Call) -> Subject {
        let mut subject = Subject::of(self.operation());
        match self {
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
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}
