//! The room as a newcomer sees it, whether or not Redis remembers it.

use serde_json::{Value, json};

use crate::{
    catalog::{Broadcast, Catalog, Product, Spotlight},
    error::Error,
    id::BroadcastId,
    room::{Rooms, Snapshot},
};

/// A broadcast as viewers read it.
#[must_use]
pub fn shown_broadcast(broadcast: &Broadcast) -> Value {
    json!(broadcast)
}

/// A product on air as viewers read it. What remains of it is not part of that: it is read from the gate with each snapshot.
#[must_use]
pub fn shown_product(product: &Product, spotlight: &Spotlight) -> Value {
    let mut shown = json!({
        "id": product.product_id,
        "name": product.name,
        "original_price": product.list_price,
        "live_price": spotlight.live_price,
        "limited_quantity": spotlight.limited_quantity,
        "image": product.thumbnail_url,
        "ends_at": spotlight.ends_at,
    });
    if spotlight.paused {
        shown["paused"] = json!(true);
    }
    shown
}

/// The room at this moment. A room that Redis has never heard of, or has forgotten, is written from the catalogue first.
///
/// # Errors
/// [`Error::NotFound`] if there is no such broadcast, or a store failed.
pub async fn snapshot(
    rooms: &Rooms,
    catalog: &Catalog,
    broadcast: &BroadcastId,
) -> Result<Snapshot, Error> {
    if let Some(snapshot) = rooms.snapshot(broadcast).await? {
        return Ok(snapshot);
    }
    let known = catalog.broadcast(broadcast).await?;
    for spotlight in catalog
        .spotlights(broadcast)
        .await?
        .iter()
        .filter(|spotlight| spotlight.open)
    {
        let product = catalog.product(&spotlight.product_id).await?;
        rooms
            .show_product(
                broadcast,
                &product.product_id,
                Some(&shown_product(&product, spotlight)),
            )
            .await?;
    }
    rooms
        .show_broadcast(broadcast, &shown_broadcast(&known))
        .await?;
    rooms
        .snapshot(broadcast)
        .await?
        .ok_or(Error::NotFound("broadcast"))
}
