//! A sweep finds what the pull has passed, has a place of its own, and takes the calls that nobody else wants.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt, future::BoxFuture};
use marketplaces::Marketplaces;
use onepool::{
    catalog::PullState,
    channel::{
        Failure, MARKETPLACES, Window,
        call::Setup,
        quota::{Quota, Rate, Seen, Urgency},
        token::InMemory,
        wake::PullWake,
    },
    clock,
    config::Secret,
    stock::Source,
};
use onepool_tests::CHANNELS;
use serde_json::json;

use crate::{fake::Fake, mall::Mall};

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// Twenty mugs, and three of them sold on these channels more than a day ago, which their pulls have passed.
async fn passed_over(channels: &[&str]) -> Mall {
    let mall = Mall::open(20, json!({ "mode": "shared" })).await;
    for channel in channels {
        mall.buy(channel, 3).await.expect("it is there");
    }
    mall.pass(DAY + Duration::from_secs(7_200)).await;
    for channel in channels {
        let state = mall.shop.catalog.pull_state(channel).await;
        let state = PullState {
            cursor: Some(clock::now()),
            ..state.expect("answers")
        };
        let written = mall.shop.catalog.put_pull_state(channel, state).await;
        assert!(written.expect("writes").is_some());
        mall.pull(channel).await;
    }
    assert_eq!(mall.unsold(&Source::Pool).await, 20, "they are passed over");
    drop(mall.shop.wire.take_messages("pulls"));
    mall
}

async fn sweep(mall: &Mall, channel: &str) {
    let wake = PullWake {
        sweep_days: Some(7),
        ..PullWake::new(channel)
    };
    mall.pull.run(wake).await.expect("sweeps");
}

#[tokio::test]
async fn what_a_pull_has_passed_is_found_by_a_sweep_and_counted_once() {
    let mall = passed_over(&CHANNELS).await;
    for (swept, channel) in CHANNELS.into_iter().enumerate() {
        let before = mall.shop.catalog.pull_state(channel).await;
        sweep(&mall, channel).await;
        sweep(&mall, channel).await;
        let left = 20 - 3 * (i64::try_from(swept).expect("few") + 1);
        assert_eq!(mall.unsold(&Source::Pool).await, left, "{channel}");
        let after = mall.shop.catalog.pull_state(channel).await;
        assert_eq!(
            before.expect("answers"),
            after.expect("answers"),
            "{channel}: the pull stands where it stood"
        );
        let state = mall.shop.catalog.sweep_state(channel).await;
        let state = state.expect("answers");
        assert!(state.swept_at.is_some(), "{channel}: {state:?}");
        assert_eq!((state.until, state.error), (None, None), "{channel}");
    }
    mall.settle().await;
    assert_eq!(mall.all_show().await, CHANNELS.map(|name| (name, 8)));
}

#[tokio::test]
async fn a_transfer_that_is_paid_days_later_is_found() {
    let mall = Mall::open(20, json!({ "mode": "shared" })).await;
    let mut order = mall.stall("coupang").order(3);
    order["paid"] = json!(false);
    let placed = mall.does("coupang", "orders", order).await;
    let id = placed["orderId"].as_str().expect("an id");
    mall.pass(DAY * 2).await;
    mall.pull("coupang").await;
    let paid = json!({ "state": "ACCEPT" });
    mall.does("coupang", &format!("orders/{id}/state"), paid)
        .await;
    mall.pull("coupang").await;
    // Its list goes by when an order was made.
    assert_eq!(mall.unsold(&Source::Pool).await, 20);
    sweep(&mall, "coupang").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 17);
}

#[tokio::test]
async fn a_sweep_that_breaks_off_goes_on_from_where_it_was() {
    let mall = passed_over(&["smartstore"]).await;
    let faults = json!([
        { "on": "list", "kind": "delay", "ms": 1, "times": 4 },
        { "on": "list", "kind": "error_before_commit", "status": 503 },
    ]);
    mall.does("smartstore", "faults", json!({ "faults": faults }))
        .await;
    sweep(&mall, "smartstore").await;
    let state = mall.shop.catalog.sweep_state("smartstore").await;
    let state = state.expect("answers");
    assert!(
        state.error.is_some() && state.swept_at.is_none(),
        "{state:?}"
    );
    // A window a day, three lists each: four pages on it is in the second window.
    let begun = state.until.expect("it is under way");
    let at = state.cursor.expect("it has a place");
    assert_eq!(begun.since(at), DAY * 6);
    assert_eq!(state.page.as_deref(), Some("1.1"));
    mall.pass(Duration::from_secs(600)).await;
    sweep(&mall, "smartstore").await;
    let state = mall.shop.catalog.sweep_state("smartstore").await;
    let state = state.expect("answers");
    assert!(
        state.error.is_none() && state.swept_at.is_some(),
        "{state:?}"
    );
    assert_eq!(mall.unsold(&Source::Pool).await, 17);
}

#[tokio::test]
async fn a_sweep_without_calls_to_spare_comes_again_and_opens_no_circuit() {
    let mall = passed_over(&["smartstore"]).await;
    let rule = json!({ "on": "list", "kind": "rate_limited" });
    mall.does("smartstore", "faults", json!({ "faults": [rule] }))
        .await;
    sweep(&mall, "smartstore").await;
    let circuit = mall.pull.circuits.of("smartstore").await.expect("answers");
    assert_eq!(circuit.word(clock::now()), "closed");
    assert_eq!(
        mall.shop.wire.take_messages("pulls"),
        [r#"{"channel":"smartstore","sweep_days":7}"#]
    );
    sweep(&mall, "smartstore").await;
    assert_eq!(mall.unsold(&Source::Pool).await, 17);
}

#[tokio::test]
async fn a_cancellation_that_the_pull_has_passed_gives_its_units_back() {
    for channel in CHANNELS {
        let mall = Mall::open(20, json!({ "mode": "shared" })).await;
        let order = mall.buy(channel, 3).await.expect("it is there");
        mall.pass(Duration::from_secs(60)).await;
        mall.pull(channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 17, "{channel}");
        mall.does(channel, &format!("orders/{order}/cancel"), json!({}))
            .await;
        mall.pass(DAY + Duration::from_secs(7_200)).await;
        let state = mall.shop.catalog.pull_state(channel).await;
        let state = PullState {
            cursor: Some(clock::now()),
            ..state.expect("answers")
        };
        let written = mall.shop.catalog.put_pull_state(channel, state).await;
        assert!(written.expect("writes").is_some());
        // The first agrees to it where it is only asked for, the second sees that it is done.
        sweep(&mall, channel).await;
        mall.pass(Duration::from_secs(60)).await;
        sweep(&mall, channel).await;
        assert_eq!(mall.unsold(&Source::Pool).await, 20, "{channel}");
    }
}

/// Allows everything, and keeps who went first.
#[derive(Default)]
struct Urgencies(Mutex<Vec<(String, Urgency)>>);

impl Quota for Urgencies {
    fn permit<'a>(
        &'a self,
        bucket: &'a str,
        _: Rate,
        urgency: Urgency,
    ) -> BoxFuture<'a, Result<(), Failure>> {
        let mut asked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push((bucket.to_owned(), urgency));
        std::future::ready(Ok(())).boxed()
    }

    fn observe<'a>(&'a self, _: &'a str, _: Seen) -> BoxFuture<'a, ()> {
        std::future::ready(()).boxed()
    }
}

#[tokio::test]
async fn a_sweep_leaves_the_calls_to_whoever_is_in_a_hurry() {
    let fake = Fake::start(Marketplaces::smartstore).await;
    let options = json!([{ "optionId": "41000000001", "name": "흰색", "stock": 500 }]);
    let item =
        json!({ "productId": "11000000001", "name": "머그", "price": 12_900, "options": options });
    fake.does("items", item).await;
    fake.does("settings", json!({ "rate": 0 })).await;
    let line = json!([{ "productId": "11000000001", "optionId": "41000000001", "quantity": 1 }]);
    let orders = json!({ "lines": line, "count": 310 });
    fake.does("orders", orders).await;
    let (_, open) = MARKETPLACES
        .iter()
        .find(|(name, _)| *name == "smartstore")
        .expect("it is in the table");
    let urgencies = Arc::new(Urgencies::default());
    let market = open(Setup {
        channel: "smartstore".into(),
        base_url: fake.base_url.clone(),
        credentials: [
            ("client_id", "demo-app-id"),
            ("client_secret", "$2a$04$N9qo8uLOickgx2ZMRZoMye"),
        ]
        .map(|(name, text)| (name.to_owned(), Secret::new(text)))
        .into(),
        quota: Arc::clone(&urgencies) as Arc<dyn Quota>,
        tokens: Arc::new(InMemory::default()),
    })
    .expect("it opens");
    let window = Window {
        from: clock::now().before(DAY / 2),
        to: clock::now() + Duration::from_secs(60),
    };
    let (mut lines, mut page) = (0, None::<String>);
    loop {
        let found = market.sweep(window, page.as_deref()).await.expect("a page");
        lines += found.lines.len();
        page = found.next;
        if page.is_none() {
            break;
        }
    }
    assert_eq!(
        lines, 310,
        "two pages of the first list, none of the others"
    );
    let asked = urgencies.0.lock().unwrap_or_else(PoisonError::into_inner);
    let hurried: Vec<_> = asked
        .iter()
        .filter(|(bucket, urgency)| !bucket.contains("token") && *urgency != Urgency::Sweep)
        .collect();
    assert_eq!((asked.len() >= 6, hurried.len()), (true, 0), "{asked:?}");
}
