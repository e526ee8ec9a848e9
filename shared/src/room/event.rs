//! What a room says. Texts are data: nothing here interprets them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    auth::UserId,
    clock::Timestamp,
    error::{Error, Language},
    id::ProductId,
    order::OrderView,
};

/// One event of a room, as viewers read it. The latest-value events `inventory_update`, `like_count` and `viewer_count`
/// are written by `frame.lua`, once a frame.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// Someone said something.
    Chat {
        /// The message's id.
        id: String,
        /// Who.
        user_id: UserId,
        /// The name others see.
        name: String,
        /// What.
        message: String,
        /// When.
        timestamp: Timestamp,
    },
    /// A product came on air, or its terms changed.
    ProductSpotlight {
        /// The product as viewers read it.
        product: Value,
    },
    /// A product went off air.
    ProductClosed {
        /// Which.
        product_id: ProductId,
        /// Why.
        reason: ClosedReason,
    },
    /// What became of an order; for its buyer alone.
    OrderResult(OrderView),
    /// The host has moderated the room.
    Moderation {
        /// What was done: an action of `POST /broadcasts/{broadcast_id}/moderation`.
        action: &'static str,
        /// The message, the user, or the seconds that it is about.
        target: Value,
        /// The message that is pinned now, for who does not have it.
        #[serde(skip_serializing_if = "Option::is_none")]
        message: Option<Value>,
    },
    /// A message was refused; for its sender alone.
    Error {
        /// Of the contract's closed list.
        code: String,
        /// Why, for a person.
        detail: String,
        /// After how many seconds it may go well.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_s: Option<u64>,
    },
    /// The answer to a ping; for its sender alone.
    Pong,
    /// The viewer is to leave and come back before API Gateway does it for them; for one viewer alone.
    Reconnect {
        /// When.
        at: Timestamp,
    },
}

/// Why a product went off air.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClosedReason {
    /// Nothing is left.
    SoldOut,
    /// The host took it off, or the broadcast ended.
    Ended,
    /// The host paused it.
    Paused,
}

impl Event {
    /// What the sender of a message is told that was refused.
    #[must_use]
    pub fn refused(error: &Error, language: Language) -> Self {
        let problem = error.problem(language).body;
        let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
        Self::Error {
            code: text("code"),
            detail: text("detail"),
            retry_after_s: problem["retry_after_s"].as_u64(),
        }
    }

    /// The event as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self)
            .unwrap_or_else(|_| r#"{"type":"error","code":"unavailable"}"#.to_owned())
    }
}
