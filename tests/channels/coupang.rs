//! The Coupang adapter against the fake. What the marketplace did is read from the fake's books.

use std::{collections::BTreeSet, time::Duration};

use marketplaces::Marketplaces;
use onepool::{
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, Handle, ItemId, LineState, Marketplace,
        Pulled, Window,
        quota::{Seen, Urgency},
    },
    clock::{self, Timestamp},
};
use serde_json::{Value, json};

use crate::fake::{Fake, lines, pulled, stock};

const WHITE: &str = "3000000001";
const BLUE: &str = "3000000002";
const KEYS: [(&str, &str); 4] = [
    ("access_key", "demo-access-key"),
    ("secret_key", "demo-secret-key"),
    ("vendor_id", "A00012345"),
    ("user_id", "wing-user"),
];

/// A seller with a mug in two colours, and a gateway that counts nothing.
async fn fake() -> (Fake, Box<dyn Marketplace>) {
    let fake = Fake::start(Marketplaces::coupang).await;
    let options = json!([
        { "optionId": WHITE, "name": "흰색", "stock": 900 },
        { "optionId": BLUE, "name": "파랑", "stock": 500, "extraPrice": 1_000 },
    ]);
    fake.does(
        "items",
        json!({ "name": "머그컵", "price": 12_900, "options": options }),
    )
    .await;
    fake.does("settings", json!({ "rate": 0, "errorBurst": 0 }))
        .await;
    let market = fake.adapter("coupang", &KEYS);
    (fake, market)
}

fn item(option: &str) -> ItemId {
    ItemId {
        product: option.into(),
        option: None,
    }
}

async fn order(fake: &Fake, lines: &[(&str, u64)]) -> String {
    let lines: Vec<Value> = lines
        .iter()
        .map(|(option, quantity)| json!({ "optionId": option, "quantity": quantity }))
        .collect();
    let order = fake.does("orders", json!({ "lines": lines })).await;
    order["orderId"].as_str().expect("an id").to_owned()
}

async fn units(market: &dyn Marketplace, option: &str) -> u64 {
    let shown = market.read_item(&item(option), Urgency::Sweep).await;
    shown.expect("it can be read").units
}

/// Two days back: asked for by the day.
fn days() -> Window {
    let now = clock::now();
    Window {
        from: now.before(Duration::from_secs(2 * 86_400)),
        to: now,
    }
}

/// Short enough to be asked for by the minute.
fn minutes() -> Window {
    let now = clock::now();
    Window {
        from: now.before(Duration::from_secs(15 * 60)),
        to: now,
    }
}

async fn line(
    market: &dyn Marketplace,
    window: Window,
    order: &str,
) -> onepool::channel::OrderLine {
    lines(market, window)
        .await
        .into_values()
        .find(|line| line.order_no == order)
        .expect("it is pulled")
}

fn is_later(failure: &Failure) -> bool {
    matches!(failure, Failure::Later { .. })
}

#[tokio::test]
async fn days_are_pulled_page_by_page_and_minutes_at_once() {
    let (fake, market) = fake().await;
    let wanted = json!([{ "optionId": WHITE, "quantity": 1 }, { "optionId": BLUE, "quantity": 2 }]);
    fake.does("orders", json!({ "lines": wanted, "count": 120 }))
        .await;
    fake.does("orders", json!({ "lines": wanted, "paid": false }))
        .await;
    for (window, most) in [(days(), 100), (minutes(), 240)] {
        let all = pulled(&*market, window).await;
        let keys: BTreeSet<&str> = all
            .iter()
            .map(|pulled| match pulled {
                Pulled::Line(line) => line.key.as_str(),
                Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
            })
            .collect();
        assert_eq!(keys.len(), 240);
        let first = market
            .pull(window, None, Urgency::Order)
            .await
            .expect("a page");
        assert!(first.lines.len() <= most, "{}", first.lines.len());
    }
}

#[tokio::test]
async fn a_sheet_is_read_line_by_line_with_its_amounts() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 2), (BLUE, 1)]).await;
    let all = lines(&*market, minutes()).await;
    let told: Vec<_> = all
        .values()
        .map(|line| {
            (
                line.item.product.as_str(),
                line.ordered,
                line.cancelled,
                line.state,
                line.unit_price,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (WHITE, 2, 0, LineState::Paid, 12_900),
            (BLUE, 1, 0, LineState::Paid, 13_900)
        ]
    );
    for (key, line) in &all {
        assert_eq!(line.order_no, id);
        assert!(line.paid_at.is_some());
        assert!(key.starts_with("7000000000000000"), "{key}");
    }
}

#[tokio::test]
async fn a_sheet_that_was_moved_by_hand_is_not_missed() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 1)]).await;
    let state = format!("orders/{id}/state");
    for (to, soon) in [
        ("INSTRUCT", true),
        ("DEPARTURE", true),
        ("DELIVERING", false),
        ("FINAL_DELIVERY", false),
    ] {
        fake.does(&state, json!({ "state": to })).await;
        assert_eq!(
            line(&*market, days(), &id).await.state,
            LineState::Confirmed,
            "{to}"
        );
        assert_eq!(lines(&*market, minutes()).await.len(), usize::from(soon));
    }
}

#[tokio::test]
async fn units_that_are_cancelled_between_two_polls_stay_in_their_line() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 5)]).await;
    let before = line(&*market, minutes(), &id).await;
    assert_eq!(before.state, LineState::Paid);
    let cancel = format!("orders/{id}/cancel");
    fake.does(&cancel, json!({ "quantity": 2 })).await;
    for window in [minutes(), days()] {
        let now = line(&*market, window, &id).await;
        assert_eq!((now.ordered, now.cancelled), (5, 2));
        assert_eq!(now.state, LineState::Paid);
    }
    // The rest: the sheet vanishes, and its receipts are all that is left of it.
    fake.does(&cancel, json!({})).await;
    for window in [minutes(), days()] {
        let now = line(&*market, window, &id).await;
        assert_eq!(
            (now.key.as_str(), now.ordered, now.cancelled),
            (before.key.as_str(), 5, 5)
        );
        assert_eq!(now.state, LineState::Cancelled);
        assert_eq!(
            (now.handle, now.item),
            (before.handle.clone(), before.item.clone())
        );
    }
    // Paid and cancelled since the last look, in a box with something else in it.
    let id = order(&fake, &[(WHITE, 1), (BLUE, 1)]).await;
    let books = fake.line(&id).await;
    let part = json!({ "lineId": books["lineId"] });
    fake.does(&format!("orders/{id}/cancel"), part).await;
    let states: Vec<_> = lines(&*market, minutes())
        .await
        .into_values()
        .filter(|line| line.order_no == id)
        .map(|line| (line.item.product, line.cancelled, line.state))
        .collect();
    assert_eq!(
        states,
        [
            (WHITE.to_owned(), 1, LineState::Cancelled),
            (BLUE.to_owned(), 0, LineState::Paid)
        ]
    );
}

#[tokio::test]
async fn a_buyer_who_asks_after_the_acknowledgement_is_agreed_with_once() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 3)]).await;
    let handle = line(&*market, minutes(), &id).await.handle;
    assert_eq!(
        market.confirm(std::slice::from_ref(&handle)).await,
        Ok(vec![Confirmation::Done])
    );
    let cancel = format!("orders/{id}/cancel");
    fake.does(&cancel, json!({ "quantity": 1 })).await;
    let now = line(&*market, minutes(), &id).await;
    assert_eq!((now.state, now.cancelled), (LineState::CancelRequested, 0));
    assert_eq!(market.approve_cancel(&handle).await, Ok(()));
    let now = line(&*market, minutes(), &id).await;
    assert_eq!((now.state, now.cancelled), (LineState::Confirmed, 1));
    assert_eq!(market.approve_cancel(&handle).await, Ok(()));
    fake.does(&cancel, json!({})).await;
    assert_eq!(market.approve_cancel(&handle).await, Ok(()));
    // It is gone now: two receipts, of stops that were made, are what is left.
    let now = line(&*market, minutes(), &id).await;
    assert_eq!((now.state, now.cancelled), (LineState::Cancelled, 3));
    assert_eq!(fake.arrived("stop_shipment").await, 2);
}

#[tokio::test]
async fn a_confirmation_says_of_each_line_what_it_is_now() {
    let (fake, market) = fake().await;
    let mut ids = Vec::new();
    let mut handles = Vec::new();
    for _ in 0..3 {
        let id = order(&fake, &[(WHITE, 1)]).await;
        handles.push(line(&*market, minutes(), &id).await.handle);
        ids.push(id);
    }
    // A person was faster with the second, and the buyer of the third has cancelled it.
    fake.does(
        &format!("orders/{}/state", ids[1]),
        json!({ "state": "INSTRUCT" }),
    )
    .await;
    fake.does(&format!("orders/{}/cancel", ids[2]), json!({}))
        .await;
    handles.push(Handle("not ours".to_owned()));
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
    assert_eq!(fake.line(&ids[0]).await["status"], "INSTRUCT");
    // Nothing but boxes that cannot be acknowledged: the answer says 99.
    assert_eq!(
        market.confirm(&handles[1..3]).await,
        Ok(vec![Confirmation::Done, Confirmation::Cancelled])
    );
}

#[tokio::test]
async fn stock_and_price_are_set_and_read_back() {
    let (fake, market) = fake().await;
    for units_shown in [0, 7] {
        market
            .set_stock(&stock(&item(WHITE), units_shown, 1))
            .await
            .expect("set");
        assert_eq!(units(&*market, WHITE).await, units_shown);
    }
    assert_eq!(units(&*market, BLUE).await, 500);
    market.set_price(&item(WHITE), 13_500).await.expect("set");
    let shown = market
        .read_item(&item(WHITE), Urgency::Sweep)
        .await
        .expect("read");
    assert_eq!(shown.price.expect("a price").sale, 13_500);
    for won in [13_505, 1_000, 99_000] {
        assert!(
            matches!(
                market.set_price(&item(WHITE), won).await,
                Err(Failure::Refused(_))
            ),
            "{won}"
        );
    }
    assert!(matches!(
        market.set_stock(&stock(&item("1"), 1, 1)).await,
        Err(Failure::Refused(_))
    ));
    assert_eq!(fake.books("items").await[0]["options"][0]["price"], 13_500);
}

#[tokio::test]
async fn a_stop_is_a_persons_will_unless_we_are_told_otherwise() {
    let (fake, market) = fake().await;
    let url = format!(
        "{}/v2/providers/seller_api/apis/api/v1/marketplace/vendor-items/{WHITE}/sales/stop",
        fake.base_url
    );
    let path = url.strip_prefix(&fake.base_url).expect("a path");
    let authorization = signed("PUT", path);
    let answer = fake
        .http
        .put(&url)
        .header("authorization", authorization)
        .send()
        .await
        .expect("the fake answers");
    assert!(answer.status().is_success());
    market
        .set_stock(&stock(&item(WHITE), 5, 1))
        .await
        .expect("set");
    let on_sale = async |market: &dyn Marketplace| {
        let shown = market.read_item(&item(WHITE), Urgency::Sweep).await;
        shown.expect("it can be read").on_sale
    };
    assert!(!on_sale(&*market).await);
    let keys: Vec<_> = KEYS.into_iter().chain([("resume_sales", "yes")]).collect();
    let resuming = fake.adapter("coupang", &keys);
    resuming
        .set_stock(&stock(&item(WHITE), 6, 2))
        .await
        .expect("set");
    assert!(on_sale(&*resuming).await);
}

/// What a person's click in Wing amounts to, signed as the documents say.
fn signed(method: &str, path: &str) -> String {
    use data_encoding::HEXLOWER;
    use hmac::{Hmac, KeyInit, Mac};
    let now = clock::now()
        .before(Duration::from_secs(9 * 3_600))
        .to_string();
    let digits: String = now[2..19]
        .chars()
        .filter(|character| *character != '-' && *character != ':')
        .collect();
    let date = format!("{digits}Z");
    let mut mac = Hmac::<sha2::Sha256>::new_from_slice(b"demo-secret-key").expect("any key");
    mac.update(format!("{date}{method}{path}").as_bytes());
    let signature = HEXLOWER.encode(&mac.finalize().into_bytes());
    format!(
        "CEA algorithm=HmacSHA256, access-key=demo-access-key, signed-date={date}, signature={signature}"
    )
}

#[tokio::test]
async fn our_cancellation_is_done_once_however_often_it_is_asked_for() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 3)]).await;
    let handle = line(&*market, minutes(), &id).await.handle;
    let write = |units| CancelWrite {
        handle: handle.clone(),
        units,
        reason: CancelReason::SoldOut,
    };
    for _ in 0..2 {
        assert_eq!(market.cancel(&write(2)).await, Ok(()));
        let now = line(&*market, minutes(), &id).await;
        assert_eq!((now.state, now.cancelled), (LineState::Paid, 2));
    }
    assert_eq!(fake.arrived("cancel").await, 1);
    for _ in 0..2 {
        assert_eq!(market.cancel(&write(3)).await, Ok(()));
    }
    let now = line(&*market, minutes(), &id).await;
    assert_eq!((now.state, now.cancelled), (LineState::Cancelled, 3));
    assert_eq!(fake.arrived("cancel").await, 2);
    let nobody = fake.adapter("coupang", &KEYS[..3]);
    let id = order(&fake, &[(WHITE, 1)]).await;
    let handle = line(&*market, minutes(), &id).await.handle;
    let write = CancelWrite {
        handle,
        units: 1,
        reason: CancelReason::SoldOut,
    };
    assert!(matches!(
        nobody.cancel(&write).await,
        Err(Failure::Refused(_))
    ));
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_unknown_and_can_be_read_back() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(BLUE, 1)]).await;
    let handle = line(&*market, minutes(), &id).await.handle;
    for (on, kind, status) in [
        ("quantity", "error_after_commit", 504),
        ("quantity", "error_after_commit", 521),
        ("quantity", "close_after_commit", 0),
        ("quantity", "garbage_after_commit", 200),
        ("acknowledge", "error_after_commit", 504),
    ] {
        let mut rule = json!({ "on": on, "kind": kind });
        if status > 0 {
            rule["status"] = json!(status);
        }
        fake.fault(rule).await;
        let failure = if on == "acknowledge" {
            market.confirm(std::slice::from_ref(&handle)).await.err()
        } else {
            let units_before = units(&*market, WHITE).await;
            let failure = market
                .set_stock(&stock(&item(WHITE), units_before + 1, 1))
                .await
                .err();
            assert_eq!(units(&*market, WHITE).await, units_before + 1);
            failure
        };
        assert!(
            matches!(failure, Some(Failure::Unknown(_))),
            "{on} {kind} {status}: {failure:?}"
        );
    }
    assert_eq!(
        market.confirm(&[handle]).await,
        Ok(vec![Confirmation::Done])
    );
}

#[tokio::test]
async fn reading_that_fails_can_be_asked_again() {
    let (fake, market) = fake().await;
    let id = order(&fake, &[(WHITE, 1)]).await;
    for (on, kind, status) in [
        ("ordersheets", "close_before_commit", 0),
        ("ordersheets", "error_before_commit", 504),
        ("ordersheets", "garbage_before_commit", 200),
    ] {
        let mut rule = json!({ "on": on, "kind": kind });
        if status > 0 {
            rule["status"] = json!(status);
        }
        fake.fault(rule).await;
        let failure = market.pull(minutes(), None, Urgency::Order).await;
        let is_of_its_kind = failure.as_ref().is_err_and(|failure| match kind {
            "garbage_before_commit" => matches!(failure, Failure::Unreadable { .. }),
            _ => is_later(failure),
        });
        assert!(is_of_its_kind, "{on} {kind}: {failure:?}");
        assert_eq!(line(&*market, minutes(), &id).await.state, LineState::Paid);
    }
}

#[tokio::test]
async fn too_many_calls_are_told_to_the_quota_and_left_for_minutes() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "rate": 3 })).await;
    fake.does("clock", json!({ "freeze": true })).await;
    let mut refused = None;
    for _ in 0..4 {
        if let Err(failure) = market.check().await {
            refused = Some(failure);
            break;
        }
    }
    let Some(Failure::Later { reason, after }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("blocked"), "{reason}");
    assert!(after.is_some_and(|after| after >= Duration::from_secs(60)));
    let seen = fake.notes.seen();
    assert!(matches!(seen.last(), Some(Seen::Blocked(span)) if *span >= Duration::from_secs(60)));
}

#[tokio::test]
async fn the_edge_that_turns_us_away_is_no_matter_of_credentials() {
    let (fake, market) = fake().await;
    fake.does("settings", json!({ "errorBurst": 3 })).await;
    let mut last = None;
    for _ in 0..5 {
        last = market.set_stock(&stock(&item("1"), 1, 1)).await.err();
    }
    let Some(Failure::Later { reason, after }) = last else {
        panic!("{last:?}");
    };
    assert!(reason.contains("edge"), "{reason}");
    assert!(after.is_some());
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so() {
    let (fake, market) = fake().await;
    let stranger = [KEYS[0], ("secret_key", "another"), KEYS[2]];
    let stranger = fake.adapter("coupang", &stranger);
    assert!(matches!(
        stranger.check().await,
        Err(Failure::Credentials(_))
    ));
    fake.does("settings", json!({ "ipBlocked": true })).await;
    assert!(matches!(market.check().await, Err(Failure::Credentials(_))));
}

#[tokio::test]
async fn clocks_that_are_minutes_apart_are_waited_for_and_keys_end_after_180_days() {
    let (fake, _) = fake().await;
    let keys: Vec<_> = KEYS
        .into_iter()
        .chain([("key_issued_on", "2026-06-01")])
        .collect();
    let market = fake.adapter("coupang", &keys);
    let known = market.check().await.expect("let in");
    assert_eq!(
        known.expires_at,
        Timestamp::parse("2026-11-28T00:00:00+09:00")
    );
    fake.does("clock", json!({ "advance_s": 600 })).await;
    let failure = market.check().await;
    assert!(failure.as_ref().is_err_and(is_later), "{failure:?}");
}
