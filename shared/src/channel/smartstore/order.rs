//! Product orders: one is a line of an order. The detail call is the truth; the feed only says which ones to look at.

use serde::Deserialize;
use serde_json::Value;

use crate::{
    channel::{Handle, ItemId, LineState, OrderLine, Pulled},
    clock::Timestamp,
};

/// More units than this in one line is nothing that a buyer did.
const MOST_UNITS_OF_A_LINE: u32 = 1_000_000;

/// A page of the feed.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Feed {
    pub(super) last_change_statuses: Vec<Value>,
    pub(super) more: Option<More>,
}

/// Where the next page begins: rows of that moment whose sequence is not below this one, and all later ones.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct More {
    pub(super) more_from: String,
    #[serde(deserialize_with = "crate::channel::lenient::text")]
    pub(super) more_sequence: String,
}

/// A page of the conditional list.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Listed {
    /// Each has its `productOrderId`.
    pub(super) contents: Vec<Value>,
    pub(super) pagination: Pagination,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Pagination {
    pub(super) has_next: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    order: Order,
    product_order: ProductOrder,
    delivery: Option<Delivery>,
    current_claim: Option<CurrentClaim>,
    completed_claims: Option<Vec<Claim>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    order_id: String,
    payment_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProductOrder {
    product_order_id: String,
    product_order_status: String,
    place_order_status: Option<String>,
    claim_type: Option<String>,
    claim_status: Option<String>,
    #[serde(deserialize_with = "crate::channel::lenient::text")]
    original_product_id: String,
    #[serde(default, deserialize_with = "crate::channel::lenient::optional_text")]
    item_no: Option<String>,
    #[serde(default, deserialize_with = "crate::channel::lenient::optional_text")]
    option_code: Option<String>,
    quantity: Option<u32>,
    initial_quantity: Option<u32>,
    remain_quantity: Option<u32>,
    unit_price: i64,
    option_price: Option<i64>,
    seller_burden_discount_amount: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Delivery {
    send_date: Option<String>,
}

#[derive(Deserialize)]
struct CurrentClaim {
    cancel: Option<Claim>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Claim {
    claim_type: Option<String>,
    claim_id: Option<String>,
    claim_status: Option<String>,
    request_quantity: Option<u32>,
}

/// How far the cancellation of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cancelling {
    /// Nobody asks for it now.
    No,
    /// Its buyer asks, for so many units; nobody has agreed.
    Asked(u32),
    /// It is agreed, and under way.
    UnderWay(u32),
}

/// A line with what only this marketplace has to say of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) line: OrderLine,
    pub(super) cancelling: Cancelling,
}

/// The id of a row of the feed, or of a detail.
pub(super) fn id(row: &Value) -> Option<&str> {
    let holder = row.get("productOrder").unwrap_or(row);
    holder.get("productOrderId")?.as_str()
}

/// What a page is to say of a detail: nothing of what was never paid.
pub(super) fn pulled(detail: &Value) -> Option<Pulled> {
    match line(detail) {
        Ok(line) => line.map(|line| Pulled::Line(line.line)),
        Err(reason) => Some(unreadable(detail, reason)),
    }
}

/// A payload that a person has to look at.
pub(super) fn unreadable(payload: &Value, reason: &str) -> Pulled {
    Pulled::Unreadable {
        key: id(payload).map(str::to_owned),
        reason: reason.to_owned(),
        raw: payload.to_string(),
    }
}

/// Reads a detail. `None` if it was never paid. What serde says of a payload may quote it, so it is not passed on.
pub(super) fn line(payload: &Value) -> Result<Option<Line>, &'static str> {
    let detail =
        Detail::deserialize(payload).map_err(|_| "fields are missing or of another kind")?;
    let product = &detail.product_order;
    let ordered = product
        .initial_quantity
        .or(product.quantity)
        .filter(|units| (1..=MOST_UNITS_OF_A_LINE).contains(units))
        .ok_or("no usable quantity")?;
    let cancelled = cancelled(&detail, ordered);
    let cancelling = cancelling(&detail, ordered);
    let state = match product.product_order_status.as_str() {
        "PAYMENT_WAITING" | "CANCELED_BY_NOPAYMENT" => return Ok(None),
        "CANCELED" | "RETURNED" => LineState::Cancelled,
        "PAYED" if cancelled == ordered => LineState::Cancelled,
        "PAYED" if cancelling != Cancelling::No => LineState::CancelRequested,
        "PAYED" => match product.place_order_status.as_deref() {
            Some("OK") => LineState::Confirmed,
            // CANCEL is a confirmation that was taken back.
            Some("NOT_YET" | "CANCEL") | None => LineState::Paid,
            Some(_) => return Err("an unknown placeOrderStatus"),
        },
        "DELIVERING" | "DELIVERED" | "PURCHASE_DECIDED" | "EXCHANGED" => LineState::Confirmed,
        _ => return Err("an unknown productOrderStatus"),
    };
    let line = OrderLine {
        key: product.product_order_id.clone(),
        order_no: detail.order.order_id.clone(),
        handle: Handle(product.product_order_id.clone()),
        item: ItemId {
            product: product.original_product_id.clone(),
            // The two always have the same value; a product without options has neither.
            option: product.item_no.clone().or(product.option_code.clone()),
        },
        ordered,
        cancelled,
        state,
        unit_price: unit_price(product, ordered).ok_or("no usable price")?,
        paid_at: detail
            .order
            .payment_date
            .as_deref()
            .and_then(Timestamp::parse),
        raw: payload.to_string(),
    };
    Ok(Some(Line { line, cancelling }))
}

/// Units whose cancellation is done, and that were never shipped. Claims can be for a part of a line, one after another; the
/// claims that are over say how many units each was for, `remainQuantity` how many are left after them and after returns.
fn cancelled(detail: &Detail, ordered: u32) -> u32 {
    let product = &detail.product_order;
    let shipped = detail
        .delivery
        .as_ref()
        .is_some_and(|delivery| delivery.send_date.is_some());
    if product.product_order_status == "CANCELED" && !shipped {
        return ordered;
    }
    let gone = ordered.saturating_sub(product.remain_quantity.unwrap_or(0));
    let completed = detail.completed_claims.as_deref().unwrap_or_default();
    let current = detail
        .current_claim
        .as_ref()
        .and_then(|claim| claim.cancel.as_ref())
        .filter(|cancel| {
            // A claim that is over may stand in both places.
            !completed
                .iter()
                .any(|over| over.claim_id.is_some() && over.claim_id == cancel.claim_id)
        });
    completed
        .iter()
        .chain(current)
        .filter(|claim| match claim.claim_status.as_deref() {
            // A buyer cancels before the goods are shipped; afterwards it is a return.
            Some("CANCEL_DONE") => true,
            // The marketplace can cancel at any time.
            Some("ADMIN_CANCEL_DONE") => !shipped,
            Some(_) => false,
            // The list has claims that are over: one without a status is known by its kind.
            None => claim.claim_type.as_deref() == Some("CANCEL"),
        })
        .map(|claim| claim.request_quantity.unwrap_or(gone))
        .fold(0_u32, u32::saturating_add)
        .min(gone)
}

fn cancelling(detail: &Detail, ordered: u32) -> Cancelling {
    let product = &detail.product_order;
    let cancel = detail
        .current_claim
        .as_ref()
        .and_then(|claim| claim.cancel.as_ref());
    let units = cancel
        .and_then(|cancel| cancel.request_quantity)
        .or(product.remain_quantity)
        .unwrap_or(ordered);
    let of_line = matches!(
        product.claim_type.as_deref(),
        Some("CANCEL" | "ADMIN_CANCEL")
    );
    let status = cancel
        .and_then(|cancel| cancel.claim_status.as_deref())
        .or(product.claim_status.as_deref().filter(|_| of_line));
    match status {
        Some("CANCEL_REQUEST") => Cancelling::Asked(units),
        Some("CANCELING" | "ADMIN_CANCELING") => Cancelling::UnderWay(units),
        Some(_) | None => Cancelling::No,
    }
}

/// What a unit cost with its option, after what the seller took off; what the marketplace took off is its own affair.
fn unit_price(product: &ProductOrder, ordered: u32) -> Option<u64> {
    let listed = product.unit_price + product.option_price.unwrap_or(0);
    let discount = product.seller_burden_discount_amount.unwrap_or(0) / i64::from(ordered);
    u64::try_from(listed - discount).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn details() -> Vec<Value> {
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/details.json")).expect("JSON");
        answer["data"].as_array().expect("details").clone()
    }

    fn of(id: &str) -> Line {
        let details = details();
        let detail = details
            .iter()
            .find(|detail| super::id(detail) == Some(id))
            .expect("it is in the fixture");
        line(detail).expect("can be read").expect("was paid")
    }

    #[test]
    fn a_paid_line_is_read_whole() {
        let line = of("2026112000000021");
        assert_eq!(line.cancelling, Cancelling::No);
        let raw = details()[0].to_string();
        assert_eq!(
            line.line,
            OrderLine {
                key: "2026112000000021".to_owned(),
                order_no: "2026112000000011".to_owned(),
                handle: Handle("2026112000000021".to_owned()),
                item: ItemId {
                    product: "11000000001".to_owned(),
                    option: Some("41000000002".to_owned())
                },
                ordered: 2,
                cancelled: 0,
                state: LineState::Paid,
                unit_price: 12_900 + 1_000 - 500,
                paid_at: Timestamp::parse("2026-11-20T09:58:01.000+09:00"),
                raw,
            }
        );
    }

    #[test]
    fn a_line_is_as_far_as_its_detail_says() {
        for (id, state, ordered, cancelled, cancelling) in [
            // Its buyer asks to cancel all of it.
            (
                "2026112000000022",
                LineState::CancelRequested,
                1,
                0,
                Cancelling::Asked(1),
            ),
            // One of three was cancelled, then it was confirmed.
            (
                "2026112000000023",
                LineState::Confirmed,
                3,
                1,
                Cancelling::No,
            ),
            // One was cancelled, then two were shipped and returned: those are not counted.
            (
                "2026112000000024",
                LineState::Cancelled,
                3,
                1,
                Cancelling::No,
            ),
            (
                "2026112000000025",
                LineState::Cancelled,
                2,
                2,
                Cancelling::No,
            ),
            // The feed said PAYED; it has been cancelled in part twice since, and the last of it is being cancelled.
            (
                "2026112000000026",
                LineState::CancelRequested,
                4,
                3,
                Cancelling::UnderWay(1),
            ),
            // Without options; the marketplace cancelled it after it was shipped.
            (
                "2026112000000027",
                LineState::Cancelled,
                1,
                0,
                Cancelling::No,
            ),
        ] {
            let line = of(id);
            assert_eq!(
                (
                    line.line.state,
                    line.line.ordered,
                    line.line.cancelled,
                    line.cancelling
                ),
                (state, ordered, cancelled, cancelling),
                "{id}"
            );
        }
        assert_eq!(of("2026112000000027").line.item.option, None);
    }

    #[test]
    fn what_was_never_paid_is_not_pulled_and_what_cannot_be_read_is_kept_without_being_quoted() {
        let mut detail = details()[0].clone();
        for status in ["PAYMENT_WAITING", "CANCELED_BY_NOPAYMENT"] {
            detail["productOrder"]["productOrderStatus"] = json!(status);
            assert_eq!(pulled(&detail), None, "{status}");
        }
        for (field, value) in [
            ("productOrderStatus", json!("SOMETHING_NEW")),
            ("placeOrderStatus", json!("SOMETHING_NEW")),
            ("initialQuantity", json!(0)),
            ("initialQuantity", json!(-3)),
            ("initialQuantity", json!(4_000_000)),
            ("unitPrice", json!("Kim of Seoul")),
            ("unitPrice", json!(-90_000)),
            ("originalProductId", json!(null)),
        ] {
            let mut detail = details()[0].clone();
            detail["productOrder"][field] = value;
            match pulled(&detail) {
                Some(Pulled::Unreadable { key, reason, raw }) => {
                    assert_eq!(key.as_deref(), Some("2026112000000021"), "{field}");
                    assert!(!reason.contains("Kim"), "{reason}");
                    assert_eq!(raw, detail.to_string());
                }
                other @ (Some(Pulled::Line(_)) | None) => panic!("{field}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_feed_without_data_is_empty_and_one_with_more_says_where() {
        let feed: Feed = serde_json::from_str("{}").expect("a feed");
        assert!(feed.last_change_statuses.is_empty() && feed.more.is_none());
        let answer: Value =
            serde_json::from_str(include_str!("fixtures/last-changed.json")).expect("JSON");
        let feed = Feed::deserialize(&answer["data"]).expect("a feed");
        let ids: Vec<_> = feed.last_change_statuses.iter().filter_map(id).collect();
        assert_eq!(ids, ["2026112000000021", "2026112000000022"]);
        let more = feed.more.expect("there is more");
        assert_eq!(
            (more.more_from.as_str(), more.more_sequence.as_str()),
            ("2026-11-20T09:59:30.000+09:00", "2026112000000023")
        );
    }
}
