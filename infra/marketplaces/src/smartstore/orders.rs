//! Product orders: what buyers and the seller do with them, and the feed that shows each one's latest event.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{answers::OrderError, products::Catalogue};
use crate::{
    answer::Refusal,
    clock::iso,
    market::{Cancel, MAX_HELD, Move, NewOrder},
};

/// Of the documented states those that the fake leads a product order to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Status {
    PaymentWaiting,
    Payed,
    Delivering,
    Delivered,
    PurchaseDecided,
    Canceled,
    Returned,
    CanceledByNopayment,
}

/// Whether the seller has confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Place {
    NotYet,
    Ok,
    Cancel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum ClaimStatus {
    CancelRequest,
    CancelDone,
    CancelReject,
    ReturnDone,
}

/// What the feed tells: the kinds of change that move a product order to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Event {
    PayWaiting,
    Payed,
    DeliveryAddressChanged,
    ClaimRequested,
    ClaimCompleted,
    Dispatched,
    PurchaseDecided,
}

#[derive(Clone, Debug)]
struct Claim {
    id: u64,
    status: ClaimStatus,
    quantity: u64,
    reason: String,
    detail: String,
    by_seller: bool,
    requested: OffsetDateTime,
    completed: Option<OffsetDateTime>,
}

impl Claim {
    fn kind(&self) -> &'static str {
        match self.status {
            ClaimStatus::CancelRequest | ClaimStatus::CancelDone | ClaimStatus::CancelReject => {
                "CANCEL"
            }
            ClaimStatus::ReturnDone => "RETURN",
        }
    }

    fn is_open(&self) -> bool {
        match self.status {
            ClaimStatus::CancelRequest => true,
            ClaimStatus::CancelDone | ClaimStatus::CancelReject | ClaimStatus::ReturnDone => false,
        }
    }

    /// Under `currentClaim.cancel` and among `completedClaims`.
    fn show(&self) -> Value {
        json!({
            "claimId": self.id.to_string(),
            "claimType": self.kind(),
            "claimStatus": self.status,
            "claimRequestDate": iso(self.requested),
            "cancelReason": self.reason,
            "cancelDetailedReason": self.detail,
            "cancelApprovalDate": self.completed.map(iso),
            "cancelCompletedDate": self.completed.map(iso),
            "requestChannel": if self.by_seller { "SELLER" } else { "BUYER" },
            "requestQuantity": self.quantity,
        })
    }
}

/// One product order: one line of an order.
#[derive(Clone, Debug)]
struct Line {
    id: u64,
    order: u64,
    origin: u64,
    option: Option<u64>,
    product_name: String,
    option_name: Option<String>,
    channel: u64,
    seller_product_code: Option<String>,
    option_code: Option<String>,
    buyer: String,
    /// How many were ordered.
    quantity: u64,
    /// How many are not cancelled.
    remain: u64,
    unit_price: u64,
    unit_discount: u64,
    option_price: i64,
    status: Status,
    place: Place,
    claims: Vec<Claim>,
    event: Event,
    changed: OffsetDateTime,
    /// Since the seller confirmed.
    address_changed: bool,
    address: u64,
    ordered: OffsetDateTime,
    paid: Option<OffsetDateTime>,
    placed: Option<OffsetDateTime>,
    dispatched: Option<OffsetDateTime>,
    decided: Option<OffsetDateTime>,
}

impl Line {
    fn open_claim(&self) -> Option<&Claim> {
        self.claims.last().filter(|claim| claim.is_open())
    }

    fn total(&self, quantity: u64) -> u64 {
        let unit = self.unit_price.saturating_add_signed(self.option_price);
        unit.saturating_mul(quantity)
    }

    fn payment(&self, quantity: u64) -> u64 {
        let off = self.unit_discount.saturating_mul(quantity);
        self.total(quantity).saturating_sub(off)
    }

    /// A row of the change feed.
    fn row(&self) -> Value {
        let mut row = json!({
            "orderId": self.order.to_string(),
            "productOrderId": self.id.to_string(),
            "lastChangedType": self.event,
            "lastChangedDate": iso(self.changed),
            "productOrderStatus": self.status,
            "receiverAddressChanged": self.address_changed,
        });
        if let Some(paid) = self.paid {
            row["paymentDate"] = json!(iso(paid));
        }
        if let Some(claim) = self.claims.last() {
            row["claimType"] = json!(claim.kind());
            row["claimStatus"] = json!(claim.status);
        }
        row
    }

    /// An element of the detail query.
    fn detail(&self) -> Value {
        let mut product_order = json!({
            "productOrderId": self.id.to_string(),
            "productOrderStatus": self.status,
            "placeOrderStatus": self.place,
            "placeOrderDate": self.placed.map(iso),
            "productId": self.channel.to_string(),
            "originalProductId": self.origin.to_string(),
            "itemNo": self.option.map(|id| id.to_string()).unwrap_or_default(),
            "optionCode": self.option.map(|id| id.to_string()).unwrap_or_default(),
            "optionManageCode": self.option_code,
            "sellerProductCode": self.seller_product_code,
            "productName": self.product_name,
            "productOption": self.option_name,
            "productClass": if self.option.is_some() { "조합형옵션상품" } else { "단일상품" },
            "quantity": self.quantity,
            "initialQuantity": self.quantity,
            "remainQuantity": self.remain,
            "unitPrice": self.unit_price,
            "optionPrice": self.option_price,
            "totalProductAmount": self.total(self.quantity),
            "totalPaymentAmount": self.payment(self.quantity),
            "initialPaymentAmount": self.payment(self.quantity),
            "remainPaymentAmount": self.payment(self.remain),
            "productDiscountAmount": self.unit_discount.saturating_mul(self.quantity),
            "deliveryFeeAmount": 0,
            "packageNumber": self.order.to_string(),
            "shippingAddress": {
                "name": self.buyer,
                "tel1": "010-0000-0000",
                "zipCode": "00000",
                "baseAddress": "서울",
                "detailedAddress": self.address.to_string(),
                "isRoadNameAddress": true,
                "addressType": "DOMESTIC",
            },
            "expectedDeliveryMethod": "DELIVERY",
            "deliveryAttributeType": "NORMAL",
            "inflowPath": "-",
        });
        if let Some(claim) = self.claims.last() {
            product_order["claimType"] = json!(claim.kind());
            product_order["claimStatus"] = json!(claim.status);
            product_order["claimId"] = json!(claim.id.to_string());
        }
        let mut detail = json!({
            "order": {
                "orderId": self.order.to_string(),
                "orderDate": iso(self.ordered),
                "paymentDate": self.paid.map(iso),
                "ordererName": self.buyer,
                "ordererTel": "010-0000-0000",
                "paymentMeans": "신용카드",
                "payLocationType": "MOBILE",
                "generalPaymentAmount": self.payment(self.quantity),
                "orderDiscountAmount": 0,
            },
            "productOrder": product_order,
        });
        if let Some(dispatched) = self.dispatched {
            detail["delivery"] =
                json!({ "sendDate": iso(dispatched), "deliveryMethod": "DELIVERY" });
        }
        let (open, done): (Vec<_>, Vec<_>) = self.claims.iter().partition(|claim| claim.is_open());
        if let Some(claim) = open.last() {
            detail["currentClaim"] = json!({ "cancel": claim.show() });
        }
        if !done.is_empty() {
            detail["completedClaims"] = done.iter().map(|claim| claim.show()).collect();
        }
        detail
    }

    /// For the control API.
    fn show(&self) -> Value {
        json!({
            "lineId": self.id.to_string(),
            "productId": self.origin.to_string(),
            "optionId": self.option.map(|id| id.to_string()),
            "quantity": self.quantity,
            "remainQuantity": self.remain,
            "status": self.status,
            "placeOrderStatus": self.place,
            "claimStatus": self.claims.last().map(|claim| claim.status),
        })
    }

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

/// The range types whose events exist here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(super) enum RangeType {
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

/// Where the feed goes on, and what it shows.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window<'a> {
    pub(super) from: OffsetDateTime,
    pub(super) to: OffsetDateTime,
    /// Of the rows at `from` only those with this number or a higher one.
    pub(super) sequence: u64,
    pub(super) kind: Option<&'a str>,
    pub(super) most: usize,
}

/// What the conditional list selects by.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    pub(super) from: OffsetDateTime,
    pub(super) to: OffsetDateTime,
    pub(super) range: RangeType,
    pub(super) statuses: Vec<Status>,
    pub(super) claims: Vec<ClaimStatus>,
    pub(super) place: Option<Place>,
    pub(super) page: usize,
    pub(super) size: usize,
}

/// How buyers' cancellations are handled where the documents leave it open.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    /// A cancellation before the seller confirmed is done at once, without asking.
    pub(super) instant_cancel: bool,
    /// What was cancelled is for sale again.
    pub(super) cancel_restores_stock: bool,
}

/// Where somebody moves a product order by hand.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Moved {
    Payed,
    CanceledByNopayment,
    /// Confirmed at the seller's own site.
    Ok,
    /// The confirmation was withdrawn.
    Cancel,
    Delivering,
    Delivered,
    PurchaseDecided,
    Returned,
    DeliveryAddressChanged,
}

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

    /// A buyer cancels. Before the seller confirmed it is done at once; afterwards the seller is asked.
    pub(super) fn cancel(
        &mut self,
        catalogue: &mut Catalogue,
        order: &str,
        cancel: &Cancel,
        habits: Habits,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let ids = self.lines_of(order, cancel.line_id.as_deref())?;
        for id in &ids {
            self.check_cancel(*id, cancel.quantity)?;
        }
        for id in ids {
            let Some(line) = self.lines.get(&id) else {
                continue;
            };
            let quantity = cancel.quantity.unwrap_or(line.remain);
            let reason = cancel.reason.as_deref().unwrap_or("INTENT_CHANGED");
            let at_once = habits.instant_cancel && line.place != Place::Ok;
            let unpaid = line.status == Status::PaymentWaiting;
            self.claim(id, (quantity, reason, ""), false, now);
            if at_once || unpaid {
                self.complete(catalogue, id, habits, now);
            } else {
                self.tell(id, Event::ClaimRequested, now);
            }
        }
        self.show_order(order)
    }

    fn check_cancel(&self, id: u64, quantity: Option<u64>) -> Result<(), Refusal> {
        let Some(line) = self.lines.get(&id) else {
            return Err(Refusal::not_found("line", &id.to_string()));
        };
        match line.status {
            Status::PaymentWaiting | Status::Payed => {}
            Status::Delivering
            | Status::Delivered
            | Status::PurchaseDecided
            | Status::Canceled
            | Status::Returned
            | Status::CanceledByNopayment => {
                return Err(Refusal::impossible("It is too late to cancel."));
            }
        }
        if line.open_claim().is_some() {
            return Err(Refusal::impossible("There is an open claim."));
        }
        if quantity.is_some_and(|quantity| quantity > line.remain) {
            return Err(Refusal::impossible(
                "There are not that many left to cancel.",
            ));
        }
        Ok(())
    }

    fn claim(
        &mut self,
        id: u64,
        (quantity, reason, detail): (u64, &str, &str),
        by_seller: bool,
        now: OffsetDateTime,
    ) {
        let claim = Claim {
            id: self.next_id(now),
            status: ClaimStatus::CancelRequest,
            quantity,
            reason: reason.to_owned(),
            detail: detail.to_owned(),
            by_seller,
            requested: now,
            completed: None,
        };
        if let Some(line) = self.lines.get_mut(&id) {
            line.claims.push(claim);
        }
    }

    /// Ends an open claim with the goods cancelled.
    fn complete(
        &mut self,
        catalogue: &mut Catalogue,
        id: u64,
        habits: Habits,
        now: OffsetDateTime,
    ) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        let Some(claim) = line.claims.last_mut().filter(|claim| claim.is_open()) else {
            return;
        };
        claim.status = ClaimStatus::CancelDone;
        claim.completed = Some(now);
        let quantity = claim.quantity;
        line.remain = line.remain.saturating_sub(quantity);
        if line.remain == 0 {
            line.status = Status::Canceled;
        }
        let item = (line.origin, line.option);
        self.tell(id, Event::ClaimCompleted, now);
        if habits.cancel_restores_stock {
            catalogue.shift(item, signed(quantity), now);
        }
    }

    /// Moves lines by hand, at the buyer's, the seller's or the courier's site.
    pub(super) fn step(
        &mut self,
        catalogue: &mut Catalogue,
        order: &str,
        to: &Move,
        habits: Habits,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let moved = Moved::deserialize(json!(to.state))
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let ids = self.lines_of(order, to.line_id.as_deref())?;
        for id in &ids {
            let fits = self.lines.get(id).is_some_and(|line| fits(line, moved));
            if !fits {
                return Err(Refusal::impossible("It cannot go there from where it is."));
            }
        }
        for id in ids {
            self.step_line(catalogue, id, moved, habits, now);
        }
        self.show_order(order)
    }

    fn step_line(
        &mut self,
        catalogue: &mut Catalogue,
        id: u64,
        moved: Moved,
        habits: Habits,
        now: OffsetDateTime,
    ) {
        let Some(line) = self.lines.get_mut(&id) else {
            return;
        };
        match moved {
            Moved::Payed => {
                line.status = Status::Payed;
                line.paid = Some(now);
                self.tell(id, Event::Payed, now);
            }
            Moved::CanceledByNopayment => {
                line.status = Status::CanceledByNopayment;
                let units = line.remain;
                line.remain = 0;
                let item = (line.origin, line.option);
                // It is not among the kinds of change that the feed tells.
                if habits.cancel_restores_stock {
                    catalogue.shift(item, signed(units), now);
                }
            }
            Moved::Ok => {
                // Neither is a confirmation.
                line.place = Place::Ok;
                line.placed = Some(now);
            }
            Moved::Cancel => {
                line.place = Place::Cancel;
                line.placed = None;
            }
            Moved::Delivering => self.dispatched(id, now),
            // Nor what the courier reports: the feed goes on saying DELIVERING's event, the detail says DELIVERED.
            Moved::Delivered => line.status = Status::Delivered,
            Moved::PurchaseDecided => {
                line.status = Status::PurchaseDecided;
                line.decided = Some(now);
                self.tell(id, Event::PurchaseDecided, now);
            }
            Moved::Returned => {
                let quantity = line.remain;
                line.status = Status::Returned;
                line.remain = 0;
                self.claim(id, (quantity, "INTENT_CHANGED", ""), false, now);
                if let Some(claim) = self.lines.get_mut(&id).and_then(|l| l.claims.last_mut()) {
                    claim.status = ClaimStatus::ReturnDone;
                    claim.completed = Some(now);
                }
                self.tell(id, Event::ClaimCompleted, now);
            }
            Moved::DeliveryAddressChanged => {
                line.address += 1;
                line.address_changed = true;
                self.tell(id, Event::DeliveryAddressChanged, now);
            }
        }
    }

    /// The goods are on their way: an open claim falls.
    fn dispatched(&mut self, id: u64, now: OffsetDateTime) {
        if let Some(line) = self.lines.get_mut(&id) {
            line.status = Status::Delivering;
            line.dispatched = Some(now);
            if let Some(claim) = line.claims.last_mut().filter(|claim| claim.is_open()) {
                claim.status = ClaimStatus::CancelReject;
                claim.completed = Some(now);
            }
        }
        self.tell(id, Event::Dispatched, now);
    }

    /// The seller confirms one line. True when the address changed before.
    pub(super) fn confirm(&mut self, id: &str, now: OffsetDateTime) -> Result<bool, OrderError> {
        let line = self.line_mut(id)?;
        if line.status != Status::Payed || line.open_claim().is_some() {
            return Err(OrderError::STATE);
        }
        if line.place == Place::Ok {
            return Err(OrderError::PLACE_STATE);
        }
        line.place = Place::Ok;
        line.placed = Some(now);
        let changed = line.address_changed;
        line.address_changed = false;
        Ok(changed)
    }

    /// The seller cancels. That it is done at once is our reading.
    pub(super) fn cancel_by_seller(
        &mut self,
        catalogue: &mut Catalogue,
        id: &str,
        (quantity, reason, detail): (Option<u64>, &str, &str),
        habits: Habits,
        now: OffsetDateTime,
    ) -> Result<(), OrderError> {
        let line = self.line_mut(id)?;
        match line.status {
            Status::Payed => {}
            Status::Canceled => return Err(OrderError::SAME_STATE),
            Status::PaymentWaiting
            | Status::Delivering
            | Status::Delivered
            | Status::PurchaseDecided
            | Status::Returned
            | Status::CanceledByNopayment => return Err(OrderError::STATE),
        }
        if line.open_claim().is_some() {
            return Err(OrderError::STATE);
        }
        let quantity = quantity.unwrap_or(line.remain);
        if quantity == 0 || quantity > line.remain {
            return Err(OrderError::BAD_PARAMETER);
        }
        let id = line.id;
        self.claim(id, (quantity, reason, detail), true, now);
        self.complete(catalogue, id, habits, now);
        Ok(())
    }

    /// The seller agrees to a buyer's cancellation.
    pub(super) fn approve(
        &mut self,
        catalogue: &mut Catalogue,
        id: &str,
        habits: Habits,
        now: OffsetDateTime,
    ) -> Result<(), OrderError> {
        let line = self.line_mut(id)?;
        if line.open_claim().is_none() {
            return Err(match line.claims.last().map(|claim| claim.status) {
                Some(ClaimStatus::CancelDone) => OrderError::SAME_STATE,
                Some(
                    ClaimStatus::CancelRequest
                    | ClaimStatus::CancelReject
                    | ClaimStatus::ReturnDone,
                )
                | None => OrderError::STATE,
            });
        }
        let id = line.id;
        self.complete(catalogue, id, habits, now);
        Ok(())
    }

    /// The seller sends the goods of one confirmed line.
    pub(super) fn dispatch(&mut self, id: &str, now: OffsetDateTime) -> Result<(), OrderError> {
        let line = self.line_mut(id)?;
        if line.status != Status::Payed {
            return Err(OrderError::STATE);
        }
        if line.place != Place::Ok {
            return Err(OrderError::PLACE_STATE);
        }
        let id = line.id;
        self.dispatched(id, now);
        Ok(())
    }

    /// A page of the change feed: `data` of the answer.
    pub(super) fn changes(&self, window: Window<'_>) -> Value {
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
    pub(super) fn details(&self, ids: &[String]) -> Vec<Value> {
        ids.iter()
            .filter_map(|id| self.lines.get(&u64::from_str(id).ok()?))
            .map(Line::detail)
            .collect()
    }

    /// The ids of an order's lines.
    pub(super) fn lines_of_order(&self, order: &str) -> Option<Vec<String>> {
        let lines = self.by_order.get(&order.parse().ok()?)?;
        Some(lines.iter().map(u64::to_string).collect())
    }

    /// A page of the conditional list: `data` of the answer.
    pub(super) fn select(&self, selection: &Selection) -> Value {
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

fn fits(line: &Line, moved: Moved) -> bool {
    match moved {
        Moved::Payed | Moved::CanceledByNopayment => line.status == Status::PaymentWaiting,
        Moved::Ok | Moved::Delivering | Moved::DeliveryAddressChanged => {
            line.status == Status::Payed
        }
        Moved::Cancel => line.status == Status::Payed && line.place == Place::Ok,
        Moved::Delivered => line.status == Status::Delivering,
        Moved::PurchaseDecided | Moved::Returned => {
            matches!(line.status, Status::Delivering | Status::Delivered)
        }
    }
}

/// Orders are far smaller than where this would matter.
fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}
