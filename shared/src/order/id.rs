//! The id of an order.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    auth::UserId,
    id::{self, BroadcastId, InvalidId},
};

/// `<broadcast>-<digest of viewer and Idempotency-Key>`: a retry finds its own order, and whoever has the id knows which
/// gate holds its units. An Idempotency-Key is thereby scoped to the viewer and to the broadcast it was posted to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OrderId(String);

const DIGEST_CHARS: usize = 26;

impl OrderId {
    /// The id of the order that `viewer` places in `broadcast` with this key.
    #[must_use]
    pub fn derive(broadcast: &BroadcastId, viewer: &UserId, idempotency_key: &str) -> Self {
        Self(format!(
            "{broadcast}-{}",
            id::digest(&["order", viewer.as_str(), idempotency_key], 16)
        ))
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The broadcast it was placed in.
    ///
    /// # Panics
    /// Never: the id was checked when it was made.
    #[must_use]
    pub fn broadcast(&self) -> BroadcastId {
        let (broadcast, _) = self.0.split_at(self.0.len() - DIGEST_CHARS - 1);
        broadcast
            .parse()
            .expect("an order id begins with a broadcast id")
    }
}

impl FromStr for OrderId {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        const INVALID: InvalidId = InvalidId { max: 64 };
        let (broadcast, digest) = text.rsplit_once('-').ok_or(INVALID)?;
        broadcast.parse::<BroadcastId>()?;
        if digest.len() == DIGEST_CHARS && digest.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(INVALID)
        }
    }
}

impl TryFrom<String> for OrderId {
    type Error = InvalidId;

    fn try_from(text: String) -> Result<Self, InvalidId> {
        text.parse()
    }
}

impl From<OrderId> for String {
    fn from(id: OrderId) -> Self {
        id.0
    }
}

impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_names_its_broadcast_and_survives_a_round_trip() {
        let broadcast: BroadcastId = "b-1".parse().expect("an id");
        let viewer: UserId = "viewer-1".parse().expect("an id");
        let id = OrderId::derive(&broadcast, &viewer, "key");
        assert_eq!(id.broadcast(), broadcast);
        assert_eq!(id.as_str().parse::<OrderId>(), Ok(id.clone()));
        assert_ne!(id, OrderId::derive(&broadcast, &viewer, "other"));
        for bad in [
            "",
            "x",
            "b-1",
            "b 1-aaaaaaaaaaaaaaaaaaaaaaaaaa",
            "-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad:?} was taken");
        }
    }
}
