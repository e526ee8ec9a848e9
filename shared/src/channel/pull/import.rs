//! What a page of a channel's orders brings comes into the ledger: new lines are counted, known ones are followed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::Duration,
};

use metrics::counter;

use super::{
    Pull,
    quarantine::{bounded, item_name},
};
use crate::{
    catalog::Offers,
    channel::{
        ItemId, LineState, OrderLine, Pulled,
        alert::Alert,
        count,
        listing::{Listing, ShownState},
    },
    clock::{self, Timestamp},
    error::Error,
    id::ProductId,
    ledger::{Imported, LineRecord, NewLine},
    stock::Source,
};

/// The most units a line may have. What is above is no order but a mistake, and would empty the pool.
const MOST_UNITS: u32 = 10_000;
/// A marketplace's clock may be this far from ours: farther away it takes no signature of ours.
const CLOCKS_APART: Duration = Duration::from_secs(300);

/// What a page brought.
#[derive(Debug, Default)]
pub(super) struct Brought {
    pub(super) sold: bool,
    touched: BTreeSet<(ProductId, Source)>,
    counted_down: BTreeMap<ProductId, CountedDown>,
    pub(super) unconfirmed: Vec<LineRecord>,
    /// Their buyers ask to cancel them.
    pub(super) asked: Vec<LineRecord>,
}

impl Brought {
    /// Sorts a line by what its channel waits for.
    pub(super) fn note(&mut self, record: LineRecord) {
        match record.state {
            LineState::Paid => self.unconfirmed.push(record),
            LineState::CancelRequested => self.asked.push(record),
            LineState::Confirmed | LineState::Cancelled => {}
        }
    }
}

/// What is new of a product, which its channel has counted down itself.
#[derive(Debug, Default)]
struct CountedDown {
    units: u64,
    /// When the first of them was paid; `None` if that is not known of one.
    since: Option<Timestamp>,
    /// Whether some were cancelled before they were met.
    cancelled: bool,
}

impl CountedDown {
    fn add(&mut self, record: &LineRecord, units: u64) {
        self.since = if self.units == 0 {
            record.paid_at
        } else {
            self.since
                .zip(record.paid_at)
                .map(|(one, other)| one.min(other))
        };
        self.units += units;
        self.cancelled |= record.cancelled > 0;
    }

    fn enter(&self, state: &mut ShownState) {
        let unexplained = state.uncollected.min(self.units);
        state.uncollected -= unexplained;
        let rest = self.units - unexplained;
        // A number that we wrote after the sale did not know of it, if it was not missing before: then it shows more than is kept here.
        let before = |at| self.since.is_none_or(|since| since <= at + CLOCKS_APART);
        state.doubtful |= rest > 0 && state.at.is_some_and(before);
        // Whether it put up again what was cancelled, it does not say.
        state.doubtful |= self.cancelled;
        state.units = state.units.map(|shown| shown.saturating_sub(rest));
    }
}

impl Pull {
    /// Imports what a page has. What it cannot import it quarantines.
    pub(super) async fn import(
        &self,
        channel: &str,
        pulled: Vec<Pulled>,
    ) -> Result<Brought, Error> {
        let mut lines = BTreeMap::new();
        for pulled in pulled {
            match pulled {
                Pulled::Line(line) => match absurd(&line) {
                    None => drop(lines.insert(line.key.clone(), line)),
                    Some(reason) => {
                        let (key, raw) = (Some(line.key), line.raw);
                        self.quarantine(channel, key, reason.to_owned(), raw, None)
                            .await?;
                    }
                },
                Pulled::Unreadable { key, reason, raw } => {
                    self.quarantine(channel, key, reason, raw, None).await?;
                }
            }
        }
        self.import_lines(channel, lines.into_values().collect())
            .await
    }

    pub(super) async fn import_lines(
        &self,
        channel: &str,
        lines: Vec<OrderLine>,
    ) -> Result<Brought, Error> {
        let ledger = &self.fence.ledger;
        let now = clock::now();
        let keys: Vec<String> = lines.iter().map(|line| line.key.clone()).collect();
        let known: HashMap<String, LineRecord> = ledger
            .lines(channel, &keys)
            .await?
            .into_iter()
            .map(|record| (record.key.clone(), record))
            .collect();
        let items: BTreeSet<ItemId> = lines
            .iter()
            .filter(|line| !known.contains_key(&line.key))
            .map(|line| line.item.clone())
            .collect();
        let items: Vec<ItemId> = items.into_iter().collect();
        let products = self.catalog.products_of(channel, &items).await?;
        let mut offers = HashMap::<ProductId, Offers>::new();
        for product in products.values() {
            if !offers.contains_key(product) {
                offers.insert(product.clone(), self.catalog.offers(product).await?);
            }
        }
        let mut brought = Brought::default();
        let (mut new, mut gone, mut below) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
        for line in &lines {
            if let Some(record) = known.get(&line.key) {
                self.follow(line, record, &mut brought, now).await?;
                continue;
            }
            // It came and went between two pulls: nothing was taken, nothing is given back.
            let is_gone = line.cancelled >= line.ordered;
            let listing = products
                .get(&line.item)
                .and_then(|product| offers.get(product)?.on(channel));
            let Some((listing, _)) = listing else {
                if is_gone {
                    // It may be kept since before it was cancelled: nothing is taken for it once its item is listed.
                    self.catalog.release_quarantined(channel, &line.key).await?;
                    continue;
                }
                let reason = format!("no listing has item {}", item_name(&line.item));
                let (key, raw) = (Some(line.key.clone()), line.raw.clone());
                self.quarantine(channel, key, reason, raw, Some(line.clone()))
                    .await?;
                continue;
            };
            let product = &listing.product_id;
            if is_gone {
                gone.insert(product);
            } else if let Some(floor) = floor_above(line, listing, &offers[product]) {
                below.insert((product, line.unit_price, floor));
            }
            new.push(NewLine {
                channel: channel.to_owned(),
                key: line.key.clone(),
                order_no: line.order_no.clone(),
                handle: line.handle.clone(),
                item: line.item.clone(),
                product_id: listing.product_id.clone(),
                source: listing.source(),
                ordered: line.ordered,
                cancelled: line.cancelled,
                state: line.state,
                unit_price: line.unit_price,
                paid_at: line.paid_at,
                raw: bounded(&line.raw),
            });
        }
        // A number that was written after such a sale did not know of it, and its units may be up again on top. The ledger knows the
        // line from now on, so it is looked at once.
        for product in gone {
            self.doubt(product, channel).await?;
            self.fence.channels.look_at(product).await?;
        }
        let mut failed = None;
        for outcome in ledger.import(&new, now).await {
            match outcome {
                Ok(Imported::Now(record)) => {
                    self.came(channel, &record, &mut brought).await;
                }
                Ok(Imported::Already(record)) => {
                    if let Some(line) = lines.iter().find(|line| line.key == record.key) {
                        self.follow(line, &record, &mut brought, now).await?;
                    }
                }
                Err(error) => failed = Some(error),
            }
        }
        for (product, counted_down) in &brought.counted_down {
            self.catalog
                .change_shown(product, channel, |state| counted_down.enter(state))
                .await?;
        }
        for (product, source) in &brought.touched {
            self.fence.follow(source, product, now).await?;
        }
        for (product, price, floor) in below {
            let product = product.to_string();
            let alert = Alert::BelowFloor {
                product,
                price,
                floor,
            };
            self.alerts.tell(channel, &alert).await;
        }
        failed.map_or(Ok(brought), Err)
    }

    /// A line has entered the ledger.
    pub(super) async fn came(&self, channel: &str, record: &LineRecord, brought: &mut Brought) {
        let units = u64::from(record.ordered - record.cancelled);
        if units == 0 {
            return;
        }
        counter!("channel_units_sold", "channel" => channel.to_owned()).increment(units);
        brought.sold = true;
        for taken in &record.taken {
            let place = (record.product_id.clone(), taken.source.clone());
            brought.touched.insert(place);
        }
        brought
            .counted_down
            .entry(record.product_id.clone())
            .or_default()
            .add(record, units);
        if record.oversold > 0 {
            count("channel_units_oversold", channel, record.oversold.into());
            let alert = Alert::Oversold {
                order_no: record.order_no.clone(),
                product: record.product_id.to_string(),
                units: record.oversold,
            };
            self.alerts.tell(channel, &alert).await;
        }
        brought.note(record.clone());
    }

    /// A line is in the ledger already: what was cancelled since goes back.
    pub(super) async fn follow(
        &self,
        line: &OrderLine,
        record: &LineRecord,
        brought: &mut Brought,
        now: Timestamp,
    ) -> Result<(), Error> {
        // A confirmation of ours may not be in the page yet.
        let state = match (record.state, line.state) {
            (LineState::Confirmed, LineState::Paid) => LineState::Confirmed,
            (_, state) => state,
        };
        let mut record = record.clone();
        if line.cancelled > record.cancelled || state != record.state {
            for taken in &record.taken {
                let place = (record.product_id.clone(), taken.source.clone());
                brought.touched.insert(place);
            }
            if line.cancelled > record.cancelled {
                // The marketplace may have put the units up again itself, and a sale elsewhere may leave the number as it was.
                self.doubt(&record.product_id, &record.channel).await?;
            }
            let ledger = &self.fence.ledger;
            record = ledger
                .follow_line(&record, state, line.cancelled, now)
                .await?;
        }
        brought.note(record);
        Ok(())
    }

    /// What a listing shows is to be read before it is believed.
    pub(super) async fn doubt(&self, product: &ProductId, channel: &str) -> Result<(), Error> {
        self.catalog
            .change_shown(product, channel, |state| state.doubtful = true)
            .await?;
        Ok(())
    }
}

/// The floor that a line was sold below, in won. The sale stands: a person looks at the discounts.
fn floor_above(line: &OrderLine, listing: &Listing, offers: &Offers) -> Option<u64> {
    let floor = listing.floor(offers.product.as_ref()?.list_price)?;
    // Some lists do not tell the price.
    (1..floor).contains(&line.unit_price).then_some(floor)
}

/// What makes a line none that can be imported.
fn absurd(line: &OrderLine) -> Option<&'static str> {
    if line.ordered == 0 {
        Some("a line of no units")
    } else if line.ordered > MOST_UNITS {
        Some("a line of absurdly many units")
    } else if line.cancelled > line.ordered {
        Some("more units cancelled than ordered")
    } else if line.key.is_empty() || line.key.len() > 200 {
        Some("a line without a usable key")
    } else {
        None
    }
}
