//! Giving money back: owed until the gateway has said what it did, and never what is counted.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use onepool::{
    clock,
    error::Error,
    ledger::{Changed, Ledger, OrderRecord, Refund},
    order::{FailureReason, OrderId, PaymentView},
    payment::{self, Charge, Gateway, PaymentStatus},
};
use onepool_tests::Shop;
use serde_json::json;

use super::till::{
    PRICE, change, failed, look_after, money_of, order_by_card, order_to_pay, paid_order, pay,
    record, status_of, take_back,
};

#[tokio::test]
async fn a_refund_without_an_answer_stays_owed_until_it_has_one() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([
        { "on": "cancel", "kind": "error_before_commit", "status": 503, "times": 2, "recorded": false },
    ]))
    .await;
    take_back(&shop, "u1", &order).await;
    shop.process(10, 2).await;
    let owed = record(&shop, &order).await;
    assert_eq!(owed.refund, Some(Refund::Due));
    assert!(owed.due_at.is_some(), "nobody would look");
    while record(&shop, &order).await.refund == Some(Refund::Due) {
        let owed = record(&shop, &order).await;
        look_after(&shop, owed).await;
    }
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn units_that_are_back_before_their_money_are_no_drift() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([{ "on": "cancel", "kind": "delay", "ms": 5_000, "times": 1 }]))
        .await;
    take_back(&shop, "u1", &order).await;
    let messages = shop.wire.take_messages("orders");
    let looking = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        shop.reconcile.run().await.expect("runs")
    };
    let (_, report) = futures::future::join(shop.deliver(&messages), looking).await;
    assert_eq!((report.drift, report.failed), (0, 0), "{report:?}");
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn a_refund_that_is_refused_for_good_waits_for_a_person() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    let order = paid_order(&shop, &show, "u1").await;
    shop.gateway_faults(json!([
        { "on": "cancel", "kind": "decline", "code": "NOT_CANCELABLE_AMOUNT", "times": 1 },
    ]))
    .await;
    take_back(&shop, "u1", &order).await;
    shop.process(10, 2).await;
    let refused = record(&shop, &order).await;
    assert_eq!(
        (refused.refund, refused.due_at),
        (Some(Refund::Refused), None)
    );
    shop.quiet(&show.product).await;
}

#[tokio::test]
async fn a_failure_that_the_gateway_repeats_is_got_over_after_a_while() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    let fault = |on: &str| json!([{ "on": on, "kind": "error_before_commit", "status": 500, "times": 1, "recorded": true }]);
    let long_ago = || clock::now().before(Duration::from_secs(61));
    shop.gateway_faults(fault("billing")).await;
    let order = order_by_card(&shop, &show, "u1").await;
    let placed = shop.wire.take_messages("orders");
    for _ in 0..2 {
        assert_eq!(failed(&shop, &placed).await, 1);
    }
    let reserved = record(&shop, &order).await;
    let older = OrderRecord {
        created_at: long_ago(),
        ..reserved.clone()
    };
    change(&shop, &reserved, older).await;
    assert_eq!(failed(&shop, &placed).await, 0);
    assert_eq!(status_of(&shop, "u1", &order).await, "confirmed");

    shop.gateway_faults(fault("cancel")).await;
    take_back(&shop, "u1", &order).await;
    shop.process(10, 2).await;
    let owed = record(&shop, &order).await;
    look_after(&shop, owed).await;
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Due));
    let owed = OrderRecord {
        settled_at: Some(long_ago()),
        ..record(&shop, &order).await
    };
    look_after(&shop, owed).await;
    assert_eq!(record(&shop, &order).await.refund, Some(Refund::Done));
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    shop.quiet(&show.product).await;
}

/// A gateway that takes two payments of an order, which ours does not: while one is confirmed, another one is counted, and
/// if the key says "late", given back already.
struct TakesTwo {
    ledger: Ledger,
    refunds: Arc<Mutex<Vec<String>>>,
}

impl Gateway for TakesTwo {
    fn charge<'a>(
        &'a self,
        _: &'a OrderId,
        _: &'a str,
        _: &'a str,
        _: u64,
        _: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async { Err(Error::Payment("takes no cards".to_owned())) })
    }

    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
        _attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async move {
            let record = self.ledger.order(order).await?.expect("is there");
            let counted = PaymentView {
                payment_key: "counted".to_owned(),
                approved_at: None,
                refunded_at: None,
            };
            let now = clock::now();
            let paid = record.clone().confirmed(counted, now);
            let changed = self.ledger.change(&record, paid, "paid", now).await?;
            if payment_key == "late"
                && let Changed::Now(paid) = changed
            {
                let returned = OrderRecord {
                    refund: Some(Refund::Done),
                    ..paid.clone().failed(FailureReason::Cancelled, now)
                };
                self.ledger
                    .change(&paid, returned, "taken back", now)
                    .await?;
            }
            Ok(Charge::Paid(payment::Payment {
                payment_key: payment_key.to_owned(),
                order_id: Some(order.clone()),
                status: PaymentStatus::Done,
                total: amount,
                balance: amount,
                approved_at: None,
            }))
        })
    }

    fn lookup<'a>(
        &'a self,
        _: &'a OrderId,
    ) -> BoxFuture<'a, Result<Option<payment::Payment>, Error>> {
        Box::pin(async { Ok(None) })
    }

    fn refund<'a>(
        &'a self,
        payment: &'a payment::Payment,
        _: &'a str,
        _: &'a str,
    ) -> BoxFuture<'a, Result<payment::Refund, Error>> {
        Box::pin(async {
            let mut refunds = self.refunds.lock().expect("no test panicked");
            refunds.push(payment.payment_key.clone());
            Ok(payment::Refund::Done(payment.clone()))
        })
    }
}

#[tokio::test]
async fn the_second_payment_of_an_order_goes_back_and_the_first_stays() {
    let mut shop = Shop::open().await;
    let show = shop.show(3, 3, None).await;
    let refunds = Arc::default();
    shop.settlement.payments = Box::new(TakesTwo {
        ledger: shop.ledger.clone(),
        refunds: Arc::clone(&refunds),
    });
    for (viewer, key, status) in [
        ("u1", "counted", "confirmed"),
        ("u2", "second", "confirmed"),
        ("u3", "late", "failed cancelled"),
    ] {
        let order = order_to_pay(&shop, &show, viewer).await;
        shop.process(10, 1).await;
        assert_eq!(pay(&shop, viewer, &order, key, PRICE).await.0, 202);
        shop.process(10, 1).await;
        assert_eq!(status_of(&shop, viewer, &order).await, status);
        let paid = record(&shop, &order).await.payment.expect("was paid");
        assert_eq!(paid.payment_key, "counted");
    }
    assert_eq!(
        *refunds.lock().expect("no test panicked"),
        ["second", "late"]
    );
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 2);
}
