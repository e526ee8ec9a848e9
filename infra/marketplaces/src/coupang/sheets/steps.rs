//! Boxes go on: by the seller's calls, or by hand.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Problem, Sheets,
    sheet::{Sheet, Status},
};
use crate::{answer::Refusal, market::Move};

/// Where somebody moves a box by hand.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum Moved {
    Accept,
    Instruct,
    Departure,
    Delivering,
    FinalDelivery,
    NoneTracking,
    AddressChanged,
}

impl Sheets {
    /// ACCEPT to INSTRUCT, and no way back.
    pub(crate) fn acknowledge(&mut self, id: u64) -> Result<(), Problem> {
        if self.get(id).is_none() {
            return Err(Problem::NotFound);
        }
        match self.sheets.get_mut(&id) {
            Some(sheet) if sheet.status == Status::Accept && !sheet.has_held() => {
                sheet.status = Status::Instruct;
                Ok(())
            }
            Some(_) => Err(Problem::Status),
            None => Err(Problem::NotFound),
        }
    }

    /// INSTRUCT to DEPARTURE, when nothing in the box is asked to be stopped.
    pub(crate) fn send(&mut self, id: u64, company: &str, invoice: &str) -> Result<(), Problem> {
        if self.get(id).is_none() {
            return Err(Problem::NotFound);
        }
        match self.sheets.get_mut(&id) {
            Some(sheet) if sheet.status == Status::Instruct && !sheet.has_held() => {
                sheet.status = Status::Departure;
                sheet.invoice = Some((company.to_owned(), invoice.to_owned()));
                Ok(())
            }
            Some(_) => Err(Problem::Status),
            None => Err(Problem::NotFound),
        }
    }

    /// Moves boxes by hand, in Wing or at the courier's.
    pub(crate) fn step(
        &mut self,
        order: &str,
        to: &Move,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let moved = Moved::deserialize(json!(to.state))
            .map_err(|error| Refusal::invalid(error.to_string()))?;
        let ids = self.boxes_of(order)?.clone();
        let meant: Vec<_> = ids
            .into_iter()
            .filter(|id| {
                to.line_id
                    .as_ref()
                    .is_none_or(|line| line.split(':').next() == Some(id.to_string().as_str()))
            })
            .collect();
        let fits = |sheet: &Sheet| match moved {
            Moved::Accept => sheet.status == Status::Unpaid,
            Moved::AddressChanged => sheet.status == Status::Accept,
            Moved::Instruct => sheet.status == Status::Accept,
            Moved::Departure | Moved::NoneTracking => sheet.status == Status::Instruct,
            Moved::Delivering => sheet.status == Status::Departure,
            Moved::FinalDelivery => {
                sheet.status > Status::Instruct && sheet.status != Status::FinalDelivery
            }
        };
        let all_fit = meant.iter().all(|id| self.sheets.get(id).is_some_and(fits));
        if meant.is_empty() || !all_fit {
            return Err(Refusal::impossible("It cannot go there from where it is."));
        }
        for id in meant {
            if let Some(sheet) = self.sheets.get_mut(&id) {
                match moved {
                    Moved::Accept => {
                        sheet.status = Status::Accept;
                        sheet.paid = Some(now);
                    }
                    Moved::Instruct => sheet.status = Status::Instruct,
                    Moved::Departure => sheet.status = Status::Departure,
                    Moved::Delivering => sheet.status = Status::Delivering,
                    Moved::FinalDelivery => sheet.status = Status::FinalDelivery,
                    Moved::NoneTracking => sheet.status = Status::NoneTracking,
                    Moved::AddressChanged => sheet.address += 1,
                }
            }
        }
        self.show_order(order)
    }
}
