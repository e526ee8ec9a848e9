//! A payment gateway for tests and shows: Toss Payments core API v1 as its documents describe it,
//! in a process of its own, with a control API that orders faults and tells what was really charged.
//!
//! The README lists the endpoints and says what is left out.

mod answer;
mod authorization;
mod clock;
mod control;
mod exchange;
mod faults;
mod idempotency;
mod payments;
mod record;
mod requests;
mod server;
mod settings;
mod webhooks;
mod world;

pub use server::{Sandbox, serve};
pub use settings::Settings;
