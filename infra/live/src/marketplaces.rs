//! The fake marketplaces, one process that is reached over HTTP like the real ones: an address for each.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::{CHANNELS, Config};
use crate::error::{Context, Error, Result};
use crate::processes::{Death, Orphan, Processes};
use crate::say;

const PROGRAM: &str = "onepool-marketplaces";
/// What the shop with a backend of its own calls the product.
const SHOP_ITEM: &str = "mug";

/// A channel of the shop.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Where its marketplace is.
    pub url: String,
    /// What it is asked with, a JSON object of texts.
    pub credentials: String,
    /// Whether its marketplace is ours to order about.
    pub is_fake: bool,
    /// Whether it is a shop with a backend of its own.
    is_shop: bool,
}

/// The channels by name.
pub type Channels = BTreeMap<String, Channel>;

/// Starts the fakes of the marketplaces that the configuration does not name.
pub async fn start(processes: &Processes, config: &Config) -> Result<Channels> {
    let since = Instant::now();
    let mut channels = Channels::new();
    for (name, url) in &config.channels {
        say::ready(&format!("{name} (given)"), url, since);
        let credentials = config.credentials.get(name).cloned();
        let is_shop = is_shop(name, config);
        let channel = Channel {
            url: url.clone(),
            credentials: credentials.unwrap_or_else(|| demo_credentials(name, is_shop).to_string()),
            is_fake: false,
            is_shop,
        };
        channels.insert(name.clone(), channel);
    }
    if channels.len() == CHANNELS.len() {
        return Ok(channels);
    }
    for (name, url) in fakes(processes, config).await? {
        if channels.contains_key(&name) {
            continue;
        }
        let is_shop = is_shop(&name, config);
        let mut credentials = demo_credentials(&name, is_shop);
        if name == "ownstore" && !is_shop {
            credentials["refresh_token"] = first_refresh_token(&url).await?;
        }
        let channel = Channel {
            url,
            credentials: credentials.to_string(),
            is_fake: true,
            is_shop,
        };
        channels.insert(name, channel);
    }
    say::ready(
        "marketplaces",
        "smartstore, coupang, elevenst, ownstore",
        since,
    );
    Ok(channels)
}

/// Has the fakes that tell of their sales tell the HTTP API at `http`. A shop that was given is told where to in its own backend.
pub async fn send_hints_to(channels: &Channels, http: &str) -> Result<()> {
    let telling = channels
        .iter()
        .filter(|(_, channel)| channel.is_fake && channel.is_shop);
    for (name, channel) in telling {
        let hints = json!({ "shop": { "hintUrl": format!("{http}/channels/{name}/hint") } });
        order_about(&channel.url, "settings", &hints).await?;
    }
    Ok(())
}

/// Starts the process; where each marketplace listens.
async fn fakes(processes: &Processes, config: &Config) -> Result<BTreeMap<String, String>> {
    let program = config.binaries.join(PROGRAM);
    if !program.is_file() {
        return Err(Error::new(format!("{} is missing", program.display())).fix("run `make build`"));
    }
    processes.start(
        "marketplaces",
        (Orphan::Killed, Death::EndsTheRun),
        &program,
        |_command| {},
    )?;
    let log = processes.log("marketplaces");
    processes
        .until_ready("marketplaces", Duration::from_secs(10), async || {
            let text = std::fs::read_to_string(&log).ok()?;
            let listening: BTreeMap<_, _> = text
                .lines()
                .filter_map(|line| line.split_once(" listening on "))
                .map(|(name, url)| (name.to_owned(), url.trim().to_owned()))
                .collect();
            (listening.len() == CHANNELS.len()).then_some(listening)
        })
        .await
}

fn is_shop(name: &str, config: &Config) -> bool {
    name == "ownstore" && config.own_store_marketplace == "shop"
}

/// What the fakes accept when they are told nothing else.
fn demo_credentials(name: &str, is_shop: bool) -> Value {
    match name {
        _ if is_shop => json!({ "secret": "whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=" }),
        "smartstore" => json!({
            "client_id": "demo-app-id",
            "client_secret": "$2a$04$N9qo8uLOickgx2ZMRZoMye",
        }),
        "coupang" => json!({
            "access_key": "demo-access-key",
            "secret_key": "demo-secret-key",
            "vendor_id": "A00012345",
        }),
        "elevenst" => json!({ "api_key": "demo0000000000000000000000000000" }),
        _ => json!({
            "mall_id": "demomall",
            "client_id": "demoClient",
            "client_secret": "demoSecret",
        }),
    }
}

/// The seller of the own store has said yes to us once.
async fn first_refresh_token(url: &str) -> Result<Value> {
    let pair = order_about(url, "actions/cafe24-tokens", &json!({})).await?;
    Ok(pair["refresh_token"].clone())
}

impl Channel {
    /// The seller puts a product up at the marketplace, by hand, with nothing in stock. Returns what it is called there, as our listing
    /// says it; `None` if the marketplace is not ours to order about.
    pub async fn put_up(&self, name: &str, title: &str, price: i64) -> Result<Option<Value>> {
        if !self.is_fake {
            return Ok(None);
        }
        if self.is_shop {
            let item = json!({ "itemId": SHOP_ITEM, "name": title, "units": 0, "price": price });
            order_about(&self.url, "actions/shop-item", &item).await?;
            return Ok(Some(json!({ "channel_product_id": SHOP_ITEM })));
        }
        let (product, option) = match name {
            "smartstore" => ("11000000001", "41000000001"),
            "coupang" => ("", "3000000001"),
            "elevenst" => ("9100000001", "44000000001"),
            _ => ("100", "P000000100A0"),
        };
        let options = json!([{ "optionId": option, "name": title, "stock": 0 }]);
        let mut item = json!({ "name": title, "price": price, "options": options });
        let mut listing = json!({ "channel_product_id": option });
        // Coupang has nothing above the option.
        if !product.is_empty() {
            item["productId"] = json!(product);
            listing = json!({ "channel_product_id": product, "channel_option_id": option });
        }
        order_about(&self.url, "items", &item).await?;
        Ok(Some(listing))
    }
}

/// Asks the control API of a fake for something.
async fn order_about(url: &str, what: &str, body: &Value) -> Result<Value> {
    let asking = || format!("{url}/sandbox/{what}");
    reqwest::Client::new()
        .post(asking())
        .json(body)
        .send()
        .await
        .and_then(reqwest::Response::error_for_status)
        .context(asking)?
        .json()
        .await
        .context(asking)
}
