//! What the record tells of a request to a marketplace: no body, and what is secret in headers and queries is masked.

use axum::http::HeaderMap;
use fakes::record::{End, Number};
use serde::Serialize;
use serde_json::Value;

use crate::{faults::Kind, market::StockChange};

pub(crate) const MAX_ENTRIES: usize = 10_000;

/// Headers whose value lets its reader act as the seller. Of a scheme and a value, the scheme stays.
const SECRET_HEADERS: [&str; 4] = ["authorization", "cookie", "openapikey", "x-api-key"];
const SECRET_PARAMETERS: [&str; 5] = [
    "client_secret_sign",
    "client_secret",
    "access_token",
    "refresh_token",
    "code",
];

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    /// Counts requests from 1 in the order of their arrival.
    pub(crate) number: Number,
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) operation: &'static str,
    pub(crate) items: Vec<String>,
    pub(crate) orders: Vec<String>,
    #[serde(flatten)]
    pub(crate) end: End,
    pub(crate) fault: Option<Kind>,
    /// What a fault had a buyer do right before the work.
    pub(crate) before: Option<Value>,
    /// Counts works from 1 in the order they were done, which is not always the order of arrival.
    pub(crate) done: Option<u64>,
    /// What the work did to the stock.
    pub(crate) stock: Vec<StockChange>,
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
