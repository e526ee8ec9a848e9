//! Origin products: they own price, stock and options. What is listed in the shop windows are channel products.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    channel::{ItemId, Price, Shown, korea},
    clock::Timestamp,
};

/// An origin product, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Product {
    status_type: String,
    sale_price: u64,
    stock_quantity: Option<u64>,
    customer_benefit: Option<Benefit>,
    detail_attribute: Option<Attributes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Benefit {
    immediate_discount_policy: Option<DiscountPolicy>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DiscountPolicy {
    discount_method: Option<Discount>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Discount {
    value: f64,
    unit_type: String,
    start_date: Option<String>,
    end_date: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    option_info: Option<Options>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Options {
    option_combinations: Option<Vec<OptionRow>>,
    option_standards: Option<Vec<OptionRow>>,
    use_stock_management: Option<bool>,
}

/// An option. A standard option has no price of its own.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionRow {
    #[serde(deserialize_with = "crate::channel::lenient::text")]
    id: String,
    stock_quantity: Option<u64>,
    price: Option<i64>,
    usable: Option<bool>,
}

/// Which list an option stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Combination,
    Standard,
}

/// What a write changes of an option; the rest is written as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Units(u64),
    /// What it costs, with the price of the product in it.
    Price(u64),
}

impl Product {
    /// The product in an answer of the product API.
    pub(super) fn read(answer: &Value) -> Option<Self> {
        Self::deserialize(answer.get("originProduct")?).ok()
    }

    /// What is shown of an item now; why not, if there is no such option.
    pub(super) fn shown(&self, item: &ItemId, now: Timestamp) -> Result<Shown, &'static str> {
        let option = match &item.option {
            Some(id) => Some(self.option(id)?.1),
            None => None,
        };
        let units = option
            .map_or(self.stock_quantity, |option| option.stock_quantity)
            .unwrap_or(0);
        let usable = option.is_none_or(|option| option.usable.unwrap_or(true));
        // A product that ran out is put out of stock by the marketplace, and stays so until it is told otherwise: with units
        // again, and still out of stock, nobody can buy it.
        let sold = self.status_type == "SALE" || (self.is_out_of_stock() && units == 0);
        let surcharge = option.and_then(|option| option.price).unwrap_or(0);
        let with_surcharge = |price: u64| {
            u64::try_from(
                i64::try_from(price)
                    .unwrap_or(i64::MAX)
                    .saturating_add(surcharge),
            )
        };
        let price = with_surcharge(self.sale_price).ok().map(|sale| Price {
            sale,
            effective: with_surcharge(self.discounted(now)).unwrap_or(0),
        });
        Ok(Shown {
            units,
            on_sale: sold && usable,
            price,
        })
    }

    /// Whether the marketplace has put it out of stock.
    pub(super) fn is_out_of_stock(&self) -> bool {
        self.status_type == "OUTOFSTOCK"
    }

    /// What it costs without options.
    pub(super) fn sale_price(&self) -> u64 {
        self.sale_price
    }

    /// Whether its stock is kept by option.
    pub(super) fn has_options(&self) -> bool {
        self.rows().next().is_some()
    }

    /// Units of all its options: what its own stock must be.
    pub(super) fn units_of_options(&self) -> u64 {
        self.rows()
            .map(|(_, option)| option.stock_quantity.unwrap_or(0))
            .sum()
    }

    /// Units of all its options after this one has so many.
    pub(super) fn units_of_options_with(&self, id: &str, units: u64) -> u64 {
        self.rows()
            .filter(|(_, option)| option.id != id)
            .map(|(_, option)| option.stock_quantity.unwrap_or(0))
            .sum::<u64>()
            + units
    }

    /// The body that changes one option.
    ///
    /// Only this option is named. The call edits options that are there, by their id, so the others stay; naming them would set
    /// their stock to what it was a moment ago and give back what was sold since. Of the one that is named every field is
    /// written: a stock or a price that is left out is stored as 0, and `usable` as true. The price of the product and its
    /// discount are left out: they may be, and what was read may be old.
    pub(super) fn option_write(&self, id: &str, change: Change) -> Result<Value, &'static str> {
        let (kind, option) = self.option(id)?;
        if self
            .options()
            .and_then(|options| options.use_stock_management)
            == Some(false)
        {
            return Err("the stock of this product's options is not managed");
        }
        let number: u64 = option.id.parse().map_err(|_| "an option id is a number")?;
        let mut row = json!({
            "id": number,
            "stockQuantity": match change {
                Change::Units(units) => units,
                Change::Price(_) => option.stock_quantity.ok_or("the stock of the option is not told")?,
            },
            "usable": option.usable.unwrap_or(true),
        });
        let (list, price) = match (kind, change) {
            (Kind::Combination, Change::Units(_)) => {
                ("optionCombinations", Some(option.price.unwrap_or(0)))
            }
            (Kind::Combination, Change::Price(won)) => {
                let surcharge = won.checked_signed_diff(self.sale_price);
                let surcharge = surcharge.ok_or("such a surcharge is no price")?;
                ("optionCombinations", Some(surcharge))
            }
            (Kind::Standard, Change::Units(_)) => ("optionStandards", None),
            (Kind::Standard, Change::Price(_)) => {
                return Err("a standard option costs what the product costs");
            }
        };
        if let (Some(price), Some(row)) = (price, row.as_object_mut()) {
            row.insert("price".to_owned(), json!(price));
        }
        Ok(json!({ "optionInfo": { list: [row], "useStockManagement": true } }))
    }

    fn option(&self, id: &str) -> Result<(Kind, &OptionRow), &'static str> {
        self.rows()
            .find(|(_, option)| option.id == id)
            .ok_or("the product has no such option")
    }

    fn options(&self) -> Option<&Options> {
        self.detail_attribute.as_ref()?.option_info.as_ref()
    }

    fn rows(&self) -> impl Iterator<Item = (Kind, &OptionRow)> {
        fn list(
            kind: Kind,
            rows: Option<&Vec<OptionRow>>,
        ) -> impl Iterator<Item = (Kind, &OptionRow)> {
            rows.map(Vec::as_slice)
                .unwrap_or_default()
                .iter()
                .map(move |row| (kind, row))
        }
        let options = self.options();
        list(
            Kind::Combination,
            options.and_then(|options| options.option_combinations.as_ref()),
        )
        .chain(list(
            Kind::Standard,
            options.and_then(|options| options.option_standards.as_ref()),
        ))
    }

    /// The price of the product after the seller's immediate discount, if one runs now. How a percentage is rounded is not
    /// documented: to the buyer's favour, so that a floor is kept either way. Coupons, and discounts for buying several, are
    /// not told here.
    fn discounted(&self, now: Timestamp) -> u64 {
        let discount = self
            .customer_benefit
            .as_ref()
            .and_then(|benefit| benefit.immediate_discount_policy.as_ref())
            .and_then(|policy| policy.discount_method.as_ref())
            .filter(|discount| discount.runs(now));
        discount.map_or(self.sale_price, |discount| {
            self.sale_price
                .saturating_sub(discount.won(self.sale_price))
        })
    }
}

impl Discount {
    fn runs(&self, now: Timestamp) -> bool {
        let moment = |text: &Option<String>| text.as_deref().and_then(korea::parse);
        // An end names its last minute.
        let last_minute = std::time::Duration::from_millis(59_999);
        moment(&self.start_date).is_none_or(|start| start <= now)
            && moment(&self.end_date).is_none_or(|end| now <= end + last_minute)
    }

    fn won(&self, price: u64) -> u64 {
        if !self.value.is_finite() || self.value < 0.0 {
            return 0;
        }
        // At most 10,000,000 by the documents; a cast saturates.
        let hundredths = (self.value * 100.0).round() as u64;
        match self.unit_type.as_str() {
            "PERCENT" => price.saturating_mul(hundredths).div_ceil(10_000),
            _ => hundredths.div_ceil(100),
        }
    }
}

/// The body that shows so many units of a product without options.
pub(super) fn stock_write(product: u64, units: u64) -> Value {
    json!({ "multiProductUpdateRequestVos": [
        { "originProductNo": product, "multiUpdateTypes": ["STOCK"], "stockQuantity": units }
    ] })
}

/// The body that asks so much for a product.
pub(super) fn price_write(product: u64, won: u64) -> Value {
    json!({ "multiProductUpdateRequestVos": [
        { "originProductNo": product, "multiUpdateTypes": ["SALE_PRICE"], "productSalePrice": { "salePrice": won } }
    ] })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-11-20T10:00:00+09:00";

    fn answer() -> Value {
        serde_json::from_str(include_str!("fixtures/product.json")).expect("JSON")
    }

    fn item(option: Option<&str>) -> ItemId {
        ItemId {
            product: "11000000001".to_owned(),
            option: option.map(str::to_owned),
        }
    }

    fn shown(answer: &Value, option: Option<&str>) -> Shown {
        Product::read(answer)
            .expect("a product")
            .shown(&item(option), Timestamp::parse(NOW).expect("a time"))
            .expect("an item")
    }

    #[test]
    fn an_option_has_its_own_stock_and_its_price_on_top() {
        let white = shown(&answer(), Some("41000000001"));
        assert_eq!((white.units, white.on_sale), (7, true));
        assert_eq!(
            white.price,
            Some(Price {
                sale: 12_900,
                effective: 11_610
            })
        );
        let blue = shown(&answer(), Some("41000000002"));
        assert_eq!((blue.units, blue.on_sale), (12, false));
        assert_eq!(
            blue.price,
            Some(Price {
                sale: 13_900,
                effective: 12_610
            })
        );
        let product = Product::read(&answer()).expect("a product");
        let now = Timestamp::parse(NOW).expect("a time");
        assert!(product.shown(&item(Some("1")), now).is_err());
        assert_eq!(
            (
                product.units_of_options(),
                product.units_of_options_with("41000000001", 0)
            ),
            (19, 12)
        );
    }

    #[test]
    fn a_product_that_ran_out_is_for_sale_but_not_with_units_that_nobody_can_buy() {
        for (status, units, on_sale) in [
            ("SALE", 3, true),
            ("OUTOFSTOCK", 0, true),
            ("OUTOFSTOCK", 3, false),
            ("SUSPENSION", 3, false),
            ("PROHIBITION", 3, false),
        ] {
            let mut answer = answer();
            answer["originProduct"]["statusType"] = json!(status);
            answer["originProduct"]["stockQuantity"] = json!(units);
            let shown = shown(&answer, None);
            assert_eq!((shown.units, shown.on_sale), (units, on_sale), "{status}");
        }
    }

    #[test]
    fn a_discount_counts_while_it_runs() {
        for (discount, effective) in [
            (json!({ "value": 1_900, "unitType": "WON" }), 11_000),
            (json!({ "value": 3.3, "unitType": "PERCENT" }), 12_474),
            (
                json!({ "value": 10, "unitType": "PERCENT", "startDate": "2026-11-20T10:00:00+09:00", "endDate": "2026-11-20T10:09:00+09:00" }),
                11_610,
            ),
            (
                json!({ "value": 10, "unitType": "PERCENT", "startDate": "2026-11-20T10:10:00+09:00" }),
                12_900,
            ),
            // An end lasts through its minute, and it is ten sharp.
            (
                json!({ "value": 10, "unitType": "PERCENT", "endDate": "2026-11-20T09:59:00+09:00" }),
                12_900,
            ),
            (
                json!({ "value": 10, "unitType": "PERCENT", "endDate": "2026-11-20T09:49:00+09:00" }),
                12_900,
            ),
            (json!({ "value": 99_999_999, "unitType": "WON" }), 0),
        ] {
            let mut answer = answer();
            answer["originProduct"]["customerBenefit"]["immediateDiscountPolicy"]["discountMethod"] =
                discount.clone();
            let shown = shown(&answer, None);
            assert_eq!(
                shown.price.expect("a price").effective,
                effective,
                "{discount}"
            );
        }
    }

    #[test]
    fn a_write_names_one_option_and_every_field_of_it() {
        let product = Product::read(&answer()).expect("a product");
        assert_eq!(
            product.option_write("41000000002", Change::Units(5)),
            Ok(
                json!({ "optionInfo": { "optionCombinations": [{ "id": 41_000_000_002_u64, "stockQuantity": 5, "price": 1000, "usable": false }], "useStockManagement": true } })
            )
        );
        assert_eq!(
            product.option_write("41000000001", Change::Price(12_400)),
            Ok(
                json!({ "optionInfo": { "optionCombinations": [{ "id": 41_000_000_001_u64, "stockQuantity": 7, "price": -500, "usable": true }], "useStockManagement": true } })
            )
        );
        let mut answer = answer();
        let info = &mut answer["originProduct"]["detailAttribute"]["optionInfo"];
        info["optionStandards"] = info["optionCombinations"].take();
        let standard = Product::read(&answer).expect("a product");
        assert_eq!(
            standard.option_write("41000000001", Change::Units(0)),
            Ok(
                json!({ "optionInfo": { "optionStandards": [{ "id": 41_000_000_001_u64, "stockQuantity": 0, "usable": true }], "useStockManagement": true } })
            )
        );
        assert!(
            standard
                .option_write("41000000001", Change::Price(9_900))
                .is_err()
        );
        answer["originProduct"]["detailAttribute"]["optionInfo"]["useStockManagement"] =
            json!(false);
        let unmanaged = Product::read(&answer).expect("a product");
        assert!(
            unmanaged
                .option_write("41000000001", Change::Units(1))
                .is_err()
        );
    }
}
