//! The gate, script by script, on a real redis-server.

use std::{collections::HashSet, time::Duration};

use onepool::{
    clock::Timestamp,
    id::ProductId,
    keys::Keys,
    ledger::StockRow,
    order::{OrderBody, OrderId, OrderRequest},
    stock::{
        Confirmed, Gate, GateStock, Granted, Refusal, Released, Reserved, Source, Terms, Withdrawn,
    },
};
use onepool_tests::{RedisServer, billing_key};
use serde_json::json;

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
        let row = StockRow {
            product_id: id(product),
            source: self.source.clone(),
            granted,
            sold: granted - unsold,
            unsold,
            version,
        };
        self.gate.grant(&row, NOW).await.expect("grants")
    }

    async fn air(&self, product: &str, terms: Terms) {
        self.gate
            .set_terms(&self.source, &id(product), &terms)
            .await
            .expect("sets terms");
    }

    async fn reserve(&self, order: &OrderId, viewer: &str, lines: &[(&str, u32)]) -> Reserved {
        self.gate
            .reserve(&self.source, order, &request(viewer, lines), NOW, PERIOD)
            .await
            .expect("answers")
    }

    async fn left(&self, product: &str) -> u64 {
        self.stock(product).await.left
    }

    async fn stock(&self, product: &str) -> GateStock {
        self.gate
            .stock(&id(product), &[&self.source])
            .await
            .expect("answers")[0]
            .expect("is known")
    }
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
    assert_eq!(refused, Reserved::Refused(Refusal::SoldOut(id("p2"), 1)));
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
    stage
        .gate
        .release(&stage.source, &first)
        .await
        .expect("releases");
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
async fn units_go_back_exactly_once_and_a_late_retry_takes_nothing() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    stage.reserve(&order_id, "u1", &[("p1", 4)]).await;
    assert_eq!(
        stage
            .gate
            .release(&stage.source, &order_id)
            .await
            .expect("answers"),
        Released::Now(vec![])
    );
    assert_eq!(
        stage
            .gate
            .release(&stage.source, &order_id)
            .await
            .expect("answers"),
        Released::Already
    );
    assert_eq!(stage.left("p1").await, 10);
    let Reserved::Replayed(tombstone) = stage.reserve(&order_id, "u1", &[("p1", 4)]).await else {
        panic!("a retry took units again")
    };
    assert!(!tombstone.open);
    assert_eq!(stage.left("p1").await, 10);
}

#[tokio::test]
async fn a_release_that_finds_no_hold_keeps_a_late_order_out() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let order_id = order("u1", "k");
    assert_eq!(
        stage
            .gate
            .release(&stage.source, &order_id)
            .await
            .expect("answers"),
        Released::Absent
    );
    stage.reserve(&order_id, "u1", &[("p1", 1)]).await;
    assert_eq!(stage.left("p1").await, 10);
}

#[tokio::test]
async fn what_is_confirmed_does_not_come_back() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let (sold, given_back) = (order("u1", "k"), order("u2", "k"));
    stage.reserve(&sold, "u1", &[("p1", 2)]).await;
    stage.reserve(&given_back, "u2", &[("p1", 3)]).await;
    stage
        .gate
        .release(&stage.source, &given_back)
        .await
        .expect("releases");
    let unheard_of = order("u3", "k");
    let answers = stage
        .gate
        .confirm(&stage.source, &[&sold, &given_back, &unheard_of])
        .await
        .expect("answers");
    assert_eq!(
        answers,
        [Confirmed::Now, Confirmed::Released, Confirmed::Absent]
    );
    assert_eq!(
        stage
            .gate
            .confirm(&stage.source, &[&sold])
            .await
            .expect("answers"),
        [Confirmed::Already]
    );
    assert_eq!(
        stage
            .gate
            .release(&stage.source, &sold)
            .await
            .expect("answers"),
        Released::Confirmed
    );
    let stock = stage.stock("p1").await;
    assert_eq!((stock.left, stock.held), (8, 0));
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
async fn units_withdrawn_in_vain_come_back() {
    let stage = Stage::set(&[("p1", 10)], None).await;
    let product = id("p1");
    let withdraw = |most, least, version| {
        stage
            .gate
            .withdraw(&stage.source, &product, most, least, version)
    };
    assert_eq!(
        withdraw(4, 4, 1).await.expect("answers"),
        Withdrawn::Units(4)
    );
    assert_eq!(
        withdraw(7, 7, 1).await.expect("answers"),
        Withdrawn::Short(6)
    );
    assert_eq!(withdraw(1, 1, 9).await.expect("answers"), Withdrawn::Stale);
    assert_eq!(stage.left("p1").await, 6);
    assert_eq!(stage.grant("p1", 10, 10, 1).await, Granted::Followed);
    assert_eq!(stage.left("p1").await, 10);
    assert_eq!(
        withdraw(4, 0, 1).await.expect("answers"),
        Withdrawn::Units(4)
    );
    assert_eq!(stage.grant("p1", 6, 6, 2).await, Granted::Followed);
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
            0 => drop(
                stage
                    .gate
                    .release(&stage.source, &order_id)
                    .await
                    .expect("releases"),
            ),
            1 => {
                stage.redis.kill_and_restart().await;
                let row = StockRow {
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
        stage
            .gate
            .release(&stage.source, &order_id)
            .await
            .expect("answers"),
        Released::Now(vec![id("p1")])
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
    let order_id = order("u1", "k");
    assert!(matches!(
        stage.reserve(&order_id, "u1", &[("p1", 1)]).await,
        Reserved::Taken(_)
    ));
    assert_eq!(
        stage
            .gate
            .release(&stage.source, &order_id)
            .await
            .expect("answers"),
        Released::Now(vec![])
    );
    let hold = stage
        .gate
        .hold(&stage.source, &order_id)
        .await
        .expect("answers")
        .expect("a tombstone");
    assert_eq!((hold.viewer.as_str(), hold.reservation.open), ("u1", false));
}
