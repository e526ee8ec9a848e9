//! Cafe24, Admin API (developers.cafe24.com/docs/ko/api/admin): the own store of many Korean sellers.
//!
//! Here is what each verb of [`Marketplace`] asks and what it makes of the answers; `token` keeps the pair of OAuth tokens alive,
//! `call` makes the calls, `pull` walks a window, `order` and `goods` read what comes back.
//!
//! - Access tokens are good for two hours, refresh tokens for two weeks and once: each refresh gives a new one.
//! - Writing what is there already is answered 409, which is success here.
//! - Orders of linked marketplaces show up in the same lists. They are left out: their own channels bring them.
//!
//! Credentials: `mall_id`, `client_id`, `client_secret`, `refresh_token` (the first one, from the authorization in a browser), and
//! optionally `shop_no` (1 if it is not there). The scopes are mall.read_order, mall.write_order, mall.read_product,
//! mall.write_product.

mod call;
mod goods;
mod order;
mod pull;
mod token;

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, future::BoxFuture};
use reqwest::Method;
use serde_json::{Value, json};

use self::{
    call::{Calls, Reply},
    goods::Variant,
    order::{Line, Standing},
};
use super::{
    CancelReason, CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits,
    Marketplace, Page, SetupError, Shown, StockWrite, Window,
    call::{Setup, segment},
    quota::Urgency,
};

/// A call may ask for less than three months.
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3_600);
const OVERLAP: Duration = Duration::from_secs(1_800);
const CONFIRM_BATCH: usize = 20;
const PRICE_STEP: u64 = 1;
/// Not published.
const MOST_UNITS: u64 = 9_999_999;

/// The marketplace.
pub(super) struct Cafe24 {
    calls: Calls,
}

/// Opens it.
pub(super) fn open(setup: Setup) -> Result<Box<dyn Marketplace>, SetupError> {
    Ok(Box::new(Cafe24 {
        calls: Calls::new(&setup)?,
    }))
}

/// The order of a line, and its code: what a handle has in it.
fn named(handle: &Handle) -> Result<(&str, &str), Failure> {
    handle
        .0
        .split_once(' ')
        .ok_or_else(|| Failure::Refused("not a handle of a Cafe24 line".to_owned()))
}

impl Cafe24 {
    async fn order(&self, order: &str) -> Result<Value, Failure> {
        let path = format!(
            "/api/v2/admin/orders/{}?shop_no={}&embed=items",
            segment(order),
            self.calls.shop_no()
        );
        self.calls.get(&path, Urgency::Order).await
    }

    async fn confirm_all(&self, lines: &[Handle]) -> Result<Vec<Confirmation>, Failure> {
        let mut orders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in lines {
            let (order, code) = named(line)?;
            orders.entry(order).or_default().push(code);
        }
        let mut answers: BTreeMap<&str, Confirmation> = BTreeMap::new();
        for (order, codes) in orders {
            match self.confirm_order(order, &codes).await {
                Ok(each) => answers.extend(codes.into_iter().zip(each)),
                // Nothing is lost by asking again for all; and who asks learns why.
                Err(failure) if answers.is_empty() => return Err(failure),
                Err(failure) => {
                    let later = Confirmation::Later(failure.to_string());
                    answers.extend(codes.into_iter().map(|code| (code, later.clone())));
                }
            }
        }
        lines
            .iter()
            .map(|line| {
                let (_, code) = named(line)?;
                Ok(answers
                    .get(code)
                    .cloned()
                    .unwrap_or_else(|| Confirmation::Later("it was not asked".to_owned())))
            })
            .collect()
    }

    /// Moves lines of an order to "preparing shipment". They are looked at first: the call is for items that are paid, and what it
    /// does to one that has gone further is not documented.
    async fn confirm_order(
        &self,
        order: &str,
        codes: &[&str],
    ) -> Result<Vec<Confirmation>, Failure> {
        let found = self.order(order).await?;
        let lines: Vec<Option<Line>> = codes
            .iter()
            .map(|code| order::find(&found, code).ok())
            .collect();
        let paid: Vec<&str> = lines
            .iter()
            .flatten()
            .flat_map(|line| line.codes(Standing::Paid))
            .collect();
        if paid.is_empty() {
            return Ok(lines
                .iter()
                .map(|line| confirmation(line.as_ref()))
                .collect());
        }
        let body = json!({
            "shop_no": self.calls.shop_no(),
            "request": { "process_status": "prepare", "order_item_code": paid },
        });
        let path = format!("/api/v2/admin/orders/{}", segment(order));
        let reply = self
            .calls
            .write(Method::PUT, &path, &body, Urgency::Order)
            .await?;
        let Reply::Refused(why) = reply else {
            let done = |line: &Option<Line>| match line {
                Some(line) if line.has(Standing::Paid) => Confirmation::Done,
                line => confirmation(line.as_ref()),
            };
            return Ok(lines.iter().map(done).collect());
        };
        // A person or a buyer may have been faster, so what the refusal means is where the lines are now.
        let found = self.order(order).await?;
        let now = |code: &&str| match order::find(&found, code) {
            Ok(line) if line.has(Standing::Paid) => Confirmation::Refused(why.clone()),
            line => confirmation(line.ok().as_ref()),
        };
        Ok(codes.iter().map(now).collect())
    }

    async fn variant(&self, item: &ItemId, urgency: Urgency) -> Result<Variant, Failure> {
        let code = variant_code(item)?;
        let path = format!(
            "/api/v2/admin/products/{}?shop_no={}&embed=variants,inventories",
            segment(&item.product),
            self.calls.shop_no()
        );
        goods::variant(&self.calls.get(&path, urgency).await?, code)
    }

    async fn write_stock(&self, write: &StockWrite) -> Result<(), Failure> {
        if write.units > MOST_UNITS {
            return Err(Failure::Refused(format!(
                "more than {MOST_UNITS} units cannot be shown"
            )));
        }
        let path = format!(
            "/api/v2/admin/products/{}/variants/{}/inventories",
            segment(&write.item.product),
            segment(variant_code(&write.item)?)
        );
        let body = json!({
            "shop_no": self.calls.shop_no(),
            "request": { "quantity": write.units },
        });
        match self
            .calls
            .write(Method::PUT, &path, &body, write.urgency)
            .await?
        {
            // The answer says whether anyone heeds the number.
            Reply::Body(reply) => goods::heeded(&reply["inventory"]),
            Reply::Same => Ok(()),
            Reply::Refused(why) => Err(Failure::Refused(why)),
        }
    }

    /// The price is the product's; a variant adds its surcharge to it.
    async fn write_price(&self, item: &ItemId, won: u64) -> Result<(), Failure> {
        let variant = self.variant(item, Urgency::Up).await?;
        let price = variant.product_price(won).ok_or_else(|| {
            Failure::Refused(format!("{won} won is less than the variant's surcharge"))
        })?;
        let body = json!({
            "shop_no": self.calls.shop_no(),
            "request": { "price": format!("{price}.00") },
        });
        let path = format!("/api/v2/admin/products/{}", segment(&item.product));
        match self
            .calls
            .write(Method::PUT, &path, &body, Urgency::Up)
            .await?
        {
            Reply::Body(_) | Reply::Same => Ok(()),
            Reply::Refused(why) => Err(Failure::Refused(why)),
        }
    }

    /// Cancels units of items. Refunding them stays with the person who does that at the shop: payment methods differ in what can
    /// be refunded by a call.
    async fn cancel_units(
        &self,
        order: &str,
        units: &[(&str, u32)],
        (kind, text): (&str, &str),
    ) -> Result<(), Failure> {
        let items: Vec<Value> = units
            .iter()
            .map(|(code, units)| json!({ "order_item_code": code, "quantity": units }))
            .collect();
        let body = json!({
            "shop_no": self.calls.shop_no(),
            "request": {
                "status": "canceled",
                // The pool decides what the shop shows: a unit that the shop gives back to itself as well would be there twice.
                "recover_inventory": "F",
                "claim_reason_type": kind,
                "reason": text,
                "items": items,
            },
        });
        let path = format!("/api/v2/admin/orders/{}/cancellation", segment(order));
        let reply = self
            .calls
            .write(Method::POST, &path, &body, Urgency::Order)
            .await?;
        match reply {
            Reply::Body(_) | Reply::Same => Ok(()),
            Reply::Refused(why) => Err(Failure::Refused(why)),
        }
    }

    /// What is cancelled already counts: a call whose answer was lost is asked again, and must not take more.
    async fn cancel_line(&self, write: &CancelWrite) -> Result<(), Failure> {
        let (order, code) = named(&write.handle)?;
        let CancelReason::SoldOut = write.reason;
        let line = order::find(&self.order(order).await?, code)?;
        let done = line.units(&[Standing::Cancelling, Standing::Cancelled]);
        let mut wanted = write.units.saturating_sub(done);
        let mut units = Vec::new();
        for item in &line.items {
            let is_there = match item.standing {
                Standing::Paid | Standing::Confirmed | Standing::CancelAsked => true,
                Standing::Unpaid
                | Standing::Cancelling
                | Standing::Cancelled
                | Standing::Returned
                | Standing::Unknown => false,
            };
            let some = item.units.min(wanted);
            if is_there && some > 0 {
                units.push((item.code.as_str(), some));
                wanted -= some;
            }
        }
        if wanted > 0 {
            return Err(Failure::Refused("the line has fewer units".to_owned()));
        }
        if units.is_empty() {
            return Ok(());
        }
        self.cancel_units(order, &units, ("H", "sold out")).await
    }

    async fn approve(&self, handle: &Handle) -> Result<(), Failure> {
        let (order, code) = named(handle)?;
        let line = order::find(&self.order(order).await?, code)?;
        let asked: Vec<(&str, u32)> = line
            .items
            .iter()
            .filter(|item| item.standing == Standing::CancelAsked)
            .map(|item| (item.code.as_str(), item.units))
            .collect();
        if !asked.is_empty() {
            let reason = ("A", "the buyer asked for it");
            return self.cancel_units(order, &asked, reason).await;
        }
        if line.has(Standing::Cancelling) || line.has(Standing::Cancelled) {
            // Somebody has agreed.
            return Ok(());
        }
        Err(Failure::Refused(
            "its buyer does not ask to cancel it".to_owned(),
        ))
    }

    async fn check_token(&self) -> Result<Credentials, Failure> {
        let path = format!(
            "/api/v2/admin/products?shop_no={}&limit=1",
            self.calls.shop_no()
        );
        let _: Value = self.calls.get(&path, Urgency::Sweep).await?;
        Ok(Credentials {
            expires_at: self.calls.authorized_until().await?,
            renewed_by_use: true,
        })
    }
}

fn variant_code(item: &ItemId) -> Result<&str, Failure> {
    item.option
        .as_deref()
        .ok_or_else(|| Failure::Refused("the item has no variant code".to_owned()))
}

/// What a line that is not to be moved any more says of its confirmation.
fn confirmation(line: Option<&Line>) -> Confirmation {
    let Some(line) = line else {
        return Confirmation::Refused("the order does not have the line".to_owned());
    };
    if line.has(Standing::Confirmed) {
        Confirmation::Done
    } else if line.has(Standing::Paid) {
        Confirmation::Later("it is not confirmed yet".to_owned())
    } else if line.state().is_none() {
        Confirmation::Later("it is not paid".to_owned())
    } else {
        Confirmation::Cancelled
    }
}

impl Marketplace for Cafe24 {
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

    fn read_item<'a>(
        &'a self,
        item: &'a ItemId,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<Shown, Failure>> {
        async move { self.variant(item, urgency).await?.shown() }.boxed()
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
        self.check_token().boxed()
    }
}
