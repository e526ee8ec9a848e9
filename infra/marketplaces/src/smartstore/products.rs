//! The seller's products: what is for sale, at what price, and how many are left.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    answer::Refusal,
    clock::iso,
    market::{MAX_HELD, NewItem, NewLine, StockChange},
};

pub(super) const MAX_STOCK: u64 = 99_999_999;
pub(super) const MAX_PRICE: u64 = 999_999_990;

/// Ids are int64.
const MAX_ID: u64 = i64::MAX.unsigned_abs() - 1;

const FIRST_ORIGIN: u64 = 11_000_000_001;
const FIRST_CHANNEL: u64 = 12_000_000_001;
const FIRST_OPTION: u64 = 41_000_000_001;

/// Those of the documented states that a seller's own writes lead to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub(super) enum Status {
    #[serde(rename = "SALE")]
    Sale,
    #[serde(rename = "OUTOFSTOCK")]
    OutOfStock,
    #[serde(rename = "SUSPENSION")]
    Suspension,
}

/// One combination of option values.
#[derive(Clone, Debug)]
pub(super) struct Choice {
    pub(super) id: u64,
    pub(super) name: String,
    /// On top of the product's price.
    pub(super) price: i64,
    pub(super) stock: u64,
    pub(super) usable: bool,
    pub(super) seller_code: Option<String>,
}

/// An origin product with its one channel product.
#[derive(Clone, Debug)]
pub(super) struct Product {
    pub(super) origin: u64,
    pub(super) channel: u64,
    pub(super) name: String,
    pub(super) seller_code: Option<String>,
    pub(super) price: u64,
    /// `immediateDiscountPolicy` as the seller wrote it.
    pub(super) discount: Option<Value>,
    /// With options it is their sum.
    pub(super) stock: u64,
    pub(super) choices: Vec<Choice>,
    pub(super) status: Status,
    /// The rest of the origin product, as the last full update wrote it: what that left out is gone.
    pub(super) rest: Map<String, Value>,
    pub(super) channel_rest: Value,
    pub(super) modified: OffsetDateTime,
}

/// The body of `POST /sandbox/actions/discount`, which stands for the seller's own office.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct OfficeDiscount {
    product_id: String,
    /// As `immediateDiscountPolicy.discountMethod` has it; none ends it.
    discount_method: Option<Value>,
}

/// What a buyer pays for one unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    pub(super) unit: u64,
    pub(super) discount: u64,
    pub(super) option: i64,
}

impl Product {
    pub(super) fn choice(&self, id: u64) -> Option<&Choice> {
        self.choices.iter().find(|choice| choice.id == id)
    }

    /// What the seller's own discount takes off right now.
    pub(super) fn discount_at(&self, now: OffsetDateTime) -> u64 {
        let Some(method) = self
            .discount
            .as_ref()
            .and_then(|policy| policy.get("discountMethod"))
        else {
            return 0;
        };
        let time = |name| {
            method
                .get(name)
                .and_then(Value::as_str)
                .and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok())
        };
        let started = time("startDate").is_none_or(|start| start <= now);
        // An end of 10:09 holds through its minute.
        let over = time("endDate").is_some_and(|end| now - end >= Duration::MINUTE);
        if !started || over {
            return 0;
        }
        let value = method.get("value").and_then(Value::as_u64).unwrap_or(0);
        match method.get("unitType").and_then(Value::as_str) {
            Some("PERCENT") => self.price * value.min(100) / 100,
            Some(_) | None => value.min(self.price),
        }
    }

    /// A product of `GET /v2/products/origin-products/{no}`.
    pub(super) fn document(&self) -> Value {
        let mut origin = self.rest.clone();
        origin.insert("statusType".to_owned(), json!(self.status));
        origin.insert("name".to_owned(), json!(self.name));
        origin.insert("salePrice".to_owned(), json!(self.price));
        origin.insert("stockQuantity".to_owned(), json!(self.stock));
        let detail = origin.entry("detailAttribute").or_insert_with(|| json!({}));
        if let Some(code) = &self.seller_code {
            detail["sellerCodeInfo"]["sellerManagementCode"] = json!(code);
        }
        if !self.choices.is_empty() {
            detail["optionInfo"]["optionCombinations"] =
                self.choices.iter().map(combination).collect();
            detail["optionInfo"]["useStockManagement"] = json!(true);
        }
        if let Some(policy) = &self.discount {
            let benefit = origin.entry("customerBenefit").or_insert_with(|| json!({}));
            benefit["immediateDiscountPolicy"] = policy.clone();
        }
        json!({
            "originProduct": origin,
            "smartstoreChannelProduct": self.channel_rest,
        })
    }

    /// A row of `POST /v1/products/search`.
    pub(super) fn row(&self, now: OffsetDateTime) -> Value {
        json!({
            "originProductNo": self.origin,
            "channelProducts": [{
                "originProductNo": self.origin,
                "channelProductNo": self.channel,
                "channelServiceType": "STOREFARM",
                "name": self.name,
                "sellerManagementCode": self.seller_code,
                "statusType": self.status,
                "channelProductDisplayStatusType": "ON",
                "salePrice": self.price,
                "discountedPrice": self.price - self.discount_at(now),
                "stockQuantity": self.stock,
                "modifiedDate": iso(self.modified),
            }],
        })
    }

    /// For the control API.
    fn show(&self) -> Value {
        let options: Vec<_> = self
            .choices
            .iter()
            .map(|choice| {
                json!({
                    "optionId": choice.id.to_string(),
                    "name": choice.name,
                    "price": choice.price,
                    "stock": choice.stock,
                    "usable": choice.usable,
                    "sellerCode": choice.seller_code,
                })
            })
            .collect();
        json!({
            "productId": self.origin.to_string(),
            "channelProductId": self.channel.to_string(),
            "name": self.name,
            "price": self.price,
            "stock": self.stock,
            "status": self.status,
            "sellerCode": self.seller_code,
            "options": options,
        })
    }
}

fn combination(choice: &Choice) -> Value {
    json!({
        "id": choice.id,
        "optionName1": choice.name,
        "stockQuantity": choice.stock,
        "price": choice.price,
        "usable": choice.usable,
        "sellerManagerCode": choice.seller_code,
    })
}

/// All products, by origin product number.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    products: BTreeMap<u64, Product>,
    changes: Vec<StockChange>,
    highest_origin: u64,
    highest_option: u64,
    listed: u64,
}

impl Catalogue {
    pub(super) fn get(&self, origin: u64) -> Option<&Product> {
        self.products.get(&origin)
    }

    pub(super) fn by_channel(&self, channel: u64) -> Option<&Product> {
        self.products
            .values()
            .find(|product| product.channel == channel)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Product> {
        self.products.values()
    }

    pub(super) fn show(&self) -> Vec<Value> {
        self.products.values().map(Product::show).collect()
    }

    pub(super) fn take_changes(&mut self) -> Vec<StockChange> {
        std::mem::take(&mut self.changes)
    }

    /// Changes one product as a whole: what changed in its stock is noted, its sum and its state follow. With
    /// `revives`, goods that come in put a sold-out product back on sale.
    pub(super) fn change(
        &mut self,
        origin: u64,
        revives: bool,
        now: OffsetDateTime,
        change: impl FnOnce(&mut Product),
    ) {
        let Some(product) = self.products.get_mut(&origin) else {
            return;
        };
        let before = levels(product);
        change(product);
        if !product.choices.is_empty() {
            product.stock = product.choices.iter().map(|choice| choice.stock).sum();
        }
        product.status = match product.status {
            Status::Sale if product.stock == 0 => Status::OutOfStock,
            Status::OutOfStock if product.stock > 0 && revives => Status::Sale,
            status @ (Status::Sale | Status::OutOfStock | Status::Suspension) => status,
        };
        product.modified = now;
        for (item, to) in levels(product) {
            let from = before.get(&item).copied().unwrap_or(0);
            if from != to {
                let item = item.to_string();
                self.changes.push(StockChange { item, from, to });
            }
        }
    }

    /// The seller's office gives a discount, or ends it.
    pub(super) fn discount(
        &mut self,
        given: OfficeDiscount,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let origin = number(&given.product_id)?;
        let product = self
            .products
            .get_mut(&origin)
            .ok_or_else(|| Refusal::not_found("product", &given.product_id))?;
        product.discount = given
            .discount_method
            .map(|method| json!({ "discountMethod": method }));
        product.modified = now;
        Ok(product.show())
    }

    pub(super) fn list(&mut self, item: NewItem, now: OffsetDateTime) -> Result<Value, Refusal> {
        if self.products.len() >= MAX_HELD {
            return Err(Refusal::impossible("There are too many products."));
        }
        let origin = match &item.product_id {
            Some(id) => number(id)?,
            None => FIRST_ORIGIN.max(self.highest_origin + 1),
        };
        if self.products.contains_key(&origin) {
            return Err(Refusal::impossible("There is such a product already."));
        }
        let stocks = item.options.iter().map(|option| option.stock);
        if stocks.chain(item.stock).any(|stock| stock > MAX_STOCK) || item.price > MAX_PRICE {
            return Err(Refusal::invalid("stock or price is too high."));
        }
        let mut choices = Vec::new();
        for option in item.options {
            let id = match &option.option_id {
                Some(id) => number(id)?,
                None => self.next_option(),
            };
            self.highest_option = self.highest_option.max(id);
            choices.push(Choice {
                id,
                name: option.name,
                price: option.extra_price,
                stock: option.stock,
                usable: true,
                seller_code: option.seller_code,
            });
        }
        if choices.is_empty() && item.stock.is_none() {
            return Err(Refusal::invalid("A product without options needs a stock."));
        }
        let stock = if choices.is_empty() {
            item.stock.unwrap_or(0)
        } else {
            choices.iter().map(|choice| choice.stock).sum()
        };
        let product = Product {
            origin,
            channel: FIRST_CHANNEL + self.listed,
            rest: usual_rest(!choices.is_empty()),
            channel_rest: json!({
                "channelProductName": item.name,
                "naverShoppingRegistration": true,
                "channelProductDisplayStatusType": "ON",
            }),
            name: item.name,
            seller_code: item.seller_code,
            price: item.price,
            discount: None,
            stock,
            choices,
            status: if stock == 0 {
                Status::OutOfStock
            } else {
                Status::Sale
            },
            modified: now,
        };
        self.listed += 1;
        self.highest_origin = self.highest_origin.max(origin);
        let shown = product.show();
        self.products.insert(origin, product);
        Ok(shown)
    }

    /// An id that no option has had.
    pub(super) fn next_option(&mut self) -> u64 {
        self.highest_option = FIRST_OPTION.max(self.highest_option + 1);
        self.highest_option
    }

    /// Finds what a buyer wants, if it can be bought.
    pub(super) fn wanted(&self, line: &NewLine) -> Result<(u64, Option<u64>), Refusal> {
        let option = line.option_id.as_deref().map(number).transpose()?;
        let product = match (&line.product_id, option) {
            (Some(id), _) => {
                let id = number(id)?;
                self.get(id).or_else(|| self.by_channel(id))
            }
            (None, Some(option)) => self.all().find(|product| product.choice(option).is_some()),
            (None, None) => return Err(Refusal::invalid("productId or optionId is needed.")),
        };
        let named = line.product_id.as_ref().or(line.option_id.as_ref());
        let product = product
            .ok_or_else(|| Refusal::not_found("product", named.map_or("", String::as_str)))?;
        match option {
            None if product.choices.is_empty() => {}
            None => return Err(Refusal::invalid("The product has options: choose one.")),
            Some(id) => match product.choice(id) {
                Some(choice) if choice.usable => {}
                Some(_) => return Err(Refusal::impossible("The option is not for sale.")),
                None => return Err(Refusal::not_found("option", &id.to_string())),
            },
        }
        if product.status != Status::Sale {
            return Err(Refusal::impossible("The product is not on sale."));
        }
        Ok((product.origin, option))
    }

    /// How many of it are left.
    pub(super) fn left(&self, origin: u64, option: Option<u64>) -> u64 {
        let Some(product) = self.get(origin) else {
            return 0;
        };
        match option {
            Some(id) => product.choice(id).map_or(0, |choice| choice.stock),
            None => product.stock,
        }
    }

    pub(super) fn price(&self, origin: u64, option: Option<u64>, now: OffsetDateTime) -> Price {
        let product = self.get(origin);
        Price {
            unit: product.map_or(0, |product| product.price),
            discount: product.map_or(0, |product| product.discount_at(now)),
            option: option
                .and_then(|id| product?.choice(id))
                .map_or(0, |choice| choice.price),
        }
    }

    /// Puts a number of units in or out, as a sale or its cancellation does.
    pub(super) fn shift(
        &mut self,
        (origin, option): (u64, Option<u64>),
        units: i64,
        now: OffsetDateTime,
    ) {
        let moved = |stock: u64| stock.saturating_add_signed(units).min(MAX_STOCK);
        self.change(origin, true, now, |product| match option {
            Some(id) => {
                for choice in product.choices.iter_mut().filter(|choice| choice.id == id) {
                    choice.stock = moved(choice.stock);
                }
            }
            None => product.stock = moved(product.stock),
        });
    }
}

/// The stock of each option, or of the product if it has none.
fn levels(product: &Product) -> BTreeMap<u64, u64> {
    if product.choices.is_empty() {
        return BTreeMap::from([(product.origin, product.stock)]);
    }
    product
        .choices
        .iter()
        .map(|choice| (choice.id, choice.stock))
        .collect()
}

/// What a product has besides what is followed here: enough to see whether a full update kept it.
fn usual_rest(with_options: bool) -> Map<String, Value> {
    let mut detail = json!({
        "afterServiceInfo": {
            "afterServiceTelephoneNumber": "02-0000-0000",
            "afterServiceGuideContent": "-",
        },
        "originAreaInfo": { "originAreaCode": "00" },
        "minorPurchasable": true,
    });
    if with_options {
        detail["optionInfo"] = json!({
            "optionCombinationSortType": "CREATE",
            "optionCombinationGroupNames": { "optionGroupName1": "option" },
        });
    }
    let rest = json!({
        "saleType": "NEW",
        "leafCategoryId": "50000000",
        "detailContent": "<p>-</p>",
        "images": { "representativeImage": { "url": "https://shop-phinf.pstatic.net/1.jpg" } },
        "deliveryInfo": {
            "deliveryType": "DELIVERY",
            "deliveryAttributeType": "NORMAL",
            "deliveryFee": { "deliveryFeeType": "FREE" },
            "claimDeliveryInfo": { "returnDeliveryFee": 3_000, "exchangeDeliveryFee": 6_000 },
        },
        "detailAttribute": detail,
    });
    match rest {
        Value::Object(map) => map,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn number(id: &str) -> Result<u64, Refusal> {
    id.parse()
        .ok()
        .filter(|number| *number <= MAX_ID)
        .ok_or_else(|| Refusal::invalid(format!("{id} is no number, as ids of SmartStore are.")))
}
