//! Viewers whose sockets take little or nothing: they hold up nobody, and are sent away some day; unless it is the account that
//! is over its rate.

use std::time::{Duration, Instant};

use onepool::{
    clock,
    room::{Ask, Claim, Last, pump::LEASE},
};
use onepool_tests::{Fault, Shop};

use crate::steps::{LEASE_OVER, Screen, chatter, eventually, join_all, shard, wake};

/// So many posts in a row may fail.
const HITS: usize = 20;
/// In so many places a viewer may be.
const PLACES: usize = 16;

fn names(name: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{name}-{number}"))
        .collect()
}

#[tokio::test]
async fn who_takes_nothing_is_sent_away_after_so_many_posts() {
    for (refused, closed) in [(HITS - 1, &[] as &[&str]), (HITS, &["slow"])] {
        let shop = Shop::open().await;
        let show = shop.show(120, 100, None).await;
        join_all(&shop, &show, &["slow".to_owned(), "other".to_owned()]).await;
        shop.pump().await;
        let (mut slow, mut other) = (Screen::of("slow"), Screen::of("other"));
        // Those of one chat do not count for the next, if that one came through in the end.
        for message in ["1", "2"] {
            let fault = Fault::Refused(429);
            shop.wire.fail("PostToConnection slow", fault, refused);
            chatter(&shop, &show, message).await;
            shop.pump().await;
            if !closed.is_empty() {
                break;
            }
        }
        assert_eq!(shop.wire.take_closed(), closed, "{refused} posts refused");
        if closed.is_empty() {
            assert_eq!(slow.chats(&shop), ["1", "2"]);
            assert_eq!(other.chats(&shop), ["1", "2"]);
        } else {
            assert!(slow.chats(&shop).is_empty());
            assert_eq!(other.chats(&shop), ["1"]);
        }
    }
}

#[tokio::test]
async fn sockets_that_hang_hold_up_nobody() {
    /// More than are posted to at once.
    const HANGING: usize = 70;
    const CHATS: usize = 12;
    /// Half of what the chats take if each of them waits until a post is given up.
    const AT_MOST: Duration = Duration::from_secs(5);
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (hanging, others) = (names("hanging", HANGING), names("other", 2));
    join_all(&shop, &show, &hanging).await;
    join_all(&shop, &show, &others).await;
    shop.pump().await;
    let screens = |connections: &[String]| -> Vec<Screen> {
        let mut screens: Vec<Screen> = connections.iter().map(|one| Screen::of(one)).collect();
        for screen in &mut screens {
            screen.chats(&shop);
        }
        screens
    };
    let (mut late, mut screens) = (screens(&hanging), screens(&others));
    for connection in &hanging {
        shop.wire.hold_posts_to(connection);
    }
    let all: Vec<String> = (0..CHATS).map(|chat| chat.to_string()).collect();
    chatter(&shop, &show, &all[0]).await;
    let talk = async {
        let began = Instant::now();
        for (before, message) in all.iter().enumerate() {
            if before > 0 {
                chatter(&shop, &show, message).await;
            }
            let heard = || {
                let mut screens = screens.iter_mut();
                screens.all(|screen| screen.chats(&shop).len() > before)
            };
            eventually("the others hear it", heard).await;
        }
        let took = began.elapsed();
        shop.wire.release_posts();
        took
    };
    let ((), took) = tokio::join!(shop.pump(), talk);
    assert!(took < AT_MOST, "{CHATS} chats took {took:?}");
    for screen in late.iter_mut().chain(&mut screens) {
        assert_eq!(screen.chats(&shop), all, "{}", screen.connection);
    }
    assert!(shop.wire.take_closed().is_empty());
}

#[tokio::test]
async fn while_the_account_is_over_its_rate_nobody_is_sent_away() {
    const VIEWERS: usize = 30;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let viewers = names("viewer", VIEWERS);
    join_all(&shop, &show, &viewers).await;
    shop.pump().await;
    let rounds = HITS + 2;
    let fault = Fault::Refused(429);
    shop.wire.fail("PostToConnection", fault, VIEWERS * rounds);
    chatter(&shop, &show, "1").await;
    shop.pump().await;
    assert!(shop.wire.take_closed().is_empty());
    for viewer in &viewers {
        assert_eq!(Screen::of(viewer).chats(&shop), ["1"], "{viewer}");
    }
}

#[tokio::test]
async fn who_may_be_in_too_many_places_is_sent_away() {
    for (ends, closed) in [(PLACES, &[] as &[&str]), (PLACES + 1, &["c1"])] {
        let shop = Shop::open().await;
        let show = shop.show(120, 100, None).await;
        join_all(&shop, &show, &["c1".to_owned()]).await;
        shop.pump().await;
        // A pump dies whose frame ended in so many places while it grew.
        let (room, now) = (shard(&show, 0), clock::now());
        let leased = shop.rooms.lease(&room, "dead", now, now + LEASE).await;
        assert!(leased.expect("answers"));
        let mut last = None;
        let all: Vec<String> = (0..ends).map(|chat| chat.to_string()).collect();
        for message in &all {
            chatter(&shop, &show, message).await;
            let ask = Ask {
                token: "dead",
                until: now + LEASE,
                last,
                end: false,
            };
            let claimed = shop.rooms.claim_frame(&room, &ask, now).await;
            let Claim::Frame(claimed) = claimed.expect("answers") else {
                panic!("no frame")
            };
            assert!(claimed.is_news());
            last = Some(Last {
                head: claimed.head,
                viewers_version: claimed.viewers_version,
                under_way: true,
            });
        }
        clock::put_ahead(LEASE_OVER);
        let fault = Fault::AnswerLost;
        shop.wire.fail("PostToConnection c1", fault, 1);
        let pumped = shop.pump.run(wake(&show, 0)).await;
        pumped.expect("the pump ends");
        assert_eq!(shop.wire.take_closed(), closed, "{ends} places");
        let shown = Screen::of("c1").chats(&shop);
        // What was posted first, and what all of it is.
        let expected = if closed.is_empty() {
            &all[..]
        } else {
            &all[..1]
        };
        assert_eq!(shown, expected, "{ends} places");
    }
}

#[tokio::test]
async fn who_takes_nothing_is_sent_away_from_a_quiet_room_too() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let slow: Vec<String> = (0..11).map(|n| format!("slow-{n}")).collect();
    let others: Vec<String> = (0..109).map(|n| format!("other-{n}")).collect();
    join_all(&shop, &show, &slow).await;
    join_all(&shop, &show, &others).await;
    shop.pump().await;
    for one in &slow {
        shop.wire
            .fail(&format!("PostToConnection {one}"), Fault::Refused(429), 40);
    }
    chatter(&shop, &show, "1").await;
    shop.pump().await;
    assert_eq!(shop.wire.take_closed().len(), 11);
}

#[tokio::test]
async fn a_round_goes_on_when_its_posts_end_while_redis_takes_its_time() {
    /// So many are posted to at once.
    const AT_ONCE: usize = 56;
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let connections = names("c", AT_ONCE + 4);
    join_all(&shop, &show, &connections).await;
    shop.pump().await;
    let before = shop.wire.calls("PostToConnection");
    let posts = || usize::try_from(shop.wire.calls("PostToConnection") - before).expect("few");
    let mut monitor = shop.redis.monitor().await;
    shop.wire.hold_posts(0);
    chatter(&shop, &show, "1").await;
    let story = async {
        eventually("the first are posted to", || posts() == AT_ONCE).await;
        let _before_the_pause = monitor.commands().await;
        shop.redis.command(&["CLIENT", "PAUSE", "200"]).await;
        // By then the pump asks whether there is more to take along, and is not answered.
        tokio::time::sleep(Duration::from_millis(60)).await;
        shop.wire.release_posts();
        eventually("all are", || posts() == connections.len()).await;
        monitor.commands().await
    };
    let ((), commands) = tokio::join!(shop.pump(), story);
    for connection in &connections {
        assert_eq!(Screen::of(connection).chats(&shop), ["1"], "{connection}");
    }
    // A pump that waits for something that will not come renews its lease meanwhile.
    let lease = redis::Script::new(include_str!("../../shared/src/room/lease.lua"));
    let renewals = (commands.iter())
        .filter(|command| command.contains(lease.get_hash()))
        .count();
    assert_eq!(renewals, 0);
}
