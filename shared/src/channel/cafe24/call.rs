//! Calls: the token, the version, the bucket, and what a status says.

use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::{
    super::{
        Failure, SetupError,
        call::{Answer, Caller, Effect, Setup, Terms},
        lenient::brief,
        quota::{Rate, Seen, Urgency},
    },
    token::Tokens,
};
use crate::clock::Timestamp;

/// Sent with each call: without it the app's own setting counts, which can be years old.
const VERSION: &str = "2026-03-01";
const BUCKET: &str = "cafe24";
/// A bucket of 40 that two a second leak from; the header has the truth.
const RATE: Rate = Rate {
    per_second: 2.0,
    burst: 40,
};
const PAUSE: Duration = Duration::from_secs(1);

/// What a writing call came to.
#[derive(Debug)]
pub(super) enum Reply {
    /// Done, with the answer's body.
    Body(Value),
    /// It is so already.
    Same,
    /// Not done, with why.
    Refused(String),
}

/// Makes the calls.
pub(super) struct Calls {
    caller: Caller,
    tokens: Tokens,
    shop_no: u64,
}

impl Calls {
    pub(super) fn new(setup: &Setup) -> Result<Self, SetupError> {
        // The base address has the mall's name in it, so nothing is asked with this one; but a channel without it is not set up.
        setup.credential("mall_id")?;
        let shop_no = match setup.optional("shop_no") {
            Some(number) => number
                .reveal()
                .parse()
                .map_err(|_| setup.wrong("shop_no", "not a number"))?,
            None => 1,
        };
        Ok(Self {
            caller: Caller::new(setup),
            tokens: Tokens::new(setup)?,
            shop_no,
        })
    }

    pub(super) fn shop_no(&self) -> u64 {
        self.shop_no
    }

    /// Until when the app is authorized, if nobody called from now on.
    pub(super) async fn authorized_until(&self) -> Result<Option<Timestamp>, Failure> {
        self.tokens.authorized_until().await
    }

    /// Reads.
    pub(super) async fn get(&self, path: &str, urgency: Urgency) -> Result<Value, Failure> {
        let answer = self
            .send(Effect::Read, urgency, |client| {
                client
                    .get(self.caller.url(path))
                    .header("content-type", "application/json")
            })
            .await?;
        match outcome(&answer, Effect::Read)? {
            Reply::Body(body) => Ok(body),
            Reply::Same => Err(Failure::Refused(answer.status.to_string())),
            Reply::Refused(why) => Err(Failure::Refused(why)),
        }
    }

    /// Writes.
    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: &Value,
        urgency: Urgency,
    ) -> Result<Reply, Failure> {
        let answer = self
            .send(Effect::Write, urgency, |client| {
                client
                    .request(method.clone(), self.caller.url(path))
                    .json(body)
            })
            .await?;
        outcome(&answer, Effect::Write)
    }

    /// Makes the call with the token there is; if that one is not taken, once more with the next.
    async fn send(
        &self,
        effect: Effect,
        urgency: Urgency,
        build: impl Fn(&Client) -> RequestBuilder,
    ) -> Result<Answer, Failure> {
        let token = self.tokens.good(&self.caller).await?;
        let answer = self.attempt(effect, urgency, &build, &token.access).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        let token = self.tokens.after(&self.caller, token.version).await?;
        self.attempt(effect, urgency, &build, &token.access).await
    }

    async fn attempt(
        &self,
        effect: Effect,
        urgency: Urgency,
        build: impl Fn(&Client) -> RequestBuilder,
        access: &str,
    ) -> Result<Answer, Failure> {
        let terms = Terms {
            bucket: BUCKET,
            rate: RATE,
            urgency,
            effect,
        };
        let answer = self
            .caller
            .send(terms, |client| {
                build(client)
                    .bearer_auth(access)
                    .header("x-cafe24-api-version", VERSION)
            })
            .await?;
        if let Some(seen) = seen(&answer) {
            self.caller.observe(BUCKET, seen).await;
        }
        Ok(answer)
    }
}

/// What the headers say of the quota.
fn seen(answer: &Answer) -> Option<Seen> {
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Some(Seen::Blocked(pause(answer)));
    }
    let header = answer.headers.get("x-api-call-limit")?.to_str().ok()?;
    let (used, capacity) = header.split_once('/')?;
    let (used, capacity): (u32, u32) = (used.trim().parse().ok()?, capacity.trim().parse().ok()?);
    Some(Seen::Left {
        calls: capacity.saturating_sub(used),
        rate: Some(Rate {
            burst: capacity,
            ..RATE
        }),
    })
}

/// Of the two quotas of ten minutes each says in how many seconds there is more; the bucket leaks at once.
fn pause(answer: &Answer) -> Duration {
    ["x-cafe24-call-remain", "x-cafe24-time-remain"]
        .into_iter()
        .filter_map(|name| answer.number(name))
        .map(Duration::from_secs)
        .fold(PAUSE, Duration::max)
}

fn outcome(answer: &Answer, effect: Effect) -> Result<Reply, Failure> {
    let status = answer.status;
    if status.is_success() {
        return answer.json(effect).map(Reply::Body);
    }
    let why = said(answer);
    match status {
        StatusCode::CONFLICT => Ok(Reply::Same),
        StatusCode::TOO_MANY_REQUESTS => Err(Failure::Limited {
            reason: why,
            after: pause(answer),
        }),
        _ => match effect.failure(status, why) {
            Failure::Refused(why) => Ok(Reply::Refused(why)),
            failure @ (Failure::Later { .. }
            | Failure::Limited { .. }
            | Failure::Turn { .. }
            | Failure::Unreadable { .. }
            | Failure::Unknown(_)
            | Failure::Credentials(_)) => Err(failure),
        },
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: Option<Said>,
}

#[derive(Deserialize)]
struct Said {
    #[serde(default)]
    message: String,
}

fn said(answer: &Answer) -> String {
    let message = serde_json::from_slice::<Refusal>(&answer.body)
        .ok()
        .and_then(|refusal| refusal.error)
        .map(|said| brief(&said.message))
        .unwrap_or_default();
    format!("{} {message}", answer.status.as_u16())
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn the_bucket_is_read_from_its_header() {
        let Some(Seen::Left { calls, rate }) =
            seen(&answer(200, &[("x-api-call-limit", "38/40")], ""))
        else {
            panic!("the header says it");
        };
        assert_eq!((calls, rate.map(|rate| rate.burst)), (2, Some(40)));
        assert_eq!(seen(&answer(200, &[], "")), None);
        assert_eq!(
            seen(&answer(200, &[("x-api-call-limit", "many")], "")),
            None
        );
    }

    #[test]
    fn too_many_calls_wait_as_long_as_they_are_told() {
        assert_eq!(
            seen(&answer(
                429,
                &[
                    ("x-cafe24-call-remain", "37"),
                    ("x-cafe24-time-remain", "5")
                ],
                ""
            )),
            Some(Seen::Blocked(Duration::from_secs(37)))
        );
        assert_eq!(seen(&answer(429, &[], "")), Some(Seen::Blocked(PAUSE)));
    }

    #[test]
    fn a_status_says_what_is_known_of_the_outcome() {
        let refusal = r#"{"error":{"code":422,"message":"no such\nvariant","more_info":{}}}"#;
        let write = |status, body| outcome(&answer(status, &[], body), Effect::Write);
        assert!(matches!(write(200, "{}"), Ok(Reply::Body(_))));
        assert!(matches!(write(200, "<html>"), Err(Failure::Unknown(_))));
        assert!(matches!(write(409, refusal), Ok(Reply::Same)));
        let Ok(Reply::Refused(why)) = write(422, refusal) else {
            panic!("422 is a refusal");
        };
        assert_eq!(why, "422 no such variant");
        for status in [400, 404, 302] {
            assert!(
                matches!(write(status, ""), Ok(Reply::Refused(_))),
                "{status}"
            );
        }
        for status in [401, 403] {
            assert!(
                matches!(write(status, ""), Err(Failure::Credentials(_))),
                "{status}"
            );
        }
        assert!(matches!(write(429, ""), Err(Failure::Limited { .. })));
        for status in [500, 503, 504] {
            assert!(
                matches!(write(status, ""), Err(Failure::Unknown(_))),
                "{status}"
            );
            let read = outcome(&answer(status, &[], ""), Effect::Read);
            assert!(matches!(read, Err(Failure::Later { .. })), "{status}");
        }
    }
}
