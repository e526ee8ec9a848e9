//! The fake marketplaces of `infra/marketplaces`, a process of their own, with the limits that they have by themselves; and what
//! their buyers do, through the control API.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use crate::{
    Result,
    client::{Answer, Client},
    function, process,
    process::Process,
};

const NAME: &str = "onepool-marketplaces";

/// The vendor's keys at Coupang: who calls, and what signs.
pub const COUPANG_ACCESS_KEY: &str = "demo-access-key";
pub const COUPANG_SECRET_KEY: &str = "demo-secret-key";

/// The channels of the shop, by the names that figures have for them; in this order everywhere.
pub const CHANNELS: [Channel; 4] = [
    Channel {
        name: "smartstore",
        figure: "smartstore",
    },
    Channel {
        name: "coupang",
        figure: "coupang",
    },
    Channel {
        name: "elevenst",
        figure: "elevenst",
    },
    Channel {
        name: "ownstore",
        figure: "cafe24",
    },
];

/// A channel.
#[derive(Clone, Copy)]
pub struct Channel {
    /// What the shop calls it.
    pub name: &'static str,
    /// What figures call it: the marketplace.
    pub figure: &'static str,
}

/// What a marketplace calls one of our products.
pub struct Item {
    /// The product.
    pub product: String,
    /// Its one option.
    pub option: String,
}

impl Item {
    /// That of the product with this number, at this place of [`CHANNELS`].
    pub fn of(channel: usize, number: usize) -> Self {
        match CHANNELS[channel].name {
            "smartstore" => Self {
                product: format!("{}", 11_000_000_001_u64 + number as u64),
                option: format!("{}", 41_000_000_001_u64 + number as u64),
            },
            // Coupang sells options; nothing asks for the product.
            "coupang" => {
                let option = format!("{}", 3_000_000_001_u64 + number as u64);
                Self {
                    product: option.clone(),
                    option,
                }
            }
            "elevenst" => Self {
                product: format!("{}", 9_100_000_001_u64 + number as u64),
                option: format!("{}", 44_000_000_001_u64 + number as u64),
            },
            _ => Self {
                product: format!("{}", 100 + number),
                option: format!("P{:09}A0", 100 + number),
            },
        }
    }
}

/// The marketplaces, until they are dropped.
pub struct Fakes {
    clients: [Mutex<Client>; 4],
    addresses: [SocketAddr; 4],
    _process: Process,
}

impl Fakes {
    /// Starts them, each on a free port.
    pub fn start() -> Result<Self> {
        let file = function::file(NAME)?;
        let file = file
            .to_str()
            .ok_or("the path of the target folder is no text")?;
        let mut command = process::bound(file);
        command.env_clear();
        let (process, out) = Process::start_heard(&mut command)?;
        let mut lines = BufReader::new(out).lines();
        let mut addresses = Vec::new();
        for channel in CHANNELS {
            let line = lines.next().ok_or("the marketplaces did not start")??;
            let address = line
                .strip_prefix(channel.name)
                .and_then(|rest| rest.strip_prefix(" listening on http://"))
                .ok_or_else(|| format!("the marketplaces said {line}"))?;
            addresses.push(address.parse::<SocketAddr>()?);
        }
        let clients: Vec<Mutex<Client>> = addresses
            .iter()
            .map(|address| Client::connect(*address).map(Mutex::new))
            .collect::<Result<_>>()?;
        let four = || "there are four marketplaces".to_owned();
        Ok(Self {
            clients: clients.try_into().map_err(|_| four())?,
            addresses: addresses.try_into().map_err(|_| four())?,
            _process: process,
        })
    }

    /// What the functions are told of them, with an authorization of the own store that nobody has used yet.
    pub fn variables(&self) -> Result<Vec<(String, String)>> {
        let own = self.does(3, "actions/cafe24-tokens", &json!({}))?;
        let credentials = [
            json!({ "client_id": "demo-app-id", "client_secret": "$2a$04$N9qo8uLOickgx2ZMRZoMye" }),
            json!({
                "access_key": COUPANG_ACCESS_KEY, "secret_key": COUPANG_SECRET_KEY,
                "vendor_id": "A00012345", "user_id": "wing-user",
            }),
            json!({ "api_key": "demo0000000000000000000000000000" }),
            json!({
                "mall_id": "demomall", "client_id": "demoClient", "client_secret": "demoSecret",
                "refresh_token": own["refresh_token"],
            }),
        ];
        let mut variables = Vec::new();
        for ((channel, address), credentials) in
            CHANNELS.iter().zip(self.addresses).zip(credentials)
        {
            let name = channel.name.to_uppercase();
            variables.push((format!("{name}_BASE_URL"), format!("http://{address}")));
            variables.push((format!("{name}_CREDENTIALS"), credentials.to_string()));
        }
        Ok(variables)
    }

    /// A buyer, the seller's office or the fault script does something; it has to work.
    pub fn does(&self, channel: usize, what: &str, body: &Value) -> Result<Value> {
        let path = format!("/sandbox/{what}");
        let answer = self.ask(channel, "POST", &path, "", &body.to_string())?;
        read(&path, &answer)
    }

    /// The marketplace's own books.
    pub fn books(&self, channel: usize, what: &str) -> Result<Value> {
        let path = format!("/sandbox/{what}");
        let answer = self.ask(channel, "GET", &path, "", "")?;
        read(&path, &answer)
    }

    /// What the marketplace was asked after the request with this number, oldest first, as its record tells it.
    pub fn requests(&self, channel: usize, after: u64) -> Result<Vec<Value>> {
        let mut books = self.books(channel, &format!("requests?after={after}"))?;
        let requests: Vec<Value> = serde_json::from_value(books["requests"].take())?;
        match requests.first().and_then(|first| first["number"].as_u64()) {
            Some(first) if first > after + 1 => {
                Err("the marketplace was asked more than its record holds".into())
            }
            _ => Ok(requests),
        }
    }

    /// The number of the request that the marketplace was asked last.
    pub fn last_request(&self, channel: usize) -> Result<u64> {
        let books = self.books(channel, "requests")?;
        let requests = books["requests"].as_array();
        let last = requests.and_then(|requests| requests.last()?["number"].as_u64());
        last.ok_or_else(|| "nobody has asked the marketplace anything".into())
    }

    /// A buyer orders units of the product with this number. Answers whether they were there.
    pub fn buys(&self, channel: usize, number: usize, units: u64) -> Result<bool> {
        let body = order(channel, number, units).to_string();
        let answer = self.ask(channel, "POST", "/sandbox/orders", "", &body)?;
        match answer.status {
            200 => Ok(true),
            409 => Ok(false),
            _ => read("/sandbox/orders", &answer).map(|_| false),
        }
    }

    /// No more faults.
    pub fn calm(&self, channel: usize) -> Result<()> {
        let answer = self.ask(channel, "DELETE", "/sandbox/faults", "", "")?;
        read("/sandbox/faults", &answer).map(drop)
    }

    /// The product with this number is put on sale.
    pub fn put_on_sale(&self, channel: usize, number: usize, price: u64, units: u64) -> Result<()> {
        let item = Item::of(channel, number);
        let mut body = json!({
            "name": "상품", "price": price,
            "options": [{ "optionId": item.option, "name": "흰색", "stock": units }],
        });
        if CHANNELS[channel].name != "coupang" {
            body["productId"] = json!(item.product);
        }
        self.does(channel, "items", &body).map(drop)
    }

    /// The units that each of the first `count` products shows.
    pub fn shown(&self, channel: usize, count: usize) -> Result<Vec<u64>> {
        let mut books = self.books(channel, "items")?;
        let items = books["items"].as_array_mut().ok_or("books without items")?;
        let options = items
            .iter()
            .flat_map(|item| item["options"].as_array().into_iter().flatten());
        let stocks: std::collections::HashMap<&str, u64> = options
            .filter_map(|option| Some((option["optionId"].as_str()?, option["stock"].as_u64()?)))
            .collect();
        (0..count)
            .map(|number| {
                let option = Item::of(channel, number).option;
                let stock = stocks.get(option.as_str()).copied();
                stock.ok_or_else(|| format!("{option} is not in the books").into())
            })
            .collect()
    }

    /// Sends a request on the connection that is kept for this.
    pub fn ask(
        &self,
        channel: usize,
        method: &str,
        path: &str,
        headers: &str,
        body: &str,
    ) -> Result<Answer> {
        let client = &self.clients[channel];
        let mut client = client.lock().unwrap_or_else(PoisonError::into_inner);
        client.ask(method, path, headers, body)
    }
}

/// Whether a marketplace that answers so was asked too often. Coupang's edge turns away whoever went on with a page.
pub fn is_one_too_many(channel: usize, status: u64) -> bool {
    status == 429 || (status == 403 && CHANNELS[channel].name == "coupang")
}

/// What a buyer orders.
pub fn order(channel: usize, number: usize, units: u64) -> Value {
    let item = Item::of(channel, number);
    let mut line = json!({ "optionId": item.option, "quantity": units });
    if CHANNELS[channel].name != "coupang" {
        line["productId"] = json!(item.product);
    }
    json!({ "lines": [line] })
}

fn read(path: &str, answer: &Answer) -> Result<Value> {
    if answer.status == 200 {
        return Ok(serde_json::from_slice(&answer.body)?);
    }
    let text = String::from_utf8_lossy(&answer.body);
    Err(format!("{path} was answered {}: {text}", answer.status).into())
}
