//! A shop with a backend of its own: the small signed protocol that the README of `infra/marketplaces` specifies.
//!
//! The shop keeps the version a number was written with, so an older write never replaces a newer one, and a cancellation says how
//! many units are cancelled in the end, so a repeat cancels no more. It may send a signed hint when an order comes; [`verify_hint`]
//! says whether it did. A hint says only that there is something to pull.
//!
//! Credentials: `secret`, which is `whsec_` and base64.

mod signature;
mod wire;

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use reqwest::{Method, StatusCode, Url};
use serde_json::{Value, json};
pub use signature::{ID, Key, Message, SIGNATURE, TIMESTAMP, Unsigned};

use self::wire::Problem;
use super::{
    CancelReason, CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits,
    Marketplace, Page, SetupError, Shown, StockWrite, Window,
    call::{Answer, Caller, Effect, Setup, Terms, segment},
    lenient::brief,
    quota::{Rate, Urgency},
};
use crate::{clock, config::Secret};

const BUCKET: &str = "shop";
/// The protocol sets no limit; this is what a small backend bears.
const RATE: Rate = Rate {
    per_second: 10.0,
    burst: 20,
};
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_WINDOW: Duration = Duration::from_secs(30 * 24 * 3_600);
const OVERLAP: Duration = Duration::from_secs(600);
const CONFIRM_BATCH: usize = 200;
const PRICE_STEP: u64 = 1;
const MOST_UNITS: u64 = 99_999_999;
/// The probe of `check` asks for an item of this name. That there is none is an answer, too.
const NO_ITEM: &str = "onepool-check";

/// Whether a hint comes from the shop: signed with its secret, within five minutes.
///
/// # Errors
/// What is wrong with it.
pub fn verify_hint(
    secret: &Secret,
    message: Message<'_>,
    timestamp: &str,
    signatures: &str,
) -> Result<(), Unsigned> {
    Key::new(secret).verify(message, timestamp, signatures, clock::now())
}

/// The shop.
pub(super) struct Shop {
    caller: Caller,
    key: Key,
}

/// Opens it.
pub(super) fn open(setup: Setup) -> Result<Box<dyn Marketplace>, SetupError> {
    Ok(Box::new(Shop {
        caller: Caller::new(&setup),
        key: Key::new(&setup.credential("secret")?),
    }))
}

/// What a call is, apart from its address.
struct Call<'a> {
    method: Method,
    path: &'a str,
    body: Option<Value>,
    urgency: Urgency,
}

impl Shop {
    async fn get(&self, path: &str, urgency: Urgency) -> Result<Answer, Failure> {
        let call = Call {
            method: Method::GET,
            path,
            body: None,
            urgency,
        };
        self.send(call, Effect::Read).await
    }

    async fn write(
        &self,
        method: Method,
        path: &str,
        body: Value,
        urgency: Urgency,
    ) -> Result<Answer, Failure> {
        let call = Call {
            method,
            path,
            body: Some(body),
            urgency,
        };
        self.send(call, Effect::Write).await
    }

    async fn send(&self, call: Call<'_>, effect: Effect) -> Result<Answer, Failure> {
        let url = Url::parse(&self.caller.url(call.path))
            .map_err(|_| Failure::Refused("the shop's address cannot be read".to_owned()))?;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let body = call.body.map(|body| body.to_string()).unwrap_or_default();
        let id = format!("msg_{:032x}", fastrand::u128(..));
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency: call.urgency,
            effect,
        };
        let answer = self
            .caller
            .send(terms, |client| {
                let message = Message {
                    id: &id,
                    method: call.method.as_str(),
                    target: &target,
                    body: body.as_bytes(),
                };
                let (timestamp, signature) = self.key.sign(message, clock::now());
                let request = client
                    .request(call.method.clone(), url)
                    .header(ID, id.as_str())
                    .header(TIMESTAMP, timestamp)
                    .header(SIGNATURE, signature);
                if body.is_empty() {
                    request
                } else {
                    request
                        .header("content-type", "application/json")
                        .body(body.clone())
                }
            })
            .await?;
        self.caller.check_rate(BUCKET, &answer, PAUSE).await?;
        Ok(answer)
    }

    async fn pull_page(
        &self,
        window: Window,
        page: Option<&str>,
        urgency: Urgency,
    ) -> Result<Page, Failure> {
        // The end does not belong to what the shop answers for.
        let until = window.to + Duration::from_millis(1);
        let mut path = format!(
            "/onepool/orders?since={}&until={}",
            segment(&window.from.to_string()),
            segment(&until.to_string())
        );
        if let Some(cursor) = page {
            path.push_str("&cursor=");
            path.push_str(&segment(cursor));
        }
        let answer = done(self.get(&path, urgency).await?, Effect::Read)?;
        wire::page(&answer)
    }

    async fn confirm_all(&self, lines: &[Handle]) -> Result<Vec<Confirmation>, Failure> {
        let body = json!({ "lines": lines });
        let answer = self
            .write(
                Method::POST,
                "/onepool/orders/confirm",
                body,
                Urgency::Order,
            )
            .await?;
        let answer = done(answer, Effect::Write)?;
        wire::confirmations(&answer, lines)
    }

    async fn item(&self, item: &ItemId, urgency: Urgency) -> Result<(Shown, u64), Failure> {
        let path = format!("/onepool/items/{}", segment(&item.product));
        let answer = done(self.get(&path, urgency).await?, Effect::Read)?;
        wire::item(&answer)
    }

    /// An older write that meets a newer one has nothing left to do.
    async fn write_stock(&self, write: &StockWrite) -> Result<(), Failure> {
        let path = format!("/onepool/items/{}/stock", segment(&write.item.product));
        let body = json!({ "units": write.units, "version": write.version });
        let answer = self.write(Method::PUT, &path, body, write.urgency).await?;
        if answer.status != StatusCode::CONFLICT {
            return done(answer, Effect::Write).map(|_| ());
        }
        let known = match Problem::read(&answer.body).known_version {
            Some(known) => known,
            None => self.item(&write.item, write.urgency).await?.1,
        };
        if known > write.version {
            Ok(())
        } else {
            Err(Failure::Refused(format!(
                "version {} is refused, and the shop knows version {known}",
                write.version
            )))
        }
    }

    async fn write_price(&self, item: &ItemId, won: u64) -> Result<(), Failure> {
        let path = format!("/onepool/items/{}/price", segment(&item.product));
        let body = json!({ "price": won });
        let answer = self.write(Method::PUT, &path, body, Urgency::Up).await?;
        done(answer, Effect::Write).map(|_| ())
    }

    /// It says how many are cancelled in the end: what the buyer cancelled meanwhile counts, and a repeat cancels no more.
    async fn cancel_line(&self, write: &CancelWrite) -> Result<(), Failure> {
        let CancelReason::SoldOut = write.reason;
        let path = format!("/onepool/orders/{}/cancel", segment(&write.handle.0));
        let body = json!({ "cancelled": write.units, "reason": "sold_out" });
        let answer = self
            .write(Method::POST, &path, body, Urgency::Order)
            .await?;
        done(answer, Effect::Write).map(|_| ())
    }

    async fn check_secret(&self) -> Result<Credentials, Failure> {
        let path = format!("/onepool/items/{NO_ITEM}");
        let answer = self.get(&path, Urgency::Sweep).await?;
        if answer.status != StatusCode::NOT_FOUND {
            done(answer, Effect::Read)?;
        }
        Ok(Credentials {
            expires_at: None,
            renewed_by_use: false,
        })
    }
}

/// An answer that says it is done, or the failure it stands for.
fn done(answer: Answer, effect: Effect) -> Result<Answer, Failure> {
    let status = answer.status;
    if status.is_success() {
        return Ok(answer);
    }
    Err(effect.failure(status, said(&answer)))
}

fn said(answer: &Answer) -> String {
    let problem = Problem::read(&answer.body);
    format!(
        "{} {} {}",
        answer.status.as_u16(),
        brief(problem.kind()),
        brief(&problem.detail)
    )
    .trim()
    .to_owned()
}

impl Marketplace for Shop {
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
        self.pull_page(window, page, urgency).boxed()
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
        async move { Ok(self.item(item, urgency).await?.0) }.boxed()
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

    /// The shop agrees with its buyers itself, and shows what is cancelled.
    fn approve_cancel<'a>(&'a self, _: &'a Handle) -> BoxFuture<'a, Result<(), Failure>> {
        std::future::ready(Err(Failure::Refused(
            "the shop cancels by itself".to_owned(),
        )))
        .boxed()
    }

    fn check(&self) -> BoxFuture<'_, Result<Credentials, Failure>> {
        self.check_secret().boxed()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderMap;

    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: HeaderMap::new(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn a_status_says_what_is_known_of_the_outcome() {
        let problem =
            r#"{"type":"urn:onepool:problem:not-found","detail":"There is no item mug."}"#;
        let write = |status| done(answer(status, problem), Effect::Write).map(|_| ());
        assert_eq!(write(200), Ok(()));
        assert_eq!(
            write(404),
            Err(Failure::Refused(
                "404 not-found There is no item mug.".into()
            ))
        );
        for status in [401, 403] {
            assert!(
                matches!(write(status), Err(Failure::Credentials(_))),
                "{status}"
            );
        }
        for status in [400, 409, 422, 302] {
            assert!(
                matches!(write(status), Err(Failure::Refused(_))),
                "{status}"
            );
        }
        for status in [500, 502, 503] {
            assert!(
                matches!(write(status), Err(Failure::Unknown(_))),
                "{status}"
            );
            let read = done(answer(status, ""), Effect::Read).map(|_| ());
            assert!(matches!(read, Err(Failure::Later { .. })), "{status}");
        }
    }
}
