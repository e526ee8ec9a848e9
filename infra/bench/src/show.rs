//! A show in a mall: a broadcast on air, whose orders `order-accept` takes and `order-process` settles.
//!
//! What is sold in a show comes out of its fence, and the fence out of the pool: marketplaces show less when a product goes on air, and
//! then nothing happens to their numbers when a viewer orders. So that is what has to be quick, and before the first order.

use std::{
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    Result, accept, dynamodb,
    events::Events,
    function::{self, Services},
    load::Load,
    mall::{self, Mall},
    messages::{Delivering, Messages},
    payments::Payments,
    process::Process,
};

const LIVE_PRICE: u64 = 9_900;
const PATIENCE: Duration = Duration::from_secs(60);

/// The show.
pub struct Show {
    broadcast: String,
    viewers: Events,
    payments: Payments,
    accepting: Arc<Load>,
    settling: Arc<Messages>,
    /// Orders that were settled.
    sold: u64,
    _processes: [Vec<Process>; 2],
}

impl Show {
    /// Starts one, with nothing on air.
    pub fn start(mall: &mut Mall) -> Result<Self> {
        let title = json!({ "title": "벤치" });
        mall.ask(vec![("POST", "/broadcasts".to_owned(), title)])?;
        let created = mall.answer()?;
        let broadcast = created["broadcast_id"].as_str();
        let broadcast = broadcast.ok_or("a new broadcast has no id")?.to_owned();
        let start = format!("/broadcasts/{broadcast}/start");
        mall.ask(vec![("POST", start, json!({}))])?;

        let payments = Payments::start()?;
        let services = Services {
            payments: payments.address,
            ..mall.services()
        };
        let accepting = Arc::default();
        let settling = Arc::new(Messages::new(mall.aws.clone()));
        let processes = [
            function::start_all(accept::NAME, 1, &accepting, services)?,
            function::start_all("order-process", 1, &settling, services)?,
        ];
        settling.wait_for(1, PATIENCE)?;
        Ok(Self {
            broadcast,
            viewers: Events::new()?,
            payments,
            accepting,
            settling,
            sold: 0,
            _processes: processes,
        })
    }

    /// A unit of a product goes on air, and a viewer orders it as soon as the host is told that it is. Whoever waits for it learns when
    /// the order was accepted.
    pub fn sell(&mut self, mall: &mut Mall, product: usize) -> Result<JoinHandle<Result<Instant>>> {
        let name = mall::name(product);
        let order = self.viewers.order(&self.broadcast, &name, false)?;
        let spotlight =
            json!({ "product_id": name, "live_price": LIVE_PRICE, "limited_quantity": 1 });
        let path = format!("/broadcasts/{}/products/spotlight", self.broadcast);
        let accepting = Arc::clone(&self.accepting);
        mall.ask_meanwhile("POST", &path, &spotlight, move || {
            accepting.run(vec![order], 1, PATIENCE)?;
            Ok(Instant::now())
        })
    }

    /// The order is settled, and its product goes off air. The order has to be paid, and in the ledger.
    pub fn settle(&mut self, mall: &mut Mall, product: usize) -> Result<()> {
        let source = format!("live:{}", self.broadcast);
        let before = dynamodb::number(&mall.row(product, &source)?, "sold")?;
        let how = Delivering {
            batch: 1,
            twice_percent: 0,
        };
        let orders = mall.aws.take_orders();
        self.settling.run("show: settled", orders, how, PATIENCE)?;
        self.sold += 1;
        let sold = dynamodb::number(&mall.row(product, &source)?, "sold")?;
        if (sold, self.payments.charged_orders()) != (before + 1, self.sold) {
            return Err("an order of the show is not paid, or not in the ledger".into());
        }
        let name = mall::name(product);
        let path = format!("/broadcasts/{}/products/{name}", self.broadcast);
        mall.ask(vec![("DELETE", path, json!({}))])
    }
}
