//! The backlog of a channel: nothing that came while somebody had it in hand is forgotten, and what is urgent goes first.

use std::time::{Duration, Instant};

use onepool::{
    channel::{
        Failure,
        backlog::{Backlog, Due, Suspicion, Turn},
        quota::{Quota, Rate, Seen, Urgency},
    },
    clock,
    keys::Keys,
};
use onepool_tests::{RedisServer, Shop};

const CHANNEL: &str = "coupang";

async fn backlog() -> (RedisServer, Backlog) {
    let redis = RedisServer::start().await;
    let backlog = Backlog::new(redis.connection(), Keys::new("demo"));
    (redis, backlog)
}

async fn add(backlog: &Backlog, product: &str, suspicion: Suspicion) {
    let products = [(product.parse().expect("an id"), suspicion)];
    let added = backlog.add(CHANNEL, &products, clock::now()).await;
    added.expect("adds");
}

async fn next(backlog: &Backlog, token: &str) -> Vec<Due> {
    match backlog.next(CHANNEL, token, 10, clock::now()).await {
        Ok(Turn::Mine(due)) => due,
        other => panic!("no turn: {other:?}"),
    }
}

fn names(due: &[Due]) -> Vec<&str> {
    due.iter().map(|due| due.product.as_str()).collect()
}

#[tokio::test]
async fn what_moves_while_it_is_being_pushed_is_pushed_again() {
    let (_redis, backlog) = backlog().await;
    add(&backlog, "mug", Suspicion::Differs(Urgency::Up)).await;
    let in_hand = next(&backlog, "one").await;
    // The number the runner has in hand is the old one by now, though the listing still shows what it should.
    add(&backlog, "mug", Suspicion::Agrees).await;
    backlog
        .tried(CHANNEL, &in_hand[0], None)
        .await
        .expect("notes");
    let again = next(&backlog, "one").await;
    assert_eq!(names(&again), ["mug"]);
    backlog
        .tried(CHANNEL, &again[0], None)
        .await
        .expect("notes");
    assert!(next(&backlog, "one").await.is_empty());
    // What shows what it should and is in nobody's hand is left alone.
    add(&backlog, "mug", Suspicion::Agrees).await;
    assert!(next(&backlog, "one").await.is_empty());
}

#[tokio::test]
async fn numbers_that_go_down_overtake_those_that_go_up_and_sweeps_wait() {
    let (_redis, backlog) = backlog().await;
    for (product, urgency) in [
        ("swept", Urgency::Sweep),
        ("up", Urgency::Up),
        ("down", Urgency::Down),
        ("swept-and-down", Urgency::Sweep),
    ] {
        add(&backlog, product, Suspicion::Differs(urgency)).await;
        clock::put_ahead(Duration::from_millis(10));
    }
    add(
        &backlog,
        "swept-and-down",
        Suspicion::Differs(Urgency::Down),
    )
    .await;
    add(&backlog, "down", Suspicion::Differs(Urgency::Sweep)).await;
    let due = next(&backlog, "one").await;
    assert_eq!(names(&due), ["down", "swept-and-down", "up", "swept"]);
    assert_eq!(due[0].urgency(), Urgency::Down);
    assert_eq!(due[3].urgency(), Urgency::Sweep);
}

#[tokio::test]
async fn a_channel_has_one_runner_and_what_failed_comes_back_in_its_time() {
    let (_redis, backlog) = backlog().await;
    add(&backlog, "mug", Suspicion::Differs(Urgency::Down)).await;
    let due = next(&backlog, "one").await;
    let other = backlog.next(CHANNEL, "two", 10, clock::now()).await;
    assert_eq!(other.expect("answers"), Turn::Other);
    let later = clock::now() + Duration::from_secs(30);
    backlog
        .tried(CHANNEL, &due[0], Some(later))
        .await
        .expect("notes");
    assert!(next(&backlog, "one").await.is_empty());
    assert_eq!(
        backlog
            .waiting(CHANNEL, clock::now())
            .await
            .expect("answers"),
        (1, 0)
    );
    clock::put_ahead(Duration::from_secs(31));
    assert_eq!(names(&next(&backlog, "one").await), ["mug"]);
    backlog.leave(CHANNEL).await.expect("leaves");
    assert_eq!(names(&next(&backlog, "two").await), ["mug"]);
}

#[tokio::test]
async fn what_failed_is_as_urgent_as_before() {
    use Urgency::{Down, Sweep, Up};

    let (_redis, backlog) = backlog().await;
    for (product, urgency) in [("mug", Down), ("cup", Up), ("pot", Sweep)] {
        add(&backlog, product, Suspicion::Differs(urgency)).await;
    }
    let again = clock::now() + Duration::from_secs(30);
    for due in next(&backlog, "one").await {
        let tried = backlog.tried(CHANNEL, &due, Some(again)).await;
        tried.expect("notes");
    }
    assert!(next(&backlog, "one").await.is_empty());
    for (product, urgency) in [
        ("bowl", Down),
        ("vase", Up),
        ("tray", Sweep),
        // One that waits to be tried again as one that goes down, and goes up now.
        ("mug", Up),
    ] {
        add(&backlog, product, Suspicion::Differs(urgency)).await;
    }
    clock::put_ahead(Duration::from_secs(31));
    let due = next(&backlog, "one").await;
    assert_eq!(names(&due), ["bowl", "mug", "vase", "cup", "tray", "pot"]);
    let urgencies: Vec<_> = due.iter().map(Due::urgency).collect();
    assert_eq!(urgencies, [Down, Down, Up, Up, Sweep, Sweep]);
}

#[tokio::test]
async fn the_quota_keeps_its_rate_and_leaves_the_last_call_to_who_is_urgent() {
    let shop = Shop::open().await;
    let quota = shop.quota(CHANNEL);
    let slow = Rate {
        per_second: 0.001,
        burst: 8,
    };
    let ask = async |urgency| quota.permit("all", slow, urgency).await;
    // Half of what can be made at once is used: four calls, of which a sweep leaves two.
    for _ in 0..2 {
        ask(Urgency::Sweep).await.expect("there are calls");
    }
    let refused = ask(Urgency::Sweep)
        .await
        .expect_err("the rest is for others");
    assert!(matches!(refused, Failure::Turn { .. }), "{refused:?}");
    for _ in 0..2 {
        ask(Urgency::Down).await.expect("there are calls");
    }
    ask(Urgency::Down).await.expect_err("none is left");
    clock::put_ahead(Duration::from_secs(1_100));
    ask(Urgency::Down).await.expect("one came back");
}

#[tokio::test]
async fn where_one_call_can_be_made_at_once_the_next_is_for_who_is_urgent() {
    let shop = Shop::open().await;
    let quota = shop.quota(CHANNEL);
    let slow = Rate {
        per_second: 4.0,
        burst: 2,
    };
    let ask = async |urgency| quota.permit("all", slow, urgency).await;
    ask(Urgency::Sweep).await.expect("there is a call");
    let down = async {
        ask(Urgency::Down).await.expect("the next");
        Instant::now()
    };
    let sweeps = async {
        // They come right behind it, and would be there in time.
        tokio::task::yield_now().await;
        for _ in 0..3 {
            ask(Urgency::Sweep).await.expect("in the end");
        }
        Instant::now()
    };
    let started = Instant::now();
    let (down, _) = tokio::join!(down, sweeps);
    assert!(
        down - started < Duration::from_millis(400),
        "one call's time"
    );
}

#[tokio::test]
async fn what_the_marketplace_says_of_the_quota_goes_before_what_was_reckoned() {
    let shop = Shop::open().await;
    let quota = shop.quota(CHANNEL);
    let documented = Rate {
        per_second: 0.001,
        burst: 200,
    };
    let ask = async || quota.permit("all", documented, Urgency::Down).await;
    ask().await.expect("there are calls");
    // What others have used is known from the answer alone.
    let said = async |calls, rate| quota.observe("all", Seen::Left { calls, rate }).await;
    said(1, None).await;
    ask().await.expect("one is left");
    ask().await.expect_err("it was used");
    // Calls under way are not in the marketplace's count yet: it gives none back.
    said(50, None).await;
    ask().await.expect_err("its count is late");
    let faster = Rate {
        per_second: 1.0,
        burst: 100,
    };
    said(50, Some(faster)).await;
    clock::put_ahead(Duration::from_secs(2));
    ask().await.expect("they come back faster than documented");
}

#[tokio::test]
async fn nobody_calls_before_a_block_is_over_however_many_calls_come_back_meanwhile() {
    let shop = Shop::open().await;
    let quota = shop.quota(CHANNEL);
    let fast = Rate {
        per_second: 100.0,
        burst: 100,
    };
    let ask = async || quota.permit("all", fast, Urgency::Down).await;
    ask().await.expect("there are calls");
    // The longer of two counts, whichever is told last.
    for seconds in [60, 20] {
        let span = Duration::from_secs(seconds);
        quota.observe("all", Seen::Blocked(span)).await;
    }
    for left in [60, 30] {
        let Err(Failure::Turn { after, .. }) = ask().await else {
            panic!("{left} s are left");
        };
        let left = Duration::from_secs(left);
        assert!(
            after <= left && after + Duration::from_secs(10) > left,
            "{after:?}"
        );
        clock::put_ahead(Duration::from_secs(30));
    }
    ask().await.expect("it is over");
    let other = quota.permit("other", fast, Urgency::Sweep).await;
    other.expect("what is counted apart is blocked apart");
}
