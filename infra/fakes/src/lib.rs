//! What every stand-in for another company's service has, whatever the service: connections that can be cut, faults to
//! order, a record of what was asked, a clock of its own, and a control API that drives them.
//!
//! The services themselves are in `infra/payment-sandbox` and `infra/marketplaces`.

pub mod answer;
pub mod clock;
pub mod control;
pub mod env;
pub mod epoch;
pub mod exchange;
pub mod faults;
pub mod hold;
pub mod record;
pub mod server;
pub mod trouble;
mod wire;

pub use wire::Cut;
