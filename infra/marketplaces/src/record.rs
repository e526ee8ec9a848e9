//! The bounded record of requests to a marketplace. It holds no bodies, and what is secret in headers and queries is
//! masked.

use std::collections::VecDeque;

use axum::http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use crate::{faults::Kind, market::StockChange};

const MAX_ENTRIES: usize = 10_000;

/// Headers whose value lets its reader act as the seller. Of a scheme and a value, the scheme stays.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "openapikey", "x-api-key"];
const SECRET_PARAMETERS: [&str; 5] = [
    "client_secret_sign",
    "client_secret",
    "access_token",
    "refresh_token",
    "code",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Not ended yet: delayed, or held before its connection is cut.
    Running,
    Answered,
    /// The connection was closed without an answer.
    Cut,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Counts requests from 1 in the order of their arrival.
    pub(crate) number: u64,
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) operation: &'static str,
    pub(crate) items: Vec<String>,
    pub(crate) orders: Vec<String>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) fault: Option<Kind>,
    /// What a fault had a buyer do right before the work.
    pub(crate) before: Option<Value>,
    /// Counts works from 1 in the order they were done, which is not always the order of arrival.
    pub(crate) done: Option<u64>,
    /// What the work did to the stock.
    pub(crate) stock: Vec<StockChange>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    entries: VecDeque<Entry>,
    /// How many requests have been recorded, and so the number of the newest.
    begun: u64,
    dropped: u64,
    done: u64,
}

impl Record {
    /// Keeps the entry under the number it gives back.
    pub(crate) fn begin(&mut self, mut entry: Entry) -> u64 {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.begun += 1;
        entry.number = self.begun;
        self.entries.push_back(entry);
        self.begun
    }

    pub(crate) fn note(&mut self, number: u64, change: impl FnOnce(&mut Entry)) {
        let first = self.entries.front().map_or(u64::MAX, |entry| entry.number);
        let entry = number
            .checked_sub(first)
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.entries.get_mut(place));
        // An entry that was pushed out while its request ran has nothing left to note.
        if let Some(entry) = entry {
            change(entry);
        }
    }

    /// The number of the next work that is done.
    pub(crate) fn next_done(&mut self) -> u64 {
        self.done += 1;
        self.done
    }

    /// Numbers go on counting, so that a request from before cannot write to an entry from after.
    pub(crate) fn clear(&mut self) {
        self.entries.clear();
        self.dropped = 0;
    }

    /// Those that arrived after the one with this number.
    pub(crate) fn after(&self, number: u64) -> Vec<&Entry> {
        self.entries
            .iter()
            .filter(|entry| entry.number > number)
            .collect()
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// All headers, in their order, without what is secret.
pub(crate) fn masked_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            let shown = if SECRET_HEADERS.contains(&name.as_str()) {
                match value.split_once(' ') {
                    Some((scheme, _)) => format!("{scheme} ***"),
                    None => "***".to_owned(),
                }
            } else {
                value.into_owned()
            };
            (name.as_str().to_owned(), shown)
        })
        .collect()
}

/// The query as it was sent, without what is secret.
pub(crate) fn masked_query(query: &str) -> String {
    let pairs: Vec<_> = query
        .split('&')
        .map(|pair| match pair.split_once('=') {
            Some((name, _)) if SECRET_PARAMETERS.contains(&name) => format!("{name}=***"),
            Some(_) | None => pair.to_owned(),
        })
        .collect();
    pairs.join("&")
}
