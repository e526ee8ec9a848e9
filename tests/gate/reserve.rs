//! Taking units: every line or none, once, never more than there is.

use std::{collections::HashSet, time::Duration};

use onepool::{
    clock::Timestamp,
    order::OrderId,
    stock::{Refusal, Reserved, Terms},
};

use super::stage::{NOW, PERIOD, Stage, id, order};

#[tokio::test]
async fn reserve_takes_at_the_live_price_and_holds() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let Reserved::Taken(reservation) = stage.reserve(&order("u1", "k"), "u1", &[("p1", 3)]).await
    else {
        panic!("nothing was taken")
    };
    assert_eq!(
        (
            reservation.lines[0].quantity,
            reservation.lines[0].unit_price
        ),
        (3, 1_000)
    );
    assert_eq!(reservation.deadline, NOW + PERIOD);
    let stock = stage.stock("p1").await;
    assert_eq!((stock.left, stock.held), (7, 3));
}

#[tokio::test]
async fn fifty_tries_of_one_order_are_one_reservation() {
    let stage = Stage::set(&[("p1", 100)], None).await;
    let id = order("u1", "k");
    let tries = (0..50).map(|_| stage.reserve(&id, "u1", &[("p1", 2)]));
    let mut taken = 0;
    let mut answers = HashSet::new();
    for answer in futures::future::join_all(tries).await {
        match answer {
            Reserved::Taken(reservation) => {
                taken += 1;
                answers.insert(format!("{reservation:?}"));
            }
            Reserved::Replayed(reservation) => {
                answers.insert(format!("{reservation:?}"));
            }
            Reserved::Refused(refusal) => panic!("a retry was refused: {refusal:?}"),
        }
    }
    assert_eq!((taken, answers.len()), (1, 1));
    assert_eq!(stage.left("p1").await, 98);
}

#[tokio::test]
async fn the_same_key_with_other_lines_is_a_conflict() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let id = order("u1", "k");
    stage.reserve(&id, "u1", &[("p1", 1)]).await;
    assert_eq!(
        stage.reserve(&id, "u1", &[("p1", 2)]).await,
        Reserved::Refused(Refusal::Conflict)
    );
    assert_eq!(stage.left("p1").await, 9);
}

#[tokio::test]
async fn an_order_of_several_lines_is_taken_whole_or_not_at_all() {
    let stage = Stage::set(&[("p1", 10), ("p2", 1)], None).await;
    let refused = stage
        .reserve(&order("u1", "a"), "u1", &[("p1", 2), ("p2", 2)])
        .await;
    let sold_out = Refusal::SoldOut {
        product: id("p2"),
        left: 1,
        due: false,
    };
    assert_eq!(refused, Reserved::Refused(sold_out));
    assert_eq!((stage.left("p1").await, stage.left("p2").await), (10, 1));
    assert!(matches!(
        stage
            .reserve(&order("u1", "b"), "u1", &[("p1", 2), ("p2", 1)])
            .await,
        Reserved::Taken(_)
    ));
    assert_eq!((stage.left("p1").await, stage.left("p2").await), (8, 0));
}

#[tokio::test]
async fn never_more_than_there_is_whoever_asks() {
    let stage = Stage::set(&[("p1", 100)], None).await;
    let buyers: Vec<(String, OrderId)> = (0..300)
        .map(|n| (format!("u{n}"), order(&format!("u{n}"), "k")))
        .collect();
    let answers = futures::future::join_all(
        buyers
            .iter()
            .map(|(viewer, id)| stage.reserve(id, viewer, &[("p1", 1)])),
    )
    .await;
    assert_eq!(
        answers
            .iter()
            .filter(|answer| matches!(answer, Reserved::Taken(_)))
            .count(),
        100
    );
    assert_eq!(stage.left("p1").await, 0);
}

#[tokio::test]
async fn a_viewer_gets_no_more_than_the_limit_until_units_come_back() {
    let stage = Stage::set(&[("p1", 100)], Some(3)).await;
    let first = order("u1", "a");
    assert!(matches!(
        stage.reserve(&first, "u1", &[("p1", 2)]).await,
        Reserved::Taken(_)
    ));
    let refused = stage.reserve(&order("u1", "b"), "u1", &[("p1", 2)]).await;
    assert_eq!(
        refused,
        Reserved::Refused(Refusal::LimitExceeded(id("p1"), 1))
    );
    assert!(matches!(
        stage.reserve(&order("u2", "b"), "u2", &[("p1", 3)]).await,
        Reserved::Taken(_)
    ));
    stage.release(&first, 2).await;
    assert!(matches!(
        stage.reserve(&order("u1", "c"), "u1", &[("p1", 3)]).await,
        Reserved::Taken(_)
    ));
}

#[tokio::test]
async fn nothing_is_sold_outside_its_window() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let later = NOW + Duration::from_secs(10);
    let refused = Reserved::Refused(Refusal::NotOnAir(id("p1")));
    for (from, until) in [
        (later, Timestamp::NEVER),
        (Timestamp::from_millis(0), NOW),
        (NOW, Timestamp::from_millis(0)),
    ] {
        stage
            .air(
                "p1",
                Terms {
                    live_price: 1_000,
                    per_viewer_limit: None,
                    from,
                    until,
                },
            )
            .await;
        assert_eq!(
            stage.reserve(&order("u1", "k"), "u1", &[("p1", 1)]).await,
            refused
        );
    }
    assert_eq!(stage.left("p1").await, 10);
}

#[tokio::test]
async fn a_gate_that_forgot_says_so() {
    let mut stage = Stage::set(&[("p1", 10)], None).await;
    stage.redis.kill_and_restart().await;
    let answer = stage.reserve(&order("u1", "k"), "u1", &[("p1", 1)]).await;
    assert_eq!(answer, Reserved::Refused(Refusal::Unknown(id("p1"))));
}
