//! The Cafe24 Admin API as developers.cafe24.com describes it, as far as stock, price and orders go.

mod filter;
mod goods;
mod limits;
mod oauth;
mod orders;
mod reply;
mod show;

use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{
    Date, OffsetDateTime, format_description::BorrowedFormatItem, macros::format_description,
};

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject, decoded},
    control::read,
    market::{Cancel, Move, NewItem, NewOrder, StockChange},
    ownstore::{
        Cafe24Credentials,
        cafe24::{
            filter::number,
            goods::{Goods, OfficePrice},
            limits::Limits,
            oauth::{Denied, OAuth, SCOPES},
            orders::{LINKED_PLACES, Moved, OWN_PLACE, Orders},
            reply::No,
        },
    },
};

/// The version of the API that is spoken when a call names none.
const VERSION: &str = "2026-03-01";
const VERSION_FORM: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Switches {
    /// The shop cancels a paid order as soon as its buyer asks.
    cancel_at_once: bool,
    bucket: f64,
    leak_per_second: f64,
    quota: usize,
}

/// What `PUT /sandbox/settings` may say about this kind of shop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Changes {
    cancel_at_once: Option<bool>,
    bucket: Option<f64>,
    leak_per_second: Option<f64>,
    quota: Option<usize>,
}

/// The body of an order that was placed on a linked marketplace.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkedOrder {
    place: String,
    order: NewOrder,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Approval {
    scopes: Option<Vec<String>>,
}

/// Calls that only stock, orders and prices need.
#[derive(Clone, Debug)]
enum Request {
    Authorize,
    Token,
    Revoke,
    Orders,
    OrderCount,
    Order { id: String },
    Process { id: String },
    Cancellation { id: String },
    Products,
    Product { no: String },
    SetProduct { no: String },
    Variants { no: String },
    Inventory { no: String, variant: String },
    SetInventory { no: String, variant: String },
}

impl Request {
    fn of(call: &Call) -> Option<Self> {
        let parts: Vec<String> = call.segments().into_iter().map(decoded).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let ["api", "v2", rest @ ..] = parts.as_slice() else {
            return None;
        };
        let own = |text: &&str| (*text).to_owned();
        Some(match (&call.method, rest) {
            (&Method::GET, ["oauth", "authorize"]) => Self::Authorize,
            (&Method::POST, ["oauth", "token"]) => Self::Token,
            (&Method::POST, ["oauth", "revoke"]) => Self::Revoke,
            (&Method::GET, ["admin", "orders"]) => Self::Orders,
            (&Method::GET, ["admin", "orders", "count"]) => Self::OrderCount,
            (&Method::GET, ["admin", "orders", id]) => Self::Order { id: own(id) },
            (&Method::PUT, ["admin", "orders", id]) => Self::Process { id: own(id) },
            (&Method::POST, ["admin", "orders", id, "cancellation"]) => {
                Self::Cancellation { id: own(id) }
            }
            (&Method::GET, ["admin", "products"]) => Self::Products,
            (&Method::GET, ["admin", "products", no]) => Self::Product { no: own(no) },
            (&Method::PUT, ["admin", "products", no]) => Self::SetProduct { no: own(no) },
            (&Method::GET, ["admin", "products", no, "variants"]) => Self::Variants { no: own(no) },
            (&Method::GET, ["admin", "products", no, "variants", variant, "inventories"]) => {
                Self::Inventory {
                    no: own(no),
                    variant: own(variant),
                }
            }
            (&Method::PUT, ["admin", "products", no, "variants", variant, "inventories"]) => {
                Self::SetInventory {
                    no: own(no),
                    variant: own(variant),
                }
            }
            _ => return None,
        })
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Token => "token",
            Self::Revoke => "revoke",
            Self::Orders => "orders",
            Self::OrderCount => "order_count",
            Self::Order { .. } => "order",
            Self::Process { .. } => "process_status",
            Self::Cancellation { .. } => "cancellation",
            Self::Products => "products",
            Self::Product { .. } => "product",
            Self::SetProduct { .. } => "set_product",
            Self::Variants { .. } => "variants",
            Self::Inventory { .. } => "inventory",
            Self::SetInventory { .. } => "set_inventory",
        }
    }

    /// None: no bearer is asked for.
    fn scope(&self) -> Option<&'static str> {
        match self {
            Self::Authorize | Self::Token | Self::Revoke => None,
            Self::Orders | Self::OrderCount | Self::Order { .. } => Some("mall.read_order"),
            Self::Process { .. } | Self::Cancellation { .. } => Some("mall.write_order"),
            Self::Products
            | Self::Product { .. }
            | Self::Variants { .. }
            | Self::Inventory { .. } => Some("mall.read_product"),
            Self::SetProduct { .. } | Self::SetInventory { .. } => Some("mall.write_product"),
        }
    }

    fn subject(&self) -> Subject {
        let mut subject = Subject::of(self.operation());
        match self {
            Self::Order { id } | Self::Process { id } | Self::Cancellation { id } => {
                subject.orders.push(id.clone());
            }
            Self::Product { no } | Self::SetProduct { no } | Self::Variants { no } => {
                subject.items.push(no.clone());
            }
            Self::Inventory { no, variant } | Self::SetInventory { no, variant } => {
                subject.items.extend([no.clone(), variant.clone()]);
            }
            Self::Authorize
            | Self::Token
            | Self::Revoke
            | Self::Orders
            | Self::OrderCount
            | Self::Products => {}
        }
        subject
    }
}

/// `{"shop_no": 1, "request": {...}}`, as every write is wrapped.
#[derive(Debug, Deserialize)]
struct Wrapped {
    shop_no: Option<Value>,
    request: Value,
}

/// A shop on Cafe24.
#[derive(Debug)]
pub(crate) struct Cafe24 {
    oauth: OAuth,
    limits: Limits,
    goods: Goods,
    orders: Orders,
    cancel_at_once: bool,
}

impl Cafe24 {
    pub(crate) fn new(credentials: &Cafe24Credentials) -> Self {
        Self {
            oauth: OAuth::new(credentials),
            limits: Limits::default(),
            goods: Goods::default(),
            orders: Orders::default(),
            cancel_at_once: false,
        }
    }

    pub(crate) fn subject(&self, call: &Call) -> Subject {
        Request::of(call).map_or_else(Subject::default, |request| request.subject())
    }

    /// The bearer, then the bucket, then the form: a caller who is nobody fills no bucket.
    pub(crate) fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        let Some(request) = Request::of(call) else {
            return Err(No::not_found("API").answer());
        };
        let Some(scope) = request.scope() else {
            return Ok(());
        };
        self.oauth
            .check(&call.headers, scope, now)
            .map_err(|denied| denied.no().answer())?;
        if !self.limits.take(now) {
            let no = No::new(StatusCode::TOO_MANY_REQUESTS, "Too Many Requests");
            return Err(no.answer());
        }
        let is_json = call
            .header("content-type")
            .is_some_and(|kind| kind.starts_with("application/json"));
        if call.method != Method::GET && !is_json {
            return Err(No::bad_request("Content-Type is application/json.").answer());
        }
        let version = call.header("x-cafe24-api-version");
        if version.is_some_and(|version| Date::parse(version, VERSION_FORM).is_err()) {
            return Err(No::bad_request("There is no such version.").answer());
        }
        Ok(())
    }

    pub(crate) fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        match Request::of(call) {
            Some(Request::Authorize) => self.oauth.authorize(call, now),
            Some(Request::Token) => self.oauth.issue(call, now),
            Some(Request::Revoke) => self.oauth.revoke(call),
            Some(request) => Answer::from(self.work(&request, call, now)),
            None => No::not_found("API").answer(),
        }
    }

    fn work(&mut self, request: &Request, call: &Call, now: OffsetDateTime) -> Result<Value, No> {
        match request {
            Request::Authorize | Request::Token | Request::Revoke => Err(No::not_found("API")),
            Request::Orders => self.orders.list(call),
            Request::OrderCount => self.orders.count(call),
            Request::Order { id } => self.orders.read(id, call),
            Request::Process { id } => self.orders.process(id, unwrap(call)?),
            Request::Cancellation { id } => {
                let (shown, moved) = self.orders.cancellation(id, unwrap(call)?, now)?;
                self.settle(&moved);
                Ok(shown)
            }
            Request::Products => {
                let limit = number(call, "limit", 10, 100)?;
                let offset = number(call, "offset", 0, 5_000)?;
                Ok(self.goods.list(limit, offset))
            }
            Request::Product { no } => {
                let embed = call.parameter("embed").unwrap_or_default();
                self.goods.read(no, &embed)
            }
            Request::SetProduct { no } => self.goods.write(no, unwrap(call)?),
            Request::Variants { no } => self.goods.list_variants(no),
            Request::Inventory { no, variant } => self.goods.read_inventory(no, variant),
            Request::SetInventory { no, variant } => {
                self.goods.write_inventory(no, variant, unwrap(call)?)
            }
        }
    }

    /// Only answers of the Admin API carry the limits.
    pub(crate) fn dress(&mut self, call: &Call, answer: Answer, now: OffsetDateTime) -> Answer {
        if !call.path.starts_with("/api/v2/admin/") {
            return answer;
        }
        let version = call.header("x-cafe24-api-version").unwrap_or(VERSION);
        let answer = answer.with_header("x-cafe24-api-version", version);
        self.limits.dress(answer, now)
    }

    pub(crate) fn failure(status: StatusCode) -> Answer {
        let message = status.canonical_reason().unwrap_or("Error");
        No::new(status, message).answer()
    }

    pub(crate) fn take_stock_changes(&mut self) -> Vec<StockChange> {
        self.goods.take_changes()
    }

    pub(crate) fn list_item(&mut self, item: NewItem) -> Result<Value, Refusal> {
        self.goods.add(item)
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        self.goods.show()
    }

    pub(crate) fn orders(&self) -> Vec<Value> {
        self.orders.show()
    }

    /// Whether the product, or else the option, is one of this shop.
    pub(crate) fn sells(&self, product: Option<&str>, option: Option<&str>) -> bool {
        match (product, option) {
            (Some(product), _) => self.goods.has(product),
            (None, Some(option)) => self.goods.owner(option).is_some(),
            (None, None) => false,
        }
    }

    pub(crate) fn has_order(&self, id: &str) -> bool {
        self.orders.has(id)
    }

    pub(crate) fn place_order(
        &mut self,
        order: &NewOrder,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        self.place(order, OWN_PLACE, now)
    }

    pub(crate) fn cancel_order(
        &mut self,
        id: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let at_once = self.cancel_at_once;
        let (shown, moved) = self.orders.buyer_cancels(id, cancel, at_once, now)?;
        self.settle(&moved);
        Ok(shown)
    }

    pub(crate) fn move_order(
        &mut self,
        id: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let line = to.line_id.as_deref();
        let (shown, moved) = self.orders.move_items(id, line, &to.state, now)?;
        self.settle(&moved);
        Ok(shown)
    }

    pub(crate) fn switches(&self) -> Switches {
        Switches {
            cancel_at_once: self.cancel_at_once,
            bucket: self.limits.capacity,
            leak_per_second: self.limits.leak_per_second,
            quota: self.limits.quota,
        }
    }

    pub(crate) fn change(&mut self, changes: &Changes) {
        self.cancel_at_once = changes.cancel_at_once.unwrap_or(self.cancel_at_once);
        self.limits.capacity = changes.bucket.unwrap_or(self.limits.capacity);
        self.limits.leak_per_second = changes
            .leak_per_second
            .unwrap_or(self.limits.leak_per_second);
        self.limits.quota = changes.quota.unwrap_or(self.limits.quota);
    }

    /// None: no action of this shop.
    pub(crate) fn act(
        &mut self,
        action: &str,
        body: &[u8],
        now: OffsetDateTime,
    ) -> Option<Result<Value, Refusal>> {
        Some(match action {
            "cafe24-approve" => self.approval(body).map(|scopes| {
                let code = self.oauth.approve(scopes, now);
                json!({ "code": code })
            }),
            "cafe24-tokens" => self
                .approval(body)
                .map(|scopes| self.oauth.tokens(scopes, now)),
            "cafe24-end-access" => {
                self.oauth.end_access();
                Ok(json!({}))
            }
            "cafe24-price" => {
                read(body).and_then(|price: OfficePrice| self.goods.set_price(&price))
            }
            "cafe24-linked-order" => read(body).and_then(|linked| self.place_linked(&linked, now)),
            _ => return None,
        })
    }

    fn approval(&self, body: &[u8]) -> Result<Vec<String>, Refusal> {
        let approval: Approval = if body.is_empty() {
            Approval { scopes: None }
        } else {
            read(body)?
        };
        Ok(approval
            .scopes
            .unwrap_or_else(|| SCOPES.map(str::to_owned).to_vec()))
    }

    /// The linked marketplace has its own stock, but the shop's is one: it goes down here too.
    fn place_linked(
        &mut self,
        linked: &LinkedOrder,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        if !LINKED_PLACES.contains(&linked.place.as_str()) {
            let places = LINKED_PLACES.join(", ");
            return Err(Refusal::invalid(format!("place is one of {places}.")));
        }
        self.place(&linked.order, &linked.place, now)
    }

    fn place(
        &mut self,
        order: &NewOrder,
        place: &str,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let bought = self.goods.pick(&order.lines)?;
        let (shown, moved) = self.orders.place(order, place, bought, now)?;
        self.settle(&moved);
        Ok(shown)
    }

    fn settle(&mut self, moved: &[Moved]) {
        for (bought, units) in moved {
            self.goods.move_units(bought, *units);
        }
    }
}

impl Denied {
    fn no(self) -> No {
        match self {
            Self::Token => No::new(
                StatusCode::UNAUTHORIZED,
                "access_token time expired. (invalid_token)",
            ),
            Self::Scope => No::new(StatusCode::FORBIDDEN, "Insufficient scope."),
        }
    }
}

fn unwrap(call: &Call) -> Result<Value, No> {
    let wrapped: Wrapped = call.json().map_err(No::bad_request)?;
    let first_shop = match &wrapped.shop_no {
        None => true,
        Some(no) => *no == json!(1) || *no == json!("1"),
    };
    if !first_shop {
        return Err(No::unfit("There is no such shop_no."));
    }
    Ok(wrapped.request)
}
