//! Payment. A gateway's answer is one of three: paid, declined, or not known; and what is not known is looked up, never
//! guessed.

mod toss;

pub use toss::Toss;

use crate::order::PaymentView;

/// What became of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Charge {
    /// The money is ours.
    Paid(PaymentView),
    /// The gateway refused for good, with its code. No money moved.
    Declined(String),
}
