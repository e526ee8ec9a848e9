//! The show: three times more buyers than units, all at once, while others watch. Then everything is counted.

mod buyer;
mod count;
mod progress;
mod verdict;
mod viewer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::time::sleep;

use crate::error::{Error, Result};
use crate::live::Live;
use crate::say;
use crate::seed::{self, OnAir, Staff};
use crate::shop::Shop;
use crate::tokens::Role;
use buyer::Outcome;
use progress::Progress;
use viewer::Viewer;

const BUYERS: usize = 300;
const VIEWERS: usize = 50;
/// Buyers who watch as well: what is pushed to them is compared with what they read.
const BUYERS_WATCHING: usize = 5;
/// Units that a person finds on air when the show is over.
const UNITS_AFTERWARDS: i64 = 20;
/// All but those who watch come within this time.
const RUSH: Duration = Duration::from_secs(1);
const EVERYONE_IN: Duration = Duration::from_secs(60);
const QUIET: Duration = Duration::from_secs(60);

/// Runs the shows; answers whether everything held, and what was on air last.
pub async fn run(live: &Live, first: OnAir, shows: u32) -> Result<(bool, OnAir)> {
    let staff = Staff::of(live);
    let mut on_air = first;
    let mut held = true;
    for number in 1..=shows {
        if number > 1 {
            seed::end_broadcast(&staff, &on_air).await?;
            on_air = seed::next_broadcast(&staff, seed::ON_SALE).await?;
        }
        println!();
        say::note(
            &format!(
                "쇼 {number}/{shows}: {}개를 {BUYERS}명이 사고 {VIEWERS}명이 봅니다",
                on_air.units
            ),
            &format!(
                "show {number} of {shows}: {BUYERS} buyers for {} units, {VIEWERS} viewers",
                on_air.units
            ),
        );
        held &= one(live, &staff, &on_air).await?;
    }
    Ok((held, on_air))
}

/// After the show: a few units on air, for a person to try it.
pub async fn reopen(live: &Live, last: &OnAir) -> Result<OnAir> {
    let staff = Staff::of(live);
    seed::end_broadcast(&staff, last).await?;
    seed::next_broadcast(&staff, UNITS_AFTERWARDS).await
}

async fn one(live: &Live, staff: &Staff, on_air: &OnAir) -> Result<bool> {
    let viewers = audience(live, on_air).await?;
    let since = Instant::now();
    let outcomes = rush(live, on_air).await?;
    let rush_took = since.elapsed();
    viewers.iter().for_each(Viewer::hush);
    let quiet = until_quiet(live, &viewers, &outcomes).await;
    let product = staff
        .operator
        .must_get(&format!("/products/{}", on_air.product_id))
        .await?;
    let waiting = count::messages(live).await?;
    let screens = viewers.iter().map(Viewer::screen).collect::<Vec<_>>();
    for viewer in viewers {
        viewer.leave().await;
    }
    let verdict = verdict::Verdict::of(on_air, &outcomes, &product, &waiting, &screens);
    println!("{}", verdict.table());
    say::note(
        &format!(
            "주문 {:.1}초, 정리까지 {:.1}초 (에뮬레이터: 속도 수치가 아님)",
            rush_took.as_secs_f64(),
            since.elapsed().as_secs_f64()
        ),
        if quiet {
            "through an emulator: not a measure of speed"
        } else {
            "it did not become quiet in time"
        },
    );
    for line in verdict.broken() {
        println!("  ✗ {line}");
    }
    Ok(verdict.holds())
}

/// All viewers, each with the room's state before the first order.
async fn audience(live: &Live, on_air: &OnAir) -> Result<Vec<Viewer>> {
    let entering = (0..VIEWERS).map(|number| {
        let token = live
            .signer
            .sign(&person(number), &format!("시청자{number}"), Role::Viewer);
        let place = format!(
            "{}?broadcast_id={}",
            live.addresses.websocket, on_air.broadcast_id
        );
        async move { Ok::<_, Error>(Viewer::enter(number, format!("{place}&token={}", token?))) }
    });
    let viewers = join_all(entering)
        .await
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let deadline = Instant::now() + EVERYONE_IN;
    loop {
        let missing = viewers
            .iter()
            .map(Viewer::screen)
            .filter(|screen| screen.inits == 0)
            .collect::<Vec<_>>();
        let Some(one) = missing.first() else {
            return Ok(viewers);
        };
        if Instant::now() > deadline {
            let trouble = one.trouble.clone().unwrap_or_else(|| "no init came".into());
            return Err(Error::new(format!(
                "{} of {VIEWERS} viewers are not in the room: {trouble}",
                missing.len()
            ))
            .fix("the functions' logs are in logs/functions.log"));
        }
        sleep(Duration::from_millis(50)).await;
    }
}

/// All buyers at once; each ends with an answer.
async fn rush(live: &Live, on_air: &OnAir) -> Result<Vec<Outcome>> {
    let http = reqwest::Client::new();
    let progress = Arc::new(Progress::new(BUYERS));
    let mut buyers = Vec::with_capacity(BUYERS);
    for number in 0..BUYERS {
        let token = live
            .signer
            .sign(&person(number), &format!("구매자{number}"), Role::Viewer)?;
        let shop = Shop::new(&http, &live.addresses.http, token);
        let delay = if number < BUYERS_WATCHING {
            Duration::ZERO
        } else {
            RUSH.mul_f64(fastrand::f64())
        };
        buyers.push(buyer::buy(
            shop,
            on_air.clone(),
            person(number),
            delay,
            Arc::clone(&progress),
        ));
    }
    let watch = tokio::spawn(Arc::clone(&progress).draw());
    let outcomes = join_all(buyers).await;
    watch.abort();
    progress.finish();
    Ok(outcomes)
}

/// Buyers and viewers share their names: the first few are both.
fn person(number: usize) -> String {
    format!("guest-{number}")
}

/// Queues empty, screens at zero, results pushed: all of it, or the deadline.
async fn until_quiet(live: &Live, viewers: &[Viewer], outcomes: &[Outcome]) -> bool {
    let deadline = Instant::now() + QUIET;
    while Instant::now() < deadline {
        let screens = viewers.iter().map(Viewer::screen).collect::<Vec<_>>();
        let shown = screens.iter().all(|screen| screen.remaining == Some(0));
        let pushed = verdict::pushed(outcomes, &screens).all(|(_, same)| same);
        let empty = count::messages(live)
            .await
            .is_ok_and(|queues| queues.values().all(|waiting| *waiting == 0));
        if shown && pushed && empty {
            return true;
        }
        sleep(Duration::from_millis(250)).await;
    }
    false
}
