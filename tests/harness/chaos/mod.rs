//! Chaos: random histories of a shop over its real parts, with faults between any two steps, against a model of what may
//! come of them. What must hold is in `check.rs`, what may be answered in `model.rs`.

mod check;
mod faults;
mod gateway;
mod history;
mod model;
mod shrink;
mod world;

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
pub use model::{Promise, Violation};
use serde::Serialize;
pub use world::Tally;
use world::World;

/// Turns of one history.
const TURNS: usize = 250;
/// How often the count of a running history is told.
const TICK: Duration = Duration::from_millis(200);

/// Unoptimised, the futures of a whole request are large.
const STACK: usize = 32 << 20;

/// What to do.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Which histories.
    pub seed: u64,
    /// The number of the first of them: a report names the one that broke a promise.
    pub first: u64,
    /// How many operations, at least.
    pub operations: u64,
    /// Worlds at once. Each waits a good deal, for Redis to be slow or for a second look: more of them than cores.
    pub worlds: usize,
    /// How long a shorter history is looked for when a promise is broken.
    pub patience: Duration,
}

/// What came of it: the contents of `target/chaos/report.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Report {
    /// The seed of the run.
    pub seed: u64,
    /// Requests, messages delivered, scheduled runs and faults.
    pub operations: u64,
    /// Faults, and processes that died between two steps.
    pub faults: u64,
    /// Histories in which more was sold than was granted.
    pub oversold: u64,
    /// Histories in which an accepted order had no end that its buyer could read.
    pub lost: u64,
    /// Histories in which an order, a charge or a refund was made twice.
    pub doubled: u64,
    /// Histories in which gate and ledger differed when all was quiet.
    pub drift: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What came of it, with what a person wants to know beside.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The numbers.
    pub report: Report,
    /// Histories.
    pub histories: u64,
    /// What the shop did in them.
    pub tally: Tally,
    /// The first promise that was broken, and the shortest history that was found to break it.
    pub failure: Option<String>,
}

impl Report {
    /// Whether all promises were kept.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.oversold + self.lost + self.doubled + self.drift == 0
    }
}

struct Shared {
    plan: Plan,
    next: AtomicU64,
    operations: AtomicU64,
    stop: AtomicBool,
    outcome: Mutex<Outcome>,
}

/// Runs histories until there were enough operations, or a promise was broken. `tell` hears how many there were.
///
/// # Panics
/// A part of a world could not be started, or broke.
pub fn run(plan: Plan, mut tell: impl FnMut(u64)) -> Outcome {
    let began = Instant::now();
    let shared = Shared {
        plan,
        next: AtomicU64::new(plan.first),
        operations: AtomicU64::new(0),
        stop: AtomicBool::new(false),
        outcome: Mutex::default(),
    };
    thread::scope(|scope| {
        let worlds: Vec<_> = (0..plan.worlds)
            .map(|_| {
                let world = thread::Builder::new().stack_size(STACK);
                let world = world.spawn_scoped(scope, || shared.live());
                world.expect("a thread")
            })
            .collect();
        while worlds.iter().any(|world| !world.is_finished()) {
            tell(shared.operations.load(Ordering::Relaxed));
            thread::sleep(TICK);
        }
    });
    let mut outcome = shared.outcome.into_inner().expect("no world panicked");
    outcome.report.seed = plan.seed;
    outcome.report.seconds = began.elapsed().as_secs_f64();
    outcome
}

impl Shared {
    /// One world, in a thread of its own: its clock is the thread's.
    fn live(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut world = World::new().await;
            while !self.stop.load(Ordering::Relaxed)
                && self.operations.load(Ordering::Relaxed) < self.plan.operations
            {
                let index = self.next.fetch_add(1, Ordering::Relaxed);
                self.one(&mut world, index).await;
            }
        });
    }

    async fn one(&self, world: &mut World, index: u64) {
        let mut rng = Rng::with_seed(self.plan.seed.wrapping_mul(1_000_003).wrapping_add(index));
        let (_, turns) = history::history(&mut rng, TURNS);
        let (tally, lived) = world.live(&turns).await;
        self.operations
            .fetch_add(tally.operations, Ordering::Relaxed);
        let Err((place, violation)) = lived else {
            self.outcome.lock().expect("no world panicked").add(tally);
            return;
        };
        let first = !self.stop.swap(true, Ordering::Relaxed);
        let failure = if first {
            let Plan { seed, patience, .. } = self.plan;
            eprintln!(
                "seed {seed}, history {index}, turn {place}: {violation:?}\nlooking for a shorter one"
            );
            Some(shrink::shortest(world, (seed, index), place, &violation, turns, patience).await)
        } else {
            None
        };
        let mut outcome = self.outcome.lock().expect("no world panicked");
        outcome.add(tally);
        outcome.failure = outcome.failure.take().or(failure);
        let broken = &mut outcome.report;
        *match violation.promise {
            Promise::Oversold => &mut broken.oversold,
            Promise::Lost => &mut broken.lost,
            Promise::Doubled => &mut broken.doubled,
            Promise::Drift => &mut broken.drift,
        } += 1;
    }
}

impl Outcome {
    fn add(&mut self, tally: Tally) {
        self.histories += 1;
        self.report.operations += tally.operations;
        self.report.faults += tally.faults;
        self.tally.operations += tally.operations;
        self.tally.faults += tally.faults;
        self.tally.repaired += tally.repaired;
        self.tally.accepted += tally.accepted;
        self.tally.confirmed += tally.confirmed;
        self.tally.failed += tally.failed;
    }
}
