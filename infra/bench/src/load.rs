//! The invocations of one run, handed to whichever environment asks: a closed loop.

use std::{
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{Result, runtime_api::Work};

/// Shared by the Runtime APIs of a run, one for each environment.
#[derive(Default)]
pub struct Load {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    events: Vec<String>,
    handed_out: usize,
    latencies: Vec<Duration>,
    /// Environments that asked for work and got none yet.
    waiting: usize,
    last_asked: Option<Instant>,
    failure: Option<String>,
    /// The body of the last answer.
    last_body: String,
}

/// An answer of a function behind the HTTP API.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    #[serde(default)]
    body: String,
}

/// What a run of events came to.
pub struct Outcome {
    /// From handing out the first until the environments asked for more.
    pub elapsed: Duration,
    /// From handing out an event until its answer, the shortest first.
    pub latencies: Vec<Duration>,
}

impl Outcome {
    /// Events answered in a second.
    pub fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency that this share of the events stayed within, in milliseconds.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (self.latencies.len() as f64 * share).ceil() as usize;
        let latency = self
            .latencies
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default();
        latency.as_secs_f64() * 1_000.0
    }
}

/// Every event must be answered with a 2xx: an accept says 202, and so does nothing else of `order-accept`.
impl Work for Load {
    fn next(&self) -> (usize, String) {
        let mut state = self.lock();
        state.waiting += 1;
        state.last_asked = Some(Instant::now());
        self.changed.notify_all();
        let mut state = self
            .changed
            .wait_while(state, |state| state.handed_out == state.events.len())
            .unwrap_or_else(PoisonError::into_inner);
        state.waiting -= 1;
        let number = state.handed_out;
        state.handed_out += 1;
        (number, std::mem::take(&mut state.events[number]))
    }

    fn answered(&self, _number: usize, body: &[u8], latency: Duration) -> Result<()> {
        match serde_json::from_slice(body) {
            Ok(Answer { status_code, body }) if (200..300).contains(&status_code) => {
                let mut state = self.lock();
                state.latencies.push(latency);
                state.last_body = body;
                Ok(())
            }
            _ => Err(format!(
                "a request was answered with {}",
                String::from_utf8_lossy(body)
            )
            .into()),
        }
    }

    fn failed(&self, what: String) {
        self.lock().failure.get_or_insert(what);
        self.changed.notify_all();
    }
}

impl Load {
    /// The body of the last answer.
    pub fn last_body(&self) -> String {
        self.lock().last_body.clone()
    }

    /// Waits until so many environments are out of work, and tells when the last of them asked.
    pub fn wait_for_idle(&self, environments: usize, patience: Duration) -> Result<Instant> {
        let busy = |state: &mut State| {
            let idle = state.waiting == environments && state.handed_out == state.events.len();
            !idle && state.failure.is_none()
        };
        let (mut state, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), patience, busy)
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = state.failure.take() {
            return Err(failure.into());
        }
        match state.last_asked {
            Some(moment) if !timeout.timed_out() => Ok(moment),
            _ => Err(format!(
                "{} of {environments} environments were idle after {} s",
                state.waiting,
                patience.as_secs()
            )
            .into()),
        }
    }

    /// Hands out `events`, and waits until all are answered and every environment is idle again.
    pub fn run(
        &self,
        events: Vec<String>,
        environments: usize,
        patience: Duration,
    ) -> Result<Outcome> {
        self.wait_for_idle(environments, patience)?;
        let count = events.len();
        let started = {
            let mut state = self.lock();
            state.handed_out = 0;
            state.events = events;
            state.latencies = Vec::with_capacity(count);
            Instant::now()
        };
        self.changed.notify_all();
        let ended = self.wait_for_idle(environments, patience)?;
        let mut latencies = std::mem::take(&mut self.lock().latencies);
        if latencies.len() != count {
            return Err(format!("{} of {count} events were answered", latencies.len()).into());
        }
        latencies.sort_unstable();
        Ok(Outcome {
            elapsed: ended - started,
            latencies,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let latencies = (1..=100).map(Duration::from_millis).collect();
        let outcome = Outcome {
            elapsed: Duration::from_secs(2),
            latencies,
        };
        assert_eq!(outcome.quantile_ms(0.50), 50.0);
        assert_eq!(outcome.quantile_ms(0.99), 99.0);
        assert_eq!(outcome.per_second(), 50.0);
    }

    #[test]
    fn a_run_ends_when_all_is_answered_and_asked_for_again() {
        let load = Load::default();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for expected in ["a", "b"] {
                    assert_eq!(load.next().1, expected);
                    let ok = br#"{"statusCode":202,"body":"{}"}"#;
                    load.answered(0, ok, Duration::from_millis(1))
                        .expect("is a good answer");
                }
                // What asks once more gets the event of the second run.
                assert_eq!(load.next(), (0, "c".to_owned()));
                let refused = br#"{"statusCode":503,"body":"no"}"#;
                assert!(load.answered(0, refused, Duration::ZERO).is_err());
                load.failed("no".to_owned());
            });
            let patience = Duration::from_secs(5);
            let outcome = load
                .run(vec!["a".into(), "b".into()], 1, patience)
                .expect("both are answered");
            assert_eq!(outcome.latencies.len(), 2);
            let error = load.run(vec!["c".into()], 1, patience).err();
            assert_eq!(error.map(|error| error.to_string()).as_deref(), Some("no"));
        });
    }
}
