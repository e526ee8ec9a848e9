//! What the tests stand on: a private Redis, a DynamoDB emulator, the wire between the AWS SDK and them where faults are
//! put in, the payment sandbox, a shop wired over all four as the functions wire it, the
//! deployed local stack, and what is written of its WebSocket.

mod asyncapi;
pub mod chaos;
mod counters;
mod crash;
mod dynamodb;
mod redis_server;
mod shop;
mod stack;
mod viewer;
mod wire;

pub use asyncapi::AsyncApi;
pub use counters::Counters;
pub use crash::crash_after;
pub use dynamodb::DynamoDb;
pub use redis_server::{Monitor, RedisServer};
pub use shop::{CHANNELS, Shop, Show, billing_key};
pub use stack::{PATIENCE, Stack, onepool_live, wait_for};
pub use viewer::Viewer;
pub use wire::{Fault, Wire};

/// The folder of the workspace.
#[must_use]
pub fn workspace_root() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
