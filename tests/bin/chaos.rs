//! `make chaos`: a million operations and their faults, a table of what came of them, and `target/chaos/report.json`.

use std::{env, fs, process::ExitCode, time::Duration};

use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use indicatif::{ProgressBar, ProgressStyle};
use onepool_tests::{
    chaos::{Outcome, Plan, run},
    workspace_root,
};

/// Requests, deliveries and faults, unless `OPERATIONS` says otherwise.
const OPERATIONS: u64 = 1_000_000;
/// Shops at once, unless `WORLDS` says otherwise.
const WORLDS: u64 = 24;
/// How long a shorter history is looked for, unless `PATIENCE` says otherwise.
const PATIENCE_S: u64 = 120;

fn main() -> ExitCode {
    let plan = Plan {
        seed: number("SEED").unwrap_or_else(|| fastrand::u64(..1_000_000)),
        first: number("HISTORY").unwrap_or(0),
        operations: number("OPERATIONS").unwrap_or(OPERATIONS),
        patience: Duration::from_secs(number("PATIENCE").unwrap_or(PATIENCE_S)),
        worlds: usize::try_from(number("WORLDS").unwrap_or(WORLDS)).unwrap_or(1),
    };
    eprintln!("seed {}", plan.seed);
    let bar = ProgressBar::new(plan.operations);
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len} operations, {per_sec}, {eta} to go",
    );
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(500));
    let outcome = run(plan, |operations| bar.set_position(operations));
    bar.finish_and_clear();
    println!("{}", table(&outcome));
    if let Some(failure) = &outcome.failure {
        println!("{failure}");
    }
    match write(&outcome) {
        Ok(()) if outcome.report.is_clean() => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the report was not written: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.replace('_', "").parse().ok()
}

fn table(outcome: &Outcome) -> Table {
    let Outcome { report, tally, .. } = outcome;
    let rate = report.operations as f64 / report.seconds.max(f64::MIN_POSITIVE);
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header(["", &format!("seed {}", report.seed)]);
    for (name, value) in [
        ("operations", report.operations.to_string()),
        ("faults among them", report.faults.to_string()),
        ("histories", outcome.histories.to_string()),
        ("orders accepted", tally.accepted.to_string()),
        ("orders confirmed", tally.confirmed.to_string()),
        ("orders failed", tally.failed.to_string()),
        ("units put right in gates", tally.repaired.to_string()),
        ("oversold", report.oversold.to_string()),
        ("lost", report.lost.to_string()),
        ("doubled", report.doubled.to_string()),
        ("drift", report.drift.to_string()),
        (
            "seconds",
            format!("{:.1} ({rate:.0} operations a second)", report.seconds),
        ),
    ] {
        table.add_row([name, &value]);
    }
    table
}

fn write(outcome: &Outcome) -> std::io::Result<()> {
    let folder = workspace_root().join("target/chaos");
    fs::create_dir_all(&folder)?;
    let report = serde_json::to_string_pretty(&outcome.report)?;
    fs::write(folder.join("report.json"), report + "\n")
}
