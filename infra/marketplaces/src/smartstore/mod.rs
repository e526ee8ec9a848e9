//! Naver SmartStore: the Commerce API as apicenter.commerce.naver.com describes it.

mod answers;
mod endpoint;
mod orders;
mod products;
mod rate;
mod sales;
mod stock;
mod switches;
mod token;

use axum::http::StatusCode;
use serde_json::{Value, json};
use time::OffsetDateTime;

use self::{
    answers::Stamp,
    endpoint::Endpoint,
    orders::{Habits, Orders},
    products::Catalogue,
    rate::{Limits, capacity},
    switches::{Sanction, Switches},
    token::{Asked, Terms, Tokens},
};
use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
    switches::{changed, seconds},
};

pub use self::token::Credentials;

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
        match Endpoint::of(call) {
            Some(endpoint) => endpoint.subject(call),
            None => Subject::default(),
        }
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
        self.switches = changed(&self.switches, body)?;
        Ok(self.switches())
    }

    /// `revoke-tokens`: whoever holds one learns it by a 401. `discount`: the seller's office gives one.
    fn act(&mut self, action: &str, body: &[u8], now: OffsetDateTime) -> Result<Value, Refusal> {
        match action {
            "revoke-tokens" => {
                self.tokens.revoke();
                Ok(json!({}))
            }
            "discount" => {
                let discount = serde_json::from_slice(body)
                    .map_err(|error| Refusal::invalid(error.to_string()))?;
                self.catalogue.discount(discount, now)
            }
            _other => Err(Refusal::not_found("action", action)),
        }
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
}
