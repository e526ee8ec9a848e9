//! Orders as the API writes them, and as the control API does.

use serde_json::{Value, json};

use crate::ownstore::cafe24::{
    orders::{Item, Order, STATUSES},
    reply::{amount, flag, zoned},
};

pub(super) fn fields(order: &Order, embed: &str) -> Value {
    let total: i64 = order.items.iter().map(Item::amount).sum();
    let cancelled = order
        .items
        .iter()
        .filter(|item| item.is_cancelled())
        .count();
    let canceled = match cancelled {
        0 => "F",
        all if all == order.items.len() => "T",
        _ => "M",
    };
    let shipped = order
        .items
        .iter()
        .filter(|item| item.shipped_at.is_some())
        .count();
    let shipping_status = match shipped {
        0 => "F",
        all if all == order.items.len() => "T",
        _ => "M",
    };
    let mut fields = json!({
        "shop_no": 1,
        "order_id": order.id,
        "currency": "KRW",
        "market_id": order.place,
        "market_order_no": order.market_no,
        "order_place_id": order.place,
        "order_place_name": order.place,
        "member_id": null,
        "billing_name": order.buyer,
        "payment_method": ["card"],
        "paid": flag(order.paid_at.is_some()),
        "canceled": canceled,
        "order_date": zoned(order.at),
        "payment_date": order.paid_at.map(zoned),
        "payment_amount": amount(if order.paid_at.is_some() { total } else { 0 }),
        "shipping_status": shipping_status,
    });
    if embed.split(',').any(|part| part.trim() == "items") {
        fields["items"] = order.items.iter().map(item_fields).collect();
    }
    fields
}

fn item_fields(item: &Item) -> Value {
    let status = STATUSES
        .iter()
        .find(|(status, _, _)| *status == item.status);
    let (_, code, text) = status.copied().unwrap_or_default();
    let price = i64::try_from(item.bought.price).unwrap_or(i64::MAX);
    json!({
        "shop_no": 1,
        "order_item_code": item.code,
        "original_item_no": item.original,
        "product_no": item.bought.product_no.parse::<u64>().ok(),
        "product_code": item.bought.product_code,
        "custom_product_code": item.bought.custom_product_code,
        "variant_code": item.bought.variant_code,
        "custom_variant_code": item.bought.custom_variant_code,
        "product_name": item.bought.product_name,
        "option_value": item.bought.option,
        "quantity": item.units,
        "product_price": amount(price),
        "option_price": amount(item.bought.extra),
        "payment_amount": amount(item.amount()),
        "order_status": item.status,
        "status_code": code,
        "status_text": text,
        "claim_code": item.claim,
        "claim_reason": item.claim.as_ref().map(|_| item.reason.clone()),
        "claim_quantity": item.claim.as_ref().map(|_| item.units),
        "cancel_request_date": item.cancel_asked_at.map(zoned),
        "cancel_date": item.cancelled_at.map(zoned),
        "shipped_date": item.shipped_at.map(zoned),
    })
}

pub(super) fn shown(order: &Order) -> Value {
    let lines: Vec<_> = order
        .items
        .iter()
        .map(|item| {
            json!({
                "lineId": item.code,
                "productId": item.bought.product_no,
                "optionId": item.bought.variant_code,
                "quantity": item.units,
                "state": item.status,
            })
        })
        .collect();
    json!({
        "shop": "cafe24",
        "orderId": order.id,
        "place": order.place,
        "paid": order.paid_at.is_some(),
        "lines": lines,
    })
}
