//! Channels: the marketplaces that sell from the pool beside the broadcasts.
//!
//! A channel is a port of few verbs, [`Marketplace`]: pull orders, confirm them, set and read stock and prices. One file (or
//! folder) a marketplace; its wire types, signatures, encodings and error shapes stay private there. To add one: write its
//! file, add its line to [`MARKETPLACES`], and its fixtures; `README.md` beside this file goes through it step by step.
//!
//! No Korean marketplace has a compare-and-set or an idempotency key on these calls. Safety comes from absolute values, from
//! reading back, and from taking "it is so already" for success.

pub mod alert;
pub mod backlog;
mod cafe24;
pub mod call;
pub mod circuit;
mod coupang;
pub mod desk;
mod elevenst;
pub mod governor;
pub mod kept;
mod korea;
mod lenient;
pub mod listing;
pub mod look;
mod port;
pub mod pull;
pub mod push;
pub mod quota;
pub mod resync;
pub mod shop;
mod smartstore;
pub mod token;
pub mod wake;

use std::collections::BTreeMap;

use metrics::counter;
pub use port::{
    CancelReason, CancelWrite, Confirmation, Credentials, Failure, Handle, ItemId, Limits,
    LineState, Marketplace, OrderLine, Page, Payload, Price, Pulled, Shown, StockWrite, Window,
};

use crate::channel::call::Setup;

/// Makes the port of a marketplace.
pub type Open = fn(Setup) -> Result<Box<dyn Marketplace>, SetupError>;

/// The marketplaces that are spoken here, by the name the configuration has for them.
pub const MARKETPLACES: &[(&str, Open)] = &[
    ("coupang", coupang::open),
    ("elevenst", elevenst::open),
    ("cafe24", cafe24::open),
    ("shop", shop::open),
    ("smartstore", smartstore::open),
];

/// Counts something of a channel: by the channel, for who looks closer, and over all channels, which is what alarms watch.
fn count(metric: &'static str, channel: &str, by: u64) {
    counter!(metric).increment(by);
    counter!(metric, "channel" => channel.to_owned()).increment(by);
}

/// Credentials that are missing or malformed, with the name of the one that is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("credential {name} of channel {channel} is {what}")]
pub struct SetupError {
    /// Which channel.
    pub channel: String,
    /// Which of its credentials.
    pub name: &'static str,
    /// "missing", or what would have been right.
    pub what: &'static str,
}

/// The ports of a shop's channels, by channel.
#[derive(Default)]
pub struct Ports {
    open: BTreeMap<String, Box<dyn Marketplace>>,
    left_out: BTreeMap<String, String>,
}

impl Ports {
    /// Opens the port of one more channel, by the name of its marketplace.
    ///
    /// # Errors
    /// There is no such marketplace, or its credentials are not what it needs.
    pub fn open(&mut self, marketplace: &str, setup: Setup) -> Result<(), SetupError> {
        let open = MARKETPLACES
            .iter()
            .find(|(name, _)| *name == marketplace)
            .map(|(_, open)| open)
            .ok_or_else(|| setup.wrong("marketplace", "not one that is spoken here"))?;
        let channel = setup.channel.clone();
        let port = open(setup)?;
        self.put(&channel, port);
        Ok(())
    }

    /// Puts a port in the place of a channel.
    pub fn put(&mut self, channel: &str, port: Box<dyn Marketplace>) {
        self.left_out.remove(channel);
        self.open.insert(channel.to_owned(), port);
    }

    /// Leaves a channel out whose setup is wrong: the others go on without it.
    pub fn leave_out(&mut self, channel: &str, cause: impl Into<String>) {
        self.open.remove(channel);
        self.left_out.insert(channel.to_owned(), cause.into());
    }

    /// The port of a channel; `None` if the shop has no such channel, or it is left out.
    #[must_use]
    pub fn get(&self, channel: &str) -> Option<&dyn Marketplace> {
        self.open.get(channel).map(AsRef::as_ref)
    }

    /// Why a channel is left out; `None` if it is not.
    #[must_use]
    pub fn why_left_out(&self, channel: &str) -> Option<&str> {
        self.left_out.get(channel).map(String::as_str)
    }

    /// The channels that are open.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.open.keys().map(String::as_str)
    }

    /// The channels that are left out, each with why.
    pub fn left_out(&self) -> impl Iterator<Item = (&str, &str)> {
        let each = self.left_out.iter();
        each.map(|(channel, cause)| (channel.as_str(), cause.as_str()))
    }
}
