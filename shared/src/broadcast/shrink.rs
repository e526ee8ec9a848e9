//! Before a fence opens, the channels have shrunk.
//!
//! The ledger has the units of a fence at once, so nothing is sold twice here; but a channel goes on selling what it shows. So the
//! sale opens when every listing of the product was seen to show what its policy allows now, or less, and after a while in any case:
//! a show waits for no dead channel. The host is told which channels may still sell what is fenced off.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Studio;
use crate::{
    channel::{
        circuit::Circuits,
        listing::{Unsold, shown_units},
    },
    clock,
    error::{Error, Language},
    id::ProductId,
    stock::Source,
};

/// How soon the channels are looked at again, at first; doubled each time, up to the last.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LAST_LOOK: Duration = Duration::from_millis(800);

/// The channels that a fence waits for.
pub struct Shrink {
    /// The channels of the shop.
    pub channels: Vec<String>,
    /// Which of them are left alone.
    pub circuits: Circuits,
    /// The longest it waits.
    pub patience: Duration,
}

/// A channel that may still sell units that are fenced off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Behind {
    /// Which.
    pub channel: String,
    /// What it was seen to show last; `None` if that is not known.
    pub shown: Option<u64>,
    /// The most it may show.
    pub units: u64,
    /// Why it is behind.
    pub reason: Lag,
}

/// Why a channel is behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Lag {
    /// Its number is on its way: the only reason to wait.
    Late,
    /// The channel does not answer, and is left alone.
    Away,
    /// The channel refuses the listing; a person was told.
    Refused,
}

impl Studio {
    /// When whoever begins to wait for the channels now goes on without them.
    pub(super) fn patience_ends(&self) -> Instant {
        Instant::now() + self.shrink.patience
    }

    /// Waits until no channel shows more of a product than it may, or nothing more is to be expected, or until `deadline`. Returns
    /// those that are behind.
    pub(super) async fn shrunk(
        &self,
        product: &ProductId,
        deadline: Instant,
    ) -> Result<Vec<Behind>, Error> {
        let mut pause = FIRST_LOOK;
        let mut woken = false;
        loop {
            let behind = self.behind(product).await?;
            let is_late = behind.iter().any(|behind| behind.reason == Lag::Late);
            let left = deadline.saturating_duration_since(Instant::now());
            if !is_late || left.is_zero() {
                return Ok(behind);
            }
            if !woken {
                // Whatever was told before: a show waits for it.
                self.fence.channels.look_at(product).await?;
                woken = true;
            }
            sleep(pause.min(left)).await;
            pause = (pause * 2).min(LAST_LOOK);
        }
    }

    /// The channels that show more of a product than its policy allows, as far as is known here.
    async fn behind(&self, product: &ProductId) -> Result<Vec<Behind>, Error> {
        let offers = self.catalog.offers(product).await?;
        if offers.listings.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.fence.ledger.stock_rows(product).await?;
        let unsold = |source: &Source| {
            let row = rows.iter().find(|row| row.source == *source);
            row.map_or(0, |row| row.unsold)
        };
        let mut behind = Vec::new();
        for channel in &self.shrink.channels {
            let Some((listing, state)) = offers.on(channel) else {
                continue;
            };
            let unsold = Unsold {
                pool: unsold(&Source::Pool),
                share: unsold(&Source::Channel(channel.clone())),
            };
            let units = shown_units(listing.distribution, unsold, u64::MAX);
            if state.units.is_some_and(|shown| shown <= units) {
                continue;
            }
            let reason = if state.quarantined {
                Lag::Refused
            } else if self
                .shrink
                .circuits
                .of(channel)
                .await?
                .is_open(clock::now())
            {
                Lag::Away
            } else {
                Lag::Late
            };
            behind.push(Behind {
                channel: channel.clone(),
                shown: state.units,
                units,
                reason,
            });
        }
        Ok(behind)
    }
}

/// Says in an answer which channels are behind, if any are.
pub(super) fn warned(
    mut answer: Value,
    product: &ProductId,
    behind: &[Behind],
    language: Language,
) -> Value {
    if behind.is_empty() {
        return answer;
    }
    let names: Vec<&str> = behind
        .iter()
        .map(|behind| behind.channel.as_str())
        .collect();
    let names = names.join(", ");
    tracing::warn!(product.id = %product, channels = names, "a fence opened before its channels had shrunk");
    answer["warning"] = json!(language.pick(
        format!("{names} 채널의 재고가 아직 줄지 않았습니다. 방송용 재고가 그곳에서 팔리면 초과 판매가 될 수 있으니 채널 상태를 확인해 주세요."),
        format!("{names}: the stock shown there has not shrunk yet, so units of this broadcast may be oversold there. Check the channel."),
    ));
    answer["channels_behind"] = json!(behind);
    answer
}
