//! Chat and likes: what is let through, how much of it, and what its sender is told.

use std::time::Duration;

use onepool::{
    auth::Role,
    clock,
    room::{
        chat::{CHAT_BURST, CHAT_INTERVAL, LIKES_PER_SECOND},
        socket::MAX_LIKES,
    },
};
use onepool_tests::{RedisServer, Shop, Viewer};
use serde_json::{Value, json};

#[tokio::test]
async fn who_is_refused_is_told_why_and_nobody_else() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (viewer, other) = (
        Viewer::join(&shop, &show, "u1", "c1").await,
        Viewer::join(&shop, &show, "u2", "c2").await,
    );
    shop.moderate(&show, json!({ "action": "words", "words": ["badword"] }))
        .await;
    for (message, code, detail) in [
        ("", "invalid_request", "The message is empty."),
        (" \u{200B}", "invalid_request", "The message is empty."),
        (
            &"가".repeat(201),
            "invalid_request",
            "A message has at most 200 characters.",
        ),
        (
            &"x".repeat(5_000),
            "invalid_request",
            "A message has at most 200 characters.",
        ),
        (
            "a\u{0}b",
            "invalid_request",
            "A message is plain text, without control characters.",
        ),
        (
            "b.a.d Ｗord",
            "forbidden",
            "The message has a word in it that is not allowed in this broadcast.",
        ),
    ] {
        let error = viewer.refused(message).await.expect("is refused");
        assert_eq!(
            (&error["code"], &error["detail"]),
            (&json!(code), &json!(detail))
        );
    }
    viewer.send(json!({ "type": "chat", "message": 7 })).await;
    viewer
        .send(json!({ "type": "chat", "message": { "$ne": null } }))
        .await;
    viewer.send(json!({ "type": "chat" })).await;
    for error in viewer.read() {
        assert_eq!(
            error["detail"],
            "A message is plain text, without control characters."
        );
    }
    for (body, code) in [
        ("not JSON", "invalid_request"),
        (
            "{\"type\":\"chat\",\"message\":\"\\ud800\"}",
            "invalid_request",
        ),
        ("{\"type\":\"dance\"}", "invalid_request"),
        ("", "invalid_request"),
    ] {
        viewer.send_text(body).await;
        assert_eq!(viewer.read()[0]["code"], code, "{body}");
    }
    assert_eq!(
        shop.recent_chat(&show).await,
        [] as [Value; 0],
        "what is refused is in the room"
    );
    assert_eq!(
        viewer.code(&"가".repeat(200)).await,
        None,
        "what was refused was counted"
    );
    assert_eq!(other.pumped("chat").await.len(), 1);
    assert!(other.read().is_empty());
}

#[tokio::test]
async fn a_message_is_data_and_its_sender_is_who_the_token_says() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let markup =
        r#"<script>alert(1)</script> <img src=x onerror="x()"> {"type":"moderation"} '; DROP"#;
    viewer
        .send(json!({
            "type": "chat", "message": markup,
            "user_id": "u9", "name": "사장님", "id": "1", "timestamp": "x", "role": "operator", "host": true,
        }))
        .await;
    let chat = &viewer.pumped("chat").await[0];
    assert_eq!(chat["message"], markup);
    assert_eq!(
        (&chat["user_id"], &chat["name"]),
        (&json!("u1"), &json!("이름"))
    );
    assert_ne!(chat["id"], "1");
    assert_eq!(chat.get("role"), None);
}

#[tokio::test]
async fn personal_data_is_masked_before_anyone_sees_it() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    viewer
        .say("０１０ 1234-5678로 연락 주세요, kim@naver.com 4111 1111 1111 1111")
        .await;
    let shown = "*** ****-****로 연락 주세요, ***@*****.*** **** **** **** ****";
    assert_eq!(viewer.pumped("chat").await[0]["message"], shown);
    assert_eq!(shop.recent_chat(&show).await[0]["message"], shown);
    let mut redis = shop.redis.plain().await;
    let log: redis::Value = redis::cmd("XRANGE")
        .arg(format!("{{demo}}:log:{}", show.broadcast))
        .arg("-")
        .arg("+")
        .query_async(&mut redis)
        .await
        .expect("answers");
    assert!(!format!("{log:?}").contains("1234"), "it is kept somewhere");
}

/// API Gateway may bring two messages of one connection in any order.
#[tokio::test]
async fn who_speaks_before_joining_is_heard_and_gets_nothing_until_then() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let early = Viewer::connect(&shop, &show, ("u1", Role::Viewer), "c1").await;
    early.say("먼저").await;
    shop.pump().await;
    assert!(early.read().is_empty(), "who has not joined gets frames");
    early.send(json!({ "type": "join" })).await;
    assert_eq!(early.read()[0]["recent_chat"][0]["message"], "먼저");
    let nobody = Viewer::behind(&shop, "c9");
    nobody.say("누구").await;
    assert_eq!(
        shop.recent_chat(&show).await.len(),
        1,
        "a connection that never was speaks"
    );
}

#[tokio::test]
async fn a_person_says_so_much_and_no_more_over_however_many_connections() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let again = Viewer::join(&shop, &show, "u1", "c2").await;
    let other = Viewer::join(&shop, &show, "u2", "c3").await;
    let began = std::time::Instant::now();
    let mut said = 0;
    let error = loop {
        let door = if said % 2 == 0 { &viewer } else { &again };
        match door.refused(&said.to_string()).await {
            Some(error) => break error,
            None => said += 1,
        }
        // On a slow machine there is one more an interval.
        let slack = u32::try_from(began.elapsed().as_secs()).expect("not for years");
        assert!(said <= CHAT_BURST + slack, "{said} messages");
    };
    assert!(said >= CHAT_BURST, "{said} messages");
    assert_eq!(
        (&error["code"], &error["detail"], &error["retry_after_s"]),
        (
            &json!("rate_limited"),
            &json!("You are sending too fast. Try again in 1 s."),
            &json!(1)
        )
    );
    assert_eq!(other.code("나도").await, None, "one person stops another");
    clock::put_ahead(CHAT_INTERVAL);
    assert_eq!(
        viewer.code("이제").await,
        None,
        "who waited as long as told is refused"
    );
    let kept = u32::try_from(shop.recent_chat(&show).await.len());
    assert_eq!(kept, Ok(said + 2), "what is refused is in the room");
}

#[tokio::test]
async fn likes_count_so_many_a_message_and_a_person() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let likes = async || {
        shop.room(&show).await["like_count"]
            .as_u64()
            .expect("a number")
    };
    for count in [json!(10_000), json!(u64::MAX)] {
        viewer.send(json!({ "type": "like", "count": count })).await;
    }
    assert_eq!(likes().await, u64::from(2 * MAX_LIKES));
    let began = std::time::Instant::now();
    for _ in 0..100 {
        viewer
            .send(json!({ "type": "like", "count": MAX_LIKES }))
            .await;
    }
    let (a_second, counted) = (u64::from(LIKES_PER_SECOND), likes().await);
    let at_most = a_second * (2 + began.elapsed().as_secs());
    assert!((a_second..=at_most).contains(&counted), "{counted}");
    assert!(
        viewer.read().is_empty(),
        "what is left out is left out in silence"
    );
    let before = likes().await;
    let other = Viewer::join(&shop, &show, "u2", "c2").await;
    other.send(json!({ "type": "like" })).await;
    other.send(json!({ "type": "like", "count": 0 })).await;
    assert_eq!(likes().await, before + 1);
    for count in [json!(-1), json!(1.5), json!("7")] {
        other.send(json!({ "type": "like", "count": count })).await;
        assert_eq!(other.read()[0]["code"], "invalid_request", "{count}");
    }
    clock::put_ahead(Duration::from_secs(1));
    viewer.send(json!({ "type": "like", "count": 3 })).await;
    assert_eq!(likes().await, before + 4);
}

/// The answer to a call may be lost, and the call is made again.
#[tokio::test]
async fn a_call_that_is_repeated_counts_once() {
    let redis = RedisServer::start().await;
    let mut plain = redis.plain().await;
    let _: () = redis::cmd("HSET")
        .arg("{demo}:moderation:b1")
        .arg(&["version", "3", "frozen", "0", "slow_ms", "0", "words", "[]"])
        .query_async(&mut plain)
        .await
        .expect("writes");
    let speak = redis::Script::new(include_str!("../../shared/src/room/chat/speak.lua"));
    let mut said = async |token: &str, now: u64| -> Vec<String> {
        let answer = speak
            .key("{demo}:moderation:b1")
            .key("{demo}:spoken:b1:u1")
            .arg(now)
            .arg("u1")
            .arg(0) // no host
            .arg(3) // version
            .arg(0) // no banned word
            .arg(2) // at once
            .arg(1_000) // ms that bring one more
            .arg(token)
            .invoke_async(&mut plain)
            .await;
        answer.expect("answers")
    };
    for token in ["a", "a", "b", "b"] {
        assert_eq!(said(token, 10_000).await, ["said"]);
    }
    assert_eq!(said("c", 10_000).await, ["fast", "1000"]);
    assert_eq!(said("c", 10_999).await, ["fast", "1"]);
    assert_eq!(said("c", 11_000).await, ["said"]);

    let mut plain = redis.plain().await;
    let like = redis::Script::new(include_str!("../../shared/src/room/chat/like.lua"));
    let mut liked = async |token: &str, now: u64| -> u32 {
        let answer = like
            .key("{demo}:moderation:b1")
            .key("{demo}:liked:b1:u1")
            .arg(now)
            .arg("u1")
            .arg(60) // likes
            .arg(100) // a second
            .arg(token)
            .invoke_async(&mut plain)
            .await;
        answer.expect("answers")
    };
    for (token, now, counted) in [
        ("a", 10_000, 60),
        ("a", 10_000, 60),
        ("b", 10_000, 40),
        ("c", 10_000, 0),
        ("c", 10_100, 10),
    ] {
        assert_eq!(liked(token, now).await, counted, "{token} {now}");
    }
}
