//! A viewer's connection: come, chat, like, go.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Event, Rooms, post::Post};
use crate::{
    auth::{Caller, Tokens, UserId},
    broadcast::{fence::Fence, snapshot::snapshot},
    catalog::Catalog,
    clock::{self, Timestamp},
    connection::Redis,
    error::{Error, Language},
    id::BroadcastId,
    keys::Keys,
};

/// How long a chat message may be, in Unicode scalar values.
pub const MAX_CHAT: usize = 200;
/// How many likes one message may bring.
pub const MAX_LIKES: u32 = 50;
/// How long API Gateway keeps a connection, and a little more: what is known of it is forgotten then.
const CONNECTION_MEMORY_S: u64 = 2 * 3600 + 300;
/// When a viewer is told to leave and come back, before API Gateway does it for them; each a little earlier or later than
/// the others, so that they do not all come back at once.
const RECONNECT_AFTER_S: std::ops::Range<u64> = 6_000..6_900;
/// How often a viewer must say something. API Gateway closes a connection after 10 minutes of silence.
const HEARTBEAT_S: u64 = 240;

/// What of a WebSocket event is read.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketEvent {
    /// About the connection.
    pub request_context: SocketContext,
    /// The query of the connect request.
    #[serde(default)]
    pub query_string_parameters: Option<HashMap<String, String>>,
    /// The headers of the connect request.
    #[serde(default)]
    pub headers: Option<HashMap<String, String>>,
    /// The message.
    #[serde(default)]
    pub body: Option<String>,
}

/// About a connection.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketContext {
    /// `$connect`, `$disconnect` or `$default`.
    pub route_key: String,
    /// Its id.
    pub connection_id: String,
}

/// What API Gateway is answered.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SocketAnswer {
    /// 200 lets a connection in.
    pub status_code: u16,
    /// What the client of a refused connection may read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// What a viewer sends.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Message {
    Join {
        #[serde(default)]
        last_seq: Option<u64>,
    },
    Chat {
        message: String,
    },
    Like {
        #[serde(default)]
        count: Option<u32>,
    },
    Ping,
}

/// Who is behind a connection, and in which room.
#[derive(Debug, Serialize, Deserialize)]
struct Connected {
    broadcast_id: BroadcastId,
    user_id: UserId,
    name: String,
    language: String,
    /// The sequence number the viewer had at its join; a direct answer carries it, as it may not run ahead of the frames.
    cursor: u64,
}

/// Serves connections.
pub struct Sockets {
    /// The rooms.
    pub rooms: Rooms,
    /// Where rooms that Redis has forgotten are read from.
    pub catalog: Catalog,
    /// Where the gate of what is on air follows the ledger, if it has forgotten.
    pub fence: Fence,
    /// Whose tokens are let in.
    pub tokens: Tokens,
    /// How viewers are answered.
    pub post: Post,
    /// Where connections are kept.
    pub redis: Redis,
    /// How their keys are spelled.
    pub keys: Keys,
}

impl Sockets {
    /// Serves one event.
    ///
    /// # Errors
    /// A store failed. API Gateway tells the client of a message; a connection is refused.
    pub async fn serve(&self, event: SocketEvent) -> Result<SocketAnswer, Error> {
        let connection = event.request_context.connection_id.clone();
        let route = event.request_context.route_key.clone();
        let outcome = match route.as_str() {
            "$connect" => self.connect(&connection, &event).await,
            "$disconnect" => self.disconnect(&connection).await,
            _ => {
                self.message(&connection, event.body.as_deref().unwrap_or_default())
                    .await
            }
        };
        let answer = match outcome {
            Ok(()) => SocketAnswer {
                status_code: 200,
                body: None,
            },
            Err(error) if error.is_callers() => {
                let problem = error.problem(Language::Korean);
                SocketAnswer {
                    status_code: problem.status,
                    body: Some(problem.body.to_string()),
                }
            }
            Err(error) => return Err(error),
        };
        tracing::info!(route, status = answer.status_code, "socket");
        Ok(answer)
    }

    async fn connect(&self, connection: &str, event: &SocketEvent) -> Result<(), Error> {
        let query = event.query_string_parameters.as_ref();
        let parameter = |name: &str| query.and_then(|query| query.get(name)).map(String::as_str);
        let caller = self
            .tokens
            .verify(parameter("token").ok_or(Error::Unauthenticated)?)?;
        let broadcast = parameter("broadcast_id")
            .and_then(|id| id.parse::<BroadcastId>().ok())
            .ok_or_else(|| Error::invalid("broadcast_id", "the id of a broadcast"))?;
        snapshot(&self.rooms, &self.catalog, &self.fence, &broadcast).await?;
        let language = event
            .headers
            .iter()
            .flatten()
            .find(|(name, _)| name.eq_ignore_ascii_case("accept-language"))
            .map(|(_, value)| value.chars().take(100).collect())
            .unwrap_or_default();
        let Caller { user_id, name, .. } = caller;
        self.remember(
            connection,
            &Connected {
                broadcast_id: broadcast,
                user_id,
                name,
                language,
                cursor: 0,
            },
        )
        .await
    }

    async fn disconnect(&self, connection: &str) -> Result<(), Error> {
        if let Some(connected) = self.recall(connection).await? {
            self.rooms
                .leave(&connected.broadcast_id, &[connection])
                .await?;
            let mut forget = redis::pipe();
            forget.del(self.keys.connection(connection)).ignore();
            self.redis.send::<()>(&forget).await?;
        }
        Ok(())
    }

    async fn message(&self, connection: &str, body: &str) -> Result<(), Error> {
        let Some(mut connected) = self.recall(connection).await? else {
            return Ok(());
        };
        let language = Language::from_header(Some(&connected.language));
        let now = clock::now();
        let refusal = match serde_json::from_str::<Message>(body) {
            Ok(Message::Join { last_seq }) => {
                return self.join(connection, &mut connected, last_seq, now).await;
            }
            Ok(Message::Chat { message }) => match check_chat(&message) {
                Ok(()) => return self.chat(&connected, message, now).await,
                Err(error) => error,
            },
            Ok(Message::Like { count }) => match count.unwrap_or(1) {
                0 => return Ok(()),
                count => {
                    return self
                        .rooms
                        .like(&connected.broadcast_id, count.min(MAX_LIKES), now)
                        .await;
                }
            },
            Ok(Message::Ping) => {
                return self.answer(connection, connected.cursor, Event::Pong).await;
            }
            Err(_) => Error::invalid("type", "join, chat, like, ping"),
        };
        let problem = refusal.problem(language);
        let detail = problem.body["detail"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        self.answer(
            connection,
            connected.cursor,
            Event::Error {
                code: "invalid_request",
                detail,
            },
        )
        .await
    }

    /// Answers with the snapshot, or with the missed events if the log still has them all; then the pump takes over. The
    /// connection is registered after that answer, so no frame can come before it; what happens in between is in the log.
    async fn join(
        &self,
        connection: &str,
        connected: &mut Connected,
        last_seq: Option<u64>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let broadcast = connected.broadcast_id.clone();
        let room = snapshot(&self.rooms, &self.catalog, &self.fence, &broadcast).await?;
        let head = room.seq;
        let missed = match last_seq {
            Some(seen) if seen <= head => {
                let missed = self.rooms.log(&broadcast, seen, head).await?;
                (u64::try_from(missed.len()).ok() == Some(head - seen)).then_some(missed)
            }
            _ => None,
        };
        let events = match missed {
            Some(missed) => missed
                .into_iter()
                .filter(|event| {
                    event
                        .to
                        .as_deref()
                        .is_none_or(|user| user == connected.user_id.as_str())
                })
                .map(|event| event.json)
                .collect::<Vec<_>>()
                .join(","),
            None => {
                let mut init = room.body;
                init["type"] = json!("init");
                init["heartbeat_s"] = json!(HEARTBEAT_S);
                init["reconnect_at"] =
                    json!(now + Duration::from_secs(fastrand::u64(RECONNECT_AFTER_S)));
                init.to_string()
            }
        };
        self.post
            .send(
                connection,
                &format!(r#"{{"type":"frame","seq":{head},"events":[{events}]}}"#),
            )
            .await;
        connected.cursor = head;
        self.remember(connection, connected).await?;
        self.rooms
            .register(&broadcast, connection, &connected.user_id, head, now)
            .await
    }

    async fn chat(
        &self,
        connected: &Connected,
        message: String,
        now: Timestamp,
    ) -> Result<(), Error> {
        let chat = Event::Chat {
            id: format!("{:x}-{:08x}", now.millis(), fastrand::u32(..)),
            user_id: connected.user_id.clone(),
            name: connected.name.clone(),
            message,
            timestamp: now,
        };
        self.rooms
            .append(&connected.broadcast_id, &[(None, chat)], now)
            .await
    }

    async fn answer(&self, connection: &str, seq: u64, event: Event) -> Result<(), Error> {
        let frame = format!(
            r#"{{"type":"frame","seq":{seq},"events":[{}]}}"#,
            event.to_json()
        );
        // A viewer who cannot be reached has nothing to be told.
        let _posted = self.post.send(connection, &frame).await;
        Ok(())
    }

    async fn remember(&self, connection: &str, connected: &Connected) -> Result<(), Error> {
        let record = serde_json::to_string(connected).map_err(Error::Foreign)?;
        let mut write = redis::pipe();
        write
            .set_ex(
                self.keys.connection(connection),
                record,
                CONNECTION_MEMORY_S,
            )
            .ignore();
        Ok(self.redis.send(&write).await?)
    }

    async fn recall(&self, connection: &str) -> Result<Option<Connected>, Error> {
        let mut read = redis::pipe();
        read.get(self.keys.connection(connection));
        let (record,): (Option<String>,) = self.redis.send(&read).await?;
        record
            .map(|record| {
                serde_json::from_str(&record).map_err(|error| Error::Corrupt(error.to_string()))
            })
            .transpose()
    }
}

fn check_chat(message: &str) -> Result<(), Error> {
    match message.chars().count() {
        1..=MAX_CHAT => Ok(()),
        _ => Err(Error::invalid("message", format!("1..={MAX_CHAT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_counted_in_characters_not_bytes() {
        assert!(check_chat(&"가".repeat(MAX_CHAT)).is_ok());
        assert!(check_chat(&"가".repeat(MAX_CHAT + 1)).is_err());
        assert!(check_chat("").is_err());
    }

    #[test]
    fn the_events_of_api_gateway_are_understood() {
        let event: SocketEvent =
            serde_json::from_str(include_str!("../../../functions/ws-connections/event.json"))
                .expect("is an event of API Gateway");
        assert_eq!(event.request_context.route_key, "$connect");
    }
}
