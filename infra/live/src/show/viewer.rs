//! One viewer: joins, sees, chats a little, and comes back when the connection drops.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

const CHATS: [&str; 4] = [
    "안녕하세요!",
    "감귤 맛있어 보여요",
    "샀어요 🍊",
    "<b>굵게</b> 되나요?",
];
/// How often a viewer says something.
const TALK_INTERVAL: Duration = Duration::from_secs(2);
const COME_BACK: Duration = Duration::from_millis(500);
const LEAVE: Duration = Duration::from_secs(2);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// A connected viewer.
pub struct Viewer {
    screen: Arc<Mutex<Screen>>,
    mood: watch::Sender<Mood>,
    task: JoinHandle<()>,
}

/// What a viewer is up to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Talking,
    Watching,
    Leaving,
}

/// What a viewer has seen.
#[derive(Clone, Debug, Default)]
pub struct Screen {
    /// Frames received.
    pub frames: u64,
    /// Room snapshots received.
    pub inits: u64,
    /// Connections made.
    pub connections: u64,
    /// Frames older than one seen before.
    pub late_frames: u64,
    /// Units left as shown now.
    pub remaining: Option<i64>,
    /// Results pushed to this viewer, by order, the last of each.
    pub results: BTreeMap<String, Value>,
    /// Why a connection could not be made or was lost, the last time.
    pub trouble: Option<String>,
    version: i64,
    seq: Option<u64>,
}

impl Viewer {
    /// Comes into the room at `url`.
    pub fn enter(number: usize, url: String) -> Self {
        let screen = Arc::<Mutex<Screen>>::default();
        let (mood, told) = watch::channel(Mood::Talking);
        let task = tokio::spawn(watch_room(number, url, Arc::clone(&screen), told));
        Self { screen, mood, task }
    }

    /// What is on the screen now.
    pub fn screen(&self) -> Screen {
        self.screen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Says nothing any more: a room that is talked in never comes to rest.
    pub fn hush(&self) {
        let _gone = self.mood.send(Mood::Watching);
    }

    /// Closes the connection in good order.
    pub async fn leave(mut self) {
        let _gone = self.mood.send(Mood::Leaving);
        if timeout(LEAVE, &mut self.task).await.is_err() {
            self.task.abort();
        }
    }
}

async fn watch_room(
    number: usize,
    url: String,
    screen: Arc<Mutex<Screen>>,
    mut told: watch::Receiver<Mood>,
) {
    let change = |change: &dyn Fn(&mut Screen)| {
        change(&mut screen.lock().unwrap_or_else(PoisonError::into_inner))
    };
    while !is_leaving(&told) {
        match connect_async(&url).await {
            Ok((socket, _handshake)) => {
                change(&|screen| screen.connections += 1);
                let seq = screen.lock().unwrap_or_else(PoisonError::into_inner).seq;
                if let Err(error) = sit(number, socket, seq, &screen, &mut told).await {
                    change(&|screen| screen.trouble = Some(error.to_string()));
                }
            }
            Err(error) => change(&|screen| screen.trouble = Some(error.to_string())),
        }
        if !is_leaving(&told) {
            sleep(COME_BACK).await;
        }
    }
}

/// One connection, from join to its end.
async fn sit(
    number: usize,
    mut socket: Socket,
    seq: Option<u64>,
    screen: &Mutex<Screen>,
    told: &mut watch::Receiver<Mood>,
) -> Result<(), WebSocketError> {
    let join = seq.map_or_else(
        || json!({ "type": "join" }),
        |seq| json!({ "type": "join", "last_seq": seq }),
    );
    socket.send(Message::text(join.to_string())).await?;
    let mut talk_at = Instant::now() + TALK_INTERVAL.mul_f64(fastrand::f64());
    loop {
        tokio::select! {
            _told = told.changed() => if is_leaving(told) {
                return socket.close(None).await;
            },
            () = sleep_until(talk_at), if *told.borrow() == Mood::Talking => {
                talk_at += TALK_INTERVAL;
                if let Some(message) = talk(number) {
                    socket.send(Message::text(message.to_string())).await?;
                }
            }
            received = socket.next() => match received {
                Some(Ok(Message::Text(text))) => {
                    if let Ok(frame) = serde_json::from_str(&text) {
                        screen.lock().unwrap_or_else(PoisonError::into_inner).show(&frame);
                    }
                }
                Some(Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => return Ok(()),
                Some(Err(error)) => return Err(error),
            },
        }
    }
}

/// Told to, or forgotten because the show was broken off.
fn is_leaving(told: &watch::Receiver<Mood>) -> bool {
    told.has_changed().is_err() || *told.borrow() == Mood::Leaving
}

/// Every fifth chats, every third likes, the others watch.
fn talk(number: usize) -> Option<Value> {
    if number.is_multiple_of(5) {
        let message = CHATS[fastrand::usize(..CHATS.len())];
        Some(json!({ "type": "chat", "message": message }))
    } else if number.is_multiple_of(3) {
        Some(json!({ "type": "like", "count": 1 }))
    } else {
        None
    }
}

impl Screen {
    fn show(&mut self, frame: &Value) {
        if frame["type"] != "frame" {
            return;
        }
        self.frames += 1;
        let seq = frame["seq"].as_u64();
        if seq < self.seq {
            self.late_frames += 1;
        }
        self.seq = self.seq.max(seq);
        for event in frame["events"].as_array().into_iter().flatten() {
            self.apply(event);
        }
    }

    fn apply(&mut self, event: &Value) {
        match event["type"].as_str().unwrap_or_default() {
            "init" => {
                self.inits += 1;
                for product in event["products"].as_array().into_iter().flatten() {
                    self.count(product);
                }
            }
            "inventory_update" => self.count(event),
            "product_spotlight" => self.count(&event["product"]),
            "order_result" => {
                let mut order = event.clone();
                if let Some(fields) = order.as_object_mut() {
                    fields.remove("type");
                }
                let order_id = order["order_id"].as_str().unwrap_or_default().to_owned();
                self.results.insert(order_id, order);
            }
            // The rest of the room is not what this viewer is asked about.
            _other => {}
        }
    }

    /// An older number never replaces a newer one.
    fn count(&mut self, stock: &Value) {
        let version = stock["version"].as_i64().unwrap_or(self.version);
        if let Some(remaining) = stock["remaining"]
            .as_i64()
            .filter(|_| version >= self.version)
        {
            self.remaining = Some(remaining);
            self.version = version;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_older_number_never_replaces_a_newer_one() {
        let mut screen = Screen::default();
        let update = |remaining, version| json!({ "type": "frame", "seq": version, "events": [{ "type": "inventory_update", "product_id": "p", "remaining": remaining, "version": version }] });
        screen.show(&update(7, 3));
        screen.show(&update(9, 1));
        assert_eq!((screen.remaining, screen.late_frames), (Some(7), 1));
        screen.show(&update(6, 4));
        assert_eq!((screen.remaining, screen.frames), (Some(6), 3));
    }
}
