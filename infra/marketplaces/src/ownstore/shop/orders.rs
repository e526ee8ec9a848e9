//! Orders of the shop: lines that are pulled by the time of their last change.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    answer::Refusal,
    call::Call,
    market::{Cancel, MAX_HELD, Move, NewOrder},
    ownstore::shop::Problem,
};

/// The most lines of a page, and of a confirmation.
pub(crate) const MOST_LINES: usize = 200;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Confirmed,
    Shipped,
    Cancelled,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Confirmed => "confirmed",
            Self::Shipped => "shipped",
            Self::Cancelled => "cancelled",
        }
    }
}

#[derive(Clone, Debug)]
struct Line {
    id: String,
    order: String,
    item: String,
    quantity: u64,
    /// Of the quantity; it only grows.
    cancelled: u64,
    unit_price: u64,
    state: State,
    ordered_at: OffsetDateTime,
    changed: Change,
}

impl Line {
    fn left(&self) -> u64 {
        self.quantity.saturating_sub(self.cancelled)
    }

    fn fields(&self) -> Value {
        json!({
            "line": self.id,
            "order": self.order,
            "item": self.item,
            "quantity": self.quantity,
            "cancelled": self.cancelled,
            "unit_price": self.unit_price,
            "state": self.state.word(),
            "ordered_at": rfc3339(self.ordered_at),
            "changed_at": rfc3339(self.changed.at),
        })
    }
}

/// When a line changed last. The number tells changes of one instant apart, so a page can end between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Change {
    at: OffsetDateTime,
    number: u64,
}

/// `POST /onepool/orders/{line}/cancel`.
#[derive(Debug, Deserialize)]
pub(crate) struct CancelBody {
    /// Of the line, in all.
    cancelled: u64,
    reason: String,
}

#[derive(Debug)]
pub(crate) struct Orders {
    /// The most lines of a page.
    pub(crate) page_lines: usize,
    lines: Vec<Line>,
    places: HashMap<String, usize>,
    /// The places of each order's lines, by the order's id; oldest first, since ids count up.
    orders: BTreeMap<String, Vec<usize>>,
    /// Every line once, by its last change.
    changes: BTreeMap<Change, usize>,
    change_count: u64,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            page_lines: MOST_LINES,
            lines: Vec::new(),
            places: HashMap::new(),
            orders: BTreeMap::new(),
            changes: BTreeMap::new(),
            change_count: 0,
        }
    }
}

impl Orders {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.orders.contains_key(id)
    }

    pub(crate) fn have_room(&self) -> Result<(), Refusal> {
        if self.orders.len() < MAX_HELD {
            Ok(())
        } else {
            Err(Refusal::impossible("There are too many orders."))
        }
    }

    pub(crate) fn place(&mut self, order: &NewOrder, prices: &[u64], now: OffsetDateTime) -> Value {
        let id = format!("S{:09}", self.orders.len() + 1);
        let mut places = Vec::new();
        for (at, (line, price)) in order.lines.iter().zip(prices).enumerate() {
            let changed = self.next_change(now);
            let place = self.lines.len();
            let line = Line {
                id: format!("{id}-{}", at + 1),
                order: id.clone(),
                item: line.product_id.clone().unwrap_or_default(),
                quantity: line.quantity,
                cancelled: 0,
                unit_price: *price,
                state: State::New,
                ordered_at: now,
                changed,
            };
            self.changes.insert(changed, place);
            self.places.insert(line.id.clone(), place);
            self.lines.push(line);
            places.push(place);
        }
        self.orders.insert(id.clone(), places);
        self.shown(&id)
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        self.orders.keys().map(|id| self.shown(id)).collect()
    }

    /// `GET /onepool/orders`: what changed from `since` on and before `until`, each line once and as it is now. A line
    /// that changes while pages are turned moves behind `until`, and so into the next window.
    pub(crate) fn list(&self, call: &Call, now: OffsetDateTime) -> Result<Value, Problem> {
        let time = |name: &str| {
            call.parameter(name)
                .map(|text| {
                    OffsetDateTime::parse(&text, &Rfc3339)
                        .map_err(|_| Problem::malformed(format!("{name} is not RFC 3339.")))
                })
                .transpose()
        };
        let since = time("since")?.ok_or_else(|| Problem::malformed("since is missing."))?;
        let until = time("until")?.unwrap_or(now);
        let mut first = Change {
            at: since,
            number: 0,
        };
        if let Some(cursor) = call.parameter("cursor").filter(|text| !text.is_empty()) {
            let cursor = cursor_of(&cursor).ok_or_else(|| Problem::malformed("cursor is none."))?;
            first = first.max(cursor);
        }
        let mut fitting = self
            .changes
            .range(first..)
            .take_while(|(change, _)| change.at < until);
        let lines: Vec<_> = fitting
            .by_ref()
            .take(self.page_lines)
            .filter_map(|(_, place)| self.lines.get(*place))
            .map(Line::fields)
            .collect();
        let next = fitting.next().map(|(change, _)| cursor_text(*change));
        Ok(json!({ "lines": lines, "next_cursor": next }))
    }

    /// `POST /onepool/orders/confirm`: each line for itself, and a repeat is no failure.
    pub(crate) fn confirm(
        &mut self,
        ids: &[String],
        now: OffsetDateTime,
    ) -> Result<Value, Problem> {
        if ids.len() > MOST_LINES {
            return Err(Problem::unfit(format!("At most {MOST_LINES} lines.")));
        }
        let results: Vec<_> = ids
            .iter()
            .map(|id| json!({ "line": id, "result": self.confirm_one(id, now) }))
            .collect();
        Ok(json!({ "results": results }))
    }

    fn confirm_one(&mut self, id: &str, now: OffsetDateTime) -> &'static str {
        let Some(place) = self.places.get(id).copied() else {
            return "unknown";
        };
        match self.lines.get(place).map(|line| line.state) {
            None => "unknown",
            Some(State::New) => {
                self.change(place, now, |line| line.state = State::Confirmed);
                "confirmed"
            }
            Some(State::Confirmed | State::Shipped) => "already_confirmed",
            Some(State::Cancelled) => "cancelled",
        }
    }

    /// `POST /onepool/orders/{line}/cancel`: by the seller. What is cancelled already counts. Answers the line, and the item with
    /// its freed units.
    pub(crate) fn cancel(
        &mut self,
        id: &str,
        body: &CancelBody,
        now: OffsetDateTime,
    ) -> Result<(Value, String, u64), Problem> {
        let found = self.places.get(id).copied();
        let line = found.and_then(|place| Some((place, self.lines.get(place)?)));
        let (place, line) = line.ok_or_else(|| Problem::not_found("line", id))?;
        if body.reason.is_empty() {
            return Err(Problem::unfit("reason is empty."));
        }
        if body.cancelled == 0 || body.cancelled > line.quantity {
            let most = line.quantity;
            return Err(Problem::unfit(format!("cancelled is 1 to {most}.")));
        }
        let more = body.cancelled.saturating_sub(line.cancelled);
        if more > 0 && line.state == State::Shipped {
            let detail = "The line has been shipped.";
            return Err(Problem::new(StatusCode::CONFLICT, "wrong-state", detail));
        }
        let item = line.item.clone();
        if more > 0 {
            self.take_units(place, more, now);
        }
        let fields = self.lines.get(place).map(Line::fields).unwrap_or_default();
        Ok((fields, item, more))
    }

    /// The buyer cancels at the shop. Answers the order, and the items with their freed units.
    pub(crate) fn buyer_cancels(
        &mut self,
        id: &str,
        cancel: &Cancel,
        now: OffsetDateTime,
    ) -> Result<(Value, Vec<(String, u64)>), Refusal> {
        let mut freed = Vec::new();
        for place in self.meant(id, cancel.line_id.as_deref())? {
            let Some(line) = self.lines.get(place) else {
                continue;
            };
            let units = cancel.quantity.unwrap_or(line.left());
            let fits = match line.state {
                State::New | State::Confirmed => units <= line.left(),
                State::Shipped => false,
                State::Cancelled if cancel.line_id.is_none() => continue,
                State::Cancelled => false,
            };
            if !fits {
                return Err(Refusal::impossible(format!(
                    "{} cannot be cancelled so.",
                    line.id
                )));
            }
            freed.push((place, line.item.clone(), units));
        }
        if freed.is_empty() {
            return Err(Refusal::impossible("It is cancelled already."));
        }
        let freed = freed
            .into_iter()
            .map(|(place, item, units)| {
                self.take_units(place, units, now);
                (item, units)
            })
            .collect();
        Ok((self.shown(id), freed))
    }

    /// Somebody moves lines at the shop's office.
    pub(crate) fn move_lines(
        &mut self,
        id: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let state = [State::New, State::Confirmed, State::Shipped]
            .into_iter()
            .find(|state| state.word() == to.state)
            .ok_or_else(|| Refusal::invalid("state is new, confirmed or shipped."))?;
        for place in self.meant(id, to.line_id.as_deref())? {
            self.change(place, now, |line| {
                if line.state != State::Cancelled {
                    line.state = state;
                }
            });
        }
        Ok(self.shown(id))
    }

    fn meant(&self, id: &str, line: Option<&str>) -> Result<Vec<usize>, Refusal> {
        let places = self.orders.get(id);
        let places = places.ok_or_else(|| Refusal::not_found("order", id))?;
        let meant: Vec<_> = places
            .iter()
            .copied()
            .filter(|place| {
                let this = self.lines.get(*place).map(|line| line.id.as_str());
                line.is_none() || line == this
            })
            .collect();
        if meant.is_empty() {
            return Err(Refusal::not_found("line", line.unwrap_or_default()));
        }
        Ok(meant)
    }

    fn take_units(&mut self, place: usize, units: u64, now: OffsetDateTime) {
        self.change(place, now, |line| {
            line.cancelled += units;
            if line.left() == 0 {
                line.state = State::Cancelled;
            }
        });
    }

    fn change(&mut self, place: usize, now: OffsetDateTime, change: impl FnOnce(&mut Line)) {
        let changed = self.next_change(now);
        let Some(line) = self.lines.get_mut(place) else {
            return;
        };
        change(line);
        self.changes.remove(&line.changed);
        line.changed = changed;
        self.changes.insert(changed, place);
    }

    fn next_change(&mut self, now: OffsetDateTime) -> Change {
        self.change_count += 1;
        Change {
            at: now,
            number: self.change_count,
        }
    }

    fn shown(&self, id: &str) -> Value {
        let places = self.orders.get(id).into_iter().flatten();
        let lines: Vec<_> = places
            .filter_map(|place| self.lines.get(*place))
            .map(|line| {
                json!({
                    "lineId": line.id,
                    "productId": line.item,
                    "optionId": null,
                    "quantity": line.quantity,
                    "cancelled": line.cancelled,
                    "state": line.state.word(),
                })
            })
            .collect();
        json!({ "shop": "plain", "orderId": id, "lines": lines })
    }
}

/// UTC, as far as the clock counts.
pub(crate) fn rfc3339(at: OffsetDateTime) -> String {
    // Formatting fails only for a year of more than four digits.
    at.to_offset(time::UtcOffset::UTC)
        .format(&Rfc3339)
        .unwrap_or_default()
}

fn cursor_text(change: Change) -> String {
    let text = format!("{}:{}", change.at.unix_timestamp_nanos(), change.number);
    BASE64_URL_SAFE_NO_PAD.encode(text)
}

fn cursor_of(text: &str) -> Option<Change> {
    let text = BASE64_URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(text).ok()?;
    let (at, number) = text.split_once(':')?;
    Some(Change {
        at: OffsetDateTime::from_unix_timestamp_nanos(at.parse().ok()?).ok()?,
        number: number.parse().ok()?,
    })
}
