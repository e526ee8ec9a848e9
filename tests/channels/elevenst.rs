//! The 11st adapter against the fake. What 11st did is read from the fake's books.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Path, routing::get};
use marketplaces::Marketplaces;
use onepool::{
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, ItemId, LineState, Marketplace, Pulled,
        Window,
        quota::{Seen, Urgency},
    },
    clock::{self, Timestamp},
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::fake::{Fake, lately, line_of, lines, pulled, stock};

const API_KEY: &str = "demo0000000000000000000000000000";

async fn fake() -> (Fake, Box<dyn Marketplace>) {
    let fake = Fake::start(Marketplaces::elevenst).await;
    let market = fake.adapter("elevenst", &[("api_key", API_KEY)]);
    (fake, market)
}

fn white() -> ItemId {
    ItemId {
        product: "9100000001".into(),
        option: Some("44000000001".into()),
    }
}

fn black() -> ItemId {
    ItemId {
        option: Some("44000000002".into()),
        ..white()
    }
}

async fn list_mugs(fake: &Fake) {
    let options = json!([
        { "optionId": "44000000001", "name": "색상:흰색", "stock": 50 },
        { "optionId": "44000000002", "name": "색상:검정", "stock": 50, "extraPrice": 1_000 },
    ]);
    fake.does(
        "items",
        json!({ "productId": "9100000001", "name": "머그컵 (똠)", "price": 12_900, "options": options }),
    )
    .await;
}

async fn shown(fake: &Fake, item: &ItemId) -> Value {
    let items = fake.books("items").await;
    let options = items[0]["options"].as_array().expect("options").clone();
    options
        .into_iter()
        .find(|option| option["optionId"] == item.option.as_deref().expect("an option"))
        .expect("it is in the books")
}

#[tokio::test]
async fn paid_lines_are_pulled_with_their_korean_text_and_once_each() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let order = fake.order(&white(), 2).await;
    fake.does(
        "orders",
        json!({ "lines": [{ "optionId": "44000000002", "quantity": 3 }], "paid": false }),
    )
    .await;
    let all = pulled(&*market, lately()).await;
    let [Pulled::Line(line)] = all.as_slice() else {
        panic!("{all:?}");
    };
    assert_eq!(line.key, format!("{order}:1"));
    assert_eq!(line.item, white());
    assert_eq!((line.ordered, line.cancelled), (2, 0));
    assert_eq!((line.state, line.unit_price), (LineState::Paid, 12_900));
    assert!(line.paid_at.is_some());
    assert!(line.raw.contains("머그컵 (똠)"), "{}", line.raw);
    // The price of an option has its surcharge in it.
    fake.order(&black(), 1).await;
    let prices: Vec<u64> = lines(&*market, lately())
        .await
        .values()
        .map(|line| line.unit_price)
        .collect();
    assert_eq!(prices, [12_900, 13_900]);
}

#[tokio::test]
async fn a_line_that_is_confirmed_or_shipped_by_hand_is_still_met() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    for state in ["packaging", "shipping"] {
        let order = fake.order(&white(), 1).await;
        fake.does(&format!("orders/{order}/state"), json!({ "state": state }))
            .await;
        assert_eq!(line_of(&*market, &order).await.state, LineState::Confirmed);
    }
}

#[tokio::test]
async fn what_is_cancelled_between_two_polls_is_met_with_all_its_units() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let order = fake.order(&white(), 5).await;
    assert_eq!(line_of(&*market, &order).await.state, LineState::Paid);
    let cancel = format!("orders/{order}/cancel");
    fake.does(&cancel, json!({ "quantity": 2 })).await;
    let asked = line_of(&*market, &order).await;
    assert_eq!(asked.state, LineState::CancelRequested);
    assert_eq!((asked.ordered, asked.cancelled), (5, 0));
    market.approve_cancel(&asked.handle).await.expect("agrees");
    let partly = line_of(&*market, &order).await;
    assert_eq!((partly.ordered, partly.cancelled), (5, 2));
    assert_eq!(partly.state, LineState::Paid);
    // Agreeing again changes nothing, whether or not the handle names the claim.
    for handle in [&asked.handle, &partly.handle] {
        market.approve_cancel(handle).await.expect("is done");
    }
    assert_eq!(fake.line(&order).await["left"], 3);
    fake.does(&cancel, json!({})).await;
    let asked = line_of(&*market, &order).await;
    market.approve_cancel(&asked.handle).await.expect("agrees");
    let gone = line_of(&*market, &order).await;
    assert_eq!(
        (gone.state, gone.ordered, gone.cancelled),
        (LineState::Cancelled, 5, 5)
    );
}

#[tokio::test]
async fn a_line_that_was_cancelled_before_anyone_saw_it_takes_nothing() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    fake.does("settings", json!({ "cancelAtOnce": true })).await;
    let order = fake.order(&white(), 4).await;
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let line = line_of(&*market, &order).await;
    assert_eq!(
        (line.state, line.ordered, line.cancelled),
        (LineState::Cancelled, 4, 4)
    );
}

#[tokio::test]
async fn lines_are_confirmed_one_by_one_and_a_repeat_is_looked_up() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let (first, second) = (fake.order(&white(), 1).await, fake.order(&black(), 1).await);
    let handles = [
        line_of(&*market, &first).await.handle,
        line_of(&*market, &second).await.handle,
    ];
    fake.does(&format!("orders/{second}/cancel"), json!({}))
        .await;
    let asked = line_of(&*market, &second).await;
    market.approve_cancel(&asked.handle).await.expect("agrees");
    for _ in 0..2 {
        let answers = market.confirm(&handles).await.expect("answers");
        assert_eq!(answers, [Confirmation::Done, Confirmation::Cancelled]);
    }
    assert_eq!(fake.line(&first).await["state"], "packaging");
    assert_eq!(fake.line(&second).await["state"], "canceled");
}

#[tokio::test]
async fn a_confirmation_whose_answer_was_lost_is_sent_once_and_found_done() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let order = fake.order(&white(), 1).await;
    let handles = [line_of(&*market, &order).await.handle];
    fake.fault(json!({ "on": "reqpackaging", "kind": "close_after_commit" }))
        .await;
    let lost = market.confirm(&handles).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    assert_eq!(fake.arrived("reqpackaging").await, 1, "a GET that writes");
    assert_eq!(
        market.confirm(&handles).await.expect("answers"),
        [Confirmation::Done]
    );
}

#[tokio::test]
async fn stock_goes_to_zero_and_back_and_nothing_else_changes() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    for units in [0, 7, 7] {
        market
            .set_stock(&stock(&white(), units, 1))
            .await
            .expect("writes");
        let read = market
            .read_item(&white(), Urgency::Sweep)
            .await
            .expect("reads");
        assert_eq!((read.units, read.on_sale), (units, true));
        assert_eq!(shown(&fake, &white()).await["stock"], units);
        assert_eq!(shown(&fake, &black()).await["stock"], 50);
    }
    assert_eq!(fake.arrived("stockqty").await, 2, "7 was there already");
    let unknown = ItemId {
        option: Some("1".into()),
        ..white()
    };
    let read = market.read_item(&unknown, Urgency::Sweep).await;
    assert!(matches!(read, Err(Failure::Refused(_))), "{read:?}");
    let nowhere = ItemId {
        product: "1".into(),
        option: None,
    };
    let read = market.read_item(&nowhere, Urgency::Sweep).await;
    assert!(matches!(read, Err(Failure::Refused(_))), "{read:?}");
}

#[tokio::test]
async fn a_stock_write_whose_answer_was_lost_has_no_known_outcome() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    for (kind, after) in [
        ("close_after_commit", 3),
        ("error_after_commit", 4),
        ("garbage_after_commit", 5),
        ("garbage_before_commit", 5),
    ] {
        fake.fault(json!({ "on": "stockqty", "kind": kind })).await;
        let units = if kind == "garbage_before_commit" {
            9
        } else {
            after
        };
        let lost = market.set_stock(&stock(&white(), units, 1)).await;
        assert!(matches!(lost, Err(Failure::Unknown(_))), "{kind}: {lost:?}");
        let read = market
            .read_item(&white(), Urgency::Down)
            .await
            .expect("reads");
        assert_eq!(read.units, after, "{kind}");
    }
}

#[tokio::test]
async fn a_price_is_the_products_and_is_sent_once() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    market.set_price(&black(), 15_900).await.expect("writes");
    assert_eq!(fake.books("items").await[0]["price"], 14_900);
    fake.fault(json!({ "on": "price", "kind": "close_after_commit" }))
        .await;
    let lost = market.set_price(&white(), 11_000).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    assert_eq!(fake.arrived("price").await, 2);
    assert_eq!(fake.books("items").await[0]["price"], 11_000);
}

#[tokio::test]
async fn a_price_is_told_to_who_has_time_for_it() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let price = async |item: &ItemId, urgency| {
        let shown = market.read_item(item, urgency).await.expect("reads");
        shown.price.map(|price| (price.sale, price.effective))
    };
    let both = (
        price(&white(), Urgency::Up).await,
        price(&black(), Urgency::Sweep).await,
    );
    // The price of an option has its surcharge in it.
    assert_eq!(both, (Some((12_900, 12_900)), Some((13_900, 13_900))));
    let asked = fake.arrived("product").await;
    for urgency in [Urgency::Down, Urgency::Order] {
        assert_eq!(price(&white(), urgency).await, None);
    }
    assert_eq!(fake.arrived("product").await, asked);
    for (value, unit, effective) in [(10, "PERCENT", 12_610), (900, "WON", 13_000)] {
        let discount = json!({ "productId": "9100000001", "value": value, "unitType": unit });
        fake.does("actions/discount", discount).await;
        let price = price(&black(), Urgency::Up).await;
        assert_eq!(price, Some((13_900, effective)), "{value} {unit}");
        let order = fake.order(&black(), 3).await;
        let line = line_of(&*market, &order).await;
        assert_eq!(line.unit_price, effective, "what was paid, too");
    }
    let no_price = json!({ "on": "product", "kind": "garbage_before_commit",
        "contentType": "text/xml", "body": "<Products><message>no</message></Products>" });
    fake.fault(no_price).await;
    let shown = market.read_item(&white(), Urgency::Sweep).await;
    let shown = shown.expect("its units are shown all the same");
    assert_eq!((shown.units, shown.price), (50, None));
}

#[tokio::test]
async fn a_line_that_is_sold_out_is_cancelled_once_and_as_a_whole() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    let order = fake.order(&white(), 2).await;
    let mut write = CancelWrite {
        handle: line_of(&*market, &order).await.handle,
        units: 1,
        reason: CancelReason::SoldOut,
    };
    let part = market.cancel(&write).await;
    assert!(matches!(part, Err(Failure::Refused(_))), "{part:?}");
    assert_eq!(fake.line(&order).await["left"], 2);
    write.units = 2;
    for _ in 0..2 {
        market.cancel(&write).await.expect("cancels");
    }
    let line = fake.line(&order).await;
    assert_eq!(
        (&line["left"], &line["state"]),
        (&json!(0), &json!("canceled"))
    );
}

#[tokio::test]
async fn maintenance_and_the_rate_are_waited_for_and_a_wrong_key_is_for_a_person() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    fake.does("settings", json!({ "maintenance": true })).await;
    let write = stock(&white(), 1, 1);
    for failure in [
        market.check().await.map(|_| ()),
        market.set_stock(&write).await,
        market.set_price(&white(), 10_000).await,
    ] {
        assert!(
            matches!(failure, Err(Failure::Later { after: Some(_), .. })),
            "{failure:?}"
        );
    }
    fake.does("settings", json!({ "maintenance": false })).await;
    fake.fault(json!({ "on": "stck", "kind": "rate_limited" }))
        .await;
    let limited = market.read_item(&white(), Urgency::Sweep).await;
    assert!(
        matches!(limited, Err(Failure::Limited { .. })),
        "{limited:?}"
    );
    assert!(matches!(fake.notes.seen().as_slice(), [Seen::Blocked(_)]));

    let stranger = fake.adapter("elevenst", &[("api_key", "of another seller")]);
    for failure in [
        stranger.check().await.map(|_| ()),
        stranger.set_stock(&write).await,
        stranger.set_price(&white(), 10_000).await,
    ] {
        assert!(
            matches!(failure, Err(Failure::Credentials(_))),
            "{failure:?}"
        );
    }
    assert_eq!(shown(&fake, &white()).await["stock"], 50);
}

#[tokio::test]
async fn a_key_expires_after_its_180_days() {
    let (fake, market) = fake().await;
    assert_eq!(market.check().await.expect("is accepted").expires_at, None);
    let market = fake.adapter(
        "elevenst",
        &[("api_key", API_KEY), ("issued_at", "2026-11-20")],
    );
    let issued_at = Timestamp::parse("2026-11-20T00:00:00+09:00").expect("a time");
    assert_eq!(
        market.check().await.expect("is accepted").expires_at,
        Some(issued_at + Duration::from_secs(180 * 86_400))
    );
}

#[tokio::test]
async fn a_malformed_row_leaves_the_others_and_a_malformed_list_is_asked_for_again() {
    let (fake, market) = fake().await;
    let row = |order: &str, units: &str, note: &str| {
        format!(
            "<ns2:order><ordNo>{order}</ordNo><ordPrdSeq>1</ordPrdSeq><dlvNo>1</dlvNo><prdNo>9100000001</prdNo>\
             <prdStckNo>44000000001</prdStckNo><ordQty>{units}</ordQty><ordAmt>12900</ordAmt>\
             <ordDlvReqCont>{note}</ordDlvReqCont></ns2:order>"
        )
    };
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"euc-kr\"?><ns2:orders xmlns:ns2=\"urn:any\">{}{}{}{}</ns2:orders>",
        row("1", "1", "a"),
        row("2", "1", "b & c < d"),
        row("3", "null", "e"),
        row("4", "1", "f"),
    );
    fake.fault(json!({
        "on": "complete", "kind": "garbage_before_commit", "contentType": "text/xml; charset=utf-8", "body": body,
    }))
    .await;
    let all = pulled(&*market, lately()).await;
    let seen: Vec<Result<&str, &str>> = all
        .iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => Ok(line.key.as_str()),
            Pulled::Unreadable { reason, .. } => Err(reason.as_str()),
        })
        .collect();
    assert_eq!(
        seen,
        [
            Ok("1:1"),
            Err("not well-formed XML"),
            Err("ordQty is no number of units"),
            Ok("4:1")
        ]
    );
    fake.fault(json!({ "on": "complete", "kind": "garbage_before_commit" }))
        .await;
    let failure = market.pull(lately(), None, Urgency::Order).await;
    let is_unreadable = matches!(failure, Err(Failure::Unreadable { .. }));
    assert!(is_unreadable, "{failure:?}");
}

#[tokio::test]
async fn a_gateways_page_in_place_of_a_stock_is_asked_for_again() {
    let (fake, market) = fake().await;
    list_mugs(&fake).await;
    fake.fault(json!({ "on": "stck", "kind": "garbage_before_commit" }))
        .await;
    let read = market.read_item(&white(), Urgency::Down).await;
    let is_unreadable = matches!(read, Err(Failure::Unreadable { .. }));
    assert!(is_unreadable, "{read:?}");
}

#[tokio::test]
async fn a_list_that_is_too_long_to_be_read_is_asked_for_in_halves() {
    let mut fake = Fake::start(Marketplaces::elevenst).await;
    let read = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&read);
    // In an hour there is more than sixteen megabytes of it.
    let answer = move |Path((_, list, start, end)): Path<(String, String, String, String)>| {
        let (start, end) = (minute(&start), minute(&end));
        let is_long = end.since(start) > Duration::from_secs(40 * 60);
        let body = if list == "complete" && is_long {
            " ".repeat(17 * 1024 * 1024)
        } else {
            if list == "complete" {
                seen.lock().expect("no panic").push((start, end));
            }
            r#"<ns2:orders xmlns:ns2="http://skt.tmall.business.openapi.spring.service.client.domain/"><ns2:result_code>0</ns2:result_code></ns2:orders>"#.to_owned()
        };
        async move { body }
    };
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    fake.base_url = format!("http://{}", listener.local_addr().expect("an address"));
    let app = Router::new().route("/rest/{service}/{list}/{start}/{end}", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let market = fake.adapter("elevenst", &[("api_key", API_KEY)]);
    let window = Window {
        from: clock::now().before(Duration::from_secs(3 * 3_600)),
        to: clock::now(),
    };
    assert_eq!(pulled(&*market, window).await, []);
    let read = read.lock().expect("no panic");
    let (first, last) = (read[0], read[read.len() - 1]);
    assert!(first.0 <= window.from && last.1 >= window.to, "{read:?}");
    for pair in read.windows(2) {
        assert!(pair[1].0 <= pair[0].1, "a gap: {pair:?}");
    }
    assert_eq!(read.len(), 6, "{read:?}");
}

/// `202611200958`, in Korea.
fn minute(text: &str) -> Timestamp {
    let (day, time) = text.split_at(8);
    let text = format!(
        "{}-{}-{}T{}:{}:00+09:00",
        &day[..4],
        &day[4..6],
        &day[6..],
        &time[..2],
        &time[2..]
    );
    Timestamp::parse(&text).expect("a minute")
}
