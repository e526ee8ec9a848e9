//! Running a broadcast: what its host and the shop's operators do.

pub mod fence;
pub mod moderation;
pub mod shrink;
pub mod snapshot;
mod spotlight;
pub mod trace;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
pub use spotlight::{SpotlightBody, SpotlightChange};

use self::{
    fence::{Cause, Fence},
    shrink::Shrink,
    snapshot::shown_broadcast,
};
use crate::{
    auth::UserId,
    catalog::{Broadcast, BroadcastStatus, Catalog, ListingWrite, Product},
    channel::listing::{Listing, OWN_STORE, PricePolicy},
    clock::{self, Timestamp},
    error::{Error, Language},
    id::{self, BroadcastId, ProductId},
    room::{Rooms, Snapshot, post::Post},
    stock::Source,
};

/// Units one change of stock may move.
pub const MAX_UNITS: u64 = 10_000_000;
/// The highest price of one unit, in won.
pub const MAX_PRICE: u64 = 1_000_000_000;
/// The longest name, title or reason, in characters.
const MAX_TEXT: usize = 200;
/// How often a change is tried again from what stands now, when another one came in between.
const MAX_TRIES: usize = 10;

/// What operators and hosts do.
pub struct Studio {
    /// Products and broadcasts.
    pub catalog: Catalog,
    /// The ledger and the gate.
    pub fence: Fence,
    /// The rooms.
    pub rooms: Rooms,
    /// How a person who is banned is put out.
    pub post: Post,
    /// Which channels a fence waits for.
    pub shrink: Shrink,
}

/// Who asks, and the identity of the request: the same request, sent again, has the same.
#[derive(Debug, Clone)]
pub struct Request {
    /// Who.
    pub by: UserId,
    /// Derived from the Idempotency-Key, or random without one.
    pub id: String,
    /// Tells it from another request with the same key.
    pub fingerprint: String,
    /// What who asks reads.
    pub language: Language,
}

impl Request {
    fn cause(&self, text: impl Into<String>) -> Cause {
        Cause {
            id: self.id.clone(),
            fingerprint: self.fingerprint.clone(),
            text: text.into(),
            by: self.by.as_str().to_owned(),
        }
    }
}

/// The body of `PUT /products/{product_id}`.
#[derive(Debug, Deserialize)]
pub struct ProductBody {
    name: String,
    list_price: u64,
    #[serde(default)]
    thumbnail_url: Option<String>,
}

/// The body of `POST /products/{product_id}/stock`.
#[derive(Debug, Deserialize)]
pub struct StockBody {
    delta: i64,
    reason: String,
}

/// The body of `POST /broadcasts`.
#[derive(Debug, Deserialize)]
pub struct BroadcastBody {
    title: String,
    #[serde(default)]
    starts_at: Option<Timestamp>,
}

/// A product with its stock, as an operator reads it.
#[derive(Debug, Serialize)]
pub struct ProductView {
    /// The product.
    #[serde(flatten)]
    pub product: Product,
    /// Its stock.
    pub stock: StockView,
    /// What the operator has to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The stock of a product. When all is quiet, `granted = left + held + sold` for every source.
#[derive(Debug, Default, Serialize)]
pub struct StockView {
    /// Units in the shop that are not sold.
    pub on_hand: u64,
    /// Units in orders that are reserved or paid, by the ledger.
    pub sold: u64,
    /// Units in orders that are not settled, by the gate.
    pub held: u64,
    /// Units of the pool that are free, by the gate.
    pub available: u64,
    /// Grows with every change.
    pub version: u64,
    /// Per source.
    pub sources: Vec<SourceView>,
}

/// The stock of a product at a source.
#[derive(Debug, Serialize)]
pub struct SourceView {
    /// Which.
    pub source: Source,
    /// Units it may sell, by the ledger.
    pub granted: u64,
    /// Units sold, by the ledger.
    pub sold: u64,
    /// Units in orders that are not settled, by the gate.
    pub held: u64,
    /// Units free, by the gate.
    pub left: u64,
}

impl Studio {
    /// Writes a product. The own store's listing follows the list price if it cost that much before; if it costs something else,
    /// the answer says so.
    ///
    /// # Errors
    /// [`Error::Invalid`], or a store failed.
    pub async fn put_product(
        &self,
        request: &Request,
        product_id: ProductId,
        body: ProductBody,
    ) -> Result<ProductView, Error> {
        let product = Product {
            product_id,
            name: text("name", body.name)?,
            list_price: price("list_price", body.list_price)?,
            thumbnail_url: body
                .thumbnail_url
                .map(|url| link("thumbnail_url", url))
                .transpose()?,
        };
        // The listing first: what the list price was is known until the product is written.
        let differing = self.own_store_follows(&product).await?;
        self.catalog.put_product(&product).await?;
        // A floor of its listings may have moved.
        self.fence.channels.look_at(&product.product_id).await?;
        let mut view = self.view(product).await?;
        view.warning = differing.map(|price| {
            let product = &view.product.product_id;
            request.language.pick(
                format!("자사몰 판매가는 {price}원으로, 정가를 따라 바뀌지 않았습니다. 바꾸려면 PUT /products/{product}/listings/{OWN_STORE} 로 저장해 주세요."),
                format!("The own store asks {price} won and does not follow the list price; to change that, PUT /products/{product}/listings/{OWN_STORE}."),
            )
        });
        Ok(view)
    }

    /// Brings the own store's listing to the list price if it was at the one before. Returns what it costs if it is to be another price.
    async fn own_store_follows(&self, product: &Product) -> Result<Option<u64>, Error> {
        for _ in 0..MAX_TRIES {
            let offers = self.catalog.offers(&product.product_id).await?;
            let Some((own, _)) = offers.on(OWN_STORE) else {
                return Ok(None);
            };
            if own.price == product.list_price {
                return Ok(None);
            }
            let was_at_it = offers
                .product
                .as_ref()
                .is_some_and(|known| known.list_price == own.price);
            match own.price_policy {
                PricePolicy::List | PricePolicy::Lowest if was_at_it => {}
                PricePolicy::List | PricePolicy::Lowest | PricePolicy::Promotion => {
                    return Ok(Some(own.price));
                }
            }
            let next = Listing {
                price: product.list_price,
                version: own.version + 1,
                ..own.clone()
            };
            match self.catalog.put_listing(&next, Some(own)).await? {
                ListingWrite::Now => return Ok(None),
                ListingWrite::Overtaken | ListingWrite::Taken => {}
            }
        }
        Err(Error::Conflict)
    }

    /// A product with its stock.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a store failed.
    pub async fn product(&self, product: &ProductId) -> Result<ProductView, Error> {
        self.view(self.catalog.product(product).await?).await
    }

    async fn view(&self, product: Product) -> Result<ProductView, Error> {
        let rows = self.fence.ledger.stock_rows(&product.product_id).await?;
        let sources: Vec<&Source> = rows.iter().map(|row| &row.source).collect();
        let gates = self.fence.gate.stock(&product.product_id, &sources).await?;
        let mut stock = StockView::default();
        let mut unsold = 0;
        for (row, gate) in rows.iter().zip(gates) {
            // A gate that has forgotten would be loaded with what the ledger has not sold.
            let [left, held, version] = gate.map_or([units(row.unsold), 0, 0], |gate| {
                [units(gate.left), units(gate.held), gate.version]
            });
            unsold += row.unsold;
            stock.sold += row.sold;
            stock.held += held;
            stock.version += version;
            if row.source == Source::Pool {
                stock.available = left;
            }
            stock.sources.push(SourceView {
                source: row.source.clone(),
                granted: row.granted,
                sold: row.sold,
                held,
                left,
            });
        }
        stock.on_hand = units(unsold);
        Ok(ProductView {
            product,
            stock,
            warning: None,
        })
    }

    /// Brings units into the pool, or takes them out.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::InsufficientPool`], [`Error::IdempotencyConflict`], or a store failed.
    pub async fn adjust_stock(
        &self,
        request: &Request,
        product: &ProductId,
        body: StockBody,
    ) -> Result<ProductView, Error> {
        let units = body.delta.unsigned_abs();
        if units == 0 || units > MAX_UNITS {
            return Err(Error::invalid(
                "delta",
                format!("-{MAX_UNITS}..=-1, 1..={MAX_UNITS}"),
            ));
        }
        let cause = request.cause(text("reason", body.reason)?);
        let known = self.catalog.product(product).await?;
        if body.delta > 0 {
            self.fence.add(product, units, &cause, clock::now()).await?;
        } else {
            self.fence
                .remove(product, units, &cause, clock::now())
                .await?;
        }
        self.view(known).await
    }

    /// Plans a broadcast.
    ///
    /// # Errors
    /// [`Error::Invalid`], or a store failed.
    pub async fn create_broadcast(
        &self,
        request: &Request,
        body: BroadcastBody,
    ) -> Result<Broadcast, Error> {
        let broadcast_id = format!("b{}", &id::digest(&["broadcast", &request.id], 10)[..12])
            .parse()
            .map_err(|_| Error::Corrupt("a broadcast id".to_owned()))?;
        match self.catalog.broadcast(&broadcast_id).await {
            Ok(earlier) => return Ok(earlier),
            Err(Error::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        let broadcast = Broadcast {
            broadcast_id,
            title: text("title", body.title)?,
            status: BroadcastStatus::Scheduled,
            starts_at: body.starts_at,
            started_at: None,
            ended_at: None,
        };
        if self.write(&broadcast, None).await? {
            Ok(broadcast)
        } else {
            self.catalog.broadcast(&broadcast.broadcast_id).await
        }
    }

    /// The room of a broadcast as a newcomer sees it.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a store failed.
    pub async fn snapshot(&self, broadcast: &BroadcastId) -> Result<Snapshot, Error> {
        snapshot::snapshot(&self.rooms, &self.catalog, &self.fence, broadcast, None).await
    }

    /// Goes on air. A broadcast on air stays so; one that has ended does not come back.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::BroadcastOffAir`] if it has ended, or a store failed.
    pub async fn start(&self, broadcast: &BroadcastId) -> Result<Broadcast, Error> {
        for _ in 0..MAX_TRIES {
            let known = self.catalog.broadcast(broadcast).await?;
            let status = known.status;
            match status {
                BroadcastStatus::Live => return Ok(known),
                BroadcastStatus::Ended => return Err(Error::BroadcastOffAir { ended: true }),
                BroadcastStatus::Scheduled => {
                    let live = Broadcast {
                        status: BroadcastStatus::Live,
                        started_at: Some(clock::now()),
                        ..known
                    };
                    if self.write(&live, Some(status)).await? {
                        return Ok(live);
                    }
                }
            }
        }
        Err(Error::Conflict)
    }

    /// Goes off air. Every sale closes, and what is left goes back to the pool. Asking again finishes what was begun.
    ///
    /// # Errors
    /// [`Error::NotFound`], or a store failed.
    pub async fn end(&self, request: &Request, broadcast: &BroadcastId) -> Result<Value, Error> {
        let ended = self.mark_ended(broadcast).await?;
        let mut returned = Vec::new();
        for spotlight in self.catalog.spotlights(broadcast).await? {
            let units = self.close(request, broadcast, &spotlight).await?;
            returned.push(json!({ "product_id": spotlight.product_id, "units": units }));
        }
        let mut answer = shown_broadcast(&ended);
        answer["returned"] = json!(returned);
        Ok(answer)
    }

    async fn mark_ended(&self, broadcast: &BroadcastId) -> Result<Broadcast, Error> {
        for _ in 0..MAX_TRIES {
            let known = self.catalog.broadcast(broadcast).await?;
            let status = known.status;
            let ended = Broadcast {
                status: BroadcastStatus::Ended,
                ended_at: known.ended_at.or_else(|| Some(clock::now())),
                ..known
            };
            if self.write(&ended, Some(status)).await? {
                return Ok(ended);
            }
        }
        Err(Error::Conflict)
    }

    /// Writes a broadcast that was in state `known`, and shows it; not, if another writer was faster.
    async fn write(
        &self,
        broadcast: &Broadcast,
        known: Option<BroadcastStatus>,
    ) -> Result<bool, Error> {
        let written = self.catalog.put_broadcast(broadcast, known).await?;
        if written {
            self.rooms
                .show_broadcast(&broadcast.broadcast_id, &shown_broadcast(broadcast))
                .await?;
        }
        Ok(written)
    }
}

/// A gate that owes units has none, whoever reads it.
fn units(count: i64) -> u64 {
    u64::try_from(count).unwrap_or(0)
}

fn text(field: &'static str, value: String) -> Result<String, Error> {
    let trimmed = value.trim();
    if (1..=MAX_TEXT).contains(&trimmed.chars().count()) && !trimmed.chars().any(char::is_control) {
        Ok(trimmed.to_owned())
    } else {
        Err(Error::invalid(field, format!("1..={MAX_TEXT}")))
    }
}

fn price(field: &'static str, value: u64) -> Result<u64, Error> {
    if (1..=MAX_PRICE).contains(&value) {
        Ok(value)
    } else {
        Err(Error::invalid(field, format!("1..={MAX_PRICE}")))
    }
}

fn link(field: &'static str, value: String) -> Result<String, Error> {
    let plain = value.len() <= 2_000 && value.bytes().all(|byte| byte.is_ascii_graphic());
    if plain && (value.starts_with("https://") || value.starts_with("http://")) {
        Ok(value)
    } else {
        Err(Error::invalid(field, "http:// https://"))
    }
}
