//! One product order, and how the seller sees it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::claims::Claim;
use crate::clock::iso;

/// Of the documented states those that the fake leads a product order to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
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
pub(crate) enum Place {
    NotYet,
    Ok,
    Cancel,
}

/// What the feed tells: the kinds of change that move a product order to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Event {
    PayWaiting,
    Payed,
    DeliveryAddressChanged,
    ClaimRequested,
    ClaimCompleted,
    Dispatched,
    PurchaseDecided,
}

/// One product order: one line of an order.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    pub(crate) id: u64,
    pub(crate) order: u64,
    pub(crate) origin: u64,
    pub(crate) option: Option<u64>,
    pub(crate) product_name: String,
    pub(crate) option_name: Option<String>,
    pub(crate) channel: u64,
    pub(crate) seller_product_code: Option<String>,
    pub(crate) option_code: Option<String>,
    pub(crate) buyer: String,
    /// How many were ordered.
    pub(crate) quantity: u64,
    /// How many are not cancelled.
    pub(crate) remain: u64,
    pub(crate) unit_price: u64,
    pub(crate) unit_discount: u64,
    pub(crate) option_price: i64,
    pub(crate) status: Status,
    pub(crate) place: Place,
    pub(crate) claims: Vec<Claim>,
    pub(crate) event: Event,
    pub(crate) changed: OffsetDateTime,
    /// Since the seller confirmed.
    pub(crate) address_changed: bool,
    pub(crate) address: u64,
    pub(crate) ordered: OffsetDateTime,
    pub(crate) paid: Option<OffsetDateTime>,
    pub(crate) placed: Option<OffsetDateTime>,
    pub(crate) dispatched: Option<OffsetDateTime>,
    pub(crate) decided: Option<OffsetDateTime>,
}

impl Line {
    pub(super) fn open_claim(&self) -> Option<&Claim> {
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
    pub(super) fn row(&self) -> Value {
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
    pub(super) fn detail(&self) -> Value {
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
    pub(super) fn show(&self) -> Value {
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
}
