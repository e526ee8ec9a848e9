//! The routes of operators and hosts: catalogue, stock, broadcasts, spotlight, and the fence behind them.

use std::time::Duration;

use axum::http::Method;
use onepool::auth::Role;
use onepool_tests::{Fault, Shop, Show, billing_key};
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

fn product_path(show: &Show) -> String {
    format!("/broadcasts/{}/products/{}", show.broadcast, show.product)
}

fn spotlight_path(show: &Show) -> String {
    format!("/broadcasts/{}/products/spotlight", show.broadcast)
}

fn terms(units: u64) -> Value {
    json!({ "product_id": "p1", "live_price": 10_000, "limited_quantity": units })
}

async fn room(shop: &Shop, show: &Show) -> Value {
    let path = format!("/broadcasts/{}", show.broadcast);
    shop.admin(Method::GET, &path, None, Value::Null).await.1
}

#[tokio::test]
async fn the_same_key_gets_the_same_answer_whatever_happened_since() {
    let shop = Shop::open().await;
    let show = shop.show(200, 100, None).await;
    let path = product_path(&show);
    let history = [
        (Method::PATCH, path.clone(), json!({ "add_quantity": 15 })),
        (Method::PATCH, path.clone(), json!({ "add_quantity": 500 })),
        (Method::PATCH, path.clone(), json!({ "live_price": 9_000 })),
        (Method::POST, spotlight_path(&show), terms(80)),
        (Method::DELETE, path.clone(), Value::Null),
        (Method::PATCH, path.clone(), json!({ "paused": true })),
        (
            Method::POST,
            "/products/p1/stock".to_owned(),
            json!({ "delta": -20, "reason": "파손" }),
        ),
    ];
    let mut answers = Vec::new();
    for (index, (method, path, body)) in history.iter().enumerate() {
        let key = format!("key-{index}");
        answers.push(
            shop.admin(method.clone(), path, Some(&key), body.clone())
                .await,
        );
    }
    let statuses: Vec<u16> = answers.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 409, 200, 200, 200, 409, 200]);
    assert_eq!(answers[0].1["limited_quantity"], 115);
    assert_eq!(answers[4].1["returned"], 80);
    let work = || shop.wire.calls("GetItem") + shop.wire.calls("TransactWriteItems");
    let done = work();
    for (index, (method, path, body)) in history.iter().enumerate().rev() {
        let key = format!("key-{index}");
        assert_eq!(
            shop.admin(method.clone(), path, Some(&key), body.clone())
                .await,
            answers[index],
            "{method} {path} {body}"
        );
    }
    assert_eq!(work(), done, "a repeat is answered, not done again");
    assert_eq!(sources(&shop, &show).await, (180, 0));
    assert_eq!(
        room(&shop, &show).await["products"],
        json!([]),
        "on air again"
    );
}

#[tokio::test]
async fn what_broke_off_before_its_answer_was_kept_is_finished_once() {
    let shop = Shop::open().await;
    let show = shop.show(200, 100, None).await;
    let path = product_path(&show);
    let more = json!({ "add_quantity": 15 });
    tokio::time::sleep(Duration::from_millis(150)).await;
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    let (status, problem) = shop
        .admin(Method::PATCH, &path, Some("more"), more.clone())
        .await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    for _ in 0..2 {
        let (status, changed) = shop
            .admin(Method::PATCH, &path, Some("more"), more.clone())
            .await;
        assert_eq!((status, &changed["limited_quantity"]), (200, &json!(115)));
    }
    assert_eq!(sources(&shop, &show).await, (85, 115));

    tokio::time::sleep(Duration::from_millis(150)).await;
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    let (status, _) = shop
        .admin(Method::DELETE, &path, Some("close"), Value::Null)
        .await;
    assert_eq!(status, 503);
    let (_, on_air) = shop
        .admin(
            Method::POST,
            &spotlight_path(&show),
            Some("again"),
            terms(30),
        )
        .await;
    assert_eq!(on_air["remaining"], 30);
    let (status, closed) = shop
        .admin(Method::DELETE, &path, Some("close"), Value::Null)
        .await;
    assert_eq!(
        (status, &closed["returned"]),
        (200, &json!(115)),
        "what this request returned, not what is on air since"
    );
    assert_eq!(sources(&shop, &show).await, (170, 30));

    tokio::time::sleep(Duration::from_millis(150)).await;
    shop.wire.fail("SendMessage", Fault::Refused(400), 1);
    for status in [503, 200] {
        let answer = shop
            .admin(Method::DELETE, &path, Some("close-2"), Value::Null)
            .await;
        assert_eq!(answer.0, status);
        assert!(status == 503 || answer.1["returned"] == 30, "{}", answer.1);
    }
    assert_eq!(sources(&shop, &show).await, (200, 0));
}

#[tokio::test]
async fn changes_at_once_all_count() {
    let shop = Shop::open().await;
    let show = shop.show(200, 100, None).await;
    let path = product_path(&show);
    let changes = (0..4).map(|n| {
        let (shop, path) = (&shop, &path);
        async move {
            let key = format!("more-{n}");
            let more = json!({ "add_quantity": 5 });
            for _ in 0..20 {
                let answer = shop
                    .admin(Method::PATCH, path, Some(&key), more.clone())
                    .await;
                if answer.0 != 503 {
                    return answer.0;
                }
            }
            503
        }
    });
    assert_eq!(futures::future::join_all(changes).await, [200; 4]);
    let (_, changed) = shop
        .admin(Method::PATCH, &path, None, json!({ "live_price": 5 }))
        .await;
    assert_eq!(
        (&changed["limited_quantity"], &changed["remaining"]),
        (&json!(120), &json!(120))
    );
    let more = json!({ "add_quantity": 5 });
    let same = || shop.admin(Method::PATCH, &path, Some("same"), more.clone());
    let (one, other) = tokio::join!(same(), same());
    assert!([200, 503].contains(&one.0) && [200, 503].contains(&other.0));
    assert_eq!(
        same().await.1["limited_quantity"],
        125,
        "the same key twice at once"
    );
    assert_eq!(sources(&shop, &show).await, (75, 125));
}

#[tokio::test]
async fn a_spotlight_that_broke_off_and_is_asked_again_has_what_was_asked() {
    let shop = Shop::open().await;
    let show = shop.show(200, 50, None).await;
    assert_eq!(
        shop.order(&show, "u1", "k", json!(3), billing_key("bk"))
            .await
            .0,
        202
    );
    shop.process(10, 2).await;
    let path = product_path(&show);
    shop.admin(Method::DELETE, &path, None, Value::Null).await;
    assert_eq!(sources(&shop, &show).await, (197, 3));
    shop.wire.fail("TransactWriteItems", Fault::AnswerLost, 2);
    let spotlight = spotlight_path(&show);
    let (status, _) = shop
        .admin(Method::POST, &spotlight, Some("one"), terms(50))
        .await;
    assert_eq!(status, 503);
    let (status, answer) = shop
        .admin(Method::POST, &spotlight, Some("two"), terms(40))
        .await;
    assert_eq!(
        (status, &answer["remaining"]),
        (200, &json!(40)),
        "{answer}"
    );
    assert_eq!(sources(&shop, &show).await, (157, 43));
}

#[tokio::test]
async fn nothing_is_on_air_after_the_end() {
    let shop = Shop::open().await;
    let mut show = shop.show(2_000, 50, None).await;
    for round in 0..25_u64 {
        let end = format!("/broadcasts/{}/end", show.broadcast);
        let (path, product) = (spotlight_path(&show), product_path(&show));
        shop.admin(Method::PATCH, &product, None, json!({ "paused": true }))
            .await;
        let (ended, _, _) = tokio::join!(
            async {
                tokio::time::sleep(Duration::from_micros(round * 400)).await;
                shop.admin(Method::POST, &end, None, Value::Null).await
            },
            shop.admin(Method::POST, &path, None, terms(60)),
            shop.admin(Method::PATCH, &product, None, json!({ "paused": false })),
        );
        assert_eq!(ended.0, 200);
        let (status, problem) = shop
            .order(&show, "u1", "k", json!(1), billing_key("bk"))
            .await;
        assert_eq!(
            (status, &problem["code"]),
            (409, &json!("not_on_air")),
            "round {round}"
        );
        assert_eq!(sources(&shop, &show).await, (2_000, 0), "round {round}");
        assert_eq!(room(&shop, &show).await["products"], json!([]));

        let plan = json!({ "title": "다음 방송" });
        let (_, next) = shop.admin(Method::POST, "/broadcasts", None, plan).await;
        show.broadcast = next["broadcast_id"]
            .as_str()
            .and_then(|id| id.parse().ok())
            .expect("an id");
        let start = format!("/broadcasts/{}/start", show.broadcast);
        shop.admin(Method::POST, &start, None, Value::Null).await;
        let (status, _) = shop
            .admin(Method::POST, &spotlight_path(&show), None, terms(50))
            .await;
        assert_eq!(status, 200);
    }
}

#[tokio::test]
async fn an_older_change_of_the_terms_never_replaces_a_newer_one() {
    let shop = Shop::open().await;
    let show = shop.show(200, 100, None).await;
    let terms = |live_price| onepool::stock::Terms {
        live_price,
        per_viewer_limit: None,
        from: onepool::clock::Timestamp::from_millis(0),
        until: onepool::clock::Timestamp::NEVER,
    };
    for (change, newest) in [(9, true), (8, false), (9, true), (10, true), (1, false)] {
        let taken = shop
            .gate
            .air(&show.source(), &show.product, &terms(change), change)
            .await;
        assert_eq!(taken.expect("answers"), newest, "change {change}");
    }
    let (status, receipt) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!((status, &receipt["amount"]), (202, &json!(10)));
}

#[tokio::test]
async fn a_room_that_redis_forgot_says_what_remains() {
    let mut shop = Shop::open().await;
    let show = shop.show(200, 100, None).await;
    shop.redis.kill_and_restart().await;
    let seen = room(&shop, &show).await;
    assert_eq!(seen["products"][0]["remaining"], 100, "{seen}");
    assert!(seen["products"][0]["version"].is_u64(), "{seen}");
    let (status, _) = shop
        .order(&show, "u1", "k", json!(1), billing_key("bk"))
        .await;
    assert_eq!(status, 202);
}

#[tokio::test]
async fn whatever_is_wrong_the_answer_is_a_problem_in_the_readers_language() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let plan = json!({ "title": "둘째" });
    let (_, planned) = shop.admin(Method::POST, "/broadcasts", None, plan).await;
    let planned = format!(
        "/broadcasts/{}",
        planned["broadcast_id"].as_str().expect("an id")
    );
    let end = format!("/broadcasts/{}/end", show.broadcast);
    let start = format!("/broadcasts/{}/start", show.broadcast);
    shop.admin(Method::POST, &end, None, Value::Null).await;
    let token = format!("Bearer {}", shop.token("o1", Role::Operator));
    let cases = [
        (Method::GET, "/products/%FF".to_owned(), 404, "not_found"),
        (
            Method::DELETE,
            "/broadcasts/b1/products/%FF".to_owned(),
            404,
            "not_found",
        ),
        (Method::DELETE, "/products/p1".to_owned(), 404, "not_found"),
        (Method::POST, start, 409, "not_on_air"),
        (
            Method::POST,
            format!("{planned}/products/spotlight"),
            409,
            "not_on_air",
        ),
        (Method::POST, spotlight_path(&show), 409, "not_on_air"),
        (
            Method::PUT,
            "/products/p1".to_owned(),
            400,
            "invalid_request",
        ),
    ];
    for (method, path, status, code) in cases {
        for language in ["ko", "en"] {
            let headers = [
                ("authorization", token.as_str()),
                ("accept-language", language),
            ];
            let answer = shop
                .admin_raw(method.clone(), &path, headers, terms(1).to_string())
                .await;
            assert_eq!(
                (answer.0, &answer.1["code"]),
                (status, &json!(code)),
                "{method} {path}"
            );
            let detail = answer.1["detail"].as_str().expect("a detail");
            let korean = detail.chars().any(|c| ('가'..='힣').contains(&c));
            assert_eq!(korean, language == "ko", "{detail}");
            assert!(!detail.contains("expected"), "{detail}");
        }
    }
}

#[tokio::test]
async fn units_that_are_held_cannot_be_withdrawn_whoever_races() {
    let shop = Shop::open().await;
    let show = shop.show(200, 60, None).await;
    let path = product_path(&show);
    let (status, _) = shop
        .order(&show, "early", "k", json!(10), billing_key("bk"))
        .await;
    assert_eq!(status, 202);
    let (status, problem) = shop
        .admin(Method::PATCH, &path, None, json!({ "add_quantity": -51 }))
        .await;
    assert_eq!(
        (status, &problem["code"], &problem["left"]),
        (409, &json!("insufficient_pool"), &json!(50)),
        "held, though not in the ledger yet"
    );
    let orders = async {
        let orders = (0..80).map(|n| {
            let (shop, show) = (&shop, &show);
            async move {
                let viewer = format!("u{n}");
                shop.order(show, &viewer, "k", json!(1), billing_key("bk"))
                    .await
                    .0
            }
        });
        futures::future::join_all(orders).await
    };
    let withdrawals = async {
        let mut withdrawn = 0;
        for n in 0..20 {
            let (key, change) = (format!("less-{n}"), json!({ "add_quantity": -2 }));
            let (status, _) = shop.admin(Method::PATCH, &path, Some(&key), change).await;
            assert!([200, 409, 503].contains(&status), "{status}");
            withdrawn += if status == 200 { 2 } else { 0 };
        }
        withdrawn
    };
    let (statuses, withdrawn) = tokio::join!(orders, withdrawals);
    let accepted = statuses.iter().filter(|status| **status == 202).count() as u64;
    assert!(accepted + withdrawn <= 50, "{accepted} + {withdrawn}");
    shop.process(10, 5).await;
    assert_eq!(
        sources(&shop, &show).await,
        (140 + withdrawn, 60 - withdrawn)
    );
    let sold = shop.quiet(&show.product).await["stock"]["sold"].clone();
    assert_eq!(sold, accepted + 10, "an accepted order found its units");
}

#[tokio::test]
async fn any_history_of_the_studio_keeps_every_unit() {
    let seed = std::env::var("ONEPOOL_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..));
    println!("ONEPOOL_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..2 {
        let shop = Shop::open().await;
        let show = shop.show(100, 30, None).await;
        let mut brought_in = 100_i64;
        let mut history = Vec::<(Method, String, String, Value, (u16, Value))>::new();
        for step in 0..40 {
            let units = random.i64(-40..40);
            let call = match random.u8(0..9) {
                0 | 1 => (
                    Method::POST,
                    "/products/p1/stock".to_owned(),
                    json!({ "delta": units, "reason": "조정" }),
                ),
                2 | 3 => (
                    Method::POST,
                    spotlight_path(&show),
                    terms(units.unsigned_abs() + 1),
                ),
                4 | 5 => (
                    Method::PATCH,
                    product_path(&show),
                    json!({ "add_quantity": units }),
                ),
                6 => (Method::DELETE, product_path(&show), Value::Null),
                7 if step > 30 => (
                    Method::POST,
                    format!("/broadcasts/{}/end", show.broadcast),
                    Value::Null,
                ),
                _ => {
                    let place = random.usize(0..history.len().max(1));
                    if let Some((method, path, key, body, answer)) = history.get(place) {
                        let again = shop.admin(method.clone(), path, Some(key), body.clone());
                        assert_eq!(again.await, *answer, "{method} {path} {body}");
                    }
                    continue;
                }
            };
            let (method, path, body) = call;
            let key = format!("key-{step}");
            if random.u8(0..3) == 0 {
                let name = ["TransactWriteItems", "PutItem", "GetItem"][random.usize(0..3)];
                let fault = [Fault::Refused(500), Fault::AnswerLost][random.usize(0..2)];
                shop.wire.fail(name, fault, random.usize(1..4));
            }
            let mut answer = shop
                .admin(method.clone(), &path, Some(&key), body.clone())
                .await;
            // A request that was not answered comes again: its client does not know what became of it.
            for _ in 0..5 {
                if answer.0 != 503 {
                    break;
                }
                answer = shop
                    .admin(method.clone(), &path, Some(&key), body.clone())
                    .await;
            }
            assert_ne!(answer.0, 503, "{method} {path} {body}");
            if answer.0 == 200 && path.ends_with("/stock") {
                brought_in += units;
            }
            if answer.0 == 200 && path.ends_with("/spotlight") {
                assert_eq!(answer.1["remaining"], answer.1["limited_quantity"]);
            }
            history.push((method, path, key, body, answer));
        }
        // What faults were left over meet a last request, then all is quiet.
        for _ in 0..20 {
            shop.admin(Method::DELETE, &product_path(&show), None, Value::Null)
                .await;
            shop.admin(Method::GET, "/products/p1", None, Value::Null)
                .await;
        }
        let (pool, live) = sources(&shop, &show).await;
        assert_eq!(i64::try_from(pool + live), Ok(brought_in), "{history:?}");
        assert_eq!(live, 0, "off air, nothing is left in the fence");
    }
}
