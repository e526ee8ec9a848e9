//! Free ports on the loopback address, for parts that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Context, Result};

/// A port that nobody listens on now.
pub fn free() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(|| "no free port".into())?;
    Ok(listener
        .local_addr()
        .context(|| "no free port".into())?
        .port())
}
