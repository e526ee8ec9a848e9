//! What stands in for AWS: queues that take every message at once, and DynamoDB where one is wanted. Every request is
//! counted, and what no emulator does by itself is done here: a transaction that meets another one on its item.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use md5::{Digest, Md5};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Result,
    dynamodb::DynamoDb,
    function,
    http::{self, Request},
    wakes::Wakes,
};

const TRANSACTION: &str = "TransactWriteItems";

/// Speaks the JSON protocols of SQS and DynamoDB. Clones share it.
#[derive(Clone)]
pub struct Aws {
    /// Where it listens.
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    dynamodb: Option<DynamoDb>,
    requests: AtomicU64,
    dynamodb_requests: AtomicU64,
    /// Of a thousand transactions, how many meet another one.
    conflicts_per_mille: AtomicU32,
    conflicts: AtomicU64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The messages of the orders queue, if there is a DynamoDB to settle them in.
    orders: Vec<String>,
    /// By receipt handle, how long a message is to stay away.
    delays: HashMap<String, Duration>,
    /// Who wants the wakes of which queue, and which of them.
    wanted: Vec<Wanted>,
}

struct Wanted {
    queue: &'static str,
    /// What is in those that are wanted.
    about: String,
    wakes: Arc<Wakes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'a> {
    #[serde(borrow)]
    queue_url: Cow<'a, str>,
    #[serde(borrow)]
    message_body: Cow<'a, str>,
    #[serde(default)]
    delay_seconds: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ChangeVisibility {
    entries: Vec<Visibility>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Visibility {
    id: String,
    receipt_handle: String,
    visibility_timeout: u64,
}

struct Answer {
    status: u16,
    body: String,
}

impl Aws {
    /// Queues alone, which forget what they are sent.
    pub fn queues() -> Result<Self> {
        Self::start(Shared::default())
    }

    /// With an empty DynamoDB; orders that are sent are kept until they are taken.
    pub fn with_dynamodb() -> Result<Self> {
        Self::start(Shared {
            dynamodb: Some(DynamoDb::start()?),
            ..Shared::default()
        })
    }

    fn start(shared: Shared) -> Result<Self> {
        let shared = Arc::new(shared);
        let serving = Arc::clone(&shared);
        let address = http::listen(move |mut connection| {
            while let Some(request) = connection.read()? {
                let Answer { status, body } = serving.answer(&request);
                let status = match status {
                    200 => "200 OK",
                    400..500 => "400 Bad Request",
                    _ => "500 Internal Server Error",
                };
                let headers = "content-type: application/x-amz-json-1.0\r\n";
                connection.answer(status, headers, body.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(Self { address, shared })
    }

    /// Requests so far, of whatever kind.
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Requests to DynamoDB so far.
    pub fn dynamodb_requests(&self) -> u64 {
        self.shared.dynamodb_requests.load(Ordering::Relaxed)
    }

    /// From now on so many of a thousand transactions are cancelled because another one is on their first item.
    pub fn have_transactions_meet(&self, per_mille: u32) {
        let share = &self.shared.conflicts_per_mille;
        share.store(per_mille, Ordering::Relaxed);
    }

    /// Transactions that were cancelled so.
    pub fn conflicts(&self) -> u64 {
        self.shared.conflicts.load(Ordering::Relaxed)
    }

    /// From now on the messages of this queue that have `about` in them go there.
    pub fn bring_wakes(&self, queue: &'static str, about: &str, wakes: &Arc<Wakes>) {
        self.shared.state().wanted.push(Wanted {
            queue,
            about: about.to_owned(),
            wakes: Arc::clone(wakes),
        });
    }

    /// Takes all messages that were sent to the orders queue.
    pub fn take_orders(&self) -> Vec<String> {
        std::mem::take(&mut self.shared.state().orders)
    }

    /// Takes the delay that was asked for a message, by its receipt handle.
    pub fn take_delay(&self, receipt_handle: &str) -> Option<Duration> {
        self.shared.state().delays.remove(receipt_handle)
    }

    /// The DynamoDB, to read what became of things.
    pub fn dynamodb(&self) -> Result<&DynamoDb> {
        let dynamodb = self.shared.dynamodb.as_ref();
        dynamodb.ok_or_else(|| "there is no DynamoDB in this run".into())
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request) -> Answer {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        let target = request.header("x-amz-target").unwrap_or_default();
        match target.split_once('.') {
            Some(("AmazonSQS", "SendMessage")) => match serde_json::from_slice(&request.body) {
                Ok(message) => self.take(&message, number),
                Err(_) => Answer::unknown(),
            },
            Some(("AmazonSQS", "ChangeMessageVisibilityBatch")) => {
                match serde_json::from_slice(&request.body) {
                    Ok(change) => self.delay(change),
                    Err(_) => Answer::unknown(),
                }
            }
            Some(("DynamoDB_20120810", operation)) => self.ledger(operation, &request.body),
            _ => Answer::unknown(),
        }
    }

    fn take(&self, message: &SendMessage<'_>, number: u64) -> Answer {
        if self.dynamodb.is_some() && message.queue_url.ends_with(function::ORDERS_QUEUE) {
            let body = message.message_body.clone().into_owned();
            self.state().orders.push(body);
        }
        let wakes = self.state().wakes_of(message);
        if let Some(wakes) = wakes {
            let delay = Duration::from_secs(message.delay_seconds);
            wakes.add(message.message_body.clone().into_owned(), delay);
        }
        Answer::ok(accepted(message, number))
    }

    fn delay(&self, change: ChangeVisibility) -> Answer {
        let mut done = Vec::new();
        let mut state = self.state();
        for entry in change.entries {
            let delay = Duration::from_secs(entry.visibility_timeout);
            state.delays.insert(entry.receipt_handle, delay);
            done.push(json!({ "Id": entry.id }));
        }
        Answer::ok(json!({ "Successful": done, "Failed": [] }).to_string())
    }

    fn ledger(&self, operation: &str, body: &[u8]) -> Answer {
        let Some(dynamodb) = &self.dynamodb else {
            return Answer::unknown();
        };
        self.dynamodb_requests.fetch_add(1, Ordering::Relaxed);
        let share = self.conflicts_per_mille.load(Ordering::Relaxed);
        if operation == TRANSACTION && fastrand::u32(..1_000) < share {
            self.conflicts.fetch_add(1, Ordering::Relaxed);
            return Answer {
                status: 400,
                body: conflict(body),
            };
        }
        let (status, body) = dynamodb.call(operation, body);
        Answer { status, body }
    }
}

impl State {
    fn wakes_of(&self, message: &SendMessage<'_>) -> Option<Arc<Wakes>> {
        let wanted = self.wanted.iter().find(|wanted| {
            message.queue_url.ends_with(wanted.queue)
                && message.message_body.contains(&wanted.about)
        });
        wanted.map(|wanted| Arc::clone(&wanted.wakes))
    }
}

impl Answer {
    fn ok(body: String) -> Self {
        Self { status: 200, body }
    }

    fn unknown() -> Self {
        Self {
            status: 400,
            body: r#"{"__type":"UnknownOperationException"}"#.to_owned(),
        }
    }
}

fn accepted(message: &SendMessage<'_>, number: u64) -> String {
    let mut answer = String::from(r#"{"MD5OfMessageBody":""#);
    for byte in Md5::digest(message.message_body.as_bytes()) {
        // Writing into a string does not fail.
        let _written = write!(answer, "{byte:02x}");
    }
    let _written = write!(
        answer,
        r#"","MessageId":"5fea7756-0ea4-451a-a703-{number:012x}"}}"#
    );
    answer
}

/// As DynamoDB says it: one reason an action, in their order.
fn conflict(transaction: &[u8]) -> String {
    let request: Value = serde_json::from_slice(transaction).unwrap_or_default();
    let actions = request["TransactItems"].as_array().map_or(1, Vec::len);
    let reasons: Vec<Value> = (0..actions)
        .map(|index| json!({ "Code": if index == 0 { "TransactionConflict" } else { "None" } }))
        .collect();
    json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "Transaction cancelled",
        "CancellationReasons": reasons,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_the_digest_of_the_message() {
        let message: SendMessage<'_> =
            serde_json::from_str(r#"{"QueueUrl":"q","MessageBody":"a\"b"}"#).expect("is a message");
        assert_eq!(
            accepted(&message, 1),
            r#"{"MD5OfMessageBody":"c8f88ec84680a7ec056720570290dd34","MessageId":"5fea7756-0ea4-451a-a703-000000000001"}"#
        );
    }

    #[test]
    fn a_conflict_names_the_first_action_of_its_transaction() {
        let answer: Value =
            serde_json::from_str(&conflict(br#"{"TransactItems":[{},{}]}"#)).expect("is an answer");
        assert_eq!(
            answer["CancellationReasons"],
            json!([{ "Code": "TransactionConflict" }, { "Code": "None" }])
        );
    }
}
