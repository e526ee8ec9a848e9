//! Items: units with the version of who wrote them last, and prices.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    answer::Refusal,
    market::{MAX_HELD, NewLine, StockChange},
    ownstore::shop::Problem,
};

const MOST_UNITS: u64 = 99_999_999;
const MOST_WON: u64 = 999_999_990;

#[derive(Clone, Debug)]
struct Item {
    name: String,
    units: u64,
    /// Of the last write; a sale does not change it.
    version: u64,
    /// What was written with that version.
    written: u64,
    price: u64,
    list_price: u64,
    on_sale: bool,
}

/// The body of `POST /sandbox/actions/shop-item`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewShopItem {
    item_id: String,
    name: String,
    units: u64,
    price: u64,
    /// The price, when it is not given.
    list_price: Option<u64>,
}

/// The body of `POST /sandbox/actions/shop-office`: somebody at the shop changes an item by hand.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct OfficeChange {
    item_id: String,
    units: Option<u64>,
    price: Option<u64>,
    list_price: Option<u64>,
    on_sale: Option<bool>,
}

/// `PUT /onepool/items/{item_id}/stock`.
#[derive(Debug, Deserialize)]
pub(crate) struct StockBody {
    units: u64,
    version: u64,
}

/// `PUT /onepool/items/{item_id}/price`.
#[derive(Debug, Deserialize)]
pub(crate) struct PriceBody {
    price: u64,
    list_price: Option<u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Stock {
    items: BTreeMap<String, Item>,
    changes: Vec<StockChange>,
}

impl Stock {
    pub(crate) fn take_changes(&mut self) -> Vec<StockChange> {
        std::mem::take(&mut self.changes)
    }

    pub(crate) fn has(&self, id: &str) -> bool {
        self.items.contains_key(id)
    }

    pub(crate) fn add(&mut self, item: NewShopItem) -> Result<Value, Refusal> {
        if self.items.len() >= MAX_HELD {
            return Err(Refusal::impossible("There are too many items."));
        }
        if self.has(&item.item_id) {
            return Err(Refusal::impossible(format!(
                "Item {} is there.",
                item.item_id
            )));
        }
        let new = Item {
            name: item.name,
            units: item.units,
            version: 0,
            written: item.units,
            price: item.price,
            list_price: item.list_price.unwrap_or(item.price),
            on_sale: true,
        };
        let shown = shown(&item.item_id, &new);
        self.items.insert(item.item_id, new);
        Ok(shown)
    }

    pub(crate) fn office(&mut self, change: &OfficeChange) -> Result<Value, Refusal> {
        let item = self
            .items
            .get_mut(&change.item_id)
            .ok_or_else(|| Refusal::not_found("item", &change.item_id))?;
        item.units = change.units.unwrap_or(item.units);
        item.price = change.price.unwrap_or(item.price);
        item.list_price = change.list_price.unwrap_or(item.list_price);
        item.on_sale = change.on_sale.unwrap_or(item.on_sale);
        Ok(shown(&change.item_id, item))
    }

    pub(crate) fn show(&self) -> Vec<Value> {
        self.items
            .iter()
            .map(|(id, item)| shown(id, item))
            .collect()
    }

    /// Takes the units of all lines, or of none, and answers each line's price.
    pub(crate) fn sell(&mut self, lines: &[NewLine]) -> Result<Vec<u64>, Refusal> {
        let mut wanted: BTreeMap<&str, u64> = BTreeMap::new();
        let mut prices = Vec::new();
        for line in lines {
            let id = line.product_id.as_deref().unwrap_or_default();
            let item = self.items.get(id);
            let item = item.ok_or_else(|| Refusal::not_found("item", id))?;
            if line.option_id.is_some() {
                return Err(Refusal::invalid("Items of this shop have no options."));
            }
            let units = wanted.entry(id).or_default();
            *units += line.quantity;
            if !item.on_sale || item.units < *units {
                return Err(Refusal::impossible(format!(
                    "{} of {id} are left.",
                    item.units
                )));
            }
            prices.push(item.price);
        }
        for (id, units) in wanted {
            self.set(id, |left| left.saturating_sub(units));
        }
        Ok(prices)
    }

    pub(crate) fn give_back(&mut self, id: &str, units: u64) {
        self.set(id, |left| left + units);
    }

    pub(crate) fn read(&self, id: &str) -> Result<Value, Problem> {
        let item = self.items.get(id);
        item.map(fields)
            .ok_or_else(|| Problem::not_found("item", id))
    }

    /// A newer version is written, the known one may be repeated, an older one is refused.
    pub(crate) fn write(&mut self, id: &str, body: &StockBody) -> Result<Value, Problem> {
        if body.units > MOST_UNITS {
            return Err(Problem::unfit(format!("units is at most {MOST_UNITS}.")));
        }
        let item = self
            .items
            .get_mut(id)
            .ok_or_else(|| Problem::not_found("item", id))?;
        if body.version < item.version
            || (body.version == item.version && body.units != item.written)
        {
            return Err(Problem::stale(item.version));
        }
        if body.version > item.version {
            item.version = body.version;
            item.written = body.units;
            self.set(id, |_| body.units);
        }
        self.read(id)
    }

    pub(crate) fn write_price(&mut self, id: &str, body: &PriceBody) -> Result<Value, Problem> {
        let item = self
            .items
            .get_mut(id)
            .ok_or_else(|| Problem::not_found("item", id))?;
        let list_price = body.list_price.unwrap_or(item.list_price);
        if [body.price, list_price]
            .iter()
            .any(|won| !(1..=MOST_WON).contains(won))
        {
            return Err(Problem::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "unfit",
                format!("price is 1 to {MOST_WON}."),
            ));
        }
        item.price = body.price;
        item.list_price = list_price;
        self.read(id)
    }

    fn set(&mut self, id: &str, to: impl FnOnce(u64) -> u64) {
        let Some(item) = self.items.get_mut(id) else {
            return;
        };
        let from = item.units;
        item.units = to(from);
        let change = StockChange {
            item: id.to_owned(),
            from,
            to: item.units,
        };
        self.changes.push(change);
    }
}

fn fields(item: &Item) -> Value {
    json!({
        "units": item.units,
        "price": item.price,
        "list_price": item.list_price,
        "version": item.version,
        "on_sale": item.on_sale,
    })
}

fn shown(id: &str, item: &Item) -> Value {
    json!({
        "shop": "plain",
        "productId": id,
        "name": item.name,
        "price": item.price,
        "listPrice": item.list_price,
        "stock": item.units,
        "version": item.version,
        "onSale": item.on_sale,
    })
}
