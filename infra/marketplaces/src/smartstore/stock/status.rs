//! Whether a product is for sale.

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Refused, body,
    checks::{check_stock, check_sum, missing},
    shown,
};
use crate::{
    call::Call,
    smartstore::products::{Catalogue, Status},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeStatus {
    status_type: Status,
    stock_quantity: Option<u64>,
}

/// `PUT /v1/products/origin-products/{no}/change-status`.
pub(super) fn change(
    catalogue: &mut Catalogue,
    origin: u64,
    call: &Call,
    now: OffsetDateTime,
) -> Result<Value, Refused> {
    let body: ChangeStatus = body(call)?;
    let product = catalogue.get(origin).ok_or(Refused::NoProduct)?;
    if let Some(stock) = body.stock_quantity {
        check_stock("stockQuantity", stock)?;
        check_sum(product, stock)?;
    }
    match (product.status, body.status_type) {
        (Status::OutOfStock, Status::Sale) if body.stock_quantity.is_none() => {
            return Err(missing("stockQuantity"));
        }
        (Status::Suspension, Status::OutOfStock) => {
            return Err(Refused::input(
                "statusType",
                "NotValid",
                "A suspended product cannot become sold out.",
            ));
        }
        (
            Status::Sale | Status::OutOfStock | Status::Suspension,
            Status::Sale | Status::OutOfStock | Status::Suspension,
        ) => {}
    }
    catalogue.change(origin, false, now, |product| {
        product.status = body.status_type;
        if body.status_type == Status::OutOfStock {
            product.stock = 0;
            for choice in &mut product.choices {
                choice.stock = 0;
            }
        } else if let Some(stock) = body.stock_quantity
            && product.choices.is_empty()
        {
            product.stock = stock;
        }
    });
    shown(catalogue, origin)
}
