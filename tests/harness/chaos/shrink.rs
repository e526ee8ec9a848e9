//! Of a history that breaks a promise, a shorter one that still breaks it.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use super::{
    history::{Beside, Turn},
    model::Violation,
    world::World,
};

/// How often a candidate is tried: sockets do not answer in the same order twice.
const TRIES: usize = 2;

/// Leaves out what is not needed: first large parts, then single turns, then who is beside and who dies.
pub(super) async fn shortest(
    world: &mut World,
    (seed, index): (u64, u64),
    place: usize,
    violation: &Violation,
    turns: Vec<Turn>,
    patience: Duration,
) -> String {
    let until = Instant::now() + patience;
    let (mut best, mut broken) = (turns, violation.clone());
    best.truncate(place + 1);
    let mut size = best.len().div_ceil(2);
    let mut again = false;
    while size > 0 && Instant::now() < until {
        let mut from = 0;
        let before = best.len();
        while from < best.len() && Instant::now() < until {
            let mut shorter = best.clone();
            shorter.drain(from..(from + size).min(best.len()));
            match breaks(world, &shorter, violation).await {
                Some(found) => {
                    (best, broken) = (shorter, found);
                    again = true;
                }
                None => from += size,
            }
        }
        size = if size == 1 && best.len() < before {
            1
        } else {
            size / 2
        };
    }
    for place in 0..best.len() {
        for simpler in simpler(&best[place]) {
            if Instant::now() > until {
                break;
            }
            let mut candidate = best.clone();
            candidate[place] = simpler;
            if let Some(found) = breaks(world, &candidate, violation).await {
                (best, broken) = (candidate, found);
                again = true;
            }
        }
    }
    let mut text = format!(
        "seed {seed}, history {index}: {:?}: {}\n",
        broken.promise, broken.text
    );
    if !again {
        text.push_str("(it was not met again: it depends on what sockets do)\n");
    }
    for turn in &best {
        let _infallible = write!(text, "  {:?}", turn.step);
        if let Some(polls) = turn.dies {
            let _infallible = write!(text, ", dies at poll {polls}");
        }
        match &turn.beside {
            Beside::Nothing => {}
            Beside::Twin => text.push_str(", twice at once"),
            Beside::Other(step) => {
                let _infallible = write!(text, ", beside {step:?}");
            }
        }
        text.push('\n');
    }
    text
}

fn simpler(turn: &Turn) -> Vec<Turn> {
    let alone = Turn {
        beside: Beside::Nothing,
        ..turn.clone()
    };
    let immortal = Turn {
        dies: None,
        ..turn.clone()
    };
    [alone, immortal]
        .into_iter()
        .filter(|simpler| simpler != turn)
        .collect()
}

async fn breaks(world: &mut World, turns: &[Turn], like: &Violation) -> Option<Violation> {
    for _ in 0..TRIES {
        if let (_, Err((_, violation))) = world.live(turns).await
            && violation.promise == like.promise
        {
            return Some(violation);
        }
    }
    None
}
