//! Stock, prices and discounts of many products at once.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Refused, SalePrice, body,
    checks::{check_discount, check_price, check_stock, check_sum, missing},
};
use crate::{
    call::Call,
    smartstore::products::{Catalogue, Product, Status},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MultiUpdate {
    multi_product_update_request_vos: Vec<Update>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Update {
    origin_product_no: u64,
    #[serde(default)]
    multi_update_types: Vec<UpdateType>,
    product_sale_price: Option<SalePrice>,
    immediate_discount_policy: Option<Value>,
    stock_quantity: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum UpdateType {
    SalePrice,
    ImmediateDiscount,
    Stock,
    ProductStatusSale,
    ProductStatusSuspension,
}

/// `PATCH /v1/products/origin-products/multi-update`. Whether a bad product spoils the others is not documented: here
/// all are written or none, and the most of them is a switch.
pub(super) fn write(
    catalogue: &mut Catalogue,
    call: &Call,
    most: usize,
    revives: bool,
    now: OffsetDateTime,
) -> Result<Value, Refused> {
    let body: MultiUpdate = body(call)?;
    let updates = body.multi_product_update_request_vos;
    if updates.is_empty() || updates.len() > most {
        return Err(Refused::input(
            "multiProductUpdateRequestVos",
            "Size",
            &format!("There must be 1 to {most}."),
        ));
    }
    for update in &updates {
        let product = catalogue
            .get(update.origin_product_no)
            .ok_or(Refused::NoProduct)?;
        check_update(update, product)?;
    }
    for update in updates {
        catalogue.change(update.origin_product_no, revives, now, |product| {
            apply(update, product);
        });
    }
    Ok(json!({ "code": "SUCCESS", "message": "OK", "data": {} }))
}

fn check_update(update: &Update, product: &Product) -> Result<(), Refused> {
    for kind in &update.multi_update_types {
        match kind {
            UpdateType::SalePrice => match &update.product_sale_price {
                Some(price) => check_price("productSalePrice.salePrice", price.sale_price)?,
                None => return Err(missing("productSalePrice.salePrice")),
            },
            UpdateType::ImmediateDiscount => match &update.immediate_discount_policy {
                Some(policy) => check_discount(Some(policy))?,
                None => return Err(missing("immediateDiscountPolicy")),
            },
            UpdateType::Stock => {
                let stock = update
                    .stock_quantity
                    .ok_or_else(|| missing("stockQuantity"))?;
                check_stock("stockQuantity", stock)?;
                check_sum(product, stock)?;
            }
            UpdateType::ProductStatusSale | UpdateType::ProductStatusSuspension => {}
        }
    }
    Ok(())
}

fn apply(update: Update, product: &mut Product) {
    let has = |kind| update.multi_update_types.contains(&kind);
    if has(UpdateType::SalePrice)
        && let Some(price) = &update.product_sale_price
    {
        product.price = price.sale_price;
    }
    if has(UpdateType::Stock)
        && product.choices.is_empty()
        && let Some(stock) = update.stock_quantity
    {
        product.stock = stock;
    }
    if has(UpdateType::ProductStatusSale) {
        product.status = Status::Sale;
    }
    if has(UpdateType::ProductStatusSuspension) {
        product.status = Status::Suspension;
    }
    if has(UpdateType::ImmediateDiscount) {
        product.discount = update.immediate_discount_policy;
    }
}
