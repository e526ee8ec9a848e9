//! A viewer's connection: come, chat, like, go.

use std::{collections::HashMap, time::Duration};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    Event, LoggedEvent, Rooms, Shard, Snapshot,
    chat::{self, Refusal, Speaker},
    connection::{Connected, Entry},
    encode::frames,
    post::{Post, Posted},
};
use crate::{
    auth::{Caller, Role, Tokens},
    broadcast::{fence::Fence, snapshot::snapshot},
    catalog::Catalog,
    clock::{self, Timestamp},
    error::{Error, Language},
    id::BroadcastId,
};

/// The largest message, in bytes: a chat of the longest text has less, however it is written.
pub const MAX_MESSAGE: usize = 8 * 1024;
/// How many likes one message may bring.
pub const MAX_LIKES: u32 = 50;
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
    /// Whether it came in a binary frame, and is Base64 here.
    #[serde(default)]
    pub is_base64_encoded: bool,
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
        #[serde(default)]
        message: Value,
    },
    Like {
        #[serde(default)]
        count: Option<u64>,
    },
    Ping,
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
            _ => self.message(&connection, &event).await,
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
        let language = event
            .headers
            .iter()
            .flatten()
            .find(|(name, _)| name.eq_ignore_ascii_case("accept-language"))
            .map(|(_, value)| value.chars().take(100).collect())
            .unwrap_or_default();
        let host = caller.role >= Role::Broadcaster;
        let Caller { user_id, name, .. } = caller;
        let who = Connected {
            broadcast_id: broadcast,
            user_id,
            name,
            host,
            language,
            since: clock::now(),
            shard: None,
            cursor: 0,
        };
        let mut entry = self.rooms.let_in(connection, &who).await?;
        if entry == Entry::Unknown {
            // Of a broadcast that there is, Redis knows after this.
            self.snapshot(&who).await?;
            entry = self.rooms.let_in(connection, &who).await?;
        }
        match entry {
            Entry::Welcome => Ok(()),
            Entry::Banned => Err(Error::Refused(Refusal::Banned)),
            // Forgotten again in between.
            Entry::Unknown => Err(Error::Conflict),
        }
    }

    /// The room as this person sees it.
    async fn snapshot(&self, who: &Connected) -> Result<Snapshot, Error> {
        let (rooms, catalog, fence) = (&self.rooms, &self.catalog, &self.fence);
        snapshot(rooms, catalog, fence, &who.broadcast_id, Some(&who.user_id)).await
    }

    async fn disconnect(&self, connection: &str) -> Result<(), Error> {
        let Some(who) = self.rooms.connected(connection).await? else {
            return Ok(());
        };
        if let Some(number) = who.shard {
            let broadcast = who.broadcast_id.clone();
            let shard = Shard { broadcast, number };
            self.rooms.leave(&shard, &[connection]).await?;
        }
        self.rooms.forget(connection, &who).await
    }

    async fn message(&self, connection: &str, event: &SocketEvent) -> Result<(), Error> {
        let Some(connected) = self.rooms.connected(connection).await? else {
            // Redis has forgotten who this is: their viewer comes back with a token.
            return self.post.close(connection).await;
        };
        let language = Language::from_header(Some(&connected.language));
        let now = clock::now();
        let outcome = match read(event) {
            Ok(Message::Join { last_seq }) => {
                self.join(connection, &connected, last_seq, now).await
            }
            Ok(Message::Chat {
                message: Value::String(message),
            }) => self.chat(&connected, &message, now).await,
            Ok(Message::Chat { .. }) => Err(Error::Refused(Refusal::NotText)),
            Ok(Message::Like { count }) => self.like(&connected, count.unwrap_or(1), now).await,
            Ok(Message::Ping) if connected.is_stranded(now) => self.post.close(connection).await,
            Ok(Message::Ping) => self.answer(connection, connected.cursor, Event::Pong).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) if error.is_callers() => {
                let refused = Event::refused(&error, language);
                self.answer(connection, connected.cursor, refused).await
            }
            outcome => outcome,
        }
    }

    /// Answers with the snapshot, or with the missed events if the log still has them all; then a pump takes over. The
    /// connection is registered after that answer, so no frame can come before it; what happens in between is in the log.
    async fn join(
        &self,
        connection: &str,
        connected: &Connected,
        last_seq: Option<u64>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (broadcast, user) = (&connected.broadcast_id, &connected.user_id);
        let reconnect_at = now + Duration::from_secs(fastrand::u64(RECONNECT_AFTER_S));
        let missed = match last_seq {
            Some(seen) => self.rooms.resume(broadcast, user, seen).await?,
            None => None,
        };
        let (head, frames) = match missed {
            Some((head, mut events)) => {
                let deleted = chat::deleted_in(events.iter().map(|event| event.json.as_str()));
                events.retain(|event| {
                    chat::id_of(&event.json).is_none_or(|id| !deleted.contains(id))
                });
                let at = Event::Reconnect { at: reconnect_at };
                events.push(LoggedEvent {
                    seq: head,
                    to: None,
                    json: at.to_json(),
                });
                (head, frames(&events, (0, head), Some(user.as_str())))
            }
            None => {
                let room = self.snapshot(connected).await?;
                let mut init = room.body;
                init["type"] = json!("init");
                init["heartbeat_s"] = json!(HEARTBEAT_S);
                init["reconnect_at"] = json!(reconnect_at);
                let init = LoggedEvent {
                    seq: room.seq,
                    to: None,
                    json: init.to_string(),
                };
                (room.seq, frames(&[init], (0, room.seq), None))
            }
        };
        for frame in frames {
            match self.post.send_frame(connection, &frame.payload).await {
                Posted::Delivered => {}
                Posted::Gone => return Ok(()),
                Posted::Slow | Posted::Refused(_) | Posted::Unknown(_) => {
                    // Whoever is told nothing more sees it at once, and comes back; a viewer with a gap would not.
                    return self.post.close(connection).await;
                }
            }
        }
        let register = self.rooms.register(broadcast, connection, user, head, now);
        if let Err(error) = register.await {
            // Answered, but in no room: their viewer comes back if it is told so.
            self.post.close(connection).await?;
            return Err(error);
        }
        Ok(())
    }

    /// Who is connected may speak, joined or not: API Gateway may bring two messages of one connection in any order, and a
    /// message that overtakes its `join` is no fault of its sender.
    async fn chat(
        &self,
        connected: &Connected,
        message: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let (broadcast, speaker) = (
            &connected.broadcast_id,
            Speaker {
                user: &connected.user_id,
                host: connected.host,
            },
        );
        let message = self
            .rooms
            .hear(&self.catalog, broadcast, speaker, message, now)
            .await?;
        let chat = Event::Chat {
            id: chat::message_id(now),
            user_id: connected.user_id.clone(),
            name: connected.name.clone(),
            message,
            timestamp: now,
        };
        self.rooms.append(broadcast, &[(None, chat)], now).await
    }

    /// Counts likes, within what one message may bring and one person may do. The rest is passed over in silence.
    async fn like(&self, connected: &Connected, count: u64, now: Timestamp) -> Result<(), Error> {
        let (broadcast, user) = (&connected.broadcast_id, &connected.user_id);
        let likes = u32::try_from(count).unwrap_or(MAX_LIKES).min(MAX_LIKES);
        if likes == 0 {
            return Ok(());
        }
        match self
            .rooms
            .likes_that_count(broadcast, user, likes, now)
            .await?
        {
            0 => Ok(()),
            likes => self.rooms.like(broadcast, likes, now).await,
        }
    }

    async fn answer(&self, connection: &str, seq: u64, event: Event) -> Result<(), Error> {
        // A viewer who cannot be reached has nothing to be told.
        let _posted = self.post.send(connection, &direct(seq, &event)).await;
        Ok(())
    }
}

/// What a viewer says.
fn read(event: &SocketEvent) -> Result<Message, Error> {
    let body = event.body.as_deref().unwrap_or_default();
    if event.is_base64_encoded {
        return Err(Error::invalid("body", "text, not a binary frame"));
    }
    if body.len() > MAX_MESSAGE {
        let expected = format!("at most {MAX_MESSAGE} bytes");
        return Err(Error::invalid("body", expected));
    }
    serde_json::from_str(body).map_err(|_| Error::invalid("type", "join, chat, like, ping"))
}

/// A frame for one connection alone: it does not go beyond `seq`, which the viewer has.
#[must_use]
pub fn direct(seq: u64, event: &Event) -> String {
    let event = event.to_json();
    format!(r#"{{"type":"frame","seq":{seq},"events":[{event}]}}"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_of_api_gateway_are_understood() {
        let event: SocketEvent =
            serde_json::from_str(include_str!("../../../functions/ws-connections/event.json"))
                .expect("is an event of API Gateway");
        assert_eq!(event.request_context.route_key, "$connect");
    }
}
