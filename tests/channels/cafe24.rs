//! The Cafe24 adapter against the fake. What the shop did is read from the fake's books.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use futures::join;
use marketplaces::Marketplaces;
use onepool::{
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, ItemId, LineState, Marketplace, Pulled,
        quota::{Seen, Urgency},
        token::{InMemory, TokenStore},
    },
    clock,
};
use serde_json::{Value, json};

use crate::fake::{Fake, lately, line_of, lines, pulled, stock};

const WHITE: &str = "P000000100A0";
const BLACK: &str = "P000000100B0";

async fn fake() -> (Fake, Box<dyn Marketplace>) {
    let fake = Fake::start(Marketplaces::ownstore).await;
    let options = json!([
        { "optionId": WHITE, "name": "흰색", "stock": 500 },
        { "optionId": BLACK, "name": "검정", "stock": 500, "extraPrice": 1_000 },
    ]);
    fake.does(
        "items",
        json!({ "productId": "100", "name": "머그컵", "price": 12_900, "options": options }),
    )
    .await;
    let market = authorized(&fake, Arc::new(InMemory::default())).await;
    (fake, market)
}

/// The seller says yes in a browser.
async fn first_token(fake: &Fake) -> String {
    let pair = fake.does("actions/cafe24-tokens", json!({})).await;
    pair["refresh_token"].as_str().expect("a token").to_owned()
}

async fn authorized(fake: &Fake, tokens: Arc<dyn TokenStore>) -> Box<dyn Marketplace> {
    with_token(fake, tokens, &first_token(fake).await)
}

fn with_token(fake: &Fake, tokens: Arc<dyn TokenStore>, first: &str) -> Box<dyn Marketplace> {
    let credentials = [
        ("mall_id", "demomall"),
        ("client_id", "demoClient"),
        ("client_secret", "demoSecret"),
        ("refresh_token", first),
    ];
    fake.adapter_with("cafe24", &credentials, tokens)
}

fn item(variant: &str) -> ItemId {
    ItemId {
        product: "100".into(),
        option: Some(variant.into()),
    }
}

async fn units(fake: &Fake, variant: &str) -> Value {
    let items = fake.books("items").await;
    let options = items[0]["options"].as_array().expect("options").clone();
    let option = options
        .into_iter()
        .find(|option| option["optionId"] == variant);
    option.expect("it is in the books")["stock"].clone()
}

#[tokio::test]
async fn a_window_is_pulled_page_by_page_without_the_linked_marketplaces() {
    let (fake, market) = fake().await;
    let line = json!([{ "productId": "100", "optionId": WHITE, "quantity": 1 }]);
    fake.does("orders", json!({ "lines": line, "count": 230 }))
        .await;
    fake.does("orders", json!({ "lines": line, "paid": false }))
        .await;
    for place in ["coupang", "shopn", "sk11st"] {
        let order = json!({ "place": place, "order": { "lines": line } });
        fake.does("actions/cafe24-linked-order", order).await;
    }
    let all = pulled(&*market, lately()).await;
    let keys: BTreeSet<&str> = all
        .iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => line.key.as_str(),
            Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        })
        .collect();
    assert_eq!((all.len(), keys.len()), (230, 230));
    assert_eq!(
        fake.arrived("orders").await,
        4,
        "two pages, and two lists of cancellations"
    );
}

#[tokio::test]
async fn days_with_more_orders_than_a_list_shows_are_walked_to_their_end() {
    let (fake, market) = fake().await;
    let unlimited = json!({ "bucket": 1_000_000, "quota": 1_000_000 });
    fake.does("settings", json!({ "cafe24": unlimited })).await;
    let options = json!([{ "optionId": "P000000200A0", "name": "흰색", "stock": 50_000 }]);
    fake.does(
        "items",
        json!({ "productId": "200", "name": "접시", "price": 9_900, "options": options }),
    )
    .await;
    let line = json!([{ "productId": "200", "optionId": "P000000200A0", "quantity": 1 }]);
    for _ in 0..2 {
        fake.does("orders", json!({ "lines": line, "count": 7_700 }))
            .await;
        fake.does("clock", json!({ "advance_s": 600 })).await;
        clock::put_ahead(Duration::from_secs(600));
    }
    let mut keys = BTreeSet::new();
    for pulled in pulled(&*market, lately()).await {
        match pulled {
            Pulled::Line(line) => keys.insert(line.key),
            Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        };
    }
    assert_eq!(keys.len(), 15_400);
}

#[tokio::test]
async fn a_line_is_read_with_its_amounts() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(BLACK), 2).await;
    let line = line_of(&*market, &order).await;
    assert_eq!(line.key, format!("{order}-01"));
    assert_eq!(line.item, item(BLACK));
    assert_eq!((line.ordered, line.cancelled), (2, 0));
    assert_eq!((line.state, line.unit_price), (LineState::Paid, 13_900));
    assert!(line.paid_at.is_some());
}

#[tokio::test]
async fn units_that_are_cancelled_between_two_polls_stay_in_their_line() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 5).await;
    assert_eq!(line_of(&*market, &order).await.state, LineState::Paid);
    let cancel = format!("orders/{order}/cancel");
    let part = json!({ "lineId": format!("{order}-01"), "quantity": 2 });
    fake.does(&cancel, part).await;
    let asked = line_of(&*market, &order).await;
    assert_eq!(asked.state, LineState::CancelRequested);
    assert_eq!((asked.ordered, asked.cancelled), (5, 0));
    for _ in 0..2 {
        market.approve_cancel(&asked.handle).await.expect("agrees");
    }
    let partly = line_of(&*market, &order).await;
    assert_eq!(partly.key, asked.key);
    assert_eq!(
        (partly.state, partly.ordered, partly.cancelled),
        (LineState::Paid, 5, 2)
    );
    assert_eq!(lines(&*market, lately()).await.len(), 1);
}

#[tokio::test]
async fn an_order_that_was_cancelled_before_anyone_saw_it_takes_nothing() {
    let (fake, market) = fake().await;
    let at_once = json!({ "cafe24": { "cancelAtOnce": true } });
    fake.does("settings", at_once).await;
    let order = fake.order(&item(WHITE), 3).await;
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let line = line_of(&*market, &order).await;
    assert_eq!(
        (line.state, line.ordered, line.cancelled),
        (LineState::Cancelled, 3, 3)
    );
}

#[tokio::test]
async fn lines_are_confirmed_and_confirmed_again() {
    let (fake, market) = fake().await;
    let (first, second) = (
        fake.order(&item(WHITE), 1).await,
        fake.order(&item(BLACK), 1).await,
    );
    let handles = [
        line_of(&*market, &first).await.handle,
        line_of(&*market, &second).await.handle,
    ];
    fake.does(&format!("orders/{second}/cancel"), json!({}))
        .await;
    for _ in 0..2 {
        let answers = market.confirm(&handles).await.expect("answers");
        assert_eq!(answers, [Confirmation::Done, Confirmation::Cancelled]);
    }
    assert_eq!(fake.line(&first).await["state"], "N20");
    assert_eq!(fake.arrived("process_status").await, 1);
}

#[tokio::test]
async fn a_confirmation_whose_answer_was_lost_is_found_done() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 1).await;
    let handles = [line_of(&*market, &order).await.handle];
    fake.fault(json!({ "on": "process_status", "kind": "close_after_commit" }))
        .await;
    let lost = market.confirm(&handles).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    assert_eq!(
        market.confirm(&handles).await.expect("answers"),
        [Confirmation::Done]
    );
}

#[tokio::test]
async fn a_number_is_written_read_back_and_written_again() {
    let (fake, market) = fake().await;
    for given in [7, 7, 0] {
        market
            .set_stock(&stock(&item(WHITE), given, 1))
            .await
            .expect("writes, or it is so already");
        let read = market
            .read_item(&item(WHITE), Urgency::Sweep)
            .await
            .expect("reads");
        assert_eq!((read.units, read.on_sale), (given, true));
        assert_eq!(read.price.map(|price| price.sale), Some(12_900));
        assert_eq!(units(&fake, WHITE).await, given);
        assert_eq!(units(&fake, BLACK).await, 500);
    }
    let unknown = market.read_item(&item("P0"), Urgency::Sweep).await;
    assert!(matches!(unknown, Err(Failure::Refused(_))), "{unknown:?}");
    let unknown = market.set_stock(&stock(&item("P0"), 1, 1)).await;
    assert!(matches!(unknown, Err(Failure::Refused(_))), "{unknown:?}");
}

#[tokio::test]
async fn a_number_that_nobody_heeds_is_for_a_person() {
    let (fake, market) = fake().await;
    let pair = fake.does("actions/cafe24-tokens", json!({})).await;
    let url = format!(
        "{}/api/v2/admin/products/100/variants/{WHITE}/inventories",
        fake.base_url
    );
    for (use_inventory, display_soldout) in [("F", "T"), ("T", "F")] {
        let request = json!({ "use_inventory": use_inventory, "display_soldout": display_soldout });
        let answer = fake
            .http
            .put(&url)
            .bearer_auth(pair["access_token"].as_str().expect("a token"))
            .json(&json!({ "shop_no": 1, "request": request }))
            .send()
            .await
            .expect("the fake answers");
        assert!(answer.status().is_success(), "{}", answer.status());
        let written = market.set_stock(&stock(&item(WHITE), 3, 1)).await;
        let again = market.set_stock(&stock(&item(WHITE), 4, 2)).await;
        let read = market.read_item(&item(WHITE), Urgency::Sweep).await;
        for failure in [written, again, read.map(|_| ())] {
            assert!(matches!(failure, Err(Failure::Refused(_))), "{failure:?}");
        }
    }
}

#[tokio::test]
async fn a_stock_write_whose_answer_was_lost_has_no_known_outcome() {
    let (fake, market) = fake().await;
    for (kind, given) in [
        ("close_after_commit", 3),
        ("error_after_commit", 4),
        ("garbage_after_commit", 5),
    ] {
        fake.fault(json!({ "on": "set_inventory", "kind": kind }))
            .await;
        let lost = market.set_stock(&stock(&item(WHITE), given, 1)).await;
        assert!(matches!(lost, Err(Failure::Unknown(_))), "{kind}: {lost:?}");
        assert_eq!(units(&fake, WHITE).await, given, "{kind}");
    }
}

#[tokio::test]
async fn the_price_of_a_variant_has_its_surcharge_in_it() {
    let (fake, market) = fake().await;
    for _ in 0..2 {
        market
            .set_price(&item(BLACK), 15_900)
            .await
            .expect("writes, or it is so already");
    }
    assert_eq!(fake.books("items").await[0]["price"], 14_900);
    let read = market
        .read_item(&item(BLACK), Urgency::Sweep)
        .await
        .expect("reads");
    assert_eq!(read.price.map(|price| price.sale), Some(15_900));
}

#[tokio::test]
async fn units_that_are_sold_out_are_cancelled_once() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 3).await;
    let write = CancelWrite {
        handle: line_of(&*market, &order).await.handle,
        units: 2,
        reason: CancelReason::SoldOut,
    };
    fake.fault(json!({ "on": "cancellation", "kind": "close_after_commit" }))
        .await;
    let lost = market.cancel(&write).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    for _ in 0..2 {
        market.cancel(&write).await.expect("is cancelled");
    }
    let line = line_of(&*market, &order).await;
    assert_eq!(
        (line.state, line.ordered, line.cancelled),
        (LineState::Paid, 3, 2)
    );
    assert_eq!(fake.arrived("cancellation").await, 1);
}

#[tokio::test]
async fn one_of_two_workers_refreshes_and_both_go_on() {
    let (fake, _) = fake().await;
    let store: Arc<dyn TokenStore> = Arc::new(InMemory::default());
    let first = first_token(&fake).await;
    let one = with_token(&fake, Arc::clone(&store), &first);
    let two = with_token(&fake, Arc::clone(&store), &first);
    let (a, b) = join!(one.check(), two.check());
    a.and(b).expect("both are accepted");
    assert_eq!(fake.arrived("token").await, 1);
    let kept = store.load().await.expect("answers").expect("is kept");
    assert_eq!(kept.version, 1);
    assert!(kept.refresh.is_some_and(|refresh| refresh != first));
    // The seller's app is taken away for a moment: both meet the 401, one refreshes.
    fake.does("actions/cafe24-end-access", json!({})).await;
    let (a, b) = join!(one.check(), two.check());
    let expires_at = a.and(b).expect("both are accepted").expires_at;
    assert_eq!(fake.arrived("token").await, 2);
    let in_days = |days: u64| clock::now() + Duration::from_secs(days * 86_400);
    assert!(expires_at.is_some_and(|at| at > in_days(13) && at <= in_days(14)));
}

#[tokio::test]
async fn a_refresh_that_never_arrived_is_tried_once_more() {
    let (fake, market) = fake().await;
    fake.fault(json!({ "on": "token", "kind": "close_before_commit" }))
        .await;
    market.check().await.expect("is accepted");
    assert_eq!(fake.arrived("token").await, 2);
}

#[tokio::test]
async fn a_refresh_whose_answer_was_lost_needs_the_seller_once() {
    let (fake, _) = fake().await;
    let store: Arc<dyn TokenStore> = Arc::new(InMemory::default());
    let market = authorized(&fake, Arc::clone(&store)).await;
    fake.fault(json!({ "on": "token", "kind": "close_after_commit" }))
        .await;
    let Err(Failure::Credentials(why)) = market.check().await else {
        panic!("its one refresh token is used up");
    };
    assert!(why.contains("authorize the app again"), "{why}");
    // The turn that was taken ends, and the seller has said yes again.
    clock::put_ahead(Duration::from_secs(61));
    let market = authorized(&fake, store).await;
    market.check().await.expect("is accepted");
}

#[tokio::test]
async fn a_new_first_token_takes_over_from_one_that_is_used_up() {
    let (fake, _) = fake().await;
    let store: Arc<dyn TokenStore> = Arc::new(InMemory::default());
    let market = authorized(&fake, Arc::clone(&store)).await;
    market.check().await.expect("is accepted");
    let kept = store.load().await.expect("answers").expect("is kept");
    // Somebody else used the refresh token that is kept.
    let form = format!(
        "grant_type=refresh_token&refresh_token={}",
        kept.refresh.expect("a token")
    );
    let answer = fake
        .http
        .post(format!("{}/api/v2/oauth/token", fake.base_url))
        .basic_auth("demoClient", Some("demoSecret"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()
        .await
        .expect("the fake answers");
    assert!(answer.status().is_success());
    fake.does("actions/cafe24-end-access", json!({})).await;
    let refused = market.check().await;
    assert!(
        matches!(refused, Err(Failure::Credentials(_))),
        "{refused:?}"
    );
    clock::put_ahead(Duration::from_secs(61));
    let market = authorized(&fake, Arc::clone(&store)).await;
    market.check().await.expect("is accepted");
    let kept = store.load().await.expect("answers").expect("is kept");
    assert_eq!(kept.version, 2);
}

#[tokio::test]
async fn wrong_client_credentials_are_for_a_person() {
    let (fake, _) = fake().await;
    let first = first_token(&fake).await;
    let credentials = [
        ("mall_id", "demomall"),
        ("client_id", "demoClient"),
        ("client_secret", "of another app"),
        ("refresh_token", first.as_str()),
    ];
    let market = fake.adapter("cafe24", &credentials);
    let refused = market.check().await;
    assert!(
        matches!(refused, Err(Failure::Credentials(_))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn the_bucket_is_told_to_the_quota_and_a_full_one_is_waited_for() {
    let (fake, market) = fake().await;
    let small = json!({ "cafe24": { "bucket": 1.0, "leakPerSecond": 0.0 } });
    fake.does("settings", small).await;
    market.check().await.expect("is accepted");
    let [Seen::Left { calls: 0, .. }] = fake.notes.seen()[..] else {
        panic!("{:?}", fake.notes.seen());
    };
    let limited = market.set_stock(&stock(&item(WHITE), 3, 1)).await;
    assert!(
        matches!(limited, Err(Failure::Limited { .. })),
        "{limited:?}"
    );
    assert!(matches!(fake.notes.seen().last(), Some(Seen::Blocked(_))));
    assert_eq!(units(&fake, WHITE).await, 500);
}

#[tokio::test]
async fn a_malformed_item_leaves_the_others_and_a_malformed_list_is_asked_for_again() {
    let (fake, market) = fake().await;
    let item = |code: &str, quantity: Value| {
        json!({
            "order_item_code": code, "product_no": 100, "variant_code": WHITE, "quantity": quantity,
            "product_price": "12900.00", "option_price": "0.00", "payment_amount": null, "order_status": "N10",
        })
    };
    let order = |id: &str, items: Vec<Value>| json!({ "order_id": id, "market_id": "self", "order_place_id": "self", "payment_date": null, "items": items });
    let body = json!({ "orders": [
        order("A", vec![item("A-01", json!(1)), item("A-02", json!("many"))]),
        { "order_id": "B", "market_id": "self" },
        order("C", vec![item("C-01", json!(2))]),
    ] });
    fake.fault(json!({
        "on": "orders", "kind": "garbage_before_commit", "contentType": "application/json", "body": body.to_string(),
    }))
    .await;
    let all = pulled(&*market, lately()).await;
    let mut read: Vec<&str> = Vec::new();
    let mut unread: Vec<(Option<&str>, &str)> = Vec::new();
    for pulled in &all {
        match pulled {
            Pulled::Line(line) => read.push(&line.key),
            Pulled::Unreadable { key, reason, .. } => unread.push((key.as_deref(), reason)),
        }
    }
    assert_eq!(read, ["A-01", "C-01"]);
    assert_eq!(
        unread,
        [
            (Some("A-02"), "quantity is no number of units"),
            (None, "an order without items"),
        ]
    );
    fake.fault(json!({ "on": "orders", "kind": "garbage_before_commit" }))
        .await;
    let failure = market.pull(lately(), None, Urgency::Order).await;
    let is_unreadable = matches!(failure, Err(Failure::Unreadable { .. }));
    assert!(is_unreadable, "{failure:?}");
}
