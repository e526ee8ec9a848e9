//! The room: who joins sees it, what happens reaches everyone once and in order, an order's result its buyer alone.

use std::time::{Duration, Instant};

use axum::http::Method;
use onepool::{
    auth::Role,
    clock::{self, Timestamp},
    room::{
        Ask, Claim, Event, Last, Shard,
        pump::LEASE,
        socket::{MAX_MESSAGE, SocketEvent},
    },
};
use onepool_tests::{Fault, Shop, Show, billing_key};
use serde_json::{Value, json};

struct Viewer<'a> {
    shop: &'a Shop,
    connection: String,
    events: Vec<Value>,
    seq: u64,
}

impl<'a> Viewer<'a> {
    async fn connect(shop: &'a Shop, show: &Show, user: &str, connection: &str) -> Self {
        let answer = shop
            .sockets
            .serve(connect(
                &shop.token(user, Role::Viewer),
                show.broadcast.as_str(),
                connection,
            ))
            .await;
        assert_eq!(answer.expect("answers").status_code, 200);
        Self {
            shop,
            connection: connection.to_owned(),
            events: Vec::new(),
            seq: 0,
        }
    }

    async fn send(&self, message: Value) {
        self.send_text(&message.to_string()).await;
    }

    async fn send_text(&self, body: &str) {
        let answer = self
            .shop
            .sockets
            .serve(event("$default", &self.connection, Some(body)))
            .await;
        assert_eq!(answer.expect("answers").status_code, 200);
    }

    /// Reads what has arrived; frames must come in order, none twice.
    fn read(&mut self) -> Vec<Value> {
        let mut new = Vec::new();
        for frame in self.shop.wire.take_posts(&self.connection) {
            assert_eq!(frame["type"], "frame");
            let seq = frame["seq"].as_u64().expect("a number");
            let events = frame["events"].as_array().expect("events").clone();
            let direct = events.iter().all(|event| {
                ["pong", "error"].contains(&event["type"].as_str().unwrap_or_default())
            });
            assert!(
                direct || seq > self.seq,
                "a frame came late or twice: {frame}"
            );
            self.seq = self.seq.max(seq);
            new.extend(events);
        }
        self.events.extend(new.clone());
        new
    }

    /// Reads as soon as something has arrived.
    async fn hear(&mut self) -> Vec<Value> {
        let patience = Instant::now() + Duration::from_secs(10);
        loop {
            let new = self.read();
            if !new.is_empty() {
                return new;
            }
            assert!(Instant::now() < patience, "nothing arrives");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn of<'e>(events: &'e [Value], kind: &str) -> Vec<&'e Value> {
        events
            .iter()
            .filter(|event| event["type"] == kind)
            .collect()
    }
}

fn event(route: &str, connection: &str, body: Option<&str>) -> SocketEvent {
    let event = json!({ "requestContext": { "routeKey": route, "connectionId": connection }, "body": body });
    serde_json::from_value(event).expect("an event")
}

fn connect(token: &str, broadcast: &str, connection: &str) -> SocketEvent {
    let event = json!({
        "requestContext": { "routeKey": "$connect", "connectionId": connection },
        "queryStringParameters": { "token": token, "broadcast_id": broadcast },
    });
    serde_json::from_value(event).expect("an event")
}

#[tokio::test]
async fn a_newcomer_gets_the_room_and_then_what_happens() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    let events = viewer.read();
    let init = Viewer::of(&events, "init")[0];
    assert_eq!(init["broadcast"]["status"], "live");
    assert_eq!(
        (
            &init["products"][0]["id"],
            &init["products"][0]["remaining"]
        ),
        (&json!("p1"), &json!(100))
    );
    assert_eq!(init["products"][0]["live_price"], 19_900);
    assert!(
        init["reconnect_at"].is_string()
            && init["heartbeat_s"].is_number()
            && init["seq"].is_number()
    );

    viewer
        .send(json!({ "type": "chat", "message": "<b>안녕하세요</b>" }))
        .await;
    viewer.send(json!({ "type": "like", "count": 3 })).await;
    viewer.send(json!({ "type": "ping" })).await;
    let (_, receipt) = shop
        .order(&show, "u1", "k", json!(2), billing_key("bk"))
        .await;
    shop.process(10, 1).await;
    shop.pump().await;
    let events = viewer.read();
    assert_eq!(
        Viewer::of(&events, "chat")[0]["message"],
        "<b>안녕하세요</b>",
        "text is data"
    );
    assert_eq!(Viewer::of(&events, "chat")[0]["name"], "이름");
    assert_eq!(Viewer::of(&events, "like_count")[0]["count"], 3);
    assert_eq!(Viewer::of(&events, "viewer_count")[0]["count"], 1);
    assert_eq!(Viewer::of(&events, "pong").len(), 1);
    let stock = Viewer::of(&events, "inventory_update");
    assert_eq!(stock.last().expect("stock changed")["remaining"], 98);
    let result = Viewer::of(&events, "order_result")[0];
    let (_, polled) = shop
        .status("u1", receipt["order_id"].as_str().expect("an id"))
        .await;
    assert_eq!(result["status"], "confirmed");
    for (field, value) in polled.as_object().expect("an object") {
        assert_eq!(&result[field], value, "push and poll differ in {field}");
    }
}

#[tokio::test]
async fn an_order_result_reaches_its_buyer_alone_and_each_event_everyone_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewers = Vec::new();
    for n in 0..5 {
        let viewer = Viewer::connect(&shop, &show, &format!("u{n}"), &format!("c{n}")).await;
        viewer.send(json!({ "type": "join" })).await;
        viewers.push(viewer);
    }
    for (n, viewer) in viewers.iter().enumerate().take(3) {
        shop.order(&show, &format!("u{n}"), "k", json!(1), billing_key("bk"))
            .await;
        viewer
            .send(json!({ "type": "chat", "message": format!("{n}") }))
            .await;
    }
    shop.process(10, 1).await;
    shop.pump().await;
    for (n, viewer) in viewers.iter_mut().enumerate() {
        let events = viewer.read();
        let chats: Vec<&str> = Viewer::of(&events, "chat")
            .iter()
            .filter_map(|chat| chat["message"].as_str())
            .collect();
        assert_eq!(chats, ["0", "1", "2"]);
        assert_eq!(
            Viewer::of(&events, "order_result").len(),
            usize::from(n < 3),
            "viewer {n}"
        );
    }
}

#[tokio::test]
async fn a_quiet_room_sees_what_an_order_holds_before_it_is_paid() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "watcher", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.read();
    let widget = json!({ "method": "widget" });
    shop.order(&show, "u1", "k", json!(1), widget).await;
    shop.process(10, 1).await;
    shop.pump().await;
    let events = viewer.read();
    assert_eq!(Viewer::of(&events, "inventory_update")[0]["remaining"], 99);
}

#[tokio::test]
async fn a_viewer_whose_join_came_to_nothing_is_told_so() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "ping" })).await;
    assert!(shop.wire.take_closed().is_empty(), "it may join yet");
    clock::put_ahead(Duration::from_secs(61));
    viewer.send(json!({ "type": "ping" })).await;
    assert_eq!(shop.wire.take_closed(), ["c1"]);
}

#[tokio::test]
async fn posts_follow_frames_not_orders() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "watcher", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.read();
    let before = shop.wire.calls("PostToConnection");
    for n in 0..60 {
        shop.order(&show, &format!("u{n}"), "k", json!(1), billing_key("bk"))
            .await;
    }
    for n in 0..30 {
        chatter(&shop, &show, &n.to_string()).await;
    }
    shop.process(100, 1).await;
    shop.pump().await;
    assert_eq!(
        shop.wire.calls("PostToConnection") - before,
        1,
        "sixty orders and thirty chats are one frame"
    );
    let events = viewer.read();
    assert_eq!(Viewer::of(&events, "chat").len(), 30);
    assert_eq!(Viewer::of(&events, "inventory_update").len(), 1);
    assert_eq!(Viewer::of(&events, "inventory_update")[0]["remaining"], 40);
}

#[tokio::test]
async fn the_last_unit_closes_the_product_on_every_screen() {
    let shop = Shop::open().await;
    let show = shop.show(120, 2, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "watcher", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    shop.order(&show, "u1", "k", json!(2), billing_key("bk"))
        .await;
    shop.process(10, 1).await;
    shop.pump().await;
    let events = viewer.read();
    assert_eq!(
        Viewer::of(&events, "product_closed")[0]["reason"],
        "sold_out"
    );
    let end = format!("/broadcasts/{}/end", show.broadcast);
    shop.admin(Method::POST, &end, None, Value::Null).await;
    shop.pump().await;
    assert_eq!(
        Viewer::of(&viewer.read(), "product_closed")[0]["reason"],
        "ended"
    );
}

#[tokio::test]
async fn there_is_one_pump_a_room() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    let wake = shop
        .wire
        .take_messages("wakes")
        .pop()
        .expect("the room wakes a pump");
    let wake: onepool::room::Wake = serde_json::from_str(&wake).expect("a wake");
    viewer.send(json!({ "type": "chat", "message": "1" })).await;
    let pumps = (0..5).map(|_| shop.pump.run(wake.clone()));
    for outcome in futures::future::join_all(pumps).await {
        outcome.expect("ends");
    }
    let events = viewer.read();
    assert_eq!(Viewer::of(&events, "chat").len(), 1);
}

#[tokio::test]
async fn a_pump_that_dies_is_replaced_and_nobody_misses_anything() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.send(json!({ "type": "chat", "message": "1" })).await;
    let wake = shop
        .wire
        .take_messages("wakes")
        .pop()
        .expect("the room wakes a pump");
    let wake: onepool::room::Wake = serde_json::from_str(&wake).expect("a wake");
    // Aborted while its first frame is on the way: claimed, not settled.
    shop.wire.fail("PostToConnection", Fault::Refused(429), 1);
    let dead = tokio::time::timeout(Duration::from_millis(60), shop.pump.run(wake.clone())).await;
    assert!(dead.is_err(), "the pump ended by itself");
    viewer.send(json!({ "type": "chat", "message": "2" })).await;
    let lease = Instant::now();
    while viewer
        .events
        .iter()
        .filter(|event| event["type"] == "chat")
        .count()
        < 2
    {
        shop.pump.run(wake.clone()).await.expect("ends");
        viewer.read();
        assert!(lease.elapsed().as_secs() < 10, "no pump took over");
    }
    let chats: Vec<&Value> = viewer
        .events
        .iter()
        .filter(|event| event["type"] == "chat")
        .map(|chat| &chat["message"])
        .collect();
    assert_eq!(chats, [&json!("1"), &json!("2")]);
}

/// So many viewers who have joined and read what there was.
async fn seated<'a>(shop: &'a Shop, show: &Show, count: usize) -> Vec<Viewer<'a>> {
    let mut viewers = Vec::new();
    for number in 0..count {
        let (user, connection) = (format!("u{number}"), format!("c{number}"));
        let viewer = Viewer::connect(shop, show, &user, &connection).await;
        viewer.send(json!({ "type": "join" })).await;
        viewers.push(viewer);
    }
    shop.pump().await;
    for viewer in &mut viewers {
        viewer.read();
    }
    viewers
}

#[tokio::test]
async fn a_pump_that_dies_in_a_long_round_has_called_its_successor() {
    /// More than are posted to at once.
    const VIEWERS: usize = 60;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewers = seated(&shop, &show, VIEWERS).await;
    chatter(&shop, &show, "1").await;
    let wake = shop.wire.take_messages("wakes").pop().expect("a wake");
    shop.wire.hold_posts(0);
    let mut watches = Vec::new();
    let watched = async {
        // The first is called when the round begins; the others, while it goes on.
        while watches.len() < 3 {
            watches.extend(shop.wire.take_delayed("wakes"));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let wake = serde_json::from_str(&wake).expect("a wake");
    tokio::select! {
        ended = shop.pump.run(wake) => panic!("the pump ended: {ended:?}"),
        () = watched => {}
    }
    let (watch, after_s) = watches.pop().expect("a watch");
    assert_eq!(after_s, 3);
    shop.wire.release_posts();
    clock::put_ahead(Duration::from_secs(after_s));
    let watch = serde_json::from_str(&watch).expect("a watch");
    shop.pump.run(watch).await.expect("takes over");
    for viewer in &viewers {
        let frames = shop.wire.take_posts(&viewer.connection);
        let has = |frame: &Value| frame["events"][0]["message"] == "1";
        assert!(frames.iter().any(has), "{}: {frames:?}", viewer.connection);
    }
}

#[tokio::test]
async fn what_happens_while_a_frame_goes_round_goes_along_with_it() {
    /// As many as are posted to at once, and more.
    const VIEWERS: usize = 200;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewers = seated(&shop, &show, VIEWERS).await;
    let before = shop.wire.calls("PostToConnection");
    let posts = || shop.wire.calls("PostToConnection") - before;
    shop.wire.hold_posts(0);
    chatter(&shop, &show, "1").await;
    let talk = async {
        while posts() < 56 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // From then on another frame might go.
        tokio::time::sleep(Duration::from_millis(30)).await;
        chatter(&shop, &show, "2").await;
        let under_way = posts();
        shop.wire.release_posts();
        under_way
    };
    let ((), under_way) = tokio::join!(shop.pump(), talk);
    for viewer in &mut viewers {
        let chats: Vec<Value> = (viewer.read().into_iter())
            .filter(|event| event["type"] == "chat")
            .map(|chat| chat["message"].clone())
            .collect();
        assert_eq!(chats, ["1", "2"], "{}", viewer.connection);
    }
    assert_eq!(under_way, 56);
    let all = posts();
    // Whoever had the first alone gets the second alone; the others both in one.
    assert!(
        (VIEWERS as u64 + under_way..=VIEWERS as u64 + under_way + 1).contains(&all),
        "{all} posts to {VIEWERS} viewers, {under_way} of them while the first was alone"
    );
}

#[tokio::test]
async fn the_next_pump_knows_every_end_of_a_frame_that_grew() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (room, now) = (&shard(&show), clock::now());
    let claim = async |token: &str, last: Option<(u64, bool)>| {
        let ask = Ask {
            last: last.map(|(head, under_way)| Last {
                head,
                viewers_version: 0,
                under_way,
            }),
            ..ask(token, None)
        };
        let claimed = shop.rooms.claim_frame(room, &ask, now).await;
        let claimed = claimed.expect("answers");
        let Claim::Frame(claimed) = claimed else {
            panic!("no frame: {claimed:?}")
        };
        claimed
    };
    let lease = async |token: &str, at: Timestamp| {
        let leased = shop.rooms.lease(room, token, at, at + LEASE).await;
        assert!(leased.expect("answers"));
    };
    chatter(&shop, &show, "1").await;
    lease("a", now).await;
    let first = claim("a", None).await;
    assert!(first.is_news());
    assert!(first.claimed.is_empty(), "nobody has posted it");

    let same = claim("a", Some((first.head, true))).await;
    assert_eq!((same.is_news(), same.head), (false, first.head));
    assert!(same.events.is_empty());
    chatter(&shop, &show, "2").await;
    let grown = claim("a", Some((first.head, true))).await;
    assert_eq!((grown.from, grown.events.len()), (first.head, 1));
    let ends = [first.head, grown.head];
    chatter(&shop, &show, "3").await;
    let again = claim("a", Some((first.head, true))).await;
    assert_eq!(
        (again.from, again.head, again.events),
        (first.head, grown.head, grown.events.clone()),
        "asked again because the answer was lost"
    );
    assert_eq!(again.claimed, ends);

    let later = now + Duration::from_secs(4);
    lease("b", later).await;
    let taken_over = claim("b", None).await;
    assert_eq!(taken_over.from, first.from);
    assert_eq!(taken_over.claimed, ends);
    let mut events = first.events;
    events.extend(grown.events);
    assert_eq!(taken_over.events, events);

    let settled = claim("b", Some((grown.head, false))).await;
    let last = Some(Last {
        head: settled.head,
        viewers_version: 0,
        under_way: false,
    });
    let ending = Ask {
        last,
        end: true,
        ..ask("b", None)
    };
    for _asked_again in 0..2 {
        let ended = shop.rooms.claim_frame(room, &ending, now).await;
        assert_eq!(ended.expect("answers"), Claim::Ended);
    }
    assert_eq!((settled.from, settled.events.len()), (grown.head, 1));
    assert!(settled.claimed.is_empty());
}

#[tokio::test]
async fn who_comes_back_gets_exactly_what_was_missed() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.read();
    let gone = shop
        .sockets
        .serve(event("$disconnect", "c1", None))
        .await
        .expect("answers");
    assert_eq!(gone.status_code, 200);
    let other = Viewer::connect(&shop, &show, "u2", "c2").await;
    for n in 0..3 {
        other
            .send(json!({ "type": "chat", "message": format!("{n}") }))
            .await;
    }
    let mut back = Viewer::connect(&shop, &show, "u1", "c3").await;
    back.seq = viewer.seq;
    back.send(json!({ "type": "join", "last_seq": viewer.seq }))
        .await;
    shop.pump().await;
    let events = back.read();
    assert!(Viewer::of(&events, "init").is_empty());
    let chats: Vec<&str> = Viewer::of(&events, "chat")
        .iter()
        .filter_map(|chat| chat["message"].as_str())
        .collect();
    assert_eq!(chats, ["0", "1", "2"]);

    let mut from_the_future = Viewer::connect(&shop, &show, "u3", "c4").await;
    from_the_future
        .send(json!({ "type": "join", "last_seq": 1_u64 << 53 }))
        .await;
    assert_eq!(Viewer::of(&from_the_future.read(), "init").len(), 1);
}

#[tokio::test]
async fn a_viewer_who_is_gone_is_forgotten_and_a_slow_one_catches_up() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let gone = Viewer::connect(&shop, &show, "u1", "c1").await;
    let mut slow = Viewer::connect(&shop, &show, "u2", "c2").await;
    for viewer in [&gone, &slow] {
        viewer.send(json!({ "type": "join" })).await;
    }
    shop.pump().await;
    slow.read();
    shop.wire.hang_up("c1");
    slow.send(json!({ "type": "chat", "message": "1" })).await;
    shop.wire.fail("PostToConnection", Fault::Refused(429), 1);
    shop.pump().await;
    let posts = shop.wire.calls("PostToConnection");
    let events = slow.read();
    assert_eq!(Viewer::of(&events, "chat").len(), 1);
    slow.send(json!({ "type": "chat", "message": "2" })).await;
    shop.pump().await;
    assert_eq!(
        shop.wire.calls("PostToConnection") - posts,
        1,
        "a dead connection is posted to again"
    );
}

#[tokio::test]
async fn nobody_connects_without_a_token_of_ours_or_to_a_room_that_is_not() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let token = shop.token("u1", Role::Viewer);
    for (token, broadcast, status) in [
        ("", show.broadcast.as_str(), 401),
        ("nonsense", show.broadcast.as_str(), 401),
        (&token, "", 400),
        (&token, "b9", 404),
    ] {
        let answer = shop
            .sockets
            .serve(connect(token, broadcast, "c1"))
            .await
            .expect("answers");
        assert_eq!(answer.status_code, status, "{token} {broadcast}");
    }
}

#[tokio::test]
async fn bad_messages_are_answered_to_their_sender_alone() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut other = Viewer::connect(&shop, &show, "u2", "c2").await;
    other.send(json!({ "type": "join" })).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.read();
    other.read();
    for body in [
        "not JSON".to_owned(),
        "[]".to_owned(),
        json!({ "type": "dance" }).to_string(),
        json!({ "type": "chat" }).to_string(),
        json!({ "type": "chat", "message": 7 }).to_string(),
        json!({ "type": "chat", "message": "" }).to_string(),
        json!({ "type": "chat", "message": "가".repeat(201) }).to_string(),
        json!({ "type": "like", "count": -1 }).to_string(),
    ] {
        viewer.send_text(&body).await;
        let events = viewer.read();
        assert_eq!(
            (events.len(), &events[0]["code"]),
            (1, &json!("invalid_request")),
            "{body}"
        );
    }
    viewer
        .send(json!({ "type": "like", "count": 10_000 }))
        .await;
    viewer
        .send(json!({ "type": "chat", "message": "가".repeat(200), "user_id": "u9", "name": "u9" }))
        .await;
    shop.pump().await;
    let events = other.read();
    assert_eq!(Viewer::of(&events, "error").len(), 0);
    assert_eq!(
        Viewer::of(&events, "like_count")[0]["count"],
        50,
        "a message brings so many likes at most"
    );
    assert_eq!(
        Viewer::of(&events, "chat")[0]["user_id"],
        "u1",
        "who spoke is what the token says"
    );
}

#[tokio::test]
async fn what_is_too_large_or_binary_is_refused_to_its_sender_alone() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut other = Viewer::connect(&shop, &show, "u2", "c2").await;
    other.send(json!({ "type": "join" })).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    viewer.read();
    other.read();
    let chat = |bytes: usize| {
        let message = json!({ "type": "chat", "message": "안녕", "room": "" }).to_string();
        let room = "x".repeat(bytes - message.len());
        json!({ "type": "chat", "message": "안녕", "room": room }).to_string()
    };
    let message = |body: String, binary: bool| {
        let event = json!({
            "requestContext": { "routeKey": "$default", "connectionId": "c1" },
            "body": body, "isBase64Encoded": binary,
        });
        serde_json::from_value(event).expect("an event")
    };
    for (body, binary) in [
        (chat(MAX_MESSAGE + 1), false),
        ("eyJ0eXBlIjoibGlrZSJ9".to_owned(), true),
    ] {
        let answer = shop.sockets.serve(message(body, binary)).await;
        assert_eq!(answer.expect("answers").status_code, 200);
        let [error] = &viewer.read()[..] else {
            panic!("not one answer")
        };
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("invalid_request"))
        );
    }
    shop.pump().await;
    assert!(other.read().is_empty(), "somebody else noticed");
    viewer.send_text(&chat(MAX_MESSAGE)).await;
    shop.pump().await;
    assert_eq!(Viewer::of(&other.read(), "chat").len(), 1);
}

#[tokio::test]
async fn who_joins_twice_is_there_once_and_hears_everything_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.pump().await;
    chatter(&shop, &show, "1").await;
    shop.pump().await;
    // Another room is not entered by naming it.
    let elsewhere = json!({ "type": "join", "broadcast_id": "b9", "last_seq": viewer.seq });
    viewer.read();
    viewer.send(elsewhere).await;
    viewer.send(json!({ "type": "join" })).await;
    let again = viewer.shop.wire.take_posts("c1");
    let kinds: Vec<&Value> = again
        .iter()
        .map(|frame| &frame["events"][0]["type"])
        .collect();
    assert_eq!(kinds.last(), Some(&&json!("init")), "{again:?}");
    chatter(&shop, &show, "2").await;
    shop.pump().await;
    let events = viewer.read();
    let chats: Vec<&Value> = Viewer::of(&events, "chat");
    assert_eq!(chats.len(), 1, "{events:?}");
    let room = shop.rooms.snapshot(&show.broadcast).await;
    let room = room.expect("answers").expect("is known").body;
    assert_eq!(room["viewer_count"], 1);
    assert_eq!(room["broadcast"]["broadcast_id"], show.broadcast.as_str());
}

/// Something is said in the room.
async fn chatter(shop: &Shop, show: &Show, message: &str) {
    let chat = Event::Chat {
        id: message.to_owned(),
        user_id: "u1".parse().expect("an id"),
        name: "이름".to_owned(),
        message: message.to_owned(),
        timestamp: clock::now(),
    };
    let events = [(None, chat)];
    shop.rooms
        .append(&show.broadcast, &events, clock::now())
        .await
        .expect("appends");
}

/// The room's sequence number.
async fn head(shop: &Shop, show: &Show) -> u64 {
    let room = shop.rooms.snapshot(&show.broadcast).await;
    room.expect("answers").expect("is known").seq
}

fn ask(token: &str, sent: Option<(u64, u64)>) -> Ask<'_> {
    Ask {
        token,
        until: clock::now() + LEASE,
        last: sent.map(|(head, viewers_version)| Last {
            head,
            viewers_version,
            under_way: false,
        }),
        end: false,
    }
}

/// The first shard of the show's room.
fn shard(show: &Show) -> Shard {
    Shard {
        broadcast: show.broadcast.clone(),
        number: 0,
    }
}

#[tokio::test]
async fn a_lease_is_one_pumps_until_it_ends() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (room, now) = (&shard(&show), clock::now());
    let lease = async |token: &str, at: Timestamp| {
        shop.rooms
            .lease(room, token, at, at + LEASE)
            .await
            .expect("answers")
    };
    assert!(lease("a", now).await);
    assert!(
        lease("a", now).await,
        "asked again because the answer was lost"
    );
    assert!(
        !lease("b", now + Duration::from_secs(1)).await,
        "two pumps in one room"
    );
    assert!(
        lease("b", now + Duration::from_secs(2)).await,
        "a dead pump is never replaced"
    );
    let lost = shop
        .rooms
        .claim_frame(room, &ask("a", None), now)
        .await
        .expect("answers");
    assert_eq!(lost, Claim::Lost, "a pump that was replaced goes on");
}

#[tokio::test]
async fn the_next_pump_sends_the_very_frame_that_was_on_the_way() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (room, now) = (&shard(&show), clock::now());
    let claim = async |token: &str, sent: Option<(u64, u64)>| {
        let claimed = shop
            .rooms
            .claim_frame(room, &ask(token, sent), now)
            .await
            .expect("answers");
        let Claim::Frame(claimed) = claimed else {
            panic!("no frame: {claimed:?}")
        };
        (claimed.from, claimed.head, claimed.events)
    };
    chatter(&shop, &show, "1").await;
    assert!(
        shop.rooms
            .lease(room, "a", now, now + LEASE)
            .await
            .expect("answers")
    );
    let on_the_way = claim("a", None).await;
    chatter(&shop, &show, "2").await;
    let later = now + Duration::from_secs(4);
    assert!(
        shop.rooms
            .lease(room, "b", later, later + LEASE)
            .await
            .expect("answers")
    );
    assert_eq!(
        claim("b", None).await,
        on_the_way,
        "a frame that overlaps cannot be told from a new one"
    );
    let (from, _, events) = claim("b", Some((on_the_way.1, 0))).await;
    assert_eq!(from, on_the_way.1);
    assert!(
        events
            .iter()
            .any(|event| event.json.contains(r#""message":"2""#))
    );
}

#[tokio::test]
async fn who_was_away_longer_than_the_log_gets_the_room_anew() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let seen = head(&shop, &show).await;
    for message in ["1", "2", "3"] {
        chatter(&shop, &show, message).await;
    }
    let mut redis = shop.redis.plain().await;
    let log = format!("{{demo}}:log:{}", show.broadcast);
    let _: u64 = redis::cmd("XTRIM")
        .arg(log)
        .arg("MAXLEN")
        .arg(1)
        .query_async(&mut redis)
        .await
        .expect("trims");
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer
        .send(json!({ "type": "join", "last_seq": seen }))
        .await;
    assert_eq!(
        Viewer::of(&viewer.read(), "init").len(),
        1,
        "a gap was passed over in silence"
    );
}

#[tokio::test]
async fn who_comes_back_does_not_get_what_was_for_another() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let seen = head(&shop, &show).await;
    shop.order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    shop.process(10, 1).await;
    for (user, results) in [("u1", 1), ("u2", 0)] {
        let mut viewer = Viewer::connect(&shop, &show, user, user).await;
        viewer
            .send(json!({ "type": "join", "last_seq": seen }))
            .await;
        assert_eq!(
            Viewer::of(&viewer.read(), "order_result").len(),
            results,
            "{user}"
        );
    }
}

#[tokio::test]
async fn what_is_appended_twice_by_one_call_counts_once_and_wakes_all_the_same() {
    let redis = onepool_tests::RedisServer::start().await;
    let mut plain = redis.plain().await;
    let script = redis::Script::new(include_str!("../../shared/src/room/append.lua"));
    let mut append = async |token: &str| -> (u64, String) {
        let answer = script
            .key("{demo}:room:b1")
            .key("{demo}:log:b1")
            .arg(1_000) // now
            .arg(100) // between two wakes
            .arg(130_000) // the log keeps, ms
            .arg(0) // chats
            .arg(3) // likes
            .arg(token)
            .arg("") // to all
            .arg("{}")
            .invoke_async(&mut plain)
            .await;
        answer.expect("answers")
    };
    let first = append("0000000000000001").await;
    assert_eq!(
        first,
        (1_000_001, "0".to_owned()),
        "a room starts at the time"
    );
    for n in 2..=20 {
        assert_eq!(
            append(&format!("{n:016x}")).await,
            (1_000_000 + n, "-".to_owned())
        );
    }
    assert_eq!(append("0000000000000001").await, first);
    for n in 21..=200 {
        append(&format!("{n:016x}")).await;
    }
    let mut plain = redis.plain().await;
    let (likes, known): (u64, String) = redis::cmd("HMGET")
        .arg("{demo}:room:b1")
        .arg(&["likes", "appended"])
        .query_async(&mut plain)
        .await
        .expect("answers");
    assert_eq!(likes, 600);
    assert!(known.len() < 2_000, "what is remembered is bounded");
}

#[tokio::test]
async fn a_register_whose_answer_was_lost_wakes_when_it_is_repeated() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let user = "u1".parse().expect("an id");
    Viewer::connect(&shop, &show, "u1", "c1").await;
    let later = clock::now() + Duration::from_secs(60);
    let _of_the_show = shop.wire.take_messages("wakes");
    for wakes in [1, 1] {
        shop.rooms
            .register(&show.broadcast, "c1", &user, 0, later)
            .await
            .expect("registers");
        assert_eq!(shop.wire.take_messages("wakes").len(), wakes);
    }
}

#[tokio::test]
async fn who_is_in_a_room_that_redis_forgot_is_sent_away_to_come_back() {
    for memory in ["none", "of before the pump", "of a frame before"] {
        let shop = Shop::open().await;
        let show = shop.show(120, 100, None).await;
        let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
        viewer.send(json!({ "type": "join" })).await;
        shop.pump().await;
        viewer.read();
        let mut older = shop.redis.copy().await;
        chatter(&shop, &show, "1").await;
        let wake = shop.wire.take_messages("wakes").pop().expect("a wake");
        let wake = serde_json::from_str(&wake).expect("a wake");
        let pumping = shop.pump.run(wake);
        let forgetting = async {
            viewer.hear().await;
            if memory == "of a frame before" {
                older = shop.redis.copy().await;
                chatter(&shop, &show, "2").await;
                viewer.hear().await;
            }
            match memory {
                "none" => shop.redis.command(&["FLUSHALL"]).await,
                _ => shop.redis.bring_back(&older).await,
            }
            chatter(&shop, &show, "3").await;
            chatter(&shop, &show, "4").await;
        };
        let (pumped, ()) = tokio::join!(pumping, forgetting);
        pumped.expect("ends");
        assert_eq!(shop.wire.take_closed(), ["c1"], "{memory}");
        assert!(
            viewer.read().is_empty(),
            "{memory}: an event under a number of before"
        );
        let mut back = Viewer::connect(&shop, &show, "u1", "c2").await;
        back.send(json!({ "type": "join", "last_seq": viewer.seq }))
            .await;
        let events = back.read();
        let [init] = Viewer::of(&events, "init")[..] else {
            panic!("{memory}: {events:?}")
        };
        assert!(init["seq"].as_u64() > Some(viewer.seq), "{memory}: {init}");
    }
}

#[tokio::test]
async fn a_connection_that_redis_has_forgotten_is_closed_when_it_speaks() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer.send(json!({ "type": "join" })).await;
    shop.redis.command(&["FLUSHALL"]).await;
    viewer.send(json!({ "type": "ping" })).await;
    assert_eq!(shop.wire.take_closed(), ["c1"]);
}

#[tokio::test]
async fn a_sequence_never_falls_even_when_redis_has_forgotten_the_room() {
    let mut shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    for n in 0..50 {
        chatter(&shop, &show, &n.to_string()).await;
    }
    let before = head(&shop, &show).await;
    shop.redis.kill_and_restart().await;
    let mut viewer = Viewer::connect(&shop, &show, "u1", "c1").await;
    viewer
        .send(json!({ "type": "join", "last_seq": before }))
        .await;
    let events = viewer.read();
    let init = Viewer::of(&events, "init")[0];
    let after = init["seq"].as_u64().expect("a number");
    assert!(after > before, "{after} after {before}");
    shop.pump().await;
    assert!(head(&shop, &show).await >= after);

    shop.redis.kill_and_restart().await;
    chatter(&shop, &show, "first of all").await;
    let mut viewer = Viewer::connect(&shop, &show, "u2", "c2").await;
    viewer.send(json!({ "type": "join" })).await;
    assert!(Viewer::of(&viewer.read(), "init")[0]["seq"].as_u64() > Some(after));

    // A pump that comes before anything else was said.
    shop.redis.kill_and_restart().await;
    let now = clock::now();
    let leased = shop.rooms.lease(&shard(&show), "a", now, now + LEASE).await;
    assert!(leased.expect("answers"));
    let claimed = shop
        .rooms
        .claim_frame(&shard(&show), &ask("a", None), now)
        .await
        .expect("answers");
    let Claim::Frame(claimed) = claimed else {
        panic!("no frame: {claimed:?}")
    };
    assert!(claimed.head > after);
}
