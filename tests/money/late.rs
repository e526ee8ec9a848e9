//! Money that comes late, or past us: it takes the units that are there, or goes back.

use std::time::Duration;

use onepool::{clock, ledger::OrderRecord};
use onepool_tests::Shop;
use serde_json::json;

use super::till::{
    PRICE, change, confirm_by_hand, failed, look_after, money_of, order_by_card, order_to_pay,
    paid_order, pay, record, status_of, take_back, until_charged,
};

#[tokio::test]
async fn money_that_comes_for_an_order_that_failed_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    // The charge is under way, nobody knows its outcome, and the buyer takes the order back meanwhile.
    shop.gateway_faults(
        json!([{ "on": "billing", "kind": "commit_later", "ms": 2_000, "times": 1 }]),
    )
    .await;
    let order = order_by_card(&shop, &show, "u1").await;
    let placed = shop.wire.take_messages("orders");
    shop.deliver(&placed).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "reserved");
    take_back(&shop, "u1", &order).await;
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
    assert!(
        record(&shop, &order).await.due_at.is_some(),
        "nobody would look"
    );
    until_charged(&shop, &order).await;
    look_after(&shop, record(&shop, &order).await).await;
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(status_of(&shop, "u1", &order).await, "failed cancelled");
    // The order's own message comes once more.
    shop.deliver(&placed).await;
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 0);
}

#[tokio::test]
async fn a_refusal_after_a_charge_without_an_outcome_is_not_the_last_word() {
    let shop = Shop::open().await;
    let show = shop.show(10, 10, None).await;
    shop.gateway_faults(
        json!([{ "on": "billing", "kind": "commit_later", "ms": 3_000, "times": 1 }]),
    )
    .await;
    let order = order_by_card(&shop, &show, "u1").await;
    let placed = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &placed).await, 1);
    // A minute later: another attempt, which the card company refuses while the first is under way.
    let reserved = record(&shop, &order).await;
    let older = OrderRecord {
        created_at: clock::now().before(Duration::from_secs(61)),
        ..reserved.clone()
    };
    change(&shop, &reserved, older).await;
    shop.gateway_faults(json!([{ "on": "billing", "kind": "decline", "times": 1 }]))
        .await;
    assert_eq!(failed(&shop, &placed).await, 0);
    assert_eq!(
        status_of(&shop, "u1", &order).await,
        "failed payment_declined"
    );
    let failed = record(&shop, &order).await;
    assert!(failed.due_at.is_some(), "nobody would look");
    until_charged(&shop, &order).await;
    look_after(&shop, record(&shop, &order).await).await;
    assert_eq!(money_of(&shop, &order).await, (1, PRICE, 0));
}

#[tokio::test]
async fn money_past_us_is_found_and_of_another_amount_it_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(5, 5, None).await;
    let right = order_to_pay(&shop, &show, "u1").await;
    let wrong = order_to_pay(&shop, &show, "u2").await;
    shop.process(10, 1).await;
    // Another tab of the buyer was paid, and this one is declined.
    let other = shop.checkout(&right, PRICE).await;
    let key = shop.checkout(&right, PRICE).await;
    confirm_by_hand(&shop, &right, &other, PRICE).await;
    shop.gateway_faults(json!([
        { "on": "confirm", "kind": "decline", "times": 1, "orderId": right },
    ]))
    .await;
    assert_eq!(pay(&shop, "u1", &right, &key, PRICE).await.0, 202);
    let less = shop.checkout(&wrong, PRICE - 1).await;
    let key = shop.checkout(&wrong, PRICE).await;
    confirm_by_hand(&shop, &wrong, &less, PRICE - 1).await;
    assert_eq!(pay(&shop, "u2", &wrong, &key, PRICE).await.0, 202);
    shop.process(10, 2).await;
    assert_eq!(status_of(&shop, "u1", &right).await, "confirmed");
    let paid = record(&shop, &right).await.payment.expect("was paid");
    assert_eq!(paid.payment_key, other);
    assert_eq!(
        status_of(&shop, "u2", &wrong).await,
        "failed payment_declined"
    );
    assert_eq!(money_of(&shop, &wrong).await, (1, PRICE - 1, 0));
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 1);
}

#[tokio::test]
async fn a_charge_that_comes_after_its_order_expired_takes_the_units_or_goes_back() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    for (viewer, gone) in [("u1", false), ("u2", true)] {
        shop.gateway_faults(
            json!([{ "on": "billing", "kind": "commit_later", "ms": 2_000, "times": 1 }]),
        )
        .await;
        let order = order_by_card(&shop, &show, viewer).await;
        let placed = shop.wire.take_messages("orders");
        assert_eq!(failed(&shop, &placed).await, 1);
        let over = OrderRecord {
            pay_by: clock::now(),
            ..record(&shop, &order).await
        };
        look_after(&shop, over).await;
        assert_eq!(
            status_of(&shop, viewer, &order).await,
            "failed payment_expired"
        );
        if gone {
            paid_order(&shop, &show, "u3").await;
        }
        until_charged(&shop, &order).await;
        let failed = record(&shop, &order).await;
        look_after(&shop, failed).await;
        let (ended, kept) = if gone {
            ("failed payment_expired", 0)
        } else {
            ("confirmed", PRICE)
        };
        assert_eq!(status_of(&shop, viewer, &order).await, ended);
        assert_eq!(money_of(&shop, &order).await, (1, PRICE, kept));
    }
    assert_eq!(shop.quiet(&show.product).await["stock"]["sold"], 2);
}

#[tokio::test]
async fn a_failed_order_is_looked_at_ever_more_seldom_and_not_for_ever() {
    let shop = Shop::open().await;
    let show = shop.show(2, 2, None).await;
    shop.gateway_faults(json!([
        { "on": "billing", "kind": "timeout_before_commit", "ms": 1, "times": 1 },
    ]))
    .await;
    let order = order_by_card(&shop, &show, "u1").await;
    let lost = shop.wire.take_messages("orders");
    assert_eq!(failed(&shop, &lost).await, 1);
    let over = OrderRecord {
        pay_by: clock::now(),
        ..record(&shop, &order).await
    };
    look_after(&shop, over).await;
    // Some time later, as the index brings it up.
    let looked_at = async |since: u64| {
        let now = clock::now();
        let due = OrderRecord {
            settled_at: Some(now.before(Duration::from_secs(since))),
            due_at: Some(now),
            ..record(&shop, &order).await
        };
        look_after(&shop, due).await;
        let next = record(&shop, &order).await.due_at;
        next.map(|next| next.since(now).as_secs())
    };
    let (soon, later) = (looked_at(10).await, looked_at(600).await);
    assert!(soon.is_some_and(|s| (60..80).contains(&s)), "{soon:?}");
    assert!(later.is_some_and(|s| (600..620).contains(&s)), "{later:?}");
    assert_eq!(looked_at(3_700).await, None);
    shop.quiet(&show.product).await;
}
