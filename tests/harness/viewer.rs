//! A person in a room, and the room as it is seen over HTTP.

use axum::http::Method;
use onepool::{auth::Role, room::socket::SocketEvent};
use serde_json::{Value, json};

use crate::{Shop, Show};

/// A person over one connection.
pub struct Viewer<'a> {
    shop: &'a Shop,
    connection: &'a str,
}

impl<'a> Viewer<'a> {
    /// Connects, and joins.
    pub async fn join(shop: &'a Shop, show: &Show, user: &str, connection: &'a str) -> Self {
        let viewer = Self::connect(shop, show, (user, Role::Viewer), connection).await;
        viewer.send(json!({ "type": "join" })).await;
        viewer.read();
        viewer
    }

    /// Connects.
    pub async fn connect(
        shop: &'a Shop,
        show: &Show,
        (user, role): (&str, Role),
        connection: &'a str,
    ) -> Self {
        let status = shop.knock(show, (user, role), connection).await.0;
        assert_eq!(status, 200);
        Self::behind(shop, connection)
    }

    /// Whoever is behind a connection, if there is one.
    #[must_use]
    pub fn behind(shop: &'a Shop, connection: &'a str) -> Self {
        Self { shop, connection }
    }

    /// Sends a message.
    pub async fn send(&self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    /// Sends something that may be no message.
    pub async fn send_text(&self, body: &str) {
        let event = event("$default", self.connection, json!({ "body": body }));
        let answer = self.shop.sockets.serve(event).await;
        assert_eq!(answer.expect("answers").status_code, 200);
    }

    /// Says something.
    pub async fn say(&self, message: &str) {
        self.send(json!({ "type": "chat", "message": message }))
            .await;
    }

    /// Says something, and returns the error that the sender alone is told, if there is one.
    pub async fn refused(&self, message: &str) -> Option<Value> {
        self.read();
        self.say(message).await;
        let mut events = self.read();
        assert!(events.len() <= 1, "{events:?}");
        let error = events.pop()?;
        assert_eq!(error["type"], "error");
        Some(error)
    }

    /// The code of that error.
    pub async fn code(&self, message: &str) -> Option<String> {
        self.refused(message).await?["code"]
            .as_str()
            .map(str::to_owned)
    }

    /// The events that have arrived.
    pub fn read(&self) -> Vec<Value> {
        let frames = self.shop.wire.take_posts(self.connection);
        let events = frames
            .iter()
            .flat_map(|frame| frame["events"].as_array().expect("events"));
        events.cloned().collect()
    }

    /// The events of a kind that have arrived, after the pump has run.
    pub async fn pumped(&self, kind: &str) -> Vec<Value> {
        self.shop.pump().await;
        let mut events = self.read();
        events.retain(|event| event["type"] == kind);
        events
    }
}

impl Show {
    /// Where it is moderated.
    #[must_use]
    pub fn moderation(&self) -> String {
        format!("/broadcasts/{}/moderation", self.broadcast)
    }
}

impl Shop {
    /// Asks to be connected, in English. Returns the status and what a refused client may read.
    pub async fn knock(
        &self,
        show: &Show,
        (user, role): (&str, Role),
        connection: &str,
    ) -> (u16, Value) {
        let query = json!({ "token": self.token(user, role), "broadcast_id": show.broadcast });
        let asks =
            json!({ "queryStringParameters": query, "headers": { "Accept-Language": "en" } });
        let answer = self
            .sockets
            .serve(event("$connect", connection, asks))
            .await
            .expect("answers");
        let body = answer.body.map_or(Value::Null, |body| {
            serde_json::from_str(&body).expect("JSON")
        });
        (answer.status_code, body)
    }

    /// Moderates, and expects it to go well.
    pub async fn moderate(&self, show: &Show, body: Value) -> Value {
        let (status, state) = self
            .admin(Method::POST, &show.moderation(), None, body)
            .await;
        assert_eq!(status, 200, "{state}");
        state
    }

    /// The room as a newcomer sees it.
    pub async fn room(&self, show: &Show) -> Value {
        let path = format!("/broadcasts/{}", show.broadcast);
        let (status, room) = self.admin(Method::GET, &path, None, Value::Null).await;
        assert_eq!(status, 200, "{room}");
        room
    }

    /// The latest messages of the room.
    pub async fn recent_chat(&self, show: &Show) -> Vec<Value> {
        self.room(show).await["recent_chat"]
            .as_array()
            .expect("messages")
            .clone()
    }
}

fn event(route: &str, connection: &str, mut event: Value) -> SocketEvent {
    event["requestContext"] = json!({ "routeKey": route, "connectionId": connection });
    serde_json::from_value(event).expect("an event")
}
