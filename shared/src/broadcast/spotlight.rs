//! Spotlight: a product on air, with its price, its fence and its window.

use serde::Deserialize;
use serde_json::{Value, json};

use tokio::time::Instant;

use super::{
    MAX_TRIES, MAX_UNITS, Request, Studio, fence, price,
    shrink::{Behind, warned},
    snapshot::shown_product,
};
use crate::{
    catalog::{BroadcastStatus, Product, Spotlight},
    clock::{self, Timestamp},
    error::Error,
    id::{self, BroadcastId, ProductId},
    ledger::Moved,
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
    /// Puts a product on air: carves its units out of the pool, waits a little until the channels show that they are gone, then
    /// opens the sale. A product that is on air already gets the new terms, and so many units in total. The answer has a `warning`
    /// if a channel may still sell units of the fence.
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
            return Err(Error::invalid("ends_at", format!("> {now}")));
        }
        let live_price = price("live_price", body.live_price)?;
        let product = self.catalog.product(&body.product_id).await?;
        let deadline = self.patience_ends();
        let mut fenced = None;
        for _ in 0..MAX_TRIES {
            match &fenced {
                // Its units may have come after the end had taken all there were.
                Some(spotlight) => self.stay_on_air(request, broadcast, spotlight).await?,
                None => self.require_live(broadcast).await?,
            }
            let placeholder = Spotlight {
                product_id: body.product_id.clone(),
                live_price,
                limited_quantity: body.limited_quantity,
                per_viewer_limit: body.per_viewer_limit,
                since: now,
                ends_at: body.ends_at,
                paused: false,
                open: false,
                version: 1,
                spent: 0,
                requests: Vec::new(),
            };
            let earlier = match self.catalog.spotlight(broadcast, &body.product_id).await? {
                Some(earlier) if earlier.was_changed_by(&request.id) => {
                    return self.show(broadcast, &product, &earlier, now).await;
                }
                Some(earlier) => earlier,
                // Known before it has units, so that the end of the broadcast finds them whatever happens here.
                None if self.catalog.put_spotlight(broadcast, &placeholder).await? => {
                    placeholder.clone()
                }
                None => continue,
            };
            let next = earlier.next(&request.id);
            let spotlight = Spotlight {
                open: true,
                version: next.version,
                spent: self.spent(broadcast, &earlier, now).await?,
                requests: next.requests,
                ..placeholder
            };
            let behind = self
                .fence_to(request, broadcast, &spotlight, (now, deadline))
                .await?;
            if self.catalog.put_spotlight(broadcast, &spotlight).await? {
                self.stay_on_air(request, broadcast, &spotlight).await?;
                let answer = self.show(broadcast, &product, &spotlight, now).await?;
                let product = &product.product_id;
                return Ok(warned(answer, product, &behind, request.language));
            }
            fenced = Some(spotlight);
        }
        Err(Error::Conflict)
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
        let live_price = change
            .live_price
            .map(|live_price| price("live_price", live_price))
            .transpose()?;
        let details = self.catalog.product(product).await?;
        let deadline = self.patience_ends();
        let mut fenced = None;
        for _ in 0..MAX_TRIES {
            if let Some(spotlight) = &fenced {
                // Its units may have come after the end had taken all there were.
                self.stay_on_air(request, broadcast, spotlight).await?;
            }
            let known = self.on_air(broadcast, product).await?;
            if known.was_changed_by(&request.id) {
                return self.show(broadcast, &details, &known, now).await;
            }
            let mut spotlight = known.next(&request.id);
            spotlight.live_price = live_price.unwrap_or(known.live_price);
            spotlight.paused = change.paused.unwrap_or(known.paused);
            let mut behind = Vec::new();
            if let Some(add) = change.add_quantity {
                spotlight.limited_quantity = known
                    .limited_quantity
                    .checked_add_signed(add)
                    .filter(|units| *units <= MAX_UNITS)
                    .ok_or_else(|| {
                        let most = MAX_UNITS.saturating_sub(known.limited_quantity);
                        Error::invalid(
                            "add_quantity",
                            format!("-{}..={most}", known.limited_quantity),
                        )
                    })?;
                behind = self
                    .fence_to(request, broadcast, &spotlight, (now, deadline))
                    .await?;
            }
            if self.catalog.put_spotlight(broadcast, &spotlight).await? {
                self.stay_on_air(request, broadcast, &spotlight).await?;
                let answer = self.show(broadcast, &details, &spotlight, now).await?;
                return Ok(warned(answer, product, &behind, request.language));
            }
            fenced = Some(spotlight);
        }
        Err(Error::Conflict)
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

    /// Closes the sale, then empties the fence. In this order, so that nothing is ordered from units that are leaving. Returns
    /// how many units went back to the pool.
    pub(super) async fn close(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<u64, Error> {
        let now = clock::now();
        let (product, source) = (&spotlight.product_id, Source::Live(broadcast.clone()));
        // Each closing is a request of its own: the same key may close every product of a broadcast.
        let mut cause = request.cause(format!("off air in {broadcast}"));
        cause.id = id::digest(&["close", &request.id, product.as_str()], 16);

        let (closed, was_open) = self.mark_closed(&cause.id, broadcast, spotlight).await?;
        if closed.open {
            // This very request closed it before, and it was put on air again since.
            let moved = self
                .fence
                .ledger
                .moved(product, &cause.id, &cause.fingerprint);
            return Ok(match moved.await? {
                Some(Moved::Already(units)) => units,
                _ => 0,
            });
        }
        self.fence
            .gate
            .air(&source, product, &closed.terms(), closed.version)
            .await?;
        let returned = self
            .fence
            .give_back(&source, product, (0, fence::ALL), &cause, now)
            .await?;
        let standing = self.show_in_room(broadcast, None, &closed).await?;
        if standing.open {
            // On air again while its units were leaving.
            self.fence_to(request, broadcast, &standing, (now, Instant::now()))
                .await?;
        } else if was_open {
            let event = Event::ProductClosed {
                product_id: product.clone(),
                reason: ClosedReason::Ended,
            };
            self.rooms.append(broadcast, &[(None, event)], now).await?;
        }
        Ok(returned)
    }

    /// Writes down that a product is off air, once a closing. Returns it, and whether this closing found it on air.
    async fn mark_closed(
        &self,
        closing: &str,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<(Spotlight, bool), Error> {
        let mut known = spotlight.clone();
        for _ in 0..MAX_TRIES {
            if known.was_changed_by(closing) {
                return Ok((known, true));
            }
            // A product that is off air already is written all the same: one being put on air meanwhile then starts anew.
            let closed = Spotlight {
                open: false,
                ..known.next(closing)
            };
            if self.catalog.put_spotlight(broadcast, &closed).await? {
                return Ok((closed, known.open));
            }
            known = self
                .catalog
                .spotlight(broadcast, &spotlight.product_id)
                .await?
                .ok_or(Error::Conflict)?;
        }
        Err(Error::Conflict)
    }

    /// Units that orders of earlier airings have, settled or not. They are no part of the next one.
    async fn spent(
        &self,
        broadcast: &BroadcastId,
        earlier: &Spotlight,
        now: Timestamp,
    ) -> Result<u64, Error> {
        if earlier.open {
            return Ok(earlier.spent);
        }
        let source = Source::Live(broadcast.clone());
        self.fence.follow(&source, &earlier.product_id, now).await?;
        Ok(self.fence.gate.spent(&source, &earlier.product_id).await?)
    }

    /// Brings the fence to what an airing needs, from whatever is in it: an earlier try may have broken off after its move. The
    /// gate gets units that came only once the channels have shrunk, or at the deadline. Returns the channels that are behind.
    async fn fence_to(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
        (now, deadline): (Timestamp, Instant),
    ) -> Result<Vec<Behind>, Error> {
        let product = &spotlight.product_id;
        let source = Source::Live(broadcast.clone());
        let needed = spotlight.spent + spotlight.limited_quantity;
        let mut cause = request.cause(format!("on air in {broadcast}"));
        for _ in 0..MAX_TRIES {
            let row = self.fence.follow(&source, product, now).await?;
            let (granted, version) = row.map_or((0, 0), |row| (row.granted, row.version));
            // Of what is there and not of the request: of two that have read the same, one moves and the other reads again.
            cause.id = id::digest(
                &[
                    "fence",
                    broadcast.as_str(),
                    product.as_str(),
                    &version.to_string(),
                ],
                16,
            );
            let moved = if needed > granted {
                let units = needed - granted;
                let moved = self
                    .fence
                    .fence_off(&source, product, units, &cause, now)
                    .await;
                if moved.is_ok() {
                    self.shrunk(product, deadline).await?;
                }
                moved
            } else if needed < granted {
                let units = granted - needed;
                self.fence
                    .give_back(&source, product, (units, units), &cause, now)
                    .await
                    .map(drop)
            } else {
                return self.shrunk(product, deadline).await;
            };
            match moved {
                Ok(()) | Err(Error::IdempotencyConflict | Error::Conflict) => {}
                Err(error) => return Err(error),
            }
        }
        Err(Error::Conflict)
    }

    /// Takes a product off air again if its broadcast has ended: the end may have looked for what is on air just before this
    /// was. Its terms are not in the gate yet, so nothing was sold.
    async fn stay_on_air(
        &self,
        request: &Request,
        broadcast: &BroadcastId,
        spotlight: &Spotlight,
    ) -> Result<(), Error> {
        match self.require_live(broadcast).await {
            Err(off_air @ Error::BroadcastOffAir { .. }) => {
                self.close(request, broadcast, spotlight).await?;
                Err(off_air)
            }
            live => live,
        }
    }

    /// Shows a product in its room as it stands, or takes it out, and returns it as it stands. Whoever writes last looks last,
    /// so of several at once the newest change stays.
    async fn show_in_room(
        &self,
        broadcast: &BroadcastId,
        product: Option<&Product>,
        spotlight: &Spotlight,
    ) -> Result<Spotlight, Error> {
        let mut shown = spotlight.clone();
        for _ in 0..MAX_TRIES {
            let product_id = &spotlight.product_id;
            let view = match product {
                Some(product) if shown.open => Some(shown_product(product, &shown)),
                None if shown.open => {
                    let product = self.catalog.product(product_id).await?;
                    Some(shown_product(&product, &shown))
                }
                _ => None,
            };
            self.rooms
                .show_product(broadcast, product_id, view.as_ref())
                .await?;
            match self.catalog.spotlight(broadcast, product_id).await? {
                Some(newer) if newer.version > shown.version => shown = newer,
                _ => return Ok(shown),
            }
        }
        Err(Error::Conflict)
    }

    /// Opens the sale at its terms and tells the viewers. If a newer change stands, that is what they see.
    async fn show(
        &self,
        broadcast: &BroadcastId,
        product: &Product,
        spotlight: &Spotlight,
        now: Timestamp,
    ) -> Result<Value, Error> {
        let source = Source::Live(broadcast.clone());
        self.fence
            .gate
            .air(
                &source,
                &product.product_id,
                &spotlight.terms(),
                spotlight.version,
            )
            .await?;
        let stock = self
            .fence
            .gate
            .stock(&product.product_id, &[&source])
            .await?;
        let stock = stock.first().copied().flatten();
        let remaining = stock.map_or(0, |stock| stock.left.max(0));
        let spotlight = &self
            .show_in_room(broadcast, Some(product), spotlight)
            .await?;
        if !spotlight.open {
            return Err(Error::NotOnAir(product.product_id.clone()));
        }
        let event = if spotlight.paused {
            Event::ProductClosed {
                product_id: product.product_id.clone(),
                reason: ClosedReason::Paused,
            }
        } else {
            let mut shown = shown_product(product, spotlight);
            shown["remaining"] = json!(remaining);
            if let Some(stock) = stock {
                shown["version"] = json!(stock.version);
            }
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
        match self.catalog.broadcast(broadcast).await?.status {
            BroadcastStatus::Live => Ok(()),
            BroadcastStatus::Scheduled => Err(Error::BroadcastOffAir { ended: false }),
            BroadcastStatus::Ended => Err(Error::BroadcastOffAir { ended: true }),
        }
    }
}
