//! Metrics, as lines of CloudWatch's embedded metric format on stdout: the log is where Lambda's metrics come from, so
//! counting costs no call. Whoever counts uses the macros of the `metrics` crate; without [`install`] they do nothing.

use std::{io, sync::OnceLock};

use metrics_cloudwatch_embedded::{Builder, Collector};

static COLLECTOR: OnceLock<&'static Collector> = OnceLock::new();

/// Collects this process's metrics under the name of its function.
///
/// # Errors
/// Metrics are collected already.
pub fn install(function: &'static str) -> Result<(), metrics_cloudwatch_embedded::Error> {
    let collector = Builder::new()
        .cloudwatch_namespace("Onepool")
        .with_dimension("function", function)
        .init()?;
    COLLECTOR.get_or_init(|| collector);
    Ok(())
}

/// Writes what was counted since the last time.
pub fn flush() {
    if let Some(collector) = COLLECTOR.get()
        && let Err(error) = collector.flush(io::stdout())
    {
        tracing::warn!(error = %error, "metrics were not written");
    }
}
