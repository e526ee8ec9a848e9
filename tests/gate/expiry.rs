//! Holds whose time is over: who finds them, how many at once, and what says that looking may pay.

use std::time::Duration;

use onepool::{clock::Timestamp, keys::Keys, order::OrderId};

use super::stage::{NOW, PERIOD, Stage, order, seconds};

#[tokio::test]
async fn what_is_due_is_found_and_stays_listed_until_it_is_settled() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let ids: Vec<OrderId> = (0..6).map(|n| order(&format!("u{n}"), "k")).collect();
    for (n, order_id) in ids.iter().enumerate() {
        stage
            .reserve(order_id, &format!("u{n}"), &[("p1", 1)])
            .await;
    }
    let end = NOW + PERIOD;
    assert_eq!(stage.expired(seconds(299), 10).await, []);
    stage.confirm(&ids[1], 2).await;
    stage.release(&ids[2], 2).await;
    stage.undo(&ids[3]).await;
    stage.extend(&ids[4], seconds(400)).await;
    assert_eq!(stage.expired(end, 1).await, [ids[0].clone()]);
    for _ in 0..2 {
        assert_eq!(
            stage.expired(end, 10).await,
            [ids[0].clone(), ids[5].clone()],
            "what stays open stays listed, and hides nothing behind it"
        );
        assert_eq!(
            stage.entries().await,
            (2, 1),
            "what is settled is forgotten"
        );
    }
    assert_eq!(stage.units().await, (6, 3, 1), "listing gives nothing back");
    stage.release(&ids[0], 2).await;
    stage.confirm(&ids[5], 2).await;
    assert_eq!(stage.expired(seconds(399), 10).await, []);
    assert_eq!(stage.expired(seconds(400), 10).await, [ids[4].clone()]);
    assert_eq!(stage.entries().await, (0, 1));
    stage.release(&ids[4], 2).await;
    assert_eq!(stage.expired(seconds(400), 10).await, []);
    assert_eq!(stage.entries().await, (0, 0));

    stage.reopen(&ids[4], 3, seconds(500)).await;
    assert_eq!(stage.expired(seconds(499), 10).await, []);
    assert_eq!(stage.expired(seconds(500), 10).await, [ids[4].clone()]);
}

#[tokio::test]
async fn one_call_looks_at_so_many_entries_and_the_next_goes_on() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    let entries = (0..2_500).map(|n| format!("{} b1-gone{n}", NOW.millis()));
    let _: () = redis::cmd("RPUSH")
        .arg(Keys::new("demo").deadlines(&stage.source))
        .arg(entries.collect::<Vec<_>>())
        .query_async(&mut stage.redis.plain().await)
        .await
        .expect("pushes");
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    let late = seconds(999);
    for left in [1_501, 501] {
        assert_eq!(stage.expired(late, 10).await, []);
        assert_eq!(stage.entries().await.0, left);
    }
    assert_eq!(stage.expired(late, 10).await, [order_id]);
}

#[tokio::test]
async fn of_all_who_meet_sold_out_one_looks_after_the_expired() {
    let stage = Stage::set(&[("p1", 2)], None).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 2)]).await;
    let late = seconds(999);
    let claim = async |at: Timestamp| {
        let period = Some(Duration::from_secs(1));
        let answer = stage.gate.expired(&stage.source, at, 10, period).await;
        answer.expect("answers").len()
    };
    let tries = futures::future::join_all((0..50).map(|_| claim(late))).await;
    assert_eq!(tries.iter().sum::<usize>(), 1);
    assert_eq!(claim(late + Duration::from_millis(999)).await, 0);
    assert_eq!(
        stage.expired(late, 10).await.len(),
        1,
        "who does not claim is always answered"
    );
    assert_eq!(claim(late + Duration::from_secs(1)).await, 1);
}

#[tokio::test]
async fn sold_out_says_whether_a_hold_is_due() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    assert!(!stage.looks_due(NOW).await);
    let (first, second) = (order("u1", "k"), order("u2", "k"));
    stage.reserve(&first, "u1", &[("p1", 5)]).await;
    assert!(!stage.looks_due(seconds(299)).await);
    assert!(stage.looks_due(seconds(300)).await);
    stage.confirm(&first, 2).await;
    stage.expired(seconds(300), 10).await;
    assert!(!stage.looks_due(seconds(300)).await);
    stage.reserve(&second, "u2", &[("p1", 5)]).await;
    stage.extend(&second, seconds(400)).await;
    stage.expired(seconds(300), 10).await;
    assert!(!stage.looks_due(seconds(399)).await);
    assert!(stage.looks_due(seconds(400)).await, "an extended hold");
}

#[tokio::test]
async fn the_watermark_never_falls() {
    let stage = Stage::set(&[], None).await;
    assert_eq!(stage.gate.watermark().await.expect("answers"), None);
    for (raised, to) in [(5, 5), (9, 9), (9, 9), (7, 9)] {
        let raise = stage.gate.raise_watermark(seconds(raised)).await;
        raise.expect("answers");
        assert_eq!(
            stage.gate.watermark().await.expect("answers"),
            Some(seconds(to))
        );
    }
}
