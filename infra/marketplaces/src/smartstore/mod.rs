//! Naver SmartStore: the Commerce API as apicenter.commerce.naver.com describes it.

mod answers;
mod orders;
mod products;
mod rate;
mod sales;
mod stock;
mod token;

use axum::http::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use self::{
    answers::Stamp,
    orders::{Habits, Orders},
    products::Catalogue,
    rate::{Limits, capacity},
    token::{Asked, Terms, Tokens},
};
use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    clock, control,
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
};

pub use self::token::Credentials;

/// When a broken token format costs the application its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Sanction {
    /// Never.
    Off,
    /// On the day after, as the notice says.
    NextDay,
    /// On the same day and the day after: for tests that do not want to move the clock.
    AtOnce,
    /// Whatever was done.
    On,
}

/// What the control API can change.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Switches {
    /// Calls a second for each API; bursts may be twice that. 0 limits nothing.
    rate: u64,
    sanction: Sanction,
    /// The caller's address is not registered.
    ip_blocked: bool,
    maintenance: bool,
    token_life_s: u64,
    /// With more than this left, the same token is given again.
    token_renewal_s: u64,
    /// Not documented, so it can be set.
    multi_update_most: usize,
    /// A write of stock puts a sold-out product back on sale. Not documented.
    stock_revives: bool,
    /// See [`Habits`].
    instant_cancel: bool,
    cancel_restores_stock: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rate: 2,
            sanction: Sanction::NextDay,
            ip_blocked: false,
            maintenance: false,
            token_life_s: 10_800,
            token_renewal_s: 1_800,
            multi_update_most: 50,
            stock_revives: true,
            instant_cancel: true,
            cancel_restores_stock: true,
        }
    }
}

/// What a change of the switches says; a misspelt one is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
struct SwitchChange {
    rate: Option<u64>,
    sanction: Option<Sanction>,
    ip_blocked: Option<bool>,
    maintenance: Option<bool>,
    token_life_s: Option<u64>,
    token_renewal_s: Option<u64>,
    multi_update_most: Option<usize>,
    stock_revives: Option<bool>,
    instant_cancel: Option<bool>,
    cancel_restores_stock: Option<bool>,
}

/// A path and a method that the gateway knows.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Endpoint {
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
    fn of(call: &Call) -> Option<Self> {
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
    fn operation(&self) -> &'static str {
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
}

/// A seller's store.
#[derive(Debug)]
pub(crate) struct SmartStore {
    credentials: Credentials,
    switches: Switches,
    tokens: Tokens,
    limits: Limits,
    catalogue: Catalogue,
    orders: Orders,
    traces: u64,
}

impl Market for SmartStore {
    type Credentials = Credentials;
    const NAME: &'static str = "smartstore";
    const OPERATIONS: &'static [&'static str] = &[
        "token",
        "feed",
        "query",
        "list",
        "line_ids",
        "confirm",
        "cancel",
        "approve_cancel",
        "dispatch",
        "search",
        "product",
        "channel_product",
        "option_stock",
        "multi_update",
        "change_status",
        "full_update",
        "channel_full_update",
    ];

    fn new(credentials: &Credentials) -> Self {
        Self {
            credentials: credentials.clone(),
            switches: Switches::default(),
            tokens: Tokens::default(),
            limits: Limits::default(),
            catalogue: Catalogue::default(),
            orders: Orders::default(),
            traces: 0,
        }
    }

    fn subject(&self, call: &Call) -> Subject {
        let Some(endpoint) = Endpoint::of(call) else {
            return Subject::default();
        };
        let mut subject = Subject::of(endpoint.operation());
        match endpoint {
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

    fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        let stamp = self.stamp(now);
        if self.switches.ip_blocked {
            return Err(stamp.gateway(
                StatusCode::FORBIDDEN,
                "GW.IP_NOT_ALLOWED",
                "The address of the caller is not registered.",
            ));
        }
        let Some(endpoint) = Endpoint::of(call) else {
            return Err(stamp.gateway(
                StatusCode::NOT_FOUND,
                "GW.NOT_FOUND",
                "There is no such API.",
            ));
        };
        if self.switches.maintenance {
            return Err(stamp.gateway(
                StatusCode::SERVICE_UNAVAILABLE,
                "GW.BLOCK.02",
                "The service is under maintenance.",
            ));
        }
        // The token call carries no limits of its own, and a sanctioned application has to be able to get a token.
        if endpoint == Endpoint::Token {
            return Ok(());
        }
        let bearer = call
            .header("authorization")
            .and_then(|header| header.strip_prefix("Bearer "));
        if !bearer.is_some_and(|bearer| self.tokens.is_valid(bearer, now)) {
            return Err(stamp.gateway(
                StatusCode::UNAUTHORIZED,
                "GW.AUTHN",
                "The token is missing, wrong or expired.",
            ));
        }
        let api = endpoint.operation();
        if self.is_sanctioned(now) && !self.limits.take_hourly(api, now) {
            return Err(stamp
                .gateway(
                    StatusCode::TOO_MANY_REQUESTS,
                    "GW.QUOTA_LIMIT",
                    "The quota is used up.",
                )
                .with_header("gncp-gw-quota-period", "HOURS")
                .with_header("gncp-gw-quota-limit", "1")
                .with_header("gncp-gw-quota-remaining", "0"));
        }
        if !self.limits.take(api, self.switches.rate, now) {
            return Err(self.failure(StatusCode::TOO_MANY_REQUESTS, now));
        }
        Ok(())
    }

    fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        let stamp = self.stamp(now);
        match Endpoint::of(call) {
            None => stamp.gateway(
                StatusCode::NOT_FOUND,
                "GW.NOT_FOUND",
                "There is no such API.",
            ),
            Some(Endpoint::Token) => {
                let terms = Terms {
                    life: seconds(self.switches.token_life_s),
                    renewal: seconds(self.switches.token_renewal_s),
                };
                match self.tokens.ask(&self.credentials, call, terms, now) {
                    Asked::Given(token) => stamp.bare(&token),
                    Asked::Refused(inputs) => stamp.invalid(&inputs),
                }
            }
            Some(
                endpoint @ (Endpoint::Feed
                | Endpoint::Query
                | Endpoint::List
                | Endpoint::LineIds(_)
                | Endpoint::Confirm
                | Endpoint::Cancel(_)
                | Endpoint::ApproveCancel(_)
                | Endpoint::Dispatch),
            ) => match self.sell(&endpoint, call, now) {
                Ok(data) => stamp.data(&data),
                Err(error) => stamp.order_error(error),
            },
            Some(
                endpoint @ (Endpoint::Search
                | Endpoint::Product(_)
                | Endpoint::ChannelProduct(_)
                | Endpoint::OptionStock(_)
                | Endpoint::MultiUpdate
                | Endpoint::ChangeStatus(_)
                | Endpoint::Replace(_)
                | Endpoint::ReplaceChannel(_)),
            ) => match self.keep(&endpoint, call, now) {
                Ok(body) => stamp.bare(&body),
                Err(refused) => refused.answer(&stamp),
            },
        }
    }

    fn failure(&mut self, status: StatusCode, now: OffsetDateTime) -> Answer {
        let (code, message) = match status {
            StatusCode::TOO_MANY_REQUESTS => ("GW.RATE_LIMIT", "The rate is exceeded."),
            StatusCode::SERVICE_UNAVAILABLE => ("GW.BLOCK.01", "The circuit is open."),
            StatusCode::GATEWAY_TIMEOUT => ("GW.TIMEOUT.01", "The processing took too long."),
            _ => ("GW.INTERNAL_SERVER_ERROR", "There was an error."),
        };
        self.stamp(now).gateway(status, code, message)
    }

    fn dress(&mut self, call: &Call, answer: Answer, now: OffsetDateTime) -> Answer {
        let answer = answer.with_header("gncp-gw-httpclient-responsetime", "1");
        let rate = self.switches.rate;
        match Endpoint::of(call) {
            Some(endpoint) if rate > 0 && endpoint != Endpoint::Token => {
                let left = self.limits.remaining(endpoint.operation(), rate, now);
                answer
                    .with_header("gncp-gw-ratelimit-replenish-rate", &rate.to_string())
                    .with_header(
                        "gncp-gw-ratelimit-burst-capacity",
                        &capacity(rate).to_string(),
                    )
                    .with_header("gncp-gw-ratelimit-remaining", &left.to_string())
            }
            Some(_) | None => answer,
        }
    }

    fn take_stock_changes(&mut self) -> Vec<StockChange> {
        self.catalogue.take_changes()
    }

    fn list_item(&mut self, item: NewItem, now: OffsetDateTime) -> Result<Value, Refusal> {
        self.catalogue.list(item, now)
    }

    fn items(&self) -> Vec<Value> {
        self.catalogue.show()
    }

    fn place_order(&mut self, order: &NewOrder, now: OffsetDateTime) -> Result<Value, Refusal> {
        self.orders.place(&mut self.catalogue, order, now)
    }

    fn orders(&self) -> Vec<Value> {
        self.orders.show()
    }

    fn cancel_order(
        &mut self,
        order: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let habits = self.habits();
        self.orders
            .cancel(&mut self.catalogue, order, cancel, habits, now)
    }

    fn move_order(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let habits = self.habits();
        self.orders
            .step(&mut self.catalogue, order, to, habits, now)
    }

    fn switches(&self) -> Value {
        json!(self.switches)
    }

    fn change_switches(&mut self, body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        let change: SwitchChange = control::read(body)?;
        let switches = &mut self.switches;
        set(&mut switches.rate, change.rate);
        set(&mut switches.sanction, change.sanction);
        set(&mut switches.ip_blocked, change.ip_blocked);
        set(&mut switches.maintenance, change.maintenance);
        set(&mut switches.token_life_s, change.token_life_s);
        set(&mut switches.token_renewal_s, change.token_renewal_s);
        set(&mut switches.multi_update_most, change.multi_update_most);
        set(&mut switches.stock_revives, change.stock_revives);
        set(&mut switches.instant_cancel, change.instant_cancel);
        set(
            &mut switches.cancel_restores_stock,
            change.cancel_restores_stock,
        );
        Ok(self.switches())
    }

    /// `revoke-tokens`: whoever holds one learns it by a 401.
    fn act(&mut self, action: &str, _body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        if action == "revoke-tokens" {
            self.tokens.revoke();
            return Ok(json!({}));
        }
        Err(Refusal::not_found("action", action))
    }
}

impl SmartStore {
    fn stamp(&mut self, now: OffsetDateTime) -> Stamp {
        self.traces += 1;
        Stamp {
            now,
            trace: format!("fake-{:012}", self.traces),
        }
    }

    fn habits(&self) -> Habits {
        Habits {
            instant_cancel: self.switches.instant_cancel,
            cancel_restores_stock: self.switches.cancel_restores_stock,
        }
    }

    fn is_sanctioned(&self, now: OffsetDateTime) -> bool {
        let today = now.date();
        let broke_yesterday = self.tokens.broke_on(today.previous_day());
        match self.switches.sanction {
            Sanction::Off => false,
            Sanction::NextDay => broke_yesterday,
            Sanction::AtOnce => broke_yesterday || self.tokens.broke_on(Some(today)),
            Sanction::On => true,
        }
    }

    /// The product API.
    fn keep(
        &mut self,
        endpoint: &Endpoint,
        call: &Call,
        now: OffsetDateTime,
    ) -> Result<Value, stock::Refused> {
        let revives = self.switches.stock_revives;
        let catalogue = &mut self.catalogue;
        let by_channel = |catalogue: &Catalogue, no| {
            catalogue
                .by_channel(no)
                .map(|product| product.origin)
                .ok_or(stock::Refused::NoProduct)
        };
        match endpoint {
            Endpoint::Search => stock::search(catalogue, call, now),
            Endpoint::Product(no) => catalogue
                .get(*no)
                .map(products::Product::document)
                .ok_or(stock::Refused::NoProduct),
            Endpoint::ChannelProduct(no) => catalogue
                .by_channel(*no)
                .map(products::Product::document)
                .ok_or(stock::Refused::NoProduct),
            Endpoint::OptionStock(no) => stock::write_options(catalogue, *no, call, revives, now),
            Endpoint::MultiUpdate => {
                let most = self.switches.multi_update_most;
                stock::write_many(catalogue, call, most, revives, now)
            }
            Endpoint::ChangeStatus(no) => stock::change_status(catalogue, *no, call, now),
            Endpoint::Replace(no) => stock::replace(catalogue, *no, call, now),
            Endpoint::ReplaceChannel(no) => {
                let origin = by_channel(catalogue, *no)?;
                stock::replace(catalogue, origin, call, now)
            }
            Endpoint::Token
            | Endpoint::Feed
            | Endpoint::Query
            | Endpoint::List
            | Endpoint::LineIds(_)
            | Endpoint::Confirm
            | Endpoint::Cancel(_)
            | Endpoint::ApproveCancel(_)
            | Endpoint::Dispatch => Err(stock::Refused::NoProduct),
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
