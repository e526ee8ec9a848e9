//! Products with their variants, prices and inventories. A product without options has one variant.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::Refusal,
    market::{MAX_HELD, NewItem, NewLine, NewOption, StockChange},
    ownstore::cafe24::reply::{No, amount, flag, won},
};

/// When an order takes its units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Takes {
    #[serde(rename = "A")]
    AtOrder,
    #[serde(rename = "B")]
    AtPayment,
}

#[derive(Clone, Debug)]
struct Variant {
    code: String,
    custom_code: String,
    option: Option<String>,
    extra: i64,
    /// Below zero when it is sold on though nothing is left.
    units: i64,
    /// False: the number means nothing, and any number is sold.
    use_inventory: bool,
    /// False: it is sold on below zero.
    display_soldout: bool,
    important: &'static str,
    takes: Takes,
    safety: i64,
    selling: bool,
}

#[derive(Clone, Debug)]
struct Product {
    code: String,
    custom_code: String,
    name: String,
    price: u64,
    retail_price: u64,
    selling: bool,
    variants: Vec<Variant>,
}

/// What an order item keeps of what it bought.
#[derive(Clone, Debug)]
pub(crate) struct Bought {
    pub(crate) product_no: String,
    pub(crate) product_code: String,
    pub(crate) custom_product_code: String,
    pub(crate) product_name: String,
    pub(crate) variant_code: String,
    pub(crate) custom_variant_code: String,
    pub(crate) option: Option<String>,
    pub(crate) price: u64,
    pub(crate) extra: i64,
    pub(crate) takes: Takes,
}

#[derive(Debug, Default)]
pub(crate) struct Goods {
    /// By number, so that lists come in its order.
    products: BTreeMap<u64, Product>,
    numbers: u64,
    variants: u64,
    changes: Vec<StockChange>,
}

/// What `PUT .../inventories` may change; anything else is ignored.
#[derive(Debug, Deserialize)]
struct InventoryBody {
    quantity: Option<Value>,
    use_inventory: Option<Flag>,
    display_soldout: Option<Flag>,
    important_inventory: Option<Importance>,
    inventory_control_type: Option<Takes>,
    safety_inventory: Option<Value>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Flag {
    T,
    F,
}

impl Flag {
    fn is(self) -> bool {
        match self {
            Self::T => true,
            Self::F => false,
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
enum Importance {
    A,
    B,
}

impl Importance {
    fn word(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
        }
    }
}

#[derive(Debug, Deserialize)]
struct ProductBody {
    price: Option<Value>,
    retail_price: Option<Value>,
    selling: Option<Flag>,
}

/// The body of `POST /sandbox/actions/cafe24-price`, which stands for the seller's own office.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OfficePrice {
    pub(crate) product_id: String,
    pub(crate) price: Option<u64>,
    pub(crate) retail_price: Option<u64>,
}

impl Goods {
    pub(crate) fn take_changes(&mut self) -> Vec<StockChange> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn has(&self, product_no: &str) -> bool {
        self.product(product_no).is_ok()
    }

    /// Whose variant it is, if it is one of these.
    pub(crate) fn owner(&self, variant_code: &str) -> Option<String> {
        self.products
            .iter()
            .find(|(_, product)| product.variants.iter().any(|v| v.code == variant_code))
            .map(|(no, _)| no.to_string())
    }

    pub(crate) fn add(&mut self, item: NewItem) -> Result<Value, Refusal> {
        if self.products.len() >= MAX_HELD {
            return Err(Refusal::impossible("There are too many products."));
        }
        if item.stock.is_some() && !item.options.is_empty() {
            return Err(Refusal::invalid("With options, each option has its stock."));
        }
        let no = match &item.product_id {
            Some(no) => no
                .parse()
                .map_err(|_| Refusal::invalid("productId is a number, as product_no is."))?,
            None => self.numbers + 1,
        };
        if self.products.contains_key(&no) {
            return Err(Refusal::impossible(format!("Product {no} is there.")));
        }
        let options = if item.options.is_empty() {
            vec![NewOption {
                option_id: item.option_id.clone(),
                name: String::new(),
                extra_price: 0,
                stock: item.stock.unwrap_or_default(),
                seller_code: item.seller_code.clone(),
            }]
        } else {
            item.options.clone()
        };
        let variants: Vec<_> = options
            .into_iter()
            .map(|option| self.variant(option))
            .collect();
        for variant in &variants {
            let twins = variants
                .iter()
                .filter(|other| other.code == variant.code)
                .count();
            if twins > 1 || self.owner(&variant.code).is_some() {
                let why = format!("Variant {} is there.", variant.code);
                return Err(Refusal::impossible(why));
            }
        }
        self.numbers = self.numbers.max(no);
        let product = Product {
            code: format!("P{no:07}"),
            custom_code: item.seller_code.unwrap_or_default(),
            name: item.name,
            price: item.price,
            retail_price: item.price,
            selling: true,
            variants,
        };
        let shown = shown(no, &product);
        self.products.insert(no, product);
        Ok(shown)
    }

    fn variant(&mut self, option: NewOption) -> Variant {
        self.variants += 1;
        let code = format!("P{:07}000{}", self.variants, letter(self.variants));
        Variant {
            code: option.option_id.unwrap_or(code),
            custom_code: option.seller_code.unwrap_or_default(),
            option: Some(option.name).filter(|name| !name.is_empty()),
            extra: option.extra_price,
            units: i64::try_from(option.stock).unwrap_or(i64::MAX),
            use_inventory: true,
            display_soldout: true,
            important: "A",
            takes: Takes::AtPayment,
            safety: 0,
            selling: true,
        }
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        self.products
            .iter()
            .map(|(no, product)| shown(*no, product))
            .collect()
    }

    /// What all lines buy, if all of it is for sale. Nothing is taken yet.
    pub(crate) fn pick(&self, lines: &[NewLine]) -> Result<Vec<Bought>, Refusal> {
        let mut wanted: BTreeMap<String, i64> = BTreeMap::new();
        let mut picked = Vec::new();
        for line in lines {
            let (no, product, variant) = self.find(line)?;
            if !product.selling || !variant.selling {
                return Err(Refusal::impossible(format!(
                    "{} is not sold.",
                    variant.code
                )));
            }
            let units = wanted.entry(variant.code.clone()).or_default();
            *units += i64::try_from(line.quantity).unwrap_or(i64::MAX);
            let ends_at_zero = variant.use_inventory && variant.display_soldout;
            if ends_at_zero && variant.units < *units {
                let why = format!("{} units of {} are left.", variant.units, variant.code);
                return Err(Refusal::impossible(why));
            }
            picked.push(Bought {
                product_no: no.to_string(),
                product_code: product.code.clone(),
                custom_product_code: product.custom_code.clone(),
                product_name: product.name.clone(),
                variant_code: variant.code.clone(),
                custom_variant_code: variant.custom_code.clone(),
                option: variant.option.clone(),
                price: product.price,
                extra: variant.extra,
                takes: variant.takes,
            });
        }
        Ok(picked)
    }

    /// Takes units, or gives them back when they are negative. Without inventory the number stays.
    pub(crate) fn move_units(&mut self, bought: &Bought, taken: i64) {
        let Ok((_, variant)) = self.variant_mut(&bought.product_no, &bought.variant_code) else {
            return;
        };
        if !variant.use_inventory {
            return;
        }
        let from = variant.units;
        variant.units -= taken;
        let change = change(&variant.code, from, variant.units);
        self.changes.push(change);
    }

    /// `GET /api/v2/admin/products`: the fields that matter here, in the order of their numbers.
    pub(crate) fn list(&self, limit: usize, offset: usize) -> Value {
        let products: Vec<_> = self
            .products
            .iter()
            .skip(offset)
            .take(limit)
            .map(|(no, product)| product_fields(*no, product))
            .collect();
        json!({ "products": products })
    }

    /// `GET /api/v2/admin/products/{product_no}`.
    pub(crate) fn read(&self, product_no: &str, embed: &str) -> Result<Value, No> {
        let (no, product) = self.product(product_no)?;
        let mut fields = product_fields(no, product);
        let embeds = |name: &str| embed.split(',').any(|part| part.trim() == name);
        if embeds("variants") {
            let with_inventory = embeds("inventories");
            fields["variants"] = product
                .variants
                .iter()
                .map(|variant| {
                    let mut fields = variant_fields(variant);
                    if with_inventory {
                        fields["inventories"] = inventory_fields(variant);
                    }
                    fields
                })
                .collect();
        }
        Ok(json!({ "product": fields }))
    }

    /// `PUT /api/v2/admin/products/{product_no}`.
    pub(crate) fn write(&mut self, product_no: &str, request: Value) -> Result<Value, No> {
        let body: ProductBody =
            serde_json::from_value(request).map_err(|error| No::unfit(error.to_string()))?;
        let read = |value: Option<Value>, name: &str| match value {
            None => Ok(None),
            Some(value) => won(&value)
                .map(Some)
                .ok_or_else(|| No::unfit(format!("{name} is not an amount of won."))),
        };
        let price = read(body.price, "price")?;
        let retail_price = read(body.retail_price, "retail_price")?;
        let (no, product) = self.product_mut(product_no)?;
        let selling = body.selling.map(Flag::is);
        let same = price.is_none_or(|price| price == product.price)
            && retail_price.is_none_or(|price| price == product.retail_price)
            && selling.is_none_or(|selling| selling == product.selling);
        if same {
            return Err(No::same());
        }
        product.price = price.unwrap_or(product.price);
        product.retail_price = retail_price.unwrap_or(product.retail_price);
        product.selling = selling.unwrap_or(product.selling);
        Ok(json!({ "product": product_fields(no, product) }))
    }

    /// The seller changes a price at the office, and no 409 is in the way.
    pub(crate) fn set_price(&mut self, change: &OfficePrice) -> Result<Value, Refusal> {
        let (no, product) = self
            .product_mut(&change.product_id)
            .map_err(|_| Refusal::not_found("product", &change.product_id))?;
        product.price = change.price.unwrap_or(product.price);
        product.retail_price = change.retail_price.unwrap_or(product.retail_price);
        Ok(shown(no, product))
    }

    /// `GET /api/v2/admin/products/{product_no}/variants`.
    pub(crate) fn list_variants(&self, product_no: &str) -> Result<Value, No> {
        let (_, product) = self.product(product_no)?;
        let variants: Vec<_> = product.variants.iter().map(variant_fields).collect();
        Ok(json!({ "variants": variants }))
    }

    /// `GET .../variants/{variant_code}/inventories`.
    pub(crate) fn read_inventory(&self, product_no: &str, code: &str) -> Result<Value, No> {
        let (_, product) = self.product(product_no)?;
        let variant = product.variants.iter().find(|variant| variant.code == code);
        let variant = variant.ok_or_else(|| No::not_found("variant"))?;
        Ok(json!({ "inventory": inventory_fields(variant) }))
    }

    /// `PUT .../variants/{variant_code}/inventories`: what the body says, whatever was sold meanwhile.
    pub(crate) fn write_inventory(
        &mut self,
        product_no: &str,
        code: &str,
        request: Value,
    ) -> Result<Value, No> {
        let body: InventoryBody =
            serde_json::from_value(request).map_err(|error| No::unfit(error.to_string()))?;
        let units = whole(body.quantity.as_ref(), "quantity")?;
        let safety = whole(body.safety_inventory.as_ref(), "safety_inventory")?;
        let (_, variant) = self.variant_mut(product_no, code)?;
        let mut after = variant.clone();
        after.units = units.unwrap_or(after.units);
        after.safety = safety.unwrap_or(after.safety);
        after.use_inventory = body.use_inventory.map_or(after.use_inventory, Flag::is);
        after.display_soldout = body.display_soldout.map_or(after.display_soldout, Flag::is);
        after.important = body
            .important_inventory
            .map_or(after.important, Importance::word);
        after.takes = body.inventory_control_type.unwrap_or(after.takes);
        if inventory_fields(&after) == inventory_fields(variant) {
            return Err(No::same());
        }
        let change = change(code, variant.units, after.units);
        *variant = after;
        let shown = json!({ "inventory": inventory_fields(variant) });
        if change.from != change.to {
            self.changes.push(change);
        }
        Ok(shown)
    }

    fn find(&self, line: &NewLine) -> Result<(u64, &Product, &Variant), Refusal> {
        let no = match (&line.product_id, &line.option_id) {
            (Some(no), _) => no.clone(),
            (None, Some(code)) => self
                .owner(code)
                .ok_or_else(|| Refusal::not_found("variant", code))?,
            (None, None) => return Err(Refusal::invalid("A line needs productId or optionId.")),
        };
        let (number, product) = self
            .product(&no)
            .map_err(|_| Refusal::not_found("product", &no))?;
        let variant = match (&line.option_id, product.variants.as_slice()) {
            (Some(code), variants) => variants
                .iter()
                .find(|variant| variant.code == *code)
                .ok_or_else(|| Refusal::not_found("variant", code))?,
            (None, [only]) => only,
            (None, _) => return Err(Refusal::invalid(format!("{no} has options."))),
        };
        Ok((number, product, variant))
    }

    fn product(&self, product_no: &str) -> Result<(u64, &Product), No> {
        let no = product_no.parse().ok();
        no.and_then(|no: u64| Some((no, self.products.get(&no)?)))
            .ok_or_else(|| No::not_found("product"))
    }

    fn product_mut(&mut self, product_no: &str) -> Result<(u64, &mut Product), No> {
        let no = product_no.parse().ok();
        no.and_then(|no: u64| Some((no, self.products.get_mut(&no)?)))
            .ok_or_else(|| No::not_found("product"))
    }

    fn variant_mut(&mut self, product_no: &str, code: &str) -> Result<(u64, &mut Variant), No> {
        let (no, product) = self.product_mut(product_no)?;
        let variant = product.variants.iter_mut().find(|v| v.code == code);
        Ok((no, variant.ok_or_else(|| No::not_found("variant"))?))
    }
}

/// The record counts units that can be bought, so less than none is none.
fn change(code: &str, from: i64, to: i64) -> StockChange {
    let units = |number: i64| u64::try_from(number).unwrap_or(0);
    StockChange {
        item: code.to_owned(),
        from: units(from),
        to: units(to),
    }
}

/// A whole number, also as text.
fn whole(value: Option<&Value>, name: &str) -> Result<Option<i64>, No> {
    let Some(value) = value else { return Ok(None) };
    let number = match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    number
        .filter(|number| (-9_999_999..=9_999_999).contains(number))
        .map(Some)
        .ok_or_else(|| No::unfit(format!("{name} is not a number.")))
}

fn letter(number: u64) -> char {
    let place = u8::try_from(number.saturating_sub(1) % 26).unwrap_or(0);
    char::from(b'A' + place)
}

fn product_fields(no: u64, product: &Product) -> Value {
    json!({
        "shop_no": 1,
        "product_no": no,
        "product_code": product.code,
        "custom_product_code": product.custom_code,
        "product_name": product.name,
        "price": amount(i64::try_from(product.price).unwrap_or(i64::MAX)),
        "retail_price": amount(i64::try_from(product.retail_price).unwrap_or(i64::MAX)),
        "display": "T",
        "selling": flag(product.selling),
        "sold_out": flag(product.variants.iter().all(is_sold_out)),
    })
}

fn is_sold_out(variant: &Variant) -> bool {
    variant.use_inventory && variant.display_soldout && variant.units <= 0
}

fn variant_fields(variant: &Variant) -> Value {
    let options: Vec<_> = variant
        .option
        .iter()
        .map(|value| json!({ "name": "option", "value": value }))
        .collect();
    json!({
        "shop_no": 1,
        "variant_code": variant.code,
        "custom_variant_code": variant.custom_code,
        "options": options,
        "display": "T",
        "selling": flag(variant.selling),
        "additional_amount": amount(variant.extra),
        "use_inventory": flag(variant.use_inventory),
        "important_inventory": variant.important,
        "inventory_control_type": takes_word(variant.takes),
        "display_soldout": flag(variant.display_soldout),
        "quantity": variant.units,
        "safety_inventory": variant.safety,
    })
}

fn inventory_fields(variant: &Variant) -> Value {
    json!({
        "shop_no": 1,
        "variant_code": variant.code,
        "use_inventory": flag(variant.use_inventory),
        "important_inventory": variant.important,
        "inventory_control_type": takes_word(variant.takes),
        "display_soldout": flag(variant.display_soldout),
        "quantity": variant.units,
        "safety_inventory": variant.safety,
    })
}

fn takes_word(takes: Takes) -> &'static str {
    match takes {
        Takes::AtOrder => "A",
        Takes::AtPayment => "B",
    }
}

fn shown(no: u64, product: &Product) -> Value {
    let options: Vec<_> = product
        .variants
        .iter()
        .map(|variant| {
            json!({
                "optionId": variant.code,
                "name": variant.option,
                "extraPrice": variant.extra,
                "stock": variant.units,
                "useInventory": variant.use_inventory,
                "displaySoldout": variant.display_soldout,
                "sellerCode": variant.custom_code,
            })
        })
        .collect();
    json!({
        "shop": "cafe24",
        "productId": no.to_string(),
        "name": product.name,
        "price": product.price,
        "retailPrice": product.retail_price,
        "sellerCode": product.custom_code,
        "options": options,
    })
}
