//! "Why is it 7?": every change of a product's stock, newest first, with what it came to.

use std::collections::HashMap;

use serde::Serialize;

use super::Studio;
use crate::{error::Error, id::ProductId, ledger::TraceEntry, stock::Source};

/// Changes one answer may have.
pub const MAX_CHANGES: u32 = 1_000;
/// Changes an answer has if nobody says how many.
pub const CHANGES: u32 = 100;

/// The changes of a product's stock.
#[derive(Debug, Serialize)]
pub struct TraceView {
    /// Of what.
    pub product_id: ProductId,
    /// Newest first.
    pub changes: Vec<ChangeView>,
}

/// One change, and what its source had after it.
#[derive(Debug, Serialize)]
pub struct ChangeView {
    /// The change.
    #[serde(flatten)]
    pub change: TraceEntry,
    /// What the source had after it.
    pub after: After,
}

/// Units of a source after a change, by the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct After {
    /// Units it may sell.
    pub granted: i64,
    /// Units sold of them.
    pub sold: i64,
    /// Units left: the difference.
    pub left: i64,
}

impl Studio {
    /// The last `limit` changes of a product's stock (at most [`MAX_CHANGES`]).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`], or a store failed.
    pub async fn trace(&self, product: &ProductId, limit: u32) -> Result<TraceView, Error> {
        if !(1..=MAX_CHANGES).contains(&limit) {
            return Err(Error::invalid("limit", format!("1..={MAX_CHANGES}")));
        }
        self.catalog.product(product).await?;
        let ledger = &self.fence.ledger;
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let entries = ledger.trace(product, limit).await?;
        // From what the rows have now, back through the changes.
        let signed = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        let mut now: HashMap<Source, (i64, i64)> = ledger
            .stock_rows(product)
            .await?
            .into_iter()
            .map(|row| (row.source, (signed(row.granted), signed(row.sold))))
            .collect();
        let changes = entries
            .into_iter()
            .map(|change| {
                let (granted, sold) = now.entry(change.source.clone()).or_default();
                let after = After {
                    granted: *granted,
                    sold: *sold,
                    left: *granted - *sold,
                };
                *granted -= change.granted;
                *sold -= change.sold;
                ChangeView { change, after }
            })
            .collect();
        Ok(TraceView {
            product_id: product.clone(),
            changes,
        })
    }
}
