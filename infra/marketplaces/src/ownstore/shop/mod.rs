//! A shop with a backend of its own, which speaks the small signed protocol that the README specifies.

mod orders;
mod signature;
mod stock;

use std::collections::{HashMap, VecDeque};

use axum::{
    body::Bytes,
    http::{Method, StatusCode},
};
use reqwest::Url;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject, decoded},
    control::read,
    market::{Cancel, Move, NewOrder, StockChange},
    ownstore::shop::{
        orders::{MOST_LINES, Orders},
        signature::{Message, Secret, Unsigned, check},
        stock::{NewShopItem, OfficeChange, Stock},
    },
    webhooks::Webhook,
};

/// How long a repeat of a write gets the first answer.
const REMEMBERED: Duration = Duration::hours(24);
/// A hint is worth little once the next poll has come.
const HINT_RETRIES_S: [u64; 3] = [1, 5, 30];
const PROBLEM: &str = "application/problem+json";

/// Why something was not done, as problem+json.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    /// The version that a write was older than.
    known_version: Option<u64>,
}

impl Problem {
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            known_version: None,
        }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    pub(crate) fn unfit(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "unfit", detail)
    }

    pub(crate) fn not_found(what: &str, id: &str) -> Self {
        let detail = format!("There is no {what} {id}.");
        Self::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    pub(crate) fn stale(known: u64) -> Self {
        Self {
            known_version: Some(known),
            ..Self::new(
                StatusCode::CONFLICT,
                "stale-version",
                format!("Version {known} is known."),
            )
        }
    }

    fn answer(&self) -> Answer {
        let mut body = json!({
            "type": format!("urn:onepool:problem:{}", self.kind),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "detail": self.detail,
        });
        if let Some(known) = self.known_version {
            body["known_version"] = json!(known);
        }
        Answer::new(self.status, PROBLEM, body.to_string())
    }
}

impl From<Unsigned> for Problem {
    fn from(unsigned: Unsigned) -> Self {
        let (kind, detail) = match unsigned {
            Unsigned::Headers => ("unsigned", "The headers of the signature are not there."),
            Unsigned::Time => (
                "wrong-time",
                "webhook-timestamp is not within five minutes.",
            ),
            Unsigned::Signature => ("wrong-signature", "webhook-signature is wrong."),
        };
        Self::new(StatusCode::UNAUTHORIZED, kind, detail)
    }
}

/// A call with what its path says.
#[derive(Clone, Debug)]
enum Request {
    Orders,
    Confirm,
    Cancel { line: String },
    Item { item: String },
    SetStock { item: String },
    SetPrice { item: String },
}

impl Request {
    fn of(call: &Call) -> Option<Self> {
        let segments = call.segments();
        let ["onepool", rest @ ..] = segments.as_slice() else {
            return None;
        };
        Some(match (&call.method, rest) {
            (&Method::GET, ["orders"]) => Self::Orders,
            (&Method::POST, ["orders", "confirm"]) => Self::Confirm,
            (&Method::POST, ["orders", line, "cancel"]) => Self::Cancel {
                line: decoded(line),
            },
            (&Method::GET, ["items", item]) => Self::Item {
                item: decoded(item),
            },
            (&Method::PUT, ["items", item, "stock"]) => Self::SetStock {
                item: decoded(item),
            },
            (&Method::PUT, ["items", item, "price"]) => Self::SetPrice {
                item: decoded(item),
            },
            _ => return None,
        })
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Orders => "shop_orders",
            Self::Confirm => "shop_confirm",
            Self::Cancel { .. } => "shop_cancel",
            Self::Item { .. } => "shop_item",
            Self::SetStock { .. } => "shop_set_stock",
            Self::SetPrice { .. } => "shop_set_price",
        }
    }

    fn writes(&self) -> bool {
        match self {
            Self::Orders | Self::Item { .. } => false,
            Self::Confirm | Self::Cancel { .. } | Self::SetStock { .. } | Self::SetPrice { .. } => {
                true
            }
        }
    }
}

/// `POST /onepool/orders/confirm`.
#[derive(Debug, Deserialize)]
struct ConfirmBody {
    lines: Vec<String>,
}

/// The first answer to a write, for its repeats.
#[derive(Clone, Debug)]
struct Remembered {
    target: String,
    body: Bytes,
    answer: Answer,
    until: OffsetDateTime,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Switches {
    /// Where hints of new orders go; null sends none.
    hint_url: Option<String>,
    /// Units that are cancelled go back into stock.
    cancel_restores_stock: bool,
    /// The most lines of a page.
    page_lines: usize,
}

/// What `POST /sandbox/settings` may say about this kind of shop.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Changes {
    /// Empty: no hints any more.
    hint_url: Option<String>,
    cancel_restores_stock: Option<bool>,
    page_lines: Option<usize>,
}

#[derive(Debug)]
pub(crate) struct Shop {
    secret: Secret,
    stock: Stock,
    orders: Orders,
    remembered: HashMap<String, Remembered>,
    cancel_restores_stock: bool,
    hint_url: Option<Url>,
    hints: Vec<Webhook>,
    hint_count: u64,
}

impl Shop {
    pub(crate) fn new(secret: &str) -> Self {
        Self {
            secret: Secret::read(secret),
            stock: Stock::default(),
            orders: Orders::default(),
            remembered: HashMap::new(),
            cancel_restores_stock: true,
            hint_url: None,
            hints: Vec::new(),
            hint_count: 0,
        }
    }

    pub(crate) fn subject(&self, call: &Call) -> Subject {
        let Some(request) = Request::of(call) else {
            return Subject::default();
        };
        let mut subject = Subject::of(request.operation());
        match request {
            Request::Orders => {}
            Request::Confirm => {
                if let Ok(body) = call.json::<ConfirmBody>() {
                    subject.orders = body.lines;
                }
            }
            Request::Cancel { line } => subject.orders.push(line),
            Request::Item { item } | Request::SetStock { item } | Request::SetPrice { item } => {
                subject.items.push(item);
            }
        }
        subject
    }

    pub(crate) fn admit(&self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        self.signed(call, now).map(|_| ()).map_err(|p| p.answer())
    }

    fn signed<'a>(&self, call: &'a Call, now: OffsetDateTime) -> Result<&'a str, Problem> {
        let target = target(call);
        let request = (call.method.as_str(), target.as_str(), call.body.as_ref());
        check(&self.secret, &call.headers, request, now).map_err(Problem::from)
    }

    /// A repeat of a write, known by its id, gets the first answer and changes nothing.
    pub(crate) fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        let Some(request) = Request::of(call) else {
            return Problem::not_found("endpoint", &call.path).answer();
        };
        let id = call.header("webhook-id").unwrap_or_default();
        if !request.writes() {
            return self.answer(&request, call, now);
        }
        self.remembered.retain(|_, answer| now < answer.until);
        if let Some(first) = self.remembered.get(id) {
            return if first.target == target(call) && first.body == call.body {
                first.answer.clone()
            } else {
                Problem::unfit("webhook-id belongs to another request.").answer()
            };
        }
        let answer = self.answer(&request, call, now);
        let first = Remembered {
            target: target(call),
            body: call.body.clone(),
            answer: answer.clone(),
            until: now + REMEMBERED,
        };
        self.remembered.insert(id.to_owned(), first);
        answer
    }

    fn answer(&mut self, request: &Request, call: &Call, now: OffsetDateTime) -> Answer {
        let outcome = match request {
            Request::Orders => self.orders.list(call, now),
            Request::Confirm => {
                body(call).and_then(|confirm: ConfirmBody| self.orders.confirm(&confirm.lines, now))
            }
            Request::Cancel { line } => body(call).and_then(|cancel| {
                let (shown, item, units) = self.orders.cancel(line, &cancel, now)?;
                self.give_back(&item, units);
                Ok(shown)
            }),
            Request::Item { item } => self.stock.read(item),
            Request::SetStock { item } => {
                body(call).and_then(|write| self.stock.write(item, &write))
            }
            Request::SetPrice { item } => {
                body(call).and_then(|price| self.stock.write_price(item, &price))
            }
        };
        match outcome {
            Ok(value) => Answer::ok(&value),
            Err(problem) => problem.answer(),
        }
    }

    pub(crate) fn failure(status: StatusCode) -> Answer {
        Problem::new(status, "failure", "A fault to order.").answer()
    }

    pub(crate) fn take_stock_changes(&mut self) -> Vec<StockChange> {
        self.stock.take_changes()
    }

    pub(crate) fn take_hints(&mut self) -> Vec<Webhook> {
        std::mem::take(&mut self.hints)
    }

    pub(crate) fn items(&self) -> Vec<Value> {
        self.stock.show()
    }

    pub(crate) fn orders(&self) -> Vec<Value> {
        self.orders.show()
    }

    pub(crate) fn sells(&self, item: Option<&str>) -> bool {
        item.is_some_and(|item| self.stock.has(item))
    }

    pub(crate) fn has_order(&self, id: &str) -> bool {
        self.orders.has(id)
    }

    pub(crate) fn place_order(
        &mut self,
        order: &NewOrder,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        if !order.paid {
            return Err(Refusal::invalid(
                "This shop shows only orders that are paid.",
            ));
        }
        self.orders.have_room()?;
        let prices = self.stock.sell(&order.lines)?;
        let shown = self.orders.place(order, &prices, now);
        self.hint(now);
        Ok(shown)
    }

    pub(crate) fn cancel_order(
        &mut self,
        id: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let (shown, freed) = self.orders.buyer_cancels(id, cancel, now)?;
        for (item, units) in freed {
            self.give_back(&item, units);
        }
        self.hint(now);
        Ok(shown)
    }

    fn give_back(&mut self, item: &str, units: u64) {
        if self.cancel_restores_stock {
            self.stock.give_back(item, units);
        }
    }

    pub(crate) fn move_order(
        &mut self,
        id: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        self.orders.move_lines(id, to, now)
    }

    pub(crate) fn switches(&self) -> Switches {
        Switches {
            hint_url: self.hint_url.as_ref().map(Url::to_string),
            cancel_restores_stock: self.cancel_restores_stock,
            page_lines: self.orders.page_lines,
        }
    }

    pub(crate) fn change(&mut self, changes: &Changes) -> Result<(), Refusal> {
        if let Some(lines) = changes.page_lines {
            if !(1..=MOST_LINES).contains(&lines) {
                let range = format!("pageLines is 1 to {MOST_LINES}.");
                return Err(Refusal::invalid(range));
            }
            self.orders.page_lines = lines;
        }
        let restores = changes.cancel_restores_stock;
        self.cancel_restores_stock = restores.unwrap_or(self.cancel_restores_stock);
        match changes.hint_url.as_deref() {
            None => {}
            Some("") => self.hint_url = None,
            Some(url) => {
                let url = Url::parse(url);
                self.hint_url = Some(url.map_err(|_| Refusal::invalid("hintUrl is not a URL."))?);
            }
        }
        Ok(())
    }

    /// None: no action of this shop.
    pub(crate) fn act(&mut self, action: &str, body: &[u8]) -> Option<Result<Value, Refusal>> {
        Some(match action {
            "shop-item" => read(body).and_then(|item: NewShopItem| self.stock.add(item)),
            "shop-office" => read(body).and_then(|change: OfficeChange| self.stock.office(&change)),
            _ => return None,
        })
    }

    /// Tells the seller that there is something to pull. It says no more than that: the pull is what counts.
    fn hint(&mut self, now: OffsetDateTime) {
        let Some(url) = &self.hint_url else { return };
        self.hint_count += 1;
        let id = format!("hint_{}", self.hint_count);
        let body = json!({ "type": "orders.changed", "timestamp": orders::rfc3339(now) });
        let body = Bytes::from(body.to_string());
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let signature = self.secret.sign(Message {
            id: &id,
            timestamp: now.unix_timestamp(),
            method: "POST",
            target: &target,
            body: &body,
        });
        self.hints.push(Webhook {
            url: url.to_string(),
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("webhook-id", id),
                ("webhook-timestamp", now.unix_timestamp().to_string()),
                ("webhook-signature", signature),
            ],
            body,
            retries: HINT_RETRIES_S
                .map(std::time::Duration::from_secs)
                .into_iter()
                .collect::<VecDeque<_>>(),
        });
    }
}

/// Path and query as they were sent.
fn target(call: &Call) -> String {
    if call.query.is_empty() {
        call.path.clone()
    } else {
        format!("{}?{}", call.path, call.query)
    }
}

fn body<T: serde::de::DeserializeOwned>(call: &Call) -> Result<T, Problem> {
    call.json().map_err(Problem::malformed)
}
