//! Calls: the key's header, the quota, and what the HTTP status says before anything is read.

use std::time::Duration;

use reqwest::{Method, header::HeaderValue};

pub(super) use super::super::call::segment;
use super::{
    super::{
        Failure, SetupError,
        call::{Caller, Effect, Setup, Terms},
        korea,
        quota::{Rate, Urgency},
    },
    wire::{self, Outcome, Row, Stock, Tag},
};
use crate::clock;

const BUCKET: &str = "elevenst";
/// The limit is not published. One and a half a second is what clients in production keep to.
const RATE: Rate = Rate {
    per_second: 1.5,
    burst: 3,
};
/// Not said either: long enough to matter.
const PAUSE: Duration = Duration::from_secs(5);

/// Makes the calls.
pub(super) struct Calls {
    caller: Caller,
    api_key: HeaderValue,
}

impl Calls {
    pub(super) fn new(setup: &Setup) -> Result<Self, SetupError> {
        let mut api_key = HeaderValue::from_str(setup.credential("api_key")?.reveal())
            .map_err(|_| setup.wrong("api_key", "not what a header can carry"))?;
        api_key.set_sensitive(true);
        Ok(Self {
            caller: Caller::new(setup),
            api_key,
        })
    }

    /// A list of orders or claims; `None` if it is too long to be read.
    pub(super) async fn list(
        &self,
        path: &str,
        urgency: Urgency,
    ) -> Result<Option<Vec<Row>>, Failure> {
        let answer = self
            .answer(Method::GET, path, None, Effect::Read, urgency)
            .await?;
        match answer {
            Some(text) => wire::rows(&text).map(Some),
            None => Ok(None),
        }
    }

    /// The same, of which more would be a mistake.
    pub(super) async fn orders(&self, path: &str, urgency: Urgency) -> Result<Vec<Row>, Failure> {
        wire::rows(
            &self
                .text(Method::GET, path, None, Effect::Read, urgency)
                .await?,
        )
    }

    /// Does something to an order. It is a GET all the same.
    pub(super) async fn order_write(
        &self,
        path: &str,
        urgency: Urgency,
    ) -> Result<Outcome, Failure> {
        wire::order_outcome(
            &self
                .text(Method::GET, path, None, Effect::Write, urgency)
                .await?,
        )
    }

    /// The stock numbers of a product.
    pub(super) async fn stocks(&self, path: &str, urgency: Urgency) -> Result<Vec<Stock>, Failure> {
        wire::stocks(
            &self
                .text(Method::GET, path, None, Effect::Read, urgency)
                .await?,
        )
    }

    /// What a product costs now.
    pub(super) async fn tag(&self, path: &str, urgency: Urgency) -> Result<Tag, Failure> {
        let text = self
            .text(Method::GET, path, None, Effect::Read, urgency)
            .await?;
        wire::tag(&text, &korea::date(clock::now()))
    }

    /// Does something to a product.
    pub(super) async fn product_write(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        urgency: Urgency,
    ) -> Result<Outcome, Failure> {
        wire::product_outcome(
            &self
                .text(method, path, body, Effect::Write, urgency)
                .await?,
        )
    }

    async fn text(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        effect: Effect,
        urgency: Urgency,
    ) -> Result<String, Failure> {
        let answer = self.answer(method, path, body, effect, urgency).await?;
        answer.ok_or_else(|| effect.lost("an answer too long to be read"))
    }

    /// `None` if the answer is too long to be read.
    async fn answer(
        &self,
        method: Method,
        path: &str,
        body: Option<String>,
        effect: Effect,
        urgency: Urgency,
    ) -> Result<Option<String>, Failure> {
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency,
            effect,
        };
        let url = self.caller.url(path);
        let answer = self
            .caller
            .send_bounded(terms, |client| {
                let request = client
                    .request(method, url)
                    .header("openapikey", self.api_key.clone())
                    .header("content-type", "text/xml; charset=euc-kr");
                match body {
                    Some(body) => request.body(body),
                    None => request,
                }
            })
            .await?;
        let Some(answer) = answer else {
            return Ok(None);
        };
        self.caller.check_rate(BUCKET, &answer, PAUSE).await?;
        // Nearly everything comes with 200, so another status is of what stands before the API.
        if !answer.status.is_success() {
            return Err(effect.failure(answer.status, answer.status.to_string()));
        }
        Ok(Some(wire::decode(&answer.body)))
    }
}
