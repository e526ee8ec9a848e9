//! The price of a listing: asked once its units are shown, above its floor, and in an order in which no promise is broken in between.

use super::Push;
use crate::{
    catalog::Offers,
    channel::{
        Failure, Marketplace, Shown,
        alert::Alert,
        listing::{Listing, OWN_STORE, RefusedPrice, ShownState, price_to_ask, price_to_correct},
        quota::Urgency,
    },
};

/// What a listing costs after a push, and what became of the price it has to have.
#[derive(Debug, Default)]
pub(super) struct Priced {
    pub(super) price: Option<u64>,
    pub(super) effective: Option<u64>,
    /// It waits for another channel's price.
    pub(super) waits: bool,
    /// It is refused for good: no failure of the push, which has the units to see to.
    pub(super) refused: Option<RefusedPrice>,
    /// It is to be tried again.
    pub(super) failure: Option<Failure>,
}

impl Push {
    /// Asks the price a listing has to cost. Whatever becomes of it, the units of the listing are shown.
    pub(super) async fn push_price(
        &self,
        port: &dyn Marketplace,
        offers: &Offers,
        listing: &Listing,
        state: &ShownState,
        seen: &Shown,
    ) -> Priced {
        let told = seen.price.or(state.seen_price());
        let known = told.map(|price| price.sale).or(state.price);
        let mut priced = Priced {
            price: known,
            effective: told.map(|price| price.effective),
            ..Priced::default()
        };
        let Some(product) = &offers.product else {
            return priced;
        };
        let step = port.limits().price_step;
        let ask = price_to_ask(listing, product.list_price, told, step);
        if known == Some(ask) {
            return priced;
        }
        let refused = state.refused_price.as_ref();
        if let Some(refused) =
            refused.filter(|refused| refused.ask == ask && refused.known == known)
        {
            priced.refused = Some(refused.clone());
            return priced;
        }
        if !may_change_price(offers, listing, ask, known) {
            priced.waits = true;
            return priced;
        }
        let floor = listing.floor(product.list_price);
        let outcome = write_price(port, listing, ask, floor, &mut priced).await;
        if let (Some(floor), Some(price)) = (floor, priced.effective)
            && price < floor
        {
            let product = product.product_id.to_string();
            let alert = Alert::BelowFloor {
                product,
                price,
                floor,
            };
            self.alerts.tell(&listing.channel, &alert).await;
        }
        match outcome {
            Ok(()) => {}
            Err(Failure::Refused(cause)) => {
                let alert = Alert::PriceRefused {
                    product: product.product_id.to_string(),
                    price: ask,
                    cause: cause.clone(),
                };
                self.alerts.tell(&listing.channel, &alert).await;
                priced.refused = Some(RefusedPrice { ask, known, cause });
            }
            Err(
                failure @ (Failure::Later { .. }
                | Failure::Limited { .. }
                | Failure::Turn { .. }
                | Failure::Unreadable { .. }
                | Failure::Unknown(_)
                | Failure::Credentials(_)),
            ) => priced.failure = Some(failure),
        }
        priced
    }
}

/// Asks a price, and looks what a buyer pays then: a discount of so many percent takes more of a higher price. What is below the floor
/// is raised, once.
async fn write_price(
    port: &dyn Marketplace,
    listing: &Listing,
    ask: u64,
    floor: Option<u64>,
    priced: &mut Priced,
) -> Result<(), Failure> {
    let step = port.limits().price_step;
    let mut next = Some(ask);
    for _ in 0..2 {
        let Some(ask) = next.take() else { break };
        port.set_price(&listing.item, ask).await?;
        (priced.price, priced.effective) = (Some(ask), None);
        let seen = port.read_item(&listing.item, Urgency::Up).await?.price;
        // One that shows the old price yet is looked at again with the next push.
        let Some(seen) = seen.filter(|seen| seen.sale == ask) else {
            break;
        };
        priced.effective = Some(seen.effective);
        next = floor
            .filter(|floor| seen.effective < *floor)
            .and_then(|floor| price_to_correct(floor, seen, step));
    }
    Ok(())
}

/// Prices go up on the channels first and then in the own store, and down the other way round: in between, no channel with a
/// lowest-price promise is below the own store.
fn may_change_price(offers: &Offers, listing: &Listing, ask: u64, known: Option<u64>) -> bool {
    let price_of = |channel: &str| offers.shown.get(channel).and_then(|state| state.price);
    let promised = |other: &&Listing| other.floor(0).is_some();
    if listing.channel == OWN_STORE {
        let mut promises = offers.listings.iter().filter(promised);
        return known.is_some_and(|known| ask <= known)
            || promises.all(|other| price_of(&other.channel).is_some_and(|price| price >= ask));
    }
    let goes_down = known.is_some_and(|known| ask < known);
    let own = offers.on(OWN_STORE);
    let own_is_to_follow = own.is_some_and(|(own, state)| {
        own.price <= ask && state.price.is_some_and(|price| price > ask)
    });
    !(goes_down && promised(&listing) && own_is_to_follow)
}
