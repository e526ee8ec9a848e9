//! What it costs that somebody comes, whatever the room holds: commands of Redis, counted.

use onepool::auth::Role;
use onepool_tests::{Monitor, Shop, Viewer};
use serde_json::json;

use crate::steps::{Screen, chatter, eventually, wake};

/// The commands that clients sent, without those that their scripts did.
async fn sent(monitor: &mut Monitor) -> Vec<String> {
    let commands = monitor.commands().await.into_iter();
    commands
        .filter(|command| !command.contains(" lua] "))
        .filter_map(|command| command.split('"').nth(1).map(str::to_owned))
        .collect()
}

/// How often all viewers of a shard were read.
async fn scans(monitor: &mut Monitor) -> usize {
    let commands = monitor.commands().await.into_iter();
    let scans = commands.filter(|command| {
        let scan = ["HGETALL", "HSCAN", "HKEYS", "HVALS", "SCAN", "KEYS"];
        command.contains(":viewers:")
            && scan.contains(&command.split('"').nth(1).unwrap_or_default())
    });
    scans.count()
}

#[tokio::test]
async fn who_comes_costs_one_call_and_who_joins_three_however_many_are_there() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let first = Viewer::join(&shop, &show, "u1", "c1").await;
    shop.pump().await;
    let seen = shop.room(&show).await["seq"].clone();
    first.read();
    // At the first time, Redis is told the scripts.
    let resuming = json!({ "type": "join", "last_seq": seen });
    first.send(resuming.clone()).await;
    let mut monitor = shop.redis.monitor().await;
    for number in 2..6 {
        let (user, connection) = (format!("u{number}"), format!("c{number}"));
        let role = (user.as_str(), Role::Viewer);
        let viewer = Viewer::connect(&shop, &show, role, &connection).await;
        assert_eq!(sent(&mut monitor).await, ["EVALSHA"], "connect");
        viewer.send(resuming.clone()).await;
        let joined = sent(&mut monitor).await;
        assert_eq!(joined, ["HMGET", "EVALSHA", "EVALSHA"], "join");
        let told = viewer.read();
        assert!(
            told.iter().any(|event| event["type"] == "reconnect"),
            "{told:?}"
        );
    }
}

#[tokio::test]
async fn a_running_pump_hears_who_came_and_went_and_does_not_read_everybody() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    Viewer::join(&shop, &show, "u1", "c1").await;
    chatter(&shop, &show, "1").await;
    let mut first = Screen::of("c1");
    let story = async {
        eventually("the pump runs", || first.chats(&shop).len() == 1).await;
        let mut monitor = shop.redis.monitor().await;
        for number in 2..8 {
            let (user, connection) = (format!("u{number}"), format!("c{number}"));
            let role = (user.as_str(), Role::Viewer);
            let viewer = Viewer::connect(&shop, &show, role, &connection).await;
            viewer.send(json!({ "type": "join" })).await;
            let said = number.to_string();
            chatter(&shop, &show, &said).await;
            let mut newcomer = Screen::of(&connection);
            eventually("both hear", || {
                newcomer.chats(&shop) == [said.as_str()] && first.chats(&shop).len() == number
            })
            .await;
        }
        assert_eq!(scans(&mut monitor).await, 0);

        // What Redis does not remember of them is read from what it does.
        let changes = format!("{{demo}}:changes:{}:0", show.broadcast);
        let viewer = Viewer::connect(&shop, &show, ("u8", Role::Viewer), "c8").await;
        viewer.send(json!({ "type": "join" })).await;
        shop.redis.command(&["DEL", &changes]).await;
        Viewer::join(&shop, &show, "u9", "c9").await;
        chatter(&shop, &show, "8").await;
        for connection in ["c8", "c9"] {
            let mut screen = Screen::of(connection);
            eventually(connection, || screen.chats(&shop) == ["8"]).await;
        }
    };
    let (ended, ()) = tokio::join!(shop.pump.run(wake(&show, 0)), story);
    ended.expect("the pump ends");
}
