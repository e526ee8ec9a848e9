//! 11st, Seller Open API (openapi.11st.co.kr).
//!
//! Here is what each verb of [`Marketplace`] asks and what it makes of the answers; `wire` decodes and parses, `pull` walks the
//! lists of a window, `call` makes the calls, `lookup` finds out where a line is, `handle` names it.
//!
//! - One header, `openapikey`, and callers' addresses are registered. A key is good for 180 days; the API does not say how many
//!   are left, so `check` reckons from the day it was issued, if it is told.
//! - Nearly all writes are GET: nothing here repeats a call, and a lost answer to one is [`Failure::Unknown`].
//! - Writes are absolute, without compare-and-set.
//!
//! Credentials: `api_key`, and optionally `issued_at` (a date, or RFC 3339).

mod call;
mod handle;
mod lookup;
mod pull;
mod wire;

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use reqwest::Method;
use tokio::time::Instant;

use self::{
    call::Calls,
    handle::Line,
    lookup::Place,
    wire::{Outcome, Stock},
};
use super::{
    CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits, Marketplace, Page,
    Price, SetupError, Shown, StockWrite, Window, call::Setup, korea, quota::Urgency,
};
use crate::clock::{self, Timestamp};

/// How long a key is good.
const KEY_LIFETIME: Duration = Duration::from_secs(180 * 24 * 3_600);
/// Eight days are refused, and a list is asked for in whole minutes, rounded outwards.
const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 24 * 3_600 - 300);
const OVERLAP: Duration = Duration::from_secs(1_800);
/// Lines are confirmed one by one: so many calls fit into one turn.
const CONFIRM_BATCH: usize = 20;
/// And not longer than this, if it is slow: what is done is to be written down before the caller's time is over.
const CONFIRM_TIME: Duration = Duration::from_secs(20);
/// Not published for the API; the seller office takes prices in steps of ten won.
const PRICE_STEP: u64 = 10;
/// Not published; far more than anyone has.
const MOST_UNITS: u64 = 99_999;

/// The marketplace.
pub(super) struct ElevenSt {
    calls: Calls,
    issued_at: Option<Timestamp>,
}

/// Opens it.
pub(super) fn open(setup: Setup) -> Result<Box<dyn Marketplace>, SetupError> {
    let issued_at = setup
        .optional("issued_at")
        .map(|text| {
            korea::parse(text.reveal())
                .ok_or_else(|| setup.wrong("issued_at", "not a date such as 2026-11-20"))
        })
        .transpose()?;
    Ok(Box::new(ElevenSt {
        calls: Calls::new(&setup)?,
        issued_at,
    }))
}

impl ElevenSt {
    async fn confirm_all(&self, lines: &[Handle]) -> Result<Vec<Confirmation>, Failure> {
        let deadline = Instant::now() + CONFIRM_TIME;
        let mut answers = Vec::with_capacity(lines.len());
        for line in lines {
            if Instant::now() >= deadline {
                let later = "no time was left for it".to_owned();
                answers.resize(lines.len(), Confirmation::Later(later));
                break;
            }
            match self.confirm_one(line).await {
                Ok(answer) => answers.push(answer),
                // Nothing is lost by asking again for all; and who asks learns why.
                Err(failure) if answers.is_empty() => return Err(failure),
                Err(failure) => {
                    answers.resize(lines.len(), Confirmation::Later(failure.to_string()));
                    break;
                }
            }
        }
        Ok(answers)
    }

    async fn confirm_one(&self, handle: &Handle) -> Result<Confirmation, Failure> {
        let line = Line::parse(handle)?;
        let path = line.confirm_path();
        let code = match self.calls.order_write(&path, Urgency::Order).await? {
            Outcome::Done => return Ok(Confirmation::Done),
            Outcome::Refused(code) => code,
        };
        // A repeat is refused like anything else, so what the refusal means is where the line is.
        Ok(match lookup::place(&self.calls, &line).await? {
            Place::Confirmed => Confirmation::Done,
            Place::CancelRequested | Place::Cancelled => Confirmation::Cancelled,
            Place::Paid => Confirmation::Later(code),
            Place::Nowhere => Confirmation::Refused(code),
        })
    }

    async fn stock(&self, item: &ItemId, urgency: Urgency) -> Result<Stock, Failure> {
        let path = format!(
            "/rest/prodmarketservice/prodmarket/stck/{}",
            call::segment(&item.product)
        );
        let stocks = self.calls.stocks(&path, urgency).await?;
        find_stock(stocks, item)
    }

    /// What a stock number costs, its surcharge included; `None` if its product does not tell: its units are shown all the same.
    async fn price(
        &self,
        item: &ItemId,
        surcharge: i64,
        urgency: Urgency,
    ) -> Result<Option<Price>, Failure> {
        let path = format!(
            "/rest/prodmarketservice/prodmarket/{}",
            call::segment(&item.product)
        );
        match self.calls.tag(&path, urgency).await {
            Ok(tag) => Ok(Some(Price {
                sale: tag.price.saturating_add_signed(surcharge),
                effective: tag.discounted.saturating_add_signed(surcharge),
            })),
            Err(Failure::Refused(cause)) => {
                tracing::warn!(product = item.product, cause, "a price is not told");
                Ok(None)
            }
            Err(
                failure @ (Failure::Later { .. }
                | Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unreadable { .. }
                | Failure::Unknown(_)
                | Failure::Credentials(_)),
            ) => Err(failure),
        }
    }

    async fn write_stock(&self, write: &StockWrite) -> Result<(), Failure> {
        if write.units > MOST_UNITS {
            return Err(Failure::Refused(format!(
                "more than {MOST_UNITS} units cannot be shown"
            )));
        }
        let stock = self.stock(&write.item, write.urgency).await?;
        if stock.units == write.units {
            return Ok(());
        }
        let path = format!(
            "/rest/prodservices/stockqty/{}",
            call::segment(&stock.stock_no)
        );
        let body = stock.write_body(&write.item.product, write.units)?;
        let outcome = self
            .calls
            .product_write(Method::PUT, &path, Some(body), write.urgency)
            .await?;
        outcome.or_refused()
    }

    /// A GET that writes. Where the seller-discounted price goes up, coupons and fees that were agreed with 11st end with it; that
    /// is how the API is documented, and nothing here can avoid it.
    async fn write_price(&self, item: &ItemId, won: u64) -> Result<(), Failure> {
        // The price is the product's; a stock number adds its surcharge to it.
        let surcharge = match item.option {
            Some(_) => self.stock(item, Urgency::Up).await?.surcharge,
            None => 0,
        };
        let price = i64::try_from(won)
            .ok()
            .and_then(|won| won.checked_sub(surcharge))
            .filter(|price| *price > 0)
            .ok_or_else(|| {
                Failure::Refused(format!(
                    "{won} won with a surcharge of {surcharge} is no price"
                ))
            })?;
        let path = format!(
            "/rest/prodservices/product/price/{}/{price}",
            call::segment(&item.product)
        );
        let outcome = self
            .calls
            .product_write(Method::GET, &path, None, Urgency::Up)
            .await?;
        outcome.or_refused()
    }

    async fn cancel_line(&self, write: &CancelWrite) -> Result<(), Failure> {
        let line = Line::parse(&write.handle)?;
        if line.left.is_some_and(|left| write.units < left) {
            return Err(Failure::Refused(
                "11st cancels all that is left of a line, not a part of it".to_owned(),
            ));
        }
        let path = line.cancel_path(write.reason);
        let code = match self.calls.order_write(&path, Urgency::Order).await? {
            Outcome::Done => return Ok(()),
            Outcome::Refused(code) => code,
        };
        match lookup::place(&self.calls, &line).await? {
            Place::Cancelled => Ok(()),
            Place::Paid | Place::Confirmed | Place::CancelRequested | Place::Nowhere => {
                Err(Failure::Refused(code))
            }
        }
    }

    async fn approve(&self, handle: &Handle) -> Result<(), Failure> {
        let mut line = Line::parse(handle)?;
        if line.claim.is_none() {
            match lookup::claim(&self.calls, &line).await? {
                Some(claim) if claim.is_done => return Ok(()),
                Some(claim) => line.claim = Some(claim.number),
                None => {
                    return Err(Failure::Refused(
                        "its buyer has not asked to cancel it".to_owned(),
                    ));
                }
            }
        }
        let path = line.approve_path();
        let code = match self.calls.order_write(&path, Urgency::Order).await? {
            Outcome::Done => return Ok(()),
            Outcome::Refused(code) => code,
        };
        match lookup::claim(&self.calls, &line).await? {
            Some(claim) if claim.is_done => Ok(()),
            Some(_) | None => Err(Failure::Refused(code)),
        }
    }

    async fn check_key(&self) -> Result<Credentials, Failure> {
        let now = clock::now();
        let minute = Window {
            from: now.before(Duration::from_secs(60)),
            to: now,
        };
        let path = pull::List::Paid.path(minute);
        self.calls.orders(&path, Urgency::Sweep).await?;
        Ok(Credentials {
            expires_at: self.issued_at.map(|issued_at| issued_at + KEY_LIFETIME),
            renewed_by_use: false,
        })
    }
}

fn find_stock(stocks: Vec<Stock>, item: &ItemId) -> Result<Stock, Failure> {
    let mut fitting = stocks.into_iter().filter(|stock| {
        item.option
            .as_ref()
            .is_none_or(|option| *option == stock.stock_no)
    });
    match (fitting.next(), fitting.next()) {
        (Some(stock), None) => Ok(stock),
        (None, _) => Err(Failure::Refused(
            "the product has no such stock number".to_owned(),
        )),
        (Some(_), Some(_)) => Err(Failure::Refused(
            "the product has several stock numbers: name one".to_owned(),
        )),
    }
}

impl Marketplace for ElevenSt {
    fn limits(&self) -> Limits {
        Limits {
            longest_window: LONGEST_WINDOW,
            overlap: OVERLAP,
            confirm_batch: CONFIRM_BATCH,
            price_step: PRICE_STEP,
            most_units: MOST_UNITS,
        }
    }

    fn pull<'a>(
        &'a self,
        window: Window,
        page: Option<&'a str>,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        pull::page(&self.calls, window, page, urgency).boxed()
    }

    fn confirm<'a>(
        &'a self,
        lines: &'a [Handle],
    ) -> BoxFuture<'a, Result<Vec<Confirmation>, Failure>> {
        self.confirm_all(lines).boxed()
    }

    /// Whether the product's display is stopped (sale state 105) is not part of the answer. The price takes a call of its own, for
    /// which a number that goes down does not wait.
    fn read_item<'a>(
        &'a self,
        item: &'a ItemId,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Shown, Failure>> {
        async move {
            let stock = self.stock(item, urgency).await?;
            let price = match urgency {
                Urgency::Down | Urgency::Order => None,
                Urgency::Up | Urgency::Sweep => self.price(item, stock.surcharge, urgency).await?,
            };
            Ok(Shown {
                units: stock.units,
                on_sale: stock.is_in_use,
                price,
            })
        }
        .boxed()
    }

    fn set_stock<'a>(&'a self, write: &'a StockWrite) -> BoxFuture<'a, Result<(), Failure>> {
        self.write_stock(write).boxed()
    }

    fn set_price<'a>(&'a self, item: &'a ItemId, won: u64) -> BoxFuture<'a, Result<(), Failure>> {
        self.write_price(item, won).boxed()
    }

    fn cancel<'a>(&'a self, write: &'a CancelWrite) -> BoxFuture<'a, Result<(), Failure>> {
        self.cancel_line(write).boxed()
    }

    fn approve_cancel<'a>(&'a self, line: &'a Handle) -> BoxFuture<'a, Result<(), Failure>> {
        self.approve(line).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Credentials, Failure>> {
        self.check_key().boxed()
    }
}
