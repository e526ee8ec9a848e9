//! What API Gateway hands to `order-accept`: an order, each of another viewer and with another key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::json;
use sha2::Sha256;

use crate::{Result, function, gate};

const TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// Makes events; none twice.
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

    /// So many more.
    pub fn take(&mut self, count: usize) -> Result<Vec<String>> {
        (0..count).map(|_| self.next()).collect()
    }

    fn next(&mut self) -> Result<String> {
        self.made += 1;
        let number = self.made;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let viewer = format!("viewer-{number:08}");
        let token = self.token(&viewer, (now + TOKEN_LIFETIME).as_secs());
        let path = format!("/broadcasts/{}/orders", gate::BROADCAST);
        let body = json!({
            "lines": [{"product_id": gate::PRODUCT, "quantity": 1}],
            "payment": {
                "method": "billing_key",
                "billing_key": format!("billing-{number:024}"),
                "customer_key": viewer,
            },
        });
        // Payload 2.0 of an HTTP API, with the headers a phone sends.
        let event = json!({
            "version": "2.0",
            "routeKey": "POST /broadcasts/{broadcast_id}/orders",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {
                "accept": "application/json",
                "accept-encoding": "gzip, deflate, br",
                "accept-language": "ko-KR,ko;q=0.9",
                "authorization": format!("Bearer {token}"),
                "content-length": body.to_string().len().to_string(),
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
                    "method": "POST",
                    "path": path,
                    "protocol": "HTTP/1.1",
                    "sourceIp": "203.0.113.7",
                    "userAgent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)",
                },
                "requestId": "JKJaXmPLvHcESHA=",
                "routeKey": "POST /broadcasts/{broadcast_id}/orders",
                "stage": "$default",
                "time": "01/Jan/2026:00:00:00 +0000",
                "timeEpoch": u64::try_from(now.as_millis())?,
            },
            "pathParameters": {"broadcast_id": gate::BROADCAST},
            "body": body.to_string(),
            "isBase64Encoded": false,
        });
        Ok(event.to_string())
    }

    /// A token as the shop's backend signs it (JWT, HS256).
    fn token(&self, viewer: &str, expires: u64) -> String {
        let header = r#"{"typ":"JWT","alg":"HS256"}"#;
        let claims =
            json!({"sub": viewer, "name": "구매자", "role": "viewer", "exp": expires}).to_string();
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
