//! Coupang: the WING Open API (developers.coupangcorp.com), order sheets in version 5, receipts in version 6.
//!
//! Credentials: `access_key`, `secret_key`, `vendor_id`; `user_id` (the Wing login, needed to cancel), `key_issued_on` (a date:
//! keys are good for 180 days, and nothing in the API tells when they end), and `resume_sales` (`yes`: an option whose sale is
//! stopped is sold again when it gets units; without it a stop is a person's will).
//!
//! Here is what each verb asks and what it makes of the answers; `plan` knows which lists a window is made of, `wire` makes the
//! calls and knows what refusals mean, `sign` signs them, `sheet` and `receipt` read what comes back.
//!
//! Lists go by when a sheet or a receipt was made, never by when it changed. A pull of the last minutes finds what is new; what
//! happens to older ones (a stop that is handled in Wing, a transfer that is paid days later) is found by a pull of the last days,
//! which has to be made now and then.
//!
//! What is cancelled whole leaves the lists of sheets, and is known from its receipts. If those of a page do not tell all of a line,
//! its sheet is read; if that is gone, all receipts of its order say which units never left.

mod plan;
mod receipt;
mod sheet;
mod sign;
mod wire;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use self::{
    plan::{List, Place, lists, returns_path},
    receipt::{Fate, Part, Receipt},
    sheet::{Name, Sheet},
    sign::Signer,
    wire::Call,
};
use super::{
    CancelReason, CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits,
    LineState, Marketplace, Page, Price, Pulled, SetupError, Shown, StockWrite, Window,
    call::{Caller, Effect, Setup, segment},
    korea,
    lenient::{brief, optional_text, text},
    quota::Urgency,
};
use crate::clock::{self, Timestamp};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A list by days may span 31; a week of them is pages enough.
const LONGEST_WINDOW: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// Windows are to overlap, and a sheet shows up when it is paid.
const OVERLAP: Duration = Duration::from_secs(20 * 60);
const BOXES_OF_AN_ACKNOWLEDGEMENT: usize = 50;
const PRICE_STEP: u64 = 10;
/// Not documented; more was not seen to be taken.
const MOST_UNITS: u64 = 99_999;
const KEY_LIFE: Duration = Duration::from_secs(180 * 24 * 60 * 60);
/// Receipts of an order are looked for over so long; a list spans 31 days at most.
const RECEIPTS_OVER: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// The lists want a status, and these are all: stop requested, received, completed, looked into by Coupang.
const EVERY: [&str; 4] = ["RU", "UC", "CC", "PR"];
/// Those in which a stop may wait for an answer.
const WAITING: [&str; 2] = ["RU", "UC"];
/// No order has so many.
const PAGES_OF_AN_ORDER: usize = 10;

/// Opens the port.
///
/// # Errors
/// A credential is missing or malformed.
pub(super) fn open(setup: Setup) -> Result<Box<dyn Marketplace>, SetupError> {
    let access_key = setup.credential("access_key")?;
    let secret_key = setup.credential("secret_key")?;
    let vendor_id = setup.credential("vendor_id")?.reveal().to_owned();
    if vendor_id.is_empty() || !vendor_id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(setup.wrong("vendor_id", "not letters and digits"));
    }
    let expires_at = match setup.optional("key_issued_on") {
        Some(date) => Some(
            korea::parse(date.reveal())
                .ok_or_else(|| setup.wrong("key_issued_on", "not a date"))?
                + KEY_LIFE,
        ),
        None => None,
    };
    let resume_sales = match setup
        .optional("resume_sales")
        .as_ref()
        .map(|yes| yes.reveal())
    {
        Some("yes") => true,
        Some("no") | None => false,
        Some(_) => return Err(setup.wrong("resume_sales", "neither yes nor no")),
    };
    Ok(Box::new(Coupang {
        caller: Caller::new(&setup),
        signer: Signer::new(access_key.reveal().to_owned(), secret_key.reveal()),
        user_id: setup
            .optional("user_id")
            .map(|user| user.reveal().to_owned()),
        vendor_id,
        expires_at,
        resume_sales,
    }))
}

struct Coupang {
    caller: Caller,
    signer: Signer,
    vendor_id: String,
    user_id: Option<String>,
    expires_at: Option<Timestamp>,
    resume_sales: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledgement {
    #[serde(default)]
    response_list: Vec<Acknowledged>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Acknowledged {
    #[serde(deserialize_with = "text")]
    shipment_box_id: String,
    succeed: bool,
    #[serde(default, deserialize_with = "optional_text")]
    result_code: Option<String>,
    #[serde(default, deserialize_with = "optional_text")]
    result_message: Option<String>,
    #[serde(default)]
    retry_required: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Inventory {
    amount_in_stock: u64,
    sale_price: u64,
    on_sale: bool,
}

/// What one receipt says of a line.
struct Told<'a> {
    part: Part,
    payload: &'a Value,
    created_at: Option<Timestamp>,
}

impl Coupang {
    async fn page(
        &self,
        window: Window,
        page: Option<&str>,
        urgency: Urgency,
    ) -> Result<Page, Failure> {
        let place = Place::parse(page)?;
        let lists = lists(window);
        let ask = lists
            .get(place.list)
            .ok_or_else(|| refused("no page of these lists"))?;
        let answer = self
            .call(ask.call(&self.vendor_id, &place, urgency))
            .await?;
        let rows = rows(&answer.data)?;
        let lines = match ask.list {
            List::Sheets(_) => rows.iter().flat_map(sheet::pulled).collect(),
            List::Cancellations | List::Stops(_) => self.receipts(rows, urgency).await?,
        };
        let next = place.after(answer.next_token, lists.len());
        Ok(Page {
            lines,
            next: next.map(|place| place.name()),
        })
    }

    /// The lines that receipts are about, as they stand now.
    async fn receipts(&self, rows: &[Value], urgency: Urgency) -> Result<Vec<Pulled>, Failure> {
        let mut lines = Vec::new();
        let mut told = BTreeMap::<Name, Vec<Told<'_>>>::new();
        let mut read = Vec::new();
        for payload in rows {
            match Receipt::read(payload) {
                Ok(receipt) => {
                    for part in receipt.parts() {
                        told.entry(part.name.clone()).or_default().push(Told {
                            part,
                            payload,
                            created_at: receipt.created_at(),
                        });
                    }
                    read.push(receipt);
                }
                Err(reason) => lines.push(Pulled::Unreadable {
                    key: None,
                    reason: reason.to_owned(),
                    raw: payload.to_string(),
                }),
            }
        }
        let mut open = BTreeMap::<&str, Vec<(&Name, &[Told<'_>])>>::new();
        for (name, told) in &told {
            if is_settled(told) {
                lines.extend(gone_line(name, told, read.iter()));
            } else {
                let of_box = open.entry(&name.shipment_box_id).or_default();
                of_box.push((name, told.as_slice()));
            }
        }
        for (box_id, names) in open {
            let sheet = self.sheet(box_id, urgency).await?;
            let there = sheet.as_ref().map(sheet::pulled).unwrap_or_default();
            let keys: BTreeSet<&str> = there
                .iter()
                .filter_map(|pulled| match pulled {
                    Pulled::Line(line) => Some(line.key.as_str()),
                    Pulled::Unreadable { key, .. } => key.as_deref(),
                })
                .collect();
            // One that is there and cannot be read is for a person: what its receipts say would be a guess.
            let is_legible = sheet.is_none() || !keys.is_empty();
            for (name, told) in names {
                if is_legible && !keys.contains(name.key().as_str()) {
                    let since = told.iter().filter_map(|told| told.created_at).min();
                    let others = self
                        .receipts_of(&name.order_id, &EVERY, since, urgency)
                        .await?;
                    lines.extend(gone_line(name, told, read.iter().chain(&others)));
                }
            }
            lines.extend(there);
        }
        Ok(lines)
    }

    /// A sheet as it stands. `None` if it is gone: cancelled or returned whole, which the API answers with a 400.
    async fn sheet(&self, box_id: &str, urgency: Urgency) -> Result<Option<Value>, Failure> {
        let path = format!(
            "/v2/providers/openapi/apis/api/v5/vendors/{}/ordersheets/{}",
            segment(&self.vendor_id),
            segment(box_id)
        );
        let answer = match self.call(Call::read(path, String::new(), urgency)).await {
            Ok(answer) => answer,
            Err(Failure::Refused(reason))
                if reason.starts_with("400 ") || reason.starts_with("404 ") =>
            {
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        Ok(match answer.data {
            Value::Array(sheets) => sheets.into_iter().next(),
            Value::Null => None,
            sheet @ (Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                Some(sheet)
            }
        })
    }

    /// Receipts of stops and returns of an order, made since then.
    async fn receipts_of(
        &self,
        order_id: &str,
        statuses: &[&str],
        since: Option<Timestamp>,
        urgency: Urgency,
    ) -> Result<Vec<Receipt>, Failure> {
        let now = clock::now();
        let from = since.map_or_else(|| now.before(RECEIPTS_OVER), |since| since.before(DAY));
        let to = now.min(from + RECEIPTS_OVER);
        let mut receipts = Vec::new();
        for status in statuses {
            let list = format!(
                "createdAtFrom={}&createdAtTo={}&maxPerPage=50&status={status}&orderId={}",
                korea::date(from),
                korea::date(to),
                segment(order_id)
            );
            let mut token: Option<String> = None;
            let mut pages = 0;
            loop {
                let query = match &token {
                    Some(token) => format!("{list}&nextToken={}", segment(token)),
                    None => list.clone(),
                };
                let path = returns_path(&self.vendor_id);
                let answer = self.call(Call::read(path, query, urgency)).await?;
                // Whether the order was heard is seen by what is let through.
                receipts.extend(
                    rows(&answer.data)?
                        .iter()
                        .filter_map(|row| Receipt::read(row).ok())
                        .filter(|receipt| receipt.order_id == order_id),
                );
                pages += 1;
                match answer
                    .next_token
                    .filter(|next| Some(next) != token.as_ref())
                {
                    Some(_) if pages == PAGES_OF_AN_ORDER => {
                        return Err(later("the receipts of one order have no end"));
                    }
                    Some(next) => token = Some(next),
                    None => break,
                }
            }
        }
        Ok(receipts)
    }

    async fn acknowledge(&self, handles: &[Handle]) -> Result<Vec<Confirmation>, Failure> {
        let names: Vec<Option<Name>> = handles.iter().map(Name::parse).collect();
        let boxes: BTreeSet<&str> = names
            .iter()
            .flatten()
            .map(|name| name.shipment_box_id.as_str())
            .collect();
        let numbers: Vec<u64> = boxes.iter().filter_map(|id| id.parse().ok()).collect();
        if numbers.is_empty() {
            return Ok(handles.iter().map(|_| not_ours()).collect());
        }
        let body = json!({ "vendorId": self.vendor_id, "shipmentBoxIds": numbers });
        let path = format!(
            "/v2/providers/openapi/apis/api/v4/vendors/{}/ordersheets/acknowledgement",
            segment(&self.vendor_id)
        );
        let answer = self
            .call(Call::write(Method::PUT, path, Some(&body), Urgency::Order))
            .await?;
        let answers = Acknowledgement::deserialize(&answer.data)
            .map(|answer| answer.response_list)
            .map_err(|_| Failure::Unknown("an answer without its outcome".to_owned()))?;
        let answered: BTreeMap<&str, &Acknowledged> = answers
            .iter()
            .map(|answer| (answer.shipment_box_id.as_str(), answer))
            .collect();
        // "Its state cannot change" may mean that it is so already: the sheet knows.
        let mut sheets = BTreeMap::new();
        for id in &boxes {
            if !answered.get(id).is_some_and(|answer| answer.succeed) {
                sheets.insert(*id, self.sheet(id, Urgency::Order).await);
            }
        }
        Ok(names
            .iter()
            .map(|name| match name {
                None => not_ours(),
                Some(name) => {
                    let id = name.shipment_box_id.as_str();
                    match sheets.get(id) {
                        None => Confirmation::Done,
                        Some(Err(failure)) => Confirmation::Later(failure.to_string()),
                        // Nothing of it is left to send.
                        Some(Ok(None)) => Confirmation::Cancelled,
                        Some(Ok(Some(sheet))) => {
                            confirmation(name, sheet, answered.get(id).copied())
                        }
                    }
                }
            })
            .collect())
    }

    async fn inventory(&self, item: &ItemId, urgency: Urgency) -> Result<Inventory, Failure> {
        let path = format!("{}/inventories", item_path(item)?);
        let answer = self.call(Call::read(path, String::new(), urgency)).await?;
        Inventory::deserialize(&answer.data).map_err(|_| later("the inventory cannot be read"))
    }

    async fn write(&self, path: String, urgency: Urgency) -> Result<(), Failure> {
        self.call(Call::write(Method::PUT, path, None, urgency))
            .await
            .map(drop)
    }

    async fn write_stock(&self, write: &StockWrite) -> Result<(), Failure> {
        let units = write.units.min(MOST_UNITS);
        let path = item_path(&write.item)?;
        self.write(format!("{path}/quantities/{units}"), write.urgency)
            .await?;
        if self.resume_sales && units > 0 {
            let inventory = self.inventory(&write.item, write.urgency).await?;
            if !inventory.on_sale {
                self.write(format!("{path}/sales/resume"), write.urgency)
                    .await?;
            }
        }
        Ok(())
    }

    async fn write_price(&self, item: &ItemId, won: u64) -> Result<(), Failure> {
        if won == 0 || !won.is_multiple_of(PRICE_STEP) {
            return Err(refused("a price is a multiple of ten won"));
        }
        // Without `forceSalePriceUpdate` a price may halve or double and no more. That guard stays: what it refuses is for a person.
        self.write(format!("{}/prices/{won}", item_path(item)?), Urgency::Up)
            .await
    }

    async fn cancel_line(&self, write: &CancelWrite) -> Result<(), Failure> {
        let name = name_of(&write.handle)?;
        let Some(payload) = self.sheet(&name.shipment_box_id, Urgency::Order).await? else {
            // All of it is cancelled.
            return Ok(());
        };
        let sheet = Sheet::read(&payload).map_err(refused)?;
        let counts = sheet.counts().map_err(refused)?;
        let Some(counts) = counts.get(name.vendor_item_id.as_str()) else {
            return Ok(());
        };
        // The call has no key: asked twice it would cancel twice. What is cancelled, or asked to be, is counted first.
        let wanted = write.units.min(counts.ordered);
        let already = counts.cancelled.saturating_add(counts.held);
        if already >= wanted {
            return Ok(());
        }
        if !matches!(sheet.status.as_str(), "ACCEPT" | "INSTRUCT") {
            return Err(refused("it has left, or is about to"));
        }
        let user_id = self
            .user_id
            .as_deref()
            .ok_or_else(|| refused("to cancel needs the credential user_id"))?;
        let middle_code = match write.reason {
            // "Stock was not linked": the one that means sold out.
            CancelReason::SoldOut => "CCTTER",
        };
        let item = number(&name.vendor_item_id)?;
        let body = json!({
            "orderId": number(&name.order_id)?,
            "vendorItemIds": [item],
            "receiptCounts": [wanted - already],
            "bigCancelCode": "CANERR",
            "middleCancelCode": middle_code,
            "vendorId": self.vendor_id,
            "userId": user_id,
        });
        let path = format!(
            "/v2/providers/openapi/apis/api/v5/vendors/{}/orders/{}/cancel",
            segment(&self.vendor_id),
            segment(&name.order_id)
        );
        let answer = self
            .call(Call::write(Method::POST, path, Some(&body), Urgency::Order))
            .await?;
        let failed = answer.data.get("failedVendorItemIds");
        let ours =
            |id: &Value| id.as_u64() == Some(item) || id.as_str() == Some(&*name.vendor_item_id);
        if failed
            .and_then(Value::as_array)
            .is_some_and(|failed| failed.iter().any(ours))
        {
            let message = answer.message.unwrap_or_default();
            return Err(Failure::Refused(brief(&format!("not cancelled {message}"))));
        }
        Ok(())
    }

    async fn agree(&self, handle: &Handle) -> Result<(), Failure> {
        let name = name_of(handle)?;
        let receipts = self
            .receipts_of(&name.order_id, &WAITING, None, Urgency::Order)
            .await?;
        let asked: Vec<&Receipt> = receipts
            .iter()
            .filter(|receipt| {
                receipt
                    .parts()
                    .any(|part| part.name == name && part.fate == Fate::Asked)
            })
            .collect();
        for receipt in &asked {
            let body = json!({
                "vendorId": self.vendor_id,
                "receiptId": number(&receipt.receipt_id)?,
                "cancelCount": receipt.units(),
            });
            let path = format!(
                "/v2/providers/openapi/apis/api/v4/vendors/{}/returnRequests/{}/stoppedShipment",
                segment(&self.vendor_id),
                segment(&receipt.receipt_id)
            );
            self.call(Call::write(Method::PUT, path, Some(&body), Urgency::Order))
                .await?;
        }
        if !asked.is_empty() {
            return Ok(());
        }
        // Nothing is asked for: it was agreed to before, or its receipt is not in the list yet.
        let sheet = self.sheet(&name.shipment_box_id, Urgency::Order).await?;
        match sheet.as_ref().map(|sheet| state_in(sheet, &name)) {
            Some(Ok(Some(LineState::CancelRequested))) => {
                Err(later("the request is not in the list of receipts yet"))
            }
            Some(Ok(
                Some(LineState::Paid | LineState::Confirmed | LineState::Cancelled) | None,
            ))
            | None => Ok(()),
            Some(Err(reason)) => Err(refused(reason)),
        }
    }

    async fn look(&self) -> Result<Credentials, Failure> {
        // The narrowest list there is: new orders of this minute.
        let now = clock::now();
        let window = Window { from: now, to: now };
        let first = Place {
            list: 0,
            token: None,
        };
        if let Some(ask) = lists(window).first() {
            self.call(ask.call(&self.vendor_id, &first, Urgency::Sweep))
                .await?;
        }
        Ok(Credentials {
            expires_at: self.expires_at,
            renewed_by_use: false,
        })
    }
}

impl Marketplace for Coupang {
    fn limits(&self) -> Limits {
        Limits {
            longest_window: LONGEST_WINDOW,
            overlap: OVERLAP,
            confirm_batch: BOXES_OF_AN_ACKNOWLEDGEMENT,
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

    fn confirm<'a>(
        &'a self,
        lines: &'a [Handle],
    ) -> BoxFuture<'a, Result<Vec<Confirmation>, Failure>> {
        self.acknowledge(lines).boxed()
    }

    fn read_item<'a>(
        &'a self,
        item: &'a ItemId,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Shown, Failure>> {
        async move {
            let inventory = self.inventory(item, urgency).await?;
            Ok(Shown {
                units: inventory.amount_in_stock,
                on_sale: inventory.on_sale,
                // Coupons are not told here: the seller's show on order lines.
                price: Some(Price {
                    sale: inventory.sale_price,
                    effective: inventory.sale_price,
                }),
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
        self.agree(line).boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Credentials, Failure>> {
        self.look().boxed()
    }
}

/// Whether receipts alone say that no unit of a line is left: its sheet has nothing to add.
fn is_settled(told: &[Told<'_>]) -> bool {
    let stayed = told
        .iter()
        .filter(|told| told.part.fate == Fate::Stayed)
        .map(|told| told.part.units)
        .fold(0, u32::saturating_add);
    told.iter()
        .all(|told| told.part.purchased.is_some_and(|units| stayed >= units))
}

/// A line that is in no sheet any more. None of its units is on its way to a buyer: each was cancelled, stopped, or has left and come
/// back. The last are not given back, and a stop that nobody has answered is not either.
fn gone_line<'a>(
    name: &Name,
    told: &[Told<'_>],
    receipts: impl Iterator<Item = &'a Receipt>,
) -> Option<Pulled> {
    // The same receipt may be in the page and among the order's.
    let receipts: BTreeMap<&str, &Receipt> = receipts
        .map(|receipt| (receipt.receipt_id.as_str(), receipt))
        .collect();
    let (mut known, mut left) = (0_u32, 0_u32);
    for part in receipts.values().flat_map(|receipt| receipt.parts()) {
        if part.name == *name {
            known = known.saturating_add(part.units);
            if part.fate != Fate::Stayed {
                left = left.saturating_add(part.units);
            }
        }
    }
    let last = told.last()?;
    let ordered = last.part.purchased.unwrap_or(known);
    Some(Pulled::Line(sheet::gone(
        name,
        ordered,
        ordered.saturating_sub(left),
        last.created_at,
        last.payload.to_string(),
    )))
}

/// What a line whose box was not acknowledged says, now that its sheet was read.
fn confirmation(name: &Name, sheet: &Value, answered: Option<&Acknowledged>) -> Confirmation {
    match state_in(sheet, name) {
        Ok(Some(LineState::Confirmed)) => Confirmation::Done,
        Ok(Some(LineState::Cancelled | LineState::CancelRequested) | None) => {
            Confirmation::Cancelled
        }
        Ok(Some(LineState::Paid)) => match answered {
            Some(answer) => {
                let reason = [&answer.result_code, &answer.result_message]
                    .map(|text| text.as_deref().unwrap_or_default());
                let reason = brief(&reason.join(" "));
                if answer.retry_required {
                    Confirmation::Later(reason)
                } else {
                    Confirmation::Refused(reason)
                }
            }
            None => Confirmation::Later("not mentioned in the answer".to_owned()),
        },
        Err(reason) => Confirmation::Refused(reason.to_owned()),
    }
}

fn state_in(sheet: &Value, name: &Name) -> Result<Option<LineState>, &'static str> {
    Sheet::read(sheet)?.state_of(&name.vendor_item_id)
}

/// The rows of a list; nothing at all is an empty one.
fn rows(data: &Value) -> Result<&[Value], Failure> {
    match data {
        Value::Array(rows) => Ok(rows),
        Value::Null => Ok(&[]),
        Value::Object(_) | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            let reason = "the list cannot be read";
            Err(Effect::Read.unreadable(reason, &data.to_string()))
        }
    }
}

fn item_path(item: &ItemId) -> Result<String, Failure> {
    let id = number(&item.product)?;
    Ok(format!(
        "/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items/{id}"
    ))
}

fn not_ours() -> Confirmation {
    Confirmation::Refused("no line of this marketplace".to_owned())
}

fn name_of(handle: &Handle) -> Result<Name, Failure> {
    Name::parse(handle).ok_or_else(|| refused("no line of this marketplace"))
}

fn number(id: &str) -> Result<u64, Failure> {
    id.parse().map_err(|_| refused("an id is a number"))
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

    fn setup(more: &[(&str, &str)]) -> Setup {
        let keys = [
            ("access_key", "demo-access-key"),
            ("secret_key", "demo-secret-key"),
            ("vendor_id", "A00012345"),
        ];
        Setup {
            channel: "coupang".to_owned(),
            base_url: "http://127.0.0.1:1".to_owned(),
            credentials: keys
                .iter()
                .chain(more)
                .map(|&(name, value)| (name.to_owned(), Secret::new(value)))
                .collect(),
            quota: Arc::new(Unlimited),
            tokens: Arc::new(InMemory::default()),
        }
    }

    #[test]
    fn credentials_are_looked_at_at_the_start() {
        assert!(
            open(setup(&[
                ("key_issued_on", "2026-11-20"),
                ("resume_sales", "yes")
            ]))
            .is_ok()
        );
        for (credential, wrong) in [
            (("vendor_id", "../A"), "vendor_id"),
            (("key_issued_on", "yesterday"), "key_issued_on"),
            (("resume_sales", "perhaps"), "resume_sales"),
        ] {
            let error = open(setup(&[credential])).err().expect("is refused");
            assert_eq!(error.name, wrong);
        }
    }

    fn receipt(id: u64, kind: &str, stop: &str, units: u32) -> Value {
        json!({ "receiptId": id, "orderId": 3, "receiptType": kind, "receiptStatus": "RETURNS_COMPLETED", "releaseStopStatus": stop,
            "createdAt": "2026-11-20T10:00:00", "returnItems": [{ "vendorItemId": 2, "shipmentBoxId": 1, "cancelCount": units, "purchaseCount": 3 }] })
    }

    #[test]
    fn of_a_box_that_is_gone_the_units_that_never_left_are_given_back() {
        let cancel = |id, units| receipt(id, "CANCEL", "비대상", units);
        let returned = |id, units| receipt(id, "RETURN", "비대상", units);
        let stopped = |id, units| receipt(id, "RETURN", "처리(출고중지)", units);
        for (page, others, cancelled, settled) in [
            (vec![cancel(1, 3)], vec![], 3, true),
            // The first of the three was cancelled earlier: its receipt is not in this page.
            (vec![cancel(2, 2)], vec![], 3, false),
            (vec![cancel(1, 1), cancel(2, 2)], vec![], 3, true),
            // One was cancelled, two left and came back.
            (vec![cancel(1, 1)], vec![returned(2, 2)], 1, false),
            (vec![returned(2, 2)], vec![returned(2, 2)], 1, false),
            (vec![stopped(2, 3)], vec![stopped(2, 3)], 3, true),
            (vec![returned(3, 3)], vec![returned(3, 3)], 0, false),
        ] {
            let read = |rows: &[Value]| -> Vec<Receipt> {
                rows.iter()
                    .map(|row| Receipt::read(row).expect("can be read"))
                    .collect()
            };
            let (of_page, others) = (read(&page), read(&others));
            let told: Vec<_> = of_page
                .iter()
                .zip(&page)
                .flat_map(|(receipt, payload)| {
                    receipt.parts().map(move |part| Told {
                        part,
                        payload,
                        created_at: receipt.created_at(),
                    })
                })
                .collect();
            let name = &told[0].part.name;
            match gone_line(name, &told, of_page.iter().chain(&others)) {
                Some(Pulled::Line(line)) => {
                    assert_eq!(
                        (line.key.as_str(), line.state, line.ordered, line.cancelled),
                        ("1:2", LineState::Cancelled, 3, cancelled),
                        "{page:?}"
                    );
                }
                other @ (Some(Pulled::Unreadable { .. }) | None) => panic!("{other:?}"),
            }
            assert_eq!(is_settled(&told), settled, "{page:?}");
        }
    }

    #[test]
    fn a_line_whose_box_was_not_acknowledged_is_what_its_sheet_says() {
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/acknowledgement.json")).expect("JSON");
        let answer = Acknowledgement::deserialize(&answer["data"]).expect("an outcome");
        let failed = answer
            .response_list
            .iter()
            .find(|answer| !answer.succeed)
            .expect("one failed");
        let sheets: Value =
            serde_json::from_str(include_str!("fixtures/ordersheets.json")).expect("JSON");
        let of = |sheet: usize, handle: &str, answered| {
            let name = Name::parse(&Handle(handle.to_owned())).expect("a name");
            confirmation(&name, &sheets["data"][sheet], answered)
        };
        for (handle, is) in [
            (
                "700000000000000002:3000000001:9000000000002",
                Confirmation::Done,
            ),
            (
                "700000000000000002:3000000002:9000000000002",
                Confirmation::Cancelled,
            ),
            (
                "700000000000000002:3000000003:9000000000002",
                Confirmation::Cancelled,
            ),
            (
                "700000000000000002:3000000007:9000000000002",
                Confirmation::Cancelled,
            ),
        ] {
            assert_eq!(of(1, handle, Some(failed)), is, "{handle}");
        }
        let new = "700000000000000001:3000000001:9000000000001";
        assert_eq!(
            of(0, new, Some(failed)),
            Confirmation::Refused("NOT_FOUND_SHIPMENT_BOX shipment box is not found".to_owned())
        );
        assert!(matches!(of(0, new, None), Confirmation::Later(_)));
    }
}
