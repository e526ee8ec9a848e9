//! The viewers' side of a broadcast: what reaches them, what they may say, what a host does about it, and pumps that are
//! killed. Over a real Redis, a DynamoDB emulator and a gateway that keeps what is posted.

mod chat;
mod cost;
mod join;
mod memory;
mod moderation;
mod people;
mod post;
mod pump;
mod relay;
mod room;
mod shards;
mod slow;
mod steps;
