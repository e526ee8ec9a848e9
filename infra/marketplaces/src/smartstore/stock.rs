//! The product API: reading products, and the four ways to write stock and price.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    answers::{Invalid, Stamp},
    products::{Catalogue, Choice, MAX_PRICE, MAX_STOCK, Product, Status},
};
use crate::{answer::Answer, call::Call};

/// Why a write was refused.
pub(super) enum Refused {
    NoProduct,
    Inputs(Vec<Invalid>),
}

impl Refused {
    fn input(name: &str, kind: &'static str, message: &str) -> Self {
        Self::Inputs(vec![Invalid::new(name, kind, message)])
    }

    pub(super) fn answer(&self, stamp: &Stamp) -> Answer {
        match self {
            Self::NoProduct => stamp.no_product(),
            Self::Inputs(inputs) => stamp.invalid(inputs),
        }
    }
}

fn body<T: for<'de> Deserialize<'de>>(call: &Call) -> Result<T, Refused> {
    call.json()
        .map_err(|error| Refused::input("body", "NotReadable", &error))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SalePrice {
    sale_price: u64,
}

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

fn usable() -> bool {
    true
}

/// `PUT /v1/products/origin-products/{no}/option-stock`. Options that the body does not name stay as they are.
pub(super) fn write_options(
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
pub(super) fn write_many(
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChangeStatus {
    status_type: Status,
    stock_quantity: Option<u64>,
}

/// `PUT /v1/products/origin-products/{no}/change-status`.
pub(super) fn change_status(
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Search {
    channel_product_nos: Vec<u64>,
    origin_product_nos: Vec<u64>,
    seller_management_code: Option<String>,
    product_status_types: Vec<Status>,
    page: usize,
    size: usize,
}

impl Default for Search {
    fn default() -> Self {
        Self {
            channel_product_nos: Vec::new(),
            origin_product_nos: Vec::new(),
            seller_management_code: None,
            product_status_types: Vec::new(),
            page: 1,
            size: 50,
        }
    }
}

impl Search {
    fn fits(&self, product: &Product) -> bool {
        (self.channel_product_nos.is_empty() || self.channel_product_nos.contains(&product.channel))
            && (self.origin_product_nos.is_empty()
                || self.origin_product_nos.contains(&product.origin))
            && (self.product_status_types.is_empty()
                || self.product_status_types.contains(&product.status))
            && (self.seller_management_code.is_none()
                || self.seller_management_code == product.seller_code)
    }
}

/// `POST /v1/products/search`.
pub(super) fn search(
    catalogue: &Catalogue,
    call: &Call,
    now: OffsetDateTime,
) -> Result<Value, Refused> {
    let search: Search = body(call)?;
    if search.page == 0 || !(1..=500).contains(&search.size) {
        return Err(Refused::input(
            "size",
            "NotValid",
            "It is 1 to 500, and page at least 1.",
        ));
    }
    let found: Vec<_> = catalogue.all().filter(|p| search.fits(p)).collect();
    let pages = found.len().div_ceil(search.size);
    let contents: Vec<_> = found
        .iter()
        .skip((search.page - 1).saturating_mul(search.size))
        .take(search.size)
        .map(|product| product.row(now))
        .collect();
    Ok(json!({
        "contents": contents,
        "page": search.page,
        "size": search.size,
        "totalElements": found.len(),
        "totalPages": pages,
        "first": search.page == 1,
        "last": search.page >= pages,
    }))
}

/// What writes of one product answer.
fn shown(catalogue: &Catalogue, origin: u64) -> Result<Value, Refused> {
    let product = catalogue.get(origin).ok_or(Refused::NoProduct)?;
    let mut shown = product.document();
    shown["originProductNo"] = json!(product.origin);
    shown["smartstoreChannelProductNo"] = json!(product.channel);
    Ok(shown)
}

/// With options the product's own number must be what their sum already is.
fn check_sum(product: &Product, stock: u64) -> Result<(), Refused> {
    if product.choices.is_empty() || product.stock == stock {
        Ok(())
    } else {
        Err(unequal_sum("stockQuantity"))
    }
}

fn unequal_sum(name: &str) -> Refused {
    Refused::input(
        name,
        "NotValid",
        "It must be the sum of the options' stock.",
    )
}

fn check_stock(name: &str, stock: u64) -> Result<(), Refused> {
    if stock <= MAX_STOCK {
        Ok(())
    } else {
        Err(Refused::input(name, "Max", "It is at most 99999999."))
    }
}

fn check_price(name: &str, price: u64) -> Result<(), Refused> {
    if (1..=MAX_PRICE).contains(&price) {
        Ok(())
    } else {
        Err(Refused::input(name, "Max", "It is at most 999999990."))
    }
}

/// A discount starts at :00, :10, .. and ends at :09, :19, ...
fn check_discount(policy: Option<&Value>) -> Result<(), Refused> {
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

fn missing(name: &str) -> Refused {
    Refused::Inputs(vec![Invalid::missing(name)])
}
