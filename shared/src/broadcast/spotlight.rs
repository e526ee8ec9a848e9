//! Spotlight: a product on air, with its price, its fence and its window.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{MAX_UNITS, Request, Studio, fence, price, snapshot::shown_product};
use crate::{
    catalog::{BroadcastStatus, Product, Spotlight},
    clock::{self, Timestamp},
    error::Error,
    id::{BroadcastId, ProductId},
    order::MAX_QUANTITY,
    room::{Event, event::ClosedReason},
    stock::Source,
};

/// The body of `POST /broadcasts/{broadcast_id}/products/spotlight`.
#[derive(Debug, Deserialize)]
pub struct SpotlightBody {
    product_id: ProductId,
    live_price: u64,
    limited_quantity: u64,
    #[serde(default)]
    per_viewer_limit: Option<u32>,
    #[serde(default)]
    ends_at: Option<Timestamp>,
}

/// The body of `PATCH /broadcasts/{broadcast_id}/products/{product_id}`.
#[derive(Debug, Deserialize)]
pub struct SpotlightChange {
    #[serde(default)]
    add_quantity: Option<i64>,
    #[serde(default)]
    live_price: Option<u64>,
    #[serde(default)]
    paused: Option<bool>,
}

impl Studio {
    /// Puts a product on air: carves its units out of the pool, then opens the sale. A product that is on air already gets
    /// the new terms, and so many units in total.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::InsufficientPool`], [`Error::IdempotencyConflict`], or a store
    /// failed; asking again with the same Idempotency-Key is safe.
    pub async fn spotlight(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        body: SpotlightBody,
    ) -> Result<Value, Error> {
        let now = clock::now();
        if !(1..=MAX_UNITS).contains(&body.limited_quantity) {
            return Err(Error::invalid(
                "limited_quantity",
                format!("1..={MAX_UNITS}"),
            ));
        }
        if body
            .per_viewer_limit
            .is_some_and(|limit| !(1..=MAX_QUANTITY).contains(&limit))
        {
            return Err(Error::invalid(
                "per_viewer_limit",
                format!("1..={MAX_QUANTITY}"),
            ));
        }
        if body.ends_at.is_some_and(|end| end <= now) {
            return Err(Error::invalid("ends_at", "a time to come"));
        }
        let live_price = price("live_price", body.live_price)?;
        self.require_live(broadcast).await?;
        let product = self.catalog.product(&body.product_id).await?;
        let earlier = self
            .catalog
            .spotlight(broadcast, &product.product_id)
            .await?;
        let fenced = earlier
            .as_ref()
            .filter(|spotlight| spotlight.open)
            .map_or(0, |spotlight| spotlight.limited_quantity);
        let spotlight = Spotlight {
            product_id: body.product_id,
            live_price,
            limited_quantity: body.limited_quantity,
            per_viewer_limit: body.per_viewer_limit,
            since: now,
            ends_at: body.ends_at,
            paused: false,
            open: true,
        };
        if earlier.is_none() {
            // Known before it has units, so that the end of the broadcast finds them whatever happens here.
            self.catalog
                .put_spotlight(
                    broadcast,
                    &Spotlight {
                        open: false,
                        ..spotlight.clone()
                    },
                )
                .await?;
        }
        self.fence_to(
            request,
            broadcast,
            &product.product_id,
            fenced,
            body.limited_quantity,
            now,
        )
        .await?;
        self.show(broadcast, &product, &spotlight, now).await
    }

    /// Changes a product on air: more or fewer units, another price, paused or not.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`] if it is not on air, [`Error::InsufficientPool`] if there are not so many
    /// units to add or free units to take, or a store failed.
    pub async fn change_spotlight(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        product: &ProductId,
        change: SpotlightChange,
    ) -> Result<Value, Error> {
        let now = clock::now();
        let known = self.on_air(broadcast, product).await?;
        let mut spotlight = known.clone();
        if let Some(live_price) = change.live_price {
            spotlight.live_price = price("live_price", live_price)?;
        }
        if let Some(paused) = change.paused {
            spotlight.paused = paused;
        }
        if let Some(add) = change.add_quantity {
            let quantity = known
                .limited_quantity
                .checked_add_signed(add)
                .filter(|units| *units <= MAX_UNITS);
            spotlight.limited_quantity = quantity.ok_or_else(|| {
                Error::invalid("add_quantity", format!("0..={MAX_UNITS} in total"))
            })?;
            self.fence_to(
                request,
                broadcast,
                product,
                known.limited_quantity,
                spotlight.limited_quantity,
                now,
            )
            .await?;
        }
        let details = self.catalog.product(product).await?;
        self.show(broadcast, &details, &spotlight, now).await
    }

    /// Takes a product off air; what is left goes back to the pool.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it never was on air, or a store failed; asking again is safe.
    pub async fn close_spotlight(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        product: &ProductId,
    ) -> Result<Value, Error> {
        let spotlight = self
            .catalog
            .spotlight(broadcast, product)
            .await?
            .ok_or(Error::NotFound("product in this broadcast"))?;
        let returned = self.close(request, broadcast, &spotlight).await?;
        Ok(json!({ "status": "closed", "returned": returned }))
    }

    /// Closes the sale, then empties the fence. In this order, so that nothing is ordered from units that are leaving.
    pub(super) async fn close(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<u64, Error> {
        let now = clock::now();
        let (product, source) = (&spotlight.product_id, Source::Live(broadcast.clone()));
        let closed = Spotlight {
            open: false,
            ..spotlight.clone()
        };
        self.catalog.put_spotlight(broadcast, &closed).await?;
        self.fence
            .gate
            .set_terms(&source, product, &closed.terms())
            .await?;
        // Each closing is a request of its own: the same key may close every product of a broadcast.
        let mut cause = request.cause(format!("off air in {broadcast}"));
        cause.id = crate::id::digest(&["close", &request.id, product.as_str()], 16);
        let returned = self
            .fence
            .give_back(broadcast, product, (0, fence::ALL), &cause, now)
            .await?;
        self.rooms.show_product(broadcast, product, None).await?;
        if spotlight.open {
            let event = Event::ProductClosed {
                product_id: product.clone(),
                reason: ClosedReason::Ended,
            };
            self.rooms.append(broadcast, &[(None, event)], now).await?;
        }
        Ok(returned)
    }

    /// Brings the fence from `from` units to `to`.
    async fn fence_to(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        product: &ProductId,
        from: u64,
        to: u64,
        now: Timestamp,
    ) -> Result<(), Error> {
        let cause = request.cause(format!("on air in {broadcast}"));
        if to > from {
            self.fence
                .carve(broadcast, product, to - from, &cause, now)
                .await
        } else if to < from {
            let units = from - to;
            self.fence
                .give_back(broadcast, product, (units, units), &cause, now)
                .await
                .map(drop)
        } else {
            self.fence
                .follow(&Source::Live(broadcast.clone()), product, now)
                .await
                .map(drop)
        }
    }

    /// Opens the sale at its terms and tells the viewers.
    async fn show(
        &self,
        broadcast: &BroadcastId,
        product: &Product,
        spotlight: &Spotlight,
        now: Timestamp,
    ) -> Result<Value, Error> {
        let source = Source::Live(broadcast.clone());
        self.catalog.put_spotlight(broadcast, spotlight).await?;
        self.fence
            .gate
            .set_terms(&source, &product.product_id, &spotlight.terms())
            .await?;
        let stock = self
            .fence
            .gate
            .stock(&product.product_id, &[&source])
            .await?;
        let remaining = stock
            .first()
            .copied()
            .flatten()
            .map_or(0, |stock| stock.left);
        let mut shown = shown_product(product, spotlight);
        self.rooms
            .show_product(broadcast, &product.product_id, Some(&shown))
            .await?;
        let event = if spotlight.paused {
            Event::ProductClosed {
                product_id: product.product_id.clone(),
                reason: ClosedReason::Paused,
            }
        } else {
            shown["remaining"] = json!(remaining);
            Event::ProductSpotlight { product: shown }
        };
        self.rooms.append(broadcast, &[(None, event)], now).await?;
        Ok(json!({
            "status": if spotlight.paused { "paused" } else { "spotlighted" },
            "product_id": product.product_id,
            "live_price": spotlight.live_price,
            "limited_quantity": spotlight.limited_quantity,
            "remaining": remaining,
        }))
    }

    async fn on_air(
        &self,
        broadcast: &BroadcastId,
        product: &ProductId,
    ) -> Result<Spotlight, Error> {
        self.require_live(broadcast).await?;
        self.catalog
            .spotlight(broadcast, product)
            .await?
            .filter(|spotlight| spotlight.open)
            .ok_or_else(|| Error::NotOnAir(product.clone()))
    }

    async fn require_live(&self, broadcast: &BroadcastId) -> Result<(), Error> {
        if self.catalog.broadcast(broadcast).await?.status == BroadcastStatus::Live {
            Ok(())
        } else {
            Err(Error::invalid(
                "broadcast_id",
                "a broadcast on air: start it first",
            ))
        }
    }
}
