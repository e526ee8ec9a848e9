//! Random histories with faults, against a model (`harness/chaos`). `make chaos` runs more of them.

use std::time::Duration;

use onepool_tests::chaos::{Plan, run};

/// Requests, deliveries and faults of one run.
const OPERATIONS: u64 = 200_000;
/// The histories of a run, unless `SEED` says otherwise. `make chaos` takes others each time.
const HISTORIES: u64 = 8;
/// Shops at once: each waits a good deal, for Redis to be slow or for a second try.
const WORLDS: u64 = 24;
/// How long a shorter history is looked for.
const PATIENCE_S: u64 = 60;

#[test]
fn promises_are_kept_whatever_happens() {
    let number = |name: &str| {
        std::env::var(name)
            .ok()
            .and_then(|value| value.parse().ok())
    };
    let plan = Plan {
        seed: number("SEED").unwrap_or(HISTORIES),
        first: number("HISTORY").unwrap_or(0),
        operations: number("OPERATIONS").unwrap_or(OPERATIONS),
        patience: Duration::from_secs(number("PATIENCE").unwrap_or(PATIENCE_S)),
        worlds: number("WORLDS").unwrap_or(WORLDS) as usize,
    };
    let outcome = run(plan, |_| {});
    eprintln!("{:?}", (outcome.report, outcome.histories, outcome.tally));
    assert!(
        outcome.report.is_clean(),
        "{}",
        outcome.failure.unwrap_or_default()
    );
    assert!(outcome.report.operations >= plan.operations);
}
