//! What a source of a product was granted, as the ledger has it.

use super::Item;
use crate::{error::Error, id::ProductId, stock::Source};

/// What a source of a product was granted, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StockRow {
    /// Of what.
    pub product_id: ProductId,
    /// Where it is sold from.
    pub source: Source,
    /// Units that may be sold from it.
    pub granted: u64,
    /// Units in orders that are reserved or confirmed.
    pub sold: u64,
    /// `granted - sold`, kept beside them because a DynamoDB condition cannot subtract. Below zero by what channels have sold
    /// though it was not there: their sales have happened already.
    pub unsold: i64,
    /// Grows with every change of `granted`.
    pub version: u64,
    /// Grows with every change.
    pub revision: u64,
}

impl StockRow {
    pub(super) fn from_item(item: &Item) -> Result<Self, Error> {
        let corrupt = || Error::Corrupt("a stock row lacks an attribute".to_owned());
        let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok());
        let number = |name: &str| item.get(name).and_then(|value| value.as_n().ok());
        let units = |name: &str| number(name).and_then(|n| n.parse().ok());
        Ok(Self {
            product_id: text("pk")
                .and_then(|pk| pk.parse().ok())
                .ok_or_else(corrupt)?,
            source: text("sk")
                .and_then(|sk| sk.strip_prefix("source#"))
                .and_then(|source| source.parse().ok())
                .ok_or_else(corrupt)?,
            granted: units("granted").ok_or_else(corrupt)?,
            sold: units("sold").ok_or_else(corrupt)?,
            unsold: number("unsold")
                .and_then(|n| n.parse().ok())
                .ok_or_else(corrupt)?,
            version: units("version").ok_or_else(corrupt)?,
            revision: units("revision").unwrap_or(0),
        })
    }
}
