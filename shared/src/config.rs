//! The one place that reads the environment. Every function asks for its own sections once, at start; a missing or
//! malformed variable stops the start with its name, so a wiring error in `template.yaml` shows at the first invocation.

use std::{collections::BTreeMap, fmt, time::Duration};

use http::Uri;
use thiserror::Error;

/// A variable that is missing or cannot be read.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// Not set, or empty.
    #[error("environment variable {0} is missing: set it in template.yaml")]
    Missing(&'static str),
    /// Set to something that does not parse.
    #[error("environment variable {name} is not {expected}")]
    Malformed {
        /// The variable.
        name: &'static str,
        /// What would have been right.
        expected: &'static str,
    },
}

/// Text that must not be shown: it has no `Display`, and its `Debug` hides it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one call that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

fn required(name: &'static str) -> Result<String, ConfigError> {
    std::env::var(name)
        .ok()
        .filter(|value| !value.is_empty())
        .ok_or(ConfigError::Missing(name))
}

fn secret(name: &'static str) -> Result<Secret, ConfigError> {
    required(name).map(Secret)
}

/// Where the gate and the rooms live.
#[derive(Debug, Clone)]
pub struct RedisConfig {
    /// `SHOP_ID`: the hash tag of every key.
    pub shop_id: String,
    /// `REDIS_URL`: `redis://` or `rediss://`. It may carry a password, hence a secret.
    pub url: Secret,
}

impl RedisConfig {
    /// Reads `SHOP_ID` and `REDIS_URL`.
    ///
    /// # Errors
    /// A variable is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            shop_id: required("SHOP_ID")?,
            url: secret("REDIS_URL")?,
        })
    }
}

/// Who the function is to AWS. Lambda sets all of it but the endpoint.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    /// `AWS_REGION`.
    pub region: String,
    /// `AWS_ACCESS_KEY_ID`.
    pub access_key_id: String,
    /// `AWS_SECRET_ACCESS_KEY`.
    pub secret_access_key: Secret,
    /// `AWS_SESSION_TOKEN`, if the credentials are temporary.
    pub session_token: Option<Secret>,
    /// `AWS_ENDPOINT_URL`, if something else stands in for AWS.
    pub endpoint_url: Option<String>,
}

impl AwsConfig {
    /// Reads the variables above.
    ///
    /// # Errors
    /// One that is needed is missing.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            region: required("AWS_REGION")?,
            access_key_id: required("AWS_ACCESS_KEY_ID")?,
            secret_access_key: secret("AWS_SECRET_ACCESS_KEY")?,
            session_token: secret("AWS_SESSION_TOKEN").ok(),
            endpoint_url: required("AWS_ENDPOINT_URL").ok(),
        })
    }
}

/// A channel, as the configuration has it.
#[derive(Debug, Clone)]
pub struct ChannelConfig {
    /// Its name; it is sold under this name.
    pub name: String,
    /// The marketplace it is, by its name in [`MARKETPLACES`](crate::channel::MARKETPLACES).
    pub marketplace: String,
    /// Where that is, without a trailing slash.
    pub base_url: String,
    /// What it is asked with.
    pub credentials: BTreeMap<String, Secret>,
}

/// `CHANNELS`: the names of the shop's channels, separated by commas; it may be empty.
///
/// # Errors
/// A name is none.
pub fn channel_names() -> Result<Vec<String>, ConfigError> {
    let names = std::env::var("CHANNELS").unwrap_or_default();
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            crate::id::check(name, 32)
                .map(|()| name.to_owned())
                .map_err(|_| ConfigError::Malformed {
                    name: "CHANNELS",
                    expected: "names of letters, digits, '.', '_' or '-', separated by commas",
                })
        })
        .collect()
}

/// A channel: `<NAME>_BASE_URL`, `<NAME>_CREDENTIALS` (a JSON object of texts) and, where the marketplace is not called as the channel is,
/// `<NAME>_MARKETPLACE`; the name in upper case.
///
/// # Errors
/// One of these is missing or malformed. That is this channel's trouble, and no other's.
pub fn channel(name: &str) -> Result<ChannelConfig, ConfigError> {
    channel_of(name, |variable| std::env::var(variable).ok())
}

fn channel_of(
    name: &str,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<ChannelConfig, ConfigError> {
    let prefix = name.to_ascii_uppercase().replace(['-', '.'], "_");
    let of = |what| variable(&format!("{prefix}_{what}")).filter(|value| !value.is_empty());
    Ok(ChannelConfig {
        marketplace: of("MARKETPLACE").unwrap_or_else(|| name.to_owned()),
        base_url: of("BASE_URL").ok_or(ConfigError::Missing("<CHANNEL>_BASE_URL"))?,
        credentials: credentials(of("CREDENTIALS").as_deref())?,
        name: name.to_owned(),
    })
}

fn credentials(text: Option<&str>) -> Result<BTreeMap<String, Secret>, ConfigError> {
    let credentials: BTreeMap<String, String> = serde_json::from_str(text.unwrap_or("{}"))
        .map_err(|_| ConfigError::Malformed {
            name: "<CHANNEL>_CREDENTIALS",
            expected: "a JSON object of texts",
        })?;
    let secrets = credentials
        .into_iter()
        .map(|(name, text)| (name, Secret(text)));
    Ok(secrets.collect())
}

/// What an own store with a backend of its own signs its messages with: `secret` of `OWNSTORE_CREDENTIALS`, if `OWNSTORE_MARKETPLACE`
/// is `shop`.
///
/// # Errors
/// `OWNSTORE_CREDENTIALS` is malformed.
pub fn signed_shop() -> Result<Option<Secret>, ConfigError> {
    if required("OWNSTORE_MARKETPLACE").is_ok_and(|name| name == "shop") {
        let text = required("OWNSTORE_CREDENTIALS").ok();
        Ok(credentials(text.as_deref())?.remove("secret"))
    } else {
        Ok(None)
    }
}

/// `ALERT_WEBHOOK_URL`: where alerts go, in Slack's format; none if it is not set.
#[must_use]
pub fn alert_webhook() -> Option<Secret> {
    secret("ALERT_WEBHOOK_URL").ok()
}

/// `CANCEL_OVERSOLD`: `true` if lines that a channel sold too many of are cancelled there by us.
#[must_use]
pub fn cancels_oversold() -> bool {
    required("CANCEL_OVERSOLD").is_ok_and(|answer| answer == "true")
}

/// `APPROVE_CANCELLATIONS`: `true` if we agree when a buyer asks to cancel what is not shipped; else a person decides.
#[must_use]
pub fn approves_cancellations() -> bool {
    required("APPROVE_CANCELLATIONS").is_ok_and(|answer| answer == "true")
}

macro_rules! text_variables {
    ($($(#[$doc:meta])* $function:ident = $name:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        /// The variable is missing.
        pub fn $function() -> Result<String, ConfigError> {
            required($name)
        }
    )*};
}

text_variables! {
    /// `CATALOG_TABLE`: products, broadcasts, spotlights.
    catalog_table = "CATALOG_TABLE";
    /// `STOCK_TABLE`: the ledger's rows of stock.
    stock_table = "STOCK_TABLE";
    /// `ORDERS_TABLE`: one item an order.
    orders_table = "ORDERS_TABLE";
    /// `ORDERS_QUEUE_URL`: where accepted orders go.
    orders_queue_url = "ORDERS_QUEUE_URL";
    /// `ORDERS_DEAD_LETTER_QUEUE_URL`: where messages are that nobody could settle.
    orders_dead_letter_queue_url = "ORDERS_DEAD_LETTER_QUEUE_URL";
    /// `CHANNEL_SYNC_QUEUE_URL`: where `channel-sync` hears that there is something to push.
    channel_sync_queue_url = "CHANNEL_SYNC_QUEUE_URL";
    /// `CHANNEL_PULL_QUEUE_URL`: where `channel-poll` hears that a channel is to be pulled before its schedule.
    channel_pull_queue_url = "CHANNEL_PULL_QUEUE_URL";
    /// `ROOM_WAKE_QUEUE_URL`: where a room that has something to say is named.
    room_wake_queue_url = "ROOM_WAKE_QUEUE_URL";
    /// `TOSS_BASE_URL`: the payment gateway, without a trailing slash.
    toss_base_url = "TOSS_BASE_URL";
}

/// `WEBSOCKET_CALLBACK_URL`: where `@connections` answers, stage included.
///
/// # Errors
/// The variable is missing, or no `http` or `https` URL.
pub fn websocket_callback_url() -> Result<Uri, ConfigError> {
    let name = "WEBSOCKET_CALLBACK_URL";
    let url: Option<Uri> = required(name)?.parse().ok();
    let url = url.filter(|url| matches!(url.scheme_str(), Some("http" | "https")));
    url.ok_or(ConfigError::Malformed {
        name,
        expected: "an http or https URL",
    })
}

/// `TOKEN_SECRET`: what the shop's backend signs tokens with.
///
/// # Errors
/// The variable is missing.
pub fn token_secret() -> Result<Secret, ConfigError> {
    secret("TOKEN_SECRET")
}

/// `TOSS_SECRET_KEY`: the secret key of Toss Payments.
///
/// # Errors
/// The variable is missing.
pub fn toss_secret_key() -> Result<Secret, ConfigError> {
    secret("TOSS_SECRET_KEY")
}

/// `AWS_LAMBDA_LOG_LEVEL`, or `RUST_LOG`: the least that is logged; `INFO` if neither says.
#[must_use]
pub fn log_level() -> tracing::level_filters::LevelFilter {
    required("AWS_LAMBDA_LOG_LEVEL")
        .or_else(|_| required("RUST_LOG"))
        .ok()
        .and_then(|level| level.parse().ok())
        .unwrap_or(tracing::level_filters::LevelFilter::INFO)
}

/// `AWS_LAMBDA_LOG_FORMAT`: whether log lines are JSON.
#[must_use]
pub fn logs_json() -> bool {
    required("AWS_LAMBDA_LOG_FORMAT").is_ok_and(|format| format.eq_ignore_ascii_case("json"))
}

fn whole_number(
    name: &'static str,
    range: std::ops::RangeInclusive<u64>,
    expected: &'static str,
) -> Result<u64, ConfigError> {
    let number = required(name)?
        .parse()
        .ok()
        .filter(|number| range.contains(number));
    number.ok_or(ConfigError::Malformed { name, expected })
}

/// `HOLD_SECONDS`: how long an unsettled order keeps its units.
///
/// # Errors
/// The variable is missing, or not a whole number of seconds from 1 to 86,400.
pub fn hold_period() -> Result<Duration, ConfigError> {
    whole_number(
        "HOLD_SECONDS",
        1..=86_400,
        "a whole number of seconds, 1 to 86400",
    )
    .map(Duration::from_secs)
}

/// `HOLD_CEILING_SECONDS`: the longest an order may keep its units unpaid, whatever its buyer does.
///
/// # Errors
/// The variable is missing, or not a whole number of seconds from 1 to 86,400.
pub fn hold_ceiling() -> Result<Duration, ConfigError> {
    whole_number(
        "HOLD_CEILING_SECONDS",
        1..=86_400,
        "a whole number of seconds, 1 to 86400",
    )
    .map(Duration::from_secs)
}

/// `FENCE_WAIT_SECONDS`: the longest a spotlight waits until the channels show that its units are gone.
///
/// # Errors
/// The variable is missing, or not a whole number of seconds from 0 to 20.
pub fn fence_wait() -> Result<Duration, ConfigError> {
    whole_number(
        "FENCE_WAIT_SECONDS",
        0..=20,
        "a whole number of seconds, 0 to 20",
    )
    .map(Duration::from_secs)
}

/// `CALLBACK_BUDGET`: posts a second that one room may make. A room with more viewers gets fewer frames.
///
/// # Errors
/// The variable is missing, or not a whole number from 1 to 100,000.
pub fn callback_budget() -> Result<u64, ConfigError> {
    whole_number(
        "CALLBACK_BUDGET",
        1..=100_000,
        "a whole number of posts a second, 1 to 100000",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_never_printed() {
        let config = RedisConfig {
            shop_id: "demo".into(),
            url: Secret::new("redis://:pass@host"),
        };
        assert!(!format!("{config:?}").contains("pass"));
    }

    #[test]
    fn what_is_wrong_with_a_channel_is_said_without_its_secrets() {
        let channel = |credentials: &'static str| {
            channel_of("own.store", move |variable| match variable {
                "OWN_STORE_BASE_URL" => Some("https://shop.example".to_owned()),
                "OWN_STORE_CREDENTIALS" => Some(credentials.to_owned()),
                _other => None,
            })
        };
        let read = channel(r#"{"secret":"hidden"}"#).expect("it is right");
        assert_eq!(read.marketplace, "own.store");
        assert_eq!(read.credentials["secret"].reveal(), "hidden");
        let error = channel("{\"secret\": hidden").expect_err("is no JSON");
        let error = error.to_string();
        assert!(
            error.contains("_CREDENTIALS") && !error.contains("hidden"),
            "{error}"
        );
        let nowhere = channel_of("coupang", |_variable| None).expect_err("has no address");
        assert!(nowhere.to_string().contains("_BASE_URL"));
    }

    #[test]
    fn a_missing_variable_is_named() {
        let error = required("ONEPOOL_NO_SUCH_VARIABLE").expect_err("is not set");
        assert!(error.to_string().contains("ONEPOOL_NO_SUCH_VARIABLE"));
    }
}
