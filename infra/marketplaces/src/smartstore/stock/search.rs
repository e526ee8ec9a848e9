//! The list of products.

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{Refused, body};
use crate::{
    call::Call,
    smartstore::products::{Catalogue, Product, Status},
};

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
