//! The wire between the AWS SDK and what answers it. DynamoDB calls are answered by the emulator, SQS and `@connections`
//! are answered and kept here; every call is counted, and faults are put in here and nowhere else.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::post,
};
use dynoxide::{Database, DynoxideError};
use md5::{Digest, Md5};
use onepool::{
    aws::{Aws, Patience},
    config::{AwsConfig, Secret},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::DynamoDb;

/// What happens to a call instead of its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status and never done.
    Refused(u16),
    /// It is refused for now, because there is no capacity for it.
    Throttled,
    /// It is done, and its answer lost: the caller gets a 500.
    AnswerLost,
    /// A transaction is cancelled because another one is on its first item. No emulator does that by itself.
    TransactionConflict,
}

/// The wire. Clones share it.
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
    url: String,
}

struct Shared {
    database: Database,
    state: Mutex<Inner>,
    /// So many posts go through; the others wait.
    posts: watch::Sender<usize>,
    /// Connections whose posts wait.
    hanging: watch::Sender<HashSet<String>>,
}

#[derive(Default)]
struct Inner {
    calls: BTreeMap<String, u64>,
    writes: u64,
    faults: VecDeque<(String, Fault)>,
    /// With how many seconds nobody receives them.
    messages: BTreeMap<String, VecDeque<(String, u64)>>,
    in_flight: BTreeMap<String, usize>,
    posts: BTreeMap<String, Vec<Value>>,
    gone: HashSet<String>,
    closed: Vec<String>,
    delays: Vec<u64>,
    /// Posts that came so far.
    came: usize,
}

impl Wire {
    /// Starts it in front of a DynamoDB emulator.
    pub async fn start(dynamodb: &DynamoDb) -> Self {
        let shared = Arc::new(Shared {
            database: dynamodb.database(),
            state: Mutex::default(),
            posts: watch::Sender::new(usize::MAX),
            hanging: watch::Sender::default(),
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/", post(call))
            .route(
                "/live/@connections/{connection}",
                post(connection).delete(close),
            )
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { shared, url }
    }

    /// The clients of a function that calls here.
    #[must_use]
    pub fn aws(&self) -> Aws {
        let config = AwsConfig {
            region: "us-east-1".to_owned(),
            access_key_id: "test".to_owned(),
            secret_access_key: Secret::new("test"),
            session_token: None,
            endpoint_url: Some(self.url.clone()),
        };
        Aws::new(config, Patience::Short)
    }

    /// Where `@connections` answers.
    #[must_use]
    pub fn callback_url(&self) -> Uri {
        let url = format!("{}/live", self.url).parse();
        url.expect("is a URL")
    }

    /// The next `times` calls whose name contains `call` meet `fault`. A post is called `PostToConnection <connection>`.
    pub fn fail(&self, call: &str, fault: Fault, times: usize) {
        self.state()
            .faults
            .extend(std::iter::repeat_n((call.to_owned(), fault), times));
    }

    /// No fault that has not happened yet happens any more.
    pub fn calm(&self) {
        self.state().faults.clear();
    }

    /// So many messages that were taken from this queue are not done yet: the queue still counts them.
    pub fn in_flight(&self, queue: &str, messages: usize) {
        self.state().in_flight.insert(queue.to_owned(), messages);
    }

    /// How many calls there were whose name contains `call`.
    #[must_use]
    pub fn calls(&self, call: &str) -> u64 {
        self.state()
            .calls
            .iter()
            .filter(|(name, _)| name.contains(call))
            .map(|(_, count)| count)
            .sum()
    }

    /// How many calls may have changed a table.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Takes all messages that were sent to the queue of this name.
    #[must_use]
    pub fn take_messages(&self, queue: &str) -> Vec<String> {
        let messages = self.take_delayed(queue).into_iter();
        messages.map(|(body, _)| body).collect()
    }

    /// As [`Wire::take_messages`], each with the seconds for which nobody receives it.
    #[must_use]
    pub fn take_delayed(&self, queue: &str) -> Vec<(String, u64)> {
        self.state()
            .messages
            .entry(queue.to_owned())
            .or_default()
            .drain(..)
            .collect()
    }

    /// Takes the delays, in seconds, after which failed messages come again.
    #[must_use]
    pub fn take_delays(&self) -> Vec<u64> {
        std::mem::take(&mut self.state().delays)
    }

    /// Takes the frames that were posted to a connection.
    #[must_use]
    pub fn take_posts(&self, connection: &str) -> Vec<Value> {
        self.state().posts.remove(connection).unwrap_or_default()
    }

    /// From now on posts wait, but for so many.
    pub fn hold_posts(&self, but: usize) {
        let came = self.state().came;
        self.shared.posts.send_replace(came + but);
    }

    /// From now on posts to this connection wait.
    pub fn hold_posts_to(&self, connection: &str) {
        let connection = connection.to_owned();
        let hang = |hanging: &mut HashSet<String>| {
            hanging.insert(connection);
        };
        self.shared.hanging.send_modify(hang);
    }

    /// No post waits any more.
    pub fn release_posts(&self) {
        self.shared.posts.send_replace(usize::MAX);
        self.shared.hanging.send_replace(HashSet::new());
    }

    /// From now on a connection is gone.
    pub fn hang_up(&self, connection: &str) {
        self.state().gone.insert(connection.to_owned());
    }

    /// Takes the connections that were closed from our side, in the order in which they were.
    #[must_use]
    pub fn take_closed(&self) -> Vec<String> {
        std::mem::take(&mut self.state().closed)
    }

    fn state(&self) -> MutexGuard<'_, Inner> {
        self.shared.state()
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, Inner> {
        self.state.lock().expect("no test panicked in here")
    }

    fn tally(&self, name: &str) {
        *self.state().calls.entry(name.to_owned()).or_default() += 1;
    }

    fn fault(&self, name: &str) -> Option<Fault> {
        let mut state = self.state();
        let place = state
            .faults
            .iter()
            .position(|(call, _)| name.contains(call.as_str()))?;
        state.faults.remove(place).map(|(_, fault)| fault)
    }
}

async fn call(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers
        .get("x-amz-target")
        .and_then(|target| target.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    shared.tally(&target);
    let fault = shared.fault(&target);
    match fault {
        Some(Fault::Refused(status)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            let kind = if status.is_client_error() {
                "ValidationException"
            } else {
                "InternalServerError"
            };
            return (
                status,
                json!({ "__type": kind, "message": "refused" }).to_string(),
            )
                .into_response();
        }
        Some(Fault::Throttled) => {
            let kind = "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException";
            let answer = json!({ "__type": kind, "message": "too many requests" });
            return (StatusCode::BAD_REQUEST, answer.to_string()).into_response();
        }
        Some(Fault::TransactionConflict) => {
            let request: Value = serde_json::from_slice(&body).expect("a request");
            let actions = request["TransactItems"].as_array().map_or(0, Vec::len);
            let reasons: Vec<Value> = (0..actions)
                .map(|index| json!({ "Code": if index == 0 { "TransactionConflict" } else { "None" } }))
                .collect();
            let answer = json!({
                "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
                "Message": "Transaction cancelled",
                "CancellationReasons": reasons,
            });
            return (StatusCode::BAD_REQUEST, answer.to_string()).into_response();
        }
        Some(Fault::AnswerLost) | None => {}
    }
    let answer = if target.starts_with("AmazonSQS.") {
        sqs(&shared, &body)
    } else if ["GetItem", "Query"]
        .iter()
        .any(|read| target.ends_with(read))
    {
        dynamodb(&shared.database, &target, &body)
    } else {
        shared.state().writes += 1;
        dynamodb(&shared.database, &target, &body)
    };
    if fault == Some(Fault::AnswerLost) {
        return (
            StatusCode::INTERNAL_SERVER_ERROR,
            json!({ "__type": "InternalServerError" }).to_string(),
        )
            .into_response();
    }
    answer
}

fn sqs(shared: &Shared, body: &[u8]) -> Response {
    let request: Value = serde_json::from_slice(body).expect("a request");
    let queue = request["QueueUrl"]
        .as_str()
        .and_then(|url| url.rsplit('/').next())
        .expect("a queue")
        .to_owned();
    if request["AttributeNames"].is_array() {
        let state = shared.state();
        let waiting = state.messages.get(&queue).map_or(0, VecDeque::len);
        let in_flight = state.in_flight.get(&queue).copied().unwrap_or_default();
        let counts = json!({
            "ApproximateNumberOfMessages": waiting.to_string(),
            "ApproximateNumberOfMessagesNotVisible": in_flight.to_string(),
            "ApproximateNumberOfMessagesDelayed": "0",
        });
        return json!({ "Attributes": counts }).to_string().into_response();
    }
    if let Some(entries) = request["Entries"].as_array() {
        let delays = entries
            .iter()
            .filter_map(|entry| entry["VisibilityTimeout"].as_u64());
        shared.state().delays.extend(delays);
        let done: Vec<Value> = entries
            .iter()
            .map(|entry| json!({ "Id": entry["Id"] }))
            .collect();
        return json!({ "Successful": done, "Failed": [] })
            .to_string()
            .into_response();
    }
    let text = request["MessageBody"].as_str().expect("a body").to_owned();
    let md5: String = Md5::digest(text.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    shared
        .state()
        .messages
        .entry(queue)
        .or_default()
        .push_back((text, request["DelaySeconds"].as_u64().unwrap_or(0)));
    json!({ "MessageId": "1", "MD5OfMessageBody": md5 })
        .to_string()
        .into_response()
}

/// Has the emulator answer a call, past its own HTTP server: a second one behind this would cost as much as the call.
fn dynamodb(database: &Database, target: &str, body: &[u8]) -> Response {
    match target.rsplit('.').next().unwrap_or_default() {
        "GetItem" => answer(body, |request| database.get_item(request)),
        "BatchGetItem" => answer(body, |request| database.batch_get_item(request)),
        "Query" => answer(body, |request| database.query(request)),
        "PutItem" => answer(body, |request| database.put_item(request)),
        "DeleteItem" => answer(body, |request| database.delete_item(request)),
        "UpdateItem" => answer(body, |request| database.update_item(request)),
        "TransactWriteItems" => answer(body, |request| database.transact_write_items(request)),
        call => panic!("no function has called {call} before: answer it here"),
    }
}

fn answer<Q: DeserializeOwned, A: Serialize>(
    body: &[u8],
    call: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Response {
    let request = serde_json::from_slice(body);
    let request = request.map_err(|error| DynoxideError::SerializationException(error.to_string()));
    match request.and_then(call) {
        Ok(answer) => serde_json::to_vec(&answer).expect("JSON").into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status_code()).expect("a status");
            (status, error.to_json()).into_response()
        }
    }
}

async fn connection(
    State(shared): State<Arc<Shared>>,
    Path(connection): Path<String>,
    body: Bytes,
) -> Response {
    shared.tally("PostToConnection");
    let number = {
        let mut state = shared.state();
        state.came += 1;
        state.came
    };
    let goes = shared
        .posts
        .subscribe()
        .wait_for(|posts| number <= *posts)
        .await
        .is_ok();
    let goes = goes
        && (shared.hanging.subscribe())
            .wait_for(|hanging| !hanging.contains(&connection))
            .await
            .is_ok();
    assert!(goes, "the wire is still there");
    if shared.state().gone.contains(&connection) {
        return (
            StatusCode::GONE,
            [("x-amzn-errortype", "GoneException")],
            "{}",
        )
            .into_response();
    }
    let fault = shared.fault(&format!("PostToConnection {connection}"));
    if let Some(Fault::Refused(status)) = fault {
        let status = StatusCode::from_u16(status).expect("a status");
        return (
            status,
            [("x-amzn-errortype", "LimitExceededException")],
            "{}",
        )
            .into_response();
    }
    let frame = serde_json::from_slice(&body).expect("a frame is JSON");
    shared
        .state()
        .posts
        .entry(connection)
        .or_default()
        .push(frame);
    if fault == Some(Fault::AnswerLost) {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    StatusCode::OK.into_response()
}

async fn close(State(shared): State<Arc<Shared>>, Path(connection): Path<String>) -> Response {
    shared.tally("DeleteConnection");
    if let Some(Fault::Refused(status)) = shared.fault("DeleteConnection") {
        let status = StatusCode::from_u16(status).expect("a status");
        return (status, "{}").into_response();
    }
    let mut state = shared.state();
    if !state.gone.insert(connection.clone()) {
        return (
            StatusCode::GONE,
            [("x-amzn-errortype", "GoneException")],
            "{}",
        )
            .into_response();
    }
    state.closed.push(connection);
    StatusCode::NO_CONTENT.into_response()
}
