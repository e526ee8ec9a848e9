//! Products, their variants, and what these show.

use serde_json::Value;

use super::super::{Failure, Price, Shown};

/// A variant, with its product's price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Variant {
    price: u64,
    surcharge: i64,
    on_sale: bool,
    quantity: i64,
    /// What keeps the number from being heeded, if anything does.
    unheeded: Option<&'static str>,
}

impl Variant {
    /// What a buyer sees. Where a variant has been sold below zero, that is nothing left.
    pub(super) fn shown(&self) -> Result<Shown, Failure> {
        if let Some(why) = self.unheeded {
            return Err(Failure::Refused(why.to_owned()));
        }
        let sale = self.price.saturating_add_signed(self.surcharge);
        Ok(Shown {
            units: u64::try_from(self.quantity).unwrap_or(0),
            on_sale: self.on_sale,
            // The shop's own promotions are not part of the answer.
            price: Some(Price {
                sale,
                effective: sale,
            }),
        })
    }

    /// What the product has to cost for the variant to cost so much.
    pub(super) fn product_price(&self, won: u64) -> Option<u64> {
        won.checked_add_signed(self.surcharge.checked_neg()?)
            .filter(|price| *price > 0)
    }
}

/// Finds a variant in its product.
pub(super) fn variant(reply: &Value, code: &str) -> Result<Variant, Failure> {
    let product = &reply["product"];
    let variant = product["variants"]
        .as_array()
        .and_then(|variants| {
            variants
                .iter()
                .find(|variant| variant["variant_code"].as_str() == Some(code))
        })
        .ok_or_else(|| Failure::Refused("the product has no such variant".to_owned()))?;
    // One object in the documents; a list of one in answers of some versions; and some have its fields in the variant.
    let inventories = &variant["inventories"];
    let inventory = inventories
        .get(0)
        .or(Some(inventories))
        .filter(|inventory| inventory.is_object())
        .unwrap_or(variant);
    let unreadable = |what: &str| Failure::Refused(format!("{what} cannot be read"));
    let is_off = |value: &Value| value.as_str() == Some("F");
    Ok(Variant {
        price: won(&product["price"])
            .and_then(|won| u64::try_from(won).ok())
            .ok_or_else(|| unreadable("price"))?,
        surcharge: if variant["additional_amount"].is_null() {
            0
        } else {
            won(&variant["additional_amount"]).ok_or_else(|| unreadable("additional_amount"))?
        },
        on_sale: !is_off(&product["selling"]) && !is_off(&variant["selling"]),
        quantity: whole(&inventory["quantity"]).ok_or_else(|| unreadable("quantity"))?,
        unheeded: heeded(inventory).err().map(|_| unheeded(inventory)),
    })
}

/// Whether anyone heeds the number of an inventory.
pub(super) fn heeded(inventory: &Value) -> Result<(), Failure> {
    let is_off = |name: &str| inventory[name].as_str() == Some("F");
    if is_off("use_inventory") || is_off("display_soldout") {
        Err(Failure::Refused(unheeded(inventory).to_owned()))
    } else {
        Ok(())
    }
}

fn unheeded(inventory: &Value) -> &'static str {
    if inventory["use_inventory"].as_str() == Some("F") {
        "the variant does not use its inventory: any number of it is sold; switch it on at the shop"
    } else {
        "the variant is not shown as sold out: it is sold below zero; switch that on at the shop"
    }
}

/// An amount in won: text with decimals, which won does not have.
pub(super) fn won(value: &Value) -> Option<i64> {
    let text = match value {
        Value::String(text) => text.trim().to_owned(),
        Value::Number(number) => number.to_string(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let (whole, part) = text.split_once('.').unwrap_or((text.as_str(), ""));
    part.bytes()
        .all(|byte| byte == b'0')
        .then(|| whole.parse().ok())
        .flatten()
}

/// A whole number, as one or as text.
pub(super) fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn product() -> Value {
        serde_json::from_str(include_str!("fixtures/product.json")).expect("JSON")
    }

    #[test]
    fn amounts_are_text_and_whole() {
        for (value, is) in [
            (json!("12900.00"), Some(12_900)),
            (json!("12900"), Some(12_900)),
            (json!(12_900), Some(12_900)),
            (json!("-500.00"), Some(-500)),
            (json!("12900.50"), None),
            (json!("free"), None),
            (json!(null), None),
        ] {
            assert_eq!(won(&value), is, "{value}");
        }
    }

    #[test]
    fn a_variant_shows_its_units_and_its_price_with_the_surcharge() {
        let white = variant(&product(), "P000000100A0").expect("a variant");
        let shown = white.shown().expect("is heeded");
        assert_eq!((shown.units, shown.on_sale), (7, true));
        assert_eq!(shown.price.map(|price| price.sale), Some(12_900));
        let black = variant(&product(), "P000000100B0").expect("a variant");
        let shown = black.shown().expect("is heeded");
        assert_eq!(shown.units, 0, "below zero is nothing left");
        assert_eq!(shown.price.map(|price| price.sale), Some(13_900));
        assert_eq!(black.product_price(13_900), Some(12_900));
        assert_eq!(black.product_price(1_000), None);
    }

    #[test]
    fn an_inventory_is_an_object_a_list_of_one_or_part_of_its_variant() {
        let units = |variant_of: &Value| {
            let found = variant(variant_of, "P000000100A0").and_then(|variant| variant.shown());
            found.map(|shown| shown.units)
        };
        let mut product = product();
        let white = &mut product["product"]["variants"][0];
        let inventory = white["inventories"].take();
        white["inventories"] = json!([inventory]);
        assert_eq!(units(&product), Ok(7));
        product["product"]["variants"][0]["inventories"] = json!(null);
        let none = Failure::Refused("quantity cannot be read".into());
        assert_eq!(units(&product), Err(none));
        product["product"]["variants"][0]["quantity"] = json!("6");
        assert_eq!(units(&product), Ok(6));
    }

    #[test]
    fn a_number_that_nobody_heeds_is_refused() {
        for (name, said) in [
            ("use_inventory", "inventory"),
            ("display_soldout", "sold out"),
        ] {
            let mut product = product();
            product["product"]["variants"][0]["inventories"][name] = json!("F");
            let shown = variant(&product, "P000000100A0").and_then(|variant| variant.shown());
            let Err(Failure::Refused(why)) = shown else {
                panic!("{name}: {shown:?}");
            };
            assert!(why.contains(said), "{why}");
        }
        assert_eq!(
            heeded(&json!({ "use_inventory": "T", "display_soldout": "T" })),
            Ok(())
        );
    }

    #[test]
    fn a_variant_that_is_not_there_is_refused() {
        assert!(matches!(
            variant(&product(), "P9"),
            Err(Failure::Refused(_))
        ));
        assert!(matches!(
            variant(&json!({}), "P9"),
            Err(Failure::Refused(_))
        ));
    }
}
