//! OAuth 2.0 as Cafe24 has it: a code from the seller's browser, two hours of access, two weeks of refresh, and a new
//! refresh token with every refresh.

use std::collections::HashMap;

use axum::http::{HeaderMap, StatusCode};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{
    answer::Answer,
    call::Call,
    ownstore::{Cafe24Credentials, cafe24::reply::unzoned},
};

const ACCESS: Duration = Duration::hours(2);
const REFRESH: Duration = Duration::weeks(2);
const CODE: Duration = Duration::minutes(1);
const TOKEN_LENGTH: usize = 22;

/// What the seller can allow, as far as this fake has it.
pub(crate) const SCOPES: [&str; 4] = [
    "mall.read_order",
    "mall.write_order",
    "mall.read_product",
    "mall.write_product",
];

/// What one approval of the seller allows, and until when a token of it is good.
#[derive(Clone, Debug)]
struct Grant {
    scopes: Vec<String>,
    until: OffsetDateTime,
}

/// Why a bearer may not do what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Denied {
    /// No token, or none that is good now.
    Token,
    /// The seller did not allow this.
    Scope,
}

#[derive(Debug)]
pub(crate) struct OAuth {
    client: Cafe24Credentials,
    codes: HashMap<String, Grant>,
    access: HashMap<String, Grant>,
    refresh: HashMap<String, Grant>,
    dice: fastrand::Rng,
}

impl OAuth {
    pub(crate) fn new(client: &Cafe24Credentials) -> Self {
        Self {
            client: client.clone(),
            codes: HashMap::new(),
            access: HashMap::new(),
            refresh: HashMap::new(),
            dice: fastrand::Rng::with_seed(24),
        }
    }

    /// The seller says yes in a browser: the code that comes back, good once and for a minute.
    pub(crate) fn approve(&mut self, scopes: Vec<String>, now: OffsetDateTime) -> String {
        let code = self.token();
        let until = now + CODE;
        self.codes.insert(code.clone(), Grant { scopes, until });
        code
    }

    /// `GET /api/v2/oauth/authorize`: the seller is logged in and says yes.
    pub(crate) fn authorize(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        let parameter = |name: &str| call.parameter(name).unwrap_or_default().into_owned();
        if parameter("client_id") != self.client.client_id
            || parameter("response_type") != "code"
            || parameter("redirect_uri").is_empty()
        {
            return refused("invalid_request", "Invalid client_id or redirect_uri");
        }
        let scopes = parameter("scope")
            .split([',', ' '])
            .filter(|scope| SCOPES.contains(scope))
            .map(str::to_owned)
            .collect();
        let code = self.approve(scopes, now);
        let query = form_urlencoded::Serializer::new(String::new())
            .append_pair("code", &code)
            .append_pair("state", &parameter("state"))
            .finish();
        let location = format!("{}?{query}", parameter("redirect_uri"));
        Answer::new(StatusCode::FOUND, "text/html", "").with_header("location", &location)
    }

    /// `POST /api/v2/oauth/token`. How its errors look is not documented; they are those of RFC 6749.
    pub(crate) fn issue(&mut self, call: &Call, now: OffsetDateTime) -> Answer {
        if !self.is_client(&call.headers) {
            return unknown_client();
        }
        if !is_form(&call.headers) {
            return refused("invalid_request", "Invalid content type");
        }
        let field = |name: &str| {
            form_urlencoded::parse(&call.body)
                .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
                .unwrap_or_default()
        };
        let spent = match field("grant_type").as_str() {
            "authorization_code" => self.codes.remove(&field("code")),
            // The old one is gone with its use, whether or not the answer arrives.
            "refresh_token" => self.refresh.remove(&field("refresh_token")),
            _ => return refused("unsupported_grant_type", "Invalid grant_type"),
        };
        match spent.filter(|grant| now < grant.until) {
            Some(grant) => Answer::ok(&self.tokens(grant.scopes, now)),
            None => refused("invalid_grant", "Invalid code or refresh_token"),
        }
    }

    /// `POST /api/v2/oauth/revoke`.
    pub(crate) fn revoke(&mut self, call: &Call) -> Answer {
        if !self.is_client(&call.headers) {
            return unknown_client();
        }
        let token = form_urlencoded::parse(&call.body)
            .find_map(|(key, value)| (key == "token").then(|| value.into_owned()))
            .unwrap_or_default();
        self.access.remove(&token);
        self.refresh.remove(&token);
        Answer::ok(&json!({}))
    }

    /// A pair of tokens. An access token from before stays good for its own two hours.
    pub(crate) fn tokens(&mut self, scopes: Vec<String>, now: OffsetDateTime) -> Value {
        let (access, refresh) = (self.token(), self.token());
        let grant = |until| Grant {
            scopes: scopes.clone(),
            until,
        };
        self.access.insert(access.clone(), grant(now + ACCESS));
        self.refresh.insert(refresh.clone(), grant(now + REFRESH));
        json!({
            "access_token": access,
            "expires_at": unzoned(now + ACCESS),
            "refresh_token": refresh,
            "refresh_token_expires_at": unzoned(now + REFRESH),
            "client_id": self.client.client_id,
            "mall_id": self.client.mall_id,
            "user_id": self.client.mall_id,
            "scopes": scopes,
            "issued_at": unzoned(now),
            "shop_no": "1",
            "token_type": "Bearer",
        })
    }

    pub(crate) fn check(
        &self,
        headers: &HeaderMap,
        scope: &str,
        now: OffsetDateTime,
    ) -> Result<(), Denied> {
        let grant = headers
            .get("authorization")
            .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "))
            .and_then(|token| self.access.get(token))
            .filter(|grant| now < grant.until)
            .ok_or(Denied::Token)?;
        if grant.scopes.iter().any(|allowed| allowed == scope) {
            Ok(())
        } else {
            Err(Denied::Scope)
        }
    }

    /// Every access token ends, as when the seller's app is taken away for a moment; refresh tokens stay.
    pub(crate) fn end_access(&mut self) {
        self.access.clear();
    }

    fn is_client(&self, headers: &HeaderMap) -> bool {
        let Cafe24Credentials {
            client_id,
            client_secret,
            ..
        } = &self.client;
        let expected = format!(
            "Basic {}",
            BASE64_STANDARD.encode(format!("{client_id}:{client_secret}"))
        );
        let sent = headers.get("authorization");
        sent.is_some_and(|sent| sent.as_bytes() == expected.as_bytes())
    }

    fn token(&mut self) -> String {
        (0..TOKEN_LENGTH)
            .map(|_| self.dice.alphanumeric())
            .collect()
    }
}

fn is_form(headers: &HeaderMap) -> bool {
    headers
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"))
}

fn refused(error: &str, description: &str) -> Answer {
    let body = json!({ "error": error, "error_description": description });
    Answer::json(StatusCode::BAD_REQUEST, &body)
}

fn unknown_client() -> Answer {
    let body = json!({ "error": "invalid_client", "error_description": "Invalid client" });
    Answer::json(StatusCode::UNAUTHORIZED, &body)
}
