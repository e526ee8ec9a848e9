//! What a list of orders asks for, and the dates and numbers of its query.

use time::{
    Date, Duration, OffsetDateTime, PrimitiveDateTime, Time,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

use crate::{
    call::Call,
    clock::KOREA,
    ownstore::cafe24::{
        orders::{Item, Order},
        reply::No,
    },
};

const DATE: &[BorrowedFormatItem<'static>] = format_description!("[year]-[month]-[day]");
const DATE_TIME: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day] [hour]:[minute]:[second]");

/// A list spans less than three months.
const MOST_SPAN: Duration = Duration::days(92);

/// What a list asks for.
pub(super) struct Filter {
    from: Option<OffsetDateTime>,
    to: Option<OffsetDateTime>,
    date_type: String,
    statuses: Vec<String>,
    places: Vec<String>,
    ids: Vec<String>,
    payment: Vec<String>,
}

impl Filter {
    pub(super) fn read(call: &Call) -> Result<Self, No> {
        let text = |name: &str| call.parameter(name).unwrap_or_default().into_owned();
        let many = |name: &str| -> Vec<String> {
            let parts = text(name);
            let parts = parts.split(',').map(str::trim);
            parts.filter(|p| !p.is_empty()).map(str::to_owned).collect()
        };
        let ids = many("order_id");
        let date = |name: &str, end_of_day: bool| match text(name) {
            empty if empty.is_empty() => Ok(None),
            text => time_of(&text, end_of_day)
                .map(Some)
                .ok_or_else(|| No::unfit(format!("{name} is not a date."))),
        };
        let (from, to) = (date("start_date", false)?, date("end_date", true)?);
        match (from, to) {
            (Some(from), Some(to)) if to < from => {
                return Err(No::unfit("start_date is after end_date."));
            }
            (Some(from), Some(to)) if to - from > MOST_SPAN => {
                return Err(No::unfit("The period is at most three months."));
            }
            (Some(_), Some(_)) => {}
            (None, None) if !ids.is_empty() => {}
            (None, _) | (_, None) => {
                return Err(No::unfit("start_date and end_date are required."));
            }
        }
        let date_type = match text("date_type") {
            empty if empty.is_empty() => "order_date".to_owned(),
            date_type => date_type,
        };
        let known = [
            "order_date",
            "pay_date",
            "cancel_request_date",
            "cancel_complete_date",
            "shipbegin_date",
        ];
        if !known.contains(&date_type.as_str()) {
            return Err(No::unfit(format!(
                "date_type is one of {}.",
                known.join(", ")
            )));
        }
        Ok(Self {
            from,
            to,
            date_type,
            statuses: many("order_status"),
            places: many("order_place_id"),
            ids,
            payment: many("payment_status"),
        })
    }

    pub(super) fn fits(&self, order: &Order) -> bool {
        let within = |at: Option<OffsetDateTime>| match (self.from, self.to) {
            (Some(from), Some(to)) => at.is_some_and(|at| (from..=to).contains(&at)),
            (None, _) | (_, None) => true,
        };
        let any = |at: fn(&Item) -> Option<OffsetDateTime>| {
            order.items.iter().any(|item| within(at(item)))
        };
        let in_time = match self.date_type.as_str() {
            "pay_date" => within(order.paid_at),
            "cancel_request_date" => any(|item| item.cancel_asked_at),
            "cancel_complete_date" => any(|item| item.cancelled_at),
            "shipbegin_date" => any(|item| item.shipped_at),
            _ => within(Some(order.at)),
        };
        let paid = if order.paid_at.is_some() { "P" } else { "F" };
        let among = |wanted: &[String], is: &str| {
            wanted.is_empty() || wanted.iter().any(|wanted| wanted == is)
        };
        in_time
            && among(&self.places, &order.place)
            && among(&self.ids, &order.id)
            && among(&self.payment, paid)
            && (self.statuses.is_empty()
                || order
                    .items
                    .iter()
                    .any(|item| among(&self.statuses, item.status)))
    }
}

/// A date, with a time or without, in Korea unless it says otherwise. An end without a time is the end of that day.
fn time_of(text: &str, end_of_day: bool) -> Option<OffsetDateTime> {
    if let Ok(at) = OffsetDateTime::parse(text, &Rfc3339) {
        return Some(at);
    }
    if let Ok(at) = PrimitiveDateTime::parse(&text.replacen('T', " ", 1), DATE_TIME) {
        return Some(at.assume_offset(KOREA));
    }
    let date = Date::parse(text, DATE).ok()?;
    let start = date.with_time(Time::MIDNIGHT).assume_offset(KOREA);
    let last = Duration::days(1) - Duration::milliseconds(1);
    Some(if end_of_day { start + last } else { start })
}

/// A number of a query, within what is allowed.
pub(super) fn number(call: &Call, name: &str, otherwise: usize, most: usize) -> Result<usize, No> {
    match call.parameter(name) {
        None => Ok(otherwise),
        Some(text) => text
            .parse()
            .ok()
            .filter(|number| *number <= most)
            .ok_or_else(|| No::unfit(format!("{name} is a number of at most {most}."))),
    }
}
