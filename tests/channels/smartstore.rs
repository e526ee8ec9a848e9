//! The SmartStore adapter against the fake. What the marketplace did is read from the fake's books.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use marketplaces::Marketplaces;
use onepool::{
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, Handle, ItemId, LineState, Marketplace,
        Price, Pulled,
        quota::{Seen, Urgency},
        token::{InMemory, Token, TokenStore},
    },
    clock,
};
use serde_json::{Value, json};

use crate::fake::{Fake, lately, line_of, lines, pulled, stock};

const MUG: &str = "11000000001";
const WHITE: &str = "41000000001";
const BLUE: &str = "41000000002";
const PLAIN: &str = "11000000002";
const KEYS: [(&str, &str); 2] = [
    ("client_id", "demo-app-id"),
    ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye"),
];

/// A store with a mug in two colours and a plate, which limits no calls.
async fn fake() -> (Fake, Box<dyn Marketplace>) {
    let fake = Fake::start(Marketplaces::smartstore).await;
    let options = json!([
        { "optionId": WHITE, "name": "흰색", "stock": 900 },
        { "optionId": BLUE, "name": "파랑", "stock": 500, "extraPrice": 1_000 },
    ]);
    for product in [
        json!({ "productId": MUG, "name": "머그컵", "price": 12_900, "options": options }),
        json!({ "productId": PLAIN, "name": "접시", "price": 9_900, "stock": 40 }),
    ] {
        fake.does("items", product).await;
    }
    fake.does("settings", json!({ "rate": 0 })).await;
    let market = fake.adapter("smartstore", &KEYS);
    (fake, market)
}

fn item(option: &str) -> ItemId {
    ItemId {
        product: MUG.into(),
        option: Some(option.into()),
    }
}

fn plate() -> ItemId {
    ItemId {
        product: PLAIN.into(),
        option: None,
    }
}

/// Units of an option, or of the plate, in the fake's books.
async fn units(market: &dyn Marketplace, item: &ItemId) -> u64 {
    let shown = market.read_item(item, Urgency::Sweep).await;
    shown.expect("it can be read").units
}

fn is_later(failure: &Failure) -> bool {
    matches!(failure, Failure::Later { .. })
}

#[tokio::test]
async fn lines_of_one_moment_are_pulled_page_by_page_and_each_once() {
    let (fake, market) = fake().await;
    fake.does("clock", json!({ "freeze": true })).await;
    let line = json!([{ "productId": MUG, "optionId": WHITE, "quantity": 1 }]);
    fake.does("orders", json!({ "lines": line, "count": 650 }))
        .await;
    fake.does("orders", json!({ "lines": line, "paid": false }))
        .await;
    let all = pulled(&*market, lately()).await;
    let keys: BTreeSet<&str> = all
        .iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => line.key.as_str(),
            Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        })
        .collect();
    assert_eq!((all.len(), keys.len()), (650, 650));
    assert_eq!(fake.arrived("feed").await, 3);
    assert_eq!(fake.arrived("query").await, 3, "one call a page");
    assert_eq!(fake.arrived("token").await, 1);
}

#[tokio::test]
async fn a_line_is_read_with_its_amounts() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(BLUE), 2).await;
    let line = line_of(&*market, &order).await;
    assert_eq!(line.item, item(BLUE));
    assert_eq!((line.ordered, line.cancelled), (2, 0));
    assert_eq!((line.state, line.unit_price), (LineState::Paid, 13_900));
    assert!(line.paid_at.is_some());
    let order = fake.order(&plate(), 1).await;
    assert_eq!(line_of(&*market, &order).await.item, plate());
}

#[tokio::test]
async fn units_that_are_cancelled_between_two_polls_stay_in_their_line() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 5).await;
    assert_eq!(line_of(&*market, &order).await.state, LineState::Paid);
    let cancel = format!("orders/{order}/cancel");
    fake.does(&cancel, json!({ "quantity": 2 })).await;
    let line = line_of(&*market, &order).await;
    assert_eq!((line.ordered, line.cancelled), (5, 2));
    assert_eq!(line.state, LineState::Paid);
    fake.does(&cancel, json!({ "quantity": 1 })).await;
    fake.does(&cancel, json!({})).await;
    let line = line_of(&*market, &order).await;
    assert_eq!((line.ordered, line.cancelled), (5, 5));
    assert_eq!(line.state, LineState::Cancelled);
    // Paid and cancelled since the last look: the feed has its last event alone.
    let order = fake.order(&item(WHITE), 1).await;
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let line = line_of(&*market, &order).await;
    assert_eq!(
        (line.state, line.ordered, line.cancelled),
        (LineState::Cancelled, 1, 1)
    );
}

#[tokio::test]
async fn what_comes_back_after_it_was_shipped_is_not_counted() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 3).await;
    let cancel = format!("orders/{order}/cancel");
    fake.does(&cancel, json!({ "quantity": 1 })).await;
    let state = format!("orders/{order}/state");
    for to in ["OK", "DELIVERING", "DELIVERED"] {
        fake.does(&state, json!({ "state": to })).await;
    }
    let line = line_of(&*market, &order).await;
    assert_eq!((line.state, line.cancelled), (LineState::Confirmed, 1));
    fake.does(&state, json!({ "state": "RETURNED" })).await;
    let line = line_of(&*market, &order).await;
    assert_eq!((line.state, line.cancelled), (LineState::Cancelled, 1));
}

#[tokio::test]
async fn a_buyer_who_asks_after_the_confirmation_is_agreed_with_once() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 2).await;
    let handle = line_of(&*market, &order).await.handle;
    assert_eq!(
        market.confirm(std::slice::from_ref(&handle)).await,
        Ok(vec![Confirmation::Done])
    );
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let line = line_of(&*market, &order).await;
    assert_eq!(
        (line.state, line.cancelled),
        (LineState::CancelRequested, 0)
    );
    assert_eq!(market.approve_cancel(&handle).await, Ok(()));
    let line = line_of(&*market, &order).await;
    assert_eq!((line.state, line.cancelled), (LineState::Cancelled, 2));
    assert_eq!(market.approve_cancel(&handle).await, Ok(()));
}

#[tokio::test]
async fn a_confirmation_says_of_each_line_what_it_is_now() {
    let (fake, market) = fake().await;
    let mut handles = Vec::new();
    let mut orders = Vec::new();
    for _ in 0..3 {
        let order = fake.order(&item(WHITE), 1).await;
        handles.push(line_of(&*market, &order).await.handle);
        orders.push(order);
    }
    handles.push(Handle("2026112099999999".to_owned()));
    // A person was faster with the second, its buyer has cancelled the third, and the last is nobody's.
    fake.does(
        &format!("orders/{}/state", orders[1]),
        json!({ "state": "OK" }),
    )
    .await;
    fake.does(&format!("orders/{}/cancel", orders[2]), json!({}))
        .await;
    let told = market.confirm(&handles).await.expect("an answer");
    assert_eq!(
        told[..3],
        [
            Confirmation::Done,
            Confirmation::Done,
            Confirmation::Cancelled
        ]
    );
    assert!(matches!(told[3], Confirmation::Refused(_)), "{told:?}");
    assert_eq!(fake.line(&orders[0]).await["placeOrderStatus"], "OK");
}

#[tokio::test]
async fn stock_is_set_and_nothing_else_of_the_product_changes() {
    let (fake, market) = fake().await;
    let before = fake.books("items").await;
    market
        .set_stock(&stock(&item(BLUE), 7, 1))
        .await
        .expect("set");
    assert_eq!(units(&*market, &item(BLUE)).await, 7);
    assert_eq!(units(&*market, &item(WHITE)).await, 900);
    let shown = market
        .read_item(&item(BLUE), Urgency::Sweep)
        .await
        .expect("read");
    assert!(shown.on_sale);
    assert_eq!(
        shown.price,
        Some(Price {
            sale: 13_900,
            effective: 13_900
        })
    );
    market
        .set_stock(&stock(&item(BLUE), 500, 2))
        .await
        .expect("set");
    assert_eq!(fake.books("items").await, before, "all is as it was");
    market.set_stock(&stock(&plate(), 3, 1)).await.expect("set");
    assert_eq!(units(&*market, &plate()).await, 3);
    let no_option = ItemId {
        product: MUG.into(),
        option: None,
    };
    for wrong in [no_option, item("1")] {
        assert!(matches!(
            market.set_stock(&stock(&wrong, 1, 1)).await,
            Err(Failure::Refused(_))
        ));
    }
}

#[tokio::test]
async fn an_order_between_reading_and_writing_is_not_undone() {
    let (fake, market) = fake().await;
    let line = json!({ "productId": MUG, "optionId": WHITE, "quantity": 4 });
    fake.fault(
        json!({ "on": "option_stock", "kind": "order_before", "order": { "lines": [line] } }),
    )
    .await;
    market
        .set_stock(&stock(&item(BLUE), 5, 1))
        .await
        .expect("set");
    assert_eq!(units(&*market, &item(WHITE)).await, 896);
    assert_eq!(units(&*market, &item(BLUE)).await, 5);
}

#[tokio::test]
async fn what_ran_out_is_sold_again() {
    let (fake, market) = fake().await;
    // The harder of the two ways it may be: units alone do not put it back on sale.
    fake.does("settings", json!({ "stockRevives": false }))
        .await;
    for item in [plate(), item(WHITE)] {
        if item.option.is_some() {
            market
                .set_stock(&stock(&self::item(BLUE), 0, 1))
                .await
                .expect("set");
        }
        market.set_stock(&stock(&item, 0, 1)).await.expect("set");
        let shown = market.read_item(&item, Urgency::Sweep).await.expect("read");
        assert_eq!((shown.units, shown.on_sale), (0, true), "{item:?}");
        market.set_stock(&stock(&item, 6, 2)).await.expect("set");
        let shown = market.read_item(&item, Urgency::Sweep).await.expect("read");
        assert_eq!((shown.units, shown.on_sale), (6, true), "{item:?}");
        fake.order(&item, 1).await;
    }
}

#[tokio::test]
async fn what_a_person_has_stopped_stays_stopped() {
    let (fake, _) = fake().await;
    let store = Arc::new(InMemory::default());
    let market = fake.adapter_with(
        "smartstore",
        &KEYS,
        Arc::clone(&store) as Arc<dyn TokenStore>,
    );
    market.check().await.expect("let in");
    let token = store.load().await.expect("a store").expect("a token");
    let path = format!("v1/products/origin-products/{PLAIN}/change-status");
    let answer = fake
        .http
        .put(format!("{}/external/{path}", fake.base_url))
        .bearer_auth(token.access)
        .json(&json!({ "statusType": "SUSPENSION" }))
        .send()
        .await
        .expect("the fake answers");
    assert!(answer.status().is_success());
    market.set_stock(&stock(&plate(), 6, 1)).await.expect("set");
    let shown = market
        .read_item(&plate(), Urgency::Sweep)
        .await
        .expect("read");
    assert_eq!((shown.units, shown.on_sale), (6, false));
}

#[tokio::test]
async fn a_price_of_one_option_leaves_the_others_alone() {
    let (_fake, market) = fake().await;
    let price = async |item: &ItemId| {
        let shown = market.read_item(item, Urgency::Sweep).await.expect("read");
        (shown.price.expect("a price").sale, shown.units)
    };
    market.set_price(&item(BLUE), 14_500).await.expect("set");
    assert_eq!(price(&item(BLUE)).await, (14_500, 500));
    assert_eq!(price(&item(WHITE)).await, (12_900, 900));
    market.set_price(&plate(), 8_000).await.expect("set");
    assert_eq!(price(&plate()).await, (8_000, 40));
    assert!(matches!(
        market.set_price(&plate(), 8_005).await,
        Err(Failure::Refused(_))
    ));
}

#[tokio::test]
async fn our_cancellation_is_done_once_however_often_it_is_asked_for() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 3).await;
    let handle = line_of(&*market, &order).await.handle;
    let write = |units| CancelWrite {
        handle: handle.clone(),
        units,
        reason: CancelReason::SoldOut,
    };
    for _ in 0..2 {
        assert_eq!(market.cancel(&write(2)).await, Ok(()));
        let line = line_of(&*market, &order).await;
        assert_eq!((line.state, line.cancelled), (LineState::Paid, 2));
    }
    assert_eq!(fake.arrived("cancel").await, 1);
    assert_eq!(market.cancel(&write(3)).await, Ok(()));
    let line = line_of(&*market, &order).await;
    assert_eq!((line.state, line.cancelled), (LineState::Cancelled, 3));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_can_be_read_back() {
    let (fake, market) = fake().await;
    let order = fake.order(&item(WHITE), 1).await;
    let handle = line_of(&*market, &order).await.handle;
    for (on, kind, status) in [
        ("confirm", "close_after_commit", 0),
        ("option_stock", "error_after_commit", 504),
        ("multi_update", "garbage_after_commit", 200),
    ] {
        let mut rule = json!({ "on": on, "kind": kind });
        if status > 0 {
            rule["status"] = json!(status);
        }
        fake.fault(rule).await;
        let failure = match on {
            "confirm" => market.confirm(std::slice::from_ref(&handle)).await.err(),
            "option_stock" => market.set_stock(&stock(&item(BLUE), 8, 1)).await.err(),
            _ => market.set_stock(&stock(&plate(), 8, 1)).await.err(),
        };
        assert!(
            matches!(failure, Some(Failure::Unknown(_))),
            "{on}: {failure:?}"
        );
    }
    assert_eq!(line_of(&*market, &order).await.state, LineState::Confirmed);
    assert_eq!(
        market.confirm(&[handle]).await,
        Ok(vec![Confirmation::Done])
    );
    assert_eq!(units(&*market, &item(BLUE)).await, 8);
    assert_eq!(units(&*market, &plate()).await, 8);
}

#[tokio::test]
async fn reading_that_fails_can_be_asked_again() {
    let (fake, market) = fake().await;
    for (on, kind, status) in [
        ("feed", "close_before_commit", 0),
        ("feed", "error_before_commit", 500),
        ("query", "garbage_before_commit", 200),
        ("query", "error_before_commit", 503),
        ("token", "error_before_commit", 500),
    ] {
        let order = fake.order(&plate(), 1).await;
        let market = fake.adapter("smartstore", &KEYS);
        let mut rule = json!({ "on": on, "kind": kind });
        if status > 0 {
            rule["status"] = json!(status);
        }
        fake.fault(rule).await;
        let failure = market.pull(lately(), None, Urgency::Order).await;
        let is_of_its_kind = failure.as_ref().is_err_and(|failure| match kind {
            "garbage_before_commit" => matches!(failure, Failure::Unreadable { .. }),
            _ => is_later(failure),
        });
        assert!(is_of_its_kind, "{on} {kind}: {failure:?}");
        if on != "token" {
            assert_eq!(line_of(&*market, &order).await.state, LineState::Paid);
        }
    }
    assert!(lines(&*market, lately()).await.len() >= 5);
}

#[tokio::test]
async fn too_many_calls_are_told_to_the_quota_and_left_for_later() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "rate": 1 })).await;
    fake.does("clock", json!({ "freeze": true })).await;
    let mut refused = None;
    for _ in 0..5 {
        if let Err(failure) = market.check().await {
            refused = Some(failure);
            break;
        }
    }
    let Some(Failure::Limited { reason, after }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("GW.RATE_LIMIT"), "{reason}");
    assert!(after >= Duration::from_secs(1));
    let seen = fake.notes.seen();
    assert!(seen.iter().any(|seen| matches!(
        seen,
        Seen::Left { rate: Some(rate), .. } if rate.per_second == 1.0 && rate.burst == 2
    )));
    assert!(matches!(seen.last(), Some(Seen::Blocked(_))));
    // Each API has its own limit.
    assert_eq!(units(&*market, &plate()).await, 40);
}

#[tokio::test]
async fn the_sanction_stops_an_api_for_an_hour() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "sanction": "on" })).await;
    market.check().await.expect("the one call of this hour");
    let Err(Failure::Later { after, .. }) = market.check().await else {
        panic!("the second call of this hour");
    };
    let hour = Duration::from_secs(3_600);
    assert_eq!(after, Some(hour));
    assert_eq!(fake.notes.seen().last(), Some(&Seen::Blocked(hour)));
}

#[tokio::test]
async fn our_token_requests_never_bring_the_sanction() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "sanction": "at_once" }))
        .await;
    for _ in 0..3 {
        market.check().await.expect("no sanction");
        fake.does("actions/revoke-tokens", json!({})).await;
    }
    assert!(fake.arrived("token").await >= 3);
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_of_a_batch_is_fetched_anew_once() {
    let (fake, market) = fake().await;
    let line = json!([{ "productId": MUG, "optionId": WHITE, "quantity": 1 }]);
    fake.does("orders", json!({ "lines": line, "count": 350 }))
        .await;
    let window = lately();
    let first = market
        .pull(window, None, Urgency::Order)
        .await
        .expect("a page");
    fake.does("actions/revoke-tokens", json!({})).await;
    let second = market
        .pull(window, first.next.as_deref(), Urgency::Order)
        .await
        .expect("a page");
    assert_eq!(first.lines.len() + second.lines.len(), 350);
    assert_eq!(fake.arrived("token").await, 2);
}

#[tokio::test]
async fn runners_share_a_token_and_one_of_them_fetches_the_next_in_time() {
    let (fake, _) = fake().await;
    let store = Arc::new(InMemory::default());
    let one = fake.adapter_with(
        "smartstore",
        &KEYS,
        Arc::clone(&store) as Arc<dyn TokenStore>,
    );
    let other = fake.adapter_with(
        "smartstore",
        &KEYS,
        Arc::clone(&store) as Arc<dyn TokenStore>,
    );
    let (first, second) = futures::join!(one.check(), other.check());
    assert!(first.is_ok() && second.is_ok());
    assert_eq!(fake.arrived("token").await, 1);
    // Twenty minutes are left of this one.
    let old = Token {
        access: "old".to_owned(),
        expires_at: clock::now() + Duration::from_secs(20 * 60),
        refresh: None,
        refresh_expires_at: None,
        version: 7,
    };
    let store = Arc::new(InMemory::with(old));
    let late = fake.adapter_with(
        "smartstore",
        &KEYS,
        Arc::clone(&store) as Arc<dyn TokenStore>,
    );
    late.check().await.expect("with the next token");
    let kept = store.load().await.expect("a store").expect("a token");
    assert_eq!(kept.version, 8);
    assert!(kept.access != "old" && kept.expires_at > clock::now() + Duration::from_secs(3_600));
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_and_maintenance_passes() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "maintenance": true })).await;
    let failure = market.check().await;
    assert!(failure.as_ref().is_err_and(is_later), "{failure:?}");
    fake.does("settings", json!({ "maintenance": false })).await;
    let fresh = fake.adapter("smartstore", &KEYS);
    assert!(fresh.check().await.is_ok());
    fake.does("settings", json!({ "ipBlocked": true })).await;
    assert!(matches!(fresh.check().await, Err(Failure::Credentials(_))));
    fake.does("settings", json!({ "ipBlocked": false })).await;
    let stranger = [KEYS[0], ("client_secret", "$2a$04$abcdefghijklmnopqrstuu")];
    let stranger = fake.adapter("smartstore", &stranger);
    assert!(matches!(
        stranger.check().await,
        Err(Failure::Credentials(_))
    ));
}

#[tokio::test]
async fn clocks_that_are_minutes_apart_get_no_token() {
    let (fake, market) = fake().await;
    fake.does("clock", json!({ "advance_s": 600 })).await;
    assert!(matches!(market.check().await, Err(Failure::Credentials(_))));
}

#[tokio::test]
async fn a_line_that_has_no_details_is_kept_for_a_person() {
    let (fake, market) = fake().await;
    let order = fake.order(&plate(), 1).await;
    let body = json!({ "timestamp": "2026-11-20T10:00:00.000+09:00", "traceId": "t", "data": [] });
    fake.fault(
        json!({ "on": "query", "kind": "garbage_before_commit", "status": 200,
        "contentType": "application/json", "body": body.to_string() }),
    )
    .await;
    let all = pulled(&*market, lately()).await;
    let [
        Pulled::Unreadable {
            key: Some(key),
            raw,
            ..
        },
    ] = &all[..]
    else {
        panic!("{all:?}");
    };
    assert_eq!(json!(key), fake.line(&order).await["lineId"]);
    let raw: Value = serde_json::from_str(raw).expect("JSON");
    assert_eq!(raw["orderId"], json!(order));
}
