//! What the environment says. The credentials of each marketplace are read with it.

use std::io;

use fakes::env::parsed;

use crate::{coupang, elevenst, ownstore, smartstore};

/// How the marketplaces are set up at their start. A port of 0 takes a free one.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The port of 127.0.0.1 on which SmartStore listens.
    pub smartstore_port: u16,
    /// What SmartStore gave the seller.
    pub smartstore: smartstore::Credentials,
    /// The port of 127.0.0.1 on which Coupang listens.
    pub coupang_port: u16,
    /// What Coupang gave the seller.
    pub coupang: coupang::Credentials,
    /// The port of 127.0.0.1 on which 11st listens.
    pub elevenst_port: u16,
    /// What 11st gave the seller.
    pub elevenst: elevenst::Credentials,
    /// The port of 127.0.0.1 on which the own store listens.
    pub ownstore_port: u16,
    /// What the own store's host gave the seller.
    pub ownstore: ownstore::Credentials,
}

impl Settings {
    /// Reads `MARKETPLACES_SMARTSTORE_PORT`, `MARKETPLACES_COUPANG_PORT`, `MARKETPLACES_ELEVENST_PORT`,
    /// `MARKETPLACES_OWNSTORE_PORT` and the credentials of each; what is unset or empty keeps its default.
    pub fn from_env() -> io::Result<Self> {
        Ok(Self {
            smartstore_port: parsed("MARKETPLACES_SMARTSTORE_PORT")?.unwrap_or_default(),
            smartstore: smartstore::Credentials::from_env()?,
            coupang_port: parsed("MARKETPLACES_COUPANG_PORT")?.unwrap_or_default(),
            coupang: coupang::Credentials::from_env()?,
            elevenst_port: parsed("MARKETPLACES_ELEVENST_PORT")?.unwrap_or_default(),
            elevenst: elevenst::Credentials::from_env()?,
            ownstore_port: parsed("MARKETPLACES_OWNSTORE_PORT")?.unwrap_or_default(),
            ownstore: ownstore::Credentials::from_env()?,
        })
    }
}
