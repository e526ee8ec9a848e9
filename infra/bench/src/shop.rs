//! A shop on air, set up and sold from by the functions themselves: `broadcast-admin` puts products on air, `order-accept`
//! takes orders, `order-process` settles them. So what is measured never looks other than what the functions write, and an
//! order's message is spelled in one place only, which is not here.

use std::{collections::HashMap, sync::Arc, time::Duration};

use serde_json::{Value, json};

use crate::{
    Result, accept,
    aws::Aws,
    dynamodb,
    events::Events,
    function::{self, Services},
    gate::{self, Stock},
    load::Load,
    messages::{Delivered, Delivering, Messages},
    payments::Payments,
    process::Process,
    redis::Server,
};

/// Processes that accept orders.
const ACCEPTING: usize = 8;
/// Processes that set the shop up.
const ADMINS: usize = 2;
/// Requests between two words on progress.
const AT_ONCE: usize = 2_500;
const PATIENCE: Duration = Duration::from_secs(120);
const START_PATIENCE: Duration = Duration::from_secs(10);

/// A broadcast with products on air, and what its functions talk to.
pub struct Shop {
    /// The gate.
    pub redis: Server,
    /// The ledger and the queues.
    pub aws: Aws,
    /// The gateway.
    pub payments: Payments,
    /// What buyers ask for.
    pub events: Events,
    /// The broadcast.
    pub broadcast: String,
    /// What is on air.
    pub products: Vec<String>,
    /// What is said beside its progress.
    pub what: &'static str,
}

/// Processes of `order-process`, and the queue they get orders from.
pub struct Settling {
    messages: Arc<Messages>,
    _processes: Vec<Process>,
}

/// Processes of `order-accept`, which take what they are given.
pub struct Accepting {
    load: Arc<Load>,
    processes: Vec<Process>,
}

/// A product's row in the ledger.
pub struct Row {
    /// Units in orders that are reserved or confirmed.
    pub sold: u64,
    /// Units that may still be sold.
    pub unsold: u64,
}

impl Shop {
    /// Opens one with so many products and so many units of each on air. `what` is said beside its progress.
    pub fn open(what: &'static str, products: usize, units: u64) -> Result<Self> {
        let mut shop = Self {
            redis: Server::start()?,
            aws: Aws::with_dynamodb()?,
            payments: Payments::start()?,
            events: Events::new()?,
            broadcast: String::new(),
            products: (1..=products)
                .map(|number| format!("sku-{number:04}"))
                .collect(),
            what,
        };
        eprintln!("{what}: going on air (products: {products})");
        let load = Arc::new(Load::default());
        let _admins = function::start_all("broadcast-admin", ADMINS, &load, shop.services())?;
        let broadcast = json!({ "title": "벤치" });
        shop.ask(&load, "POST", |_| "/broadcasts".to_owned(), &broadcast, 1)?;
        let created: Value = serde_json::from_str(&load.last_body())?;
        let id = created["broadcast_id"].as_str();
        shop.broadcast = id.ok_or("a new broadcast has no id")?.to_owned();

        let broadcast = format!("/broadcasts/{}", shop.broadcast);
        let start = format!("{broadcast}/start");
        shop.ask(&load, "POST", |_| start.clone(), &json!({}), 1)?;
        let product = json!({ "name": "상품", "list_price": 49_000 });
        let path = |product: &str| format!("/products/{product}");
        shop.ask(&load, "PUT", path, &product, products)?;
        let stock = json!({ "delta": units, "reason": "bench" });
        let path = |product: &str| format!("/products/{product}/stock");
        shop.ask(&load, "POST", path, &stock, products)?;
        let mut events = Vec::with_capacity(products);
        for product in &shop.products {
            let body = json!({
                "product_id": product,
                "live_price": 39_000,
                "limited_quantity": units,
                "per_viewer_limit": 2,
            });
            let path = format!("{broadcast}/products/spotlight");
            // Named in the body here, so each product has one of its own.
            events.push(shop.events.studio("POST", &path, &body)?);
        }
        load.run(events, ADMINS, PATIENCE)?;
        Ok(shop)
    }

    /// Asks the same of `broadcast-admin` for each of the first `count` products.
    fn ask(
        &mut self,
        load: &Load,
        method: &str,
        path: impl Fn(&str) -> String,
        body: &Value,
        count: usize,
    ) -> Result<()> {
        let events = self.products[..count]
            .iter()
            .map(|product| self.events.studio(method, &path(product), body))
            .collect::<Result<_>>()?;
        load.run(events, ADMINS, PATIENCE)?;
        Ok(())
    }

    /// Where everything is.
    pub fn services(&self) -> Services {
        Services {
            aws: self.aws.address,
            payments: self.payments.address,
            redis_port: self.redis.port,
            connections: None,
            channels: &[],
        }
    }

    /// Starts the processes that take orders.
    pub fn accepting(&self) -> Result<Accepting> {
        let load = Arc::new(Load::default());
        let processes = function::start_all(accept::NAME, ACCEPTING, &load, self.services())?;
        Ok(Accepting { load, processes })
    }

    /// Starts as many processes that settle orders.
    pub fn settling(&self, count: usize) -> Result<Settling> {
        let messages = Arc::new(Messages::new(self.aws.clone()));
        let processes = function::start_all("order-process", count, &messages, self.services())?;
        messages.wait_for(count, START_PATIENCE)?;
        Ok(Settling {
            messages,
            _processes: processes,
        })
    }

    /// Has orders accepted, each of one unit and the products in turns; of a hundred, so many are of a card that will be
    /// declined. Answers the messages that `order-accept` has put on the queue.
    pub fn accept(
        &mut self,
        accepting: &Accepting,
        orders: usize,
        declined_percent: usize,
    ) -> Result<Vec<String>> {
        let mut accepted = 0;
        while accepted < orders {
            let some = AT_ONCE.min(orders - accepted);
            let events = (accepted..accepted + some)
                .map(|number| {
                    let product = &self.products[number % self.products.len()];
                    let declined = number % 100 < declined_percent;
                    self.events.order(&self.broadcast, product, declined)
                })
                .collect::<Result<_>>()?;
            let environments = accepting.processes.len();
            accepting.load.run(events, environments, PATIENCE)?;
            accepted += some;
            if orders > AT_ONCE {
                eprintln!("{}: {accepted} of {orders} orders are accepted", self.what);
            }
        }
        let messages = self.aws.take_orders();
        if messages.len() != orders {
            let sent = messages.len();
            return Err(format!("{orders} orders were accepted, {sent} are on the queue").into());
        }
        Ok(messages)
    }

    /// Has messages settled by processes that were started for it.
    pub fn settle(
        &self,
        settling: &Settling,
        messages: Vec<String>,
        how: Delivering,
        patience: Duration,
    ) -> Result<Delivered> {
        let what = format!("{}: settled", self.what);
        settling.messages.run(&what, messages, how, patience)
    }

    /// What the ledger says of each product at this broadcast, in the order of `products`.
    pub fn rows(&self) -> Result<Vec<Row>> {
        let source = format!("source#live:{}", self.broadcast);
        let items = self.aws.dynamodb()?.items(function::STOCK_TABLE)?;
        let mut rows = HashMap::new();
        for item in &items {
            if dynamodb::text(item, "sk")? == source {
                let [sold, unsold] = ["sold", "unsold"].map(|name| dynamodb::number(item, name));
                let row = Row {
                    sold: sold?,
                    unsold: unsold?,
                };
                rows.insert(dynamodb::text(item, "pk")?, row);
            }
        }
        self.products
            .iter()
            .map(|product| {
                let row = rows.remove(product.as_str());
                row.ok_or_else(|| format!("{product} has no row in the ledger").into())
            })
            .collect()
    }

    /// What the gate says of each product, in the order of `products`.
    pub fn stocks(&self) -> Result<Vec<Stock>> {
        let mut redis = self.redis.connect()?;
        let gate = format!("{{{}}}:gate:live:{}", gate::SHOP, self.broadcast);
        self.products
            .iter()
            .map(|product| gate::stock(&mut redis, &gate, product))
            .collect()
    }
}
