//! The control API under `/sandbox`: not part of Toss, and without authorization, since the sandbox
//! listens on this machine only.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::{get, post, put},
};
use fakes::{clock::MOST, control::with_body, faults::Script};
use reqwest::Url;
use serde::Deserialize;
use serde_json::json;
use time::Duration;

use crate::{
    answer::{Answer, Refusal},
    clock,
    exchange::MAX_BODY_BYTES,
    faults::RuleText,
    requests::{check_amount, check_order_id},
    webhooks::Plan,
    world::Shared,
};

pub(crate) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/sandbox/checkouts", post(check_out))
        .route("/sandbox/books", get(books))
        .route("/sandbox/requests", get(requests))
        .route(
            "/sandbox/faults",
            get(list_faults).post(add_faults).delete(clear_faults),
        )
        .route("/sandbox/reset", post(reset))
        .route("/sandbox/clock", post(advance_clock))
        .route("/sandbox/webhook", put(set_webhook).get(show_webhook))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Checkout {
    order_id: String,
    amount: u64,
    order_name: Option<String>,
}

async fn check_out(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    with_body::<_, Refusal>(&body, |checkout: Checkout| {
        check_order_id(&checkout.order_id)?;
        check_amount(checkout.amount)?;
        let name = checkout.order_name.as_deref().unwrap_or("Sandbox order");
        let mut world = shared.world();
        let now = world.clock.now();
        let payment = world
            .payments
            .check_out(&checkout.order_id, name, checkout.amount, now)?;
        world.tell_changes();
        Ok(json!({
            "paymentKey": payment["paymentKey"],
            "orderId": checkout.order_id,
            "amount": checkout.amount,
        }))
    })
}

async fn books(State(shared): State<Arc<Shared>>) -> Answer {
    let mut world = shared.world();
    world.expire_sessions();
    Answer::ok(&world.payments.books())
}

async fn requests(State(shared): State<Arc<Shared>>) -> Answer {
    let world = shared.world();
    Answer::ok(&json!({
        "requests": world.record.after(0),
        "dropped": world.record.dropped(),
    }))
}

async fn list_faults(State(shared): State<Arc<Shared>>) -> Answer {
    Answer::ok(&json!({ "faults": shared.world().faults.rules() }))
}

async fn add_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    with_body::<_, Refusal>(&body, |script: Script<RuleText>| {
        let mut world = shared.world();
        world.faults.add(script, RuleText::fault)?;
        Ok(json!({ "faults": world.faults.rules() }))
    })
}

/// Also lets go of the requests that are delayed or held, so that a test can wait for an event
/// instead of for a time.
async fn clear_faults(State(shared): State<Arc<Shared>>) -> Answer {
    shared.world().faults.clear();
    shared.release.now();
    Answer::ok(&json!({ "faults": [] }))
}

async fn reset(State(shared): State<Arc<Shared>>) -> Answer {
    shared.world().reset();
    shared.release.now();
    Answer::ok(&json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

async fn advance_clock(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    with_body(&body, |advance: Advance| {
        let mut world = shared.world();
        let advanced = i64::try_from(advance.advance_s)
            .is_ok_and(|seconds| world.clock.advance(Duration::seconds(seconds)));
        if !advanced {
            return Err(Refusal::invalid_request(&format!(
                "The clock goes at most {} seconds ahead.",
                MOST.whole_seconds()
            )));
        }
        world.expire_sessions();
        Ok(json!({ "now": clock::iso(world.clock.now()) }))
    })
}

async fn set_webhook(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    with_body(&body, |plan: Plan| {
        if let Some(url) = &plan.url
            && Url::parse(url).is_err()
        {
            return Err(Refusal::invalid_request("url is not a URL."));
        }
        let mut world = shared.world();
        world.outbox.follow(plan);
        Ok(world.outbox.show())
    })
}

async fn show_webhook(State(shared): State<Arc<Shared>>) -> Answer {
    Answer::ok(&shared.world().outbox.show())
}
