//! The room as a newcomer sees it, whether or not Redis remembers it.

use serde_json::{Value, json};

use super::fence::Fence;
use crate::{
    auth::UserId,
    catalog::{Broadcast, Catalog, Product, Spotlight},
    clock,
    error::Error,
    id::BroadcastId,
    room::{Rooms, Snapshot},
    stock::Source,
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

/// The room at this moment. A room that Redis has never heard of, or has forgotten, is written from the catalogue first; and
/// where the gate does not know what is on air, it follows the ledger first. What the host has decided about the chat is read
/// last: it is never older than the sequence number of the snapshot.
///
/// Messages that were deleted are not in it. Those of people who were banned are: a ban is about what comes.
///
/// `viewer` is who asks, if that is a viewer.
///
/// # Errors
/// [`Error::NotFound`] if there is no such broadcast, [`Error::Refused`] if the viewer is banned, or a store failed.
pub async fn snapshot(
    rooms: &Rooms,
    catalog: &Catalog,
    fence: &Fence,
    broadcast: &BroadcastId,
    viewer: Option<&UserId>,
) -> Result<Snapshot, Error> {
    let mut snapshot = match rooms.snapshot(broadcast).await? {
        Some(snapshot) if whole(&snapshot) => snapshot,
        // Seldom, and deep: without the box, the future of every join would have room for it.
        Some(_) | None => Box::pin(rebuilt(rooms, catalog, fence, broadcast)).await?,
    };
    let moderation = rooms.shown_moderation(catalog, broadcast, viewer);
    for (member, value) in moderation.await? {
        snapshot.body[member] = value;
    }
    Ok(snapshot)
}

/// The room, after Redis has been told what it must know of it.
async fn rebuilt(
    rooms: &Rooms,
    catalog: &Catalog,
    fence: &Fence,
    broadcast: &BroadcastId,
) -> Result<Snapshot, Error> {
    let known = catalog.broadcast(broadcast).await?;
    let source = Source::Live(broadcast.clone());
    for spotlight in catalog
        .spotlights(broadcast)
        .await?
        .iter()
        .filter(|spotlight| spotlight.open)
    {
        let product = catalog.product(&spotlight.product_id).await?;
        let newest = fence
            .gate
            .air(
                &source,
                &product.product_id,
                &spotlight.terms(),
                spotlight.version,
            )
            .await?;
        fence
            .follow(&source, &product.product_id, clock::now())
            .await?;
        if newest {
            rooms
                .show_product(
                    broadcast,
                    &product.product_id,
                    Some(&shown_product(&product, spotlight)),
                )
                .await?;
        }
    }
    rooms
        .show_broadcast(broadcast, &shown_broadcast(&known))
        .await?;
    rooms
        .snapshot(broadcast)
        .await?
        .ok_or(Error::NotFound("broadcast"))
}

/// Whether every product says what remains of it.
fn whole(snapshot: &Snapshot) -> bool {
    snapshot.body["products"]
        .as_array()
        .is_none_or(|products| products.iter().all(|product| product["remaining"].is_u64()))
}
