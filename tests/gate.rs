//! The gate, script by script, on a real redis-server.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
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
    id::ProductId,
    keys::Keys,
    ledger::StockRow,
    order::{OrderBody, OrderId, OrderRequest},
    stock::{
        Confirmed, Correction, Extended, Gate, GateStock, Granted, Refusal, Released, Reopened,
        Repaired, Reserved, Restored, Source, Terms, Undone, WITHDRAWAL_GRACE, Withdrawn,
    },
};
use onepool_tests::{RedisServer, billing_key};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const NOW: Timestamp = Timestamp::from_millis(1_795_219_200_000);
const PERIOD: Duration = Duration::from_secs(300);

struct Stage {
    redis: RedisServer,
    gate: Gate,
    source: Source,
}

impl Stage {
    /// A gate with `units` of each product, on air without an end.
    async fn set(products: &[(&str, u64)], per_viewer_limit: Option<u32>) -> Self {
        let redis = RedisServer::start().await;
        let stage = Self {
            gate: Gate::new(redis.connection(), Keys::new("demo")),
            redis,
            source: Source::Live("b1".parse().expect("an id")),
        };
        for (product, units) in products {
            stage.grant(product, *units, *units, 1).await;
            stage
                .air(
                    product,
                    Terms {
                        live_price: 1_000,
                        per_viewer_limit,
                        from: NOW,
                        until: Timestamp::NEVER,
                    },
                )
                .await;
        }
        stage
    }

    async fn grant(&self, product: &str, granted: u64, unsold: u64, version: u64) -> Granted {
        self.grant_at(NOW, product, granted, unsold, version).await
    }

    async fn grant_at(
        &self,
        at: Timestamp,
        product: &str,
        granted: u64,
        unsold: u64,
        version: u64,
    ) -> Granted {
        let row = StockRow {
            revision: 0,
            product_id: id(product),
            source: self.source.clone(),
            granted,
            sold: granted - unsold,
            unsold,
            version,
        };
        self.gate.grant(&row, at).await.expect("grants")
    }

    async fn air(&self, product: &str, terms: Terms) {
        let newest = self.gate.air(&self.source, &id(product), &terms, 0).await;
        assert!(newest.expect("sets terms"));
    }

    async fn reserve(&self, order: &OrderId, viewer: &str, lines: &[(&str, u32)]) -> Reserved {
        self.gate
            .reserve(&self.source, order, &request(viewer, lines), NOW, PERIOD)
            .await
            .expect("answers")
    }

    async fn left(&self, product: &str) -> i64 {
        self.stock(product).await.left
    }

    async fn stock(&self, product: &str) -> GateStock {
        self.gate
            .stock(&id(product), &[&self.source])
            .await
            .expect("answers")[0]
            .expect("is known")
    }

    async fn confirm(&self, order: &OrderId, revision: u64) -> Confirmed {
        let answers = self.gate.confirm(&self.source, &[(order, revision)]).await;
        answers.expect("answers")[0]
    }

    async fn release(&self, order: &OrderId, revision: u64) -> Released {
        let answer = self.gate.release(&self.source, order, revision).await;
        answer.expect("answers")
    }

    async fn forfeit(&self, order: &OrderId, revision: u64) -> Released {
        let answer = self.gate.forfeit(&self.source, order, revision).await;
        answer.expect("answers")
    }

    async fn reopen(&self, order: &OrderId, revision: u64, deadline: Timestamp) -> Reopened {
        let answer = self.gate.reopen(&self.source, order, revision, deadline);
        answer.await.expect("answers")
    }

    async fn extend(&self, order: &OrderId, until: Timestamp) -> Extended {
        let answer = self.gate.extend(&self.source, order, until).await;
        answer.expect("answers")
    }

    async fn expired(&self, at: Timestamp, limit: usize) -> Vec<OrderId> {
        let answer = self.gate.expired(&self.source, at, limit, None).await;
        answer.expect("answers")
    }

    async fn undo(&self, order: &OrderId) -> Undone {
        let answer = self.gate.undo(&self.source, order).await;
        answer.expect("answers")
    }

    async fn withdraw(&self, units: (u64, u64), version: u64, token: &str) -> Withdrawn {
        let (source, product) = (&self.source, id("p1"));
        let answer = self
            .gate
            .withdraw(source, &product, units, version, token, NOW);
        answer.await.expect("answers")
    }

    /// Whether the source looks as if a hold were due, to one who meets sold out.
    async fn looks_due(&self, at: Timestamp) -> bool {
        let (order, request) = (order("late", "k"), request("late", &[("p1", 99)]));
        let answer = self
            .gate
            .reserve(&self.source, &order, &request, at, PERIOD)
            .await
            .expect("answers");
        let Reserved::Refused(Refusal::SoldOut { due, .. }) = answer else {
            panic!("was not sold out: {answer:?}")
        };
        due
    }

    /// Every field of the gate, as it is.
    async fn fields(&self) -> HashMap<String, String> {
        redis::cmd("HGETALL")
            .arg(Keys::new("demo").gate(&self.source))
            .query_async(&mut self.redis.plain().await)
            .await
            .expect("answers")
    }

    /// How many entries the list of deadlines and the extended holds have.
    async fn entries(&self) -> (u64, u64) {
        let keys = Keys::new("demo");
        redis::pipe()
            .llen(keys.deadlines(&self.source))
            .zcard(keys.extended(&self.source))
            .query_async(&mut self.redis.plain().await)
            .await
            .expect("answers")
    }

    /// Units left, held and sold of `p1`.
    async fn units(&self) -> (i64, i64, u64) {
        let fields = self.fields().await;
        let left = fields["stock:p1"].split(' ').next().expect("a word");
        (
            left.parse().expect("a number"),
            self.stock("p1").await.held,
            fields["sold:p1"].parse().expect("a number"),
        )
    }
}

fn seconds(after: u64) -> Timestamp {
    NOW + Duration::from_secs(after)
}

fn id(product: &str) -> ProductId {
    product.parse().expect("an id")
}

fn order(viewer: &str, key: &str) -> OrderId {
    OrderId::derive(
        &"b1".parse().expect("an id"),
        &viewer.parse().expect("an id"),
        key,
    )
}

fn request(viewer: &str, lines: &[(&str, u32)]) -> OrderRequest {
    let lines: Vec<_> = lines
        .iter()
        .map(|(product, units)| json!({ "product_id": product, "quantity": units }))
        .collect();
    let body: OrderBody =
        serde_json::from_value(json!({ "lines": lines, "payment": billing_key("bk") }))
            .expect("a body");
    OrderRequest::new(viewer.parse().expect("an id"), body).expect("is right")
}

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

#[tokio::test]
async fn a_product_that_closed_is_named_when_its_units_come_back() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    let closed = Timestamp::from_millis(0);
    stage
        .air(
            "p1",
            Terms {
                live_price: 1_000,
                per_viewer_limit: None,
                from: NOW,
                until: closed,
            },
        )
        .await;
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
    stage
        .air(
            "p1",
            Terms {
                live_price: 1_000,
                per_viewer_limit: None,
                from: NOW,
                until: Timestamp::NEVER,
            },
        )
        .await;
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

/// What a hold is, to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Kept,
    Confirmed,
    Released,
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct ModelHold {
    state: State,
    revision: u64,
    deadline: Timestamp,
}

/// The gate as it ought to be: what is sold, held and taken is no count, but the sum over the holds.
#[derive(Default)]
struct Model {
    holds: BTreeMap<usize, ModelHold>,
    granted: [i64; 2],
    grant_version: [u64; 2],
    repaired: [i64; 2],
}

const MODEL_ORDERS: usize = 14;
const MODEL_VIEWERS: usize = 3;
const MODEL_LIMIT: i64 = 9;

/// The units of an order, by product.
fn model_lines(order: usize) -> [i64; 2] {
    let n = order as i64;
    [1 + n % 3, n % 2 * (1 + n % 4)]
}

impl Model {
    fn sum(&self, product: usize, of: impl Fn(usize, State) -> bool) -> i64 {
        self.holds
            .iter()
            .filter(|(order, hold)| of(**order, hold.state))
            .map(|(order, _)| model_lines(*order)[product])
            .sum()
    }

    fn held(&self, product: usize) -> i64 {
        self.sum(product, |_, state| {
            matches!(state, State::Open | State::Kept)
        })
    }

    fn sold(&self, product: usize) -> i64 {
        self.sum(product, |_, state| state == State::Confirmed)
    }

    fn left(&self, product: usize) -> i64 {
        self.granted[product] + self.repaired[product] - self.held(product) - self.sold(product)
    }

    fn taken(&self, product: usize, viewer: usize) -> i64 {
        self.sum(product, |order, state| {
            order % MODEL_VIEWERS == viewer && !matches!(state, State::Released | State::Lost)
        })
    }

    /// What `reserve` answers, in a word.
    fn reserve(&mut self, order: usize, now: Timestamp) -> &'static str {
        if let Some(hold) = self.holds.get_mut(&order) {
            if hold.state == State::Open {
                hold.state = State::Kept;
            }
            return "replayed";
        }
        for product in 0..2 {
            let units = model_lines(order)[product];
            if units > 0 && self.left(product) < units {
                return "sold out";
            }
            if units > 0 && self.taken(product, order % MODEL_VIEWERS) + units > MODEL_LIMIT {
                return "limit";
            }
        }
        let hold = ModelHold {
            state: State::Open,
            revision: 0,
            deadline: now + PERIOD,
        };
        self.holds.insert(order, hold);
        "taken"
    }

    /// Brings the hold to a state by a revision; returns the state it was in, and whether the revision was newer.
    fn follow(&mut self, order: usize, to: State, revision: u64) -> (State, bool) {
        let Some(hold) = self.holds.get_mut(&order) else {
            let hold = ModelHold {
                state: State::Lost,
                revision,
                deadline: Timestamp::from_millis(0),
            };
            self.holds.insert(order, hold);
            return (State::Lost, true);
        };
        let before = hold.state;
        let newer = before != State::Lost && revision > hold.revision;
        if newer {
            hold.state = to;
            hold.revision = revision;
        }
        (before, newer)
    }
}

#[tokio::test]
async fn whatever_happens_in_whatever_order_the_gate_counts_as_its_holds_say() {
    for _ in 0..3 {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        random_history(seed, 1_000).await;
    }
}

async fn random_history(seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let products = ["p1", "p2"];
    let stage = Stage::set(
        &[("p1", 20), ("p2", 15)],
        Some(u32::try_from(MODEL_LIMIT).expect("is small")),
    )
    .await;
    let mut model = Model {
        granted: [20, 15],
        grant_version: [1, 1],
        ..Model::default()
    };
    let viewers: Vec<String> = (0..MODEL_VIEWERS).map(|n| format!("u{n}")).collect();
    let ids: Vec<OrderId> = (0..MODEL_ORDERS)
        .map(|n| order(&viewers[n % MODEL_VIEWERS], &format!("k{n}")))
        .collect();
    let mut now = NOW;
    for step in 0..steps {
        now = now + Duration::from_secs(random.u64(0..20));
        let n = random.usize(0..MODEL_ORDERS);
        let (order_id, product) = (&ids[n], random.usize(0..2));
        let known = model.holds.get(&n).copied();
        // Stale, current and newer ones.
        let revision = (known.map_or(1, |hold| hold.revision) + random.u64(0..5))
            .saturating_sub(2)
            .max(1);
        let at = format!("seed {seed}, step {step}, order {n}, revision {revision}");
        match random.u8(0..12) {
            0..3 => {
                let lines: Vec<(&str, u32)> = products
                    .into_iter()
                    .zip(model_lines(n))
                    .filter(|(_, units)| *units > 0)
                    .map(|(product, units)| (product, u32::try_from(units).expect("is small")))
                    .collect();
                let request = request(&viewers[n % MODEL_VIEWERS], &lines);
                let answer = stage
                    .gate
                    .reserve(&stage.source, order_id, &request, now, PERIOD)
                    .await;
                let word = match answer.expect("answers") {
                    Reserved::Taken(_) => "taken",
                    Reserved::Replayed(_) => "replayed",
                    Reserved::Refused(Refusal::SoldOut { .. }) => "sold out",
                    Reserved::Refused(Refusal::LimitExceeded(..)) => "limit",
                    Reserved::Refused(refusal) => panic!("{at}: {refusal:?}"),
                };
                assert_eq!(word, model.reserve(n, now), "{at}");
            }
            3 => {
                let expected = match model.follow(n, State::Confirmed, revision) {
                    (State::Lost, _) => Confirmed::Absent,
                    (State::Open | State::Kept, true) => Confirmed::Now,
                    (State::Released, true) => Confirmed::Retaken,
                    _ => Confirmed::Already,
                };
                assert_eq!(stage.confirm(order_id, revision).await, expected, "{at}");
            }
            4 => {
                let left = [model.left(0), model.left(1)];
                let expected = match model.follow(n, State::Released, revision) {
                    (State::Lost, _) => Released::Absent,
                    (State::Released, _) => Released::Already(vec![]),
                    (_, true) => Released::Now(vec![]),
                    (_, false) => Released::Overtaken,
                };
                if random.bool() {
                    assert_eq!(stage.release(order_id, revision).await, expected, "{at}");
                } else {
                    assert_eq!(stage.forfeit(order_id, revision).await, expected, "{at}");
                    if expected == Released::Now(vec![]) {
                        for (product, before) in left.into_iter().enumerate() {
                            let back = model.left(product);
                            // They pay what is owed; the rest is gone.
                            model.repaired[product] -= back - before.max(back.min(0));
                        }
                    }
                }
            }
            5 => {
                let deadline = now + Duration::from_secs(random.u64(0..200));
                let (before, newer) = model.follow(n, State::Open, revision);
                let expected = match (before, newer) {
                    (State::Lost, _) => Reopened::Absent,
                    (State::Released | State::Confirmed, true) => Reopened::Now,
                    _ => Reopened::Already,
                };
                if let Some(hold) = model.holds.get_mut(&n).filter(|_| newer) {
                    hold.deadline = deadline;
                }
                assert_eq!(
                    stage.reopen(order_id, revision, deadline).await,
                    expected,
                    "{at}"
                );
            }
            6 => {
                let until = now + Duration::from_secs(random.u64(0..600));
                let expected = match model.holds.get_mut(&n) {
                    Some(hold) if matches!(hold.state, State::Open | State::Kept) => {
                        hold.deadline = hold.deadline.max(until);
                        Extended::Until(hold.deadline)
                    }
                    Some(hold) if hold.state != State::Lost => Extended::Settled,
                    _ => Extended::Absent,
                };
                assert_eq!(stage.extend(order_id, until).await, expected, "{at}");
            }
            7 => {
                let expected = match known {
                    Some(hold) if hold.state == State::Open && hold.revision == 0 => {
                        model.holds.remove(&n);
                        Undone::Now
                    }
                    Some(hold) if hold.state != State::Lost => Undone::Kept,
                    _ => Undone::Absent,
                };
                assert_eq!(stage.undo(order_id).await, expected, "{at}");
            }
            8 => {
                let due: BTreeSet<OrderId> = model
                    .holds
                    .iter()
                    .filter(|(_, hold)| matches!(hold.state, State::Open | State::Kept))
                    .filter(|(_, hold)| hold.deadline <= now)
                    .map(|(order, _)| ids[*order].clone())
                    .collect();
                let listed = stage.expired(now, 100).await;
                assert_eq!(listed.len(), due.len(), "{at}");
                assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), due, "{at}");
            }
            9 => {
                let version = stage.stock(products[product]).await.version;
                let (delta, seen) = (random.i64(-3..4), version - random.u64(0..2));
                let answer = stage
                    .gate
                    .repair(
                        &stage.source,
                        &id(products[product]),
                        Correction {
                            left: delta,
                            sold: 0,
                        },
                        seen,
                    )
                    .await;
                if answer.expect("answers") == Repaired::Now {
                    assert_eq!(seen, version, "{at}");
                    model.repaired[product] += delta;
                }
            }
            10 => {
                let granted = random.u64(15..25);
                model.granted[product] = i64::try_from(granted).expect("is small");
                model.grant_version[product] += 1;
                let version = model.grant_version[product];
                let answer = stage
                    .grant_at(now, products[product], granted, granted, version)
                    .await;
                assert_eq!(answer, Granted::Followed, "{at}");
            }
            _ => {
                let (name, version) = (id(products[product]), model.grant_version[product]);
                let (token, most) = (step.to_string(), random.u64(0..4));
                let units = i64::try_from(most).expect("is small");
                let units = units.min(model.left(product).max(0));
                let answer = stage
                    .gate
                    .withdraw(&stage.source, &name, (0, most), version, &token, now)
                    .await;
                let answered = Withdrawn::Units(u64::try_from(units).expect("is positive"));
                assert_eq!(answer.expect("answers"), answered, "{at}");
                model.granted[product] -= units;
                if random.bool() {
                    let answer = stage.gate.restore(&stage.source, &name, &token).await;
                    assert_eq!(answer.expect("answers"), Restored::Now, "{at}");
                    model.granted[product] += units;
                }
            }
        }

        let fields = stage.fields().await;
        let number = |field: String| -> i64 {
            fields
                .get(&field)
                .and_then(|value| value.split(' ').next()?.parse().ok())
                .unwrap_or(0)
        };
        let open = |hold: &&ModelHold| matches!(hold.state, State::Open | State::Kept);
        let deadlines = model.holds.values().filter(open).map(|hold| hold.deadline);
        if let Some(first) = deadlines.min() {
            let due = fields.get("due").and_then(|due| due.parse::<u64>().ok());
            assert!(
                due.is_some_and(|due| due <= first.millis()),
                "a hold falls due at {first}, the gate waits until {due:?}; {at}"
            );
        }
        let holds = stage.gate.holds(&stage.source).await.expect("answers");
        for (product, name) in products.into_iter().enumerate() {
            let held: i64 = holds
                .iter()
                .flat_map(|(_, hold)| &hold.reservation.lines)
                .filter(|line| line.product_id == id(name))
                .map(|line| i64::from(line.quantity))
                .sum();
            let [left, sold, granted] =
                ["stock", "sold", "granted"].map(|kind| number(format!("{kind}:{name}")));
            assert_eq!(
                (left, held, sold),
                (
                    model.left(product),
                    model.held(product),
                    model.sold(product)
                ),
                "left, held and sold of {name}; {at}"
            );
            assert_eq!(
                granted + model.repaired[product],
                left + held + sold,
                "{at}"
            );
            for (n, viewer) in viewers.iter().enumerate() {
                let taken = number(format!("taken:{name}:{viewer}"));
                assert_eq!(
                    taken,
                    model.taken(product, n),
                    "{name} taken by {viewer}; {at}"
                );
            }
        }
    }
}
