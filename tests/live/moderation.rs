//! Moderation: what a host does about the chat, that it holds for all, and that it outlives Redis.

use std::time::Duration;

use axum::http::Method;
use onepool::{
    auth::Role,
    broadcast::{
        Request, Studio,
        moderation::{MAX_BANS, MAX_REASON, MAX_SLOW_MODE},
    },
    catalog::{Ban, Moderation},
    clock,
    error::Language,
    room::{
        chat::words::{MAX_WORD, MAX_WORDS},
        post::Post,
    },
};
use onepool_tests::{Fault, Shop, Show, Viewer};
use serde_json::{Value, json};

/// What answers the moderation route, without the route.
fn studio(shop: &Shop) -> Studio {
    Studio {
        catalog: shop.sockets.catalog.clone(),
        fence: shop.sockets.fence.clone(),
        rooms: shop.rooms.clone(),
        post: Post::new(shop.wire.aws(), shop.wire.callback_url()),
        shrink: shop.shrink(Duration::ZERO),
    }
}

#[tokio::test]
async fn in_slow_mode_everyone_waits_but_the_host() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let host = Viewer::connect(&shop, &show, ("host", Role::Broadcaster), "c2").await;
    let state = shop
        .moderate(&show, json!({ "action": "slow_mode", "seconds": 30 }))
        .await;
    assert_eq!(state["slow_mode_s"], 30);
    let told = viewer.pumped("moderation").await;
    assert_eq!(
        told,
        [json!({ "type": "moderation", "action": "slow_mode", "target": 30 })]
    );
    assert_eq!(viewer.code("1").await, None);
    let error = viewer.refused("2").await.expect("is refused");
    let wait = error["retry_after_s"].as_u64().expect("seconds");
    assert!((20..=30).contains(&wait), "{error}");
    assert_eq!(error["code"], "rate_limited");
    assert_eq!(
        error["detail"],
        format!("The chat is in slow mode. Try again in {wait} s.")
    );
    for message in ["1", "2"] {
        assert_eq!(host.code(message).await, None);
    }
    clock::put_ahead(Duration::from_secs(30));
    assert_eq!(viewer.code("2").await, None);
    shop.moderate(&show, json!({ "action": "slow_mode", "seconds": 0 }))
        .await;
    assert_eq!(viewer.code("3").await, None);
}

#[tokio::test]
async fn in_a_frozen_room_only_the_host_speaks() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let host = Viewer::connect(&shop, &show, ("host", Role::Broadcaster), "c2").await;
    assert_eq!(
        shop.moderate(&show, json!({ "action": "freeze" })).await["frozen"],
        true
    );
    let error = viewer.refused("들려요?").await.expect("is refused");
    assert_eq!(
        (&error["code"], &error["detail"]),
        (&json!("forbidden"), &json!("The host has frozen the chat."))
    );
    assert_eq!(host.code("공지").await, None);
    assert_eq!(viewer.pumped("chat").await.len(), 1);
    let newcomer = Viewer::connect(&shop, &show, ("u2", Role::Viewer), "c3").await;
    newcomer.send(json!({ "type": "join" })).await;
    assert_eq!(newcomer.read()[0]["frozen"], true);
    shop.moderate(&show, json!({ "action": "unfreeze" })).await;
    assert_eq!(viewer.code("네").await, None);
}

#[tokio::test]
async fn a_deleted_message_is_gone_for_who_comes_and_who_comes_back() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let seen = shop.room(&show).await["seq"].clone();
    for message in ["1", "지워질 말", "3"] {
        viewer.say(message).await;
    }
    let id = shop.recent_chat(&show).await[1]["id"].clone();
    shop.moderate(&show, json!({ "action": "pin", "message_id": id }))
        .await;
    let delete = json!({ "action": "delete", "message_id": id });
    for _ in 0..2 {
        assert_eq!(
            shop.moderate(&show, delete.clone()).await["pinned"],
            Value::Null
        );
    }
    let told = viewer.pumped("moderation").await;
    let deletes: Vec<&Value> = told
        .iter()
        .filter(|event| event["action"] == "delete")
        .collect();
    assert_eq!(
        deletes,
        [&json!({ "type": "moderation", "action": "delete", "target": id })]
    );
    let room = shop.room(&show).await;
    assert_eq!(room["recent_chat"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        room["pinned"],
        Value::Null,
        "a deleted message stays pinned"
    );

    let back = Viewer::connect(&shop, &show, ("u2", Role::Viewer), "c2").await;
    back.send(json!({ "type": "join", "last_seq": seen })).await;
    let events = back.read();
    let kinds: Vec<&str> = events
        .iter()
        .filter_map(|event| event["type"].as_str())
        .collect();
    assert!(
        !kinds.contains(&"init"),
        "what was missed is all there: {kinds:?}"
    );
    assert!(
        events.iter().all(|event| event["message"] != "지워질 말"),
        "{events:?}"
    );
    assert!(
        events
            .iter()
            .any(|event| event["target"] == id && event["action"] == "delete")
    );

    for (unknown, status) in [
        ("nope", 404),
        ("", 404),
        ("fffffffffff-00000000", 404),
        // From before the log begins: it may be on screens all the same.
        ("1-00000000", 200),
    ] {
        let body = json!({ "action": "delete", "message_id": unknown });
        let answer = shop
            .admin(Method::POST, &show.moderation(), None, body)
            .await;
        assert_eq!(answer.0, status, "{unknown}: {}", answer.1);
    }
}

#[tokio::test]
async fn a_pinned_message_is_there_for_all_until_it_is_taken_off() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    viewer.say("오늘만 이 가격").await;
    let chat = shop.recent_chat(&show).await[0].clone();
    let state = shop
        .moderate(&show, json!({ "action": "pin", "message_id": chat["id"] }))
        .await;
    assert_eq!(state["pinned"]["message"], "오늘만 이 가격");
    let told = &viewer.pumped("moderation").await[0];
    assert_eq!(
        (&told["action"], &told["target"]),
        (&json!("pin"), &chat["id"])
    );
    assert_eq!(
        told["message"], state["pinned"],
        "who was away has no message to pin"
    );
    let pinned = shop.room(&show).await["pinned"].clone();
    for member in ["id", "user_id", "name", "message", "timestamp"] {
        assert_eq!(pinned[member], chat[member]);
    }
    shop.moderate(&show, json!({ "action": "pin", "message_id": null }))
        .await;
    assert_eq!(shop.room(&show).await["pinned"], Value::Null);
    let told = &viewer.pumped("moderation").await[0];
    assert_eq!(
        (&told["action"], &told["target"]),
        (&json!("pin"), &Value::Null)
    );
    shop.moderate(
        &show,
        json!({ "action": "delete", "message_id": chat["id"] }),
    )
    .await;
    let body = json!({ "action": "pin", "message_id": chat["id"] });
    let (status, _) = shop
        .admin(Method::POST, &show.moderation(), None, body)
        .await;
    assert_eq!(status, 404, "a deleted message is pinned");
}

#[tokio::test]
async fn a_banned_person_is_put_out_and_stays_out_until_let_in_again() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let elsewhere = {
        let (_, broadcast) = shop
            .admin(
                Method::POST,
                "/broadcasts",
                None,
                json!({ "title": "둘째" }),
            )
            .await;
        let id = broadcast["broadcast_id"].as_str().expect("an id");
        Show {
            broadcast: id.parse().expect("an id"),
            ..show.clone()
        }
    };
    let troll = Viewer::join(&shop, &show, "troll", "t1").await;
    // Connected and not joined yet.
    let lurking = Viewer::connect(&shop, &show, ("troll", Role::Viewer), "t2").await;
    let other = Viewer::join(&shop, &show, "u1", "c1").await;
    Viewer::join(&shop, &elsewhere, "troll", "t3").await;
    troll.say("도배").await;
    let state = shop
        .moderate(
            &show,
            json!({ "action": "ban", "user_id": "troll", "reason": "도배" }),
        )
        .await;
    assert_eq!(
        (&state["bans"][0]["user_id"], &state["bans"][0]["reason"]),
        (&json!("troll"), &json!("도배"))
    );
    let mut closed = shop.wire.take_closed();
    closed.sort();
    assert_eq!(closed, ["t1", "t2"], "of this room, and of no other");

    for viewer in [&troll, &lurking] {
        let told = viewer.read().pop().expect("who is put out is told why");
        assert_eq!(
            (&told["type"], &told["code"]),
            (&json!("error"), &json!("forbidden"))
        );
        viewer.say("아직").await;
    }
    let told = other.pumped("moderation").await;
    assert_eq!(
        told,
        [json!({ "type": "moderation", "action": "ban", "target": "troll" })]
    );
    assert!(troll.read().is_empty(), "who is put out gets frames");
    let (status, problem) = shop.knock(&show, ("troll", Role::Viewer), "t4").await;
    assert_eq!((status, &problem["code"]), (403, &json!("forbidden")));
    assert_eq!(
        shop.knock(&elsewhere, ("troll", Role::Viewer), "t5")
            .await
            .0,
        200
    );
    assert_eq!(
        shop.recent_chat(&show).await.len(),
        1,
        "what was said before stays unless it is deleted"
    );

    shop.moderate(&show, json!({ "action": "unban", "user_id": "troll" }))
        .await;
    let back = Viewer::join(&shop, &show, "troll", "t6").await;
    assert_eq!(back.code("죄송합니다").await, None);
}

/// A connection whose closing fails, or that is opened at the same moment.
#[tokio::test]
async fn a_banned_person_whose_connection_stays_open_neither_joins_nor_speaks_nor_likes() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let troll = Viewer::connect(&shop, &show, ("troll", Role::Viewer), "t1").await;
    let ban = json!({ "action": "ban", "user_id": "troll" });
    shop.wire.fail("DeleteConnection", Fault::Refused(500), 1);
    let (status, problem) = shop
        .admin(Method::POST, &show.moderation(), Some("k"), ban.clone())
        .await;
    assert_eq!((status, &problem["code"]), (503, &json!("unavailable")));
    assert_eq!(troll.read().len(), 1, "who is put out is told why");
    troll.send(json!({ "type": "join" })).await;
    let answer = troll.read();
    assert_eq!((answer.len(), &answer[0]["code"]), (1, &json!("forbidden")));
    assert_eq!(answer[0]["detail"], "You are banned from this broadcast.");
    assert_eq!(troll.code("?").await.as_deref(), Some("forbidden"));
    troll.send(json!({ "type": "like", "count": 5 })).await;
    let room = shop.room(&show).await;
    assert_eq!(
        (&room["like_count"], &room["chat_count"]),
        (&json!(0), &json!(0))
    );
    assert!(shop.wire.take_closed().is_empty());
    let (status, _) = shop
        .admin(Method::POST, &show.moderation(), Some("k"), ban)
        .await;
    assert_eq!(status, 200);
    assert_eq!(
        shop.wire.take_closed(),
        ["t1"],
        "the request that is repeated finishes it"
    );
}

#[tokio::test]
async fn what_the_host_has_decided_outlives_redis() {
    let mut shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    {
        let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
        viewer.say("이 말이 걸립니다").await;
    }
    let id = shop.recent_chat(&show).await[0]["id"].clone();
    for body in [
        json!({ "action": "pin", "message_id": id }),
        json!({ "action": "ban", "user_id": "troll" }),
        json!({ "action": "words", "words": ["badword"] }),
        json!({ "action": "slow_mode", "seconds": 7 }),
        json!({ "action": "freeze" }),
    ] {
        shop.moderate(&show, body).await;
    }
    let before = shop.room(&show).await;
    shop.redis.kill_and_restart().await;
    let after = shop.room(&show).await;
    for member in ["pinned", "frozen", "slow_mode_s"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    assert_eq!(
        (&after["frozen"], &after["slow_mode_s"]),
        (&json!(true), &json!(7))
    );

    shop.redis.kill_and_restart().await;
    assert_eq!(
        shop.knock(&show, ("troll", Role::Viewer), "t1").await.0,
        403
    );
    shop.moderate(&show, json!({ "action": "unfreeze" })).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    // Only the room's memory of the rules is gone.
    let mut redis = shop.redis.plain().await;
    let forgotten: u64 = redis::cmd("DEL")
        .arg(format!("{{demo}}:moderation:{}", show.broadcast))
        .query_async(&mut redis)
        .await
        .expect("answers");
    assert_eq!(forgotten, 1);
    assert_eq!(
        viewer.code("ＢＡＤ word").await.as_deref(),
        Some("forbidden")
    );
    assert_eq!(viewer.code("좋은 말").await, None);
    assert_eq!(viewer.code("또").await.as_deref(), Some("rate_limited"));
}

#[tokio::test]
async fn words_are_replaced_as_a_whole_and_at_once() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    for (words, message, refused) in [
        (json!(["시발", "badword"]), "ㅅㅣ발", true),
        (json!(["시발", "badword"]), "b a d w o r d", true),
        (json!(["바보"]), "badword", false),
        (json!(["바보"]), "바.보", true),
        (json!([]), "바보", false),
    ] {
        let state = shop
            .moderate(&show, json!({ "action": "words", "words": words }))
            .await;
        assert_eq!(state["words"], words);
        assert_eq!(
            viewer.code(message).await.is_some(),
            refused,
            "{words}: {message}"
        );
    }
    let told = viewer.pumped("moderation").await;
    assert!(
        told.iter().all(|event| event["target"].is_null()),
        "the room reads the list: {told:?}"
    );
    assert!(!shop.room(&show).await.to_string().contains("시발"));
}

#[tokio::test]
async fn moderation_that_cannot_be_is_refused_with_its_reason() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let long_word = json!(["가".repeat(MAX_WORD + 1)]);
    let many_words: Vec<String> = (0..=MAX_WORDS).map(|n| format!("word{n}")).collect();
    for (body, field) in [
        (json!({}), "body"),
        (json!([]), "body"),
        (json!({ "action": "dance" }), "body"),
        (json!({ "action": "delete" }), "body"),
        (json!({ "action": "pin" }), "body"),
        (json!({ "action": "ban" }), "body"),
        (json!({ "action": "ban", "user_id": "" }), "body"),
        (
            json!({ "action": "ban", "user_id": "operator-1" }),
            "user_id",
        ),
        (
            json!({ "action": "ban", "user_id": "u1", "reason": "" }),
            "reason",
        ),
        (
            json!({ "action": "ban", "user_id": "u1", "reason": "가".repeat(MAX_REASON + 1) }),
            "reason",
        ),
        (json!({ "action": "slow_mode" }), "body"),
        (json!({ "action": "slow_mode", "seconds": -1 }), "body"),
        (
            json!({ "action": "slow_mode", "seconds": MAX_SLOW_MODE + 1 }),
            "seconds",
        ),
        (json!({ "action": "words", "words": "바보" }), "body"),
        (json!({ "action": "words", "words": [""] }), "words"),
        (json!({ "action": "words", "words": ["!?"] }), "words"),
        (json!({ "action": "words", "words": long_word }), "words"),
        (json!({ "action": "words", "words": many_words }), "words"),
    ] {
        let (status, problem) = shop
            .admin(Method::POST, &show.moderation(), None, body.clone())
            .await;
        assert_eq!(
            (status, &problem["code"], &problem["field"]),
            (400, &json!("invalid_request"), &json!(field)),
            "{body}: {problem}"
        );
    }
    let nowhere = "/broadcasts/b9/moderation";
    let (status, _) = shop
        .admin(Method::POST, nowhere, None, json!({ "action": "freeze" }))
        .await;
    assert_eq!(status, 404);
    let viewer = format!("Bearer {}", shop.token("u1", Role::Viewer));
    for (authorization, status) in [(viewer.as_str(), 403), ("Bearer x", 401)] {
        let headers = [("authorization", authorization)];
        let body = json!({ "action": "freeze" }).to_string();
        let answer = shop
            .admin_raw(Method::POST, &show.moderation(), headers, body)
            .await;
        assert_eq!(answer.0, status);
    }
    let room = shop.room(&show).await;
    assert_eq!(
        (&room["frozen"], &room["slow_mode_s"], &room["pinned"]),
        (&json!(false), &json!(0), &Value::Null)
    );
}

#[tokio::test]
async fn a_moderation_that_is_repeated_does_not_undo_what_came_after_it() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewer = Viewer::join(&shop, &show, "u1", "c1").await;
    let freeze = json!({ "action": "freeze" });
    let first = shop
        .admin(Method::POST, &show.moderation(), Some("k1"), freeze.clone())
        .await;
    assert_eq!(first.0, 200);
    let same = shop
        .admin(Method::POST, &show.moderation(), Some("k1"), freeze.clone())
        .await;
    assert_eq!(same, first);
    let other = shop
        .admin(
            Method::POST,
            &show.moderation(),
            Some("k1"),
            json!({ "action": "unfreeze" }),
        )
        .await;
    assert_eq!(
        (other.0, &other.1["code"]),
        (422, &json!("idempotency_conflict"))
    );
    assert_eq!(viewer.pumped("moderation").await.len(), 1);

    // One that broke off after it was written down, and is finished by the next with its key.
    let request = Request {
        by: "operator-1".parse().expect("an id"),
        id: "r1".to_owned(),
        fingerprint: String::new(),
        language: Language::Korean,
    };
    let body = |body: Value| serde_json::from_value(body).expect("a body");
    let studio = studio(&shop);
    for frozen in [false, true, true] {
        if frozen {
            shop.moderate(&show, freeze.clone()).await;
        }
        let state = studio
            .moderate(
                &request,
                &show.broadcast,
                body(json!({ "action": "unfreeze" })),
            )
            .await
            .expect("goes well");
        assert_eq!(state["frozen"], frozen, "an old request undoes a newer one");
    }
    let told = viewer.pumped("moderation").await;
    assert_eq!(told.last().expect("was told")["action"], "freeze");
}

#[tokio::test]
async fn changes_at_once_all_count_and_so_many_may_be_banned() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let bans = (0..6).map(|n| {
        shop.moderate(
            &show,
            json!({ "action": "ban", "user_id": format!("u{n}") }),
        )
    });
    futures::future::join_all(bans).await;
    let state = shop.moderate(&show, json!({ "action": "freeze" })).await;
    assert_eq!(state["bans"].as_array().map(Vec::len), Some(6));
    assert_eq!(state["version"], 7);
    for n in 0..6 {
        assert_eq!(
            shop.knock(&show, (&format!("u{n}"), Role::Viewer), "c")
                .await
                .0,
            403
        );
    }
    let full = Moderation {
        version: 8,
        bans: (0..MAX_BANS)
            .map(|n| {
                let ban = Ban {
                    reason: Some("가".repeat(MAX_REASON)),
                    since: clock::now(),
                };
                (format!("{n:0128}").parse().expect("an id"), ban)
            })
            .collect(),
        words: (0..MAX_WORDS)
            .map(|n| format!("{n:0>width$}", width = MAX_WORD))
            .collect(),
        ..Default::default()
    };
    let studio = studio(&shop);
    let written = studio.catalog.put_moderation(&show.broadcast, &full).await;
    assert!(written.expect("the largest moderation fits into an item"));
    shop.rooms
        .follow_moderation(&show.broadcast, &full)
        .await
        .expect("and into a call of Redis");
    let ban = json!({ "action": "ban", "user_id": "one-more" });
    let (status, problem) = shop
        .admin(Method::POST, &show.moderation(), None, ban)
        .await;
    assert_eq!((status, &problem["field"]), (400, &json!("user_id")));
}

/// Whoever is slower brings the older state.
#[tokio::test]
async fn an_older_state_never_replaces_a_newer_one() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let state = |version: u64, frozen: bool| Moderation {
        version,
        frozen,
        ..Default::default()
    };
    for (version, frozen) in [(2, true), (1, false), (2, false)] {
        let followed = shop
            .rooms
            .follow_moderation(&show.broadcast, &state(version, frozen))
            .await;
        followed.expect("answers");
        assert_eq!(shop.room(&show).await["frozen"], true);
    }
}
