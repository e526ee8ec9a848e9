//! The fence: the units of a broadcast, carved out of the pool when a product is spotlighted, given back at the end.
//!
//! The gate may promise less than the ledger granted for a moment, never more. So units that come to a source are granted
//! in the ledger first and then in the gate; units that leave one are withdrawn from its gate first, then moved in the
//! ledger. A crash between the two leaves units unsellable, not oversold: the same request, tried again, goes on with them, or
//! a grant brings them back after [`WITHDRAWAL_GRACE`](crate::stock::WITHDRAWAL_GRACE).

use crate::{
    channel::wake::Wakes,
    clock::Timestamp,
    error::Error,
    id::{self, ProductId},
    ledger::{Change, Ledger, Moved, StockRow},
    stock::{Gate, Granted, Source, Withdrawn},
};

/// How often units are withdrawn again when the row changed in between.
const MAX_TRIES: usize = 5;

/// As many units as are free; the largest number a script reads exactly.
pub const ALL: u64 = 1 << 53;

/// Moves units between sources, in the ledger and in the gate.
#[derive(Clone)]
pub struct Fence {
    /// The ledger.
    pub ledger: Ledger,
    /// The gate.
    pub gate: Gate,
    /// Whom it wakes when the pool moved.
    pub channels: Wakes,
}

/// Who moves units and why; the id makes a repeated request find itself.
#[derive(Debug, Clone)]
pub struct Cause {
    /// The same request has the same id.
    pub id: String,
    /// Tells this request from another one with the same id.
    pub fingerprint: String,
    /// Why, for a person.
    pub text: String,
    /// Who.
    pub by: String,
}

impl Fence {
    /// Brings `units` from outside into the pool.
    ///
    /// # Errors
    /// [`Error::IdempotencyConflict`], or a store failed; asking again with the same cause is safe.
    pub async fn add(
        &self,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.grant_to(None, Source::Pool, product, units, cause, now)
            .await
    }

    /// Takes `units` out of the pool and out of the shop.
    ///
    /// # Errors
    /// [`Error::InsufficientPool`], [`Error::IdempotencyConflict`], or a store failed; asking again with the same cause is
    /// safe.
    pub async fn remove(
        &self,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.withdraw_from(&Source::Pool, None, product, units, units, cause, now)
            .await
            .map(drop)
    }

    /// Carves `units` out of the pool, for the share of a channel.
    ///
    /// # Errors
    /// [`Error::InsufficientPool`], [`Error::IdempotencyConflict`], or a store failed; asking again with the same cause is
    /// safe.
    pub async fn carve(
        &self,
        to: &Source,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.grant_to(Some(Source::Pool), to.clone(), product, units, cause, now)
            .await
    }

    /// Carves `units` out of the pool for a broadcast, and has the channels shrink. The gate of the broadcast does not follow yet:
    /// the caller has it follow when the channels have.
    ///
    /// # Errors
    /// As [`Fence::carve`].
    pub async fn fence_off(
        &self,
        to: &Source,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.grant(Some(Source::Pool), to.clone(), product, units, cause, now)
            .await?;
        self.follow(&Source::Pool, product, now).await.map(drop)
    }

    /// Gives up to `most` free units of a broadcast, or of a channel's share, back to the pool, or none if fewer than `least` are free.
    /// Returns how many.
    ///
    /// # Errors
    /// [`Error::InsufficientPool`] if fewer than `least` are free, [`Error::IdempotencyConflict`], or a store failed; asking
    /// again with the same cause is safe.
    pub async fn give_back(
        &self,
        from: &Source,
        product: &ProductId,
        (least, most): (u64, u64),
        cause: &Cause,
        now: Timestamp,
    ) -> Result<u64, Error> {
        self.withdraw_from(from, Some(Source::Pool), product, least, most, cause, now)
            .await
    }

    /// Makes the gate follow the ledger for one source.
    ///
    /// # Errors
    /// A store failed; asking again is safe.
    pub async fn follow(
        &self,
        source: &Source,
        product: &ProductId,
        now: Timestamp,
    ) -> Result<Option<StockRow>, Error> {
        let row = self.ledger.stock_row(product, source).await?;
        if let Some(row) = &row {
            self.follow_row(row, now).await?;
        }
        Ok(row)
    }

    /// Makes the gate follow a row of the ledger; if that moved the pool or a channel's share, the channels hear of it.
    ///
    /// # Errors
    /// Redis failed; asking again is safe.
    pub async fn follow_row(&self, row: &StockRow, now: Timestamp) -> Result<Granted, Error> {
        let (granted, wake) = self.gate.follow(row, now).await?;
        if wake {
            self.channels.moved().await;
        }
        Ok(granted)
    }

    async fn grant_to(
        &self,
        from: Option<Source>,
        to: Source,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        self.grant(from.clone(), to.clone(), product, units, cause, now)
            .await?;
        for source in from.iter().chain([&to]) {
            self.follow(source, product, now).await?;
        }
        Ok(())
    }

    /// Moves units in the ledger alone.
    async fn grant(
        &self,
        from: Option<Source>,
        to: Source,
        product: &ProductId,
        units: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<(), Error> {
        let from = from.map(|source| (source, None));
        let change = change(product, from, Some(to), units, cause, now);
        match self.ledger.move_units(&change).await? {
            Moved::Now | Moved::Already(_) => Ok(()),
            Moved::Conflict => Err(Error::IdempotencyConflict),
            Moved::Short(left) => Err(Error::InsufficientPool { left }),
            Moved::Stale => Err(Error::Conflict),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a move has two ends, a range and a cause; one private caller each"
    )]
    async fn withdraw_from(
        &self,
        from: &Source,
        to: Option<Source>,
        product: &ProductId,
        least: u64,
        most: u64,
        cause: &Cause,
        now: Timestamp,
    ) -> Result<u64, Error> {
        match self
            .ledger
            .moved(product, &cause.id, &cause.fingerprint)
            .await?
        {
            Some(Moved::Conflict) => return Err(Error::IdempotencyConflict),
            // Done before; what an interrupted try left withdrawn comes back with the grants below.
            Some(Moved::Already(units)) => {
                for source in [Some(from), to.as_ref()].into_iter().flatten() {
                    self.follow(source, product, now).await?;
                }
                return Ok(units);
            }
            Some(Moved::Now | Moved::Short(_) | Moved::Stale) | None => {}
        }
        // Of the cause: the same request, tried again after it broke off, finds what it withdrew.
        let token = id::digest(&["withdrawal", &cause.id], 16);
        for _ in 0..MAX_TRIES {
            let Some(row) = self.follow(from, product, now).await? else {
                return if least == 0 {
                    Ok(0)
                } else {
                    Err(Error::InsufficientPool { left: 0 })
                };
            };
            let units = match self
                .gate
                .withdraw(from, product, (least, most), row.version, &token, now)
                .await?
            {
                Withdrawn::Units(0) => return Ok(0),
                Withdrawn::Units(units) => units,
                Withdrawn::Short(left) => return Err(Error::InsufficientPool { left }),
                Withdrawn::Stale | Withdrawn::Unknown => continue,
            };
            let change = change(
                product,
                Some((from.clone(), Some(row.version))),
                to.clone(),
                units,
                cause,
                now,
            );
            let moved = self.ledger.move_units(&change).await?;
            if matches!(moved, Moved::Conflict | Moved::Short(_) | Moved::Stale) {
                self.gate.restore(from, product, &token).await?;
            }
            for source in [Some(from), to.as_ref()].into_iter().flatten() {
                self.follow(source, product, now).await?;
            }
            match moved {
                Moved::Now => return Ok(units),
                Moved::Already(earlier) => return Ok(earlier),
                Moved::Conflict => return Err(Error::IdempotencyConflict),
                Moved::Short(_) | Moved::Stale => {}
            }
        }
        Err(Error::Conflict)
    }
}

fn change(
    product: &ProductId,
    from: Option<(Source, Option<u64>)>,
    to: Option<Source>,
    units: u64,
    cause: &Cause,
    now: Timestamp,
) -> Change {
    Change {
        id: cause.id.clone(),
        product_id: product.clone(),
        from,
        to,
        units,
        cause: cause.text.clone(),
        by: cause.by.clone(),
        at: now,
        fingerprint: cause.fingerprint.clone(),
    }
}
