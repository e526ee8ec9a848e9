//! The routes of operators and hosts: catalogue, stock, broadcasts, spotlight, and the fence behind them.

use axum::http::Method;
use onepool::auth::Role;
use onepool_tests::{Fault, Shop, Show};
use serde_json::{Value, json};

async fn sources(shop: &Shop, show: &Show) -> (u64, u64) {
    let view = shop.quiet(&show.product).await;
    let granted = |name: String| {
        let sources = view["stock"]["sources"].as_array().expect("sources");
        sources
            .iter()
            .find(|source| source["source"] == name)
            .and_then(|source| source["granted"].as_u64())
            .unwrap_or(0)
    };
    (
        granted("pool".into()),
        granted(format!("live:{}", show.broadcast)),
    )
}

#[tokio::test]
async fn spotlight_carves_the_units_out_of_the_pool_and_the_end_returns_them() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    assert_eq!(sources(&shop, &show).await, (20, 100));
    let product = format!("/broadcasts/{}/products/p1", show.broadcast);
    let (status, changed) = shop
        .admin(Method::PATCH, &product, None, json!({ "add_quantity": 15 }))
        .await;
    assert_eq!((status, &changed["remaining"]), (200, &json!(115)));
    assert_eq!(sources(&shop, &show).await, (5, 115));
    let (status, problem) = shop
        .admin(Method::PATCH, &product, None, json!({ "add_quantity": 6 }))
        .await;
    assert_eq!(
        (status, &problem["code"], &problem["left"]),
        (409, &json!("insufficient_pool"), &json!(5))
    );
    assert_eq!(
        shop.admin(
            Method::PATCH,
            &product,
            None,
            json!({ "add_quantity": -65 })
        )
        .await
        .1["remaining"],
        50
    );
    assert_eq!(sources(&shop, &show).await, (70, 50));
    let (status, closed) = shop
        .admin(Method::DELETE, &product, None, Value::Null)
        .await;
    assert_eq!((status, &closed["returned"]), (200, &json!(50)));
    assert_eq!(sources(&shop, &show).await, (120, 0));
    let end = format!("/broadcasts/{}/end", show.broadcast);
    for _ in 0..2 {
        assert_eq!(
            shop.admin(Method::POST, &end, None, Value::Null).await.0,
            200
        );
    }
    assert_eq!(sources(&shop, &show).await, (120, 0));
}

#[tokio::test]
async fn a_spotlight_that_asks_for_too_much_is_refused_and_moves_nothing() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let path = format!("/broadcasts/{}/products/spotlight", show.broadcast);
    let body = json!({ "product_id": "p1", "live_price": 1_000, "limited_quantity": 121 });
    let (status, problem) = shop.admin(Method::POST, &path, None, body).await;
    assert_eq!(
        (status, &problem["code"]),
        (409, &json!("insufficient_pool"))
    );
    assert_eq!(sources(&shop, &show).await, (20, 100));
    let (status, _) = shop
        .admin(
            Method::POST,
            &path,
            None,
            json!({ "product_id": "p1", "live_price": 1_000, "limited_quantity": 60 }),
        )
        .await;
    assert_eq!(
        status, 200,
        "on air already: the new terms, and so many units in total"
    );
    assert_eq!(sources(&shop, &show).await, (60, 60));
}

#[tokio::test]
async fn a_repeated_request_with_its_key_is_done_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 50, None).await;
    let stock = "/products/p1/stock";
    for _ in 0..3 {
        assert_eq!(
            shop.admin(
                Method::POST,
                stock,
                Some("add"),
                json!({ "delta": 10, "reason": "입고" })
            )
            .await
            .0,
            200
        );
        assert_eq!(
            shop.admin(
                Method::POST,
                stock,
                Some("take"),
                json!({ "delta": -80, "reason": "파손" })
            )
            .await
            .0,
            200
        );
    }
    assert_eq!(sources(&shop, &show).await, (0, 50));
    let (status, problem) = shop
        .admin(
            Method::POST,
            stock,
            Some("add"),
            json!({ "delta": 11, "reason": "입고" }),
        )
        .await;
    assert_eq!(
        (status, &problem["code"]),
        (422, &json!("idempotency_conflict"))
    );

    let path = format!("/broadcasts/{}/products/p1", show.broadcast);
    assert_eq!(
        shop.admin(
            Method::POST,
            stock,
            Some("more"),
            json!({ "delta": 20, "reason": "입고" })
        )
        .await
        .0,
        200
    );
    let mut made = Vec::new();
    for _ in 0..2 {
        let (status, broadcast) = shop
            .admin(
                Method::POST,
                "/broadcasts",
                Some("plan"),
                json!({ "title": "둘째" }),
            )
            .await;
        assert_eq!(status, 201);
        made.push(broadcast["broadcast_id"].clone());
    }
    assert_eq!(made[0], made[1]);
    assert_eq!(
        shop.admin(
            Method::POST,
            "/broadcasts",
            Some("plan"),
            json!({ "title": "셋째" })
        )
        .await
        .0,
        422
    );
    assert_eq!(
        shop.admin(
            Method::PATCH,
            &path,
            Some("p"),
            json!({ "live_price": 5_000 })
        )
        .await
        .0,
        200
    );
}

#[tokio::test]
async fn stock_cannot_go_below_what_is_taken() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (status, problem) = shop
        .admin(
            Method::POST,
            "/products/p1/stock",
            Some("k"),
            json!({ "delta": -21, "reason": "파손" }),
        )
        .await;
    assert_eq!(
        (status, &problem["code"], &problem["left"]),
        (409, &json!("insufficient_pool"), &json!(20))
    );
    assert_eq!(sources(&shop, &show).await, (20, 100));
}

#[tokio::test]
async fn a_move_that_breaks_off_never_leaves_more_in_the_gate_than_in_the_ledger() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let path = format!("/broadcasts/{}/products/p1", show.broadcast);
    shop.wire.fail("TransactWriteItems", Fault::Refused(500), 2);
    let (status, _) = shop
        .admin(
            Method::PATCH,
            &path,
            Some("less"),
            json!({ "add_quantity": -60 }),
        )
        .await;
    assert_eq!(status, 503);
    let stock = shop
        .gate
        .stock(&show.product, &[&show.source()])
        .await
        .expect("answers")[0]
        .expect("is known");
    assert_eq!(stock.left, 40, "withdrawn, and not yet moved");
    let (status, changed) = shop
        .admin(
            Method::PATCH,
            &path,
            Some("less"),
            json!({ "add_quantity": -60 }),
        )
        .await;
    assert_eq!(
        (status, &changed["remaining"]),
        (200, &json!(40)),
        "the retry goes on with the units that were withdrawn"
    );
    assert_eq!(sources(&shop, &show).await, (80, 40));
}

#[tokio::test]
async fn roles_are_kept_apart() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let b = &show.broadcast;
    let routes = [
        (Method::PUT, "/products/p1".to_owned(), Role::Operator),
        (Method::GET, "/products/p1".to_owned(), Role::Operator),
        (
            Method::POST,
            "/products/p1/stock".to_owned(),
            Role::Operator,
        ),
        (Method::POST, "/broadcasts".to_owned(), Role::Broadcaster),
        (
            Method::POST,
            format!("/broadcasts/{b}/start"),
            Role::Broadcaster,
        ),
        (
            Method::POST,
            format!("/broadcasts/{b}/end"),
            Role::Broadcaster,
        ),
        (
            Method::POST,
            format!("/broadcasts/{b}/products/spotlight"),
            Role::Broadcaster,
        ),
        (
            Method::PATCH,
            format!("/broadcasts/{b}/products/p1"),
            Role::Broadcaster,
        ),
        (
            Method::DELETE,
            format!("/broadcasts/{b}/products/p1"),
            Role::Broadcaster,
        ),
    ];
    for (method, path, needed) in routes {
        for role in [Role::Viewer, Role::Broadcaster]
            .into_iter()
            .filter(|role| *role < needed)
        {
            let token = format!("Bearer {}", shop.token("u1", role));
            let headers = [("authorization", token.as_str()), ("idempotency-key", "k")];
            let (status, problem) = shop
                .admin_raw(method.clone(), &path, headers, String::new())
                .await;
            assert_eq!(
                (status, &problem["code"]),
                (403, &json!("forbidden")),
                "{method} {path} as {role:?}"
            );
        }
        let (status, problem) = shop
            .admin_raw(method.clone(), &path, [], String::new())
            .await;
        assert_eq!(
            (status, &problem["code"]),
            (401, &json!("unauthenticated")),
            "{method} {path}"
        );
    }
    let token = format!("Bearer {}", shop.token("u1", Role::Viewer));
    let (status, room) = shop
        .admin_raw(
            Method::GET,
            &format!("/broadcasts/{b}"),
            [("authorization", token.as_str())],
            String::new(),
        )
        .await;
    assert_eq!(
        (status, &room["products"][0]["remaining"]),
        (200, &json!(100)),
        "a viewer may see the room"
    );
}

#[tokio::test]
async fn bad_requests_are_refused_with_their_reason() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let b = &show.broadcast;
    let spotlight = format!("/broadcasts/{b}/products/spotlight");
    let cases = [
        (
            Method::PUT,
            "/products/p1",
            json!({ "name": "", "list_price": 1 }),
            400,
        ),
        (
            Method::PUT,
            "/products/p1",
            json!({ "name": "x", "list_price": 0 }),
            400,
        ),
        (
            Method::PUT,
            "/products/p1",
            json!({ "name": "x", "list_price": -1 }),
            400,
        ),
        (
            Method::PUT,
            "/products/p1",
            json!({ "name": "x", "list_price": 1.5 }),
            400,
        ),
        (
            Method::PUT,
            "/products/p1",
            json!({ "name": "x", "list_price": 1, "thumbnail_url": "javascript:1" }),
            400,
        ),
        (
            Method::PUT,
            "/products/p%201",
            json!({ "name": "x", "list_price": 1 }),
            400,
        ),
        (Method::GET, "/products/nothing", Value::Null, 404),
        (
            Method::POST,
            "/products/nothing/stock",
            json!({ "delta": 1, "reason": "x" }),
            404,
        ),
        (
            Method::POST,
            "/products/p1/stock",
            json!({ "delta": 0, "reason": "x" }),
            400,
        ),
        (
            Method::POST,
            "/products/p1/stock",
            json!({ "delta": i64::MIN, "reason": "x" }),
            400,
        ),
        (
            Method::POST,
            "/products/p1/stock",
            json!({ "delta": "1", "reason": "x" }),
            400,
        ),
        (
            Method::POST,
            "/products/p1/stock",
            json!({ "delta": 1 }),
            400,
        ),
        (
            Method::POST,
            "/broadcasts",
            json!({ "title": "x", "starts_at": "tomorrow" }),
            400,
        ),
        (Method::POST, "/broadcasts/b9/start", Value::Null, 404),
        (Method::GET, "/broadcasts/b9", Value::Null, 404),
        (
            Method::POST,
            &spotlight,
            json!({ "product_id": "nothing", "live_price": 1, "limited_quantity": 1 }),
            404,
        ),
        (
            Method::POST,
            &spotlight,
            json!({ "product_id": "p1", "live_price": 0, "limited_quantity": 1 }),
            400,
        ),
        (
            Method::POST,
            &spotlight,
            json!({ "product_id": "p1", "live_price": 1, "limited_quantity": 0 }),
            400,
        ),
        (
            Method::POST,
            &spotlight,
            json!({ "product_id": "p1", "live_price": 1, "limited_quantity": 1, "per_viewer_limit": 0 }),
            400,
        ),
        (
            Method::POST,
            &spotlight,
            json!({ "product_id": "p1", "live_price": 1, "limited_quantity": 1, "ends_at": "2020-01-01T00:00:00Z" }),
            400,
        ),
        (Method::GET, "/no/such/route", Value::Null, 404),
    ];
    for (index, (method, path, body, status)) in cases.into_iter().enumerate() {
        let key = format!("key-{index}");
        let answer = shop
            .admin(method.clone(), path, Some(&key), body.clone())
            .await;
        assert_eq!(answer.0, status, "{method} {path} {body}: {}", answer.1);
        assert!(
            answer.1["code"].is_string() && answer.1["detail"].is_string(),
            "{method} {path}: {}",
            answer.1
        );
    }
    let (status, problem) = shop
        .admin(
            Method::POST,
            "/products/p1/stock",
            None,
            json!({ "delta": 1, "reason": "x" }),
        )
        .await;
    assert_eq!(
        (status, &problem["field"]),
        (400, &json!("Idempotency-Key")),
        "a stock change needs a key"
    );
    let large = json!({ "name": "x".repeat(70_000), "list_price": 1 });
    assert_eq!(
        shop.admin(Method::PUT, "/products/p1", None, large).await.0,
        400
    );
    assert_eq!(sources(&shop, &show).await, (20, 100));
}
