//! The wire between the AWS SDK and what answers it. DynamoDB calls go through to the emulator, SQS and `@connections`
//! are answered and kept here; every call is counted, and faults are put in here and nowhere else.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use md5::{Digest, Md5};
use onepool::{
    aws::{Aws, Patience},
    config::{AwsConfig, Secret},
};
use serde_json::{Value, json};

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

/// The calls that may have changed a table, so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Writes {
    /// That were let through to the emulator.
    pub begun: u64,
    /// That the emulator has answered.
    pub done: u64,
}

/// The wire. Clones share it.
#[derive(Clone)]
pub struct Wire {
    shared: Arc<Shared>,
    url: String,
}

struct Shared {
    dynamodb: String,
    http: reqwest::Client,
    state: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    calls: BTreeMap<String, u64>,
    writes: Writes,
    faults: VecDeque<(String, Fault)>,
    messages: BTreeMap<String, VecDeque<String>>,
    in_flight: BTreeMap<String, usize>,
    posts: BTreeMap<String, Vec<Value>>,
    gone: HashSet<String>,
    delays: Vec<u64>,
}

impl Wire {
    /// Starts it in front of a DynamoDB emulator.
    pub async fn start(dynamodb: &str) -> Self {
        let shared = Arc::new(Shared {
            dynamodb: dynamodb.to_owned(),
            http: reqwest::Client::new(),
            state: Mutex::default(),
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
            .await
            .expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new()
            .route("/", post(call))
            .route("/live/@connections/{connection}", post(connection))
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
    pub fn callback_url(&self) -> String {
        format!("{}/live", self.url)
    }

    /// The next `times` calls whose name contains `call` meet `fault`.
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
    pub fn writes(&self) -> Writes {
        self.state().writes
    }

    /// Takes all messages that were sent to the queue of this name.
    #[must_use]
    pub fn take_messages(&self, queue: &str) -> Vec<String> {
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

    /// From now on a connection is gone.
    pub fn hang_up(&self, connection: &str) {
        self.state().gone.insert(connection.to_owned());
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
    } else if ["GetItem", "Query", "DescribeTable"]
        .iter()
        .any(|read| target.ends_with(read))
    {
        dynamodb(&shared, &headers, body).await
    } else {
        shared.state().writes.begun += 1;
        let answer = dynamodb(&shared, &headers, body).await;
        shared.state().writes.done += 1;
        answer
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
        .push_back(text);
    json!({ "MessageId": "1", "MD5OfMessageBody": md5 })
        .to_string()
        .into_response()
}

async fn dynamodb(shared: &Shared, headers: &HeaderMap, body: Bytes) -> Response {
    let mut request = shared.http.post(&shared.dynamodb).body(body);
    for name in [
        "x-amz-target",
        "content-type",
        "authorization",
        "x-amz-date",
    ] {
        if let Some(value) = headers.get(name) {
            request = request.header(name, value);
        }
    }
    let answer = request.send().await.expect("the emulator answers");
    let status = answer.status();
    (status, answer.bytes().await.expect("the emulator answers")).into_response()
}

async fn connection(
    State(shared): State<Arc<Shared>>,
    Path(connection): Path<String>,
    body: Bytes,
) -> Response {
    shared.tally("PostToConnection");
    if shared.state().gone.contains(&connection) {
        return (
            StatusCode::GONE,
            [("x-amzn-errortype", "GoneException")],
            "{}",
        )
            .into_response();
    }
    if let Some(Fault::Refused(status)) = shared.fault("PostToConnection") {
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
    StatusCode::OK.into_response()
}
