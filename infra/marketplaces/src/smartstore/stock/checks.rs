//! What is refused wherever it is written: stock, prices and discounts that cannot be.

use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::Refused;
use crate::smartstore::{
    answers::Invalid,
    products::{MAX_PRICE, MAX_STOCK, Product},
};

pub(super) fn check_stock(name: &str, stock: u64) -> Result<(), Refused> {
    if stock <= MAX_STOCK {
        Ok(())
    } else {
        Err(Refused::input(name, "Max", "It is at most 99999999."))
    }
}

pub(super) fn check_price(name: &str, price: u64) -> Result<(), Refused> {
    if (1..=MAX_PRICE).contains(&price) {
        Ok(())
    } else {
        Err(Refused::input(name, "Max", "It is at most 999999990."))
    }
}

/// With options the product's own number must be what their sum already is.
pub(super) fn check_sum(product: &Product, stock: u64) -> Result<(), Refused> {
    if product.choices.is_empty() || product.stock == stock {
        Ok(())
    } else {
        Err(unequal_sum("stockQuantity"))
    }
}

pub(super) fn unequal_sum(name: &str) -> Refused {
    Refused::input(
        name,
        "NotValid",
        "It must be the sum of the options' stock.",
    )
}

/// A discount starts at :00, :10, .. and ends at :09, :19, ...
pub(super) fn check_discount(policy: Option<&Value>) -> Result<(), Refused> {
    let Some(method) = policy.and_then(|policy| policy.get("discountMethod")) else {
        return Ok(());
    };
    let wrong = |name: &str| {
        Refused::input(
            &format!("immediateDiscountPolicy.discountMethod.{name}"),
            "NotValid",
            "It is not of the documented form.",
        )
    };
    if !method["value"]
        .as_u64()
        .is_some_and(|value| (1..=10_000_000).contains(&value))
    {
        return Err(wrong("value"));
    }
    if !matches!(method["unitType"].as_str(), Some("PERCENT" | "WON")) {
        return Err(wrong("unitType"));
    }
    for (name, last_digit) in [("startDate", 0), ("endDate", 9)] {
        if method[name].is_null() {
            continue;
        }
        let fits = method[name]
            .as_str()
            .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
            .is_some_and(|at| at.minute() % 10 == last_digit);
        if !fits {
            return Err(wrong(name));
        }
    }
    Ok(())
}

pub(super) fn missing(name: &str) -> Refused {
    Refused::Inputs(vec![Invalid::missing(name)])
}
