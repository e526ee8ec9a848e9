//! From one pump to the next: none ends while there is something to send, each hands over what it had claimed, and a lease goes
//! on only for who has it.

use std::{
    future,
    pin::pin,
    task::Poll,
    time::{Duration, Instant},
};

use onepool::{
    clock::{self, Timestamp},
    room::{Ask, Claim, Claimed, Last, pump::LEASE},
};
use onepool_tests::{Fault, Shop, Viewer};

use crate::steps::{
    LEASE_OVER, Screen, chatter, chatter_at, eventually, join_all, shard, wake, woken,
};

/// A pump asks for its next frame, or to end if there is none.
fn ask<'a>(token: &'a str, sent: Option<&Claimed>, end: bool, now: Timestamp) -> Ask<'a> {
    Ask {
        token,
        until: now + LEASE,
        last: sent.map(|frame| Last {
            head: frame.head,
            viewers_version: frame.viewers_version,
            under_way: false,
        }),
        end,
    }
}

#[track_caller]
fn frame(claim: Claim) -> Claimed {
    match claim {
        Claim::Frame(claimed) => claimed,
        Claim::Lost | Claim::Forgotten | Claim::Ended => panic!("no frame: {claim:?}"),
    }
}

#[tokio::test]
async fn a_pump_does_not_end_while_there_is_something_to_send_and_is_woken_for_what_comes_then() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (room, now) = (&shard(&show, 0), clock::now() + LEASE_OVER);
    let later = now + LEASE_OVER;
    let claim = async |token: &str, sent: Option<&Claimed>, end: bool| {
        let at = if token == "a" { now } else { later };
        let ask = ask(token, sent, end, at);
        let claimed = shop.rooms.claim_frame(room, &ask, at).await;
        claimed.expect("answers")
    };
    let lease = async |token: &str, at| {
        let leased = shop.rooms.lease(room, token, at, at + LEASE).await;
        assert!(leased.expect("answers"));
    };
    lease("a", now).await;
    let _of_the_show = woken(&shop);
    let first = frame(claim("a", None, false).await);
    // It is all sent, and before the pump says so something is said.
    chatter_at(&shop, &show, "1", now).await;
    assert_eq!(woken(&shop), [0; 0], "a second pump");
    let second = frame(claim("a", Some(&first), true).await);
    assert!(second.events[0].json.contains(r#""message":"1""#));
    // It died while it was catching up with who is behind, and nothing is new.
    let third = frame(claim("a", Some(&second), false).await);
    assert!(!third.is_news());
    lease("b", later).await;
    let taken_over = frame(claim("b", None, true).await);
    assert_eq!(taken_over.claimed, [third.head]);

    assert_eq!(claim("b", Some(&taken_over), true).await, Claim::Ended);
    chatter_at(&shop, &show, "2", later).await;
    assert_eq!(woken(&shop), [0], "nobody was called");
    lease("c", later).await;
    let last = frame(claim("c", None, true).await);
    assert_eq!((last.from, last.events.len()), (third.head, 1));
}

#[tokio::test]
async fn a_shift_that_is_over_hands_its_frame_to_the_next_pump() {
    /// Longer than a shift.
    const SHIFT_OVER: Duration = Duration::from_secs(46);
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    Viewer::join(&shop, &show, "u1", "c1").await;
    shop.pump().await;
    let mut screen = Screen::of("c1");
    screen.chats(&shop);
    chatter(&shop, &show, "1").await;
    let _of_the_chat = woken(&shop);
    {
        let mut old = pin!(shop.pump.run(wake(&show, 0)));
        let started =
            future::poll_fn(|context| Poll::Ready(old.as_mut().poll(context).is_pending()));
        assert!(started.await, "it waits for its lease");
        clock::put_ahead(SHIFT_OVER);
        old.await.expect("hands over");
    }
    assert!(screen.chats(&shop).is_empty(), "sent after its time");
    assert_eq!(woken(&shop), [0], "nobody was called");
    chatter(&shop, &show, "2").await;
    shop.pump.run(wake(&show, 0)).await.expect("ends");
    let frames = shop.wire.take_posts("c1");
    let said: Vec<Vec<&str>> = (frames.iter())
        .map(|frame| {
            let events = frame["events"].as_array().expect("events").iter();
            events
                .filter_map(|event| event["message"].as_str())
                .collect()
        })
        .collect();
    // What was claimed may have been posted: it comes as the frame it was.
    assert_eq!(said, [["1"], ["2"]], "{frames:?}");
}

#[tokio::test]
async fn a_lease_is_renewed_for_who_has_it_and_for_nobody_else() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    let (room, now) = (&shard(&show, 0), clock::now() + LEASE_OVER);
    let second = Duration::from_secs(1);
    let renew = async |token: &str, at| {
        let renewed = shop.rooms.renew(room, token, at, at + LEASE).await;
        renewed.expect("answers")
    };
    let lease = async |token: &str, at| {
        let leased = shop.rooms.lease(room, token, at, at + LEASE).await;
        leased.expect("answers")
    };
    assert!(!renew("a", now).await, "nobody had it");
    assert!(lease("a", now).await);
    assert!(renew("a", now + second).await);
    assert!(!lease("b", now + second * 2).await, "was not renewed");
    assert!(!renew("b", now + second * 2).await, "renewed for another");
    assert!(
        renew("a", now + second * 4).await,
        "over, but nobody has taken it"
    );
    assert!(lease("b", now + second * 6).await);
    assert!(!renew("a", now + second * 9).await, "taken back");
    assert!(renew("b", now + second * 9).await);
}

#[tokio::test]
async fn a_shift_that_is_over_while_somebody_is_behind_is_handed_over() {
    let shop = Shop::open().await;
    let show = shop.show(120, 100, None).await;
    Viewer::join(&shop, &show, "u1", "slow").await;
    Viewer::join(&shop, &show, "u2", "c2").await;
    shop.pump().await;
    let (mut slow, mut other) = (Screen::of("slow"), Screen::of("c2"));
    slow.chats(&shop);
    other.chats(&shop);
    let _w = woken(&shop);
    shop.wire
        .fail("PostToConnection slow", Fault::Refused(429), 15);
    chatter(&shop, &show, "1").await;
    let _w = woken(&shop);
    let over = async {
        eventually("heard", || other.chats(&shop).len() == 1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        clock::put_ahead(Duration::from_secs(46));
    };
    let (ended, ()) = tokio::join!(shop.pump.run(wake(&show, 0)), over);
    ended.expect("ends");
    shop.wire.calm();
    for _ in 0..5 {
        clock::put_ahead(Duration::from_secs(5));
        shop.pump().await;
    }
    assert_eq!(slow.chats(&shop), ["1"]);
}

#[tokio::test]
async fn a_pump_keeps_its_lease_until_its_next_frame_however_large_the_room() {
    /// Frames that may go out at once, before they come an interval apart.
    const AT_ONCE: usize = 3;
    // Three posts a frame and one a second: an interval is twice as long as a lease.
    let shop = Shop::open().await.with_callback_budget(1);
    let show = shop.show(120, 100, None).await;
    let connections = ["c1", "c2", "c3"].map(str::to_owned);
    join_all(&shop, &show, &connections).await;
    let room = shard(&show, 0);
    let story = async {
        let mut screen = Screen::of("c1");
        let (mut said, mut since) = (0, Instant::now());
        while said <= AT_ONCE + 1 {
            chatter(&shop, &show, &said.to_string()).await;
            since = Instant::now();
            said += 1;
            while screen.chats(&shop).len() < said {
                let now = clock::now();
                let leased = shop.rooms.lease(&room, "other", now, now + LEASE);
                assert!(
                    !leased.await.expect("answers"),
                    "after {:?}",
                    since.elapsed()
                );
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        assert!(since.elapsed() > LEASE, "the frame was not waited for");
    };
    let (ended, ()) = tokio::join!(shop.pump.run(wake(&show, 0)), story);
    ended.expect("the pump ends");
}
