//! Instructions of an order: valgrind counts those of a whole life, so a short life is taken off a long one. They repeat
//! exactly where microseconds move by a fifth, which makes them the figure to hold a change against.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::{
    Result,
    accept::{self, Backends},
    function,
    load::Load,
    process, runtime_api,
};

const FEW: usize = 100;
const MANY: usize = 1_000;
const PATIENCE: Duration = Duration::from_secs(90);

/// Counts them; `None` without valgrind.
pub fn instructions_per_order(backends: &mut Backends) -> Result<Option<f64>> {
    if !process::installed("valgrind") {
        return Ok(None);
    }
    let few = instructions(backends, FEW)?;
    let many = instructions(backends, MANY)?;
    Ok(Some((many - few) / (MANY - FEW) as f64))
}

fn instructions(backends: &mut Backends, orders: usize) -> Result<f64> {
    eprintln!("accept: instructions of {orders} orders (valgrind takes its time)");
    let counts =
        std::env::temp_dir().join(format!("onepool-bench-{}.callgrind", std::process::id()));
    let total = life_of(backends, orders, &counts);
    // It is not there if valgrind did not get that far.
    let _gone = fs::remove_file(&counts);
    total
}

fn life_of(backends: &mut Backends, orders: usize, counts: &Path) -> Result<f64> {
    backends.open_gate()?;
    let load = Arc::new(Load::default());
    let runtime_api = runtime_api::start(load.clone())?;
    let mut process =
        function::start_counted(accept::NAME, runtime_api, backends.services(), counts)?;
    backends.order(&load, 1, orders, PATIENCE)?;
    process.terminate();
    process.wait(PATIENCE)?;
    let text = fs::read_to_string(counts)?;
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.ok_or("valgrind wrote no total")?.trim().parse()?)
}
