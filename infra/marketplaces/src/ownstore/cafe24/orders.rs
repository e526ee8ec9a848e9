//! Orders of the shop itself, and those of linked marketplaces that the shop shows beside them.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    answer::Refusal,
    call::Call,
    market::{Cancel, MAX_HELD, NewOrder},
    ownstore::cafe24::{
        filter::{Filter, number},
        goods::{Bought, Takes},
        reply::{No, day},
        show::{fields, shown},
    },
};

const MOST_LIMIT: usize = 1_000;
const MOST_OFFSET: usize = 15_000;

/// `order_status` with its `status_code` and `status_text`. What is not here is no status of this fake.
pub(super) const STATUSES: &[(&str, &str, &str)] = &[
    ("N00", "N1", "입금전"),
    ("N10", "N1", "상품준비중"),
    ("N20", "N1", "배송준비중"),
    ("N21", "N1", "배송대기"),
    ("N22", "N1", "배송보류"),
    ("N30", "N1", "배송중"),
    ("N40", "N1", "배송완료"),
    ("N50", "N1", "구매확정"),
    ("C00", "C2", "취소신청"),
    ("C10", "C2", "취소접수"),
    ("C34", "C2", "취소처리중"),
    ("C35", "C2", "취소처리중"),
    ("C36", "C2", "취소처리중"),
    ("C40", "C2", "취소완료"),
    ("C41", "C2", "취소완료"),
    ("C42", "C2", "취소완료"),
    ("C43", "C2", "취소완료"),
    ("C47", "C1", "입금전취소"),
    ("C48", "C1", "입금전취소"),
    ("C49", "C1", "입금전취소"),
];

/// Where an order was placed: the shop's own pages, or a linked marketplace.
pub(crate) const OWN_PLACE: &str = "self";
pub(crate) const LINKED_PLACES: [&str; 4] = ["NCHECKOUT", "coupang", "shopn", "sk11st"];

#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) code: String,
    /// The item that a cancellation of some of its units was split from.
    pub(super) original: Option<String>,
    pub(super) bought: Bought,
    pub(super) units: u64,
    pub(super) status: &'static str,
    /// The status to go back to when a cancellation is withdrawn.
    before: &'static str,
    pub(super) claim: Option<String>,
    pub(super) reason: String,
    pub(super) cancel_asked_at: Option<OffsetDateTime>,
    pub(super) cancelled_at: Option<OffsetDateTime>,
    pub(super) shipped_at: Option<OffsetDateTime>,
    /// Whether its units are out of the inventory.
    taken: bool,
}

impl Item {
    pub(super) fn is_cancelled(&self) -> bool {
        self.status.starts_with("C4")
    }

    fn is_claimed(&self) -> bool {
        self.status.starts_with('C')
    }

    pub(super) fn amount(&self) -> i64 {
        let units = i64::try_from(self.units).unwrap_or(i64::MAX);
        let price = i64::try_from(self.bought.price).unwrap_or(i64::MAX);
        price
            .saturating_add(self.bought.extra)
            .saturating_mul(units)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) place: String,
    pub(super) market_no: Option<String>,
    pub(super) buyer: String,
    pub(super) at: OffsetDateTime,
    pub(super) paid_at: Option<OffsetDateTime>,
    pub(super) items: Vec<Item>,
}

/// Units that the inventory gains (negative) or loses.
pub(crate) type Moved = (Bought, i64);

#[derive(Debug, Default)]
pub(crate) struct Orders {
    all: Vec<Order>,
    places: HashMap<String, usize>,
    claims: u64,
}

/// `request` of `PUT /api/v2/admin/orders/{order_id}`.
#[derive(Debug, Deserialize)]
struct StatusBody {
    process_status: String,
    /// None: all items.
    order_item_code: Option<Vec<String>>,
}

/// `request` of `POST /api/v2/admin/orders/{order_id}/cancellation`.
#[derive(Debug, Deserialize)]
struct CancellationBody {
    status: String,
    #[serde(default)]
    recover_inventory: Option<String>,
    #[serde(default)]
    reason: Option<String>,
    items: Vec<CancelledItem>,
}

#[derive(Debug, Deserialize)]
struct CancelledItem {
    order_item_code: String,
    quantity: u64,
}

impl Orders {
    pub(crate) fn has(&self, id: &str) -> bool {
        self.places.contains_key(id)
    }

    /// Answers the order, and what the inventory loses.
    pub(crate) fn place(
        &mut self,
        order: &NewOrder,
        place: &str,
        bought: Vec<Bought>,
        now: OffsetDateTime,
    ) -> Result<(Value, Vec<Moved>), Refusal> {
        if self.all.len() >= MAX_HELD {
            return Err(Refusal::impossible("There are too many orders."));
        }
        let number = self.all.len() + 1;
        let id = format!("{}-{number:07}", day(now));
        let status = if order.paid { "N10" } else { "N00" };
        let items: Vec<_> = order
            .lines
            .iter()
            .zip(bought)
            .enumerate()
            .map(|(at, (line, bought))| Item {
                code: format!("{id}-{:02}", at + 1),
                original: None,
                units: line.quantity,
                status,
                before: status,
                claim: None,
                reason: String::new(),
                cancel_asked_at: None,
                cancelled_at: None,
                shipped_at: None,
                taken: order.paid || bought.takes == Takes::AtOrder,
                bought,
            })
            .collect();
        let moved = items.iter().filter(|item| item.taken).map(moved).collect();
        let lines: Vec<_> = items
            .iter()
            .map(|item| {
                json!({
                    "lineId": item.code,
                    "productId": item.bought.product_no,
                    "optionId": item.bought.variant_code,
                    "quantity": item.units,
                })
            })
            .collect();
        let shown = json!({ "shop": "cafe24", "orderId": id, "place": place, "lines": lines });
        self.places.insert(id.clone(), self.all.len());
        self.all.push(Order {
            market_no: (place != OWN_PLACE).then(|| format!("M{number:012}")),
            id,
            place: place.to_owned(),
            buyer: order.buyer.clone().unwrap_or_else(|| "홍길동".to_owned()),
            at: now,
            paid_at: order.paid.then_some(now),
            items,
        });
        Ok((shown, moved))
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        self.all.iter().map(shown).collect()
    }

    /// `GET /api/v2/admin/orders`: newest first. An order with one item that fits comes with all of its items.
    pub(crate) fn list(&self, call: &Call) -> Result<Value, No> {
        let filter = Filter::read(call)?;
        let limit = number(call, "limit", 10, MOST_LIMIT)?;
        if limit == 0 {
            return Err(No::unfit("limit is at least 1."));
        }
        let offset = number(call, "offset", 0, MOST_OFFSET)?;
        let embed = call.parameter("embed").unwrap_or_default();
        let orders: Vec<_> = self
            .all
            .iter()
            .rev()
            .filter(|order| filter.fits(order))
            .skip(offset)
            .take(limit)
            .map(|order| fields(order, &embed))
            .collect();
        Ok(json!({ "orders": orders }))
    }

    /// `GET /api/v2/admin/orders/count`.
    pub(crate) fn count(&self, call: &Call) -> Result<Value, No> {
        let filter = Filter::read(call)?;
        let fitting = self.all.iter().filter(|order| filter.fits(order));
        Ok(json!({ "count": fitting.count() }))
    }

    /// `GET /api/v2/admin/orders/{order_id}`.
    pub(crate) fn read(&self, id: &str, call: &Call) -> Result<Value, No> {
        let place = self.places.get(id);
        let order = place.and_then(|place| self.all.get(*place));
        let order = order.ok_or_else(|| No::not_found("order"))?;
        let embed = call.parameter("embed").unwrap_or_default();
        Ok(json!({ "order": fields(order, &embed) }))
    }

    /// `PUT /api/v2/admin/orders/{order_id}`.
    pub(crate) fn process(&mut self, id: &str, request: Value) -> Result<Value, No> {
        let body: StatusBody =
            serde_json::from_value(request).map_err(|error| No::unfit(error.to_string()))?;
        let order = self.order_mut(id)?;
        let (to, from): (&'static str, &[&str]) = match body.process_status.as_str() {
            "prepare" => ("N20", &["N10", "N21", "N22"]),
            "prepareproduct" => ("N10", &["N20", "N21", "N22"]),
            "hold" => ("N22", &["N10", "N20", "N21"]),
            "unhold" => ("N20", &["N22"]),
            _ => {
                return Err(No::unfit(
                    "process_status is prepare, prepareproduct, hold or unhold.",
                ));
            }
        };
        let meant = |item: &Item| {
            body.order_item_code
                .as_ref()
                .is_none_or(|codes| codes.contains(&item.code))
        };
        let mut items: Vec<_> = order.items.iter_mut().filter(|item| meant(item)).collect();
        if items.iter().all(|item| item.status == to) {
            return Err(No::same());
        }
        items.retain(|item| from.contains(&item.status));
        if items.is_empty() {
            return Err(No::unfit("No item is in a status that allows this."));
        }
        let codes: Vec<_> = items.iter().map(|item| item.code.clone()).collect();
        for item in items {
            item.status = to;
        }
        Ok(json!({
            "order": {
                "shop_no": 1,
                "order_id": id,
                "process_status": body.process_status,
                "order_item_code": codes,
            },
        }))
    }

    /// `POST /api/v2/admin/orders/{order_id}/cancellation`: by the seller, or the seller's yes to a buyer.
    pub(crate) fn cancellation(
        &mut self,
        id: &str,
        request: Value,
        now: OffsetDateTime,
    ) -> Result<(Value, Vec<Moved>), No> {
        let body: CancellationBody =
            serde_json::from_value(request).map_err(|error| No::unfit(error.to_string()))?;
        let to = match body.status.as_str() {
            "accepted" => "C10",
            "canceling" => "C34",
            "canceled" => "C40",
            _ => return Err(No::unfit("status is accepted, canceling or canceled.")),
        };
        let claim = self.next_claim(now);
        let order = self.order_mut(id)?;
        for wanted in &body.items {
            let item = order
                .items
                .iter()
                .find(|i| i.code == wanted.order_item_code);
            let item = item.ok_or_else(|| No::not_found("order_item_code"))?;
            if !is_before_shipping(item) {
                return Err(No::unfit("It is too late to cancel the item."));
            }
            if wanted.quantity == 0 || wanted.quantity > item.units {
                return Err(No::unfit("quantity is more than there is."));
            }
        }
        let recover = body.recover_inventory.as_deref() == Some("T");
        let mut gained = Vec::new();
        for wanted in &body.items {
            let Some(item) = split(order, &wanted.order_item_code, wanted.quantity) else {
                continue;
            };
            item.claim = Some(claim.clone());
            item.reason = body.reason.clone().unwrap_or_default();
            item.cancel_asked_at = item.cancel_asked_at.or(Some(now));
            item.status = to;
            if item.is_cancelled() {
                gained.extend(end(item, recover, now));
            }
        }
        let shown = json!({
            "cancellation": {
                "shop_no": 1,
                "order_id": id,
                "status": body.status,
                "claim_code": claim,
                "items": body.items.iter().map(|item| json!({
                    "order_item_code": item.order_item_code,
                    "quantity": item.quantity,
                })).collect::<Vec<_>>(),
            },
        });
        Ok((shown, gained))
    }

    /// A buyer cancels: unpaid orders end at once, others wait for the seller unless the shop is set up otherwise.
    pub(crate) fn buyer_cancels(
        &mut self,
        id: &str,
        cancel: &Cancel,
        at_once: bool,
        now: OffsetDateTime,
    ) -> Result<(Value, Vec<Moved>), Refusal> {
        let claim = self.next_claim(now);
        let order = self
            .order_mut(id)
            .map_err(|_| Refusal::not_found("order", id))?;
        let codes: Vec<_> = order
            .items
            .iter()
            .filter(|item| match &cancel.line_id {
                Some(code) => item.code == *code,
                None => !item.is_claimed(),
            })
            .map(|item| (item.code.clone(), cancel.quantity.unwrap_or(item.units)))
            .collect();
        if codes.is_empty() {
            let what = cancel.line_id.as_deref().unwrap_or("that is not cancelled");
            return Err(Refusal::not_found("line", what));
        }
        for (code, units) in &codes {
            let item = order.items.iter().find(|item| item.code == *code);
            let fits = item.is_some_and(|item| {
                is_before_shipping(item) && !item.is_claimed() && *units <= item.units
            });
            if !fits {
                return Err(Refusal::impossible(format!(
                    "{code} cannot be cancelled so."
                )));
            }
        }
        let mut gained = Vec::new();
        for (code, units) in codes {
            let Some(item) = split(order, &code, units) else {
                continue;
            };
            item.claim = Some(claim.clone());
            item.reason = cancel
                .reason
                .clone()
                .unwrap_or_else(|| "고객변심".to_owned());
            item.cancel_asked_at = Some(now);
            item.status = match (item.status, at_once) {
                ("N00", _) => "C47",
                (_, true) => "C40",
                (_, false) => "C00",
            };
            if item.is_cancelled() {
                gained.extend(end(item, true, now));
            }
        }
        Ok((shown(order), gained))
    }

    /// Somebody moves items at the shop's office: to a status, or `withdrawn` for a cancellation that was asked for.
    pub(crate) fn move_items(
        &mut self,
        id: &str,
        code: Option<&str>,
        to: &str,
        now: OffsetDateTime,
    ) -> Result<(Value, Vec<Moved>), Refusal> {
        let known = STATUSES.iter().find(|(status, _, _)| *status == to);
        if known.is_none() && to != "withdrawn" {
            return Err(Refusal::invalid("state is an order_status or withdrawn."));
        }
        let order = self
            .order_mut(id)
            .map_err(|_| Refusal::not_found("order", id))?;
        let mut moved_units = Vec::new();
        let mut touched = 0;
        for item in &mut order.items {
            if code.is_some_and(|code| code != item.code) || item.is_cancelled() {
                continue;
            }
            let Some((status, _, _)) = known else {
                if item.is_claimed() {
                    item.status = item.before;
                    item.claim = None;
                    item.cancel_asked_at = None;
                    touched += 1;
                }
                continue;
            };
            touched += 1;
            if !item.is_claimed() {
                item.before = item.status;
            }
            item.status = *status;
            if to == "N30" {
                item.shipped_at = Some(now);
            }
            if item.is_claimed() {
                item.cancel_asked_at = item.cancel_asked_at.or(Some(now));
            }
            if item.is_cancelled() {
                moved_units.extend(end(item, true, now));
            } else if !item.taken && to != "N00" && !item.is_claimed() {
                item.taken = true;
                moved_units.push(moved(item));
            }
        }
        if touched == 0 {
            return Err(Refusal::impossible("No line is there to be moved."));
        }
        if to.starts_with('N') && to != "N00" && order.paid_at.is_none() {
            order.paid_at = Some(now);
        }
        Ok((shown(order), moved_units))
    }

    fn order_mut(&mut self, id: &str) -> Result<&mut Order, No> {
        let place = self.places.get(id).copied();
        place
            .and_then(|place| self.all.get_mut(place))
            .ok_or_else(|| No::not_found("order"))
    }

    fn next_claim(&mut self, now: OffsetDateTime) -> String {
        self.claims += 1;
        format!("C{}-{:07}", day(now), self.claims)
    }
}

fn moved(item: &Item) -> Moved {
    let units = i64::try_from(item.units).unwrap_or(i64::MAX);
    (item.bought.clone(), units)
}

/// The item to cancel: for some of its units a new one, which knows what it was split from. How the real shop shows a
/// cancellation of some units is documented only in parts.
fn split<'a>(order: &'a mut Order, code: &str, units: u64) -> Option<&'a mut Item> {
    let number = order.items.len() + 1;
    let place = order.items.iter().position(|item| item.code == code)?;
    let item = order.items.get_mut(place)?;
    if !item.is_claimed() {
        item.before = item.status;
    }
    if units >= item.units {
        return order.items.get_mut(place);
    }
    item.units -= units;
    let part = Item {
        code: format!("{}-{number:02}", order.id),
        original: Some(item.code.clone()),
        units,
        ..item.clone()
    };
    order.items.push(part);
    order.items.last_mut()
}

/// Marks an item as cancelled; its units are free again when the shop recovers them.
fn end(item: &mut Item, recover: bool, now: OffsetDateTime) -> Option<Moved> {
    item.cancelled_at = Some(now);
    if !(recover && item.taken) {
        return None;
    }
    item.taken = false;
    let (bought, units) = moved(item);
    Some((bought, -units))
}

fn is_before_shipping(item: &Item) -> bool {
    matches!(
        item.status,
        "N00" | "N10" | "N20" | "N21" | "N22" | "C00" | "C10" | "C34" | "C35" | "C36"
    )
}
