//! What lies between us and Redis: a wire that is cut before the answer, and a cluster.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use onepool::{
    clock::Timestamp,
    config::Secret,
    connection::Redis,
    keys::Keys,
    stock::{
        Confirmed, Correction, Extended, Gate, Released, Reopened, Repaired, Reserved, Restored,
        Source, Undone, Withdrawn,
    },
};
use onepool_tests::RedisServer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::stage::{NOW, Stage, id, on_air, order, seconds};

/// A connection that goes through a wire which is cut, when told to, before the next answer arrives.
async fn over_a_wire(redis: &RedisServer) -> (Redis, Arc<AtomicBool>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
    let address = listener.local_addr().expect("an address");
    let server = redis.url().replace("redis://", "");
    let cut = Arc::new(AtomicBool::new(false));
    let cut_now = Arc::clone(&cut);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let server = TcpStream::connect(&server).await.expect("connects");
            let cut = Arc::clone(&cut_now);
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let asks = tokio::spawn(async move {
                    tokio::io::copy(&mut from_client, &mut to_server).await.ok()
                });
                let mut answer = [0; 4096];
                while let Ok(length @ 1..) = from_server.read(&mut answer).await {
                    if cut.swap(false, Ordering::SeqCst) {
                        break;
                    }
                    to_client
                        .write_all(&answer[..length])
                        .await
                        .expect("writes");
                }
                asks.abort();
            });
        }
    });
    let connection = Redis::new(&Secret::new(format!("redis://{address}")));
    (connection.expect("a redis URL"), cut)
}

#[tokio::test]
async fn an_answer_that_is_lost_on_the_way_is_asked_for_again_or_not_as_the_verb_allows() {
    let mut stage = Stage::set(&[("p1", 10)], None).await;
    let (order_id, undone) = (order("u1", "k"), order("u2", "k"));
    // Whatever the server has not loaded yet would be answered NOSCRIPT, and that answer be lost.
    stage.reserve(&undone, "u2", &[("p1", 1)]).await;
    stage.undo(&order("u9", "k")).await;
    stage.withdraw((0, 0), 9, "warm").await;
    stage.release(&order("u9", "k"), 2).await;
    let (redis, cut) = over_a_wire(&stage.redis).await;
    stage.gate = Gate::new(redis, Keys::new("demo"));
    stage.left("p1").await;

    cut.store(true, Ordering::SeqCst);
    let answer = stage.reserve(&order_id, "u1", &[("p1", 2)]).await;
    assert!(matches!(answer, Reserved::Replayed(_)), "{answer:?}");
    assert_eq!(stage.left("p1").await, 7);
    cut.store(true, Ordering::SeqCst);
    stage.release(&order_id, 2).await;
    assert_eq!(stage.left("p1").await, 9);

    cut.store(true, Ordering::SeqCst);
    let lost = stage.gate.undo(&stage.source, &undone).await;
    assert!(lost.is_err(), "an undo was repeated: {lost:?}");
    assert_eq!(stage.left("p1").await, 10);

    cut.store(true, Ordering::SeqCst);
    let all = stage.withdraw((0, 1 << 53), 1, "a").await;
    assert_eq!(
        all,
        Withdrawn::Units(10),
        "the units are out, and nobody knows"
    );
    assert_eq!(stage.left("p1").await, 0);
}

/// On a cluster a script that touches a key it did not declare is refused, and all its keys must share a slot.
#[tokio::test]
async fn the_scripts_run_on_a_cluster() {
    let redis = RedisServer::start_cluster().await;
    let mut plain = redis.plain().await;
    let slots: Vec<u32> = (0..16_384).collect();
    let _: () = redis::cmd("CLUSTER")
        .arg("ADDSLOTS")
        .arg(slots)
        .query_async(&mut plain)
        .await
        .expect("takes all slots");
    let stage = Stage {
        gate: Gate::new(redis.connection(), Keys::new("demo")),
        redis,
        source: Source::Live("b1".parse().expect("an id")),
    };
    let mut info = String::new();
    while !info.contains("cluster_state:ok") {
        info = redis::cmd("CLUSTER")
            .arg("INFO")
            .query_async(&mut plain)
            .await
            .expect("answers");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stage.grant("p1", 10, 10, 1).await;
    stage.air("p1", on_air(Timestamp::NEVER)).await;
    let (order_id, undone) = (order("u1", "k"), order("u2", "k"));
    assert!(matches!(
        stage.reserve(&order_id, "u1", &[("p1", 1)]).await,
        Reserved::Taken(_)
    ));
    assert!(stage.looks_due(seconds(300)).await);
    assert_eq!(
        stage.extend(&order_id, seconds(400)).await,
        Extended::Until(seconds(400))
    );
    assert_eq!(stage.expired(seconds(400), 10).await.len(), 1);
    assert_eq!(stage.confirm(&order_id, 2).await, Confirmed::Now);
    assert_eq!(stage.release(&order_id, 3).await, Released::Now(vec![]));
    let hold = stage
        .gate
        .hold(&stage.source, &order_id)
        .await
        .expect("answers")
        .expect("a tombstone");
    assert_eq!((hold.viewer.as_str(), hold.reservation.open), ("u1", false));
    assert_eq!(
        stage.reopen(&order_id, 4, seconds(400)).await,
        Reopened::Now
    );
    let holds = stage.gate.holds(&stage.source).await.expect("answers");
    assert_eq!(holds.len(), 1);
    stage.reserve(&undone, "u2", &[("p1", 1)]).await;
    assert_eq!(stage.undo(&undone).await, Undone::Now);
    assert_eq!(stage.withdraw((1, 1), 1, "a").await, Withdrawn::Units(1));
    let restored = stage.gate.restore(&stage.source, &id("p1"), "a").await;
    assert_eq!(restored.expect("answers"), Restored::Now);
    let version = stage.stock("p1").await.version;
    let repaired = stage
        .gate
        .repair(
            &stage.source,
            &id("p1"),
            Correction { left: 1, sold: 0 },
            version,
        )
        .await;
    assert_eq!(repaired.expect("answers"), Repaired::Now);
    stage
        .gate
        .raise_watermark(NOW)
        .await
        .expect("raises the watermark");
    assert_eq!(stage.units().await, (10, 0, 0), "one held, one repaired");
}
