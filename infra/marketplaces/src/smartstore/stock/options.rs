//! Stock and prices of a product's options.

use serde::Deserialize;
use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Refused, SalePrice, body,
    checks::{check_discount, check_price, check_stock},
    shown,
};
use crate::{
    call::Call,
    smartstore::{answers::Invalid, products::Catalogue},
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionStock {
    product_sale_price: Option<SalePrice>,
    immediate_discount_policy: Option<Value>,
    option_info: Option<OptionInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionInfo {
    #[serde(default)]
    option_combinations: Vec<Combination>,
    #[serde(default)]
    option_standards: Vec<Value>,
}

/// What is left out is stored as 0, and an option that was off is on again: the documents say so, and it is a trap.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Combination {
    id: u64,
    #[serde(default)]
    stock_quantity: u64,
    #[serde(default)]
    price: i64,
    #[serde(default = "usable")]
    usable: bool,
}

pub(super) fn usable() -> bool {
    true
}

/// `PUT /v1/products/origin-products/{no}/option-stock`. Options that the body does not name stay as they are.
pub(super) fn write(
    catalogue: &mut Catalogue,
    origin: u64,
    call: &Call,
    revives: bool,
    now: OffsetDateTime,
) -> Result<Value, Refused> {
    let body: OptionStock = body(call)?;
    let product = catalogue.get(origin).ok_or(Refused::NoProduct)?;
    let Some(info) = body.option_info else {
        return Err(Refused::Inputs(vec![Invalid::missing("optionInfo")]));
    };
    if !info.option_standards.is_empty() {
        return Err(Refused::input(
            "optionInfo.optionStandards",
            "NotValid",
            "The product has no standard options.",
        ));
    }
    for option in &info.option_combinations {
        if product.choice(option.id).is_none() {
            return Err(Refused::input(
                "optionInfo.optionCombinations.id",
                "NotValid",
                "The product has no such option.",
            ));
        }
        check_stock(
            "optionInfo.optionCombinations.stockQuantity",
            option.stock_quantity,
        )?;
    }
    if let Some(price) = &body.product_sale_price {
        check_price("productSalePrice.salePrice", price.sale_price)?;
    }
    check_discount(body.immediate_discount_policy.as_ref())?;
    catalogue.change(origin, revives, now, |product| {
        if let Some(price) = body.product_sale_price {
            product.price = price.sale_price;
        }
        if let Some(policy) = body.immediate_discount_policy {
            product.discount = Some(policy);
        }
        for option in info.option_combinations {
            for choice in product.choices.iter_mut().filter(|c| c.id == option.id) {
                choice.stock = option.stock_quantity;
                choice.price = option.price;
                choice.usable = option.usable;
            }
        }
    });
    shown(catalogue, origin)
}
