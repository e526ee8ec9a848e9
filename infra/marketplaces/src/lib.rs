//! Sales channels for tests and shows: each as its documents describe it, on a port of its own, with a control API
//! that plays the buyers, orders faults and tells what was asked.
//!
//! The README lists the endpoints and says what is left out.

mod answer;
mod call;
mod clock;
mod control;
pub mod coupang;
pub mod elevenst;
mod exchange;
mod faults;
mod market;
pub mod ownstore;
mod record;
mod server;
mod settings;
pub mod smartstore;
mod switches;
mod webhooks;
mod world;

pub use server::{Listeners, Marketplaces};
pub use settings::Settings;
