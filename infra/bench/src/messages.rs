//! The event source mapping of a queue, as Lambda has one: batches to whichever environment asks, some messages twice, those
//! that are reported as failed once more when the function wanted them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{Result, aws::Aws, runtime_api::Work};

/// When a failed message comes again if nobody asked for it sooner: the queue's visibility timeout.
const VISIBILITY: Duration = Duration::from_secs(190);
/// A message that is delivered twice comes again within so many others, so that two environments may have it at once.
const APART: usize = 500;
/// How often progress is told.
const PROGRESS: Duration = Duration::from_secs(5);

/// A queue's mapping. One run of messages at a time.
pub struct Messages {
    aws: Aws,
    state: Mutex<State>,
    changed: Condvar,
}

/// How messages are handed out.
#[derive(Clone, Copy)]
pub struct Delivering {
    /// Messages an invocation gets at most.
    pub batch: usize,
    /// Of a hundred messages, how many come twice.
    pub twice_percent: u64,
}

#[derive(Default)]
struct State {
    bodies: Arc<Vec<String>>,
    batch: usize,
    ready: VecDeque<Delivery>,
    later: Vec<(Instant, Delivery)>,
    in_flight: HashMap<usize, Vec<Delivery>>,
    handed_out: usize,
    /// Environments that asked for work and got none yet.
    waiting: usize,
    done: HashSet<usize>,
    again: u64,
    last_answered: Option<Instant>,
    failure: Option<String>,
}

/// A message on its way to an environment.
#[derive(Clone, Copy)]
struct Delivery {
    message: usize,
    copy: u32,
    receives: u32,
}

/// What a run came to.
pub struct Delivered {
    /// From handing out the first until the last was done.
    pub elapsed: Duration,
    /// Messages that came twice.
    pub twice: u64,
    /// Deliveries that failed, and came again.
    pub again: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Response {
    batch_item_failures: Vec<Failure>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    item_identifier: String,
}

impl Delivery {
    /// The same for each delivery of a message, as it is at SQS.
    fn id(self) -> String {
        format!("059f36b4-87a3-44ab-83d2-{:012x}", self.message)
    }

    /// Another one for each.
    fn receipt_handle(self) -> String {
        format!("AQEB-{}-{}-{}", self.message, self.copy, self.receives)
    }

    fn record(self, body: &str) -> Value {
        json!({
            "messageId": self.id(),
            "receiptHandle": self.receipt_handle(),
            "body": body,
            "attributes": {
                "ApproximateReceiveCount": self.receives.to_string(),
                "SentTimestamp": "1795219200123",
                "SenderId": "AIDAIENQZJOLO23YVJ4VO",
                "ApproximateFirstReceiveTimestamp": "1795219200130",
            },
            "messageAttributes": {},
            "md5OfBody": "00000000000000000000000000000000",
            "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:ap-northeast-2:123456789012:bench-orders",
            "awsRegion": "ap-northeast-2",
        })
    }
}

impl Messages {
    /// None yet. The delays that failed messages are given are those that were asked of `aws`.
    pub fn new(aws: Aws) -> Self {
        Self {
            aws,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Delivers `bodies` until every message is done, however often it takes. Says how far it is as `what`.
    pub fn run(
        &self,
        what: &str,
        bodies: Vec<String>,
        how: Delivering,
        patience: Duration,
    ) -> Result<Delivered> {
        let count = bodies.len();
        let ready = deliveries(count, how.twice_percent);
        let twice = (ready.len() - count) as u64;
        let started = {
            let mut state = self.lock();
            *state = State {
                bodies: Arc::new(bodies),
                batch: how.batch,
                ready,
                handed_out: state.handed_out,
                waiting: state.waiting,
                ..State::default()
            };
            Instant::now()
        };
        self.changed.notify_all();
        let mut state = self.lock();
        while state.failure.is_none() && !state.finished() {
            if started.elapsed() > patience {
                return Err(format!(
                    "{what}: {} of {count} messages were done after {} s",
                    state.done.len(),
                    patience.as_secs()
                )
                .into());
            }
            let (next, timeout) = self
                .changed
                .wait_timeout_while(state, PROGRESS, |state| {
                    state.failure.is_none() && !state.finished()
                })
                .unwrap_or_else(PoisonError::into_inner);
            state = next;
            if timeout.timed_out() {
                eprintln!("{what}: {} of {count}", state.done.len());
            }
        }
        if let Some(failure) = state.failure.take() {
            return Err(failure.into());
        }
        let ended = state.last_answered.unwrap_or(started);
        Ok(Delivered {
            elapsed: ended - started,
            twice,
            again: state.again,
        })
    }

    /// Waits until so many environments ask for work.
    pub fn wait_for(&self, environments: usize, patience: Duration) -> Result<()> {
        let (state, timeout) = self
            .changed
            .wait_timeout_while(self.lock(), patience, |state| state.waiting < environments)
            .unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return Err(format!("{} of {environments} environments started", state.waiting).into());
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn finished(&self) -> bool {
        self.ready.is_empty() && self.later.is_empty() && self.in_flight.is_empty()
    }

    /// Moves what is due to the front; tells when the next is.
    fn ripen(&mut self, now: Instant) -> Option<Instant> {
        let (due, later): (Vec<_>, Vec<_>) =
            self.later.drain(..).partition(|(moment, _)| *moment <= now);
        self.later = later;
        self.ready
            .extend(due.into_iter().map(|(_, delivery)| delivery));
        self.later.iter().map(|(moment, _)| *moment).min()
    }
}

impl Work for Messages {
    fn next(&self) -> (usize, String) {
        let mut state = self.lock();
        state.waiting += 1;
        self.changed.notify_all();
        loop {
            let now = Instant::now();
            let next_due = state.ripen(now);
            if !state.ready.is_empty() {
                break;
            }
            let pause = next_due.map_or(VISIBILITY, |due| due - now);
            (state, _) = self
                .changed
                .wait_timeout(state, pause)
                .unwrap_or_else(PoisonError::into_inner);
        }
        state.waiting -= 1;
        let size = state.batch.min(state.ready.len());
        let batch: Vec<Delivery> = state.ready.drain(..size).collect();
        let bodies = Arc::clone(&state.bodies);
        let number = state.handed_out;
        state.handed_out += 1;
        state.in_flight.insert(number, batch.clone());
        // The others need not wait for the event to be written.
        drop(state);
        let records: Vec<Value> = batch
            .iter()
            .map(|delivery| delivery.record(&bodies[delivery.message]))
            .collect();
        (number, json!({ "Records": records }).to_string())
    }

    fn answered(&self, number: usize, body: &[u8], _latency: Duration) -> Result<()> {
        let response: Response = serde_json::from_slice(body).map_err(|error| {
            format!(
                "a batch was answered with {}: {error}",
                String::from_utf8_lossy(body)
            )
        })?;
        let failed: HashSet<&str> = response
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect();
        let now = Instant::now();
        let mut state = self.lock();
        for delivery in state.in_flight.remove(&number).unwrap_or_default() {
            if failed.contains(delivery.id().as_str()) {
                let delay = self.aws.take_delay(&delivery.receipt_handle());
                let receives = delivery.receives + 1;
                state.again += 1;
                state.later.push((
                    now + delay.unwrap_or(VISIBILITY),
                    Delivery {
                        receives,
                        ..delivery
                    },
                ));
            } else {
                state.done.insert(delivery.message);
            }
        }
        state.last_answered = Some(now);
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    fn failed(&self, what: String) {
        self.lock().failure.get_or_insert(what);
        self.changed.notify_all();
    }
}

/// All messages in their order, and the second copies of some among those that follow.
fn deliveries(count: usize, twice_percent: u64) -> VecDeque<Delivery> {
    let mut places: Vec<(usize, Delivery)> = Vec::with_capacity(count);
    for message in 0..count {
        let first = Delivery {
            message,
            copy: 0,
            receives: 1,
        };
        places.push((message, first));
        if fastrand::u64(..100) < twice_percent {
            let place = message + fastrand::usize(1..=APART);
            places.push((place, Delivery { copy: 1, ..first }));
        }
    }
    places.sort_by_key(|(place, _)| *place);
    places.into_iter().map(|(_, delivery)| delivery).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_message_comes_again_and_the_run_ends_when_all_are_done() {
        let messages = Messages::new(Aws::queues().expect("starts"));
        let patience = Duration::from_secs(5);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (number, event) = messages.next();
                let event: Value = serde_json::from_str(&event).expect("is an event");
                let records = event["Records"].as_array().expect("is a batch");
                assert_eq!(records.len(), 2);
                let second = &records[1];
                let failures =
                    json!({ "batchItemFailures": [{ "itemIdentifier": second["messageId"] }] });
                messages
                    .answered(number, failures.to_string().as_bytes(), Duration::ZERO)
                    .expect("is a good answer");
                // Nobody asked for it sooner: the test does not wait for its visibility timeout.
                messages.lock().later[0].0 = Instant::now();
                let (number, event) = messages.next();
                assert!(
                    event.contains(r#""ApproximateReceiveCount":"2""#),
                    "{event}"
                );
                messages
                    .answered(number, br#"{"batchItemFailures":[]}"#, Duration::ZERO)
                    .expect("is a good answer");
            });
            let how = Delivering {
                batch: 100,
                twice_percent: 0,
            };
            let bodies = vec!["a".to_owned(), "b".to_owned()];
            let delivered = messages.run("test", bodies, how, patience);
            assert_eq!(delivered.expect("both are done").again, 1);
        });
    }

    #[test]
    fn some_messages_come_twice_after_their_first_copy() {
        let all = deliveries(10_000, 5);
        let twice = all.len() - 10_000;
        assert!((300..700).contains(&twice), "{twice}");
        let mut seen = HashSet::new();
        for delivery in all {
            assert_eq!(seen.insert(delivery.message), delivery.copy == 0);
        }
    }
}
