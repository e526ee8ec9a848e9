//! What becomes of a hold: sold, given back, forfeited, taken up again, or undone; each once, by the newest revision.

use std::collections::BTreeSet;

use onepool::{
    clock::Timestamp,
    order::OrderId,
    stock::{Confirmed, Extended, Refusal, Released, Reopened, Reserved, Undone},
};

use super::stage::{NOW, PERIOD, Stage, id, on_air, order, seconds};

#[tokio::test]
async fn units_that_the_ledger_had_not_are_forfeited_not_sold_again() {
    let stage = Stage::set(&[("p1", 10)], Some(4)).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    assert_eq!(stage.forfeit(&order_id, 1).await, Released::Now(vec![]));
    assert_eq!(stage.forfeit(&order_id, 1).await, Released::Already(vec![]));
    assert_eq!(stage.release(&order_id, 2).await, Released::Already(vec![]));
    assert_eq!(stage.left("p1").await, 6);
    // It is the shop that had none: the viewer may order as much as before.
    let again = stage.reserve(&order("u1", "k2"), "u1", &[("p1", 4)]).await;
    assert!(matches!(again, Reserved::Taken(_)), "{again:?}");
}

#[tokio::test]
async fn units_go_back_exactly_once_and_a_late_retry_takes_nothing() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    assert_eq!(stage.release(&order_id, 2).await, Released::Now(vec![]));
    assert_eq!(stage.release(&order_id, 2).await, Released::Already(vec![]));
    assert_eq!(stage.release(&order_id, 3).await, Released::Already(vec![]));
    assert_eq!(stage.left("p1").await, 10);
    let Reserved::Replayed(tombstone) = stage.reserve(&order_id, "u1", &[("p1", 4)]).await else {
        panic!("a retry took units again")
    };
    assert!(!tombstone.open);
    assert_eq!(stage.left("p1").await, 10);
}

#[tokio::test]
async fn what_the_gate_hears_of_an_order_it_never_took_keeps_a_late_retry_out() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let (released, confirmed, reopened) = (order("u1", "k"), order("u2", "k"), order("u3", "k"));
    for revision in [2, 2, 1, 3] {
        assert_eq!(stage.release(&released, revision).await, Released::Absent);
        assert_eq!(stage.confirm(&confirmed, revision).await, Confirmed::Absent);
        let reopened = stage.reopen(&reopened, revision, seconds(9)).await;
        assert_eq!(reopened, Reopened::Absent);
    }
    for (viewer, order_id) in [("u1", &released), ("u2", &confirmed), ("u3", &reopened)] {
        let answer = stage.reserve(order_id, viewer, &[("p1", 1)]).await;
        let Reserved::Replayed(tombstone) = answer else {
            panic!("{viewer}: {answer:?}")
        };
        assert!(!tombstone.open && tombstone.lines.is_empty());
        assert_eq!(stage.extend(order_id, seconds(9)).await, Extended::Absent);
        assert_eq!(stage.undo(order_id).await, Undone::Absent);
        assert_eq!(stage.confirm(order_id, 9).await, Confirmed::Absent);
        assert_eq!(stage.release(order_id, 10).await, Released::Absent);
        assert_eq!(
            stage.reopen(order_id, 11, seconds(9)).await,
            Reopened::Absent
        );
    }
    assert_eq!(stage.units().await, (10, 0, 0));
    assert_eq!(stage.expired(seconds(999), 10).await, []);
}

#[tokio::test]
async fn a_hold_follows_the_newest_revision_of_its_order() {
    let stage = Stage::set(&[("p1", 10)], Some(10)).await;
    let order_id = order("u1", "k");
    let deadline = seconds(900);
    stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    let taken = async || stage.fields().await["taken:p1:u1"].clone();

    assert_eq!(stage.confirm(&order_id, 2).await, Confirmed::Now);
    assert_eq!(stage.confirm(&order_id, 2).await, Confirmed::Already);
    assert_eq!(stage.release(&order_id, 1).await, Released::Overtaken);
    assert_eq!(stage.release(&order_id, 2).await, Released::Overtaken);
    assert_eq!(
        stage.reopen(&order_id, 2, deadline).await,
        Reopened::Already
    );
    assert_eq!(
        (stage.units().await, taken().await),
        ((6, 0, 4), "4".into())
    );

    let version = stage.stock("p1").await.version;
    assert_eq!(
        stage.release(&order_id, 3).await,
        Released::Now(vec![]),
        "a paid order was cancelled"
    );
    assert!(stage.stock("p1").await.version > version);
    assert_eq!(stage.release(&order_id, 3).await, Released::Already(vec![]));
    assert_eq!(stage.confirm(&order_id, 3).await, Confirmed::Already);
    assert_eq!(
        stage.reopen(&order_id, 3, deadline).await,
        Reopened::Already
    );
    assert_eq!(
        (stage.units().await, taken().await),
        ((10, 0, 0), "0".into())
    );

    stage.reserve(&order("u2", "k"), "u2", &[("p1", 9)]).await;
    let version = stage.stock("p1").await.version;
    assert_eq!(stage.confirm(&order_id, 4).await, Confirmed::Retaken);
    assert!(stage.stock("p1").await.version > version);
    assert_eq!(stage.confirm(&order_id, 4).await, Confirmed::Already);
    assert_eq!(
        (stage.units().await, taken().await),
        ((-3, 9, 4), "4".into()),
        "the ledger took the units again, so the gate owes"
    );
    assert!(matches!(
        stage.reserve(&order("u3", "k"), "u3", &[("p1", 1)]).await,
        Reserved::Refused(Refusal::SoldOut { left: 0, .. })
    ));

    stage.release(&order_id, 5).await;
    assert_eq!(stage.reopen(&order_id, 6, deadline).await, Reopened::Now);
    assert_eq!(
        stage.reopen(&order_id, 6, deadline).await,
        Reopened::Already
    );
    assert_eq!(
        (stage.units().await, taken().await),
        ((-3, 13, 0), "4".into())
    );
    assert_eq!(stage.release(&order_id, 6).await, Released::Overtaken);
    let hold = stage.gate.hold(&stage.source, &order_id).await;
    let hold = hold.expect("answers").expect("is there");
    assert!(hold.reservation.open);
    assert_eq!((hold.revision, hold.reservation.deadline), (6, deadline));

    // A revision that says what is so already is remembered all the same: an older one may still be under way.
    assert_eq!(
        stage.reopen(&order_id, 8, deadline).await,
        Reopened::Already
    );
    assert_eq!(stage.release(&order_id, 7).await, Released::Overtaken);
    assert_eq!(stage.confirm(&order_id, 9).await, Confirmed::Now);
    assert_eq!(stage.confirm(&order_id, 11).await, Confirmed::Already);
    assert_eq!(stage.release(&order_id, 10).await, Released::Overtaken);
    assert_eq!(stage.reopen(&order_id, 12, deadline).await, Reopened::Now);
    assert_eq!(stage.units().await, (-3, 13, 0));
    stage.release(&order_id, 13).await;
    assert_eq!(
        stage.release(&order_id, 15).await,
        Released::Already(vec![])
    );
    assert_eq!(stage.confirm(&order_id, 14).await, Confirmed::Already);
    assert_eq!(stage.units().await, (1, 9, 0));
}

#[tokio::test]
async fn orders_confirmed_together_count_each_once() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let (open, released, unknown) = (order("u1", "a"), order("u1", "b"), order("u1", "c"));
    stage.reserve(&open, "u1", &[("p1", 2)]).await;
    stage.reserve(&released, "u1", &[("p1", 3)]).await;
    stage.release(&released, 2).await;
    let orders = [(&open, 2), (&released, 3), (&unknown, 2), (&open, 2)];
    let answers = stage.gate.confirm(&stage.source, &orders);
    assert_eq!(
        answers.await.expect("answers"),
        [
            Confirmed::Now,
            Confirmed::Retaken,
            Confirmed::Absent,
            Confirmed::Already
        ]
    );
    assert_eq!(stage.units().await, (5, 0, 5));
    assert_eq!(stage.fields().await["taken:p1:u1"], "5");
}

#[tokio::test]
async fn a_hold_is_extended_and_never_shortened() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    assert_eq!(stage.extend(&order_id, seconds(9)).await, Extended::Absent);
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    for (until, deadline) in [(9, 300), (400, 400), (400, 400), (350, 400)] {
        assert_eq!(
            stage.extend(&order_id, seconds(until)).await,
            Extended::Until(seconds(deadline))
        );
    }
    stage.confirm(&order_id, 2).await;
    assert_eq!(
        stage.extend(&order_id, seconds(900)).await,
        Extended::Settled
    );
}

#[tokio::test]
async fn only_a_hold_nobody_else_has_seen_is_undone() {
    let stage = Stage::set(&[("p1", 10)], Some(4)).await;
    let order_id = order("u1", "k");
    assert_eq!(stage.undo(&order_id).await, Undone::Absent);
    for _ in 0..2 {
        let answer = stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
        assert!(
            matches!(answer, Reserved::Taken(_)),
            "the same order may come again: {answer:?}"
        );
        assert_eq!(stage.undo(&order_id).await, Undone::Now);
        assert_eq!(stage.undo(&order_id).await, Undone::Absent);
        assert_eq!(stage.units().await, (10, 0, 0));
    }
    stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    let replayed = stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    let Reserved::Replayed(hold) = &replayed else {
        panic!("{replayed:?}")
    };
    assert!(hold.open);
    assert_eq!(
        stage.reserve(&order_id, "u1", &[("p1", 4)]).await,
        replayed,
        "a third try gets the answer of the second"
    );
    assert_eq!(stage.undo(&order_id).await, Undone::Kept);
    assert_eq!(stage.units().await, (6, 4, 0));
    assert_eq!(
        stage.extend(&order_id, seconds(400)).await,
        Extended::Until(seconds(400))
    );
    assert_eq!(stage.undo(&order_id).await, Undone::Kept);
    assert_eq!(
        stage.expired(seconds(400), 9).await,
        std::slice::from_ref(&order_id)
    );
    assert_eq!(stage.confirm(&order_id, 2).await, Confirmed::Now);
    assert_eq!(stage.undo(&order_id).await, Undone::Kept);

    let reopened = order("u2", "k");
    stage.reserve(&reopened, "u2", &[("p1", 1)]).await;
    stage.release(&reopened, 2).await;
    assert_eq!(stage.undo(&reopened).await, Undone::Kept);
    stage.reopen(&reopened, 3, seconds(900)).await;
    assert_eq!(stage.undo(&reopened).await, Undone::Kept);
}

#[tokio::test]
async fn all_open_holds_are_read() {
    let stage = Stage::set(&[("p1", 3_000)], None).await;
    let ids: Vec<(String, OrderId)> = (0..1_500)
        .map(|n| (format!("u{n}"), order(&format!("u{n}"), "k")))
        .collect();
    futures::future::join_all(
        ids.iter()
            .map(|(viewer, order_id)| stage.reserve(order_id, viewer, &[("p1", 2)])),
    )
    .await;
    stage.confirm(&ids[0].1, 2).await;
    stage.release(&ids[1].1, 2).await;
    stage.reserve(&ids[2].1, &ids[2].0, &[("p1", 2)]).await;
    stage.confirm(&order("nobody", "k"), 2).await;
    let holds = stage.gate.holds(&stage.source).await.expect("answers");
    let expected: BTreeSet<&OrderId> = ids[2..].iter().map(|(_, order_id)| order_id).collect();
    assert_eq!(
        holds
            .iter()
            .map(|(order, _)| order)
            .collect::<BTreeSet<_>>(),
        expected
    );
    assert_eq!(holds.len(), expected.len());
    assert!(holds.iter().all(|(_, hold)| {
        hold.revision == 0
            && hold.reservation.lines[0].quantity == 2
            && hold.reservation.deadline == NOW + PERIOD
            && hold.viewer.starts_with('u')
    }));
}

#[tokio::test]
async fn a_product_that_closed_is_named_when_its_units_come_back() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    let closed = Timestamp::from_millis(0);
    stage.air("p1", on_air(closed)).await;
    assert_eq!(
        stage.release(&order_id, 2).await,
        Released::Now(vec![id("p1")])
    );
    assert_eq!(
        stage.release(&order_id, 2).await,
        Released::Already(vec![id("p1")]),
        "a caller that broke off is told again"
    );
}
