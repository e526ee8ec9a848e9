//! Bearer tokens, the bcrypt signature they are asked for with, and the days on which the format was broken.

use std::{collections::BTreeSet, io, str::FromStr};

use axum::http::header::CONTENT_TYPE;
use base64::{
    Engine,
    alphabet::BCRYPT,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD},
};
use fakes::env::text;
use serde_json::{Value, json};
use time::{Date, Duration, OffsetDateTime};

use super::answers::Invalid;
use crate::call::Call;

/// How long a signature's timestamp is good.
const SIGNATURE_LIFE: Duration = Duration::minutes(5);

/// A salt is 22 characters for 16 bytes: the last one has four bits too many, and bcrypt ignores them.
const SALT: GeneralPurpose = GeneralPurpose::new(
    &BCRYPT,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

/// What the Commerce API Center shows the seller.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The application's id.
    pub client_id: String,
    /// The application's secret, which is a bcrypt salt.
    pub client_secret: String,
}

impl Default for Credentials {
    fn default() -> Self {
        Self {
            client_id: "demo-app-id".to_owned(),
            // A cost of 4 is the lowest, and both 4 and 10 are given out.
            client_secret: "$2a$04$N9qo8uLOickgx2ZMRZoMye".to_owned(),
        }
    }
}

impl Credentials {
    /// Reads `MARKETPLACES_SMARTSTORE_CLIENT_ID` and `MARKETPLACES_SMARTSTORE_CLIENT_SECRET`.
    pub(crate) fn from_env() -> io::Result<Self> {
        let default = Self::default();
        let client_secret =
            text("MARKETPLACES_SMARTSTORE_CLIENT_SECRET")?.unwrap_or(default.client_secret);
        if split_secret(&client_secret).is_none() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "MARKETPLACES_SMARTSTORE_CLIENT_SECRET is no bcrypt salt",
            ));
        }
        Ok(Self {
            client_id: text("MARKETPLACES_SMARTSTORE_CLIENT_ID")?.unwrap_or(default.client_id),
            client_secret,
        })
    }
}

/// Cost and salt of `$2a$10$` and 22 characters.
fn split_secret(secret: &str) -> Option<(u32, [u8; 16])> {
    let (cost, salt) = secret.strip_prefix("$2a$")?.split_once('$')?;
    let salt = SALT.decode(salt).ok()?.try_into().ok()?;
    Some((cost.parse().ok()?, salt))
}

/// `client_secret_sign` for a timestamp: bcrypt over `client_id_timestamp`, in Base64. None when the secret is no salt.
pub(super) fn sign(credentials: &Credentials, timestamp: &str) -> Option<String> {
    let (cost, salt) = split_secret(&credentials.client_secret)?;
    let password = format!("{}_{timestamp}", credentials.client_id);
    let hash = bcrypt::hash_with_salt(password, cost, salt).ok()?;
    // The prefix is the secret's own; the library's default is another, and the text must be equal.
    Some(STANDARD.encode(hash.format_for_version(bcrypt::Version::TwoA)))
}

#[derive(Clone, Debug)]
struct Token {
    value: String,
    expires: OffsetDateTime,
}

/// How tokens are given out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) life: Duration,
    /// With more than this left, the same token is given again.
    pub(super) renewal: Duration,
}

/// What came of asking for a token.
#[derive(Debug)]
pub(super) enum Asked {
    Given(Value),
    Refused(Vec<Invalid>),
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    valid: Vec<Token>,
    /// Days in Korea with a token request that broke the format; the last two are enough.
    broken: BTreeSet<Date>,
}

impl Tokens {
    /// The token endpoint.
    pub(super) fn ask(
        &mut self,
        credentials: &Credentials,
        call: &Call,
        terms: Terms,
        now: OffsetDateTime,
    ) -> Asked {
        let broken = breaches(call);
        if !broken.is_empty() {
            self.note_breach(now);
            return Asked::Refused(broken);
        }
        let wrong = mistakes(credentials, call, now);
        if !wrong.is_empty() {
            return Asked::Refused(wrong);
        }
        let token = self.current(terms, now);
        Asked::Given(json!({
            "access_token": token.value,
            "expires_in": (token.expires - now).whole_seconds(),
            "token_type": "Bearer",
        }))
    }

    pub(super) fn is_valid(&self, bearer: &str, now: OffsetDateTime) -> bool {
        self.valid
            .iter()
            .any(|token| token.value == bearer && now < token.expires)
    }

    /// All that were given out are worth nothing from here on.
    pub(super) fn revoke(&mut self) {
        self.valid.clear();
    }

    /// Whether the format was broken on this day in Korea.
    pub(super) fn broke_on(&self, day: Option<Date>) -> bool {
        day.is_some_and(|day| self.broken.contains(&day))
    }

    fn note_breach(&mut self, now: OffsetDateTime) {
        self.broken.insert(now.date());
        while self.broken.len() > 2 {
            self.broken.pop_first();
        }
    }

    /// The newest token while it is long enough, or a new one beside it.
    fn current(&mut self, terms: Terms, now: OffsetDateTime) -> Token {
        self.valid.retain(|token| now < token.expires);
        if let Some(newest) = self.valid.last()
            && newest.expires - now > terms.renewal
        {
            return newest.clone();
        }
        let token = Token {
            // Never the same twice, so that one from before a reset is not taken for one from after it.
            value: format!("fake-{:032x}", fastrand::u128(..)),
            expires: now + terms.life,
        };
        self.valid.push(token.clone());
        token
    }
}

/// The mistakes that are punished: a request that makes one of them costs the application its rate.
fn breaches(call: &Call) -> Vec<Invalid> {
    let mut found = Vec::new();
    if !call.query.is_empty() {
        found.push(Invalid::new(
            "query",
            "NotAllowed",
            "Parameters belong in the body.",
        ));
    }
    let content_type = call.header(CONTENT_TYPE.as_str()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
        found.push(Invalid::new(
            "Content-Type",
            "NotAllowed",
            "It must be application/x-www-form-urlencoded.",
        ));
    }
    if field(call, "grant_type").is_none() {
        found.push(Invalid::missing("grant_type"));
    }
    if field(call, "type").as_deref() == Some("SELF") && field(call, "account_id").is_some() {
        found.push(Invalid::new(
            "account_id",
            "NotAllowed",
            "Type SELF has no account.",
        ));
    }
    found
}

/// The mistakes that are only refused.
fn mistakes(credentials: &Credentials, call: &Call, now: OffsetDateTime) -> Vec<Invalid> {
    let mut found = Vec::new();
    let mut given = |name: &str| {
        let value = field(call, name);
        if value.is_none() {
            found.push(Invalid::missing(name));
        }
        value.unwrap_or_default()
    };
    let client_id = given("client_id");
    let timestamp = given("timestamp");
    let signature = given("client_secret_sign");
    let kind = given("type");
    let grant_type = given("grant_type");
    if !found.is_empty() {
        return found;
    }
    if grant_type != "client_credentials" {
        found.push(wrong("grant_type", "It is always client_credentials."));
    }
    if kind != "SELF" {
        // Agencies and solutions act for other sellers; this one has one seller.
        found.push(wrong("type", "The application is a seller's own."));
    }
    if client_id != credentials.client_id {
        found.push(wrong("client_id", "There is no such application."));
    }
    if !is_fresh(&timestamp, now) {
        found.push(wrong("timestamp", "It is not from the last five minutes."));
    }
    if found.is_empty() && sign(credentials, &timestamp).as_deref() != Some(&signature) {
        found.push(wrong("client_secret_sign", "The signature does not match."));
    }
    found
}

/// The documents say how old a timestamp may be. That one from the future has as long is our reading.
fn is_fresh(timestamp: &str, now: OffsetDateTime) -> bool {
    let now_ms = now.unix_timestamp_nanos() / 1_000_000;
    i64::from_str(timestamp)
        .is_ok_and(|ms| (now_ms - i128::from(ms)).abs() <= SIGNATURE_LIFE.whole_milliseconds())
}

fn wrong(name: &str, message: &str) -> Invalid {
    Invalid::new(name, "NotValid", message)
}

fn field(call: &Call, name: &str) -> Option<String> {
    form_urlencoded::parse(&call.body)
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::{Credentials, sign};

    fn signed(client_id: &str, client_secret: &str, timestamp: &str) -> Option<String> {
        let credentials = Credentials {
            client_id: client_id.to_owned(),
            client_secret: client_secret.to_owned(),
        };
        sign(&credentials, timestamp)
    }

    #[test]
    fn the_documented_signature_comes_out() {
        // The last character of this salt has spare bits: the hash shows it without them.
        assert_eq!(
            signed(
                "aaaabbbbcccc",
                "$2a$10$abcdefghijklmnopqrstuv",
                "1643961623299"
            )
            .as_deref(),
            Some(
                "JDJhJDEwJGFiY2RlZmdoaWprbG1ub3BxcnN0dXVCVldZSk42T0VPdEx1OFY0cDQxa2IuTnpVaUEzbmsy"
            )
        );
        assert_eq!(
            signed(
                "demo-app-id",
                "$2a$04$N9qo8uLOickgx2ZMRZoMye",
                "1767225600000"
            )
            .as_deref(),
            Some(
                "JDJhJDA0JE45cW84dUxPaWNrZ3gyWk1SWm9NeWVKNGxnZkdLSGRRdkpVN1U0R2c4WkdNcHdOcmI2TWVl"
            )
        );
    }

    #[test]
    fn a_secret_that_is_no_salt_signs_nothing() {
        assert_eq!(signed("demo-app-id", "secret", "1767225600000"), None);
        assert_eq!(signed("demo-app-id", "$2a$04$short", "1767225600000"), None);
    }
}
