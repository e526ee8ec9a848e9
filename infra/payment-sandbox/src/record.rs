//! What the record tells of a request to the Toss API: no body, and no key that is secret.

use fakes::record::End;
use serde::Serialize;

use crate::faults::Kind;

pub(crate) const MAX_ENTRIES: usize = 20_000;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) order_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    #[serde(flatten)]
    pub(crate) end: End,
    pub(crate) fault: Option<Kind>,
    /// The answer was an earlier one, repeated for its idempotency key.
    pub(crate) replayed: bool,
}
