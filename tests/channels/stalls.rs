//! The stalls of a mall: what each marketplace calls the mug and its own calls, and what it lets us in with.

use std::{collections::BTreeMap, sync::Arc};

use onepool::{
    channel::{ItemId, Ports, call::Setup, quota::Quota, token::InMemory},
    config::Secret,
};
use serde_json::{Value, json};

use crate::hint;

/// What the own store is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OwnStore {
    /// A shop on Cafe24.
    Cafe24,
    /// A shop with a backend of its own, which speaks the signed protocol.
    Plain,
}

/// A marketplace as its API has it. Faults go by the names of its calls.
pub(crate) struct Stall {
    channel: &'static str,
    pub(crate) marketplace: &'static str,
    /// The mug as we list it: product and option.
    listed: (&'static str, Option<&'static str>),
    /// The mug as its buyers order it.
    bought: (Option<&'static str>, Option<&'static str>),
    /// Writes stock.
    pub(crate) write: &'static str,
    /// Reads it.
    pub(crate) read: &'static str,
    /// Lists orders.
    pub(crate) lists: &'static [&'static str],
    /// Confirms them.
    pub(crate) confirm: &'static str,
}

const STALLS: [Stall; 5] = [
    Stall {
        channel: "smartstore",
        marketplace: "smartstore",
        listed: ("11000000001", Some("41000000001")),
        bought: (Some("11000000001"), Some("41000000001")),
        write: "option_stock",
        read: "product",
        lists: &["feed", "query"],
        confirm: "confirm",
    },
    Stall {
        channel: "coupang",
        marketplace: "coupang",
        listed: ("3000000001", None),
        bought: (None, Some("3000000001")),
        write: "quantity",
        read: "inventory",
        lists: &["ordersheets", "returns", "ordersheet"],
        confirm: "acknowledge",
    },
    Stall {
        channel: "elevenst",
        marketplace: "elevenst",
        listed: ("9100000001", Some("44000000001")),
        bought: (Some("9100000001"), Some("44000000001")),
        write: "stockqty",
        read: "stck",
        lists: &["complete", "packaging", "canceledorders", "orderlistall"],
        confirm: "reqpackaging",
    },
    Stall {
        channel: "ownstore",
        marketplace: "cafe24",
        listed: ("100", Some("P000000100A0")),
        bought: (Some("100"), Some("P000000100A0")),
        write: "set_inventory",
        read: "product",
        lists: &["orders"],
        confirm: "process_status",
    },
    Stall {
        channel: "ownstore",
        marketplace: "shop",
        listed: ("mug", None),
        bought: (Some("mug"), None),
        write: "shop_set_stock",
        read: "shop_item",
        lists: &["shop_orders"],
        confirm: "shop_confirm",
    },
];

impl Stall {
    /// The one of a channel.
    pub(crate) fn of(channel: &str, own: OwnStore) -> &'static Self {
        let marketplace = match (channel, own) {
            ("ownstore", OwnStore::Cafe24) => "cafe24",
            ("ownstore", OwnStore::Plain) => "shop",
            (other, _) => other,
        };
        let found = STALLS.iter().find(|stall| stall.marketplace == marketplace);
        found.expect("one of the five")
    }

    /// The mug as a listing names it.
    pub(crate) fn item(&self) -> ItemId {
        let (product, option) = self.listed;
        ItemId {
            product: product.to_owned(),
            option: option.map(str::to_owned),
        }
    }

    /// What a buyer orders.
    pub(crate) fn order(&self, units: u64) -> Value {
        let mut line = json!({ "quantity": units });
        let (product, option) = self.bought;
        for (name, id) in [("productId", product), ("optionId", option)] {
            if let Some(id) = id {
                line[name] = json!(id);
            }
        }
        json!({ "lines": [line] })
    }

    /// What puts the mug up here: the call of the control API, and its body.
    pub(crate) fn new_item(&self, stock: u64) -> (&'static str, Value) {
        let mut item = json!({ "name": "머그", "price": 12_900 });
        let (product, option) = self.bought;
        let Some(option) = option else {
            item["itemId"] = json!(product);
            item["units"] = json!(stock);
            return ("actions/shop-item", item);
        };
        item["options"] = json!([{ "optionId": option, "name": "흰색", "stock": stock }]);
        if let Some(product) = product {
            item["productId"] = json!(product);
        }
        ("items", item)
    }

    /// Units in stock of an item in its books.
    pub(crate) fn stock(&self, item: &Value) -> i64 {
        let stock = match self.bought {
            (_, None) => &item["stock"],
            (_, Some(option)) => {
                let options = item["options"].as_array().expect("options");
                let found = options.iter().find(|found| found["optionId"] == option);
                &found.expect("it is in the books")["stock"]
            }
        };
        stock.as_i64().expect("units")
    }

    /// Units of a line in its books that were not cancelled.
    pub(crate) fn kept(&self, line: &Value) -> i64 {
        let units = |name: &str| line[name].as_i64().expect("units");
        match self.marketplace {
            "smartstore" => units("remainQuantity"),
            "coupang" => units("quantity") - units("cancelCount"),
            "elevenst" => units("left"),
            "shop" => units("quantity") - units("cancelled"),
            // What is cancelled of an item is one of its own there.
            _ if line["state"]
                .as_str()
                .is_some_and(|state| state.starts_with("C4")) =>
            {
                0
            }
            _ => units("quantity"),
        }
    }

    /// What it lets us in with. Cafe24 wants a token of its mall as well.
    pub(crate) fn credentials(&self) -> Vec<(&'static str, &'static str)> {
        match self.marketplace {
            "smartstore" => vec![
                ("client_id", "demo-app-id"),
                ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye"),
            ],
            "coupang" => vec![
                ("access_key", "demo-access-key"),
                ("secret_key", "demo-secret-key"),
                ("vendor_id", "A00012345"),
                ("user_id", "wing-user"),
            ],
            "elevenst" => vec![("api_key", "demo0000000000000000000000000000")],
            "shop" => vec![("secret", hint::SECRET)],
            _ => vec![
                ("mall_id", "demomall"),
                ("client_id", "demoClient"),
                ("client_secret", "demoSecret"),
            ],
        }
    }

    /// What it lets nobody in with, any more.
    pub(crate) fn revoked(&self) -> Vec<(&'static str, &'static str)> {
        let mut credentials = self.credentials();
        match self.marketplace {
            "smartstore" => credentials[1].1 = "$2a$04$......................",
            "coupang" => credentials[1].1 = "revoked-secret-key",
            "elevenst" => credentials[0].1 = "revoked0000000000000000000000000",
            "shop" => credentials[0].1 = "whsec_cmV2b2tlZA==",
            _ => credentials.push(("refresh_token", "revoked")),
        }
        credentials
    }

    /// Has it among the ports of a function, let in with these.
    pub(crate) fn open(
        &self,
        ports: &mut Ports,
        url: &str,
        credentials: &[(&str, &str)],
        quota: &Arc<dyn Quota>,
        tokens: &Arc<InMemory>,
    ) {
        let credentials: BTreeMap<_, _> = credentials
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Secret::new(*text)))
            .collect();
        let setup = Setup {
            channel: self.channel.to_owned(),
            base_url: url.to_owned(),
            credentials,
            quota: Arc::clone(quota),
            tokens: tokens.clone(),
        };
        ports.open(self.marketplace, setup).expect("it opens");
    }
}
