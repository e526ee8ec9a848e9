//! What the control API can change at a marketplace.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use time::Duration;

use crate::{answer::Refusal, clock, control::read};

/// The switches with those changed that the body names, and no other; a misspelt one is refused.
pub(crate) fn changed<S: Serialize + DeserializeOwned>(
    switches: &S,
    body: &[u8],
) -> Result<S, Refusal> {
    let change: Map<String, Value> = read(body)?;
    let mut all = json!(switches);
    for (name, to) in change {
        // As if it were not named: there is no switch that null turns off.
        if !to.is_null() {
            all[name] = to;
        }
    }
    serde_json::from_value(all).map_err(|error| Refusal::invalid(error.to_string()))
}

/// At most as far as the clock goes.
pub(crate) fn seconds(s: u64) -> Duration {
    let most = clock::MOST;
    i64::try_from(s).map_or(most, |s| Duration::seconds(s).min(most))
}
