//! What the control API can change.

use serde::{Deserialize, Serialize};

/// When a broken token format costs the application its rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Sanction {
    /// Never.
    Off,
    /// On the day after, as the notice says.
    NextDay,
    /// On the same day and the day after: for tests that do not want to move the clock.
    AtOnce,
    /// Whatever was done.
    On,
}

/// What the control API can change.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Switches {
    /// Calls a second for each API; bursts may be twice that. 0 limits nothing.
    pub(super) rate: u64,
    pub(super) sanction: Sanction,
    /// The caller's address is not registered.
    pub(super) ip_blocked: bool,
    pub(super) maintenance: bool,
    pub(super) token_life_s: u64,
    /// With more than this left, the same token is given again.
    pub(super) token_renewal_s: u64,
    /// Not documented, so it can be set.
    pub(super) multi_update_most: usize,
    /// A write of stock puts a sold-out product back on sale. Not documented.
    pub(super) stock_revives: bool,
    /// See [`super::orders::Habits`].
    pub(super) instant_cancel: bool,
    pub(super) cancel_restores_stock: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rate: 2,
            sanction: Sanction::NextDay,
            ip_blocked: false,
            maintenance: false,
            token_life_s: 10_800,
            token_renewal_s: 1_800,
            multi_update_most: 50,
            stock_revives: true,
            instant_cancel: true,
            cancel_restores_stock: true,
        }
    }
}
