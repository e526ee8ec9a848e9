//! The product API: reading products, and the four ways to write stock and price.

mod checks;
mod full;
mod many;
mod options;
mod search;
mod status;

use serde::Deserialize;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::{
    Endpoint, SmartStore,
    answers::{Invalid, Stamp},
    products::{Catalogue, Product},
};
use crate::{answer::Answer, call::Call};

impl SmartStore {
    /// The product API.
    pub(in crate::smartstore) fn keep(
        &mut self,
        endpoint: &Endpoint,
        call: &Call,
        now: OffsetDateTime,
    ) -> Result<Value, Refused> {
        let revives = self.switches.stock_revives;
        let catalogue = &mut self.catalogue;
        let by_channel = |catalogue: &Catalogue, no| {
            catalogue
                .by_channel(no)
                .map(|product| product.origin)
                .ok_or(Refused::NoProduct)
        };
        match endpoint {
            Endpoint::Search => search::search(catalogue, call, now),
            Endpoint::Product(no) => catalogue
                .get(*no)
                .map(Product::document)
                .ok_or(Refused::NoProduct),
            Endpoint::ChannelProduct(no) => catalogue
                .by_channel(*no)
                .map(Product::document)
                .ok_or(Refused::NoProduct),
            Endpoint::OptionStock(no) => options::write(catalogue, *no, call, revives, now),
            Endpoint::MultiUpdate => {
                let most = self.switches.multi_update_most;
                many::write(catalogue, call, most, revives, now)
            }
            Endpoint::ChangeStatus(no) => status::change(catalogue, *no, call, now),
            Endpoint::Replace(no) => full::replace(catalogue, *no, call, now),
            Endpoint::ReplaceChannel(no) => {
                let origin = by_channel(catalogue, *no)?;
                full::replace(catalogue, origin, call, now)
            }
            Endpoint::Token
            | Endpoint::Feed
            | Endpoint::Query
            | Endpoint::List
            | Endpoint::LineIds(_)
            | Endpoint::Confirm
            | Endpoint::Cancel(_)
            | Endpoint::ApproveCancel(_)
            | Endpoint::Dispatch => Err(Refused::NoProduct),
        }
    }
}

/// Why a write was refused.
pub(super) enum Refused {
    NoProduct,
    Inputs(Vec<Invalid>),
}

impl Refused {
    fn input(name: &str, kind: &'static str, message: &str) -> Self {
        Self::Inputs(vec![Invalid::new(name, kind, message)])
    }

    pub(super) fn answer(&self, stamp: &Stamp) -> Answer {
        match self {
            Self::NoProduct => stamp.no_product(),
            Self::Inputs(inputs) => stamp.invalid(inputs),
        }
    }
}

fn body<T: for<'de> Deserialize<'de>>(call: &Call) -> Result<T, Refused> {
    call.json()
        .map_err(|error| Refused::input("body", "NotReadable", &error))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SalePrice {
    sale_price: u64,
}

/// What writes of one product answer.
fn shown(catalogue: &Catalogue, origin: u64) -> Result<Value, Refused> {
    let product = catalogue.get(origin).ok_or(Refused::NoProduct)?;
    let mut shown = product.document();
    shown["originProductNo"] = json!(product.origin);
    shown["smartstoreChannelProductNo"] = json!(product.channel);
    Ok(shown)
}
