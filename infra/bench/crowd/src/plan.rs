//! What the bench asks for. Its own side of these words is in `infra/bench/src/crowd.rs`.

use std::{net::SocketAddr, time::Duration};

use onepool::id::{BroadcastId, ProductId};
use serde::Deserialize;

/// One run.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// A room full of viewers.
    Room(Plan),
    /// Posts to a connection, weighed.
    Post(PostPlan),
}

/// A room full of viewers, and what happens in it.
#[derive(Clone, Deserialize)]
pub struct Plan {
    /// The gateway's WebSocket side.
    pub gateway: SocketAddr,
    /// Whose room.
    pub broadcast: BroadcastId,
    /// What is ordered.
    pub product: ProductId,
    /// How many of it there are.
    pub units: u64,
    /// Who watch.
    pub viewers: usize,
    /// Calls that say something, a second.
    pub chats_per_s: f64,
    /// Chats that each of them says.
    pub chats_at_once: usize,
    /// Orders a second.
    pub orders_per_s: f64,
    /// For so long.
    pub seconds: f64,
    /// While this time goes, everyone leaves and comes back once.
    pub come_back_within_s: Option<f64>,
}

impl Plan {
    /// For how long things happen.
    pub fn span(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }
}

/// Posts to a connection, ours and the SDK's in turns.
#[derive(Deserialize)]
pub struct PostPlan {
    /// `@connections` as a function is told of it, stage included.
    pub callback_url: String,
    /// Turns of each.
    pub rounds: usize,
    /// Posts in each turn.
    pub posts: usize,
}
