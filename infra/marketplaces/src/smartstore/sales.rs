//! The order API: parameters in, `data` out.

use std::collections::BTreeSet;

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Endpoint, SmartStore,
    answers::OrderError,
    orders::{RangeType, Selection, Window},
};
use crate::call::Call;

/// The widest window, and the one that is taken when no end is given.
const WINDOW: Duration = Duration::DAY;
const MOST_ROWS: usize = 300;
/// For calls that write.
const MOST_IDS: usize = 30;

const CANCEL_REASONS: [&str; 7] = [
    "INTENT_CHANGED",
    "COLOR_AND_SIZE",
    "WRONG_ORDER",
    "PRODUCT_UNSATISFIED",
    "DELAYED_DELIVERY",
    "SOLD_OUT",
    "INCORRECT_INFO",
];

const CHANGE_TYPES: [&str; 13] = [
    "PAY_WAITING",
    "PAYED",
    "EXCHANGE_OPTION",
    "DELIVERY_ADDRESS_CHANGED",
    "GIFT_RECEIVED",
    "CLAIM_REJECTED",
    "DISPATCHED",
    "CLAIM_REQUESTED",
    "COLLECT_DONE",
    "CLAIM_COMPLETED",
    "PURCHASE_DECIDED",
    "HOPE_DELIVERY_INFO_CHANGED",
    "CLAIM_REDELIVERING",
];

impl SmartStore {
    /// The order API: `data` of the answer.
    pub(super) fn sell(
        &mut self,
        endpoint: &Endpoint,
        call: &Call,
        now: OffsetDateTime,
    ) -> Result<Value, OrderError> {
        match endpoint {
            Endpoint::Feed => self.feed(call),
            Endpoint::Query => self.query(call),
            Endpoint::List => self.list(call),
            Endpoint::LineIds(order) => self
                .orders
                .lines_of_order(order)
                .map(|ids| json!(ids))
                .ok_or(OrderError::NO_ORDER),
            Endpoint::Confirm => self.confirm(call, now),
            Endpoint::Cancel(line) => self.cancel(line, call, now),
            Endpoint::ApproveCancel(line) => {
                let habits = self.habits();
                let outcome = self.orders.approve(&mut self.catalogue, line, habits, now);
                Ok(of_one(line, outcome))
            }
            Endpoint::Dispatch => self.dispatch(call, now),
            Endpoint::Token
            | Endpoint::Search
            | Endpoint::Product(_)
            | Endpoint::ChannelProduct(_)
            | Endpoint::OptionStock(_)
            | Endpoint::MultiUpdate
            | Endpoint::ChangeStatus(_)
            | Endpoint::Replace(_)
            | Endpoint::ReplaceChannel(_) => Err(OrderError::BAD_PARAMETER),
        }
    }

    fn feed(&self, call: &Call) -> Result<Value, OrderError> {
        let (from, to) = window(call, "lastChangedFrom", "lastChangedTo")?;
        let kind = call.parameter("lastChangedType");
        if let Some(kind) = &kind
            && !CHANGE_TYPES.contains(&&**kind)
        {
            return Err(OrderError::BAD_PARAMETER);
        }
        let most = number(call, "limitCount")?.unwrap_or(MOST_ROWS);
        if !(1..=MOST_ROWS).contains(&most) {
            return Err(OrderError::BAD_PARAMETER);
        }
        Ok(self.orders.changes(Window {
            from,
            to,
            sequence: number(call, "moreSequence")?.unwrap_or(0),
            kind: kind.as_deref(),
            most,
        }))
    }

    fn query(&self, call: &Call) -> Result<Value, OrderError> {
        let ids = ids(call, MOST_ROWS)?;
        Ok(json!(self.orders.details(&ids)))
    }

    fn list(&self, call: &Call) -> Result<Value, OrderError> {
        let (from, to) = window(call, "from", "to")?;
        let page = number(call, "page")?.unwrap_or(1);
        let size = number(call, "pageSize")?.unwrap_or(MOST_ROWS);
        if page == 0 || !(1..=MOST_ROWS).contains(&size) {
            return Err(OrderError::BAD_PARAMETER);
        }
        Ok(self.orders.select(&Selection {
            from,
            to,
            range: words(call, "rangeType")?.pop().unwrap_or(RangeType::Payed),
            statuses: words(call, "productOrderStatuses")?,
            claims: words(call, "claimStatuses")?,
            place: words(call, "placeOrderStatusType")?.pop(),
            page,
            size,
        }))
    }

    fn confirm(&mut self, call: &Call, now: OffsetDateTime) -> Result<Value, OrderError> {
        let ids = ids(call, MOST_IDS)?;
        let mut confirmed = Vec::new();
        let mut failed = Vec::new();
        for id in &ids {
            match self.orders.confirm(id, now) {
                Ok(changed) => confirmed.push(json!({
                    "productOrderId": id,
                    "isReceiverAddressChanged": changed,
                })),
                Err(error) => failed.push(error.of_line(id)),
            }
        }
        Ok(json!({
            "successProductOrderInfos": confirmed,
            "failProductOrderInfos": failed,
        }))
    }

    fn cancel(
        &mut self,
        line: &str,
        call: &Call,
        now: OffsetDateTime,
    ) -> Result<Value, OrderError> {
        let body: CancelBody = call.json().map_err(|_| OrderError::BAD_PARAMETER)?;
        let detail = body.cancel_detailed_reason.unwrap_or_default();
        if !CANCEL_REASONS.contains(&body.cancel_reason.as_str()) || detail.chars().count() > 500 {
            return Err(OrderError::BAD_PARAMETER);
        }
        let habits = self.habits();
        let wish = (body.cancel_quantity, body.cancel_reason.as_str(), &*detail);
        let outcome = self
            .orders
            .cancel_by_seller(&mut self.catalogue, line, wish, habits, now);
        Ok(of_one(line, outcome))
    }

    fn dispatch(&mut self, call: &Call, now: OffsetDateTime) -> Result<Value, OrderError> {
        let body: DispatchBody = call.json().map_err(|_| OrderError::BAD_PARAMETER)?;
        let parcels = body.dispatch_product_orders;
        if parcels.is_empty() || parcels.len() > MOST_IDS {
            return Err(OrderError::BAD_PARAMETER);
        }
        let mut sent = Vec::new();
        let mut failed = Vec::new();
        for parcel in parcels {
            let id = &parcel.product_order_id;
            let outcome = if parcel.is_traceable() {
                self.orders.dispatch(id, now)
            } else {
                Err(OrderError::COURIER)
            };
            match outcome {
                Ok(()) => sent.push(id.clone()),
                Err(error) => failed.push(error.of_line(id)),
            }
        }
        Ok(json!({ "successProductOrderIds": sent, "failProductOrderInfos": failed }))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CancelBody {
    cancel_reason: String,
    cancel_detailed_reason: Option<String>,
    cancel_quantity: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DispatchBody {
    dispatch_product_orders: Vec<Parcel>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parcel {
    product_order_id: String,
    delivery_method: String,
    delivery_company_code: Option<String>,
    tracking_number: Option<String>,
}

impl Parcel {
    /// A courier needs a name and a number; who brings it himself needs neither.
    fn is_traceable(&self) -> bool {
        self.delivery_method != "DELIVERY"
            || (self.delivery_company_code.is_some() && self.tracking_number.is_some())
    }
}

/// What calls about one line answer: 200 whether it worked or not.
fn of_one(line: &str, outcome: Result<(), OrderError>) -> Value {
    match outcome {
        Ok(()) => json!({ "successProductOrderIds": [line], "failProductOrderInfos": [] }),
        Err(error) => json!({
            "successProductOrderIds": [],
            "failProductOrderInfos": [error.of_line(line)],
        }),
    }
}

/// `productOrderIds`, each once.
fn ids(call: &Call, most: usize) -> Result<Vec<String>, OrderError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Body {
        product_order_ids: Vec<String>,
    }
    let body: Body = call.json().map_err(|_| OrderError::BAD_PARAMETER)?;
    let ids = body.product_order_ids;
    if ids.is_empty() || ids.len() > most {
        return Err(OrderError::BAD_PARAMETER);
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(OrderError::DUPLICATE);
    }
    Ok(ids)
}

/// A window of at most 24 hours.
fn window(
    call: &Call,
    from: &str,
    to: &str,
) -> Result<(OffsetDateTime, OffsetDateTime), OrderError> {
    let from = instant(call, from)?.ok_or(OrderError::BAD_PARAMETER)?;
    let to = match instant(call, to)? {
        Some(to) => to,
        // Years have four digits.
        None => from.checked_add(WINDOW).ok_or(OrderError::BAD_PARAMETER)?,
    };
    if to < from {
        return Err(OrderError::BAD_PARAMETER);
    }
    if to - from > WINDOW {
        return Err(OrderError::RANGE);
    }
    Ok((from, to))
}

/// `yyyy-MM-dd'T'HH:mm:ss.SSSXXX`: the milliseconds have three digits, and a `+` that was not encoded is none.
fn instant(call: &Call, name: &str) -> Result<Option<OffsetDateTime>, OrderError> {
    let Some(text) = call.parameter(name) else {
        return Ok(None);
    };
    let has_three_digits = text.get(19..20) == Some(".")
        && text
            .get(20..23)
            .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))
        && matches!(text.get(23..24), Some("+" | "-" | "Z"));
    if !has_three_digits {
        return Err(OrderError::BAD_PARAMETER);
    }
    OffsetDateTime::parse(&text, &Rfc3339)
        .map(Some)
        .map_err(|_| OrderError::BAD_PARAMETER)
}

fn number<T: std::str::FromStr>(call: &Call, name: &str) -> Result<Option<T>, OrderError> {
    call.parameter(name)
        .map(|text| text.parse().map_err(|_| OrderError::BAD_PARAMETER))
        .transpose()
}

/// All values of a repeated parameter, each one of a closed list.
fn words<T: DeserializeOwned>(call: &Call, name: &str) -> Result<Vec<T>, OrderError> {
    call.parameters()
        .filter(|(key, _)| key == name)
        .map(|(_, value)| {
            serde_json::from_value(json!(value)).map_err(|_| OrderError::BAD_PARAMETER)
        })
        .collect()
}
