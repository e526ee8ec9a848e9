//! What goes over the wire: calls with the token, the gateway's limits, and what its refusals mean.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use super::SmartStore;
use crate::channel::{
    Failure,
    call::{Answer, Effect, Terms},
    lenient::brief,
    quota::{Rate, Seen, Urgency},
};

/// What applications of sellers were seen to have. The headers of each answer say what is true.
const RATE: Rate = Rate {
    per_second: 2.0,
    burst: 2,
};
/// No `Retry-After` is documented. A second brings back a call or two; the jitter keeps runners apart.
const LIMITED_FOR: Duration = Duration::from_secs(1);
const LIMIT_JITTER_MS: u64 = 500;
/// Of what the gateway blocks by itself: a circuit that is open, and maintenance.
const CIRCUIT_FOR: Duration = Duration::from_secs(30);
const MAINTENANCE_FOR: Duration = Duration::from_secs(5 * 60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// One API. The gateway counts the calls of each by itself, whatever ids are in the path.
pub(super) struct Api {
    method: Method,
    bucket: &'static str,
    effect: Effect,
}

macro_rules! apis {
    ($($name:ident = $method:ident $path:literal, $effect:ident;)*) => {$(
        pub(super) const $name: Api = Api {
            method: Method::$method,
            bucket: concat!(stringify!($method), " ", $path),
            effect: Effect::$effect,
        };
    )*};
}

apis! {
    LAST_CHANGED = GET "/v1/pay-order/seller/product-orders/last-changed-statuses", Read;
    LIST = GET "/v1/pay-order/seller/product-orders", Read;
    DETAILS = POST "/v1/pay-order/seller/product-orders/query", Read;
    CONFIRM = POST "/v1/pay-order/seller/product-orders/confirm", Write;
    CANCEL = POST "/v1/pay-order/seller/product-orders/{productOrderId}/claim/cancel/request", Write;
    APPROVE = POST "/v1/pay-order/seller/product-orders/{productOrderId}/claim/cancel/approve", Write;
    PRODUCT = GET "/v2/products/origin-products/{originProductNo}", Read;
    OPTION_STOCK = PUT "/v1/products/origin-products/{originProductNo}/option-stock", Write;
    MULTI_UPDATE = PATCH "/v1/products/origin-products/multi-update", Write;
    CHANGE_STATUS = PUT "/v1/products/origin-products/{originProductNo}/change-status", Write;
}

/// A refusal, as the gateway, the order API and the product API all write it.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Refusal {
    code: String,
    message: String,
    invalid_inputs: Option<Vec<InvalidInput>>,
}

#[derive(Deserialize)]
struct InvalidInput {
    #[serde(default)]
    name: String,
}

impl SmartStore {
    /// Makes a call, and reads its answer as JSON. A token that is not taken is fetched anew, once.
    pub(super) async fn call(
        &self,
        api: &Api,
        path_and_query: &str,
        body: Option<&Value>,
        urgency: Urgency,
    ) -> Result<Value, Failure> {
        let token = self.tokens.current(&self.caller).await?;
        let mut answer = self
            .send(api, path_and_query, body, urgency, &token.access)
            .await?;
        if answer.status == StatusCode::UNAUTHORIZED {
            let next = self.tokens.after(&self.caller, &token).await?;
            answer = self
                .send(api, path_and_query, body, urgency, &next.access)
                .await?;
        }
        if !answer.status.is_success() {
            return Err(refusal(&answer, api.effect));
        }
        // A write that is answered with nothing is answered.
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        answer.json(api.effect)
    }

    async fn send(
        &self,
        api: &Api,
        path_and_query: &str,
        body: Option<&Value>,
        urgency: Urgency,
        token: &str,
    ) -> Result<Answer, Failure> {
        let terms = Terms {
            bucket: api.bucket,
            rate: RATE,
            urgency,
            effect: api.effect,
        };
        let url = self.caller.url(path_and_query);
        let answer = self
            .caller
            .send(terms, |client| {
                let request = client.request(api.method.clone(), url).bearer_auth(token);
                match body {
                    Some(body) => request.json(body),
                    None => request,
                }
            })
            .await?;
        if let Some(seen) = seen(&answer) {
            self.caller.observe(api.bucket, seen).await;
        }
        Ok(answer)
    }
}

/// What an answer says of the quota of its API.
fn seen(answer: &Answer) -> Option<Seen> {
    if answer.status == StatusCode::TOO_MANY_REQUESTS {
        return Some(Seen::Blocked(blocked_for(answer)));
    }
    let small = |name| {
        answer
            .number(name)
            .and_then(|number| u32::try_from(number).ok())
    };
    let rate = small("GNCP-GW-RateLimit-Replenish-Rate")
        .zip(small("GNCP-GW-RateLimit-Burst-Capacity"))
        .map(|(per_second, burst)| Rate {
            per_second: f64::from(per_second),
            burst,
        });
    Some(Seen::Left {
        calls: small("GNCP-GW-RateLimit-Remaining")?,
        rate,
    })
}

/// How long a 429 lasts. A quota has a period; one of an hour for a single call is the sanction for a token request in the
/// wrong form, and nobody can have it lifted.
fn blocked_for(answer: &Answer) -> Duration {
    let period = answer
        .headers
        .get("GNCP-GW-Quota-Period")
        .and_then(|period| period.to_str().ok());
    match (read(&answer.body).code.as_str(), period) {
        ("GW.QUOTA_LIMIT", Some("SECONDS")) => LIMITED_FOR,
        ("GW.QUOTA_LIMIT", Some("MINUTES")) => Duration::from_secs(60),
        ("GW.QUOTA_LIMIT", Some(_) | None) => HOUR,
        _ => LIMITED_FOR + Duration::from_millis(fastrand::u64(0..LIMIT_JITTER_MS)),
    }
}

/// What an answer that is no success means.
pub(super) fn refusal(answer: &Answer, effect: Effect) -> Failure {
    let refusal = read(&answer.body);
    let reason = reason(answer.status, &refusal);
    let later = |reason, after| Failure::Later {
        reason,
        after: Some(after),
    };
    match (answer.status, refusal.code.as_str()) {
        (StatusCode::TOO_MANY_REQUESTS, code) => match blocked_for(answer) {
            after if code == "GW.QUOTA_LIMIT" && after >= HOUR => later(
                format!("{reason}: a quota is used up, or a token request had the wrong form"),
                after,
            ),
            after => Failure::Limited { reason, after },
        },
        // These two are the gateway's own: the call went no further.
        (_, "GW.BLOCK.02") => later(format!("maintenance: {reason}"), MAINTENANCE_FOR),
        (_, "GW.BLOCK.01") => later(reason, CIRCUIT_FOR),
        // Not the gateway's words: something in front of it, that may let the next one pass.
        (StatusCode::FORBIDDEN, "") => later(reason, CIRCUIT_FOR),
        // An API's own words are about what was asked of it, not about who asked.
        (StatusCode::FORBIDDEN, code) if !code.starts_with("GW.") => Failure::Refused(reason),
        (status, _) => effect.failure(status, reason),
    }
}

fn read(body: &[u8]) -> Refusal {
    serde_json::from_slice(body).unwrap_or_default()
}

fn reason(status: StatusCode, refusal: &Refusal) -> String {
    let mut words = vec![status.as_str(), &refusal.code];
    let inputs = refusal.invalid_inputs.as_deref().unwrap_or_default();
    words.extend(inputs.iter().map(|input| input.name.as_str()));
    words.push(&refusal.message);
    brief(&words.join(" "))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).expect("a status"),
            headers: headers
                .iter()
                .map(|&(name, value)| {
                    (
                        HeaderName::from_bytes(name.as_bytes()).expect("a name"),
                        HeaderValue::from_static(value),
                    )
                })
                .collect::<HeaderMap>(),
            body: body.as_bytes().to_vec(),
        }
    }

    fn coded(status: u16, code: &str) -> Answer {
        let body = format!(r#"{{"code":"{code}","message":"no","timestamp":"t","traceId":"x"}}"#);
        answer(status, &[], &body)
    }

    fn kind(failure: &Failure) -> &'static str {
        match failure {
            Failure::Refused(_) => "refused",
            Failure::Later { .. } => "later",
            Failure::Limited { .. } => "limited",
            Failure::Turn { .. } => "turn",
            Failure::Unreadable { .. } => "unreadable",
            Failure::Unknown(_) => "unknown",
            Failure::Credentials(_) => "credentials",
        }
    }

    #[test]
    fn every_failure_is_of_its_kind_and_a_write_that_may_have_happened_is_unknown() {
        for (status, code, read, write) in [
            (401, "GW.AUTHN", "credentials", "credentials"),
            (403, "GW.IP_NOT_ALLOWED", "credentials", "credentials"),
            (403, "FORBIDDEN", "refused", "refused"),
            (403, "", "later", "later"),
            (404, "GW.NOT_FOUND", "refused", "refused"),
            (404, "NOT_FOUND", "refused", "refused"),
            (400, "104139", "refused", "refused"),
            (308, "PERMANENT_REDIRECT", "refused", "refused"),
            (429, "GW.RATE_LIMIT", "limited", "limited"),
            (429, "GW.QUOTA_LIMIT", "later", "later"),
            (500, "GW.PROXY.03", "later", "unknown"),
            (500, "9999", "later", "unknown"),
            (503, "GW.BLOCK.01", "later", "later"),
            (503, "GW.BLOCK.02", "later", "later"),
            (503, "", "later", "unknown"),
            (504, "GW.TIMEOUT.02", "later", "unknown"),
        ] {
            let answer = coded(status, code);
            assert_eq!(
                kind(&refusal(&answer, Effect::Read)),
                read,
                "{status} {code}"
            );
            assert_eq!(
                kind(&refusal(&answer, Effect::Write)),
                write,
                "{status} {code}"
            );
        }
    }

    #[test]
    fn what_is_not_json_is_classed_by_its_status() {
        let html = "<html>Bad Gateway</html>";
        assert_eq!(
            kind(&refusal(&answer(502, &[], html), Effect::Write)),
            "unknown"
        );
        assert_eq!(
            kind(&refusal(&answer(400, &[], html), Effect::Write)),
            "refused"
        );
    }

    #[test]
    fn a_refusal_names_the_fields_that_are_wrong() {
        let body = r#"{"code":"BAD_REQUEST","message":"wrong\n input","invalidInputs":[{"name":"originProduct.salePrice","type":"NotNull","message":"m"}]}"#;
        assert_eq!(
            refusal(&answer(400, &[], body), Effect::Write),
            Failure::Refused("400 BAD_REQUEST originProduct.salePrice wrong input".to_owned())
        );
    }

    #[test]
    fn the_sanction_lasts_an_hour_and_a_limit_a_second() {
        let sanction = answer(
            429,
            &[
                ("gncp-gw-quota-period", "HOURS"),
                ("gncp-gw-quota-limit", "1"),
                ("gncp-gw-quota-remaining", "0"),
            ],
            r#"{"code":"GW.QUOTA_LIMIT","message":"quota"}"#,
        );
        assert_eq!(seen(&sanction), Some(Seen::Blocked(HOUR)));
        match refusal(&sanction, Effect::Write) {
            Failure::Later { after, .. } => assert_eq!(after, Some(HOUR)),
            failure @ (Failure::Refused(_)
            | Failure::Limited { .. }
            | Failure::Turn { .. }
            | Failure::Unreadable { .. }
            | Failure::Unknown(_)
            | Failure::Credentials(_)) => panic!("{failure}"),
        }
        let minute = answer(
            429,
            &[("gncp-gw-quota-period", "MINUTES")],
            r#"{"code":"GW.QUOTA_LIMIT","message":"quota"}"#,
        );
        assert_eq!(kind(&refusal(&minute, Effect::Read)), "limited");
        match seen(&coded(429, "GW.RATE_LIMIT")) {
            Some(Seen::Blocked(span)) => {
                assert!((LIMITED_FOR..LIMITED_FOR * 2).contains(&span), "{span:?}");
            }
            other @ (Some(Seen::Left { .. }) | None) => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_headers_say_what_is_left() {
        let answer = answer(
            200,
            &[
                ("gncp-gw-ratelimit-replenish-rate", "2"),
                ("gncp-gw-ratelimit-burst-capacity", "4"),
                ("gncp-gw-ratelimit-remaining", "3"),
            ],
            "{}",
        );
        let rate = Rate {
            per_second: 2.0,
            burst: 4,
        };
        assert_eq!(
            seen(&answer),
            Some(Seen::Left {
                calls: 3,
                rate: Some(rate)
            })
        );
        assert_eq!(seen(&coded(200, "")), None);
    }

    #[test]
    fn an_api_is_counted_by_its_path_without_ids() {
        assert_eq!(
            OPTION_STOCK.bucket,
            "PUT /v1/products/origin-products/{originProductNo}/option-stock"
        );
    }
}
