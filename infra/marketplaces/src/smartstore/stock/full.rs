//! The full update, which is a trap: what its body leaves out is gone.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::{
    Refused, body,
    checks::{check_discount, check_price, check_stock, unequal_sum},
    options::usable,
    shown,
};
use crate::{
    call::Call,
    smartstore::{
        answers::Invalid,
        products::{Catalogue, Choice, Status},
    },
};

/// Fields of an origin product that a full update cannot leave out.
const NEEDED: [&str; 7] = [
    "statusType",
    "name",
    "detailContent",
    "images",
    "salePrice",
    "stockQuantity",
    "detailAttribute",
];

/// `PUT /v2/products/origin-products/{no}`: the product is from here on what the body says, and nothing besides.
pub(super) fn replace(
    catalogue: &mut Catalogue,
    origin: u64,
    call: &Call,
    now: OffsetDateTime,
) -> Result<Value, Refused> {
    let mut body: Value = body(call)?;
    let old = catalogue.get(origin).ok_or(Refused::NoProduct)?;
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|name| body["originProduct"][**name].is_null())
        .map(|name| Invalid::missing(&format!("originProduct.{name}")))
        .chain(
            body["smartstoreChannelProduct"]
                .is_null()
                .then(|| Invalid::missing("smartstoreChannelProduct")),
        )
        .collect();
    if !missing.is_empty() {
        return Err(Refused::Inputs(missing));
    }
    let channel_rest = body["smartstoreChannelProduct"].take();
    let Value::Object(fields) = body["originProduct"].take() else {
        return Err(Refused::input(
            "originProduct",
            "NotReadable",
            "It is no object.",
        ));
    };
    let written = Written::read(&fields)?;
    let known: BTreeSet<_> = old.choices.iter().map(|choice| choice.id).collect();
    if written
        .choices
        .iter()
        .any(|(id, _)| id.is_some_and(|id| !known.contains(&id)))
    {
        return Err(Refused::input(
            "originProduct.detailAttribute.optionInfo.optionCombinations.id",
            "NotValid",
            "The product has no such option.",
        ));
    }
    let mut choices = Vec::new();
    for (id, mut choice) in written.choices {
        choice.id = match id {
            Some(id) => id,
            None => catalogue.next_option(),
        };
        choices.push(choice);
    }
    catalogue.change(origin, false, now, |product| {
        product.name = written.name;
        product.price = written.price;
        product.stock = written.stock;
        product.status = written.status;
        product.choices = choices;
        product.discount = written.discount;
        product.seller_code = written.seller_code;
        product.rest = fields;
        product.channel_rest = channel_rest;
    });
    shown(catalogue, origin)
}

/// What a full update says about the fields that are followed here.
struct Written {
    name: String,
    price: u64,
    stock: u64,
    status: Status,
    choices: Vec<(Option<u64>, Choice)>,
    discount: Option<Value>,
    seller_code: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenChoice {
    id: Option<u64>,
    option_name1: String,
    #[serde(default)]
    stock_quantity: u64,
    #[serde(default)]
    price: i64,
    #[serde(default = "usable")]
    usable: bool,
    seller_manager_code: Option<String>,
}

impl Written {
    fn read(fields: &Map<String, Value>) -> Result<Self, Refused> {
        let of = |name: &str| fields.get(name).unwrap_or(&Value::Null);
        let unreadable =
            |name: &str| Refused::input(&format!("originProduct.{name}"), "NotReadable", "-");
        let price = of("salePrice")
            .as_u64()
            .ok_or_else(|| unreadable("salePrice"))?;
        let stock = of("stockQuantity")
            .as_u64()
            .ok_or_else(|| unreadable("stockQuantity"))?;
        check_price("originProduct.salePrice", price)?;
        check_stock("originProduct.stockQuantity", stock)?;
        let discount = &of("customerBenefit")["immediateDiscountPolicy"];
        let discount = (!discount.is_null()).then(|| discount.clone());
        check_discount(discount.as_ref())?;
        let detail = of("detailAttribute");
        let benefit = of("customerBenefit");
        // What is shown again is written into these.
        for (name, part) in [
            ("detailAttribute", detail),
            ("detailAttribute.optionInfo", &detail["optionInfo"]),
            ("detailAttribute.sellerCodeInfo", &detail["sellerCodeInfo"]),
            ("customerBenefit", benefit),
        ] {
            if !part.is_null() && !part.is_object() {
                return Err(unreadable(name));
            }
        }
        let options = &detail["optionInfo"]["optionCombinations"];
        let options: Vec<WrittenChoice> = if options.is_null() {
            Vec::new()
        } else {
            WrittenChoice::deserialize_all(options)
                .ok_or_else(|| unreadable("detailAttribute.optionInfo.optionCombinations"))?
        };
        for option in &options {
            check_stock(
                "originProduct.detailAttribute.optionInfo.optionCombinations.stockQuantity",
                option.stock_quantity,
            )?;
        }
        let sum: u64 = options.iter().map(|option| option.stock_quantity).sum();
        if !options.is_empty() && sum != stock {
            return Err(unequal_sum("originProduct.stockQuantity"));
        }
        Ok(Self {
            name: of("name")
                .as_str()
                .ok_or_else(|| unreadable("name"))?
                .to_owned(),
            price,
            stock,
            status: Status::deserialize(of("statusType")).map_err(|_| unreadable("statusType"))?,
            choices: options.into_iter().map(WrittenChoice::choice).collect(),
            discount,
            seller_code: detail["sellerCodeInfo"]["sellerManagementCode"]
                .as_str()
                .map(str::to_owned),
        })
    }
}

impl WrittenChoice {
    fn deserialize_all(options: &Value) -> Option<Vec<Self>> {
        Vec::deserialize(options).ok()
    }

    fn choice(self) -> (Option<u64>, Choice) {
        let choice = Choice {
            id: 0,
            name: self.option_name1,
            price: self.price,
            stock: self.stock_quantity,
            usable: self.usable,
            seller_code: self.seller_manager_code,
        };
        (self.id, choice)
    }
}
