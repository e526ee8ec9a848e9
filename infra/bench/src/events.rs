//! What API Gateway hands to functions: orders, each of another viewer and with another key, and what operators ask for.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::{Result, function, gate, payments};

const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// A request of the HTTP API.
struct Call<'a> {
    user: &'a str,
    role: &'a str,
    method: &'a str,
    route: &'a str,
    path: &'a str,
    parameters: Value,
    body: &'a Value,
}

/// Makes events; none twice.
#[derive(Clone)]
pub struct Events {
    key: Hmac<Sha256>,
    made: u64,
}

impl Events {
    /// None yet.
    pub fn new() -> Result<Self> {
        let key = Hmac::new_from_slice(function::TOKEN_SECRET.as_bytes())?;
        Ok(Self { key, made: 0 })
    }

    /// So many more orders of the product that `gate` puts on air.
    pub fn take(&mut self, count: usize) -> Result<Vec<String>> {
        (0..count)
            .map(|_| self.order(gate::BROADCAST, gate::PRODUCT, false))
            .collect()
    }

    /// An order of one unit, by a new viewer, whose card may be one that is declined.
    pub fn order(&mut self, broadcast: &str, product: &str, declined: bool) -> Result<String> {
        let number = self.made + 1;
        let viewer = format!("viewer-{number:08}");
        let card = if declined {
            payments::DECLINED
        } else {
            "billing"
        };
        self.event(&Call {
            user: &viewer,
            role: "viewer",
            method: "POST",
            route: "/broadcasts/{broadcast_id}/orders",
            path: &format!("/broadcasts/{broadcast}/orders"),
            parameters: json!({ "broadcast_id": broadcast }),
            body: &json!({
                "lines": [{"product_id": product, "quantity": 1}],
                "payment": {
                    "method": "billing_key",
                    "billing_key": format!("{card}-{number:024}"),
                    "customer_key": viewer,
                },
            }),
        })
    }

    /// What an operator asks of `broadcast-admin`.
    pub fn studio(&mut self, method: &str, path: &str, body: &Value) -> Result<String> {
        self.event(&Call {
            user: "operator-1",
            role: "operator",
            method,
            // The function goes by the path alone.
            route: path,
            path,
            parameters: json!({}),
            body,
        })
    }

    fn event(&mut self, call: &Call<'_>) -> Result<String> {
        self.made += 1;
        let number = self.made;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let token = self.token(call.user, call.role, (now + TOKEN_LIFETIME).as_secs());
        let body = call.body.to_string();
        let (method, path) = (call.method, call.path);
        let route_key = format!("{method} {}", call.route);
        // Payload 2.0 of an HTTP API, with the headers a phone sends.
        let event = json!({
            "version": "2.0",
            "routeKey": route_key,
            "rawPath": path,
            "rawQueryString": "",
            "headers": {
                "accept": "application/json",
                "accept-encoding": "gzip, deflate, br",
                "accept-language": "ko-KR,ko;q=0.9",
                "authorization": format!("Bearer {token}"),
                "content-length": body.len().to_string(),
                "content-type": "application/json",
                "host": "abcdefghij.execute-api.ap-northeast-2.amazonaws.com",
                "idempotency-key": format!("6f1c1f9e-3a0b-4d8e-9b1a-{number:012x}"),
                "origin": "https://shop.example",
                "user-agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                "x-amzn-trace-id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
                "x-forwarded-for": "203.0.113.7",
                "x-forwarded-port": "443",
                "x-forwarded-proto": "https",
            },
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "abcdefghij",
                "domainName": "abcdefghij.execute-api.ap-northeast-2.amazonaws.com",
                "domainPrefix": "abcdefghij",
                "http": {
                    "method": method,
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": route_key,
                "stage": "$default",
                "time": "01/Jan/2026:00:00:00 +0000",
                "timeEpoch": u64::try_from(now.as_millis())?,
            },
            "pathParameters": call.parameters,
            "body": body,
            "isBase64Encoded": false,
        });
        Ok(event.to_string())
    }

    /// A token as the shop's backend signs it (JWT, HS256).
    fn token(&self, user: &str, role: &str, expires: u64) -> String {
        let header = r#"{"typ":"JWT","alg":"HS256"}"#;
        let claims =
            json!({"sub": user, "name": "구매자", "role": role, "exp": expires}).to_string();
        let [header, claims] =
            [header, &claims].map(|part| BASE64URL_NOPAD.encode(part.as_bytes()));
        let signature = self
            .key
            .clone()
            .chain_update(format!("{header}.{claims}"))
            .finalize()
            .into_bytes();
        format!("{header}.{claims}.{}", BASE64URL_NOPAD.encode(&signature))
    }
}
