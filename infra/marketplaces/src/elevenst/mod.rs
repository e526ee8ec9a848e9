//! 11st: the seller Open API as openapi.11st.co.kr describes it.
//!
//! XML in EUC-KR, one header as a key, and most writes are GETs. Nothing here compares and sets, and nothing knows a
//! repeat: a line that is confirmed twice gets an error the second time.

mod claims;
mod goods;
mod orders;
mod request;
mod windows;
mod xml;

use std::{collections::VecDeque, io};

use axum::http::StatusCode;
use fakes::env::text;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    control::read,
    elevenst::{
        claims::{Freed, Numbers},
        goods::Goods,
        orders::{Orders, shown},
        request::Request,
        windows::{CLAIMS, ORDERS, Window},
        xml::{Family, Verdict},
    },
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
    switches::changed,
};

/// What 11st gave the seller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Sent as the header `openapikey`.
    pub api_key: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            api_key: "demo0000000000000000000000000000".to_owned(),
        }
    }
}

impl Credentials {
    /// Reads `MARKETPLACES_ELEVENST_API_KEY`.
    pub(crate) fn from_env() -> io::Result<Self> {
        let otherwise = Self::default();
        Ok(Self {
            api_key: text("MARKETPLACES_ELEVENST_API_KEY")?.unwrap_or(otherwise.api_key),
        })
    }
}

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Switches {
    /// The early hours of a Friday: every call gets -1000.
    maintenance: bool,
    /// The rate of the seller API is not published, so there is none unless a test asks for it.
    requests_per_second: Option<u32>,
    /// 11st cancels a line that is paid and not confirmed as soon as its buyer asks. The documents leave it open.
    cancel_at_once: bool,
    /// Cancelled units go back into 11st's own stock. The documents leave it open.
    restock: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            maintenance: false,
            requests_per_second: None,
            cancel_at_once: false,
            restock: true,
        }
    }
}

/// All that it holds.
#[derive(Debug)]
pub(crate) struct ElevenSt {
    api_key: String,
    switches: Switches,
    goods: Goods,
    orders: Orders,
    claim_numbers: Numbers,
    /// Of the last second, when there is a limit.
    recent: VecDeque<OffsetDateTime>,
}

impl ElevenSt {
    fn answer(&mut self, request: &Request, call: &Call, now: OffsetDateTime) -> Answer {
        let family = request.family();
        match request {
            Request::List { state, start, end } => match Window::read(start, end, ORDERS) {
                Ok(window) => self.orders.list(*state, window),
                Err(verdict) => verdict.answer(family),
            },
            Request::Claims { stage, start, end } => match Window::read(start, end, CLAIMS) {
                Ok(window) => self.orders.list_claims(*stage, window),
                Err(verdict) => verdict.answer(family),
            },
            Request::States { orders } => self.orders.states(orders),
            Request::Confirm(_)
            | Request::Ship { .. }
            | Request::Approve { .. }
            | Request::Refuse { .. }
            | Request::Reject(_) => match self.write(request, now) {
                Ok(verdict) | Err(verdict) => verdict.answer(family),
            },
            Request::ReadProduct { product } => self.goods.read_product(product),
            Request::ReadStock { product } => self.goods.read_stock(product),
            Request::WriteStock { stock } => self.goods.write_stock(stock, &call.body),
            Request::Display { product, stop } => self.goods.display(product, *stop),
            Request::Price { product, price } => self.goods.write_price(product, price),
            Request::ReplaceOptions { product } => self.goods.replace_options(product, &call.body),
        }
    }

    /// Writes about orders and claims.
    fn write(&mut self, request: &Request, now: OffsetDateTime) -> Result<Verdict, Verdict> {
        let freed = match request {
            Request::Confirm(line) => return self.orders.confirm(line, now),
            Request::Ship {
                sent_at,
                delivery,
                only,
            } => {
                let only = only.as_ref().map(|(no, seq)| (no.as_str(), seq.as_str()));
                return self.orders.ship(sent_at, delivery, only, now);
            }
            Request::Refuse {
                order,
                line,
                claim,
                sent_on,
            } => {
                return self.orders.refuse(order, line, claim, sent_on, now);
            }
            Request::Approve { claim, order, line } => {
                self.orders.approve(claim, order, line, now)?
            }
            Request::Reject(line) => self.orders.reject(line, &mut self.claim_numbers, now)?,
            Request::List { .. }
            | Request::Claims { .. }
            | Request::States { .. }
            | Request::ReadProduct { .. }
            | Request::ReadStock { .. }
            | Request::WriteStock { .. }
            | Request::Display { .. }
            | Request::Price { .. }
            | Request::ReplaceOptions { .. } => {
                return Err(Verdict::business("처리할 수 없는 요청입니다."));
            }
        };
        self.put_back(&freed);
        Ok(Verdict::new(0, "처리되었습니다."))
    }

    fn put_back(&mut self, freed: &Freed) {
        if self.switches.restock {
            self.goods.give_back(&freed.bought, freed.units);
        }
    }

    fn is_too_fast(&mut self, now: OffsetDateTime) -> bool {
        let Some(most) = self.switches.requests_per_second else {
            return false;
        };
        self.recent.retain(|at| now - *at < Duration::SECOND);
        if self.recent.len() >= most as usize {
            return true;
        }
        self.recent.push_back(now);
        false
    }
}

impl Market for ElevenSt {
    type Credentials = Credentials;
    const NAME: &'static str = "elevenst";
    const OPERATIONS: &'static [&'static str] = &[
        "standby",
        "complete",
        "packaging",
        "shipping",
        "dlvcompleted",
        "completed",
        "reqpackaging",
        "reqdelivery",
        "cancelorders",
        "canceledorders",
        "withdrawcanceledorders",
        "cancelreqconf",
        "cancelreqreject",
        "reqrejectorder",
        "orderlistall",
        "product",
        "stck",
        "stockqty",
        "stopdisplay",
        "restartdisplay",
        "price",
        "updateProductOption",
    ];

    fn new(credentials: &Credentials) -> Self {
        Self {
            api_key: credentials.api_key.clone(),
            switches: Switches::default(),
            goods: Goods::default(),
            orders: Orders::default(),
            claim_numbers: Numbers::default(),
            recent: VecDeque::new(),
        }
    }

    fn subject(&self, call: &Call) -> Subject {
        Request::of(call).map_or_else(Subject::default, |request| Subject {
            operation: request.operation(),
            items: request.items(),
            orders: request.orders(),
        })
    }

    /// The rate first: whoever counts requests stands in front.
    fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        if self.is_too_fast(now) {
            return Err(page(StatusCode::TOO_MANY_REQUESTS));
        }
        let family = Request::of(call).map_or(Family::List, |request| request.family());
        if call.header("openapikey") != Some(self.api_key.as_str()) {
            return Err(Verdict::wrong_key(family).answer(family));
        }
        if self.switches.maintenance {
            return Err(Verdict::maintenance().answer(family));
        }
        Ok(())
    }

    fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        match Request::of(call) {
            Some(request) => self.answer(&request, call, now),
            None => page(StatusCode::NOT_FOUND),
        }
    }

    /// A code of its own for what happens around the service is not documented: a web server's page.
    fn failure(&mut self, status: StatusCode, _now: OffsetDateTime) -> Answer {
        page(status)
    }

    fn take_stock_changes(&mut self) -> Vec<StockChange> {
        self.goods.take_changes()
    }

    fn list_item(&mut self, item: NewItem, _now: OffsetDateTime) -> Result<Value, Refusal> {
        self.goods.add(item)
    }

    fn items(&self) -> Vec<Value> {
        self.goods.show()
    }

    fn place_order(&mut self, order: &NewOrder, now: OffsetDateTime) -> Result<Value, Refusal> {
        self.orders.have_room()?;
        let bought = self.goods.sell(&order.lines)?;
        Ok(self.orders.place(order, bought, now))
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
        let at_once = self.switches.cancel_at_once;
        let numbers = &mut self.claim_numbers;
        let freed = self
            .orders
            .buyer_cancels(order, cancel, at_once, numbers, now)?;
        for freed in &freed {
            self.put_back(freed);
        }
        Ok(shown(self.orders.order_mut(order)?))
    }

    fn move_order(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        self.orders
            .move_lines(order, to.line_id.as_deref(), &to.state, now)
    }

    fn switches(&self) -> Value {
        json!(self.switches)
    }

    fn change_switches(&mut self, body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        let changed: Switches = changed(&self.switches, body)?;
        self.switches = Switches {
            // 0 takes the limit away.
            requests_per_second: changed.requests_per_second.filter(|most| *most > 0),
            ..changed
        };
        Ok(self.switches())
    }

    /// `discount`: the seller's office gives an instant discount, or takes it back.
    fn act(&mut self, action: &str, body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        match action {
            "discount" => self.goods.discount(read(body)?),
            _other => Err(Refusal::not_found("action", action)),
        }
    }
}

/// What a web server in front of the service answers.
fn page(status: StatusCode) -> Answer {
    let reason = status.canonical_reason().unwrap_or("Error");
    Answer::new(
        status,
        "text/html; charset=euc-kr",
        format!(
            "<html><body><h1>{} {reason}</h1></body></html>",
            status.as_u16()
        ),
    )
}
