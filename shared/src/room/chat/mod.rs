//! Chat: what may be said, by whom and how often, and what a host can do about it.
//!
//! What does not need to know anything is here without a store: what may stand in a message ([`text`]), what is masked in it
//! ([`personal`]), which words are banned ([`words`]), and how a refusal is told ([`Refusal`]).
//!
//! What the host has decided lives in the catalogue ([`Moderation`](crate::catalog::Moderation)). Redis has a copy, one hash a
//! room, and decides by it with each message, in one step (`speak.lua`); a Redis that has forgotten it is told again.

pub mod personal;
mod refusal;
mod rules;
mod speak;
pub mod text;
mod thread;
pub mod words;

pub use refusal::{Refusal, Told};
pub(super) use rules::Cache;
pub use speak::{CHAT_BURST, CHAT_INTERVAL, LIKES_PER_SECOND, Speaker};
pub use text::MAX_CHAT;
pub use thread::Found;
pub(super) use thread::{deleted_in, id_of, message_id};
