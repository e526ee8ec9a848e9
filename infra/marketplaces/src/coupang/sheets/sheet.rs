//! One shipment box, and how the seller sees it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use crate::{clock::written, coupang::answers::won};

const MICROSECONDS: StaticFormatDescription =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:6]+09:00");

/// How far a box has come. The order of the variants is the order in which they follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    /// Ordered, not paid: no list shows it.
    Unpaid,
    Accept,
    Instruct,
    Departure,
    Delivering,
    FinalDelivery,
    NoneTracking,
}

/// One option in a box.
#[derive(Clone, Debug)]
pub(crate) struct Packed {
    pub(crate) vendor_item: u64,
    pub(crate) product: u64,
    pub(crate) product_name: String,
    pub(crate) name: String,
    pub(crate) seller_code: Option<String>,
    pub(crate) price: u64,
    pub(crate) count: u64,
    pub(crate) cancelled: u64,
    /// Asked to be stopped, and not decided.
    pub(crate) held: u64,
}

impl Packed {
    pub(super) fn left(&self) -> u64 {
        self.count.saturating_sub(self.cancelled + self.held)
    }
}

/// One shipment box.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    pub(crate) id: u64,
    pub(crate) order: u64,
    pub(crate) status: Status,
    pub(crate) items: Vec<Packed>,
    pub(crate) buyer: String,
    pub(crate) address: u64,
    pub(crate) ordered: OffsetDateTime,
    pub(crate) paid: Option<OffsetDateTime>,
    pub(crate) invoice: Option<(String, String)>,
}

impl Sheet {
    /// Nothing is left in it to be sent.
    pub(super) fn is_cancelled(&self) -> bool {
        self.items.iter().all(|item| item.cancelled == item.count)
    }

    pub(super) fn has_held(&self) -> bool {
        self.items.iter().any(|item| item.held > 0)
    }

    /// An element of the list.
    pub(crate) fn show(&self) -> Value {
        let (company, invoice) = match &self.invoice {
            Some((company, number)) => (company.as_str(), number.as_str()),
            None => ("", ""),
        };
        json!({
            "shipmentBoxId": self.id,
            "orderId": self.order,
            "orderedAt": written(self.ordered, MICROSECONDS),
            "paidAt": self.paid.map(|at| written(at, MICROSECONDS)),
            "status": self.status,
            "orderer": {
                "name": self.buyer,
                "email": "",
                "safeNumber": "0500-0000-0000",
                "ordererNumber": null,
            },
            "receiver": {
                "name": self.buyer,
                "safeNumber": "0500-0000-0000",
                "receiverNumber": null,
                "addr1": "서울",
                "addr2": self.address.to_string(),
                "postCode": "00000",
            },
            "shippingPrice": won(0),
            "remotePrice": null,
            "remoteArea": false,
            "parcelPrintMessage": "",
            "splitShipping": false,
            "ableSplitShipping": false,
            "orderItems": self.items.iter().map(packed).collect::<Vec<_>>(),
            "deliveryCompanyName": company,
            "invoiceNumber": invoice,
            "inTrasitDateTime": "",
            "deliveredDate": "",
            "refer": "안드로이드앱",
            "shipmentType": "THIRD_PARTY",
            "isCod": false,
        })
    }
}

fn packed(item: &Packed) -> Value {
    json!({
        "vendorItemId": item.vendor_item,
        "vendorItemName": item.name,
        "productId": item.product,
        "sellerProductId": item.product,
        "sellerProductName": item.product_name,
        "sellerProductItemName": item.name,
        "firstSellerProductItemName": item.name,
        "externalVendorSkuCode": item.seller_code.as_deref().unwrap_or_default(),
        "shippingCount": item.count,
        "cancelCount": item.cancelled,
        "holdCountForCancel": item.held,
        "salesPrice": won(item.price),
        "orderPrice": won(item.price * item.count),
        "discountPrice": won(0),
        "instantCouponDiscount": won(0),
        "downloadableCouponDiscount": won(0),
        "coupangDiscount": won(0),
        "canceled": item.cancelled == item.count,
        "pricingBadge": false,
        "upBundleItem": false,
        "upBundleVendorItemId": null,
        "upBundleSize": null,
    })
}
