//! Claims: what buyers and the seller cancel, and what becomes of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Orders,
    line::{Event, Place, Status},
};
use crate::{
    answer::Refusal,
    clock::iso,
    market::{Cancel, signed},
    smartstore::{answers::OrderError, products::Catalogue},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ClaimStatus {
    CancelRequest,
    CancelDone,
    CancelReject,
    ReturnDone,
}

#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(super) id: u64,
    pub(super) status: ClaimStatus,
    pub(super) quantity: u64,
    pub(super) reason: String,
    pub(super) detail: String,
    pub(super) by_seller: bool,
    pub(super) requested: OffsetDateTime,
    pub(super) completed: Option<OffsetDateTime>,
}

impl Claim {
    pub(super) fn kind(&self) -> &'static str {
        match self.status {
            ClaimStatus::CancelRequest | ClaimStatus::CancelDone | ClaimStatus::CancelReject => {
                "CANCEL"
            }
            ClaimStatus::ReturnDone => "RETURN",
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self.status {
            ClaimStatus::CancelRequest => true,
            ClaimStatus::CancelDone | ClaimStatus::CancelReject | ClaimStatus::ReturnDone => false,
        }
    }

    /// Under `currentClaim.cancel` and among `completedClaims`.
    pub(super) fn show(&self) -> Value {
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

/// How buyers' cancellations are handled where the documents leave it open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    /// A cancellation before the seller confirmed is done at once, without asking.
    pub(crate) instant_cancel: bool,
    /// What was cancelled is for sale again.
    pub(crate) cancel_restores_stock: bool,
}

impl Orders {
    /// A buyer cancels. Before the seller confirmed it is done at once; afterwards the seller is asked.
    pub(crate) fn cancel(
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

    pub(super) fn claim(
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

    /// The seller cancels. That it is done at once is our reading.
    pub(crate) fn cancel_by_seller(
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
    pub(crate) fn approve(
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
}
