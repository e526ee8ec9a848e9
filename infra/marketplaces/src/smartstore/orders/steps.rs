//! Product orders go on: by the seller's calls, or by hand.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Orders,
    claims::{ClaimStatus, Habits},
    line::{Event, Line, Place, Status},
};
use crate::{
    answer::Refusal,
    market::{Move, signed},
    smartstore::{answers::OrderError, products::Catalogue},
};

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

impl Orders {
    /// The seller confirms one line. True when the address changed before.
    pub(crate) fn confirm(&mut self, id: &str, now: OffsetDateTime) -> Result<bool, OrderError> {
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

    /// The seller sends the goods of one confirmed line.
    pub(crate) fn dispatch(&mut self, id: &str, now: OffsetDateTime) -> Result<(), OrderError> {
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

    /// Moves lines by hand, at the buyer's, the seller's or the courier's site.
    pub(crate) fn step(
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
