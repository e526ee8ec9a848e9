//! The control API under `/sandbox`: not part of any marketplace, and without authorization, since the process listens
//! on this machine only.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path, Query, State},
    routing::{get, post},
};
use fakes::{control::with_body, faults::Script};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use crate::{
    answer::{Answer, Refusal},
    clock::{self, Change},
    exchange::MAX_BODY_BYTES,
    faults::RuleText,
    market::{Cancel, Market, Move, NewItem, NewLine, NewOrder},
    world::Shared,
};

/// The most orders that one request places.
const MAX_COUNT: u32 = 50_000;

type World<M> = State<Arc<Shared<M>>>;

pub(crate) fn router<M: Market>() -> Router<Arc<Shared<M>>> {
    Router::new()
        .route("/sandbox/items", get(items::<M>).post(list_item::<M>))
        .route("/sandbox/orders", get(orders::<M>).post(place_orders::<M>))
        .route("/sandbox/orders/{order}/cancel", post(cancel_order::<M>))
        .route("/sandbox/orders/{order}/state", post(move_order::<M>))
        .route("/sandbox/requests", get(requests::<M>))
        .route("/sandbox/webhooks", get(webhooks::<M>))
        .route(
            "/sandbox/faults",
            get(list_faults::<M>)
                .post(add_faults::<M>)
                .delete(clear_faults::<M>),
        )
        .route(
            "/sandbox/clock",
            get(show_clock::<M>).post(change_clock::<M>),
        )
        .route(
            "/sandbox/settings",
            get(switches::<M>).post(change_switches::<M>),
        )
        .route("/sandbox/actions/{action}", post(act::<M>))
        .route("/sandbox/reset", post(reset::<M>))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn items<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&json!({ "items": shared.world().market.items() }))
}

async fn list_item<M: Market>(State(shared): World<M>, body: Bytes) -> Answer {
    with_body(&body, |item: NewItem| {
        shared.step(|world| world.market.list_item(item, world.clock.now()))
    })
}

async fn orders<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&json!({ "orders": shared.world().market.orders() }))
}

/// One order, or `count` equal ones.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewOrders {
    lines: Vec<NewLine>,
    buyer: Option<String>,
    paid: Option<bool>,
    count: Option<u32>,
}

/// The first refusal ends a load: what is sold out stays sold out.
async fn place_orders<M: Market>(State(shared): World<M>, body: Bytes) -> Answer {
    with_body(&body, |orders: NewOrders| {
        let order = NewOrder {
            lines: orders.lines,
            buyer: orders.buyer,
            paid: orders.paid.unwrap_or(true),
        };
        check_lines(&order.lines)?;
        let Some(count) = orders.count else {
            return shared.step(|world| world.market.place_order(&order, world.clock.now()));
        };
        if count > MAX_COUNT {
            return Err(Refusal::invalid(format!("count is at most {MAX_COUNT}.")));
        }
        let mut placed = Vec::new();
        let mut refused = None;
        for _ in 0..count {
            match shared.step(|world| world.market.place_order(&order, world.clock.now())) {
                Ok(order) => placed.push(order),
                Err(refusal) => {
                    refused = Some(refusal.show());
                    break;
                }
            }
        }
        Ok(json!({ "placed": placed.len(), "refused": refused, "orders": placed }))
    })
}

fn check_lines(lines: &[NewLine]) -> Result<(), Refusal> {
    if lines.is_empty() || lines.len() > 100 {
        return Err(Refusal::invalid("An order has 1 to 100 lines."));
    }
    if lines
        .iter()
        .any(|line| !(1..=10_000).contains(&line.quantity))
    {
        return Err(Refusal::invalid("quantity is 1 to 10000."));
    }
    Ok(())
}

async fn cancel_order<M: Market>(
    State(shared): World<M>,
    Path(order): Path<String>,
    body: Bytes,
) -> Answer {
    let body = if body.is_empty() {
        Bytes::from("{}")
    } else {
        body
    };
    with_body(&body, |cancel: Cancel| {
        if cancel.quantity == Some(0) {
            return Err(Refusal::invalid("quantity is at least 1."));
        }
        shared.step(|world| {
            let now = world.clock.now();
            world.market.cancel_order(&order, &cancel, now)
        })
    })
}

async fn move_order<M: Market>(
    State(shared): World<M>,
    Path(order): Path<String>,
    body: Bytes,
) -> Answer {
    with_body(&body, |to: Move| {
        shared.step(|world| {
            let now = world.clock.now();
            world.market.move_order(&order, &to, now)
        })
    })
}

#[derive(Deserialize)]
struct After {
    #[serde(default)]
    after: u64,
}

async fn requests<M: Market>(State(shared): World<M>, Query(from): Query<After>) -> Answer {
    let world = shared.world();
    Answer::ok(&json!({
        "requests": world.record.after(from.after),
        "dropped": world.record.dropped(),
    }))
}

async fn webhooks<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&json!({ "counts": shared.world().outbox.counts() }))
}

async fn list_faults<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&json!({ "faults": shared.world().faults.rules(), "operations": M::OPERATIONS }))
}

async fn add_faults<M: Market>(State(shared): World<M>, body: Bytes) -> Answer {
    with_body::<_, Refusal>(&body, |script: Script<RuleText>| {
        let mut world = shared.world();
        world.faults.add(script, |text| text.fault(M::OPERATIONS))?;
        Ok(json!({ "faults": world.faults.rules() }))
    })
}

/// Also lets go of the requests that are delayed or held, so that a test can wait for an event
/// instead of for a time.
async fn clear_faults<M: Market>(State(shared): World<M>) -> Answer {
    shared.world().faults.clear();
    shared.release.now();
    Answer::ok(&json!({ "faults": [] }))
}

async fn show_clock<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&json!({ "now": clock::iso(shared.world().clock.now()) }))
}

async fn change_clock<M: Market>(State(shared): World<M>, body: Bytes) -> Answer {
    with_body::<_, Refusal>(&body, |change: Change| {
        shared.step(|world| {
            world.clock.change(&change)?;
            Ok(json!({ "now": clock::iso(world.clock.now()) }))
        })
    })
}

async fn switches<M: Market>(State(shared): World<M>) -> Answer {
    Answer::ok(&shared.world().market.switches())
}

async fn change_switches<M: Market>(State(shared): World<M>, body: Bytes) -> Answer {
    Answer::from(shared.step(|world| {
        let now = world.clock.now();
        world.market.change_switches(&body, now)
    }))
}

async fn act<M: Market>(
    State(shared): World<M>,
    Path(action): Path<String>,
    body: Bytes,
) -> Answer {
    Answer::from(shared.step(|world| {
        let now = world.clock.now();
        world.market.act(&action, &body, now)
    }))
}

async fn reset<M: Market>(State(shared): World<M>) -> Answer {
    shared.reset();
    Answer::ok(&json!({}))
}

/// A JSON body, or the refusal that names what is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    Ok(fakes::control::read(body)?)
}
