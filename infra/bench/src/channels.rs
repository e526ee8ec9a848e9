//! `channels.*`: what is sold in one place and shown in the others, and what marketplaces bear.

use crate::{Result, options::Options, propagation, pulls, report::Report, scarce};

/// Measures all of it.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    propagation::measure(options, report)?;
    scarce::measure(options, report)?;
    pulls::measure(options, report)
}
