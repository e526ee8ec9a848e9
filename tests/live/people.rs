//! The viewer count: it counts people, and those who are there.

use std::time::Duration;

use onepool::{clock, room::socket::SocketEvent};
use onepool_tests::{Shop, Show, Viewer};
use serde_json::{Value, json};

use crate::steps::{LEASE_OVER, chatter, wake};

async fn disconnect(shop: &Shop, connection: &str) {
    let gone =
        json!({ "requestContext": { "routeKey": "$disconnect", "connectionId": connection } });
    let gone: SocketEvent = serde_json::from_value(gone).expect("an event");
    let answer = shop.sockets.serve(gone).await.expect("answers");
    assert_eq!(answer.status_code, 200);
}

/// The counts that this viewer hears of, once something is said.
async fn counts(shop: &Shop, show: &Show, viewer: &Viewer<'_>) -> Vec<Value> {
    clock::put_ahead(LEASE_OVER);
    viewer.read();
    chatter(shop, show, "1").await;
    shop.pump.run(wake(show, 0)).await.expect("ends");
    let heard = viewer.read().into_iter();
    heard
        .filter(|event| event["type"] == "viewer_count")
        .map(|event| event["count"].clone())
        .collect()
}

#[tokio::test]
async fn the_count_is_of_people_and_falls_when_the_last_connection_of_one_is_gone() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    for (user, connection) in [("u2", "c2"), ("u2", "c3"), ("u3", "c4")] {
        Viewer::join(&shop, &show, user, connection).await;
    }
    assert_eq!(counts(&shop, &show, &viewer).await, [3]);
    assert_eq!(shop.room(&show).await["viewer_count"], 3);
    disconnect(&shop, "c2").await;
    assert_eq!(
        counts(&shop, &show, &viewer).await,
        [] as [Value; 0],
        "somebody is there over another connection"
    );
    disconnect(&shop, "c3").await;
    disconnect(&shop, "c3").await;
    assert_eq!(counts(&shop, &show, &viewer).await, [2]);
    // Nobody said that this one went: the post that meets 410 does.
    shop.wire.hang_up("c4");
    assert_eq!(counts(&shop, &show, &viewer).await, [1]);
    assert_eq!(shop.room(&show).await["viewer_count"], 1);
}

#[tokio::test]
async fn a_connection_that_outlived_the_gateways_time_is_forgotten() {
    /// Two hours and five minutes.
    const LIFETIME: Duration = Duration::from_secs(2 * 3_600 + 300);
    const LATER: Duration = Duration::from_secs(60);
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    Viewer::join(&shop, &show, "u1", "c1").await;
    Viewer::join(&shop, &show, "u2", "c2").await;
    shop.pump.run(wake(&show, 0)).await.expect("ends");
    clock::put_ahead(LIFETIME - LATER);
    let viewer = Viewer::join(&shop, &show, "u3", "c3").await;
    assert_eq!(
        counts(&shop, &show, &viewer).await,
        [3],
        "forgotten too soon"
    );
    for old in ["c1", "c2"] {
        assert!(!shop.wire.take_posts(old).is_empty(), "{old}");
    }
    clock::put_ahead(LATER);
    assert_eq!(counts(&shop, &show, &viewer).await, [1]);
    for old in ["c1", "c2"] {
        assert!(shop.wire.take_posts(old).is_empty(), "{old}");
    }
    let viewers = format!("{{demo}}:viewers:{}:0", show.broadcast);
    let mut redis = shop.redis.plain().await;
    let there: Vec<String> = redis::cmd("HKEYS")
        .arg(viewers)
        .query_async(&mut redis)
        .await
        .expect("answers");
    assert_eq!(there, ["c3"]);
}
