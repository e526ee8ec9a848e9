//! What the control API can change.

use serde::{Deserialize, Serialize};

/// What the control API can change.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Switches {
    /// So many calls in a second are too many, for all calls of the vendor together. 0 limits nothing.
    pub(super) rate: usize,
    /// How long a caller over the rate is refused, from the last time it was over it.
    pub(super) block_s: u64,
    /// So many errors in a second make the edge turn the caller away. Not documented; 0 for never.
    pub(super) error_burst: usize,
    pub(super) error_block_s: u64,
    /// How far a signature's date may be from now. Not documented; five minutes are the usual belief.
    pub(super) signature_window_s: u64,
    /// The caller's address is not registered.
    pub(super) ip_blocked: bool,
    /// Every service answers that it took too long.
    pub(super) overloaded: bool,
    /// Each option of an order goes into a box of its own.
    pub(super) box_per_item: bool,
    /// What was cancelled is for sale again. Not documented.
    pub(super) cancel_restores_stock: bool,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            rate: 10,
            block_s: 300,
            error_burst: 10,
            error_block_s: 60,
            signature_window_s: 300,
            ip_blocked: false,
            overloaded: false,
            box_per_item: false,
            cancel_restores_stock: true,
        }
    }
}
