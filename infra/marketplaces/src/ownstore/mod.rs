//! The own store, in two kinds on one address: a shop on Cafe24, and a shop with a backend of its own. Each has its own
//! items and orders, and what one sells the other never shows.

mod cafe24;
mod shop;

use std::io;

use axum::http::StatusCode;
use fakes::env::text;
use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    control::read,
    market::{Cancel, Market, Move, NewItem, NewOrder, StockChange},
    ownstore::{cafe24::Cafe24, shop::Shop},
    webhooks::Webhook,
};

/// What the own store gave the seller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Of the seller's app on Cafe24.
    pub cafe24: Cafe24Credentials,
    /// What the shop with its own backend signs with: `whsec_` and base64.
    pub shop_secret: String,
}

/// An app on Cafe24, and the mall it is for.
#[derive(Clone, Debug)]
pub struct Cafe24Credentials {
    /// The first part of the mall's address.
    pub mall_id: String,
    /// The app's id.
    pub client_id: String,
    /// The app's secret.
    pub client_secret: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            cafe24: Cafe24Credentials {
                mall_id: "demomall".to_owned(),
                client_id: "demoClient".to_owned(),
                client_secret: "demoSecret".to_owned(),
            },
            shop_secret: "whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=".to_owned(),
        }
    }
}

impl Credentials {
    /// Reads `MARKETPLACES_CAFE24_MALL_ID`, `MARKETPLACES_CAFE24_CLIENT_ID`, `MARKETPLACES_CAFE24_CLIENT_SECRET` and
    /// `MARKETPLACES_SHOP_SECRET`.
    pub(crate) fn from_env() -> io::Result<Self> {
        let otherwise = Self::default();
        let cafe24 = otherwise.cafe24;
        Ok(Self {
            cafe24: Cafe24Credentials {
                mall_id: text("MARKETPLACES_CAFE24_MALL_ID")?.unwrap_or(cafe24.mall_id),
                client_id: text("MARKETPLACES_CAFE24_CLIENT_ID")?.unwrap_or(cafe24.client_id),
                client_secret: text("MARKETPLACES_CAFE24_CLIENT_SECRET")?
                    .unwrap_or(cafe24.client_secret),
            },
            shop_secret: text("MARKETPLACES_SHOP_SECRET")?.unwrap_or(otherwise.shop_secret),
        })
    }
}

/// Which of the two a call or an order is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Cafe24,
    Shop,
}

impl Kind {
    fn of(call: &Call) -> Self {
        if call.path.starts_with("/onepool/") {
            Self::Shop
        } else {
            Self::Cafe24
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Changes {
    #[serde(default)]
    cafe24: cafe24::Changes,
    #[serde(default)]
    shop: shop::Changes,
}

/// All that it holds.
#[derive(Debug)]
pub(crate) struct OwnStore {
    cafe24: Cafe24,
    shop: Shop,
}

impl OwnStore {
    fn of_order(&self, id: &str) -> Result<Kind, Refusal> {
        if self.cafe24.has_order(id) {
            Ok(Kind::Cafe24)
        } else if self.shop.has_order(id) {
            Ok(Kind::Shop)
        } else {
            Err(Refusal::not_found("order", id))
        }
    }

    /// One basket is of one shop.
    fn of_basket(&self, order: &NewOrder) -> Result<Kind, Refusal> {
        let mut of = None;
        for line in &order.lines {
            let (product, option) = (line.product_id.as_deref(), line.option_id.as_deref());
            let kind = if self.shop.sells(product) {
                Kind::Shop
            } else if self.cafe24.sells(product, option) {
                Kind::Cafe24
            } else {
                let id = product.or(option).unwrap_or_default();
                return Err(Refusal::not_found("product", id));
            };
            if of.is_some_and(|of| of != kind) {
                return Err(Refusal::invalid("The lines are of two shops."));
            }
            of = Some(kind);
        }
        of.ok_or_else(|| Refusal::invalid("An order has lines."))
    }
}

impl Market for OwnStore {
    type Credentials = Credentials;
    const NAME: &'static str = "ownstore";
    const OPERATIONS: &'static [&'static str] = &[
        "authorize",
        "token",
        "revoke",
        "orders",
        "order_count",
        "order",
        "process_status",
        "cancellation",
        "products",
        "product",
        "set_product",
        "variants",
        "inventory",
        "set_inventory",
        "shop_orders",
        "shop_confirm",
        "shop_cancel",
        "shop_item",
        "shop_set_stock",
        "shop_set_price",
    ];

    fn new(credentials: &Credentials) -> Self {
        Self {
            cafe24: Cafe24::new(&credentials.cafe24),
            shop: Shop::new(&credentials.shop_secret),
        }
    }

    fn subject(&self, call: &Call) -> Subject {
        match Kind::of(call) {
            Kind::Cafe24 => self.cafe24.subject(call),
            Kind::Shop => self.shop.subject(call),
        }
    }

    fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer> {
        match Kind::of(call) {
            Kind::Cafe24 => self.cafe24.admit(call, now),
            Kind::Shop => self.shop.admit(call, now),
        }
    }

    fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        match Kind::of(call) {
            Kind::Cafe24 => self.cafe24.perform(call, now),
            Kind::Shop => self.shop.perform(call, now),
        }
    }

    fn failure(&mut self, status: StatusCode, _now: OffsetDateTime) -> Answer {
        Cafe24::failure(status)
    }

    fn failure_of(&mut self, call: &Call, status: StatusCode, _now: OffsetDateTime) -> Answer {
        match Kind::of(call) {
            Kind::Cafe24 => Cafe24::failure(status),
            Kind::Shop => Shop::failure(status),
        }
    }

    fn dress(&mut self, call: &Call, answer: Answer, now: OffsetDateTime) -> Answer {
        match Kind::of(call) {
            Kind::Cafe24 => self.cafe24.dress(call, answer, now),
            Kind::Shop => answer,
        }
    }

    fn take_stock_changes(&mut self) -> Vec<StockChange> {
        let mut changes = self.cafe24.take_stock_changes();
        changes.extend(self.shop.take_stock_changes());
        changes
    }

    fn take_webhooks(&mut self) -> Vec<Webhook> {
        self.shop.take_hints()
    }

    /// On Cafe24; the other shop has `POST /sandbox/actions/shop-item`.
    fn list_item(&mut self, item: NewItem, _now: OffsetDateTime) -> Result<Value, Refusal> {
        self.cafe24.list_item(item)
    }

    fn items(&self) -> Vec<Value> {
        let mut items = self.cafe24.items();
        items.extend(self.shop.items());
        items
    }

    fn place_order(&mut self, order: &NewOrder, now: OffsetDateTime) -> Result<Value, Refusal> {
        match self.of_basket(order)? {
            Kind::Cafe24 => self.cafe24.place_order(order, now),
            Kind::Shop => self.shop.place_order(order, now),
        }
    }

    fn orders(&self) -> Vec<Value> {
        let mut orders = self.cafe24.orders();
        orders.extend(self.shop.orders());
        orders
    }

    fn cancel_order(
        &mut self,
        order: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        match self.of_order(order)? {
            Kind::Cafe24 => self.cafe24.cancel_order(order, cancel, now),
            Kind::Shop => self.shop.cancel_order(order, cancel, now),
        }
    }

    fn move_order(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        match self.of_order(order)? {
            Kind::Cafe24 => self.cafe24.move_order(order, to, now),
            Kind::Shop => self.shop.move_order(order, to, now),
        }
    }

    fn switches(&self) -> Value {
        json!({ "cafe24": self.cafe24.switches(), "shop": self.shop.switches() })
    }

    fn change_switches(&mut self, body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        let changes: Changes = read(body)?;
        self.shop.change(&changes.shop)?;
        self.cafe24.change(&changes.cafe24);
        Ok(self.switches())
    }

    fn act(&mut self, action: &str, body: &[u8], now: OffsetDateTime) -> Result<Value, Refusal> {
        self.cafe24
            .act(action, body, now)
            .or_else(|| self.shop.act(action, body))
            .unwrap_or_else(|| Err(Refusal::not_found("action", action)))
    }
}
