//! The wakes of rooms, brought to `stock-fanout` as the event source mapping of the template brings them: one an invocation,
//! after their delay, and again when an environment has failed them or died with them.

use std::{
    collections::HashMap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    Result,
    aws::Aws,
    function::{self, Services},
    process::Process,
    runtime_api::{self, Work},
};

/// When a message comes again that nobody has dealt with: the queue's visibility timeout.
const VISIBILITY: Duration = Duration::from_secs(360);
const NAME: &str = "stock-fanout";

/// The queue.
#[derive(Default)]
pub struct Wakes {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// When each may be handed out, its number and how often it was.
    waiting: Vec<(Instant, usize, u32)>,
    bodies: Vec<String>,
    /// By the number of an invocation, the message and how often it was handed out.
    in_flight: HashMap<usize, (usize, u32)>,
    invocations: usize,
    failure: Option<String>,
}

/// One environment of the pump.
struct Environment {
    wakes: Arc<Wakes>,
    aws: Aws,
    /// The invocation it has.
    current: Mutex<Option<usize>>,
    dead: AtomicBool,
}

/// The environments of the pump, which may be killed.
pub struct Pumps {
    wakes: Arc<Wakes>,
    aws: Aws,
    services: Services,
    running: Vec<(Process, Arc<Environment>)>,
}

impl Wakes {
    /// A message was sent, to come after `delay`.
    pub fn add(&self, body: String, delay: Duration) {
        let mut state = self.lock();
        let number = state.bodies.len();
        state.bodies.push(body);
        state.waiting.push((Instant::now() + delay, number, 1));
        drop(state);
        self.changed.notify_all();
    }

    /// What went wrong, if anything did.
    pub fn check(&self) -> Result<()> {
        match self.lock().failure.take() {
            Some(failure) => Err(failure.into()),
            None => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next message that is due, once there is one; `None` if the environment died meanwhile.
    fn next(&self, dead: &AtomicBool) -> Option<(usize, String)> {
        let mut state = self.lock();
        loop {
            if dead.load(Ordering::Relaxed) {
                return None;
            }
            let now = Instant::now();
            let first = state.waiting.iter().enumerate();
            let first = first.min_by_key(|(_, (due, ..))| *due);
            let pause = match first.map(|(place, (due, ..))| (place, *due)) {
                Some((place, due)) if due <= now => {
                    let (_, message, receives) = state.waiting.swap_remove(place);
                    let number = state.invocations;
                    state.invocations += 1;
                    state.in_flight.insert(number, (message, receives));
                    let event = event(message, receives, &state.bodies[message]);
                    return Some((number, event));
                }
                Some((_, due)) => due - now,
                None => VISIBILITY,
            };
            (state, _) = self
                .changed
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// An invocation did not do its message: it comes again.
    fn give_back(&self, number: usize, after: Duration) {
        let mut state = self.lock();
        if let Some((message, receives)) = state.in_flight.remove(&number) {
            state
                .waiting
                .push((Instant::now() + after, message, receives + 1));
        }
        drop(state);
        self.changed.notify_all();
    }
}

fn receipt_handle(message: usize, receives: u32) -> String {
    format!("AQEB-wake-{message}-{receives}")
}

fn event(message: usize, receives: u32, body: &str) -> String {
    json!({ "Records": [{
        "messageId": format!("059f36b4-87a3-44ab-83d2-{message:012x}"),
        "receiptHandle": receipt_handle(message, receives),
        "body": body,
        "attributes": {
            "ApproximateReceiveCount": receives.to_string(),
            "SentTimestamp": "1795219200123",
            "SenderId": "AIDAIENQZJOLO23YVJ4VO",
            "ApproximateFirstReceiveTimestamp": "1795219200130",
        },
        "messageAttributes": {},
        "md5OfBody": "00000000000000000000000000000000",
        "eventSource": "aws:sqs",
        "eventSourceARN": "arn:aws:sqs:ap-northeast-2:123456789012:bench-room-wake",
        "awsRegion": "ap-northeast-2",
    }] })
    .to_string()
}

impl Environment {
    fn current(&self) -> MutexGuard<'_, Option<usize>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Work for Environment {
    fn next(&self) -> (usize, String) {
        let Some((number, event)) = self.wakes.next(&self.dead) else {
            // Nobody reads what a dead process is answered.
            return (usize::MAX, String::new());
        };
        *self.current() = Some(number);
        (number, event)
    }

    fn answered(&self, number: usize, body: &[u8], _latency: Duration) -> Result<()> {
        *self.current() = None;
        let response: Value = serde_json::from_slice(body)?;
        let failures = response["batchItemFailures"].as_array();
        if failures.is_some_and(|failures| !failures.is_empty()) {
            let handle = self.wakes.lock().in_flight.get(&number).copied();
            let delay = handle.and_then(|(message, receives)| {
                self.aws.take_delay(&receipt_handle(message, receives))
            });
            self.wakes.give_back(number, delay.unwrap_or(VISIBILITY));
        } else {
            self.wakes.lock().in_flight.remove(&number);
        }
        Ok(())
    }

    fn failed(&self, what: String) {
        self.wakes.lock().failure.get_or_insert(what);
    }
}

impl Pumps {
    /// Starts as many, for the wakes that are sent to `aws`.
    pub fn start(count: usize, wakes: &Arc<Wakes>, aws: &Aws, services: Services) -> Result<Self> {
        let mut pumps = Self {
            wakes: Arc::clone(wakes),
            aws: aws.clone(),
            services,
            running: Vec::with_capacity(count),
        };
        for _ in 0..count {
            pumps.start_one()?;
        }
        Ok(pumps)
    }

    fn start_one(&mut self) -> Result<()> {
        let environment = Arc::new(Environment {
            wakes: Arc::clone(&self.wakes),
            aws: self.aws.clone(),
            current: Mutex::new(None),
            dead: AtomicBool::new(false),
        });
        let work: Arc<dyn Work> = Arc::<Environment>::clone(&environment);
        let process = function::start(NAME, runtime_api::start(work)?, self.services)?;
        self.running.push((process, environment));
        Ok(())
    }

    /// Kills whichever is pumping where it stands, and starts another in its place; tells whether there was one. Its wake
    /// comes again when its visibility timeout is over, as one does whose function has crashed.
    pub fn kill_the_busy(&mut self) -> Result<bool> {
        let busy = |(_, environment): &(Process, Arc<Environment>)| environment.current().is_some();
        let Some(place) = self.running.iter().position(busy) else {
            return Ok(false);
        };
        let (mut process, environment) = self.running.swap_remove(place);
        process.kill();
        environment.dead.store(true, Ordering::Relaxed);
        self.wakes.changed.notify_all();
        if let Some(number) = environment.current().take() {
            self.wakes.give_back(number, VISIBILITY);
        }
        self.start_one()?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wake_comes_after_its_delay_and_again_when_it_is_given_back() {
        let wakes = Wakes::default();
        let alive = AtomicBool::new(false);
        let sent = Instant::now();
        let delay = Duration::from_millis(30);
        wakes.add("later".to_owned(), delay);
        wakes.add("now".to_owned(), Duration::ZERO);
        let (_, first) = wakes.next(&alive).expect("is alive");
        let (number, second) = wakes.next(&alive).expect("is alive");
        assert!(first.contains(r#""body":"now""#) && second.contains(r#""body":"later""#));
        assert!(sent.elapsed() >= delay);
        wakes.give_back(number, Duration::ZERO);
        let (_, again) = wakes.next(&alive).expect("is alive");
        assert!(
            again.contains(r#""ApproximateReceiveCount":"2""#),
            "{again}"
        );
        assert!(wakes.next(&AtomicBool::new(true)).is_none());
    }
}
