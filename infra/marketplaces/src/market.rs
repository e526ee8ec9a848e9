//! What a marketplace has to bring: its answers, and what its buyers can do. Everything around that is common: clock,
//! faults, record, control API.

use std::fmt::Debug;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    answer::{Answer, Refusal},
    call::{Call, Subject},
    webhooks::Webhook,
};

/// The most of one kind that a marketplace holds; placing more is refused until a reset.
pub(crate) const MAX_HELD: usize = 200_000;

/// One marketplace and all it holds. The frame calls it with the world locked, so every call is one step.
pub(crate) trait Market: Debug + Send + Sized + 'static {
    /// What it gave the seller; see [`crate::Settings`].
    type Credentials: Clone + Debug + Send + Sync + 'static;

    /// Its name on stdout.
    const NAME: &'static str;

    /// The calls that fault rules can name in `on`.
    const OPERATIONS: &'static [&'static str];

    /// Empty, with its switches as the real one has them. A reset makes a new one.
    fn new(credentials: &Self::Credentials) -> Self;

    /// Which operation the request is, and what it is about.
    fn subject(&self, call: &Call) -> Subject;

    /// What stands in front of the work: who is calling, how often, from where. What is refused here meets no fault.
    fn admit(&mut self, call: &Call, now: OffsetDateTime) -> Result<(), Answer>;

    /// Does the work, and answers as if nothing went wrong around it.
    fn perform(&mut self, call: &Call, now: OffsetDateTime) -> Answer;

    /// What a fault answers in the marketplace's words.
    fn failure(&mut self, status: StatusCode, now: OffsetDateTime) -> Answer;

    /// The same where the words depend on the call: behind one address may be more than one API.
    fn failure_of(&mut self, _call: &Call, status: StatusCode, now: OffsetDateTime) -> Answer {
        self.failure(status, now)
    }

    /// Sees every answer before it goes out, those of faults too: to add headers, or to count errors.
    fn dress(&mut self, _call: &Call, answer: Answer, _now: OffsetDateTime) -> Answer {
        answer
    }

    /// What changed in the stock since the last time this was asked, for the record.
    fn take_stock_changes(&mut self) -> Vec<StockChange> {
        Vec::new()
    }

    /// What is to be told to the seller's own address; a marketplace that is only polled has none.
    fn take_webhooks(&mut self) -> Vec<Webhook> {
        Vec::new()
    }

    /// Puts a product on sale. Answers as [`Market::items`] shows it.
    fn list_item(&mut self, item: NewItem, now: OffsetDateTime) -> Result<Value, Refusal>;

    /// All products with their options, prices and stock.
    fn items(&self) -> Vec<Value>;

    /// A buyer orders. The marketplace's own stock goes down, as far as it is the real one's habit. Answers
    /// `{orderId, lines: [{lineId, productId, optionId, quantity}]}`.
    fn place_order(&mut self, order: &NewOrder, now: OffsetDateTime) -> Result<Value, Refusal>;

    /// All orders, oldest first.
    fn orders(&self) -> Vec<Value>;

    /// A buyer cancels an order, one line of it, or some units.
    fn cancel_order(
        &mut self,
        order: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal>;

    /// Somebody moves an order by hand, at the marketplace's own site or in its warehouse.
    fn move_order(&mut self, order: &str, to: &Move, now: OffsetDateTime)
    -> Result<Value, Refusal>;

    /// The switches of the marketplace.
    fn switches(&self) -> Value;

    /// Changes the switches that the body names, and no other.
    fn change_switches(&mut self, body: &[u8], now: OffsetDateTime) -> Result<Value, Refusal>;

    /// What only this marketplace has, at `POST /sandbox/actions/{action}`.
    fn act(&mut self, action: &str, _body: &[u8], _now: OffsetDateTime) -> Result<Value, Refusal> {
        Err(Refusal::not_found("action", action))
    }
}

/// The body of `POST /sandbox/items`. Ids that are not given are made up.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewItem {
    pub(crate) product_id: Option<String>,
    /// For a marketplace on which even a product without options has one.
    pub(crate) option_id: Option<String>,
    pub(crate) name: String,
    /// In won.
    pub(crate) price: u64,
    /// Not for a product with options.
    pub(crate) stock: Option<u64>,
    /// The seller's own code of the product.
    pub(crate) seller_code: Option<String>,
    /// None or empty: a product without options.
    #[serde(default)]
    pub(crate) options: Vec<NewOption>,
}

/// One option of a new product.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewOption {
    pub(crate) option_id: Option<String>,
    pub(crate) name: String,
    /// In won, on top of the product's price.
    #[serde(default)]
    pub(crate) extra_price: i64,
    pub(crate) stock: u64,
    pub(crate) seller_code: Option<String>,
}

/// The body of `POST /sandbox/orders`, but for `count`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewOrder {
    pub(crate) lines: Vec<NewLine>,
    /// The buyer's name; one is made up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) buyer: Option<String>,
    /// False: ordered, and not paid yet.
    #[serde(default = "yes")]
    pub(crate) paid: bool,
}

/// How many of what.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewLine {
    /// Can be left out where the option's id says it all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) product_id: Option<String>,
    /// None for a product without options.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) option_id: Option<String>,
    pub(crate) quantity: u64,
}

fn yes() -> bool {
    true
}

/// The body of `POST /sandbox/orders/{order}/cancel`.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub(crate) struct Cancel {
    /// None: every line.
    pub(crate) line_id: Option<String>,
    /// None: all units that are left.
    pub(crate) quantity: Option<u64>,
    pub(crate) reason: Option<String>,
}

/// The body of `POST /sandbox/orders/{order}/state`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Move {
    /// In the marketplace's own words.
    pub(crate) state: String,
    /// None: every line.
    pub(crate) line_id: Option<String>,
}

/// What a request did to one number in stock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StockChange {
    /// The product, or its option if it has options.
    pub(crate) item: String,
    pub(crate) from: u64,
    pub(crate) to: u64,
}

/// Units as a change of stock. Orders are far smaller than where this would matter.
pub(crate) fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
