//! The gate, script by script, on a real redis-server.

mod expiry;
mod grants;
mod holds;
mod model;
mod reserve;
mod servers;
mod stage;
