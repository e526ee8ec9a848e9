//! The ledger against a DynamoDB emulator, with faults put in on the wire.

use std::time::Duration;

use onepool::{
    clock::{self, Timestamp},
    error::Error,
    id::{BroadcastId, ProductId},
    ledger::{Booking, Change, Changed, Ledger, Moved, OrderRecord, StockRow},
    order::{AcceptedOrder, FailureReason, Line, OrderId, OrderStatus, PaymentMethod, PaymentView},
    stock::Source,
};
use onepool_tests::{DynamoDb, Fault, Wire};

struct Books {
    ledger: Ledger,
    wire: Wire,
    _dynamodb: DynamoDb,
}

impl Books {
    /// A ledger in which the broadcast was granted `units` of each product.
    async fn open(products: &[(&str, u64)]) -> Self {
        let dynamodb = DynamoDb::start();
        let wire = Wire::start(&dynamodb).await;
        let aws = wire.aws();
        let ledger = Ledger::new(aws, "stock".into(), "orders".into());
        let books = Self {
            ledger,
            wire,
            _dynamodb: dynamodb,
        };
        for (product, units) in products {
            let change = change(
                &format!("grant-{product}"),
                product,
                None,
                Some(live()),
                *units,
            );
            assert_eq!(
                books.ledger.move_units(&change).await.expect("moves"),
                Moved::Now
            );
        }
        books
    }

    async fn book(&self, orders: &[AcceptedOrder]) -> Vec<Booking> {
        self.ledger
            .book(orders, clock::now())
            .await
            .into_iter()
            .map(|answer| answer.expect("books"))
            .collect()
    }

    async fn row(&self, product: &str) -> StockRow {
        self.ledger
            .stock_row(&product.parse().expect("an id"), &live())
            .await
            .expect("answers")
            .expect("a row")
    }
}

fn live() -> Source {
    Source::Live("b1".parse().expect("an id"))
}

fn change(
    id: &str,
    product: &str,
    from: Option<(Source, Option<u64>)>,
    to: Option<Source>,
    units: u64,
) -> Change {
    Change {
        id: id.to_owned(),
        product_id: product.parse().expect("an id"),
        from,
        to,
        units,
        cause: "test".into(),
        by: "test".into(),
        at: clock::now(),
        fingerprint: format!("{units}"),
    }
}

fn order(number: usize, lines: &[(&str, u32)]) -> AcceptedOrder {
    let user_id = format!("u{number}").parse().expect("an id");
    let broadcast: BroadcastId = "b1".parse().expect("an id");
    AcceptedOrder {
        order_id: OrderId::derive(&broadcast, &user_id, "k"),
        user_id,
        lines: lines
            .iter()
            .map(|(product, quantity)| Line {
                product_id: product.parse::<ProductId>().expect("an id"),
                quantity: *quantity,
                unit_price: 1_000,
            })
            .collect(),
        payment: PaymentMethod::BillingKey {
            billing_key: "bk".into(),
            customer_key: "ck".into(),
        },
        accepted_at: Timestamp::from_millis(1_795_219_200_000),
        deadline: Timestamp::from_millis(1_795_219_500_000),
    }
}

fn paid(payment_key: &str) -> PaymentView {
    PaymentView {
        payment_key: payment_key.to_owned(),
        approved_at: None,
        refunded_at: None,
    }
}

fn reserved(bookings: &[Booking]) -> usize {
    bookings
        .iter()
        .filter(|booking| matches!(booking, Booking::Reserved(_)))
        .count()
}

#[tokio::test]
async fn a_hot_product_costs_one_write_a_batch() {
    let books = Books::open(&[("p1", 1_000)]).await;
    let orders: Vec<_> = (0..98).map(|number| order(number, &[("p1", 1)])).collect();
    let before = books.wire.calls("DynamoDB");
    assert_eq!(reserved(&books.book(&orders).await), 98);
    assert_eq!(books.wire.calls("DynamoDB") - before, 1);
    assert_eq!(books.row("p1").await.sold, 98);
}

#[tokio::test]
async fn every_change_of_a_source_is_written_down_with_its_cause() {
    let books = Books::open(&[("p1", 10)]).await;
    let orders = [order(1, &[("p1", 3)]), order(2, &[("p1", 1)])];
    let bookings = books.book(&orders).await;
    let Booking::Reserved(first) = &bookings[0] else {
        panic!("{bookings:?}")
    };
    let failed = first
        .clone()
        .failed(FailureReason::PaymentDeclined, clock::now());
    books
        .ledger
        .change(first, failed, "payment declined", clock::now())
        .await
        .expect("changes");
    let product = "p1".parse().expect("an id");
    let trace = books.ledger.trace(&product, 10).await.expect("answers");
    let told: Vec<_> = trace
        .iter()
        .map(|entry| {
            (
                entry.cause.as_str(),
                entry.granted,
                entry.sold,
                entry.orders.len(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("payment declined", 0, -3, 1),
            ("reserved", 0, 4, 2),
            ("test", 10, 0, 0)
        ],
        "newest first"
    );
    let row = books.row("p1").await;
    let sum = |of: fn(&onepool::ledger::TraceEntry) -> i64| trace.iter().map(of).sum::<i64>();
    assert_eq!(
        (sum(|entry| entry.granted), sum(|entry| entry.sold)),
        (10, 1),
        "the trace does not add up to {row:?}"
    );
}

#[tokio::test]
async fn what_somebody_has_to_look_at_is_found_by_its_time() {
    let books = Books::open(&[("p1", 10)]).await;
    let bookings = books
        .book(&[order(1, &[("p1", 1)]), order(2, &[("p1", 1)])])
        .await;
    let [Booking::Reserved(first), Booking::Reserved(second)] = bookings.as_slice() else {
        panic!("{bookings:?}")
    };
    let due_at = first.due_at.expect("a reserved order is due some day");
    assert!(
        due_at > clock::now() + Duration::from_secs(500),
        "a charge gets its time, however late its message came"
    );
    let due = async |now: Timestamp| {
        let found = books.ledger.due(now, 10).await.expect("answers");
        let mut ids: Vec<_> = found.into_iter().map(|record| record.order_id).collect();
        ids.sort();
        ids
    };
    assert_eq!(due(due_at.before(Duration::from_millis(1))).await, []);
    let mut both = vec![first.order_id.clone(), second.order_id.clone()];
    both.sort();
    let late = due_at + Duration::from_secs(60);
    assert_eq!(due(late).await, both);
    let confirmed = first.clone().confirmed(paid("pk"), clock::now());
    books
        .ledger
        .change(first, confirmed, "paid", clock::now())
        .await
        .expect("changes");
    assert_eq!(
        due(late).await,
        std::slice::from_ref(&second.order_id),
        "an order at rest is due"
    );
}

#[tokio::test]
async fn a_source_with_nothing_left_is_compared_no_more_until_it_gets_units() {
    let books = Books::open(&[("p1", 10)]).await;
    let listed = async || books.ledger.rows().await.expect("answers").len();
    assert_eq!(listed().await, 1);
    let row = books.row("p1").await;
    books.book(&[order(1, &[("p1", 1)])]).await;
    books.ledger.rest(&row).await.expect("answers");
    assert_eq!(listed().await, 1, "a row that has changed was put to rest");
    books
        .ledger
        .rest(&books.row("p1").await)
        .await
        .expect("answers");
    assert_eq!(listed().await, 0);
    let more = change("more", "p1", None, Some(live()), 1);
    books.ledger.move_units(&more).await.expect("moves");
    assert_eq!(listed().await, 1);
}

#[tokio::test]
async fn the_ledger_never_sells_more_than_was_granted() {
    let books = Books::open(&[("p1", 10)]).await;
    let orders: Vec<_> = (0..25).map(|number| order(number, &[("p1", 1)])).collect();
    let bookings = books.book(&orders).await;
    assert_eq!(reserved(&bookings), 10);
    assert_eq!(
        bookings
            .iter()
            .filter(|booking| **booking == Booking::SoldOut)
            .count(),
        15
    );
    let row = books.row("p1").await;
    assert_eq!((row.granted, row.sold, row.unsold), (10, 10, 0));
}

#[tokio::test]
async fn racing_batches_share_what_there_is() {
    let books = Books::open(&[("p1", 60)]).await;
    let batches: Vec<Vec<_>> = (0..4)
        .map(|batch| {
            (0..25)
                .map(|number| order(batch * 25 + number, &[("p1", 1)]))
                .collect()
        })
        .collect();
    let answers = futures::future::join_all(batches.iter().map(|orders| books.book(orders))).await;
    assert_eq!(
        answers
            .iter()
            .map(|bookings| reserved(bookings))
            .sum::<usize>(),
        60
    );
    assert_eq!(books.row("p1").await.sold, 60);
}

#[tokio::test]
async fn an_order_that_is_there_already_drops_out_of_its_batch() {
    let books = Books::open(&[("p1", 100)]).await;
    let orders: Vec<_> = (0..10).map(|number| order(number, &[("p1", 2)])).collect();
    books.book(&orders[..4]).await;
    let again = books.book(&orders).await;
    assert_eq!(reserved(&again), 6);
    assert!(again[..4].iter().all(|booking| matches!(booking, Booking::Existing(record) if record.status == OrderStatus::Reserved)));
    assert_eq!(books.row("p1").await.sold, 20);
}

#[tokio::test]
async fn an_order_of_several_products_is_booked_whole_or_not_at_all() {
    let books = Books::open(&[("p1", 10), ("p2", 1)]).await;
    let bookings = books
        .book(&[
            order(1, &[("p1", 1), ("p2", 2)]),
            order(2, &[("p1", 1), ("p2", 1)]),
        ])
        .await;
    assert_eq!(bookings[0], Booking::SoldOut);
    assert!(matches!(bookings[1], Booking::Reserved(_)));
    assert_eq!(
        (books.row("p1").await.sold, books.row("p2").await.sold),
        (1, 1)
    );
}

#[tokio::test]
async fn a_lost_race_is_run_again() {
    let books = Books::open(&[("p1", 10)]).await;
    books
        .wire
        .fail("TransactWriteItems", Fault::TransactionConflict, 3);
    assert_eq!(reserved(&books.book(&[order(1, &[("p1", 1)])]).await), 1);
    assert_eq!(books.row("p1").await.sold, 1);
}

#[tokio::test]
async fn a_lost_answer_does_not_book_twice() {
    let books = Books::open(&[("p1", 10)]).await;
    books.wire.fail("TransactWriteItems", Fault::AnswerLost, 1);
    assert_eq!(
        reserved(&books.book(&[order(1, &[("p1", 1)])]).await),
        1,
        "the SDK's retry carries the same token"
    );
    assert_eq!(books.row("p1").await.sold, 1);

    books.wire.fail("TransactWriteItems", Fault::AnswerLost, 2);
    let unknown = books
        .ledger
        .book(&[order(2, &[("p1", 1)])], clock::now())
        .await;
    assert!(matches!(unknown[0], Err(Error::Aws { .. })), "{unknown:?}");
    let again = books.book(&[order(2, &[("p1", 1)])]).await;
    assert!(
        matches!(&again[0], Booking::Existing(record) if record.status == OrderStatus::Reserved)
    );
    assert_eq!(books.row("p1").await.sold, 2);
}

#[tokio::test]
async fn an_order_is_settled_once() {
    let books = Books::open(&[("p1", 10)]).await;
    let bookings = books
        .book(&[order(1, &[("p1", 3)]), order(2, &[("p1", 1)])])
        .await;
    let [Booking::Reserved(first), Booking::Reserved(second)] = bookings.as_slice() else {
        panic!("{bookings:?}")
    };
    let now = clock::now();

    let change = async |read: &OrderRecord, wanted: OrderRecord| {
        let changed = books.ledger.change(read, wanted, "test", now).await;
        changed.expect("answers")
    };

    let wanted = first.clone().failed(FailureReason::PaymentDeclined, now);
    let Changed::Now(failed) = change(first, wanted).await else {
        panic!("nobody else changed it")
    };
    assert_eq!(
        (failed.status, failed.reason, failed.revision),
        (OrderStatus::Failed, Some(FailureReason::PaymentDeclined), 2)
    );
    assert_eq!(books.row("p1").await.sold, 1);
    let again = change(first, first.clone().failed(FailureReason::Expired, now)).await;
    assert_eq!(again, Changed::Overtaken(failed.clone()));
    assert_eq!(books.row("p1").await.sold, 1, "its units came back twice");

    let wants = [first, second].map(|read| (read.clone(), read.clone().confirmed(paid("pk"), now)));
    let confirmed = books.ledger.change_together(&wants).await;
    let states: Vec<_> = confirmed
        .into_iter()
        .map(|changed| {
            changed
                .expect("answers")
                .record()
                .expect("no units move")
                .status
        })
        .collect();
    assert_eq!(
        states,
        [OrderStatus::Failed, OrderStatus::Confirmed],
        "what has failed must not be confirmed"
    );
    let read = books.ledger.order(&second.order_id).await;
    let read = read.expect("answers").expect("is there");
    assert_eq!(read.payment.expect("was paid").payment_key, "pk");
}

#[tokio::test]
async fn an_order_taken_up_again_takes_units_that_are_there_and_no_others() {
    let books = Books::open(&[("p1", 3)]).await;
    let bookings = books.book(&[order(1, &[("p1", 3)])]).await;
    let [Booking::Reserved(first)] = bookings.as_slice() else {
        panic!("{bookings:?}")
    };
    let now = clock::now();
    let expired = first.clone().failed(FailureReason::PaymentExpired, now);
    let Ok(Changed::Now(expired)) = books.ledger.change(first, expired, "late", now).await else {
        panic!("nobody else changed it")
    };
    assert_eq!(reserved(&books.book(&[order(2, &[("p1", 1)])]).await), 1);
    let paid_late = expired.clone().confirmed(paid("pk"), now);
    let short = books
        .ledger
        .change(&expired, paid_late.clone(), "late", now)
        .await;
    assert_eq!(short.expect("answers"), Changed::Short);
    assert_eq!(books.row("p1").await.sold, 1);

    let more = change("more", "p1", None, Some(live()), 1);
    books.ledger.move_units(&more).await.expect("moves");
    let taken = books.ledger.change(&expired, paid_late, "late", now).await;
    assert!(matches!(taken, Ok(Changed::Now(_))), "{taken:?}");
    assert_eq!(books.row("p1").await.unsold, 0);
}

#[tokio::test]
async fn a_move_happens_once_and_only_of_what_is_unsold() {
    let books = Books::open(&[("p1", 10)]).await;
    books.book(&[order(1, &[("p1", 4)])]).await;
    let back = change("back", "p1", Some((live(), None)), Some(Source::Pool), 6);
    assert_eq!(
        books.ledger.move_units(&back).await.expect("moves"),
        Moved::Now
    );
    assert_eq!(
        books.ledger.move_units(&back).await.expect("moves"),
        Moved::Already(6)
    );
    let other = Change {
        fingerprint: "other".into(),
        ..back
    };
    assert_eq!(
        books.ledger.move_units(&other).await.expect("moves"),
        Moved::Conflict
    );
    let more = change("more", "p1", Some((live(), None)), Some(Source::Pool), 1);
    assert_eq!(
        books.ledger.move_units(&more).await.expect("moves"),
        Moved::Short(0)
    );
    let row = books.row("p1").await;
    assert_eq!((row.granted, row.sold, row.unsold), (4, 4, 0));
    let stale = change("stale", "p1", Some((Source::Pool, Some(9))), None, 1);
    assert_eq!(
        books.ledger.move_units(&stale).await.expect("moves"),
        Moved::Stale
    );
}
