//! Product orders: what buyers and the seller do with them, and the feed that shows each one's latest event.

mod claims;
mod line;
mod lists;
mod steps;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use time::OffsetDateTime;

use self::line::{Event, Line, Place, Status};
pub(super) use self::{
    claims::Habits,
    lists::{RangeType, Selection, Window},
};
use super::{answers::OrderError, products::Catalogue};
use crate::{
    answer::Refusal,
    clock::iso,
    market::{MAX_HELD, NewOrder, signed},
};

/// All orders, and the feed.
#[derive(Debug, Default)]
pub(super) struct Orders {
    lines: BTreeMap<u64, Line>,
    by_order: BTreeMap<u64, Vec<u64>>,
    /// When each line last changed, and which: the order of the feed.
    feed: BTreeSet<(OffsetDateTime, u64)>,
    counter: u64,
}

impl Orders {
    pub(super) fn place(
        &mut self,
        catalogue: &mut Catalogue,
        order: &NewOrder,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        if self.lines.len() + order.lines.len() > MAX_HELD {
            return Err(Refusal::impossible("There are too many orders."));
        }
        // All is decided before anything is taken: two lines may want the same item.
        let mut wanted: BTreeMap<_, u64> = BTreeMap::new();
        let mut items = Vec::new();
        for line in &order.lines {
            let item = catalogue.wanted(line)?;
            let units = wanted.entry(item).or_default();
            *units = units.saturating_add(line.quantity);
            items.push((item, line.quantity));
        }
        if wanted
            .iter()
            .any(|(&(origin, option), units)| catalogue.left(origin, option) < *units)
        {
            return Err(Refusal::impossible("There are not that many left."));
        }
        let id = self.next_id(now);
        let buyer = match &order.buyer {
            Some(buyer) => buyer.clone(),
            None => format!("구매자{}", self.counter),
        };
        let mut shown = Vec::new();
        for ((origin, option), quantity) in items {
            let price = catalogue.price(origin, option, now);
            let Some(product) = catalogue.get(origin) else {
                continue;
            };
            let choice = option.and_then(|id| product.choice(id));
            let line = Line {
                id: self.next_id(now),
                order: id,
                origin,
                option,
                product_name: product.name.clone(),
                option_name: choice.map(|choice| choice.name.clone()),
                channel: product.channel,
                seller_product_code: product.seller_code.clone(),
                option_code: choice.and_then(|choice| choice.seller_code.clone()),
                buyer: buyer.clone(),
                quantity,
                remain: quantity,
                unit_price: price.unit,
                unit_discount: price.discount,
                option_price: price.option,
                status: if order.paid {
                    Status::Payed
                } else {
                    Status::PaymentWaiting
                },
                place: Place::NotYet,
                claims: Vec::new(),
                event: if order.paid {
                    Event::Payed
                } else {
                    Event::PayWaiting
                },
                changed: now,
                address_changed: false,
                address: 1,
                ordered: now,
                paid: order.paid.then_some(now),
                placed: None,
                dispatched: None,
                decided: None,
            };
            catalogue.shift((origin, option), -signed(quantity), now);
            shown.push(line.show());
            self.feed.insert((now, line.id));
            self.by_order.entry(id).or_default().push(line.id);
            self.lines.insert(line.id, line);
        }
        Ok(json!({ "orderId": id.to_string(), "lines": shown }))
    }

    /// Everything that changes a line and is an event, so that the feed holds the line's latest.
    fn tell(&mut self, line: u64, event: Event, now: OffsetDateTime) {
        if let Some(line) = self.lines.get_mut(&line) {
            self.feed.remove(&(line.changed, line.id));
            line.event = event;
            line.changed = now;
            self.feed.insert((now, line.id));
        }
    }

    pub(super) fn show(&self) -> Vec<Value> {
        self.by_order
            .keys()
            .filter_map(|id| self.show_order(&id.to_string()).ok())
            .collect()
    }

    fn show_order(&self, order: &str) -> Result<Value, Refusal> {
        let lines: Vec<_> = self
            .lines_of(order, None)?
            .iter()
            .filter_map(|id| self.lines.get(id))
            .collect();
        let first = lines.first();
        Ok(json!({
            "orderId": order,
            "at": first.map(|line| iso(line.ordered)),
            "buyer": first.map(|line| &line.buyer),
            "lines": lines.iter().map(|line| line.show()).collect::<Vec<_>>(),
        }))
    }

    /// The lines of an order that are meant: all, or one.
    fn lines_of(&self, order: &str, line: Option<&str>) -> Result<Vec<u64>, Refusal> {
        let lines = order
            .parse()
            .ok()
            .and_then(|order: u64| self.by_order.get(&order))
            .ok_or_else(|| Refusal::not_found("order", order))?;
        let Some(line) = line else {
            return Ok(lines.clone());
        };
        line.parse()
            .ok()
            .filter(|id| lines.contains(id))
            .map(|id| vec![id])
            .ok_or_else(|| Refusal::not_found("line", line))
    }

    fn line_mut(&mut self, id: &str) -> Result<&mut Line, OrderError> {
        id.parse()
            .ok()
            .and_then(|id: u64| self.lines.get_mut(&id))
            .ok_or(OrderError::NO_LINE)
    }

    /// The day, and a number that counts on: sixteen digits, as the real ones have.
    fn next_id(&mut self, now: OffsetDateTime) -> u64 {
        self.counter += 1;
        let day = now.date();
        let day = u64::from(day.year().unsigned_abs()) * 10_000
            + u64::from(u8::from(day.month())) * 100
            + u64::from(day.day());
        day * 100_000_000 + self.counter
    }
}
