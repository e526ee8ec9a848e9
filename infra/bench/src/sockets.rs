//! What the gateway tells `ws-connections`: who comes, what they say, who went; and its answers to who comes.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::Sender},
    time::Duration,
};

use mio::Waker;
use serde::Deserialize;
use serde_json::json;

use crate::{Result, runtime_api::Work};

/// What happened on a connection.
pub enum Happened {
    /// Somebody wants in, with this token and for this broadcast.
    Came { token: String, broadcast: String },
    /// They said something.
    Said(String),
    /// They are gone.
    Went,
}

/// What is to be told to the function.
struct Event {
    connection: u64,
    happened: Happened,
}

/// The events of all connections, for whichever environment asks.
pub struct Sockets {
    state: Mutex<State>,
    changed: Condvar,
    /// The gateway's thread: who may come in, and the bell that wakes it.
    answers: Sender<(u64, u16)>,
    bell: Arc<Waker>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Event>,
    /// By the number of an invocation, the connection that waits for its answer.
    coming: HashMap<usize, u64>,
    handed_out: usize,
    failure: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
}

impl Sockets {
    /// Nothing has happened yet.
    pub fn new(answers: Sender<(u64, u16)>, bell: Arc<Waker>) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            answers,
            bell,
        }
    }

    /// Something happened.
    pub fn tell(&self, connection: u64, happened: Happened) {
        self.lock().waiting.push_back(Event {
            connection,
            happened,
        });
        self.changed.notify_one();
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
}

impl Work for Sockets {
    fn next(&self) -> (usize, String) {
        let mut state = self
            .changed
            .wait_while(self.lock(), |state| state.waiting.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let number = state.handed_out;
        state.handed_out += 1;
        let Some(event) = state.waiting.pop_front() else {
            return (number, String::new());
        };
        if matches!(event.happened, Happened::Came { .. }) {
            state.coming.insert(number, event.connection);
        }
        drop(state);
        (number, event.to_json())
    }

    fn answered(&self, number: usize, body: &[u8], _latency: Duration) -> Result<()> {
        let answer: Answer = serde_json::from_slice(body).map_err(|error| {
            format!(
                "a socket event was answered with {}: {error}",
                String::from_utf8_lossy(body)
            )
        })?;
        let coming = self.lock().coming.remove(&number);
        if let Some(connection) = coming {
            // A gateway that is gone lets nobody in any more.
            let _gone = self.answers.send((connection, answer.status_code));
            self.bell.wake()?;
        }
        Ok(())
    }

    fn failed(&self, what: String) {
        self.lock().failure.get_or_insert(what);
    }
}

impl Event {
    /// As API Gateway hands it to a function.
    fn to_json(&self) -> String {
        let id = id(self.connection);
        let (route, kind) = match &self.happened {
            Happened::Came { .. } => ("$connect", "CONNECT"),
            Happened::Said(_) => ("$default", "MESSAGE"),
            Happened::Went => ("$disconnect", "DISCONNECT"),
        };
        let mut event = json!({
            "requestContext": {
                "routeKey": route,
                "eventType": kind,
                "connectionId": id,
                "messageDirection": "IN",
                "stage": "live",
                "apiId": "abcdefghij",
                "domainName": "abcdefghij.execute-api.ap-northeast-2.amazonaws.com",
                "requestId": "JKJaXmPLvHcESHA=",
                "connectedAt": 1_795_219_200_123_u64,
                "requestTimeEpoch": 1_795_219_200_123_u64,
                "identity": { "sourceIp": "203.0.113.7" },
            },
            "isBase64Encoded": false,
        });
        match &self.happened {
            Happened::Came { token, broadcast } => {
                event["headers"] = json!({ "Accept-Language": "ko-KR,ko;q=0.9" });
                event["queryStringParameters"] =
                    json!({ "token": token, "broadcast_id": broadcast });
            }
            Happened::Said(text) => event["body"] = json!(text),
            Happened::Went => {}
        }
        event.to_string()
    }
}

/// The id of a connection as functions know it. Those of API Gateway end in a sign that must be encoded in a path.
pub fn id(connection: u64) -> String {
    format!("{connection:012x}cIhw=")
}

/// The connection of an id as it stands in a path.
pub fn connection(id: &str) -> Option<u64> {
    let number = id
        .strip_suffix("cIhw=")
        .or_else(|| id.strip_suffix("cIhw%3D"))?;
    u64::from_str_radix(number, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_however_its_last_sign_is_written() {
        assert_eq!(connection(&id(77)), Some(77));
        assert_eq!(connection(&id(77).replace('=', "%3D")), Some(77));
        assert_eq!(connection("L0SM9cOFvHcCIhw="), None);
    }
}
