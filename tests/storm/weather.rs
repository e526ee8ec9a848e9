//! What goes wrong: parts that are killed, messages that come twice and late, payments that fail in every way.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fs,
    time::Duration,
};

use fastrand::Rng;
use onepool_tests::{Stack, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

/// How long a message is hidden whose consumer was killed: a little more than the consumer may take (30 s). The template's
/// 190 s would be waited for in vain.
const VISIBILITY_S: u32 = 32;
/// The longest a copy of a message is on its way.
const LATE_S: u32 = 12;

/// Makes the weather of one stack.
pub struct Weather<'a> {
    stack: &'a Stack,
    dice: RefCell<Rng>,
    /// Bodies of messages that were copied: each once, or copies of copies would never end.
    copied: RefCell<HashSet<String>>,
    /// Function processes that were killed.
    pub killed: Cell<usize>,
    /// Messages that were sent beside the true ones.
    pub copies: Cell<usize>,
}

impl<'a> Weather<'a> {
    pub fn new(stack: &'a Stack, dice: Rng) -> Self {
        Self {
            stack,
            dice: RefCell::new(dice),
            copied: RefCell::default(),
            killed: Cell::default(),
            copies: Cell::default(),
        }
    }

    /// The payment gateway fails in every way it can, webhooks come twice and in any order, and what a dead consumer leaves
    /// comes again within the test.
    pub async fn gather(&self, seed: u64) {
        let rule = |on: &str, kind: &str, more: Value| {
            let mut rule = json!({ "on": on, "kind": kind });
            for (name, value) in more.as_object().expect("fields") {
                rule[name.as_str()] = value.clone();
            }
            rule
        };
        let mut faults = Vec::new();
        for on in ["billing", "confirm"] {
            faults.extend([
                rule(on, "decline", json!({ "probability": 0.03 })),
                rule(
                    on,
                    "timeout_before_commit",
                    json!({ "ms": 1_500, "probability": 0.03 }),
                ),
                rule(
                    on,
                    "timeout_after_commit",
                    json!({ "ms": 1_500, "probability": 0.03 }),
                ),
                rule(on, "close_after_commit", json!({ "probability": 0.03 })),
                rule(
                    on,
                    "commit_later",
                    json!({ "ms": 4_000, "probability": 0.03 }),
                ),
                rule(
                    on,
                    "error_before_commit",
                    json!({ "status": 503, "recorded": false, "probability": 0.03 }),
                ),
                rule(
                    on,
                    "error_after_commit",
                    json!({ "status": 500, "probability": 0.03 }),
                ),
                rule(on, "delay", json!({ "ms": 1_000, "probability": 0.08 })),
                rule(on, "still_processing", json!({ "probability": 0.03 })),
            ]);
        }
        faults.extend([
            rule(
                "lookup",
                "error_before_commit",
                json!({ "status": 503, "recorded": false, "probability": 0.05 }),
            ),
            rule(
                "cancel",
                "timeout_after_commit",
                json!({ "ms": 1_000, "probability": 0.1 }),
            ),
            rule(
                "cancel",
                "error_before_commit",
                json!({ "status": 503, "recorded": false, "probability": 0.1 }),
            ),
        ]);
        let script = json!({ "faults": faults, "seed": seed });
        self.stack.sandbox(Method::POST, "faults", script).await;
        let url = format!(
            "{}/payments/webhook",
            self.stack.local["http"].as_str().expect("an address")
        );
        let hooks = json!({ "url": url, "duplicate": true, "shuffle": true, "minute_ms": 500 });
        self.stack.sandbox(Method::PUT, "webhook", hooks).await;
        for queue in ["OrdersQueue", "OrdersDeadLetterQueue", "RoomWakeQueue"] {
            let quick = json!({ "VisibilityTimeout": VISIBILITY_S.to_string() });
            let set = json!({ "QueueUrl": self.queue(queue), "Attributes": quick });
            self.stack.sqs("SetQueueAttributes", set).await;
        }
    }

    /// No more faults; what was held up is let go.
    pub async fn clear(&self) {
        self.stack
            .sandbox(Method::DELETE, "faults", Value::Null)
            .await;
    }

    /// Kills every process of a function where it stands.
    pub fn kill_function(&self, name: &str) {
        let emulator = self
            .stack
            .pid("emulator")
            .expect("the emulator runs")
            .to_string();
        let processes = fs::read_dir("/proc").expect("Linux").flatten();
        let ids = processes.filter_map(|entry| entry.file_name().into_string().ok());
        for id in ids.filter(|id| id.bytes().all(|byte| byte.is_ascii_digit())) {
            // "<pid> (<name>) <state> <parent> ..."; a process may be gone by now.
            let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
            let parent = stat
                .rsplit(") ")
                .next()
                .and_then(|rest| rest.split(' ').nth(1));
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let is_it = environment.split(|byte| *byte == 0).any(|variable| {
                let variable = String::from_utf8_lossy(variable);
                variable
                    .strip_prefix("AWS_LAMBDA_FUNCTION_NAME=")
                    .is_some_and(|called| called.contains(name))
            });
            if parent == Some(&emulator) && is_it {
                kill(&id);
                self.killed.set(self.killed.get() + 1);
            }
        }
    }

    /// Kills Redis where it stands, with all that it holds.
    pub fn kill_redis(&self) {
        kill(&self.stack.pid("redis").expect("Redis runs").to_string());
    }

    /// Waits until an empty Redis answers where the old one did.
    pub async fn redis_is_back(&self) {
        let client = redis::Client::open(self.stack.local["redis"].as_str().expect("an address"))
            .expect("a URL");
        wait_for("Redis to come back", async || {
            let mut connection = client.get_multiplexed_async_connection().await.ok()?;
            let answer: redis::RedisResult<String> =
                redis::cmd("PING").query_async(&mut connection).await;
            answer.ok()
        })
        .await;
    }

    /// Stops the consumer of the orders queue, or lets it go on.
    pub async fn consume(&self, enabled: bool) {
        let (_, mappings) = self
            .stack
            .lambda(Method::GET, "event-source-mappings", Value::Null)
            .await;
        let of_orders = mappings["EventSourceMappings"]
            .as_array()
            .expect("mappings")
            .iter()
            .find(|mapping| {
                mapping["FunctionArn"]
                    .as_str()
                    .is_some_and(|arn| arn.contains("OrderProcess"))
            });
        let id = of_orders.expect("a consumer")["UUID"]
            .as_str()
            .expect("an id");
        let path = format!("event-source-mappings/{id}");
        let (status, answer) = self
            .stack
            .lambda(Method::PUT, &path, json!({ "Enabled": enabled }))
            .await;
        assert!(status < 300, "{status} {answer}");
    }

    /// Copies messages of the orders queue for ever: each comes twice, some three times, and late.
    pub async fn repeat_messages(&self) {
        loop {
            self.copy_messages().await;
            sleep(Duration::from_millis(500)).await;
        }
    }

    /// Copies the messages that wait now.
    pub async fn copy_messages(&self) {
        let look = json!({ "QueueUrl": self.queue("OrdersQueue"), "MaxNumberOfMessages": 10, "VisibilityTimeout": 0 });
        let waiting = self.stack.sqs("ReceiveMessage", look).await;
        for message in waiting["Messages"].as_array().into_iter().flatten() {
            let body = message["Body"].as_str().expect("a body").to_owned();
            if self.copied.borrow_mut().insert(body.clone()) {
                let (late, thrice) = {
                    let mut dice = self.dice.borrow_mut();
                    (dice.u32(0..=LATE_S), dice.bool())
                };
                self.send(&body, late).await;
                if thrice {
                    self.send(&body, 0).await;
                }
            }
        }
    }

    /// Sends every message again that was ever copied.
    pub async fn resend_all(&self) {
        let bodies: Vec<String> = self.copied.borrow().iter().cloned().collect();
        for body in bodies {
            self.send(&body, 0).await;
        }
    }

    async fn send(&self, body: &str, late: u32) {
        let copy = json!({ "QueueUrl": self.queue("OrdersQueue"), "MessageBody": body, "DelaySeconds": late });
        self.stack.sqs("SendMessage", copy).await;
        self.copies.set(self.copies.get() + 1);
    }

    fn queue(&self, name: &str) -> &Value {
        &self.stack.local["queues"][name]
    }
}

fn kill(id: &str) {
    let killed = std::process::Command::new("kill")
        .args(["-KILL", id])
        .status();
    killed.expect("kill runs");
}
