//! What of a channel's orders is kept for a person: the operators' door to it.
//!
//! It is shown without its payload, which has its buyer in it: whoever has to look an order up does so at the channel, by its number.

use serde::Serialize;

use super::{ItemId, LineState, desk::Desk};
use crate::{catalog::Quarantined, clock::Timestamp, error::Error};

/// Entries of a page, unless the caller says how many.
pub const KEPT: u32 = 50;
/// The most of them.
pub const MOST_KEPT: u32 = 100;

/// A page of what is kept.
#[derive(Debug, Serialize)]
pub struct KeptView {
    channel: String,
    kept: Vec<EntryView>,
    /// What the next page is asked for with; not there after the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// Something that is kept.
#[derive(Debug, Serialize)]
struct EntryView {
    key: String,
    reason: String,
    since: Timestamp,
    /// What could be read. Only what has this is imported once its item is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<LineView>,
}

/// What is shown of a line.
#[derive(Debug, Serialize)]
struct LineView {
    order_no: String,
    item: ItemId,
    ordered: u32,
    cancelled: u32,
    state: LineState,
    #[serde(skip_serializing_if = "Option::is_none")]
    paid_at: Option<Timestamp>,
}

/// The answer to a drop.
#[derive(Debug, Serialize)]
pub struct Dropped {
    channel: String,
    dropped: String,
}

impl From<Quarantined> for EntryView {
    fn from(entry: Quarantined) -> Self {
        Self {
            key: entry.key,
            reason: entry.reason,
            since: entry.since,
            line: entry.line.map(|line| LineView {
                order_no: line.order_no,
                item: line.item,
                ordered: line.ordered,
                cancelled: line.cancelled,
                state: line.state,
                paid_at: line.paid_at,
            }),
        }
    }
}

impl Desk {
    /// What is kept of a channel, in the order of the keys, behind `after`.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Invalid`] if the page is too large, or the catalogue did not answer.
    pub async fn kept(
        &self,
        channel: &str,
        after: Option<&str>,
        most: u32,
    ) -> Result<KeptView, Error> {
        self.known(channel)?;
        if !(1..=MOST_KEPT).contains(&most) {
            return Err(Error::invalid("limit", format!("1..={MOST_KEPT}")));
        }
        let most = i32::try_from(most).unwrap_or(i32::MAX);
        let page = self.catalog.quarantined_after(channel, after, most);
        let (entries, next) = page.await?;
        Ok(KeptView {
            channel: channel.to_owned(),
            kept: entries.into_iter().map(EntryView::from).collect(),
            next,
        })
    }

    /// Lets go of something that is kept: a person has seen to it. A line that its channel tells of again is kept again.
    ///
    /// # Errors
    /// [`Error::NotFound`], or the catalogue did not do it.
    pub async fn drop_kept(&self, channel: &str, key: &str) -> Result<Dropped, Error> {
        self.known(channel)?;
        if !self.catalog.is_quarantined(channel, key).await? {
            return Err(Error::NotFound("order that is kept"));
        }
        self.catalog.release_quarantined(channel, key).await?;
        Ok(Dropped {
            channel: channel.to_owned(),
            dropped: key.to_owned(),
        })
    }
}
