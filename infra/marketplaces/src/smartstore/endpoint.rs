//! Which call a request is, and what it is about.

use axum::http::Method;
use serde_json::Value;

use crate::call::{Call, Subject};

/// A path and a method that the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
    Token,
    Feed,
    Query,
    List,
    LineIds(String),
    Confirm,
    Cancel(String),
    ApproveCancel(String),
    Dispatch,
    Search,
    Product(u64),
    ChannelProduct(u64),
    OptionStock(u64),
    MultiUpdate,
    ChangeStatus(u64),
    Replace(u64),
    ReplaceChannel(u64),
}

impl Endpoint {
    pub(super) fn of(call: &Call) -> Option<Self> {
        let segments = call.segments();
        let path = segments.strip_prefix(&["external"])?;
        if let Some(path) = path.strip_prefix(&["v1", "pay-order", "seller"]) {
            return Self::of_orders(&call.method, path);
        }
        Some(match (call.method.as_str(), path) {
            ("POST", ["v1", "oauth2", "token"]) => Self::Token,
            ("POST", ["v1", "products", "search"]) => Self::Search,
            ("PATCH", ["v1", "products", "origin-products", "multi-update"]) => Self::MultiUpdate,
            ("PUT", ["v1", "products", "origin-products", no, "option-stock"]) => {
                Self::OptionStock(no.parse().ok()?)
            }
            ("PUT", ["v1", "products", "origin-products", no, "change-status"]) => {
                Self::ChangeStatus(no.parse().ok()?)
            }
            ("GET", ["v2", "products", "origin-products", no]) => Self::Product(no.parse().ok()?),
            ("GET", ["v2", "products", "channel-products", no]) => {
                Self::ChannelProduct(no.parse().ok()?)
            }
            ("PUT", ["v2", "products", "origin-products", no]) => Self::Replace(no.parse().ok()?),
            ("PUT", ["v2", "products", "channel-products", no]) => {
                Self::ReplaceChannel(no.parse().ok()?)
            }
            _ => return None,
        })
    }

    fn of_orders(method: &Method, path: &[&str]) -> Option<Self> {
        Some(match (method.as_str(), path) {
            ("GET", ["product-orders", "last-changed-statuses"]) => Self::Feed,
            ("POST", ["product-orders", "query"]) => Self::Query,
            ("GET", ["product-orders"]) => Self::List,
            ("GET", ["orders", order, "product-order-ids"]) => Self::LineIds((*order).to_owned()),
            ("POST", ["product-orders", "confirm"]) => Self::Confirm,
            ("POST", ["product-orders", "dispatch"]) => Self::Dispatch,
            ("POST", ["product-orders", line, "claim", "cancel", "request"]) => {
                Self::Cancel((*line).to_owned())
            }
            ("POST", ["product-orders", line, "claim", "cancel", "approve"]) => {
                Self::ApproveCancel((*line).to_owned())
            }
            _ => return None,
        })
    }

    /// As fault scripts name it; the bucket of its rate goes by this name too.
    pub(super) fn operation(&self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Feed => "feed",
            Self::Query => "query",
            Self::List => "list",
            Self::LineIds(_) => "line_ids",
            Self::Confirm => "confirm",
            Self::Cancel(_) => "cancel",
            Self::ApproveCancel(_) => "approve_cancel",
            Self::Dispatch => "dispatch",
            Self::Search => "search",
            Self::Product(_) => "product",
            Self::ChannelProduct(_) => "channel_product",
            Self::OptionStock(_) => "option_stock",
            Self::MultiUpdate => "multi_update",
            Self::ChangeStatus(_) => "change_status",
            Self::Replace(_) => "full_update",
            Self::ReplaceChannel(_) => "channel_full_update",
        }
    }

    /// What a fault rule can ask about a call of it.
    pub(super) fn subject(self, call: &Call) -> Subject {
        let mut subject = Subject::of(self.operation());
        match self {
            Endpoint::Query | Endpoint::Confirm => {
                subject.orders = texts(&value(call)["productOrderIds"]);
            }
            Endpoint::Dispatch => {
                subject.orders = each(&value(call)["dispatchProductOrders"], "productOrderId");
            }
            Endpoint::LineIds(id) | Endpoint::Cancel(id) | Endpoint::ApproveCancel(id) => {
                subject.orders = vec![id];
            }
            Endpoint::MultiUpdate => {
                let updates = &value(call)["multiProductUpdateRequestVos"];
                subject.items = each(updates, "originProductNo");
            }
            Endpoint::OptionStock(no) => {
                let options = &value(call)["optionInfo"]["optionCombinations"];
                subject.items = each(options, "id");
                subject.items.push(no.to_string());
            }
            Endpoint::Product(no)
            | Endpoint::ChannelProduct(no)
            | Endpoint::ChangeStatus(no)
            | Endpoint::Replace(no)
            | Endpoint::ReplaceChannel(no) => subject.items = vec![no.to_string()],
            Endpoint::Token | Endpoint::Feed | Endpoint::List | Endpoint::Search => {}
        }
        subject
    }
}

/// The body as JSON of any kind, for what is only looked at.
fn value(call: &Call) -> Value {
    call.json().unwrap_or(Value::Null)
}

/// The texts and numbers of a list, as texts.
fn texts(list: &Value) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(text_of)
        .collect()
}

/// One field of each object of a list.
fn each(list: &Value, field: &str) -> Vec<String> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(|element| text_of(&element[field]))
        .collect()
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}
