//! What operators do with channels: listings with their distribution and price policy, and how the channels are.

use axum::http::Method;
use onepool::{
    auth::Role,
    channel::{ItemId, listing::Distribution},
    stock::Source,
};
use onepool_tests::{Fault, Shop};
use serde_json::{Value, json};

/// A shop with so many units of `mug`, which the own store sells at 12,900 won.
async fn shop(units: u64) -> Shop {
    let shop = Shop::open().await;
    let product = json!({ "name": "머그", "list_price": 12_900 });
    let (status, _) = shop
        .admin(Method::PUT, "/products/mug", None, product)
        .await;
    assert_eq!(status, 200);
    let stock = json!({ "delta": units, "reason": "입고" });
    let (status, _) = shop
        .admin(Method::POST, "/products/mug/stock", Some("s"), stock)
        .await;
    assert_eq!(status, 200);
    shop
}

fn body(item: &str, distribution: Value) -> Value {
    json!({ "channel_product_id": item, "distribution": distribution, "price": 12_900, "price_policy": "list" })
}

async fn list(shop: &Shop, channel: &str, body: Value) -> (u16, Value) {
    let path = format!("/products/mug/listings/{channel}");
    shop.admin(Method::PUT, &path, None, body).await
}

async fn unsold(shop: &Shop, source: Source) -> i64 {
    let product = "mug".parse().expect("an id");
    let row = shop.ledger.stock_row(&product, &source).await;
    row.expect("answers").map_or(0, |row| row.unsold)
}

#[tokio::test]
async fn a_listing_shows_the_pool_less_its_buffer_or_its_share_and_can_be_switched() {
    let shop = shop(100).await;
    let shared = |buffer: Value| json!({ "mode": "shared", "buffer": buffer });
    for (distribution, units, pool, share) in [
        (shared(json!({ "units": 3 })), 97, 100, 0),
        (shared(json!({ "percent": 10 })), 90, 100, 0),
        (json!({ "mode": "fixed", "units": 30 }), 30, 70, 30),
        (json!({ "mode": "fixed", "units": 40 }), 40, 60, 40),
        (json!({ "mode": "fixed", "units": 10 }), 10, 90, 10),
        (json!({ "mode": "shared" }), 100, 100, 0),
    ] {
        let (status, view) = list(&shop, "coupang", body("3000000001", distribution)).await;
        assert_eq!((status, &view["units"]), (200, &json!(units)), "{view}");
        let coupang = Source::Channel("coupang".into());
        assert_eq!(
            (
                unsold(&shop, Source::Pool).await,
                unsold(&shop, coupang).await
            ),
            (pool, share),
            "{view}"
        );
    }
}

#[tokio::test]
async fn a_share_larger_than_the_pool_is_refused_and_moves_nothing() {
    let shop = shop(5).await;
    let fixed = json!({ "mode": "fixed", "units": 6 });
    let (status, problem) = list(&shop, "coupang", body("1", fixed)).await;
    assert_eq!(
        (status, &problem["code"], &problem["left"]),
        (409, &json!("insufficient_pool"), &json!(5))
    );
    assert_eq!(unsold(&shop, Source::Pool).await, 5);
}

#[tokio::test]
async fn a_lowest_price_below_the_own_stores_is_refused_with_the_floor() {
    let shop = shop(5).await;
    let mut lowest = body("1", json!({ "mode": "shared" }));
    lowest["price_policy"] = json!("lowest");
    lowest["price"] = json!(12_899);
    let (status, problem) = list(&shop, "coupang", lowest.clone()).await;
    assert_eq!(
        (status, &problem["code"], &problem["floor"]),
        (422, &json!("price_below_own_store"), &json!(12_900))
    );
    lowest["price"] = json!(12_900);
    assert_eq!(list(&shop, "coupang", lowest.clone()).await.0, 200);
    lowest["price"] = json!(9_900);
    lowest["price_policy"] = json!("promotion");
    assert_eq!(list(&shop, "coupang", lowest).await.0, 200);
}

#[tokio::test]
async fn one_item_of_a_channel_is_one_product() {
    let shop = shop(5).await;
    assert_eq!(
        list(&shop, "coupang", body("1", json!({ "mode": "shared" })))
            .await
            .0,
        200
    );
    let other = json!({ "name": "컵", "list_price": 1_000 });
    assert_eq!(
        shop.admin(Method::PUT, "/products/cup", None, other)
            .await
            .0,
        200
    );
    let put = async |item: &str, distribution: Value| {
        shop.admin(
            Method::PUT,
            "/products/cup/listings/coupang",
            None,
            body(item, distribution),
        )
        .await
    };
    let (status, problem) = put("1", json!({ "mode": "shared" })).await;
    assert_eq!(
        (status, &problem["field"]),
        (400, &json!("channel_product_id")),
        "{problem}"
    );
    assert_eq!(put("2", json!({ "mode": "shared" })).await.0, 200);
    // An item that its product has left is free.
    assert_eq!(
        list(&shop, "coupang", body("3", json!({ "mode": "shared" })))
            .await
            .0,
        200
    );
    assert_eq!(put("1", json!({ "mode": "shared" })).await.0, 200);
    // The same item on another channel is another one.
    assert_eq!(
        list(&shop, "smartstore", body("1", json!({ "mode": "shared" })))
            .await
            .0,
        200
    );
}

/// What two who race for an item are answered, and what the catalogue says of it then.
async fn race(shop: &Shop, item: &str, distribution: &Value) {
    let put = |product: &str| {
        let path = format!("/products/{product}/listings/coupang");
        let body = body(item, distribution.clone());
        async move { shop.admin(Method::PUT, &path, None, body).await }
    };
    let ((mug, said_mug), (cup, said_cup)) = tokio::join!(put("mug"), put("cup"));
    let (winner, problem) = match (mug, cup) {
        (200, 400) => ("mug", said_cup),
        (400, 200) => ("cup", said_mug),
        _ => panic!("{item}: {mug} {said_mug}, {cup} {said_cup}"),
    };
    assert_eq!(
        (&problem["code"], &problem["field"]),
        (&json!("invalid_request"), &json!("channel_product_id")),
        "{item}: {problem}"
    );
    let named = ItemId {
        product: item.to_owned(),
        option: None,
    };
    let items = [named.clone()];
    let owner = shop.catalog.products_of("coupang", &items).await;
    let owner = owner.expect("answers").remove(&named).expect("it has one");
    assert_eq!(owner.as_str(), winner, "{item}");
    for product in ["mug", "cup"] {
        let id = product.parse().expect("an id");
        let offers = shop.catalog.offers(&id).await.expect("answers");
        let listed = offers.on("coupang").map(|(listing, _)| &listing.item);
        assert_eq!(
            listed == Some(&named),
            product == winner,
            "{item}: {listed:?}"
        );
    }
}

#[tokio::test]
async fn of_two_who_list_an_item_at_once_one_has_it_and_the_other_is_told() {
    let shop = shop(100).await;
    let cup = json!({ "name": "컵", "list_price": 12_900 });
    let (status, _) = shop.admin(Method::PUT, "/products/cup", None, cup).await;
    assert_eq!(status, 200);
    let stock = json!({ "delta": 100, "reason": "입고" });
    let put = shop.admin(Method::POST, "/products/cup/stock", Some("cup"), stock);
    assert_eq!(put.await.0, 200);
    for round in 0..40_usize {
        // Whoever does not get it keeps the units of its share where they were.
        let distribution = if round % 2 == 0 {
            json!({ "mode": "shared" })
        } else {
            json!({ "mode": "fixed", "units": 1 + round })
        };
        // In another database two transactions on one item cancel each other.
        let conflicts = round % 3;
        let fault = Fault::TransactionConflict;
        shop.wire.fail("TransactWriteItems", fault, conflicts);
        race(&shop, &format!("item-{round}"), &distribution).await;
        shop.wire.calm();
        for product in ["mug", "cup"] {
            let id = product.parse().expect("an id");
            let row = async |source| {
                let row = shop.ledger.stock_row(&id, &source).await;
                row.expect("answers").map_or(0, |row| row.unsold)
            };
            let share = row(Source::Channel("coupang".into())).await;
            let offers = shop.catalog.offers(&id).await.expect("answers");
            let wanted = match offers
                .on("coupang")
                .map(|(listing, _)| listing.distribution)
            {
                Some(Distribution::Fixed { units }) => i64::try_from(units).expect("few"),
                Some(Distribution::Shared { .. }) | None => 0,
            };
            assert_eq!(
                (share, row(Source::Pool).await),
                (wanted, 100 - wanted),
                "{product} in round {round}"
            );
        }
    }
}

#[tokio::test]
async fn bad_listings_are_refused_with_their_field_and_move_nothing() {
    let shop = shop(5).await;
    let good = body("1", json!({ "mode": "shared" }));
    let with = |field: &str, value: Value| {
        let mut body = good.clone();
        body[field] = value;
        body
    };
    for bad in [
        with("price", json!(0)),
        with("price", json!(-1)),
        with("price", json!(1.5)),
        with("price", json!(2_000_000_000_000_u64)),
        with("price_policy", json!("cheapest")),
        with("channel_product_id", json!("")),
        with("channel_product_id", json!("a b")),
        with("channel_option_id", json!("x".repeat(65))),
        with(
            "distribution",
            json!({ "mode": "shared", "buffer": { "percent": 101 } }),
        ),
        with(
            "distribution",
            json!({ "mode": "shared", "buffer": { "percent": -1 } }),
        ),
        with(
            "distribution",
            json!({ "mode": "shared", "buffer": { "units": 99_999_999_999_u64 } }),
        ),
        with(
            "distribution",
            json!({ "mode": "shared", "buffer": { "units": 1, "percent": 1 } }),
        ),
        with("distribution", json!({ "mode": "fixed" })),
        with("distribution", json!({ "mode": "split" })),
        json!({}),
        json!(null),
    ] {
        let (status, problem) = list(&shop, "coupang", bad.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (400, &json!("invalid_request")),
            "{bad}"
        );
    }
    for (path, body) in [
        ("/products/mug/listings/amazon", &good),
        ("/products/none/listings/coupang", &good),
    ] {
        let (status, problem) = shop.admin(Method::PUT, path, None, body.clone()).await;
        assert_eq!(
            (status, &problem["code"]),
            (404, &json!("not_found")),
            "{path}"
        );
    }
    for path in ["/channels/amazon/pull", "/channels/amazon/resync"] {
        assert_eq!(
            shop.admin(Method::POST, path, None, Value::Null).await.0,
            404
        );
    }
    assert_eq!(
        shop.admin(
            Method::POST,
            "/channels/coupang/resync?dry_run=perhaps",
            None,
            Value::Null
        )
        .await
        .0,
        400
    );
    assert_eq!(unsold(&shop, Source::Pool).await, 5);
}

#[tokio::test]
async fn only_operators_see_and_move_channels() {
    let shop = shop(5).await;
    for role in [Role::Viewer, Role::Broadcaster] {
        let token = format!("Bearer {}", shop.token("u1", role));
        for (method, path) in [
            (Method::GET, "/channels"),
            (Method::POST, "/channels/coupang/pull"),
            (Method::POST, "/channels/coupang/resync"),
            (Method::PUT, "/products/mug/listings/coupang"),
        ] {
            let headers = [("authorization", token.as_str())];
            let body = body("1", json!({ "mode": "shared" })).to_string();
            let (status, _) = shop.admin_raw(method, path, headers, body).await;
            assert_eq!(status, 403, "{role:?} {path}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_shows_what_differs_and_the_real_one_has_it_put_right() {
    let shop = shop(5).await;
    assert_eq!(
        list(&shop, "coupang", body("1", json!({ "mode": "shared" })))
            .await
            .0,
        200
    );
    drop(shop.wire.take_messages("channels"));
    let resync = async |path: &str| shop.admin(Method::POST, path, None, Value::Null).await;
    let (status, answer) = resync("/channels/coupang/resync?dry_run=true").await;
    assert_eq!(
        (
            status,
            &answer["differences"][0]["product_id"],
            &answer["differences"][0]["units"]
        ),
        (200, &json!("mug"), &json!(5)),
        "{answer}"
    );
    let wakes = shop.wire.take_messages("channels");
    assert!(
        wakes.len() == 1 && wakes[0].starts_with(r#"{"kind":"look","channel":"coupang","#),
        "a dry run only looks: {wakes:?}"
    );
    let (_, answer) = resync("/channels/coupang/resync").await;
    assert_eq!(answer["complete"], true);
    let wakes = shop.wire.take_messages("channels");
    assert_eq!(wakes, [r#"{"kind":"sweep","channel":"coupang"}"#]);
    let (_, channels) = shop
        .admin(Method::GET, "/channels", None, Value::Null)
        .await;
    let named: Vec<_> = channels["channels"]
        .as_array()
        .expect("channels")
        .iter()
        .map(|channel| (channel["channel"].clone(), channel["circuit"].clone()))
        .collect();
    assert_eq!(named.len(), 4);
    assert!(named.iter().all(|(_, circuit)| circuit == "closed"));
    let pull = shop
        .admin(Method::POST, "/channels/coupang/pull", None, Value::Null)
        .await;
    assert_eq!(pull.0, 202);
    assert_eq!(
        shop.wire.take_messages("pulls"),
        [r#"{"channel":"coupang"}"#]
    );
}
