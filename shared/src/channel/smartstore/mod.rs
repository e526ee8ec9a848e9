//! SmartStore: the Naver Commerce API (apicenter.commerce.naver.com), API version 2.73.
//!
//! Credentials: `client_id`, `client_secret`; `account_id` if the application serves the stores of others, and then `type` may
//! say `SELLER` (without an account it is `SELF`). A base address that does not end in `/partner`, as that of a registered agency
//! does, is completed with `/external`.
//!
//! Here is what each verb asks and what it makes of the answers; `wire` makes the calls and knows what refusals mean, `token`
//! and `sign` get the token, `order` and `product` read what comes back.
//!
//! The feed has one row a line, with the newest thing that happened to it: it is read without a filter, and the detail call
//! says how the line stands. A confirmation does not show up in the feed. What the feed may have left out is found by the
//! conditional list, which goes by when something happened: lines that were paid, and those whose cancellation was asked for or is done.

mod order;
mod product;
mod sign;
mod token;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    order::{Cancelling, Feed, Line, Listed},
    product::{Change, Product, price_write, stock_write},
    sign::Signer,
    token::{Account, Tokens},
    wire::{
        APPROVE, CANCEL, CHANGE_STATUS, CONFIRM, DETAILS, LAST_CHANGED, LIST, MULTI_UPDATE,
        OPTION_STOCK, PRODUCT,
    },
};
use super::{
    CancelReason, CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits,
    LineState, Marketplace, Page, SetupError, Shown, StockWrite, Window,
    call::{Caller, Effect, Setup, segment},
    korea,
    lenient::{brief, text},
    quota::Urgency,
};
use crate::clock;

/// The feed answers for a day at most.
const LONGEST_WINDOW: Duration = Duration::from_secs(24 * 60 * 60);
/// Rows show up a little after the moment they carry.
const OVERLAP: Duration = Duration::from_secs(10 * 60);
/// As many rows as one call for details takes, so a page is two calls.
const ROWS_OF_A_PAGE: usize = 300;
const LINES_OF_A_CONFIRMATION: usize = 30;
/// The times by which a sweep lists lines, one list after another.
const SWEPT_BY: [&str; 3] = [
    "PAYED_DATETIME",
    "CLAIM_REQUESTED_DATETIME",
    "CLAIM_COMPLETED_DATETIME",
];
/// The highest price is 999,999,990; steps of ten fit wherever the shop window asks for them.
const PRICE_STEP: u64 = 10;
const MOST_UNITS: u64 = 99_999_999;

/// Product orders that are not there, or not this seller's.
const NOT_OURS: [&str; 2] = ["100001", "101009"];
/// The codes that mean "not in that state": of the line, of its confirmation, or it is so already.
const OTHER_STATE: [&str; 3] = ["104442", "104443", "105306"];
/// "Other", without a word of what.
const OTHER: &str = "9999";

/// Opens the port.
///
/// # Errors
/// A credential is missing or malformed.
pub(super) fn open(mut setup: Setup) -> Result<Box<dyn Marketplace>, SetupError> {
    if !["/external", "/partner"]
        .iter()
        .any(|end| setup.base_url.ends_with(end))
    {
        setup.base_url.push_str("/external");
    }
    let client_id = setup.credential("client_id")?;
    let secret = setup.credential("client_secret")?;
    let signer = Signer::new(client_id.reveal().to_owned(), secret.reveal())
        .ok_or_else(|| setup.wrong("client_secret", "not a bcrypt salt"))?;
    let account_id = setup.optional("account_id");
    let kind = setup.optional("type");
    let account = match (
        kind.as_ref().map(|kind| kind.reveal()),
        account_id.as_ref().map(|id| id.reveal()),
    ) {
        (Some("SELF") | None, None) => Account::Own,
        (Some("SELLER") | None, Some(id)) => Account::Seller(id.to_owned()),
        // The gateway punishes this one.
        (Some("SELF"), Some(_)) => {
            return Err(setup.wrong("account_id", "only for type SELLER"));
        }
        (Some("SELLER"), None) => return Err(setup.wrong("account_id", "missing")),
        (Some(_), _) => return Err(setup.wrong("type", "neither SELF nor SELLER")),
    };
    Ok(Box::new(SmartStore {
        caller: Caller::new(&setup),
        tokens: Tokens::new(signer, account, setup.tokens),
    }))
}

struct SmartStore {
    caller: Caller,
    tokens: Tokens,
}

/// What became of the lines that a call named: it answers 200 even if it did nothing.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Outcome {
    success_product_order_infos: Vec<Done>,
    success_product_order_ids: Vec<String>,
    fail_product_order_infos: Vec<Failed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Done {
    product_order_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failed {
    product_order_id: String,
    #[serde(deserialize_with = "text")]
    code: String,
    #[serde(default)]
    message: String,
}

impl Outcome {
    fn done(&self) -> BTreeSet<&str> {
        self.success_product_order_infos
            .iter()
            .map(|done| done.product_order_id.as_str())
            .chain(self.success_product_order_ids.iter().map(String::as_str))
            .collect()
    }

    fn failed(&self, id: &str) -> Option<&Failed> {
        self.fail_product_order_infos
            .iter()
            .find(|failed| failed.product_order_id == id)
    }
}

impl Failed {
    fn reason(&self) -> String {
        brief(&format!("{} {}", self.code, self.message))
    }
}

impl SmartStore {
    async fn page(
        &self,
        window: Window,
        page: Option<&str>,
        urgency: Urgency,
    ) -> Result<Page, Failure> {
        let from = korea::millisecond(window.from);
        let (from, sequence) = match page {
            None => (from.as_str(), None),
            Some(page) => page
                .split_once(' ')
                .map(|(from, sequence)| (from, Some(sequence)))
                .ok_or_else(|| Failure::Refused("no page of this feed".to_owned()))?,
        };
        let mut path = format!(
            "/v1/pay-order/seller/product-orders/last-changed-statuses?lastChangedFrom={}&lastChangedTo={}&limitCount={ROWS_OF_A_PAGE}",
            segment(from),
            segment(&korea::millisecond(window.to)),
        );
        if let Some(sequence) = sequence {
            path.push_str(&format!("&moreSequence={}", segment(sequence)));
        }
        let answer = self.call(&LAST_CHANGED, &path, None, urgency).await?;
        let feed = match answer.get("data") {
            Some(data) if !data.is_null() => {
                Feed::deserialize(data).map_err(|_| cannot_be_read("the feed", &answer))?
            }
            Some(_) | None => Feed::default(),
        };
        let mut lines = Vec::with_capacity(feed.last_change_statuses.len());
        let mut rows = BTreeMap::new();
        for row in &feed.last_change_statuses {
            match order::id(row) {
                Some(id) => {
                    rows.insert(id, row);
                }
                None => lines.push(order::unreadable(row, "a row without productOrderId")),
            }
        }
        let ids: Vec<&str> = rows.keys().copied().collect();
        let mut known = BTreeSet::new();
        for detail in self.details(&ids, urgency).await? {
            known.extend(order::id(&detail).map(str::to_owned));
            lines.extend(order::pulled(&detail));
        }
        // The feed names lines that the seller has; one without details would be lost without a word.
        lines.extend(
            rows.iter()
                .filter(|(id, _)| !known.contains(**id))
                .map(|(_, row)| order::unreadable(row, "the details have no such line")),
        );
        let next = feed
            .more
            // Many rows share a moment, so `moreFrom` alone may stand still; both together never do.
            .filter(|more| {
                (more.more_from.as_str(), Some(more.more_sequence.as_str())) != (from, sequence)
            })
            .map(|more| format!("{} {}", more.more_from, more.more_sequence));
        Ok(Page { lines, next })
    }

    /// A page of the conditional list: which of them, and which page of it. Its rows are lines, and the details say how they stand.
    async fn swept(&self, window: Window, page: Option<&str>) -> Result<Page, Failure> {
        let unknown = || Failure::Refused("no page of these lists".to_owned());
        let (list, number) = match page {
            None => (0, 1),
            Some(page) => page
                .split_once('.')
                .and_then(|(list, number)| Some((list.parse().ok()?, number.parse().ok()?)))
                .ok_or_else(unknown)?,
        };
        let by: &str = SWEPT_BY.get(list).ok_or_else(unknown)?;
        let path = format!(
            "/v1/pay-order/seller/product-orders?from={}&to={}&rangeType={by}&pageSize={ROWS_OF_A_PAGE}&page={number}&quantityClaimCompatibility=true",
            segment(&korea::millisecond(window.from)),
            segment(&korea::millisecond(window.to)),
        );
        let answer = self.call(&LIST, &path, None, Urgency::Sweep).await?;
        let listed = match answer.get("data") {
            Some(data) if !data.is_null() => {
                Listed::deserialize(data).map_err(|_| cannot_be_read("the list", &answer))?
            }
            Some(_) | None => Listed::default(),
        };
        let ids: Vec<&str> = listed.contents.iter().filter_map(order::id).collect();
        let details = self.details(&ids, Urgency::Sweep).await?;
        let number: usize = number;
        let next = if listed.pagination.has_next {
            Some((list, number + 1))
        } else {
            (list + 1 < SWEPT_BY.len()).then_some((list + 1, 1))
        };
        Ok(Page {
            lines: details.iter().filter_map(order::pulled).collect(),
            next: next.map(|(list, number)| format!("{list}.{number}")),
        })
    }

    /// The details of lines. One id that the call does not take would keep all others from being read: the lot is halved until
    /// that one is alone.
    async fn details(&self, ids: &[&str], urgency: Urgency) -> Result<Vec<Value>, Failure> {
        let mut details = Vec::with_capacity(ids.len());
        let mut lots: Vec<&[&str]> = ids.chunks(ROWS_OF_A_PAGE).collect();
        while let Some(lot) = lots.pop() {
            let body = json!({ "productOrderIds": lot, "quantityClaimCompatibility": true });
            let path = "/v1/pay-order/seller/product-orders/query";
            match self.call(&DETAILS, path, Some(&body), urgency).await {
                Ok(answer) => match answer.get("data") {
                    Some(Value::Array(rows)) => details.extend(rows.iter().cloned()),
                    Some(_) | None => return Err(cannot_be_read("the details", &answer)),
                },
                Err(Failure::Refused(reason)) if speaks_of_an_id(&reason) => {
                    if lot.len() > 1 {
                        let (one, other) = lot.split_at(lot.len() / 2);
                        lots.extend([one, other]);
                    }
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(details)
    }

    /// One line as it stands. `None` if there is no such line, or it was never paid.
    async fn line(&self, handle: &Handle) -> Result<Option<Line>, Failure> {
        let details = self.details(&[handle.0.as_str()], Urgency::Order).await?;
        let detail = details
            .iter()
            .find(|detail| order::id(detail) == Some(handle.0.as_str()));
        detail.map_or(Ok(None), |detail| {
            order::line(detail).map_err(|reason| Failure::Refused(reason.to_owned()))
        })
    }

    async fn confirm_lines(&self, handles: &[Handle]) -> Result<Vec<Confirmation>, Failure> {
        let ids: Vec<&str> = handles.iter().map(|handle| handle.0.as_str()).collect();
        let body = json!({ "productOrderIds": ids });
        let path = "/v1/pay-order/seller/product-orders/confirm";
        let answer = self
            .call(&CONFIRM, path, Some(&body), Urgency::Order)
            .await?;
        let outcome = outcome(&answer)?;
        let done = outcome.done();
        let open: Vec<&str> = ids
            .iter()
            .copied()
            .filter(|id| !done.contains(id))
            .collect();
        // What was not done is looked up: "not in that state" may well be "it is so already".
        let looked_up = if open.is_empty() {
            Ok(Vec::new())
        } else {
            self.details(&open, Urgency::Order).await
        };
        Ok(ids
            .iter()
            .map(|id| match &looked_up {
                _ if done.contains(id) => Confirmation::Done,
                Ok(details) => confirmation(id, details, outcome.failed(id)),
                Err(failure) => Confirmation::Later(failure.to_string()),
            })
            .collect())
    }

    async fn product(&self, item: &ItemId, urgency: Urgency) -> Result<(u64, Product), Failure> {
        let number = item
            .product
            .parse::<u64>()
            .map_err(|_| Failure::Refused("an origin product number is a number".to_owned()))?;
        let path = format!("/v2/products/origin-products/{number}");
        let answer = self.call(&PRODUCT, &path, None, urgency).await?;
        let product =
            Product::read(&answer).ok_or_else(|| cannot_be_read("the product", &answer))?;
        Ok((number, product))
    }

    async fn write_stock(&self, write: &StockWrite) -> Result<(), Failure> {
        let units = write.units.min(MOST_UNITS);
        let (number, product) = self.product(&write.item, write.urgency).await?;
        match &write.item.option {
            Some(option) => {
                let body = product
                    .option_write(option, Change::Units(units))
                    .map_err(refused)?;
                let path = format!("/v1/products/origin-products/{number}/option-stock");
                let answer = self
                    .call(&OPTION_STOCK, &path, Some(&body), write.urgency)
                    .await?;
                // It answers with the product as it is now.
                let (out_of_stock, all_units) = match Product::read(&answer) {
                    Some(now) => (now.is_out_of_stock(), now.units_of_options()),
                    None => (
                        product.is_out_of_stock(),
                        product.units_of_options_with(option, units),
                    ),
                };
                if out_of_stock && units > 0 {
                    self.sell_again(number, all_units, write.urgency).await?;
                }
            }
            None if product.has_options() => {
                return Err(refused("the product's stock is kept by option"));
            }
            // Telling it to sell again takes the number of units with it.
            None if product.is_out_of_stock() && units > 0 => {
                self.sell_again(number, units, write.urgency).await?;
            }
            None => {
                let path = "/v1/products/origin-products/multi-update";
                let body = stock_write(number, units);
                self.call(&MULTI_UPDATE, path, Some(&body), write.urgency)
                    .await?;
            }
        }
        Ok(())
    }

    /// Puts a product on sale that the marketplace has put out of stock. One that a person has stopped is left alone.
    async fn sell_again(&self, number: u64, units: u64, urgency: Urgency) -> Result<(), Failure> {
        let path = format!("/v1/products/origin-products/{number}/change-status");
        let body = json!({ "statusType": "SALE", "stockQuantity": units });
        self.call(&CHANGE_STATUS, &path, Some(&body), urgency)
            .await
            .map(drop)
    }

    async fn write_price(&self, item: &ItemId, won: u64) -> Result<(), Failure> {
        if !won.is_multiple_of(PRICE_STEP) {
            return Err(refused("a price is a multiple of ten won"));
        }
        let (number, product) = self.product(item, Urgency::Up).await?;
        match &item.option {
            // The price of the product is that of all its options, so one option moves by its surcharge. The call takes the
            // stock of the option with it: it is what was read a moment ago, and the next write of stock puts it right.
            Some(option) => {
                let now = product.shown(item, clock::now()).map_err(refused)?;
                if now.price.is_some_and(|price| price.sale == won) {
                    return Ok(());
                }
                let body = product
                    .option_write(option, Change::Price(won))
                    .map_err(refused)?;
                let path = format!("/v1/products/origin-products/{number}/option-stock");
                self.call(&OPTION_STOCK, &path, Some(&body), Urgency::Up)
                    .await
                    .map(drop)
            }
            None if product.sale_price() == won => Ok(()),
            None => {
                let path = "/v1/products/origin-products/multi-update";
                let body = price_write(number, won);
                self.call(&MULTI_UPDATE, path, Some(&body), Urgency::Up)
                    .await
                    .map(drop)
            }
        }
    }

    async fn cancel_line(&self, write: &CancelWrite) -> Result<(), Failure> {
        let Some(Line { line, cancelling }) = self.line(&write.handle).await? else {
            return Err(refused("there is no such line"));
        };
        let wanted = write.units.min(line.ordered);
        if line.state == LineState::Cancelled {
            return Ok(());
        }
        // The call has no key: asked twice it would cancel twice. So what is cancelled, or about to be, is counted first.
        match cancelling {
            Cancelling::UnderWay(units) if line.cancelled + units >= wanted => return Ok(()),
            Cancelling::UnderWay(_) => return Err(later("a cancellation is under way")),
            // One claim at a time: agreeing to the buyer's comes first.
            Cancelling::Asked(units) => {
                self.approve(&write.handle).await?;
                if line.cancelled + units >= wanted {
                    return Ok(());
                }
                return Err(later("the buyer's own cancellation comes first"));
            }
            Cancelling::No if line.cancelled >= wanted => return Ok(()),
            Cancelling::No => {}
        }
        let reason = match write.reason {
            CancelReason::SoldOut => "SOLD_OUT",
        };
        let body = json!({ "cancelReason": reason, "cancelQuantity": wanted - line.cancelled });
        let path = format!(
            "/v1/pay-order/seller/product-orders/{}/claim/cancel/request",
            segment(&write.handle.0)
        );
        let answer = self
            .call(&CANCEL, &path, Some(&body), Urgency::Order)
            .await?;
        agreed(&write.handle, &outcome(&answer)?)
    }

    async fn approve(&self, handle: &Handle) -> Result<(), Failure> {
        let path = format!(
            "/v1/pay-order/seller/product-orders/{}/claim/cancel/approve",
            segment(&handle.0)
        );
        let answer = self.call(&APPROVE, &path, None, Urgency::Order).await?;
        agreed(handle, &outcome(&answer)?)
    }

    async fn approve_line(&self, handle: &Handle) -> Result<(), Failure> {
        let failure = match self.approve(handle).await {
            Ok(()) => return Ok(()),
            Err(failure @ (Failure::Refused(_) | Failure::Later { .. })) => failure,
            Err(
                failure @ (Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unreadable { .. }
                | Failure::Unknown(_)
                | Failure::Credentials(_)),
            ) => return Err(failure),
        };
        match self.line(handle).await? {
            // Agreed before, or there is nothing left to agree to.
            Some(line) if !matches!(line.cancelling, Cancelling::Asked(_)) => Ok(()),
            Some(_) | None => Err(failure),
        }
    }

    async fn look(&self) -> Result<Credentials, Failure> {
        let now = korea::millisecond(clock::now());
        let path = format!(
            "/v1/pay-order/seller/product-orders/last-changed-statuses?lastChangedFrom={}&limitCount=1",
            segment(&now)
        );
        self.call(&LAST_CHANGED, &path, None, Urgency::Sweep)
            .await?;
        // A secret is good until another is issued.
        Ok(Credentials {
            expires_at: None,
            renewed_by_use: false,
        })
    }
}

impl Marketplace for SmartStore {
    fn limits(&self) -> Limits {
        Limits {
            longest_window: LONGEST_WINDOW,
            overlap: OVERLAP,
            confirm_batch: LINES_OF_A_CONFIRMATION,
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
        self.page(window, page, urgency).boxed()
    }

    fn sweep<'a>(
        &'a self,
        window: Window,
        page: Option<&'a str>,
    ) -> BoxFuture<'a, Result<Page, Failure>> {
        self.swept(window, page).boxed()
    }

    fn confirm<'a>(
        &'a self,
        lines: &'a [Handle],
    ) -> BoxFuture<'a, Result<Vec<Confirmation>, Failure>> {
        self.confirm_lines(lines).boxed()
    }

    fn read_item<'a>(
        &'a self,
        item: &'a ItemId,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Shown, Failure>> {
        async move {
            let (_, product) = self.product(item, urgency).await?;
            product.shown(item, clock::now()).map_err(refused)
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
        self.approve_line(line).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Credentials, Failure>> {
        self.look().boxed()
    }
}

/// What a line that was not confirmed says, now that it was looked up.
fn confirmation(id: &str, details: &[Value], failed: Option<&Failed>) -> Confirmation {
    let refusal = failed.map_or_else(|| "not mentioned in the answer".to_owned(), Failed::reason);
    let detail = details.iter().find(|detail| order::id(detail) == Some(id));
    let state = detail.map(order::line);
    match state {
        Some(Ok(Some(Line { line, .. }))) => match line.state {
            LineState::Confirmed => Confirmation::Done,
            LineState::Cancelled | LineState::CancelRequested => Confirmation::Cancelled,
            LineState::Paid => match failed {
                Some(failed)
                    if failed.code != OTHER && !OTHER_STATE.contains(&failed.code.as_str()) =>
                {
                    Confirmation::Refused(refusal)
                }
                Some(_) | None => Confirmation::Later(refusal),
            },
        },
        Some(Ok(None)) => Confirmation::Refused("it is not paid".to_owned()),
        Some(Err(reason)) => Confirmation::Refused(reason.to_owned()),
        None => Confirmation::Refused(refusal),
    }
}

fn outcome(answer: &Value) -> Result<Outcome, Failure> {
    answer
        .get("data")
        .and_then(|data| Outcome::deserialize(data).ok())
        .ok_or_else(|| Failure::Unknown("an answer without its outcome".to_owned()))
}

/// Whether the one line that a call named is done.
fn agreed(handle: &Handle, outcome: &Outcome) -> Result<(), Failure> {
    if outcome.done().contains(handle.0.as_str()) {
        return Ok(());
    }
    match outcome.failed(&handle.0) {
        // It changed since it was read: what is right now is decided by reading it again.
        Some(failed) if failed.code == OTHER || OTHER_STATE.contains(&failed.code.as_str()) => {
            Err(later(&failed.reason()))
        }
        Some(failed) => Err(Failure::Refused(failed.reason())),
        None => Err(Failure::Unknown("not mentioned in the answer".to_owned())),
    }
}

fn speaks_of_an_id(reason: &str) -> bool {
    reason.split(' ').any(|word| NOT_OURS.contains(&word))
}

fn cannot_be_read(what: &str, answer: &Value) -> Failure {
    Effect::Read.unreadable(format!("{what} cannot be read"), &answer.to_string())
}

fn later(reason: &str) -> Failure {
    Failure::Later {
        reason: reason.to_owned(),
        after: None,
    }
}

fn refused(reason: &str) -> Failure {
    Failure::Refused(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        channel::{quota::Unlimited, token::InMemory},
        config::Secret,
    };

    fn setup(credentials: &[(&str, &str)]) -> Setup {
        Setup {
            channel: "smartstore".to_owned(),
            base_url: "http://127.0.0.1:1".to_owned(),
            credentials: credentials
                .iter()
                .map(|&(name, value)| (name.to_owned(), Secret::new(value)))
                .collect(),
            quota: Arc::new(Unlimited),
            tokens: Arc::new(InMemory::default()),
        }
    }

    const ID: (&str, &str) = ("client_id", "demo-app-id");
    const SECRET: (&str, &str) = ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye");

    #[test]
    fn credentials_are_looked_at_before_the_gateway_can_punish_them() {
        for credentials in [
            &[ID, SECRET][..],
            &[ID, SECRET, ("type", "SELF")],
            &[ID, SECRET, ("type", "SELLER"), ("account_id", "shop")],
            &[ID, SECRET, ("account_id", "shop")],
        ] {
            assert!(open(setup(credentials)).is_ok(), "{credentials:?}");
        }
        for (credentials, wrong) in [
            (&[SECRET][..], "client_id"),
            (&[ID][..], "client_secret"),
            (&[ID, ("client_secret", "plain")][..], "client_secret"),
            (
                &[ID, SECRET, ("type", "SELF"), ("account_id", "shop")][..],
                "account_id",
            ),
            (&[ID, SECRET, ("type", "SELLER")][..], "account_id"),
            (&[ID, SECRET, ("type", "BOTH")][..], "type"),
        ] {
            let error = open(setup(credentials)).err().expect("is refused");
            assert_eq!(error.name, wrong);
        }
    }

    #[test]
    fn a_line_that_was_not_confirmed_is_what_it_is_now() {
        let details: Value =
            serde_json::from_str(include_str!("fixtures/details.json")).expect("JSON");
        let details = details["data"].as_array().expect("details");
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/confirm.json")).expect("JSON");
        let outcome = outcome(&answer).expect("an outcome");
        assert!(outcome.done().contains("2026112000000021"));
        let of = |id| confirmation(id, details, outcome.failed(id));
        // Its buyer asks to cancel it; it was confirmed before; it is not mentioned, and still waits.
        assert_eq!(of("2026112000000022"), Confirmation::Cancelled);
        assert_eq!(of("2026112000000023"), Confirmation::Done);
        assert_eq!(
            of("2026112000000021"),
            Confirmation::Later("not mentioned in the answer".to_owned())
        );
        let failed = |code: &str| Failed {
            product_order_id: "2026112000000021".to_owned(),
            code: code.to_owned(),
            message: String::new(),
        };
        for (code, refused) in [
            ("104442", false),
            ("104443", false),
            ("105306", false),
            ("9999", false),
            ("104417", true),
        ] {
            let got = confirmation("2026112000000021", details, Some(&failed(code)));
            assert_eq!(matches!(got, Confirmation::Refused(_)), refused, "{code}");
            assert_eq!(matches!(got, Confirmation::Later(_)), !refused, "{code}");
        }
        assert!(matches!(
            confirmation("1", details, Some(&failed("100001"))),
            Confirmation::Refused(_)
        ));
    }
}
