//! What channels sold enters the ledger: once, whether the units are there or not, and what is cancelled goes back where it was taken.

use onepool::{
    channel::{Handle, ItemId, LineState},
    clock,
    ledger::{Change, Imported, Ledger, LineRecord, Moved, NewLine, StockRow},
    stock::Source,
};
use onepool_tests::{DynamoDb, Fault, Wire};

struct Books {
    ledger: Ledger,
    wire: Wire,
    _dynamodb: DynamoDb,
}

impl Books {
    /// A ledger whose pool has so many units of `mug`, and the share of coupang so many.
    async fn open(pool: u64, share: u64) -> Self {
        let dynamodb = DynamoDb::start();
        let wire = Wire::start(&dynamodb).await;
        let ledger = Ledger::new(wire.aws(), "stock".into(), "orders".into());
        for (to, units) in [(Source::Pool, pool), (coupang(), share)] {
            if units > 0 {
                let change = Change {
                    id: format!("grant-{to}"),
                    product_id: "mug".parse().expect("an id"),
                    from: None,
                    to: Some(to),
                    units,
                    cause: "test".into(),
                    by: "test".into(),
                    at: clock::now(),
                    fingerprint: "test".into(),
                };
                assert_eq!(ledger.move_units(&change).await.expect("moves"), Moved::Now);
            }
        }
        Self {
            ledger,
            wire,
            _dynamodb: dynamodb,
        }
    }

    async fn row(&self, source: &Source) -> StockRow {
        let product = "mug".parse().expect("an id");
        let row = self.ledger.stock_row(&product, source).await;
        row.expect("answers").expect("a row")
    }

    async fn unsold(&self, source: &Source) -> i64 {
        let row = self.row(source).await;
        let granted = i64::try_from(row.granted).expect("few");
        let sold = i64::try_from(row.sold).expect("few");
        assert_eq!(granted - sold, row.unsold, "the row agrees with itself");
        row.unsold
    }

    async fn import(&self, lines: &[NewLine]) -> Vec<Imported> {
        let answers = self.ledger.import(lines, clock::now()).await;
        answers
            .into_iter()
            .map(|answer| answer.expect("imports"))
            .collect()
    }

    async fn import_one(&self, line: NewLine) -> LineRecord {
        match self.import(&[line]).await.pop() {
            Some(Imported::Now(record)) => record,
            other => panic!("not imported: {other:?}"),
        }
    }
}

fn coupang() -> Source {
    Source::Channel("coupang".to_owned())
}

fn line(key: &str, units: u32, source: &Source) -> NewLine {
    NewLine {
        channel: "coupang".into(),
        key: key.into(),
        order_no: "o1".into(),
        handle: Handle("h".into()),
        item: ItemId {
            product: "3000000001".into(),
            option: None,
        },
        product_id: "mug".parse().expect("an id"),
        source: source.clone(),
        ordered: units,
        cancelled: 0,
        state: LineState::Paid,
        unit_price: 12_900,
        paid_at: None,
        raw: "{}".into(),
    }
}

#[tokio::test]
async fn a_line_is_imported_once_however_often_it_is_pulled() {
    let books = Books::open(10, 0).await;
    let lines: Vec<_> = (0..5)
        .map(|number| line(&format!("l{number}"), 1, &Source::Pool))
        .collect();
    let (one, two) = tokio::join!(books.import(&lines), books.import(&lines));
    let new = one.iter().chain(&two);
    let new = new.filter(|answer| matches!(answer, Imported::Now(_)));
    assert_eq!(new.count(), 5, "each line was taken by one of the two");
    assert_eq!(books.unsold(&Source::Pool).await, 5);
    let again = books.import(&lines).await;
    assert!(
        again
            .iter()
            .all(|answer| matches!(answer, Imported::Already(_)))
    );
    assert_eq!(books.unsold(&Source::Pool).await, 5);
}

#[tokio::test]
async fn an_import_whose_answer_was_lost_is_not_counted_twice() {
    let books = Books::open(10, 0).await;
    books.wire.fail("TransactWriteItems", Fault::AnswerLost, 1);
    let lines = [line("l1", 2, &Source::Pool)];
    drop(books.ledger.import(&lines, clock::now()).await);
    drop(books.ledger.import(&lines, clock::now()).await);
    assert_eq!(books.unsold(&Source::Pool).await, 8);
}

#[tokio::test]
async fn a_sale_that_happened_is_counted_below_zero_and_says_by_how_many() {
    let books = Books::open(3, 0).await;
    let record = books.import_one(line("l1", 5, &Source::Pool)).await;
    assert_eq!(record.oversold, 2);
    assert_eq!(books.unsold(&Source::Pool).await, -2);
    // New stock pays the debt first.
    let more = Change {
        id: "more".into(),
        product_id: "mug".parse().expect("an id"),
        from: None,
        to: Some(Source::Pool),
        units: 5,
        cause: "test".into(),
        by: "test".into(),
        at: clock::now(),
        fingerprint: "test".into(),
    };
    books.ledger.move_units(&more).await.expect("moves");
    assert_eq!(books.unsold(&Source::Pool).await, 3);
}

#[tokio::test]
async fn a_product_that_was_never_stocked_can_be_owed() {
    let books = Books::open(0, 0).await;
    let record = books.import_one(line("l1", 1, &Source::Pool)).await;
    assert_eq!(record.oversold, 1);
    assert_eq!(books.unsold(&Source::Pool).await, -1);
}

#[tokio::test]
async fn a_share_that_is_used_up_takes_from_the_pool_and_gives_back_to_it_first() {
    let books = Books::open(2, 3).await;
    let record = books.import_one(line("l1", 6, &coupang())).await;
    assert_eq!(record.oversold, 1);
    assert_eq!(
        (
            books.unsold(&coupang()).await,
            books.unsold(&Source::Pool).await
        ),
        (0, -1)
    );
    let now = clock::now();
    let after = books
        .ledger
        .follow_line(&record, LineState::Paid, 2, now)
        .await
        .expect("follows");
    assert_eq!(
        (
            books.unsold(&coupang()).await,
            books.unsold(&Source::Pool).await
        ),
        (0, 1)
    );
    let late = books
        .ledger
        .follow_line(&after, LineState::Paid, 1, now)
        .await
        .expect("follows");
    assert_eq!(late.cancelled, 2, "what was given back is not taken again");
    books
        .ledger
        .follow_line(&late, LineState::Cancelled, 6, now)
        .await
        .expect("follows");
    assert_eq!(
        (
            books.unsold(&coupang()).await,
            books.unsold(&Source::Pool).await
        ),
        (3, 2)
    );
}

#[tokio::test]
async fn a_cancellation_is_given_back_once() {
    let books = Books::open(10, 0).await;
    let record = books.import_one(line("l1", 4, &Source::Pool)).await;
    let cancel = || {
        books
            .ledger
            .follow_line(&record, LineState::Cancelled, 4, clock::now())
    };
    let (one, two) = tokio::join!(cancel(), cancel());
    assert_eq!(one.expect("follows"), two.expect("hears of it"));
    assert_eq!(books.unsold(&Source::Pool).await, 10);
}

#[tokio::test]
async fn a_page_where_one_line_does_not_fit_imports_all_and_flags_one() {
    let books = Books::open(70, 0).await;
    let mut lines: Vec<_> = (0..69)
        .map(|number| line(&format!("l{number}"), 1, &Source::Pool))
        .collect();
    lines.push(line("big", 5, &Source::Pool));
    let answers = books.import(&lines).await;
    let oversold: u32 = answers
        .iter()
        .map(|answer| match answer {
            Imported::Now(record) | Imported::Already(record) => record.oversold,
        })
        .sum();
    assert_eq!((answers.len(), oversold), (70, 4));
    assert_eq!(books.unsold(&Source::Pool).await, -4);
}
