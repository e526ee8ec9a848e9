//! The storm: hundreds of buyers want one product in the deployed local stack, while Redis and functions are killed, messages
//! come twice and late, and payments fail in every way. Then three sources have to agree that know nothing of each other: the
//! ledger, the payment gateway's own books, and what every buyer was told.
//!
//! Linux only: function processes are found in `/proc`.
#![cfg(target_os = "linux")]

#[path = "storm/books.rs"]
mod books;
#[path = "storm/buyer.rs"]
mod buyer;
#[path = "storm/crowd.rs"]
mod crowd;
#[path = "storm/weather.rs"]
mod weather;

use std::{io::Write, time::Duration};

use fastrand::Rng;
use futures::future::join_all;
use onepool::{
    auth::{Role, Tokens},
    clock,
    config::Secret,
    order::{FailureReason, OrderStatus},
};
use onepool_tests::Stack;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use books::Books;
use buyer::{Buyer, Way};
use crowd::Crowd;
use weather::Weather;

const PRODUCT: &str = "storm-tangerine";
const UNITS: u64 = 300;
const BUYERS: usize = 500;
/// Buyers who ask for something at the same time: two cores are enough for them.
const TOGETHER: usize = 16;
/// Buyers come within this time.
const RUSH: Duration = Duration::from_secs(20);
/// From an empty Redis that answers to the next accepted order.
const RESUMES_WITHIN: Duration = Duration::from_secs(5);
/// From the last request to rest: a payment that failed five times in a row comes again after a minute.
const QUIET_WITHIN: Duration = Duration::from_secs(180);

/// Told at once, also of a test that passes: it takes minutes.
macro_rules! tell {
    ($($what:tt)*) => {
        drop(writeln!(std::io::stderr(), "storm: {}", format_args!($($what)*)))
    };
}

#[tokio::test]
async fn ledger_gateway_and_buyers_agree_after_the_storm() {
    let seed = std::env::var("STORM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| fastrand::u64(..1 << 32));
    tell!("seed {seed} (STORM_SEED={seed} makes the same buyers and the same dice)");
    let began = Instant::now();
    let mut dice = Rng::with_seed(seed);
    let stack = Stack::start("storm").await;
    let broadcast = stack.show(PRODUCT, UNITS).await;
    tell!(
        "{:>5.1} s  the stack is up: {BUYERS} buyers, {UNITS} units",
        began.elapsed().as_secs_f64()
    );
    let crowd = Crowd::new(&stack, &broadcast, TOGETHER);
    let weather = Weather::new(&stack, dice.fork());
    weather.gather(seed).await;
    let mut buyers = buyers(&stack, &mut dice);

    let returned = tokio::select! {
        returned = async { tokio::join!(rush(&crowd, &mut buyers), strike(&crowd, &weather, began)).1 } => returned,
        () = weather.repeat_messages() => unreachable!("it goes on for ever"),
    };
    tell!(
        "{:>5.1} s  every buyer is done; old keys, old messages, and who walked away",
        began.elapsed().as_secs_f64()
    );
    weather.clear().await;
    weather.resend_all().await;
    close(&crowd, &mut buyers).await;
    let books = until_quiet(&stack, began).await;

    let resumed = crowd
        .progress()
        .resumed
        .map(|resumed| resumed.saturating_duration_since(returned));
    let mut broken = compare(&crowd, &buyers, &books).await;
    match resumed {
        Some(resumed) if resumed <= RESUMES_WITHIN => {}
        _ => broken.push(format!("selling resumed after {resumed:?}")),
    }
    table(&crowd, &buyers, &books, &weather, resumed);
    tell!("{:>5.1} s  it is over", began.elapsed().as_secs_f64());
    let first: Vec<&String> = broken.iter().take(20).collect();
    assert!(
        broken.is_empty(),
        "seed {seed}: {} things do not agree:\n{first:#?}",
        broken.len()
    );
    stack.stop().await;
}

fn buyers(stack: &Stack, dice: &mut Rng) -> Vec<Buyer> {
    let secret = stack.local["token_secret"].as_str().expect("a secret");
    let tokens = Tokens::new(&Secret::new(secret));
    let until = clock::now() + Duration::from_secs(3_600);
    let mut buyer = |number: usize| {
        let user = format!("storm-buyer-{number}").parse().expect("an id");
        let token = tokens
            .sign(user, "구매자", Role::Viewer, until)
            .expect("a token");
        Buyer::new(number, token, PRODUCT, RUSH, dice)
    };
    (0..BUYERS).map(&mut buyer).collect()
}

/// All buyers at once.
async fn rush(crowd: &Crowd<'_>, buyers: &mut [Buyer]) {
    join_all(buyers.iter_mut().map(|buyer| buyer.shop(crowd))).await;
    crowd.note_over();
}

/// Kills one part after the other while orders come in. Returns when Redis was back.
async fn strike(crowd: &Crowd<'_>, weather: &Weather<'_>, began: Instant) -> Instant {
    let tell = |what: &str, accepted: usize| {
        tell!(
            "{:>5.1} s  {accepted:>3} accepted: {what}",
            began.elapsed().as_secs_f64()
        );
    };
    let accepted = crowd.until(|seen| seen.accepted >= 25).await.accepted;
    tell("order-process is killed", accepted);
    weather.kill_function("OrderProcess");
    let accepted = crowd.until(|seen| seen.accepted >= 50).await.accepted;
    tell("order-accept is killed", accepted);
    weather.kill_function("OrderAccept");

    // The worst moment for Redis to die: orders are accepted, and nobody but the queue knows of them.
    let accepted = crowd.until(|seen| seen.accepted >= 70).await.accepted;
    tell("the consumer of the queue stops", accepted);
    weather.consume(false).await;
    let enough = accepted + 30;
    let accepted = crowd.until(|seen| seen.accepted >= enough).await.accepted;
    weather.copy_messages().await;
    tell("Redis is killed, and all that it knew is lost", accepted);
    crowd.note_killed();
    weather.kill_redis();
    weather.redis_is_back().await;
    let returned = Instant::now();
    tell("an empty Redis answers", crowd.progress().accepted);
    let resumed = crowd.until(|seen| seen.resumed.is_some()).await;
    tell("selling goes on", resumed.accepted);
    // The gate was loaded from a ledger that does not know what is on the queue: it sells those units again, and only the
    // ledger can refuse.
    let enough = resumed.accepted + 20;
    let accepted = crowd.until(|seen| seen.accepted >= enough).await.accepted;
    tell("the consumer goes on", accepted);
    weather.consume(true).await;

    for (more, function) in [
        (20, "OrderProcess"),
        (20, "PaymentWebhook"),
        (20, "OrderAccept"),
        (10, "OrderProcess"),
    ] {
        let enough = crowd.progress().accepted + more;
        let accepted = crowd.until(|seen| seen.accepted >= enough).await.accepted;
        tell(&format!("{function} is killed"), accepted);
        weather.kill_function(function);
    }
    returned
}

/// Some send their old request again; who walked away takes the order back.
async fn close(crowd: &Crowd<'_>, buyers: &mut [Buyer]) {
    for some in buyers.chunks_mut(TOGETHER) {
        join_all(some.iter_mut().map(async |buyer| {
            if buyer.order().is_none() {
                return;
            }
            if buyer.way == Way::WalksAway {
                buyer.take_back(crowd).await;
            }
            if buyer.asks_again {
                buyer.ask_again(crowd).await;
            }
        }))
        .await;
    }
}

/// Waits until nothing is under way any more. `reconcile` comes every minute by itself; here it is called, too.
async fn until_quiet(stack: &Stack, began: Instant) -> Books {
    let (_, functions) = stack.lambda(Method::GET, "functions", Value::Null).await;
    let names = functions["Functions"].as_array().expect("functions").iter();
    let mut names = names.filter_map(|function| function["FunctionName"].as_str());
    let reconcile = names
        .find(|name| name.contains("Reconcile"))
        .expect("reconcile is deployed");
    let deadline = Instant::now() + QUIET_WITHIN;
    let mut told = String::new();
    loop {
        let path = format!("functions/{reconcile}/invocations");
        let (_, report) = stack.lambda(Method::POST, &path, json!({})).await;
        let books = Books::read(stack, PRODUCT).await;
        let under_way = books.under_way();
        if under_way.is_empty() || Instant::now() > deadline {
            return books;
        }
        let first: Vec<_> = under_way.iter().take(3).collect();
        let news = format!("{} under way, such as {first:?}", under_way.len());
        if news != told {
            tell!(
                "{:>5.1} s  {news}; reconcile: {report}",
                began.elapsed().as_secs_f64()
            );
            told = news;
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// Everything that does not agree.
async fn compare(crowd: &Crowd<'_>, buyers: &[Buyer], books: &Books) -> Vec<String> {
    let mut broken = books.under_way();
    broken.extend(stock(books));
    broken.extend(books.orders.keys().filter_map(|id| money(books, id)));
    broken.extend(
        books
            .money
            .keys()
            .filter(|id| !books.orders.contains_key(*id))
            .map(|id| format!("the gateway knows {id}, the ledger does not")),
    );
    broken.extend(
        buyers
            .iter()
            .flat_map(|buyer| buyer.trouble.iter().cloned()),
    );
    for some in buyers.chunks(TOGETHER) {
        let answers = some.iter().map(|buyer| answers(crowd, buyer, books));
        broken.extend(join_all(answers).await.into_iter().flatten());
    }
    let told: usize = buyers.iter().map(|buyer| buyer.orders.len()).sum();
    if told != books.orders.len() {
        broken.push(format!(
            "buyers were told of {told} orders, the ledger has {}",
            books.orders.len()
        ));
    }
    broken
}

/// Never oversold, and every change of a row is written down with its cause.
fn stock(books: &Books) -> Vec<String> {
    let mut broken = Vec::new();
    let (mut granted, mut sold) = (0, 0);
    for (source, of_row, sold_of_row) in &books.rows {
        granted += of_row;
        sold += sold_of_row;
        if sold_of_row > of_row {
            broken.push(format!("{source} is oversold: {sold_of_row} of {of_row}"));
        }
        let sum = books.trace.get(source).copied().unwrap_or_default();
        let signed = |units: &u64| i64::try_from(*units).expect("a number");
        if sum != (signed(of_row), signed(sold_of_row)) {
            broken.push(format!("the trace of {source} adds up to {sum:?}, the row says {of_row} granted, {sold_of_row} sold"));
        }
    }
    if granted != UNITS {
        broken.push(format!("{granted} units are granted of {UNITS}"));
    }
    let confirmed = books.confirmed_units();
    if sold != confirmed {
        broken.push(format!(
            "{sold} units are sold, {confirmed} are in confirmed orders"
        ));
    }
    broken
}

/// Exactly the amount of a confirmed order stays with the gateway, nothing of a failed one, and nobody pays twice.
fn money(books: &Books, id: &str) -> Option<String> {
    let order = &books.orders[id];
    let money = books.money.get(id).copied().unwrap_or_default();
    let right = match order.status {
        OrderStatus::Confirmed => order.amount(),
        OrderStatus::Failed | OrderStatus::Reserved | OrderStatus::Accepted => 0,
    };
    (money.kept != right || money.charges > 1).then(|| {
        format!(
            "{id} is {:?} ({:?}) over {right}: {money:?}",
            order.status, order.reason
        )
    })
}

/// What a buyer was told and reads is what the ledger says.
async fn answers(crowd: &Crowd<'_>, buyer: &Buyer, books: &Books) -> Vec<String> {
    let Some(id) = buyer.order() else {
        return if buyer.refused {
            Vec::new()
        } else {
            vec!["a buyer has no answer".to_owned()]
        };
    };
    let mut broken = Vec::new();
    if buyer.orders.len() > 1 {
        broken.push(format!("one key, several orders: {:?}", buyer.orders));
    }
    let Some(order) = books.orders.get(id) else {
        return vec![format!("{id} was accepted, and is not in the ledger")];
    };
    let read = buyer.read(crowd, id).await;
    let same = read.as_ref().is_some_and(|(status, view)| {
        *status == 200
            && view["status"] == json!(order.status)
            && view["reason"] == json!(order.reason)
            && view["amount"] == order.amount()
    });
    if !same {
        broken.push(format!(
            "{id} is {:?} ({:?}), and its buyer reads {read:?}",
            order.status, order.reason
        ));
    }
    let units: u64 = order
        .lines
        .iter()
        .map(|line| u64::from(line.quantity))
        .sum();
    if units != buyer.units {
        broken.push(format!(
            "{id} is over {units} units, its buyer asked for {}",
            buyer.units
        ));
    }
    let settled = match order.status {
        OrderStatus::Confirmed => buyer.way != Way::BadCard && !buyer.taken_back,
        OrderStatus::Failed => order.reason.is_some(),
        OrderStatus::Reserved | OrderStatus::Accepted => false,
    };
    if !settled {
        broken.push(format!(
            "{id} ({:?}, taken back: {}) is {:?}, {:?}",
            buyer.way, buyer.taken_back, order.status, order.reason
        ));
    }
    broken
}

fn table(
    crowd: &Crowd<'_>,
    buyers: &[Buyer],
    books: &Books,
    weather: &Weather<'_>,
    resumed: Option<Duration>,
) {
    let progress = crowd.progress();
    let failed = |reason: FailureReason| {
        books
            .orders
            .values()
            .filter(|order| order.reason == Some(reason))
            .count()
    };
    let confirmed = books
        .orders
        .values()
        .filter(|order| order.status == OrderStatus::Confirmed)
        .count();
    let rows = [
        (
            "buyers accepted / told sold out",
            format!(
                "{} / {}",
                progress.accepted,
                buyers.iter().filter(|buyer| buyer.refused).count()
            ),
        ),
        (
            "requests without an answer, asked again",
            progress.unanswered.to_string(),
        ),
        (
            "404 for an accepted order, for a while",
            progress.forgotten.to_string(),
        ),
        (
            "old keys told sold out",
            buyers
                .iter()
                .filter(|buyer| buyer.contradicted)
                .count()
                .to_string(),
        ),
        (
            "function processes killed / Redis",
            format!("{} / 1", weather.killed.get()),
        ),
        (
            "messages sent beside the true ones",
            weather.copies.get().to_string(),
        ),
        (
            "Redis back to next 202",
            resumed.map_or("never".to_owned(), |resumed| {
                format!("{:.2} s", resumed.as_secs_f64())
            }),
        ),
        (
            "orders confirmed / units",
            format!("{confirmed} / {} of {UNITS}", books.confirmed_units()),
        ),
        (
            "failed: sold out, by the ledger",
            failed(FailureReason::SoldOut).to_string(),
        ),
        (
            "failed: payment declined",
            failed(FailureReason::PaymentDeclined).to_string(),
        ),
        (
            "failed: cancelled",
            failed(FailureReason::Cancelled).to_string(),
        ),
        (
            "failed: expired, undeliverable",
            format!(
                "{}, {}",
                failed(FailureReason::Expired) + failed(FailureReason::PaymentExpired),
                failed(FailureReason::Undeliverable)
            ),
        ),
        (
            "charges / still with the gateway",
            format!(
                "{} / {} won",
                books
                    .money
                    .values()
                    .map(|money| money.charges)
                    .sum::<usize>(),
                books.money.values().map(|money| money.kept).sum::<u64>()
            ),
        ),
    ];
    for (label, value) in rows {
        tell!("  {label:<42} {value:>16}");
    }
}
