//! What cannot be imported is kept with its payload: a line until its item is listed, a page until it can be read, and what nobody can
//! read until a person has seen to it.

use std::collections::BTreeSet;

use futures::FutureExt;

use super::{Pull, import::Brought};
use crate::{
    catalog::Quarantined,
    channel::{Failure, ItemId, OrderLine, alert::Alert},
    clock::{self, Timestamp},
    error::Error,
    id,
};

/// The longest payload that is kept, in bytes; DynamoDB takes 400 KB an item.
const LONGEST_RAW: usize = 64 * 1024;
/// Quarantined lines that are tried again at once.
const TRIED_AGAIN: i32 = 100;
/// So often in one run; the next one goes on behind them.
const TRIED_PAGES: usize = 10;

impl Pull {
    pub(super) async fn quarantine(
        &self,
        channel: &str,
        key: Option<String>,
        reason: String,
        raw: String,
        line: Option<OrderLine>,
    ) -> Result<(), Error> {
        let alert = match &line {
            Some(line) => Alert::Unlisted {
                item: item_name(&line.item),
            },
            None => Alert::Quarantined {
                reason: reason.clone(),
            },
        };
        let entry = Quarantined {
            key: key.unwrap_or_else(|| id::digest(&["unreadable", &raw], 16)),
            reason,
            since: clock::now(),
            raw: bounded(&raw),
            line: line.map(|line| OrderLine {
                raw: bounded(&line.raw),
                ..line
            }),
            version: 0,
        };
        if self.catalog.quarantine(channel, &entry).await? {
            self.alerts.tell(channel, &alert).await;
        }
        Ok(())
    }

    /// A page that cannot be read is kept for who has to find out why, until it can be.
    pub(super) async fn keep_unreadable(
        &self,
        channel: &str,
        place: String,
        failure: &Failure,
    ) -> Result<(), Error> {
        let Failure::Unreadable { payload, .. } = failure else {
            return Ok(());
        };
        let entry = Quarantined {
            key: place,
            reason: failure.to_string(),
            since: clock::now(),
            raw: bounded(&payload.0),
            line: None,
            version: 0,
        };
        self.catalog.quarantine(channel, &entry).await.map(drop)
    }

    /// Lines of items that nobody had listed are imported once somebody has: some pages of what is kept, behind those that the run
    /// before has tried. Returns whether some were imported, and behind which the next run goes on.
    pub(super) async fn try_quarantined_again(
        &self,
        channel: &str,
        mut after: Option<String>,
    ) -> Result<(bool, Option<String>), Error> {
        let mut sold = false;
        for _ in 0..TRIED_PAGES {
            let (entries, next) = self
                .catalog
                .quarantined_after(channel, after.as_deref(), TRIED_AGAIN)
                .await?;
            sold |= self.try_again(channel, entries).boxed().await?;
            after = next;
            if after.is_none() {
                break;
            }
        }
        Ok((sold, after))
    }

    pub(super) async fn try_again(
        &self,
        channel: &str,
        entries: Vec<Quarantined>,
    ) -> Result<bool, Error> {
        if entries.is_empty() {
            return Ok(false);
        }
        let ledger = &self.fence.ledger;
        let keys: Vec<String> = entries.iter().map(|entry| entry.key.clone()).collect();
        // Another list may have told more of a line than the one it was met in first: then it is there, and newer than what is kept.
        let mut there = ledger.lines(channel, &keys).await?;
        let mut brought = Brought::default();
        for record in &there {
            brought.note(record.clone());
        }
        let known: BTreeSet<&str> = there.iter().map(|record| record.key.as_str()).collect();
        let lines: Vec<OrderLine> = entries
            .into_iter()
            .filter_map(|entry| entry.line)
            .filter(|line| !known.contains(line.key.as_str()))
            .collect();
        let items: BTreeSet<ItemId> = lines.iter().map(|line| line.item.clone()).collect();
        let items: Vec<ItemId> = items.into_iter().collect();
        let products = self.catalog.products_of(channel, &items).await?;
        let listed: Vec<OrderLine> = lines
            .into_iter()
            .filter(|line| products.contains_key(&line.item))
            .collect();
        if !listed.is_empty() {
            let imported = self.import_lines(channel, listed).await?;
            brought.sold = imported.sold;
            brought.unconfirmed.extend(imported.unconfirmed);
            brought.asked.extend(imported.asked);
            there = ledger.lines(channel, &keys).await?;
        }
        let sold = brought.sold;
        // Their channel is told at the end of the pull that follows.
        self.keep_all_in_mind(channel, brought).await?;
        for record in there {
            self.catalog
                .release_quarantined(channel, &record.key)
                .await?;
        }
        Ok(sold)
    }
}

/// What a marketplace did whose next page is the one that was asked for.
pub(super) fn circular() -> Failure {
    Failure::Later {
        reason: "a page that leads to itself".to_owned(),
        after: None,
    }
}

/// A page behind a cursor: the same as long as nothing behind it was pulled.
pub(super) fn page_key(list: &str, cursor: Option<Timestamp>, page: Option<&str>) -> String {
    let cursor = cursor.map_or_else(String::new, |at| at.to_string());
    let digest = id::digest(&[&cursor, page.unwrap_or_default()], 16);
    format!("{list}-{digest}")
}

pub(super) fn bounded(raw: &str) -> String {
    let mut end = raw.len().min(LONGEST_RAW);
    while !raw.is_char_boundary(end) {
        end -= 1;
    }
    raw[..end].to_owned()
}

pub(super) fn item_name(item: &ItemId) -> String {
    match &item.option {
        None => item.product.clone(),
        Some(option) => format!("{} / {option}", item.product),
    }
}
