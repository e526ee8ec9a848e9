//! One buyer: orders once, insists with the same key when the line is bad, and reads what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::progress::Progress;
use crate::seed::OnAir;
use crate::shop::Shop;

/// Tries of one order; all carry the same key.
const TRIES_MAX: u32 = 8;
/// Longer than a failed delivery of `orders` stays invisible: what comes again is late, not lost.
const SETTLED_WITHIN: Duration = Duration::from_secs(420);

/// How it ended for a buyer.
#[derive(Debug)]
pub enum Outcome {
    /// The answer was `sold_out`.
    Refused,
    /// Accepted, and settled as the buyer reads it.
    Settled {
        /// The order as its buyer reads it.
        order: Value,
    },
    /// Accepted, and never settled.
    Unsettled {
        /// The order's id and what was read of it last.
        why: String,
    },
    /// Neither accepted nor refused as the contract says.
    Unanswered {
        /// The last answer.
        why: String,
    },
}

/// Buys one unit.
pub async fn buy(
    shop: Shop,
    on_air: OnAir,
    person: String,
    delay: Duration,
    progress: Arc<Progress>,
) -> Outcome {
    sleep(delay).await;
    let outcome = match order(&shop, &on_air, &person).await {
        Ok(Some(order_id)) => {
            progress.accepted();
            settled(&shop, &order_id).await
        }
        Ok(None) => Outcome::Refused,
        Err(why) => Outcome::Unanswered { why },
    };
    progress.ended(&outcome);
    outcome
}

async fn order(shop: &Shop, on_air: &OnAir, person: &str) -> Result<Option<String>, String> {
    let path = format!("/broadcasts/{}/orders", on_air.broadcast_id);
    let key = format!("{person}-{:016x}", fastrand::u64(..));
    let body = json!({
        "lines": [{ "product_id": on_air.product_id, "quantity": 1 }],
        "payment": { "method": "billing_key", "billing_key": format!("bk-{person}"), "customer_key": person },
    });
    let mut last = String::new();
    for attempt in 1..=TRIES_MAX {
        match shop.change(Method::POST, &path, &key, &body).await {
            Ok(answer) if answer.status == StatusCode::ACCEPTED => {
                let order_id = answer.body["order_id"].as_str();
                return order_id
                    .map(|id| Some(id.to_owned()))
                    .ok_or_else(|| format!("202 without an order id: {}", answer.body));
            }
            Ok(answer)
                if answer.status == StatusCode::CONFLICT && answer.body["code"] == "sold_out" =>
            {
                return Ok(None);
            }
            Ok(answer)
                if answer.status.is_server_error()
                    || answer.status == StatusCode::TOO_MANY_REQUESTS =>
            {
                last = format!("{} {}", answer.status, answer.body);
            }
            Ok(answer) => return Err(format!("{} {}", answer.status, answer.body)),
            Err(error) => last = error.to_string(),
        }
        sleep(Duration::from_millis(100 + fastrand::u64(0..400)) * attempt).await;
    }
    Err(format!("{TRIES_MAX} tries, the last: {last}"))
}

async fn settled(shop: &Shop, order_id: &str) -> Outcome {
    let deadline = Instant::now() + SETTLED_WITHIN;
    let mut wait = Duration::from_millis(300);
    loop {
        sleep(wait.mul_f64(1.0 + fastrand::f64() / 2.0)).await;
        wait = (wait * 3 / 2).min(Duration::from_secs(2));
        let read = match shop.get(&format!("/orders/{order_id}")).await {
            Ok(answer) if answer.status.is_success() => match answer.body["status"].as_str() {
                Some("confirmed" | "failed") => return Outcome::Settled { order: answer.body },
                Some(_) | None => answer.body.to_string(),
            },
            Ok(answer) => format!("{} {}", answer.status, answer.body),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Outcome::Unsettled {
                why: format!("{order_id}: {read}"),
            };
        }
    }
}
