//! Walks a window: every list of it, slice by slice. A list has no pages: it returns all of its window at once, so a slice is what
//! bounds how much is in memory. One whose list is too long to be read is halved until it is not. How the lines of a slice stand is looked up for some orders at a time, because that takes calls:
//! a slice with many is asked for again, and gone on with behind the last of them.
//!
//! A line only moves forward through the lists, and they are asked in that order: one that moves meanwhile is met again, not missed.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    super::{Failure, ItemId, LineState, OrderLine, Page, Pulled, Window, korea, quota::Urgency},
    call::Calls,
    handle::Line,
    lookup::{self, Place, Standing},
    wire::Row,
};

const MINUTE: Duration = Duration::from_secs(60);
/// A list has some hundred lines in it at a large seller; each slice of each list is a call.
const SLICE: Duration = Duration::from_secs(2 * 3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Ten calls to look them up.
const ORDERS_OF_A_PAGE: usize = 1_000;
/// Nobody buys more of a thing in one line.
const MOST_ORDERED: u64 = 100_000;

/// A list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Paid,
    Confirmed,
    Shipping,
    CancelRequests,
    Cancelled,
}

impl List {
    const ALL: [Self; 5] = [
        Self::Paid,
        Self::Confirmed,
        Self::Shipping,
        Self::CancelRequests,
        Self::Cancelled,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Paid => "ordservices/complete",
            Self::Confirmed => "ordservices/packaging",
            Self::Shipping => "ordservices/shipping",
            Self::CancelRequests => "claimservice/cancelorders",
            Self::Cancelled => "claimservice/canceledorders",
        }
    }

    /// Claims are few.
    fn slice(self) -> Duration {
        match self {
            Self::Paid | Self::Confirmed | Self::Shipping => SLICE,
            Self::CancelRequests | Self::Cancelled => DAY,
        }
    }

    /// The list of a window, in whole minutes, rounded outwards.
    pub(super) fn path(self, window: Window) -> String {
        let end = window.to + (MINUTE - Duration::from_millis(1));
        format!(
            "/rest/{}/{}/{}",
            self.name(),
            korea::minute(window.from),
            korea::minute(end)
        )
    }
}

/// Which slice of which list, and behind which order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct At<'a> {
    list: usize,
    slice: u32,
    /// How often slices are halved here.
    halved: u32,
    after: Option<&'a str>,
}

impl<'a> At<'a> {
    fn parse(page: Option<&'a str>) -> Option<Self> {
        let Some(page) = page else {
            return Some(Self {
                list: 0,
                slice: 0,
                halved: 0,
                after: None,
            });
        };
        let mut parts = page.splitn(3, '.');
        let list = parts.next()?.parse().ok()?;
        let slice = parts.next()?;
        let (slice, halved) = match slice.split_once(':') {
            None => (slice, 0),
            Some((slice, halved)) => (slice, halved.parse().ok()?),
        };
        Some(Self {
            list,
            slice: slice.parse().ok()?,
            halved,
            after: parts.next(),
        })
    }

    fn written(self) -> String {
        let Self {
            list,
            slice,
            halved,
            after,
        } = self;
        let halved = match halved {
            0 => String::new(),
            halved => format!(":{halved}"),
        };
        let after = after.map_or_else(String::new, |after| format!(".{after}"));
        format!("{list}.{slice}{halved}{after}")
    }

    /// How long its slice is.
    fn length(self, list: List) -> Option<Duration> {
        list.slice().checked_div(2_u32.checked_pow(self.halved)?)
    }

    /// The slice of the window that this is, and whether it is the last of its list.
    fn slice_of(self, list: List, window: Window) -> Option<(Window, bool)> {
        let length = self.length(list)?;
        let from = window.from + length.checked_mul(self.slice)?;
        let to = (from + length).min(window.to);
        (from <= window.to).then_some((Window { from, to }, to == window.to))
    }

    fn next(self, was_last_slice: bool) -> Option<String> {
        let mut next = Self {
            slice: self.slice + 1,
            after: None,
            ..self
        };
        if was_last_slice {
            next.list += 1;
            (next.slice, next.halved) = (0, 0);
        }
        // Both halves are done: what follows is as long as they were together.
        while next.halved > 0 && next.slice.is_multiple_of(2) {
            next.slice /= 2;
            next.halved -= 1;
        }
        (next.list < List::ALL.len()).then(|| next.written())
    }

    /// The rest of the slice, behind this order.
    fn rest(self, last: &str) -> String {
        At {
            after: Some(last),
            ..self
        }
        .written()
    }

    /// The first half of the slice; `None` if it is too short to have any. What was looked up of it is known by its lines.
    fn half(self, list: List) -> Option<String> {
        let is_long = self.length(list)? >= MINUTE * 2;
        let slice = self.slice.checked_mul(2)?;
        let half = Self {
            slice,
            halved: self.halved + 1,
            after: None,
            ..self
        };
        is_long.then(|| half.written())
    }

    /// Takes what belongs to this page of the slice's rows. Returns its orders, and whether there are more behind them.
    fn cut(self, rows: &mut Vec<Row>) -> (Vec<String>, bool) {
        let is_behind = |order: &str| self.after.is_none_or(|after| order > after);
        let numbers = rows.iter().filter_map(|row| row.text("ordNo"));
        let behind: BTreeSet<&str> = numbers.filter(|order| is_behind(order)).collect();
        let orders: Vec<String> = behind
            .iter()
            .take(ORDERS_OF_A_PAGE)
            .map(|order| (*order).to_owned())
            .collect();
        let is_cut = behind.len() > orders.len();
        rows.retain(|row| match row.text("ordNo") {
            Some(order) => orders
                .binary_search_by(|known| known.as_str().cmp(order))
                .is_ok(),
            // Whatever it is, it is told of once.
            None => self.after.is_none(),
        });
        (orders, is_cut)
    }
}

/// A page: one slice of one list, or some orders of it.
pub(super) async fn page(
    calls: &Calls,
    window: Window,
    page: Option<&str>,
    urgency: Urgency,
) -> Result<Page, Failure> {
    let unknown = || Failure::Refused("not a page of this window".to_owned());
    let at = At::parse(page).ok_or_else(unknown)?;
    let list = *List::ALL.get(at.list).ok_or_else(unknown)?;
    let (slice, is_last) = at.slice_of(list, window).ok_or_else(unknown)?;
    let Some(mut rows) = calls.list(&list.path(slice), urgency).await? else {
        let half = at.half(list).ok_or_else(|| Failure::Later {
            reason: "a minute with more orders than can be read".to_owned(),
            after: None,
        })?;
        return Ok(Page {
            lines: Vec::new(),
            next: Some(half),
        });
    };
    let (orders, is_cut) = at.cut(&mut rows);
    let numbers: Vec<&str> = orders.iter().map(String::as_str).collect();
    let standings = lookup::standings(calls, &numbers, urgency).await?;
    let lines = match list {
        List::Paid => bought(&rows, LineState::Paid, &standings),
        List::Confirmed | List::Shipping => bought(&rows, LineState::Confirmed, &standings),
        List::CancelRequests | List::Cancelled => cancelled(&rows, list, &standings),
    };
    let next = match orders.last() {
        Some(last) if is_cut => Some(at.rest(last)),
        Some(_) | None => at.next(is_last),
    };
    Ok(Page { lines, next })
}

fn key(row: &Row) -> Option<String> {
    Some(format!("{}:{}", row.text("ordNo")?, row.text("ordPrdSeq")?))
}

fn unreadable(row: &Row, reason: &str) -> Pulled {
    Pulled::Unreadable {
        key: key(row),
        reason: reason.to_owned(),
        raw: row.raw.clone(),
    }
}

/// Reads lines that were bought. Whether their lists count units that were cancelled since is not said, so how many were bought at
/// first is looked up.
fn bought(rows: &[Row], state: LineState, standings: &BTreeMap<String, Standing>) -> Vec<Pulled> {
    rows.iter()
        .map(|row| {
            let standing = key(row).and_then(|key| standings.get(&key));
            match read_bought(row, state, standing) {
                Ok(line) => Pulled::Line(line),
                Err(reason) => unreadable(row, reason),
            }
        })
        .collect()
}

fn read_bought(
    row: &Row,
    state: LineState,
    standing: Option<&Standing>,
) -> Result<OrderLine, &'static str> {
    if !row.is_readable() {
        return Err("not well-formed XML");
    }
    let listed = units(row.number("ordQty")).ok_or("ordQty is no number of units")?;
    let ordered = standing
        .and_then(|standing| units(Some(standing.ordered)))
        .map_or(listed, |ordered| ordered.max(listed));
    let line = Line {
        order_no: row.text("ordNo").ok_or("ordNo is missing")?.to_owned(),
        seq: row
            .text("ordPrdSeq")
            .ok_or("ordPrdSeq is missing")?
            .to_owned(),
        add_on: row
            .text("addPrdNo")
            .filter(|_| row.text("addPrdYn") == Some("Y"))
            .map(str::to_owned),
        delivery_no: row.text("dlvNo").ok_or("dlvNo is missing")?.to_owned(),
        left: Some(listed),
        has_option: has_option(row),
        claim: None,
    };
    // What its units cost together, less what the seller gave: the option's surcharge is in it.
    let amount = match row.number("ordAmt") {
        Some(amount) => amount,
        None => {
            let goods = row.number("selPrc").ok_or("it has no price")?;
            let options = row.number("ordOptWonStl").unwrap_or(0);
            goods.saturating_mul(listed.into()).saturating_add(options)
        }
    };
    let discount = row
        .number("lstSellerDscPrc")
        .or_else(|| row.number("sellerDscPrc"))
        .unwrap_or(0);
    Ok(OrderLine {
        key: line.key(),
        order_no: line.order_no.clone(),
        handle: line.handle(),
        item: ItemId {
            product: row.text("prdNo").ok_or("prdNo is missing")?.to_owned(),
            option: row.text("prdStckNo").map(str::to_owned),
        },
        ordered,
        cancelled: ordered - listed,
        state,
        unit_price: amount.saturating_sub(discount) / u64::from(listed),
        paid_at: row.text("ordStlEndDt").and_then(korea::parse),
        raw: row.raw.clone(),
    })
}

/// Reads claims, a line at a time. Their rows say neither how many units were bought nor which stock number: the first is
/// looked up, and a line that is met here first has none of the second, nor a price. It is cancelled, so nothing is taken for it.
fn cancelled(rows: &[Row], list: List, standings: &BTreeMap<String, Standing>) -> Vec<Pulled> {
    let mut lines = Vec::new();
    let mut claims: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in rows {
        match key(row) {
            Some(key) => claims.entry(key).or_default().push(row),
            None => lines.push(unreadable(row, "a claim without its line")),
        }
    }
    lines.extend(claims.into_iter().map(|(key, rows)| {
        match read_cancelled(&rows, list, standings.get(&key)) {
            Ok(line) => Pulled::Line(line),
            Err(reason) => unreadable(rows[0], reason),
        }
    }));
    lines
}

fn read_cancelled(
    rows: &[&Row],
    list: List,
    standing: Option<&Standing>,
) -> Result<OrderLine, &'static str> {
    let standing = standing.ok_or("a claim whose order does not have its line")?;
    let ordered = units(Some(standing.ordered)).ok_or("ordQty is no number of units")?;
    let is_asked = |row: &Row| {
        list == List::CancelRequests && row.text("ordCnStatCd").is_some_and(|state| state != "02")
    };
    let asked = rows.iter().find(|row| is_asked(row));
    let mut done = 0;
    for row in rows.iter().filter(|row| !is_asked(row)) {
        done += row
            .number("ordCnQty")
            .ok_or("ordCnQty is no number of units")?;
    }
    let (state, cancelled) = match standing.place {
        // What comes back after it was shipped is not counted.
        Place::Cancelled if standing.was_shipped => (LineState::Cancelled, 0),
        Place::Cancelled => (LineState::Cancelled, standing.ordered),
        // More may be asked for than what this slice shows, so only what is done here is known to be.
        Place::CancelRequested => (LineState::CancelRequested, done),
        Place::Paid | Place::Confirmed if asked.is_some() => (LineState::CancelRequested, done),
        Place::Paid => (LineState::Paid, standing.in_claims.max(done)),
        Place::Confirmed => (LineState::Confirmed, standing.in_claims.max(done)),
        Place::Nowhere => return Err("a claim whose line is in no state that is known"),
    };
    let cancelled = u32::try_from(cancelled)
        .ok()
        .filter(|units| *units <= ordered)
        .ok_or("more is cancelled than was bought")?;
    let state = if cancelled == ordered {
        LineState::Cancelled
    } else {
        state
    };
    let first = rows[0];
    let line = Line {
        order_no: first.text("ordNo").unwrap_or_default().to_owned(),
        seq: first.text("ordPrdSeq").unwrap_or_default().to_owned(),
        add_on: None,
        delivery_no: first.text("dlvNo").unwrap_or_default().to_owned(),
        left: Some(ordered - cancelled),
        has_option: has_option(first),
        claim: asked
            .and_then(|row| row.text("ordPrdCnSeq"))
            .map(str::to_owned),
    };
    Ok(OrderLine {
        key: line.key(),
        order_no: line.order_no.clone(),
        handle: line.handle(),
        item: ItemId {
            product: first.text("prdNo").ok_or("prdNo is missing")?.to_owned(),
            option: None,
        },
        ordered,
        cancelled,
        state,
        unit_price: 0,
        paid_at: None,
        raw: rows.iter().map(|row| row.raw.as_str()).collect(),
    })
}

/// A product without options may have the number of units there.
fn has_option(row: &Row) -> bool {
    row.text("slctPrdOptNm")
        .is_some_and(|text| text.contains(':'))
}

fn units(number: Option<u64>) -> Option<u32> {
    let number = number.filter(|number| (1..=MOST_ORDERED).contains(number))?;
    u32::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        channel::elevenst::wire::{decode, rows},
        clock::Timestamp,
    };

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    fn lines(text: &[u8], state: LineState) -> Vec<Pulled> {
        bought(
            &rows(&decode(text)).expect("a list"),
            state,
            &BTreeMap::new(),
        )
    }

    #[test]
    fn a_window_is_walked_list_by_list_in_slices_without_a_gap() {
        let window = Window {
            from: at("2026-11-20T09:58:30+09:00"),
            to: at("2026-11-20T12:30:10+09:00"),
        };
        let (mut page, mut paths) = (None::<String>, Vec::new());
        loop {
            let at = At::parse(page.as_deref()).expect("a page");
            let list = List::ALL[at.list];
            let (slice, is_last) = at.slice_of(list, window).expect("in the window");
            paths.push(list.path(slice));
            page = at.next(is_last);
            if page.is_none() {
                break;
            }
        }
        assert_eq!(
            paths,
            [
                "/rest/ordservices/complete/202611200958/202611201159",
                "/rest/ordservices/complete/202611201158/202611201231",
                "/rest/ordservices/packaging/202611200958/202611201159",
                "/rest/ordservices/packaging/202611201158/202611201231",
                "/rest/ordservices/shipping/202611200958/202611201159",
                "/rest/ordservices/shipping/202611201158/202611201231",
                "/rest/claimservice/cancelorders/202611200958/202611201231",
                "/rest/claimservice/canceledorders/202611200958/202611201231",
            ]
        );
        for odd in ["", "x.1", "0", "9.0", "0.1:", "0.:1"] {
            assert!(
                At::parse(Some(odd)).is_none_or(|at| at.list >= List::ALL.len()),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_slice_that_is_too_long_to_be_read_is_halved_and_what_follows_is_whole_again() {
        let window = Window {
            from: at("2026-11-20T08:00:00+09:00"),
            to: at("2026-11-20T12:00:00+09:00"),
        };
        let (mut page, mut read) = ("0.0".to_owned(), Vec::new());
        loop {
            let at = At::parse(Some(&page)).expect("a page");
            assert_eq!(at.written(), page);
            let (slice, is_last) = at.slice_of(List::Paid, window).expect("in the window");
            // Between eight and nine there are more than fit into an hour.
            let minutes = slice.to.since(slice.from).as_secs() / 60;
            let next = if slice.from < window.from + SLICE / 2 && minutes > 30 {
                at.half(List::Paid)
            } else {
                read.push(minutes);
                at.next(is_last)
            };
            page = next.expect("another list follows");
            if page == "1.0" {
                break;
            }
        }
        assert_eq!(read, [30, 30, 60, 120]);
        let shortest = At::parse(Some("0.0:6")).expect("a page");
        assert_eq!(shortest.half(List::Paid), None, "it is no two minutes");
        assert_eq!(shortest.next(false).as_deref(), Some("0.1:6"));
    }

    #[test]
    fn a_slice_with_many_orders_is_gone_through_some_at_a_time() {
        let count = 2 * ORDERS_OF_A_PAGE + 1;
        // Two lines an order, in no order, and a row that nobody can tell.
        let mut orders: Vec<String> = (0..count)
            .rev()
            .flat_map(|number| {
                [1, 2].map(|seq| {
                    format!(
                        "<ns2:order><ordNo>2026112{number:010}</ordNo><ordPrdSeq>{seq}</ordPrdSeq></ns2:order>"
                    )
                })
            })
            .collect();
        orders.push("<ns2:order><ordPrdSeq>1</ordPrdSeq></ns2:order>".to_owned());
        let list = format!("<ns2:orders>{}</ns2:orders>", orders.concat());
        let (mut page, mut met) = (Some("0.3".to_owned()), Vec::new());
        let mut pages = 0;
        while let Some(name) = page.take() {
            let at = At::parse(Some(&name)).expect("a page");
            assert_eq!((at.list, at.slice), (0, 3), "{name}");
            let mut rows = rows(&list).expect("a list");
            let (orders, is_cut) = at.cut(&mut rows);
            assert!(orders.len() <= ORDERS_OF_A_PAGE);
            met.extend(rows.iter().map(|row| row.raw.clone()));
            page = orders.last().filter(|_| is_cut).map(|last| at.rest(last));
            pages += 1;
        }
        assert_eq!((pages, met.len()), (3, 2 * count + 1));
        met.sort_unstable();
        met.dedup();
        assert_eq!(met.len(), 2 * count + 1, "each once");
    }

    #[test]
    fn a_paid_line_is_read_with_what_its_seller_gave_taken_off() {
        let lines = lines(include_bytes!("fixtures/complete.xml"), LineState::Paid);
        let Pulled::Line(line) = &lines[0] else {
            panic!("{:?}", lines[0]);
        };
        assert_eq!(line.key, "20261120000000001:1");
        assert_eq!(line.item.product, "9100000001");
        assert_eq!(line.item.option.as_deref(), Some("44000000001"));
        assert_eq!((line.ordered, line.cancelled), (2, 0));
        assert_eq!(line.unit_price, (25_800 - 1_000) / 2);
        assert_eq!(line.paid_at, Some(at("2026-11-20T09:58:05+09:00")));
        assert_eq!(line.state, LineState::Paid);
        let Pulled::Line(add_on) = &lines[1] else {
            panic!("{:?}", lines[1]);
        };
        assert_eq!(add_on.handle.0, "20261120000000001:2:77:2600000001:1:N:");
    }

    #[test]
    fn a_line_that_cannot_be_read_is_quarantined_with_its_key_alone() {
        let lines = lines(include_bytes!("fixtures/absurd.xml"), LineState::Paid);
        let reasons: Vec<(Option<&str>, &str)> = lines
            .iter()
            .filter_map(|pulled| match pulled {
                Pulled::Unreadable { key, reason, raw } => {
                    assert!(raw.contains("ordQty"));
                    Some((key.as_deref(), reason.as_str()))
                }
                Pulled::Line(_) => None,
            })
            .collect();
        assert_eq!(
            reasons,
            [
                (Some("20261120000000011:1"), "ordQty is no number of units"),
                (None, "ordNo is missing"),
            ]
        );
        assert_eq!(lines.len(), 3, "the one between them is read");
    }

    #[test]
    fn what_was_bought_at_first_is_looked_up() {
        let rows = rows(&decode(include_bytes!("fixtures/complete.xml"))).expect("a list");
        let at_first = standing(Place::Paid, 5, 3);
        let standings = BTreeMap::from([("20261120000000001:1".to_owned(), at_first)]);
        let lines = bought(&rows, LineState::Paid, &standings);
        let Pulled::Line(line) = &lines[0] else {
            panic!("{:?}", lines[0]);
        };
        assert_eq!((line.ordered, line.cancelled), (5, 3));
        assert_eq!(line.unit_price, (25_800 - 1_000) / 2);
    }

    fn standing(place: Place, ordered: u64, in_claims: u64) -> Standing {
        Standing {
            place,
            ordered,
            in_claims,
            was_shipped: false,
        }
    }

    fn claims(list: List, standings: &[(&str, Standing)]) -> Vec<Pulled> {
        let rows = rows(&decode(include_bytes!("fixtures/cancelorders.xml"))).expect("a list");
        let standings = standings
            .iter()
            .map(|(key, standing)| ((*key).to_owned(), *standing))
            .collect();
        cancelled(&rows, list, &standings)
    }

    #[test]
    fn claims_say_what_is_asked_for_and_what_is_done() {
        let lines = claims(
            List::CancelRequests,
            &[
                (
                    "20261120000000021:1",
                    standing(Place::CancelRequested, 3, 1),
                ),
                ("20261120000000022:1", standing(Place::Confirmed, 5, 2)),
                ("20261120000000023:1", standing(Place::Cancelled, 1, 1)),
            ],
        );
        let read: Vec<(&str, LineState, u32, u32)> = lines
            .iter()
            .filter_map(|pulled| match pulled {
                Pulled::Line(line) => {
                    Some((line.key.as_str(), line.state, line.ordered, line.cancelled))
                }
                Pulled::Unreadable { .. } => None,
            })
            .collect();
        assert_eq!(
            read,
            [
                ("20261120000000021:1", LineState::CancelRequested, 3, 0),
                ("20261120000000022:1", LineState::Confirmed, 5, 2),
                ("20261120000000023:1", LineState::Cancelled, 1, 1),
            ]
        );
        let Pulled::Line(asked) = &lines[0] else {
            panic!("{:?}", lines[0]);
        };
        assert!(asked.handle.0.ends_with(":501"), "{}", asked.handle.0);
    }

    #[test]
    fn what_comes_back_after_it_was_shipped_is_not_counted() {
        let returned = Standing {
            was_shipped: true,
            ..standing(Place::Cancelled, 1, 1)
        };
        let lines = claims(List::Cancelled, &[("20261120000000023:1", returned)]);
        let of_23 = lines.iter().find_map(|pulled| match pulled {
            Pulled::Line(line) => Some((line.state, line.cancelled)),
            Pulled::Unreadable { .. } => None,
        });
        assert_eq!(of_23, Some((LineState::Cancelled, 0)));
        // The other two have no line in their orders.
        assert_eq!(lines.len(), 3);
    }
}
