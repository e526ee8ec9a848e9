//! One request to a marketplace, whole and unparsed: signatures are made over raw text.

use std::borrow::Cow;

use axum::{
    body::Bytes,
    http::{HeaderMap, Method, request::Parts},
};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

/// What came over the wire.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) method: Method,
    /// As it was sent, still percent-encoded.
    pub(crate) path: String,
    /// As it was sent, without the `?`; empty when there is none.
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Call {
    pub(crate) fn new(parts: Parts, body: Bytes) -> Self {
        Self {
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }

    /// The path without its first slash, cut at the others: to be matched on as a slice.
    pub(crate) fn segments(&self) -> Vec<&str> {
        self.path.trim_start_matches('/').split('/').collect()
    }

    /// The text of a header, if it is there and is text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The first value of a query parameter. A `+` that was not encoded is a space, as it is to a real server.
    pub(crate) fn parameter(&self, name: &str) -> Option<Cow<'_, str>> {
        self.parameters()
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    /// All query parameters, decoded, in their order.
    pub(crate) fn parameters(&self) -> form_urlencoded::Parse<'_> {
        form_urlencoded::parse(self.query.as_bytes())
    }

    /// The body as JSON, or what is wrong with it.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, String> {
        serde_json::from_slice(&self.body).map_err(|error| error.to_string())
    }
}

/// A path segment as the caller meant it.
pub(crate) fn decoded(segment: &str) -> String {
    percent_decode_str(segment).decode_utf8_lossy().into_owned()
}

/// What a fault rule can ask about a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    /// One of the marketplace's operations, or empty for a request that is none.
    pub(crate) operation: &'static str,
    /// Products and options it reads or writes, as far as the request says.
    pub(crate) items: Vec<String>,
    /// Orders and order lines it reads or writes, as far as the request says.
    pub(crate) orders: Vec<String>,
}

impl Subject {
    pub(crate) fn of(operation: &'static str) -> Self {
        Self {
            operation,
            ..Self::default()
        }
    }
}
