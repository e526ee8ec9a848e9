//! The log: lines on stdout, which Lambda collects. The level and the format are those of Lambda's advanced logging controls.
//!
//! The runtime's own subscriber filters by directives, and a parser of regular expressions comes with that: a megabyte in every function, for
//! a level.

use std::io;

use tracing_subscriber::fmt;

use crate::config;

/// Has what is logged from now on written to stdout.
pub fn init() {
    let lines = fmt()
        .with_target(false)
        .without_time()
        .with_max_level(config::log_level())
        .with_writer(io::stdout);
    if config::logs_json() {
        lines.json().init();
    } else {
        lines.init();
    }
}
