//! Where a line is, when an answer does not say, and what a claim's list leaves out of its line.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::{Failure, Window, quota::Urgency},
    call::{Calls, segment},
    handle::Line,
    pull::List,
    wire::Row,
};
use crate::clock;

/// Orders that one call may name.
const ORDERS_A_CALL: usize = 100;
/// How far back claims are looked for: their list takes 30 days at most.
const CLAIMS_WITHIN: Duration = Duration::from_secs(29 * 24 * 3_600);

/// Where a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Paid, not confirmed.
    Paid,
    /// Confirmed, or further.
    Confirmed,
    /// Its buyer wants to cancel it, or it is being cancelled.
    CancelRequested,
    /// Cancelled.
    Cancelled,
    /// Not among what can be told.
    Nowhere,
}

/// A line as `orderlistall` tells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) place: Place,
    pub(super) ordered: u64,
    /// Units in claims that cancel, those included that are only asked for.
    pub(super) in_claims: u64,
    /// Whether it was shipped before it was cancelled.
    pub(super) was_shipped: bool,
}

/// A claim that cancels a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) number: String,
    pub(super) is_done: bool,
}

/// Where a line is.
pub(super) async fn place(calls: &Calls, line: &Line) -> Result<Place, Failure> {
    let standings = standings(calls, &[line.order_no.as_str()], Urgency::Order).await?;
    Ok(standings
        .get(&line.key())
        .map_or(Place::Nowhere, |standing| standing.place))
}

/// How lines of these orders stand, by their keys.
pub(super) async fn standings(
    calls: &Calls,
    orders: &[&str],
    urgency: Urgency,
) -> Result<BTreeMap<String, Standing>, Failure> {
    let mut standings = BTreeMap::new();
    for orders in orders.chunks(ORDERS_A_CALL) {
        let numbers: Vec<String> = orders.iter().map(|order| segment(order)).collect();
        let path = format!("/rest/claimservice/orderlistall/{}", numbers.join(","));
        let rows = calls.orders(&path, urgency).await?;
        standings.extend(rows.iter().filter_map(standing));
    }
    Ok(standings)
}

fn standing(row: &Row) -> Option<(String, Standing)> {
    let key = format!("{}:{}", row.text("ordNo")?, row.text("ordPrdSeq")?);
    let state = row.text("ordPrdStat")?;
    // From the API's table of `ordPrdStat`.
    let place = match state {
        "202" => Place::Paid,
        "301" | "401" | "501" | "801" | "901" => Place::Confirmed,
        "601" | "701" => Place::CancelRequested,
        "A01" | "B01" | "C01" => Place::Cancelled,
        _ => Place::Nowhere,
    };
    let standing = Standing {
        place,
        ordered: row.number("ordQty")?,
        in_claims: row.number("ordCnQty").unwrap_or(0),
        was_shipped: matches!(state, "A01" | "C01"),
    };
    Some((key, standing))
}

/// The claim that the line names, or one that cancels it: one that is asked for before one that is done.
pub(super) async fn claim(calls: &Calls, line: &Line) -> Result<Option<Claim>, Failure> {
    let now = clock::now();
    let window = Window {
        from: now.before(CLAIMS_WITHIN),
        to: now,
    };
    let mut claims = Vec::new();
    for list in [List::CancelRequests, List::Cancelled] {
        let rows = calls.orders(&list.path(window), Urgency::Order).await?;
        claims.extend(rows.iter().filter_map(|row| claim_of(row, list, line)));
        if claims.iter().any(|claim: &Claim| !claim.is_done) {
            break;
        }
    }
    claims.sort_by_key(|claim| claim.is_done);
    Ok(claims.into_iter().next())
}

fn claim_of(row: &Row, list: List, line: &Line) -> Option<Claim> {
    let number = row.text("ordPrdCnSeq")?;
    let is_meant = row.text("ordNo") == Some(&line.order_no)
        && row.text("ordPrdSeq") == Some(&line.seq)
        && line.claim.as_deref().is_none_or(|claim| claim == number);
    is_meant.then(|| Claim {
        number: number.to_owned(),
        is_done: list == List::Cancelled || row.text("ordCnStatCd") == Some("02"),
    })
}
