//! Onepool: one stock pool behind every sales channel and every live broadcast.
//!
//! The words are those of the trade. [`stock`] is the gate (Redis): it decides in one step who gets a unit. [`ledger`]
//! (DynamoDB) decides what is true. [`order`] is the way from one to the other, [`payment`] the money, [`broadcast`] the
//! host's side, [`room`] the viewers'. The functions wire these and add nothing.

pub mod app;
pub mod auth;
pub mod aws;
pub mod batch;
pub mod broadcast;
pub mod catalog;
pub mod channel;
pub mod clock;
pub mod config;
pub mod connection;
pub mod error;
pub mod http;
pub mod id;
pub mod keys;
pub mod ledger;
pub mod log;
pub mod metric;
pub mod order;
pub mod payment;
pub mod queue;
pub mod room;
pub mod stock;

/// An order allocates and frees some three hundred times; the C library's allocator takes four times the instructions for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
