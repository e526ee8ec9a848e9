//! `init.*`, `rss.*`, `size.*`: what starting each function costs.

use std::{
    fs,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use crate::{
    Result,
    aws::Aws,
    function::{self, Services},
    load::Load,
    options::Options,
    report::{Report, least, median},
    runtime_api,
};

const STARTS: usize = 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a process may settle before its memory is read.
const REST: Duration = Duration::from_millis(20);

/// Measures every function.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let mut measured = false;
    // Nothing is to be called during a start: there is no Redis, and a call would fail.
    let aws = Aws::queues()?.address;
    let services = Services {
        aws,
        payments: aws,
        redis_port: 1,
        connections: None,
        channels: &[],
    };
    for name in function::ALL {
        let [cpu, wall] = ["cpu", "wall"].map(|time| format!("init.{name}.{time}_ms"));
        let [memory, size] = ["rss", "size"].map(|what| format!("{what}.{name}.mib"));
        if !options.wants(&[&cpu, &wall, &memory, &size]) {
            continue;
        }
        eprintln!("start: {name}");
        measured = true;
        let file = function::file(name)?;
        let starts: Vec<Start> = (0..STARTS)
            .map(|_| start(name, services))
            .collect::<Result<_>>()?;
        let each = |value: fn(&Start) -> f64| starts.iter().map(value).collect::<Vec<_>>();
        report.add(cpu, least(&each(|start| start.cpu_ms)), "ms");
        report.add(wall, least(&each(|start| start.wall_ms)), "ms");
        report.add(memory, median(each(|start| start.resident_mib)), "MiB");
        report.add(
            size,
            fs::metadata(file)?.len() as f64 / (1_024.0 * 1_024.0),
            "MiB",
        );
    }
    if measured {
        report.note(format!(
            "init: the least of {STARTS} starts, from starting the process until it asks for work"
        ));
    }
    Ok(())
}

struct Start {
    cpu_ms: f64,
    wall_ms: f64,
    resident_mib: f64,
}

fn start(name: &str, services: Services) -> Result<Start> {
    let load = Arc::new(Load::default());
    let runtime_api = runtime_api::start(load.clone())?;
    let started = Instant::now();
    let process = function::start(name, runtime_api, services)?;
    let asked = load
        .wait_for_idle(1, PATIENCE)
        .map_err(|error| format!("{name} did not start: {error}"))?;
    let cpu = process.cpu()?;
    thread::sleep(REST);
    Ok(Start {
        cpu_ms: cpu.as_secs_f64() * 1_000.0,
        wall_ms: (asked - started).as_secs_f64() * 1_000.0,
        resident_mib: process.resident_mib()?,
    })
}
