//! The pump is killed a hundred times in a stream, at random, while posts are refused or have no answer, and viewers come
//! back under new connections: everyone has everything that was said, in order, once. There are more viewers than are posted to
//! at once, and posts are held up, so that frames grow while they go round.

use std::{fmt::Write as _, time::Duration};

use fastrand::Rng;
use onepool::{
    auth::{Role, UserId},
    clock,
    room::{Event, Wake, socket::SocketEvent},
};
use onepool_tests::{Fault, Shop, Show, crash_after};
use serde_json::{Value, json};

const KILLS: usize = 100;
const VIEWERS: usize = 72;
/// Longer than any lease: the next pump need not wait for that of the dead one.
const LEASE_OVER: Duration = Duration::from_secs(5);
/// A pump that nobody kills ends by itself in this time.
const END_PATIENCE: Duration = Duration::from_secs(20);
/// So many pumps may be needed once nothing goes wrong any more.
const LAST_PUMPS: usize = 20;

/// What a viewer's screen does: it takes a frame only if it goes beyond what it has.
struct Viewer {
    user: String,
    connection: String,
    seq: u64,
    /// The numbers of the chats on screen.
    chats: Vec<u64>,
    /// What of the latest frames went on screen, for a failure that is to be understood.
    history: String,
}

impl Viewer {
    fn new(number: usize) -> Self {
        Self {
            user: format!("u{number}"),
            connection: String::new(),
            seq: 0,
            chats: Vec::new(),
            history: String::new(),
        }
    }

    /// Comes, or comes back, under another connection.
    async fn join(&mut self, shop: &Shop, show: &Show, connection: String) {
        let token = shop.token(&self.user, Role::Viewer);
        let connect = json!({
            "requestContext": { "routeKey": "$connect", "connectionId": connection },
            "queryStringParameters": { "token": token, "broadcast_id": show.broadcast },
        });
        serve(shop, connect).await;
        let last_seq = (self.seq > 0).then_some(self.seq);
        let join = json!({ "type": "join", "last_seq": last_seq });
        let join = json!({
            "requestContext": { "routeKey": "$default", "connectionId": connection },
            "body": join.to_string(),
        });
        serve(shop, join).await;
        self.connection = connection;
    }

    async fn leave(&mut self, shop: &Shop) {
        self.read(shop);
        let gone = json!({ "requestContext": { "routeKey": "$disconnect", "connectionId": self.connection } });
        serve(shop, gone).await;
    }

    fn read(&mut self, shop: &Shop) {
        for frame in shop.wire.take_posts(&self.connection) {
            let seq = frame["seq"].as_u64().expect("a frame has a seq");
            let before = self.seq;
            if seq <= before {
                continue;
            }
            self.seq = seq;
            let new: Vec<u64> = frame["events"]
                .as_array()
                .expect("a frame has events")
                .iter()
                .flat_map(chats)
                .collect();
            let _written = writeln!(self.history, "{before} -> {seq}: chats {new:?}");
            self.chats.extend(new);
            self.check();
        }
    }

    /// All chats from the first on, each once.
    fn check(&self) {
        let last = self.chats.len().saturating_sub(1);
        if self.chats.last().is_some_and(|chat| *chat != last as u64) {
            let from = self.history.len().saturating_sub(400);
            panic!(
                "{} has {} chats and the last is number {}; its latest frames:\n...{}",
                self.user,
                self.chats.len(),
                self.chats[last],
                &self.history[from..]
            );
        }
    }
}

/// The numbers of the chats in an event. Whoever begins with a snapshot has those in it.
fn chats(event: &Value) -> Vec<u64> {
    let number = |chat: &Value| {
        let text = chat["message"].as_str().expect("a chat has a text");
        text.parse::<u64>().expect("the chats are numbered")
    };
    match event["type"].as_str() {
        Some("chat") => vec![number(event)],
        Some("init") => {
            let recent = event["recent_chat"].as_array();
            recent.into_iter().flatten().map(number).collect()
        }
        _ => Vec::new(),
    }
}

async fn serve(shop: &Shop, event: Value) {
    let event: SocketEvent = serde_json::from_value(event).expect("an event");
    let answer = shop.sockets.serve(event).await.expect("answers");
    assert_eq!(answer.status_code, 200);
}

/// Says so many things more, all at once or one by one.
async fn say(shop: &Shop, show: &Show, said: &mut u64, count: u64, at_once: bool) {
    let chats: Vec<_> = (*said..*said + count)
        .map(|number| {
            let chat = Event::Chat {
                id: format!("m{number}"),
                user_id: "host".parse::<UserId>().expect("a user id"),
                name: "진행자".to_owned(),
                message: number.to_string(),
                timestamp: clock::now(),
            };
            (None, chat)
        })
        .collect();
    *said += count;
    let calls = if at_once { chats.len() } else { 1 };
    for some in chats.chunks(calls) {
        let appended = shop.rooms.append(&show.broadcast, some, clock::now()).await;
        appended.expect("is appended");
    }
}

#[tokio::test]
async fn a_pump_killed_a_hundred_times_loses_and_repeats_nothing() {
    let seed = std::env::var("PUMP_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("seed {seed} (PUMP_SEED={seed} repeats its dice)");
    let mut dice = Rng::with_seed(seed);
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let wake = Wake {
        broadcast_id: show.broadcast.clone(),
        shard: 0,
        watch: false,
    };
    let mut viewers: Vec<Viewer> = (0..VIEWERS).map(Viewer::new).collect();
    for (number, viewer) in viewers.iter_mut().enumerate() {
        viewer.join(&shop, &show, format!("c{number}-0")).await;
    }

    let (mut said, mut kills) = (0, 0);
    while kills < KILLS {
        let count = dice.u64(1..6);
        let at_once = dice.bool();
        say(&shop, &show, &mut said, count, at_once).await;
        for _ in 0..dice.usize(..12) {
            let viewer = &viewers[dice.usize(..VIEWERS)];
            let fault = if dice.bool() {
                Fault::Refused(429)
            } else {
                Fault::AnswerLost
            };
            let post = format!("PostToConnection {}", viewer.connection);
            shop.wire.fail(&post, fault, dice.usize(1..4));
        }
        // More is said while it runs, so that it is killed in its second frame or third as well as in its first.
        let life = crash_after(dice.usize(..120), shop.pump.run(wake.clone()));
        if dice.bool() {
            shop.wire.hold_posts(dice.usize(..VIEWERS));
        }
        let talk = async {
            for _ in 0..dice.usize(..3) {
                tokio::time::sleep(Duration::from_millis(60)).await;
                say(&shop, &show, &mut said, 2, true).await;
                shop.wire.hold_posts(dice.usize(..VIEWERS));
            }
            shop.wire.release_posts();
        };
        let (ended, ()) = tokio::join!(life, talk);
        kills += usize::from(ended.is_none());
        clock::put_ahead(LEASE_OVER);
        for viewer in &mut viewers {
            viewer.read(&shop);
        }
        if dice.u8(..4) == 0 {
            // What a refused answer to a join means is another matter.
            shop.wire.calm();
            let viewer = &mut viewers[dice.usize(..VIEWERS)];
            viewer.leave(&shop).await;
            let connection = format!("{}-{kills}-{said}", viewer.user);
            viewer.join(&shop, &show, connection).await;
        }
    }

    shop.wire.calm();
    for _ in 0..LAST_PUMPS {
        clock::put_ahead(LEASE_OVER);
        let run = tokio::time::timeout(END_PATIENCE, shop.pump.run(wake.clone())).await;
        run.expect("a pump with nothing to do ends")
            .expect("the pump ends well");
        for viewer in &mut viewers {
            viewer.read(&shop);
        }
        if viewers
            .iter()
            .all(|viewer| viewer.chats.len() as u64 == said)
        {
            return;
        }
    }
    for viewer in &viewers {
        assert_eq!(
            viewer.chats.len() as u64,
            said,
            "{} misses the end",
            viewer.user
        );
    }
}
