//! Free ports on the loopback address, for parts that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::{Error, Result};

/// Below the range that sockets take their ports from by themselves: a port found free stays so until its part listens.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const TRIES: usize = 100;

/// A port that nobody listens on now.
pub fn free() -> Result<u16> {
    let mut ports = std::iter::repeat_with(|| fastrand::u16(PORTS)).take(TRIES);
    ports
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| Error::new(format!("no free port in {PORTS:?}")))
}
