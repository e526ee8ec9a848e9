//! A demo shop, made through the public API: one product, its stock, and a broadcast that sells it.

use reqwest::Method;
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::live::Live;
use crate::say;
use crate::shop::Shop;

/// The product's id.
pub const PRODUCT: &str = "jeju-tangerine-5kg";
const NAME: &str = "제주 노지 감귤 5kg";
/// Units in the shop.
const STOCK: i64 = 120;
/// Units that the broadcast sells.
pub const ON_SALE: i64 = 100;

/// Units that no channel shows.
const BUFFER: i64 = 2;

const LIST_PRICE: i64 = 29_900;
const LIVE_PRICE: i64 = 19_900;
const PER_VIEWER: i64 = 2;

/// A broadcast on air with the product in the spotlight.
#[derive(Clone, Debug)]
pub struct OnAir {
    /// The broadcast.
    pub broadcast_id: String,
    /// What it sells.
    pub product_id: String,
    /// How many units of it.
    pub units: i64,
}

/// The two people who run the shop.
pub struct Staff {
    /// Runs the catalogue and the stock.
    pub operator: Shop,
    /// Runs broadcasts.
    pub broadcaster: Shop,
}

impl Staff {
    /// With the tokens of this run.
    pub fn of(live: &Live) -> Self {
        let http = reqwest::Client::new();
        let base = &live.addresses.http;
        let tokens = &live.addresses.tokens;
        Self {
            operator: Shop::new(&http, base, tokens.operator.clone()),
            broadcaster: Shop::new(&http, base, tokens.broadcaster.clone()),
        }
    }
}

/// The product with its stock, and a broadcast on air.
pub async fn demo_shop(live: &Live) -> Result<OnAir> {
    let staff = Staff::of(live);
    let product = json!({ "name": NAME, "list_price": LIST_PRICE });
    staff
        .operator
        .must(Method::PUT, &format!("/products/{PRODUCT}"), &product)
        .await?;
    list(live, &staff).await?;
    let on_air = next_broadcast(&staff, ON_SALE).await?;
    say::note(
        &format!("데모 상점: 감귤 {STOCK}개 중 {ON_SALE}개를 라이브 {LIVE_PRICE}원에"),
        &format!(
            "demo shop: {ON_SALE} of {STOCK} units on air, broadcast {}",
            on_air.broadcast_id
        ),
    );
    Ok(on_air)
}

/// Every marketplace of ours sells the product too, from the same stock.
async fn list(live: &Live, staff: &Staff) -> Result<()> {
    for (name, channel) in &live.channels {
        let Some(mut listing) = channel.put_up(name, NAME, LIST_PRICE).await? else {
            continue;
        };
        listing["distribution"] = json!({ "mode": "shared", "buffer": { "units": BUFFER } });
        listing["price"] = json!(LIST_PRICE);
        listing["price_policy"] = json!("lowest");
        let path = format!("/products/{PRODUCT}/listings/{name}");
        staff.operator.must(Method::PUT, &path, &listing).await?;
    }
    Ok(())
}

/// Fills the stock up again, and puts `units` of it on air in a fresh broadcast.
pub async fn next_broadcast(staff: &Staff, units: i64) -> Result<OnAir> {
    let product = staff
        .operator
        .must_get(&format!("/products/{PRODUCT}"))
        .await?;
    let available = product["stock"]["available"].as_i64().unwrap_or(0);
    if available < STOCK {
        let arrival = json!({ "delta": STOCK - available, "reason": "입고" });
        staff
            .operator
            .must(
                Method::POST,
                &format!("/products/{PRODUCT}/stock"),
                &arrival,
            )
            .await?;
    }
    let broadcast = staff
        .broadcaster
        .must(
            Method::POST,
            "/broadcasts",
            &json!({ "title": "감귤 라이브" }),
        )
        .await?;
    let broadcast_id = text(&broadcast, "broadcast_id")?;
    staff
        .broadcaster
        .must(
            Method::POST,
            &format!("/broadcasts/{broadcast_id}/start"),
            &json!({}),
        )
        .await?;
    let spotlight = json!({
        "product_id": PRODUCT,
        "live_price": LIVE_PRICE,
        "limited_quantity": units,
        "per_viewer_limit": PER_VIEWER,
    });
    staff
        .broadcaster
        .must(
            Method::POST,
            &format!("/broadcasts/{broadcast_id}/products/spotlight"),
            &spotlight,
        )
        .await?;
    Ok(OnAir {
        broadcast_id,
        product_id: PRODUCT.to_owned(),
        units,
    })
}

/// Ends a broadcast; what is left of it returns to the pool.
pub async fn end_broadcast(staff: &Staff, on_air: &OnAir) -> Result<Value> {
    staff
        .broadcaster
        .must(
            Method::POST,
            &format!("/broadcasts/{}/end", on_air.broadcast_id),
            &json!({}),
        )
        .await
}

fn text(value: &Value, field: &str) -> Result<String> {
    value[field]
        .as_str()
        .map(str::to_owned)
        .ok_or_else(|| Error::new(format!("an answer without {field}: {value}")))
}
