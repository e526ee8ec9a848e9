//! A room that is too large for one pump: it has shards, each with viewers and a pump of its own.

use std::time::Duration;

use onepool::{clock, room::pump::LEASE};
use onepool_tests::{RedisServer, Shop, Show, billing_key};
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::steps::{LEASE_OVER, Screen, chatter, chatter_at, join_all, shard, wake, woken};

/// Connections of a shard from which on there is another.
const SIZE: u64 = 3;
/// Shards the room may have.
const MOST: u64 = 4;
/// Comings and goings of a shard that are kept.
const KEPT: u64 = 4;

/// A room as the scripts know it, with small shards.
struct Room {
    redis: MultiplexedConnection,
    _server: RedisServer,
}

impl Room {
    async fn open() -> Self {
        let server = RedisServer::start().await;
        Self {
            redis: server.plain().await,
            _server: server,
        }
    }

    /// This connection is let in.
    async fn let_in(&mut self, connection: &str) {
        let mut write = redis::pipe();
        write.hset(socket(connection), "who", "{}").ignore();
        let () = write.query_async(&mut self.redis).await.expect("answers");
    }

    /// The shard that this connection is in from now on, which was let in.
    async fn join(&mut self, connection: &str) -> i64 {
        self.let_in(connection).await;
        self.register(connection).await
    }

    /// The shard that this connection is in from now on.
    async fn register(&mut self, connection: &str) -> i64 {
        let script = redis::Script::new(include_str!("../../shared/src/room/register.lua"));
        let mut call = script.key("{demo}:room:b1");
        call.key("{demo}:people:b1").key(socket(connection));
        for shard in 0..MOST {
            call.key(viewers("b1", shard)).key(changes(shard));
        }
        let answer = call
            .arg(1_000_000) // now
            .arg(100) // between two wakes
            .arg(SIZE)
            .arg(connection)
            .arg(7) // cursor
            .arg(format!("u-{connection}"))
            .arg(KEPT)
            .arg(60_000) // ms that a connection lives
            .invoke_async(&mut self.redis)
            .await;
        let (shard, _wake): (i64, u64) = answer.expect("answers");
        shard
    }

    async fn leave(&mut self, shard: u64, connection: &str) -> u64 {
        redis::Script::new(include_str!("../../shared/src/room/leave.lua"))
            .key("{demo}:room:b1")
            .key(viewers("b1", shard))
            .key("{demo}:people:b1")
            .key(changes(shard))
            .arg(shard)
            .arg(KEPT)
            .arg(connection)
            .invoke_async(&mut self.redis)
            .await
            .expect("answers")
    }

    /// How many are in each shard, as they are counted, which is as they are.
    async fn sizes(&mut self) -> Vec<u64> {
        let mut sizes = Vec::new();
        for shard in 0..MOST {
            let mut look = redis::pipe();
            look.hlen(viewers("b1", shard))
                .hget("{demo}:room:b1", format!("connections:{shard}"));
            let (there, counted): (u64, Option<u64>) =
                look.query_async(&mut self.redis).await.expect("answers");
            assert_eq!(there, counted.unwrap_or(0), "shard {shard}");
            sizes.push(there);
        }
        sizes
    }
}

fn socket(connection: &str) -> String {
    format!("{{demo}}:socket:{connection}")
}

fn changes(shard: u64) -> String {
    format!("{{demo}}:changes:b1:{shard}")
}

fn viewers(broadcast: &str, shard: u64) -> String {
    format!("{{demo}}:viewers:{broadcast}:{shard}")
}

#[tokio::test]
async fn a_room_grows_a_shard_at_a_time_and_newcomers_go_where_there_are_fewest() {
    let mut room = Room::open().await;
    let mut shards = Vec::new();
    for number in 0..SIZE * MOST {
        shards.push(room.join(&format!("c{number}")).await);
    }
    assert_eq!(shards, [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
    // There is no fifth: all grow alike.
    for number in 12..16 {
        shards.push(room.join(&format!("c{number}")).await);
    }
    assert_eq!(shards[12..], [0, 1, 2, 3]);
    assert_eq!(room.sizes().await, [4, 4, 4, 4]);

    assert_eq!(room.leave(2, "c6").await, 1);
    assert_eq!(room.leave(2, "c7").await, 1);
    assert_eq!(room.leave(2, "c7").await, 0, "left twice");
    assert_eq!(room.leave(1, "c3").await, 1);
    assert_eq!(room.sizes().await, [4, 3, 2, 4]);
    for expected in [2, 1, 2] {
        let newcomer = format!("d{}", fastrand::u64(..));
        assert_eq!(room.join(&newcomer).await, expected);
    }
    assert_eq!(room.sizes().await, [4, 4, 4, 4]);
}

#[tokio::test]
async fn who_joins_again_stays_in_their_shard_and_is_there_once() {
    let mut room = Room::open().await;
    for number in 0..SIZE {
        assert_eq!(room.join(&format!("c{number}")).await, 0);
    }
    // The room is full, so a newcomer would be the first of another shard.
    for again in ["c1", "c2", "c0"] {
        assert_eq!(room.register(again).await, 0, "{again}");
    }
    assert_eq!(room.join("c3").await, 1);
    assert_eq!(room.register("c0").await, 0, "not where there are fewest");
    assert_eq!(room.sizes().await, [3, 1, 0, 0]);
}

#[tokio::test]
async fn who_went_before_the_end_of_their_join_is_in_no_shard() {
    let mut room = Room::open().await;
    assert_eq!(room.register("c0").await, -1);
    assert_eq!(room.sizes().await, [0, 0, 0, 0]);
    assert_eq!(room.join("c0").await, 0);
}

#[tokio::test]
async fn who_came_and_went_is_written_down_once_a_version_and_the_latest_are_kept() {
    let mut room = Room::open().await;
    for connection in ["c0", "c1", "c2"] {
        room.join(connection).await;
    }
    room.leave(0, "c1").await;
    room.leave(0, "c1").await;
    room.register("c2").await;
    let mut look = redis::pipe();
    look.lrange(changes(0), 0, -1)
        .hget("{demo}:room:b1", "viewers_version:0");
    let look = look.query_async(&mut room.redis).await;
    let (kept, version): (Vec<String>, u64) = look.expect("answers");
    assert_eq!(version, 5);
    assert_eq!(
        kept,
        [
            "c1 7 2 0 1000000 u-c1",
            "c2 7 3 0 1000000 u-c2",
            "c1",
            "c2 7 5 0 1000000 u-c2"
        ]
    );
}

/// A room with three shards and six viewers: `c0` and `c3` are in the first, `c1` and `c4` in the second.
async fn open(shop: &Shop, show: &Show) -> Vec<Screen> {
    let room = format!("{{demo}}:room:{}", show.broadcast);
    shop.redis.command(&["HSET", &room, "shards", "3"]).await;
    let connections: Vec<String> = (0..6).map(|number| format!("c{number}")).collect();
    join_all(shop, show, &connections).await;
    assert_eq!(members(shop, show).await, [2, 2, 2]);
    pump_all(shop, show).await;
    let mut screens: Vec<Screen> = connections.iter().map(|one| Screen::of(one)).collect();
    for screen in &mut screens {
        screen.chats(shop);
    }
    let _told = shop.wire.take_messages("wakes");
    screens
}

async fn members(shop: &Shop, show: &Show) -> Vec<u64> {
    let mut look = redis::pipe();
    for shard in 0..3 {
        look.hlen(viewers(show.broadcast.as_str(), shard));
    }
    let mut redis = shop.redis.plain().await;
    look.query_async(&mut redis).await.expect("answers")
}

/// All pumps of the room at once, as three functions have them.
async fn pump_all(shop: &Shop, show: &Show) {
    let pumps = (0..3).map(|number| shop.pump.run(wake(show, number)));
    for ended in futures::future::join_all(pumps).await {
        ended.expect("the pump ends");
    }
}

#[tokio::test]
async fn each_shard_has_a_pump_of_its_own() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut screens = open(&shop, &show).await;
    chatter(&shop, &show, "1").await;
    assert_eq!(woken(&shop), [0, 1, 2]);
    shop.pump.run(wake(&show, 1)).await.expect("ends");
    let heard: Vec<usize> = (screens.iter_mut())
        .map(|screen| screen.chats(&shop).len())
        .collect();
    assert_eq!(heard, [0, 1, 0, 0, 1, 0]);
    // One that runs for a shard keeps those of the others from nothing.
    let now = clock::now();
    for number in [0, 2] {
        let room = shard(&show, number);
        let leased = shop.rooms.lease(&room, "a", now, now + LEASE).await;
        assert!(leased.expect("answers"), "shard {number}");
        let leased = shop.rooms.lease(&room, "b", now, now + LEASE).await;
        assert!(!leased.expect("answers"), "shard {number}");
    }
    clock::put_ahead(LEASE_OVER);
    chatter(&shop, &show, "2").await;
    pump_all(&shop, &show).await;
    for screen in &mut screens {
        assert_eq!(screen.chats(&shop), ["1", "2"], "{}", screen.connection);
    }
}

#[tokio::test]
async fn what_happens_wakes_every_shard_that_has_no_pump() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    open(&shop, &show).await;
    let later = clock::now() + LEASE_OVER;
    let lease = async |number: u8| {
        let room = shard(&show, number);
        let leased = shop.rooms.lease(&room, "a", later, later + LEASE).await;
        assert!(leased.expect("answers"));
    };
    lease(1).await;
    chatter_at(&shop, &show, "1", later).await;
    assert_eq!(woken(&shop), [0, 2]);
    chatter_at(&shop, &show, "2", later + Duration::from_millis(50)).await;
    assert_eq!(woken(&shop), [0; 0], "woken again at once");
    lease(0).await;
    chatter_at(&shop, &show, "3", later + Duration::from_millis(100)).await;
    assert_eq!(woken(&shop), [2]);
    chatter_at(&shop, &show, "4", later + LEASE).await;
    assert_eq!(woken(&shop), [0, 1, 2], "both pumps have died");
}

#[tokio::test]
async fn what_is_about_one_viewer_reaches_them_in_whichever_shard_they_are() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let mut screens = open(&shop, &show).await;
    let order = shop.order(&show, "u-c5", "k", json!(1), billing_key("bk"));
    assert_eq!(order.await.0, 202);
    shop.process(10, 1).await;
    assert_eq!(woken(&shop), [0, 1, 2]);
    pump_all(&shop, &show).await;
    for screen in &mut screens {
        screen.chats(&shop);
        let results = screen.of_kind("order_result").len();
        let expected = usize::from(screen.connection == "c5");
        assert_eq!(results, expected, "{}", screen.connection);
    }

    for (user, left) in [("u-c5", [2, 2, 1]), ("u-c1", [2, 1, 1])] {
        shop.moderate(&show, json!({ "action": "ban", "user_id": user }))
            .await;
        assert_eq!(members(&shop, &show).await, left, "{user} is banned");
    }
    assert_eq!(shop.wire.take_closed(), ["c5", "c1"]);
    pump_all(&shop, &show).await;
    assert_eq!(shop.room(&show).await["viewer_count"], 4);
}
