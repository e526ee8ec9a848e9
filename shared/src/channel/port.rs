//! The port: what every marketplace can be asked, and what it may answer.

use std::{fmt, time::Duration};

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::quota::Urgency;
use crate::clock::Timestamp;

/// What a marketplace calls a sellable unit of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ItemId {
    /// The product: Naver's origin product number, Coupang's vendorItemId, 11st's prdNo, Cafe24's product_no, a shop's item id.
    pub product: String,
    /// The option, where stock is kept by option: Naver's option id, 11st's prdStckNo, Cafe24's variant_code.
    pub option: Option<String>,
}

/// What an adapter needs to name an order line again, in its own spelling. Nobody else reads it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Handle(pub String);

/// How far a line is at the marketplace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineState {
    /// Paid, and the marketplace waits for our confirmation.
    Paid,
    /// We have confirmed it (or a person did), or it has gone further: shipped, delivered.
    Confirmed,
    /// Its buyer has asked to cancel it, or part of it, and nobody has agreed yet.
    CancelRequested,
    /// All of it is cancelled or returned.
    Cancelled,
}

/// One line of an order, as it stands at the marketplace now. Unpaid orders are not pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderLine {
    /// The marketplace's key of the line, the same for ever and different from every other line's: lines are imported once by it.
    pub key: String,
    /// The order it belongs to.
    pub order_no: String,
    /// How to name it again.
    pub handle: Handle,
    /// What was bought.
    pub item: ItemId,
    /// Units that were bought.
    pub ordered: u32,
    /// Units of these whose cancellation (before they were shipped) is done: they go back. Units that come back after they were
    /// shipped are not counted: a person has to look at them first. A list may tell less than was told before; the most counts.
    /// Some answers know less than earlier ones (a box that has left does not tell what was cancelled before): of all that were
    /// seen of a line, the largest number counts.
    pub cancelled: u32,
    /// How far it is.
    pub state: LineState,
    /// What its buyer paid for a unit, in won, before the marketplace's own discounts.
    pub unit_price: u64,
    /// When it was paid.
    pub paid_at: Option<Timestamp>,
    /// The payload it was read from, as text. It has personal data: it is stored, never logged.
    pub raw: String,
}

/// What was found in a page of orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pulled {
    /// A line.
    Line(OrderLine),
    /// Something that cannot be read as one (fields missing, quantities absurd): quarantined with its payload, for a person.
    Unreadable {
        /// The line's key, if that much could be read.
        key: Option<String>,
        /// What is wrong with it, without a word of the payload.
        reason: String,
        /// The payload.
        raw: String,
    },
}

/// A part of what happened in a window.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// What is in it.
    pub lines: Vec<Pulled>,
    /// Asks for the next part, in the adapter's own spelling; `None` after the last.
    pub next: Option<String>,
}

/// A span of time; `from` and `to` both belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Its first moment.
    pub from: Timestamp,
    /// Its last.
    pub to: Timestamp,
}

/// What became of the confirmation of one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Confirmation {
    /// It is confirmed, now or since earlier.
    Done,
    /// It cannot be confirmed any more: it is cancelled, or being cancelled.
    Cancelled,
    /// Not now, with why: to be asked again.
    Later(String),
    /// Never, with why: a person must look.
    Refused(String),
}

/// What an item shows at the marketplace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Units a buyer sees.
    pub units: u64,
    /// Whether it can be bought at all, stock apart: not stopped, not deleted.
    pub on_sale: bool,
    /// Its price; `None` if the marketplace does not tell it, or only for one more call and a number that goes down has no time for it.
    pub price: Option<Price>,
}

/// What an item costs at the marketplace, in won, option surcharge included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Price {
    /// The price that was set.
    pub sale: u64,
    /// After all discounts that the seller pays for. The marketplace's own are not in it.
    pub effective: u64,
}

impl Price {
    /// What the discounts take that the seller pays for.
    #[must_use]
    pub const fn discount(self) -> u64 {
        self.sale.saturating_sub(self.effective)
    }
}

/// Stock to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockWrite {
    /// Of what.
    pub item: ItemId,
    /// How many units, absolute.
    pub units: u64,
    /// Which change this is: where the marketplace keeps it, an older one never replaces a newer one.
    pub version: u64,
    /// Who goes first when calls are scarce.
    pub urgency: Urgency,
}

/// Why we cancel a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// It was sold more often than there are units.
    SoldOut,
}

/// A line, or part of one, to be cancelled by us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CancelWrite {
    /// Which line.
    pub handle: Handle,
    /// How many units of it are to be cancelled in the end, those included that are cancelled already, or about to be: asked twice
    /// it is done once.
    pub units: u32,
    /// Why.
    pub reason: CancelReason,
}

/// What is known of our credentials at a marketplace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// When they expire; `None` if they do not, or the marketplace does not say.
    pub expires_at: Option<Timestamp>,
    /// Whether every use renews them: then they are good as long as somebody calls, and only an end that is near is news.
    pub renewed_by_use: bool,
}

/// What a marketplace bears; from its documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest span one pull may ask for.
    pub longest_window: Duration,
    /// How far back each pull looks again: events that show up late are not missed, and lines seen before are known by their key.
    pub overlap: Duration,
    /// Lines one confirmation may name.
    pub confirm_batch: usize,
    /// Prices are multiples of this, in won.
    pub price_step: u64,
    /// The most units it can show.
    pub most_units: u64,
}

/// What a marketplace answered, as text. It may have personal data: it is stored, never logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(pub String);

impl fmt::Debug for Payload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Payload({} bytes)", self.0.len())
    }
}

/// Why a marketplace did not do what was asked. What is known of the outcome decides what is done: see each variant.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Failure {
    /// It refused for good, and did nothing: never asked again as it is; a person must look. With its code or message.
    #[error("refused: {0}")]
    Refused(String),
    /// It did nothing for sure, and will later; not before `after`, if that is known.
    #[error("not now: {reason}")]
    Later {
        /// Why: "blocked", "maintenance", "unreachable".
        reason: String,
        /// How long to leave it alone.
        after: Option<Duration>,
    },
    /// It did nothing for sure: there were too many calls, and it says when to ask again. That happens to whoever goes as fast as it
    /// allows; only one that says so again and again is left alone. A block that its documents speak of is [`Failure::Later`].
    #[error("rate limited: {reason}")]
    Limited {
        /// What it said.
        reason: String,
        /// When to ask again.
        after: Duration,
    },
    /// It was not asked: our own calls are used up for now, or another of our runners has to finish first. It says nothing of the
    /// marketplace, so nobody else is kept waiting for it.
    #[error("not our turn: {reason}")]
    Turn {
        /// What is waited for.
        reason: String,
        /// When to ask again.
        after: Duration,
    },
    /// It was only asked, and answered with something that its documents do not know: a page of somebody before it, or another version of
    /// itself. It may be over the next time; if not, a person must see what it was.
    #[error("unreadable: {reason}")]
    Unreadable {
        /// What is wrong with it, without a word of the payload.
        reason: String,
        /// What it answered.
        payload: Payload,
    },
    /// It may have done it: the answer was lost, or says nothing. Read back before anything else.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// It does not accept our credentials, or our address: nothing works before a person has put that right.
    #[error("credentials: {0}")]
    Credentials(String),
}

/// A marketplace.
///
/// Each call is asked of the channel's quota first, and tells it what the answer's headers say: see [`super::call`]. No call is
/// retried within: who asks decides, by the [`Failure`]. The one exception is a token that has run out, which is fetched and the
/// call made again, once.
pub trait Marketplace: Send + Sync {
    /// What it bears.
    fn limits(&self) -> Limits;

    /// Order lines that were paid, confirmed or cancelled in the window, a page at a time: `page` is `None` first, then what the page before
    /// said. A line may be in several pages and windows, each time as it stands now; every line that changed in the window is in one.
    /// Never more lines in memory than one page of the marketplace.
    ///
    /// # Errors
    /// Any [`Failure`]; reading changes nothing, so asking again is safe.
    fn pull<'a>(
        &'a self,
        window: Window,
        page: Option<&'a str>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Page, Failure>>;

    /// What [`Marketplace::pull`] may have missed: order lines that were paid, or cancelled, in the window, by another list if the
    /// marketplace has one. A window that is long past is asked for again this way, seldom and when calls are to spare.
    ///
    /// # Errors
    /// As [`Marketplace::pull`].
    fn sweep<'a>(
        &'a self,
        window: Window,
        page: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.pull(window, page, Urgency::Sweep)
    }

    /// Confirms lines (at most [`Limits::confirm_batch`]): one answer a line, in their order. An answer that only says that a line is not in
    /// a state to be confirmed is looked up before it is given.
    ///
    /// # Errors
    /// Any [`Failure`]; asking again is safe.
    fn confirm<'a>(
        &'a self,
        lines: &'a [Handle],
    ) -> BoxFuture<'a, Result<Vec<Confirmation>, Failure>>;

    /// What an item shows.
    ///
    /// # Errors
    /// Any [`Failure`]; [`Failure::Refused`] if there is no such item.
    fn read_item<'a>(
        &'a self,
        item: &'a ItemId,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Shown, Failure>>;

    /// Shows so many units, and leaves everything else of the item as it is.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn set_stock<'a>(&'a self, write: &'a StockWrite) -> BoxFuture<'a, Result<(), Failure>>;

    /// Asks so much for the item, in won, a multiple of [`Limits::price_step`].
    ///
    /// # Errors
    /// Any [`Failure`].
    fn set_price<'a>(&'a self, item: &'a ItemId, won: u64) -> BoxFuture<'a, Result<(), Failure>>;

    /// Cancels a line, or part of it, from our side. Success as well if that much of it is cancelled already.
    ///
    /// # Errors
    /// Any [`Failure`].
    fn cancel<'a>(&'a self, write: &'a CancelWrite) -> BoxFuture<'a, Result<(), Failure>>;

    /// Agrees to what the line's buyer has asked to cancel ([`LineState::CancelRequested`]).
    ///
    /// # Errors
    /// Any [`Failure`].
    fn approve_cancel<'a>(&'a self, line: &'a Handle) -> BoxFuture<'a, Result<(), Failure>>;

    /// Makes the cheapest call that needs our credentials.
    ///
    /// # Errors
    /// [`Failure::Credentials`] if they are not accepted; any other [`Failure`].
    fn check(&self) -> BoxFuture<'_, Result<Credentials, Failure>>;
}
