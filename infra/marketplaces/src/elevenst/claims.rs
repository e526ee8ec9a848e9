//! Cancellations: asked by a buyer and approved or refused by the seller, or made by a seller who cannot supply.

use serde_json::{Value, json};
use time::OffsetDateTime;

use crate::{
    answer::{Answer, Refusal},
    elevenst::{
        goods::Bought,
        orders::{Line, Order, Orders, State},
        windows::{Window, seconds},
        xml::{Verdict, list},
    },
    market::Cancel,
};

/// Why a seller says that an order cannot be supplied: 06 delay, 07 wrong price or description, 08 all options sold out,
/// 09 this option sold out, 10 the buyer changed their mind.
const SELLER_REASONS: [&str; 5] = ["06", "07", "08", "09", "10"];
/// What a buyer's reason is sent as; the table of these codes was not found.
const BUYER_REASON: &str = "00";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Asked,
    Done,
    Withdrawn,
    Refused,
}

impl Stage {
    fn word(self) -> &'static str {
        match self {
            Self::Asked => "requested",
            Self::Done => "canceled",
            Self::Withdrawn => "withdrawn",
            Self::Refused => "refused",
        }
    }

    /// `ordCnStatCd`: 01 and 02 are documented.
    fn code(self) -> &'static str {
        match self {
            Self::Asked => "01",
            Self::Done => "02",
            Self::Withdrawn | Self::Refused => "null",
        }
    }
}

/// One cancellation of units of a line.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    /// `ordPrdCnSeq`.
    no: String,
    units: u64,
    by_seller: bool,
    reason: String,
    text: String,
    stage: Stage,
    asked_at: OffsetDateTime,
    /// When it came into its stage: by this the lists are cut.
    since: OffsetDateTime,
}

impl Claim {
    pub(crate) fn show(&self) -> Value {
        json!({
            "claimId": self.no,
            "quantity": self.units,
            "bySeller": self.by_seller,
            "reason": self.reason,
            "text": self.text,
            "state": self.stage.word(),
        })
    }

    fn go(&mut self, stage: Stage, now: OffsetDateTime) {
        self.stage = stage;
        self.since = now;
    }

    fn row(&self, order: &Order, line: &Line) -> Vec<(&'static str, String)> {
        let by = if self.by_seller { "02" } else { "01" };
        vec![
            ("ordNo", order.no.clone()),
            ("ordPrdSeq", line.seq.to_string()),
            ("ordPrdCnSeq", self.no.clone()),
            ("ordCnQty", self.units.to_string()),
            ("ordCnStatCd", self.stage.code().to_owned()),
            ("ordCnMnbdCd", by.to_owned()),
            ("ordCnRsnCd", self.reason.clone()),
            ("ordCnDtlsRsn", self.text.clone()),
            ("createDt", seconds(Some(self.asked_at))),
            ("prdNo", line.bought.product_no.clone()),
            (
                "slctPrdOptNm",
                line.bought.option_text().unwrap_or_default(),
            ),
            ("dlvNo", order.delivery_no.clone()),
        ]
    }
}

/// Units that a cancellation freed.
#[derive(Clone, Debug)]
pub(crate) struct Freed {
    pub(crate) bought: Bought,
    pub(crate) units: u64,
}

impl Line {
    fn open_claim(&mut self) -> Option<&mut Claim> {
        self.claims
            .iter_mut()
            .find(|claim| claim.stage == Stage::Asked)
    }

    pub(crate) fn is_asked_to_cancel(&self) -> bool {
        self.claims.iter().any(|claim| claim.stage == Stage::Asked)
    }

    /// Units of claims that are done, and of one that is asked for.
    pub(crate) fn units_in_claims(&self) -> u64 {
        let counts = |claim: &&Claim| match claim.stage {
            Stage::Asked | Stage::Done => true,
            Stage::Withdrawn | Stage::Refused => false,
        };
        self.claims
            .iter()
            .filter(counts)
            .map(|claim| claim.units)
            .sum()
    }

    /// The goods are on their way, so nobody cancels them any more.
    pub(crate) fn drop_claim(&mut self, now: OffsetDateTime) {
        if let Some(claim) = self.open_claim() {
            claim.go(Stage::Refused, now);
        }
    }

    pub(crate) fn withdraw_claim(&mut self, now: OffsetDateTime) -> Result<(), Refusal> {
        let claim = self
            .open_claim()
            .ok_or_else(|| Refusal::impossible("There is no cancellation to withdraw."))?;
        claim.go(Stage::Withdrawn, now);
        Ok(())
    }

    /// Ends the units of the claim.
    fn cancel(&mut self, units: u64, now: OffsetDateTime) -> Freed {
        let units = units.min(self.left);
        self.left -= units;
        if self.left == 0 {
            self.go(State::Cancelled, now);
        }
        Freed {
            bought: self.bought.clone(),
            units,
        }
    }

    fn check_cancel(&mut self, units: Option<u64>) -> Result<u64, Refusal> {
        if !self.state.is_before_shipping() {
            return Err(Refusal::impossible("It is too late to cancel."));
        }
        if self.open_claim().is_some() {
            return Err(Refusal::impossible("A cancellation is asked for already."));
        }
        match units {
            None => Ok(self.left),
            Some(units) if units <= self.left => Ok(units),
            Some(_) => Err(Refusal::impossible(format!("{} are left.", self.left))),
        }
    }
}

/// Counts the claim numbers that have been given out.
#[derive(Debug, Default)]
pub(crate) struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> String {
        self.0 += 1;
        (7_000_000_000 + self.0).to_string()
    }
}

impl Orders {
    /// A buyer cancels: what is not paid is gone at once, anything else waits for the seller, unless 11st cancels
    /// unconfirmed lines by itself.
    pub(crate) fn buyer_cancels(
        &mut self,
        no: &str,
        cancel: &Cancel,
        at_once: bool,
        numbers: &mut Numbers,
        now: OffsetDateTime,
    ) -> Result<Vec<Freed>, Refusal> {
        let order = self.order_mut(no)?;
        if let Some(seq) = &cancel.line_id {
            order.line_mut(seq)?;
        }
        let meant = |line: &Line| match &cancel.line_id {
            Some(seq) => line.seq.to_string() == *seq,
            // What is cancelled already needs no second time.
            None => line.state != State::Cancelled,
        };
        let mut lines: Vec<_> = order.lines.iter_mut().filter(|line| meant(line)).collect();
        if lines.is_empty() {
            return Err(Refusal::impossible("It is cancelled already."));
        }
        let units = lines
            .iter_mut()
            .map(|line| line.check_cancel(cancel.quantity))
            .collect::<Result<Vec<_>, _>>()?;
        let mut freed = Vec::new();
        for (line, units) in lines.into_iter().zip(units) {
            let done = match line.state {
                State::Standby => {
                    freed.push(line.cancel(units, now));
                    continue;
                }
                State::Complete => at_once,
                State::Packaging
                | State::Shipping
                | State::Delivered
                | State::Completed
                | State::Cancelled => false,
            };
            line.claims.push(Claim {
                no: numbers.next(),
                units,
                by_seller: false,
                reason: BUYER_REASON.to_owned(),
                text: cancel
                    .reason
                    .clone()
                    .unwrap_or_else(|| "구매의사 취소".to_owned()),
                stage: if done { Stage::Done } else { Stage::Asked },
                asked_at: now,
                since: now,
            });
            if done {
                freed.push(line.cancel(units, now));
            }
        }
        Ok(freed)
    }

    /// `cancelorders`, `canceledorders` and `withdrawcanceledorders`.
    pub(crate) fn list_claims(&self, stage: Stage, window: Window) -> Answer {
        let mut claims: Vec<_> = self
            .all_lines()
            .flat_map(|(order, line)| line.claims.iter().map(move |claim| (order, line, claim)))
            .filter(|(_, _, claim)| claim.stage == stage && window.holds(claim.since))
            .collect();
        claims.sort_by_key(|(_, _, claim)| claim.since);
        let rows: Vec<_> = claims
            .into_iter()
            .map(|(order, line, claim)| claim.row(order, line))
            .collect();
        list(&rows)
    }

    /// `cancelreqconf/{ordPrdCnSeq}/{ordNo}/{ordPrdSeq}`.
    pub(crate) fn approve(
        &mut self,
        claim: &str,
        no: &str,
        seq: &str,
        now: OffsetDateTime,
    ) -> Result<Freed, Verdict> {
        let line = self.line_mut(no, seq)?;
        let claim = asked(line, claim)?;
        claim.go(Stage::Done, now);
        let units = claim.units;
        Ok(line.cancel(units, now))
    }

    /// `cancelreqreject`: the goods have been sent, and this tells by which parcel.
    pub(crate) fn refuse(
        &mut self,
        no: &str,
        seq: &str,
        claim: &str,
        sent_on: &str,
        now: OffsetDateTime,
    ) -> Result<Verdict, Verdict> {
        if sent_on.len() != 8 || !sent_on.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Verdict::business("발송일 형식이 올바르지 않습니다."));
        }
        let line = self.line_mut(no, seq)?;
        asked(line, claim)?.go(Stage::Refused, now);
        line.go(State::Shipping, now);
        Ok(Verdict::new(0, "취소거부 처리되었습니다."))
    }

    /// `reqrejectorder`: the seller cannot supply all that is left of the line.
    pub(crate) fn reject(
        &mut self,
        [no, seq, reason, text]: &[String; 4],
        numbers: &mut Numbers,
        now: OffsetDateTime,
    ) -> Result<Freed, Verdict> {
        if !SELLER_REASONS.contains(&reason.as_str()) {
            return Err(Verdict::business("사유코드가 올바르지 않습니다."));
        }
        let line = self.line_mut(no, seq)?;
        match line.state {
            State::Complete | State::Packaging => {}
            State::Standby
            | State::Shipping
            | State::Delivered
            | State::Completed
            | State::Cancelled => {
                return Err(Verdict::business("판매불가 처리 가능한 상태가 아닙니다."));
            }
        }
        line.drop_claim(now);
        let units = line.left;
        line.claims.push(Claim {
            no: numbers.next(),
            units,
            by_seller: true,
            reason: reason.clone(),
            text: text.clone(),
            stage: Stage::Done,
            asked_at: now,
            since: now,
        });
        Ok(line.cancel(units, now))
    }
}

fn asked<'a>(line: &'a mut Line, no: &str) -> Result<&'a mut Claim, Verdict> {
    line.open_claim()
        .filter(|claim| claim.no == no)
        .ok_or_else(|| Verdict::business("처리할 취소신청이 없습니다."))
}
