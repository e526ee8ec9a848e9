//! The control API under `/sandbox`: not part of Toss, and without authorization, since the sandbox
//! listens on this machine only.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    routing::{get, post, put},
};
use reqwest::Url;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    answer::{Answer, Refusal},
    clock::{self, Clock},
    exchange::MAX_BODY_BYTES,
    faults::Script,
    requests::{check_amount, check_order_id, read_json},
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
    with_body(&body, |checkout: Checkout| {
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
        "requests": world.record.entries(),
        "dropped": world.record.dropped(),
    }))
}

async fn list_faults(State(shared): State<Arc<Shared>>) -> Answer {
    Answer::ok(&json!({ "faults": shared.world().faults.rules() }))
}

async fn add_faults(State(shared): State<Arc<Shared>>, body: Bytes) -> Answer {
    with_body(&body, |script: Script| {
        let mut world = shared.world();
        world.faults.add(script)?;
        Ok(json!({ "faults": world.faults.rules() }))
    })
}

/// Also lets go of the requests that are delayed or held, so that a test can wait for an event
/// instead of for a time.
async fn clear_faults(State(shared): State<Arc<Shared>>) -> Answer {
    shared.world().faults.clear();
    shared.release();
    Answer::ok(&json!({ "faults": [] }))
}

async fn reset(State(shared): State<Arc<Shared>>) -> Answer {
    shared.world().reset();
    shared.release();
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
        if !world.clock.advance(advance.advance_s) {
            return Err(Refusal::invalid_request(&format!(
                "The clock goes at most {} seconds ahead.",
                Clock::MAX_AHEAD_S
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

fn with_body<T: DeserializeOwned>(
    body: &Bytes,
    then: impl FnOnce(T) -> Result<Value, Refusal>,
) -> Answer {
    Answer::from(read_json(body).and_then(then))
}
