//! Following the ledger: units granted, withdrawn and given back, terms and repairs.

use std::time::Duration;

use onepool::{
    clock::Timestamp,
    ledger::StockRow,
    stock::{
        Correction, Granted, Repaired, Reserved, Restored, Terms, WITHDRAWAL_GRACE, Withdrawn,
    },
};

use super::stage::{NOW, Stage, id, order};

#[tokio::test]
async fn a_repair_is_made_of_what_was_compared_or_not_at_all() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let repair = async |product: &str, left, version| {
        let (product, source) = (id(product), &stage.source);
        // What is lost was sold, and the other way round.
        let correction = Correction { left, sold: -left };
        let answer = stage.gate.repair(source, &product, correction, version);
        answer.await.expect("answers")
    };
    let seen = stage.stock("p1").await.version;
    assert_eq!(repair("p1", -12, seen).await, Repaired::Now);
    assert_eq!(repair("p1", -12, seen).await, Repaired::Moved);
    assert_eq!(stage.units().await.0, -2);
    assert_eq!(repair("p1", 12, seen + 1).await, Repaired::Now);
    stage.reserve(&order("u1", "k"), "u1", &[("p1", 1)]).await;
    assert_eq!(repair("p1", 1, seen + 2).await, Repaired::Moved);
    assert_eq!(repair("p9", 1, 1).await, Repaired::Moved);
    assert_eq!(stage.units().await.0, 9);
    assert_eq!(stage.stock("p1").await.held, 1, "a repair made up holds");
}

#[tokio::test]
async fn loading_never_overwrites_what_the_host_has_set() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let terms = |live_price| Terms {
        live_price,
        per_viewer_limit: None,
        from: NOW,
        until: Timestamp::NEVER,
    };
    stage.grant("p2", 1, 1, 1).await;
    for (product, price) in [("p1", 1_000), ("p2", 2_000)] {
        stage
            .gate
            .load_terms(&stage.source, &id(product), &terms(2_000))
            .await
            .expect("loads");
        let order_id = order("u1", product);
        let Reserved::Taken(reservation) = stage.reserve(&order_id, "u1", &[(product, 1)]).await
        else {
            panic!("{product} was not sold")
        };
        assert_eq!(reservation.lines[0].unit_price, price);
    }
}

#[tokio::test]
async fn the_gate_follows_the_ledger_once_and_never_back() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    stage.reserve(&order("u1", "k"), "u1", &[("p1", 4)]).await;
    assert_eq!(stage.grant("p1", 15, 15, 2).await, Granted::Followed);
    assert_eq!(stage.grant("p1", 15, 15, 2).await, Granted::Current);
    assert_eq!(
        stage.grant("p1", 10, 10, 1).await,
        Granted::Current,
        "an older grant must not win"
    );
    assert_eq!(stage.left("p1").await, 11);
}

#[tokio::test]
async fn units_withdrawn_in_vain_come_back_but_not_while_their_move_may_be_under_way() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    assert_eq!(stage.withdraw((4, 4), 1, "a").await, Withdrawn::Units(4));
    assert_eq!(stage.withdraw((7, 7), 1, "b").await, Withdrawn::Short(6));
    assert_eq!(stage.withdraw((1, 1), 9, "b").await, Withdrawn::Stale);
    assert_eq!(stage.left("p1").await, 6);
    let grace = NOW + WITHDRAWAL_GRACE;
    let soon = Timestamp::from_millis(grace.millis() - 1);
    assert_eq!(
        stage.grant_at(soon, "p1", 10, 10, 1).await,
        Granted::Current
    );
    assert_eq!(stage.left("p1").await, 6, "the caller may be moving them");
    assert_eq!(
        stage.grant_at(grace, "p1", 10, 10, 1).await,
        Granted::Followed
    );
    assert_eq!(stage.left("p1").await, 10);
    assert_eq!(stage.withdraw((0, 4), 1, "c").await, Withdrawn::Units(4));
    assert_eq!(
        stage.grant("p1", 6, 6, 2).await,
        Granted::Followed,
        "a newer grant is followed at once"
    );
    assert_eq!(stage.left("p1").await, 6);
}

#[tokio::test]
async fn a_withdrawal_that_is_repeated_gets_the_same_units() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let all = (0, 1 << 53);
    for _ in 0..2 {
        assert_eq!(stage.withdraw(all, 1, "a").await, Withdrawn::Units(10));
    }
    assert_eq!(stage.withdraw(all, 1, "b").await, Withdrawn::Units(0));
    assert_eq!(stage.left("p1").await, 0);
}

#[tokio::test]
async fn what_the_ledger_refused_to_move_is_given_back_at_once_and_once() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let restore = async |token: &str| {
        let answer = stage.gate.restore(&stage.source, &id("p1"), token).await;
        answer.expect("answers")
    };
    assert_eq!(restore("a").await, Restored::Gone);
    stage.withdraw((4, 4), 1, "a").await;
    assert_eq!(restore("b").await, Restored::Gone);
    assert_eq!(restore("a").await, Restored::Now);
    assert_eq!(restore("a").await, Restored::Gone);
    assert_eq!(stage.left("p1").await, 10);
    stage.withdraw((4, 4), 1, "a").await;
    stage.grant("p1", 6, 6, 2).await;
    assert_eq!(restore("a").await, Restored::Gone, "the move went through");
    assert_eq!(stage.left("p1").await, 6);
}

#[tokio::test]
async fn every_change_makes_the_version_grow_even_over_a_loss() {
    let mut stage = Stage::set(&[("p1", 10)], None).await;
    let mut last = stage.stock("p1").await.version;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    for step in 0..3 {
        let version = stage.stock("p1").await.version;
        assert!(version > last, "step {step}");
        last = version;
        match step {
            0 => drop(stage.release(&order_id, 2).await),
            1 => {
                stage.redis.kill_and_restart().await;
                let row = StockRow {
                    revision: 0,
                    product_id: id("p1"),
                    source: stage.source.clone(),
                    granted: 10,
                    sold: 0,
                    unsold: 10,
                    version: 1,
                };
                stage
                    .gate
                    .grant(&row, NOW + Duration::from_secs(1))
                    .await
                    .expect("loads");
            }
            _ => {}
        }
    }
}
