//! The adapter of a shop with a backend of its own against the fake. What the shop did is read from the fake's books.

use std::collections::BTreeSet;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::post,
};
use marketplaces::Marketplaces;
use onepool::{
    channel::{
        CancelReason, CancelWrite, Confirmation, Failure, Handle, ItemId, LineState, Marketplace,
        Pulled,
        quota::{Seen, Urgency},
        shop::{self, Message, Unsigned},
    },
    config::Secret,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::mpsc};

use crate::fake::{Fake, lately, line_of, pulled, stock};

const SECRET: &str = "whsec_b25lcG9vbC1kZW1vLXNlY3JldC0wMDAwMDAwMDAwMDA=";

async fn fake() -> (Fake, Box<dyn Marketplace>) {
    let fake = Fake::start(Marketplaces::ownstore).await;
    let item = json!({ "itemId": "mug", "name": "머그컵", "units": 500, "price": 12_900, "listPrice": 15_900 });
    fake.does("actions/shop-item", item).await;
    let market = fake.adapter("shop", &[("secret", SECRET)]);
    (fake, market)
}

fn mug() -> ItemId {
    ItemId {
        product: "mug".into(),
        option: None,
    }
}

async fn in_books(fake: &Fake) -> Value {
    fake.books("items").await[0].clone()
}

#[tokio::test]
async fn a_window_is_pulled_page_by_page_and_each_line_once() {
    let (fake, market) = fake().await;
    let line = json!([{ "productId": "mug", "quantity": 1 }]);
    fake.does("orders", json!({ "lines": line, "count": 430 }))
        .await;
    let all = pulled(&*market, lately()).await;
    let keys: BTreeSet<&str> = all
        .iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => line.key.as_str(),
            Pulled::Unreadable { reason, .. } => panic!("unreadable: {reason}"),
        })
        .collect();
    assert_eq!((all.len(), keys.len()), (430, 430));
    assert_eq!(fake.arrived("shop_orders").await, 3);
}

#[tokio::test]
async fn a_line_is_met_as_it_stands_now() {
    let (fake, market) = fake().await;
    let order = fake.order(&mug(), 3).await;
    let line = line_of(&*market, &order).await;
    assert_eq!(line.item, mug());
    assert_eq!((line.state, line.unit_price), (LineState::Paid, 12_900));
    fake.does(&format!("orders/{order}/cancel"), json!({ "quantity": 1 }))
        .await;
    let partly = line_of(&*market, &order).await;
    assert_eq!(
        (partly.state, partly.ordered, partly.cancelled),
        (LineState::Paid, 3, 1)
    );
    assert_eq!(partly.key, line.key);
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    let gone = line_of(&*market, &order).await;
    assert_eq!(
        (gone.state, gone.ordered, gone.cancelled),
        (LineState::Cancelled, 3, 3)
    );
    let shipped = fake.order(&mug(), 1).await;
    fake.does(
        &format!("orders/{shipped}/state"),
        json!({ "state": "shipped" }),
    )
    .await;
    assert_eq!(
        line_of(&*market, &shipped).await.state,
        LineState::Confirmed
    );
}

#[tokio::test]
async fn lines_are_confirmed_together_and_again() {
    let (fake, market) = fake().await;
    let (first, second) = (fake.order(&mug(), 1).await, fake.order(&mug(), 1).await);
    let handles = [
        line_of(&*market, &first).await.handle,
        Handle("of no order".into()),
        line_of(&*market, &second).await.handle,
    ];
    fake.does(&format!("orders/{second}/cancel"), json!({}))
        .await;
    fake.fault(json!({ "on": "shop_confirm", "kind": "close_after_commit" }))
        .await;
    let lost = market.confirm(&handles).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    for _ in 0..2 {
        let answers = market.confirm(&handles).await.expect("answers");
        assert_eq!(
            answers,
            [
                Confirmation::Done,
                Confirmation::Refused("unknown".into()),
                Confirmation::Cancelled
            ]
        );
    }
    assert_eq!(fake.line(&first).await["state"], "confirmed");
}

#[tokio::test]
async fn an_older_number_never_replaces_a_newer_one() {
    let (fake, market) = fake().await;
    market
        .set_stock(&stock(&mug(), 7, 5))
        .await
        .expect("writes");
    // It comes late: there is nothing left to do.
    market
        .set_stock(&stock(&mug(), 90, 4))
        .await
        .expect("is over");
    assert_eq!(in_books(&fake).await["stock"], 7);
    market
        .set_stock(&stock(&mug(), 7, 5))
        .await
        .expect("is so already");
    let other = market.set_stock(&stock(&mug(), 8, 5)).await;
    assert!(matches!(other, Err(Failure::Refused(_))), "{other:?}");
    let read = market
        .read_item(&mug(), Urgency::Sweep)
        .await
        .expect("reads");
    assert_eq!((read.units, read.on_sale), (7, true));
    fake.does(
        "actions/shop-office",
        json!({ "itemId": "mug", "onSale": false }),
    )
    .await;
    let read = market.read_item(&mug(), Urgency::Sweep).await;
    assert!(!read.expect("reads").on_sale);
}

#[tokio::test]
async fn a_stock_write_whose_answer_was_lost_has_no_known_outcome() {
    let (fake, market) = fake().await;
    for (version, kind) in [
        (1, "close_after_commit"),
        (2, "error_after_commit"),
        (3, "timeout_after_commit"),
    ] {
        fake.fault(json!({ "on": "shop_set_stock", "kind": kind, "ms": 20 }))
            .await;
        let write = stock(&mug(), 10 + version, version);
        let lost = market.set_stock(&write).await;
        assert!(matches!(lost, Err(Failure::Unknown(_))), "{kind}: {lost:?}");
        assert_eq!(in_books(&fake).await["stock"], 10 + version, "{kind}");
        market.set_stock(&write).await.expect("is so already");
    }
}

#[tokio::test]
async fn a_price_is_written_and_the_list_price_stays() {
    let (fake, market) = fake().await;
    market.set_price(&mug(), 11_900).await.expect("writes");
    let item = in_books(&fake).await;
    assert_eq!(
        (&item["price"], &item["listPrice"]),
        (&json!(11_900), &json!(15_900))
    );
    let read = market
        .read_item(&mug(), Urgency::Sweep)
        .await
        .expect("reads");
    assert_eq!(read.price.map(|price| price.sale), Some(11_900));
    let free = market.set_price(&mug(), 0).await;
    assert!(matches!(free, Err(Failure::Refused(_))), "{free:?}");
}

#[tokio::test]
async fn units_that_are_sold_out_are_cancelled_once() {
    let (fake, market) = fake().await;
    let order = fake.order(&mug(), 3).await;
    let write = |units| CancelWrite {
        handle: Handle(format!("{order}-1")),
        units,
        reason: CancelReason::SoldOut,
    };
    fake.fault(json!({ "on": "shop_cancel", "kind": "close_after_commit" }))
        .await;
    let lost = market.cancel(&write(2)).await;
    assert!(matches!(lost, Err(Failure::Unknown(_))), "{lost:?}");
    for _ in 0..2 {
        market.cancel(&write(2)).await.expect("is cancelled");
    }
    assert_eq!(fake.line(&order).await["cancelled"], 2);
    fake.does(&format!("orders/{order}/cancel"), json!({}))
        .await;
    market.cancel(&write(1)).await.expect("nothing is left");
    let partly = fake.order(&mug(), 3).await;
    fake.does(&format!("orders/{partly}/cancel"), json!({ "quantity": 1 }))
        .await;
    let write_of = |order: &str, units| CancelWrite {
        handle: Handle(format!("{order}-1")),
        ..write(units)
    };
    let two = write_of(&partly, 2);
    market.cancel(&two).await.expect("is cancelled");
    assert_eq!(
        fake.line(&partly).await["cancelled"],
        2,
        "what its buyer cancelled counts"
    );
    let shipped = fake.order(&mug(), 1).await;
    fake.does(
        &format!("orders/{shipped}/state"),
        json!({ "state": "shipped" }),
    )
    .await;
    let late = market.cancel(&write_of(&shipped, 1)).await;
    assert!(matches!(late, Err(Failure::Refused(_))), "{late:?}");
}

#[tokio::test]
async fn another_secret_is_not_taken_and_the_rate_is_waited_for() {
    let (fake, market) = fake().await;
    market.check().await.expect("is accepted");
    let stranger = fake.adapter("shop", &[("secret", "whsec_AAAA")]);
    for failure in [
        stranger.check().await.map(|_| ()),
        stranger.set_stock(&stock(&mug(), 1, 1)).await,
    ] {
        assert!(
            matches!(failure, Err(Failure::Credentials(_))),
            "{failure:?}"
        );
    }
    fake.fault(json!({ "on": "shop_set_stock", "kind": "rate_limited" }))
        .await;
    let limited = market.set_stock(&stock(&mug(), 1, 1)).await;
    assert!(
        matches!(limited, Err(Failure::Limited { .. })),
        "{limited:?}"
    );
    assert!(matches!(fake.notes.seen().as_slice(), [Seen::Blocked(_)]));
    assert_eq!(in_books(&fake).await["stock"], 500);
}

#[tokio::test]
async fn a_malformed_line_leaves_the_others_and_a_malformed_page_is_asked_for_again() {
    let (fake, market) = fake().await;
    let line = |name: &str, quantity: Value| {
        json!({ "line": name, "order": "S", "item": "mug", "quantity": quantity, "cancelled": 0,
            "unit_price": 12_900, "state": "new", "ordered_at": "2026-11-20T00:58:01Z" })
    };
    let body = json!({ "next_cursor": null, "lines": [
        line("S-1", json!(1)), line("S-2", json!(-1)), line("S-3", json!(3)),
    ] });
    fake.fault(json!({
        "on": "shop_orders", "kind": "garbage_before_commit", "contentType": "application/json", "body": body.to_string(),
    }))
    .await;
    let all = pulled(&*market, lately()).await;
    let seen: Vec<Result<&str, Option<&str>>> = all
        .iter()
        .map(|pulled| match pulled {
            Pulled::Line(line) => Ok(line.key.as_str()),
            Pulled::Unreadable { key, .. } => Err(key.as_deref()),
        })
        .collect();
    assert_eq!(seen, [Ok("S-1"), Err(Some("S-2")), Ok("S-3")]);
    fake.fault(json!({ "on": "shop_orders", "kind": "garbage_before_commit" }))
        .await;
    let failure = market.pull(lately(), None, Urgency::Order).await;
    let is_unreadable = matches!(failure, Err(Failure::Unreadable { .. }));
    assert!(is_unreadable, "{failure:?}");
}

type Hint = (HeaderMap, Bytes);

/// An address of ours that takes hints.
async fn address() -> (String, mpsc::UnboundedReceiver<Hint>) {
    async fn take(
        State(hints): State<mpsc::UnboundedSender<Hint>>,
        headers: HeaderMap,
        body: Bytes,
    ) -> StatusCode {
        hints
            .send((headers, body))
            .map_or(StatusCode::GONE, |()| StatusCode::NO_CONTENT)
    }
    let (sender, hints) = mpsc::unbounded_channel();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!(
        "http://{}/hints/shop",
        listener.local_addr().expect("an address")
    );
    let app = Router::new()
        .route("/hints/shop", post(take))
        .with_state(sender);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, hints)
}

#[tokio::test]
async fn a_hint_is_the_shops_by_its_signature() {
    let (fake, _) = fake().await;
    let (url, mut hints) = address().await;
    fake.does("settings", json!({ "shop": { "hintUrl": url } }))
        .await;
    fake.order(&mug(), 1).await;
    let (headers, body) = hints.recv().await.expect("a hint");
    let header = |name: &str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value.expect("a header").to_owned()
    };
    let (id, timestamp, signature) = (
        header(shop::ID),
        header(shop::TIMESTAMP),
        header(shop::SIGNATURE),
    );
    let message = Message {
        id: &id,
        method: "POST",
        target: "/hints/shop",
        body: &body,
    };
    let verify = |secret: &str, message| {
        shop::verify_hint(&Secret::new(secret), message, &timestamp, &signature)
    };
    assert_eq!(verify(SECRET, message), Ok(()));
    assert_eq!(verify("whsec_AAAA", message), Err(Unsigned::Signature));
    let elsewhere = Message {
        target: "/hints/other",
        ..message
    };
    assert_eq!(verify(SECRET, elsewhere), Err(Unsigned::Signature));
}
