//! Wakes, of rooms or of channels, brought to their function as the event source mapping of the template brings them: one an
//! invocation, after their delay, and again when an environment has failed them or died with them.

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
    runtime_api::{self, TIMEOUT, Work},
};

/// When a message comes again that nobody has dealt with: the visibility timeout of all these queues.
const VISIBILITY: Duration = Duration::from_secs(360);

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
    /// What has this in it is kept back.
    held: Option<&'static str>,
    /// What is to come later never comes.
    only_now: bool,
    failure: Option<String>,
}

/// One environment of a function.
struct Environment {
    wakes: Arc<Wakes>,
    aws: Aws,
    /// The invocation it has.
    current: Mutex<Option<usize>>,
    dead: AtomicBool,
}

/// The environments of a function, which may be killed.
pub struct Environments {
    name: &'static str,
    wakes: Arc<Wakes>,
    aws: Aws,
    services: Services,
    running: Vec<(Process, Arc<Environment>)>,
}

impl Wakes {
    /// Without what is to come later.
    pub fn only_now() -> Self {
        Self {
            state: Mutex::new(State {
                only_now: true,
                ..State::default()
            }),
            changed: Condvar::new(),
        }
    }

    /// From now on what has this in it is kept back; with `None`, nothing is any more.
    pub fn hold(&self, text: Option<&'static str>) {
        self.lock().held = text;
        self.changed.notify_all();
    }

    /// Whether nobody has anything to do, unless it is for later or kept back.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.in_flight.is_empty() && state.first().is_none_or(|(_, due)| due > Instant::now())
    }

    /// A message was sent, to come after `delay`.
    pub fn add(&self, body: String, delay: Duration) {
        let mut state = self.lock();
        if state.only_now && !delay.is_zero() {
            return;
        }
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
            let pause = match state.first() {
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

impl State {
    /// The place of what comes next, and when.
    fn first(&self) -> Option<(usize, Instant)> {
        let is_held = |message: usize| {
            self.held
                .is_some_and(|text| self.bodies[message].contains(text))
        };
        let free = self.waiting.iter().enumerate();
        free.filter(|(_, (_, message, _))| !is_held(*message))
            .map(|(place, (due, ..))| (place, *due))
            .min_by_key(|(_, due)| *due)
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
        "eventSourceARN": "arn:aws:sqs:ap-northeast-2:123456789012:bench-wakes",
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

    fn answered(&self, number: usize, body: &[u8], latency: Duration) -> Result<()> {
        *self.current() = None;
        if latency > TIMEOUT {
            return Err(format!("an invocation took {} s", latency.as_secs()).into());
        }
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

impl Environments {
    /// Starts as many of the function of this name, for wakes that are sent to `aws`.
    pub fn start(
        name: &'static str,
        count: usize,
        wakes: &Arc<Wakes>,
        aws: &Aws,
        services: Services,
    ) -> Result<Self> {
        let mut environments = Self {
            name,
            wakes: Arc::clone(wakes),
            aws: aws.clone(),
            services,
            running: Vec::with_capacity(count),
        };
        for _ in 0..count {
            environments.start_one()?;
        }
        Ok(environments)
    }

    /// Resident memory of all of them, in MiB.
    pub fn resident_mib(&self) -> Result<f64> {
        let each = self.running.iter();
        each.map(|(process, _)| process.resident_mib()).sum()
    }

    fn start_one(&mut self) -> Result<()> {
        let environment = Arc::new(Environment {
            wakes: Arc::clone(&self.wakes),
            aws: self.aws.clone(),
            current: Mutex::new(None),
            dead: AtomicBool::new(false),
        });
        let work: Arc<dyn Work> = Arc::<Environment>::clone(&environment);
        let process = function::start(self.name, runtime_api::start(work)?, self.services)?;
        self.running.push((process, environment));
        Ok(())
    }

    /// Kills whichever is at work where it stands, and starts another in its place; tells whether there was one. Its wake
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
