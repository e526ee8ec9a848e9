//! What the seller reads: the change feed, the conditional list, the details.

use std::str::FromStr;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Orders,
    claims::ClaimStatus,
    line::{Line, Place, Status},
};
use crate::clock::iso;

/// Where the feed goes on, and what it shows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
    /// Of the rows at `from` only those with this number or a higher one.
    pub(crate) sequence: u64,
    pub(crate) kind: Option<&'a str>,
    pub(crate) most: usize,
}

/// The range types whose events exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum RangeType {
    #[serde(rename = "PAYED_DATETIME")]
    Payed,
    #[serde(rename = "ORDERED_DATETIME")]
    Ordered,
    #[serde(rename = "DISPATCHED_DATETIME")]
    Dispatched,
    #[serde(rename = "PURCHASE_DECIDED_DATETIME")]
    PurchaseDecided,
    #[serde(rename = "CLAIM_REQUESTED_DATETIME")]
    ClaimRequested,
    #[serde(rename = "CLAIM_COMPLETED_DATETIME")]
    ClaimCompleted,
}

/// What the conditional list selects by.
#[derive(Clone, Debug)]
pub(crate) struct Selection {
    pub(crate) from: OffsetDateTime,
    pub(crate) to: OffsetDateTime,
    pub(crate) range: RangeType,
    pub(crate) statuses: Vec<Status>,
    pub(crate) claims: Vec<ClaimStatus>,
    pub(crate) place: Option<Place>,
    pub(crate) page: usize,
    pub(crate) size: usize,
}

impl Line {
    /// The time that a range type of the conditional list is about.
    fn time(&self, range: RangeType) -> Option<OffsetDateTime> {
        let claim = self.claims.last();
        match range {
            RangeType::Payed => self.paid,
            RangeType::Ordered => Some(self.ordered),
            RangeType::Dispatched => self.dispatched,
            RangeType::PurchaseDecided => self.decided,
            RangeType::ClaimRequested => claim.map(|claim| claim.requested),
            RangeType::ClaimCompleted => claim.and_then(|claim| claim.completed),
        }
    }
}

impl Orders {
    /// A page of the change feed: `data` of the answer.
    pub(crate) fn changes(&self, window: Window<'_>) -> Value {
        let first = (window.from, window.sequence);
        let last = (window.to, u64::MAX);
        let mut rows = Vec::new();
        let mut more = None;
        if first <= last {
            for (at, id) in self.feed.range(first..=last) {
                let Some(row) = self.lines.get(id).map(Line::row) else {
                    continue;
                };
                if window
                    .kind
                    .is_some_and(|kind| row["lastChangedType"] != kind)
                {
                    continue;
                }
                if rows.len() == window.most {
                    more = Some(json!({ "moreFrom": iso(*at), "moreSequence": id.to_string() }));
                    break;
                }
                rows.push(row);
            }
        }
        let mut data = json!({ "count": rows.len(), "lastChangeStatuses": rows });
        if let Some(more) = more {
            data["more"] = more;
        }
        data
    }

    /// Details of those that are there; the others are missing.
    pub(crate) fn details(&self, ids: &[String]) -> Vec<Value> {
        ids.iter()
            .filter_map(|id| self.lines.get(&u64::from_str(id).ok()?))
            .map(Line::detail)
            .collect()
    }

    /// The ids of an order's lines.
    pub(crate) fn lines_of_order(&self, order: &str) -> Option<Vec<String>> {
        let lines = self.by_order.get(&order.parse().ok()?)?;
        Some(lines.iter().map(u64::to_string).collect())
    }

    /// A page of the conditional list: `data` of the answer.
    pub(crate) fn select(&self, selection: &Selection) -> Value {
        let fits = |line: &&Line| {
            line.time(selection.range)
                .is_some_and(|at| selection.from <= at && at <= selection.to)
                && (selection.statuses.is_empty() || selection.statuses.contains(&line.status))
                && (selection.claims.is_empty()
                    || line
                        .claims
                        .last()
                        .is_some_and(|claim| selection.claims.contains(&claim.status)))
                && selection.place.is_none_or(|place| place == line.place)
        };
        let skipped = (selection.page - 1).saturating_mul(selection.size);
        let mut found = self.lines.values().filter(fits).skip(skipped);
        let contents: Vec<_> = found
            .by_ref()
            .take(selection.size)
            .map(|line| json!({ "productOrderId": line.id.to_string(), "content": line.detail() }))
            .collect();
        json!({
            "contents": contents,
            "pagination": {
                "page": selection.page,
                "size": selection.size,
                "hasNext": found.next().is_some(),
            },
        })
    }
}
