//! Calls: the key's header, the quota, and what the HTTP status says before anything is read.

use std::time::Duration;

use reqwest::{Method, StatusCode, header::HeaderValue};

pub(super) use super::super::call::segment;
use super::{
    super::{
        Failure, SetupError,
        call::{Caller, Effect, Setup, Terms},
        quota::{Rate, Seen, Urgency},
    },
    wire::{self, Outcome, Row, Stock},
};

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

    /// A list of orders or claims.
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
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency,
            effect,
        };
        let url = self.caller.url(path);
        let answer = self
            .caller
            .send(terms, |client| {
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
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            let pause = answer
                .number("retry-after")
                .map_or(PAUSE, Duration::from_secs);
            self.caller.observe(BUCKET, Seen::Blocked(pause)).await;
            return Err(Failure::Later {
                reason: "rate limited".to_owned(),
                after: Some(pause),
            });
        }
        match refusal(answer.status, effect) {
            Some(failure) => Err(failure),
            None => Ok(wire::decode(&answer.body)),
        }
    }
}

/// What a status other than success means. Nearly everything comes with 200, so these are of what stands before the API.
fn refusal(status: StatusCode, effect: Effect) -> Option<Failure> {
    let said = status.to_string();
    if status.is_success() {
        None
    } else if matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
        Some(Failure::Credentials(said))
    } else if status.is_server_error() || status == StatusCode::REQUEST_TIMEOUT {
        Some(effect.lost(said))
    } else {
        Some(Failure::Refused(said))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_is_known_of_the_outcome() {
        for effect in [Effect::Read, Effect::Write] {
            assert_eq!(refusal(StatusCode::OK, effect), None);
            for status in [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN] {
                assert!(matches!(
                    refusal(status, effect),
                    Some(Failure::Credentials(_))
                ));
            }
            for status in [StatusCode::NOT_FOUND, StatusCode::MOVED_PERMANENTLY] {
                assert!(matches!(refusal(status, effect), Some(Failure::Refused(_))));
            }
        }
        let down = StatusCode::SERVICE_UNAVAILABLE;
        assert!(matches!(
            refusal(down, Effect::Read),
            Some(Failure::Later { .. })
        ));
        assert!(matches!(
            refusal(down, Effect::Write),
            Some(Failure::Unknown(_))
        ));
    }
}
