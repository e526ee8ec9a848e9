//! `accept.*`: an order accepted by `order-accept` as it runs in Lambda: a process for each concurrent order, told of it by
//! a Runtime API, before it a real Redis and a queue that answers at once.

use std::{sync::Arc, time::Duration};

use crate::{
    Result,
    aws::Aws,
    callgrind,
    events::Events,
    function::{self, Services},
    gate,
    load::{Load, Outcome},
    options::Options,
    process::Process,
    redis::{Client, Server},
    report::Report,
};

/// The function.
pub const NAME: &str = "order-accept";

/// Processes that take orders at the same time.
const PROCESSES: usize = 8;
const ORDERS: usize = 20_000;
const ORDERS_ALONE: usize = 6_000;
/// For each process: its first order opens the connections and builds the client of the queue.
const WARM_UP_ORDERS: usize = 100;
const COUNTED_ORDERS: usize = 500;
/// What accepting an order may cost: one call of Redis, one send.
const CALLS: f64 = 2.0;

const PATIENCE: Duration = Duration::from_secs(60);
const PLENTY: u64 = 1_000_000;

const FIGURES_ALONE: [&str; 4] = [
    "accept.orders_per_s.1",
    "accept.p50_ms.1",
    "accept.p99_ms.1",
    "accept.cpu_us_per_order.1",
];
const FIGURES: [&str; 4] = [
    "accept.orders_per_s",
    "accept.p50_ms",
    "accept.p99_ms",
    "accept.cpu_us_per_order",
];
const CALLS_FIGURE: &str = "accept.calls_per_order";
const INSTRUCTIONS_FIGURE: &str = "accept.instructions_per_order";

/// What `order-accept` talks to.
pub struct Backends {
    server: Server,
    redis: Client,
    queue: Aws,
    events: Events,
}

/// Processes of `order-accept`, ready for orders.
struct Environments {
    load: Arc<Load>,
    processes: Vec<Process>,
}

/// Measures it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let (alone, calls) = (
        options.wants(&FIGURES_ALONE),
        options.wants(&[CALLS_FIGURE]),
    );
    let (together, instructions) = (
        options.wants(&FIGURES),
        options.wants(&[INSTRUCTIONS_FIGURE]),
    );
    if !(alone || calls || together || instructions) {
        return Ok(());
    }
    let server = Server::start()?;
    let redis = server.connect()?;
    let mut backends = Backends {
        server,
        redis,
        queue: Aws::queues()?,
        events: Events::new()?,
    };

    let mut calls_per_order = CALLS;
    if alone || calls {
        eprintln!("accept: 1 process");
        let environments = Environments::start(&mut backends, 1)?;
        if alone {
            environments.measure(&mut backends, ORDERS_ALONE, FIGURES_ALONE, report)?;
        }
        if calls {
            calls_per_order = environments.calls_per_order(&mut backends)?;
            report.add(CALLS_FIGURE, calls_per_order, "calls");
        }
    }
    if together {
        eprintln!("accept: {PROCESSES} processes");
        let environments = Environments::start(&mut backends, PROCESSES)?;
        environments.measure(&mut backends, ORDERS, FIGURES, report)?;
        report.note(format!(
            "accept: {PROCESSES} processes, each with its next order as soon as it has answered one; .1 is one process alone"
        ));
    }
    if instructions {
        match callgrind::instructions_per_order(&mut backends)? {
            Some(instructions) => report.add(INSTRUCTIONS_FIGURE, instructions, "instr"),
            None => report.note(format!(
                "{INSTRUCTIONS_FIGURE} is left out: valgrind is not installed"
            )),
        }
    }
    // The one figure that is a rule: it is the same on every machine.
    if calls_per_order != CALLS {
        return Err(format!(
            "accepting an order takes {calls_per_order} calls; it must be {CALLS}"
        )
        .into());
    }
    Ok(())
}

impl Backends {
    /// Where they are.
    pub fn services(&self) -> Services {
        Services {
            aws: self.queue.address,
            // No order is settled here.
            payments: self.queue.address,
            redis_port: self.server.port,
            connections: None,
            channels: &[],
        }
    }

    /// Plenty to sell, and nothing sold yet.
    pub fn open_gate(&mut self) -> Result<()> {
        gate::open(&mut self.redis, PLENTY)
    }

    /// Has so many orders accepted; every one must hold its unit.
    pub fn order(
        &mut self,
        load: &Load,
        environments: usize,
        orders: usize,
        patience: Duration,
    ) -> Result<Outcome> {
        let events = self.events.take(orders)?;
        let before = gate::left(&mut self.redis)?;
        let outcome = load.run(events, environments, patience)?;
        let after = gate::left(&mut self.redis)?;
        if before - after != orders as u64 {
            return Err(format!(
                "{orders} orders were accepted, {} hold a unit",
                before - after
            )
            .into());
        }
        Ok(outcome)
    }
}

impl Environments {
    fn start(backends: &mut Backends, count: usize) -> Result<Self> {
        backends.open_gate()?;
        let load = Arc::new(Load::default());
        let processes = function::start_all(NAME, count, &load, backends.services())?;
        backends.order(&load, count, WARM_UP_ORDERS * count, PATIENCE)?;
        Ok(Self { load, processes })
    }

    fn measure(
        &self,
        backends: &mut Backends,
        orders: usize,
        [rate, p50, p99, cpu_per_order]: [&str; 4],
        report: &mut Report,
    ) -> Result<()> {
        let before = self.cpu()?;
        let outcome = backends.order(&self.load, self.processes.len(), orders, PATIENCE)?;
        let cpu = self.cpu()? - before;
        report.add(rate, outcome.per_second(), "orders/s");
        report.add(p50, outcome.quantile_ms(0.50), "ms");
        report.add(p99, outcome.quantile_ms(0.99), "ms");
        report.add(cpu_per_order, cpu.as_secs_f64() * 1e6 / orders as f64, "us");
        Ok(())
    }

    /// Redis itself tells every command it was sent, so that one beside the script would be seen.
    fn calls_per_order(&self, backends: &mut Backends) -> Result<f64> {
        const END: &str = "the end of the counted orders";
        let mut monitor = backends.server.connect()?;
        let sent = backends.queue.requests();
        let events = backends.events.take(COUNTED_ORDERS)?;
        monitor.ask(&["MONITOR"])?;
        self.load.run(events, self.processes.len(), PATIENCE)?;
        backends.redis.ask(&["ECHO", END])?;
        let mut calls = backends.queue.requests() - sent;
        loop {
            // <time> [<database> <client, or "lua" for what a script does>] "<command>" "<argument>" ...
            let line = monitor.line()?;
            if line.contains(END) {
                break;
            }
            if !line.contains(" lua] ") {
                calls += 1;
            }
        }
        Ok(calls as f64 / COUNTED_ORDERS as f64)
    }

    fn cpu(&self) -> Result<Duration> {
        self.processes.iter().map(Process::cpu).sum()
    }
}
