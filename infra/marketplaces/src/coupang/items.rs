//! The seller's options, each a vendor item with its own price and stock.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::{
    answer::Refusal,
    market::{MAX_HELD, NewItem, NewLine, NewOption, StockChange},
};

/// Not documented.
pub(super) const MAX_STOCK: u64 = 99_999;
/// Neither is this; it keeps sums far away from overflow.
const MAX_PRICE: u64 = 1_000_000_000;

/// Ids are int64.
const MAX_ID: u64 = i64::MAX.unsigned_abs() / 2;

const FIRST_PRODUCT: u64 = 100_001;
const FIRST_VENDOR_ITEM: u64 = 3_000_000_001;

/// What a buyer can put in the basket.
#[derive(Clone, Debug)]
pub(super) struct VendorItem {
    pub(super) id: u64,
    pub(super) product: u64,
    pub(super) product_name: String,
    pub(super) name: String,
    pub(super) price: u64,
    /// For the display of a discount.
    pub(super) original_price: u64,
    pub(super) stock: u64,
    pub(super) on_sale: bool,
    pub(super) seller_code: Option<String>,
}

/// Why a write was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PriceError {
    /// Not a multiple of ten won.
    Unit,
    /// Less than half or more than double, without being forced.
    Guard,
}

/// All vendor items.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    items: BTreeMap<u64, VendorItem>,
    changes: Vec<StockChange>,
    highest_product: u64,
    highest_item: u64,
}

impl Shelf {
    pub(super) fn get(&self, id: u64) -> Option<&VendorItem> {
        self.items.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut VendorItem> {
        self.items.get_mut(&id)
    }

    pub(super) fn take_changes(&mut self) -> Vec<StockChange> {
        std::mem::take(&mut self.changes)
    }

    /// Sets the stock, and notes it.
    pub(super) fn set_stock(&mut self, id: u64, to: u64) {
        if let Some(item) = self.items.get_mut(&id)
            && item.stock != to
        {
            let from = std::mem::replace(&mut item.stock, to);
            let item = id.to_string();
            self.changes.push(StockChange { item, from, to });
        }
    }

    /// Puts units in or out, as a sale or its cancellation does.
    pub(super) fn shift(&mut self, id: u64, units: i64) {
        if let Some(item) = self.items.get(&id) {
            let to = item.stock.saturating_add_signed(units);
            self.set_stock(id, to);
        }
    }

    pub(super) fn set_price(&mut self, id: u64, to: u64, forced: bool) -> Result<(), PriceError> {
        let Some(item) = self.items.get_mut(&id) else {
            return Ok(());
        };
        if !(10..=MAX_PRICE).contains(&to) || !to.is_multiple_of(10) {
            return Err(PriceError::Unit);
        }
        let is_near = to.saturating_mul(2) >= item.price && to <= item.price.saturating_mul(2);
        if !forced && !is_near {
            return Err(PriceError::Guard);
        }
        item.price = to;
        Ok(())
    }

    pub(super) fn list(&mut self, item: NewItem) -> Result<Value, Refusal> {
        let product = match &item.product_id {
            Some(id) => number(id)?,
            None => FIRST_PRODUCT.max(self.highest_product + 1),
        };
        // Even a product without options is one vendor item.
        let options = if item.options.is_empty() {
            let stock = item
                .stock
                .ok_or_else(|| Refusal::invalid("A product without options needs a stock."))?;
            vec![NewOption {
                option_id: item.option_id.clone(),
                name: item.name.clone(),
                extra_price: 0,
                stock,
                seller_code: item.seller_code.clone(),
            }]
        } else {
            item.options
        };
        if self.items.len() + options.len() > MAX_HELD {
            return Err(Refusal::impossible("There are too many items."));
        }
        let mut made = Vec::new();
        for (place, option) in options.into_iter().enumerate() {
            let price = item.price.saturating_add_signed(option.extra_price);
            if option.stock > MAX_STOCK
                || !(10..=MAX_PRICE).contains(&price)
                || !price.is_multiple_of(10)
            {
                return Err(Refusal::invalid(
                    "stock is at most 99999, and price a multiple of 10.",
                ));
            }
            let id = match &option.option_id {
                Some(id) => number(id)?,
                None => FIRST_VENDOR_ITEM.max(self.highest_item + 1) + place as u64,
            };
            if self.items.contains_key(&id) {
                return Err(Refusal::impossible("There is such an option already."));
            }
            made.push(VendorItem {
                id,
                product,
                product_name: item.name.clone(),
                name: option.name,
                price,
                original_price: price,
                stock: option.stock,
                on_sale: true,
                seller_code: option.seller_code,
            });
        }
        self.highest_product = self.highest_product.max(product);
        for item in made {
            self.highest_item = self.highest_item.max(item.id);
            self.items.insert(item.id, item);
        }
        Ok(self.show_product(product))
    }

    /// Finds what a buyer wants, if it can be bought.
    pub(super) fn wanted(&self, line: &NewLine) -> Result<u64, Refusal> {
        let item = match (&line.option_id, &line.product_id) {
            (Some(id), _) => self
                .get(number(id)?)
                .ok_or_else(|| Refusal::not_found("option", id))?,
            (None, Some(id)) => {
                let product = number(id)?;
                let mut options = self.items.values().filter(|item| item.product == product);
                let first = options
                    .next()
                    .ok_or_else(|| Refusal::not_found("product", id))?;
                if options.next().is_some() {
                    return Err(Refusal::invalid("The product has options: choose one."));
                }
                first
            }
            (None, None) => return Err(Refusal::invalid("productId or optionId is needed.")),
        };
        if !item.on_sale {
            return Err(Refusal::impossible("The option is not on sale."));
        }
        Ok(item.id)
    }

    pub(super) fn show(&self) -> Vec<Value> {
        let mut products: Vec<u64> = self.items.values().map(|item| item.product).collect();
        products.sort_unstable();
        products.dedup();
        products
            .into_iter()
            .map(|product| self.show_product(product))
            .collect()
    }

    fn show_product(&self, product: u64) -> Value {
        let options: Vec<_> = self
            .items
            .values()
            .filter(|item| item.product == product)
            .collect();
        let first = options.first();
        json!({
            "productId": product.to_string(),
            "name": first.map(|item| &item.product_name),
            "price": first.map(|item| item.price),
            "stock": options.iter().map(|item| item.stock).sum::<u64>(),
            "options": options
                .iter()
                .map(|item| json!({
                    "optionId": item.id.to_string(),
                    "name": item.name,
                    "price": item.price,
                    "originalPrice": item.original_price,
                    "stock": item.stock,
                    "onSale": item.on_sale,
                    "sellerCode": item.seller_code,
                }))
                .collect::<Vec<_>>(),
        })
    }
}

fn number(id: &str) -> Result<u64, Refusal> {
    id.parse()
        .ok()
        .filter(|number| *number <= MAX_ID)
        .ok_or_else(|| Refusal::invalid(format!("{id} is no number, as ids of Coupang are.")))
}
