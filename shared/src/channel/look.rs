//! A look at what a channel shows, before anything is put right: every listing is read, as far as its quota has calls to spare, and
//! nothing is written there. What was seen is kept here for an hour, apart from what pushes go by: they have to know which units went
//! missing between two of their own looks.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::{Failure, ItemId, Marketplace, Price, push::Push, quota::Urgency, wake::SyncWake};
use crate::{
    clock::{self, Timestamp},
    connection::Redis,
    error::Error,
    id::ProductId,
    keys::Keys,
};

/// How long what was seen is kept, from when something was seen last.
const MEMORY: Duration = Duration::from_secs(3_600);
/// For so long the end of a look is news to whoever asks: later it says too little of now.
const NEWS: Duration = Duration::from_secs(600);
/// A look that has not gone on for so long has died. One that waits for its quota waits for less.
const DEAD: Duration = Duration::from_secs(180);
/// The longest that one waits for its quota.
const LONGEST_WAIT: Duration = Duration::from_secs(120);
/// How long one message looks; the function has 60 s, and a read may take 20.
const TIME: Duration = Duration::from_secs(25);
/// Listings that are read at the same time.
const TOGETHER: usize = 4;

/// What a listing was seen to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seen {
    /// Which item it was.
    pub item: ItemId,
    /// Units.
    pub units: u64,
    /// Whether it can be bought at all, stock apart.
    pub on_sale: bool,
    /// Its price, where looking tells it.
    pub price: Option<Price>,
    /// When it was asked for.
    pub at: Timestamp,
}

/// What became of one listing of a look.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Looked {
    /// It was read.
    At(Seen),
    /// The channel refuses to show it, with why.
    Refused(String),
}

/// How far a look is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It goes on.
    UnderWay,
    /// Every listing was read.
    Done,
    /// The channel did not let it go on, with why.
    Ended(String),
}

/// The looks at a shop's channels: the newest of each.
#[derive(Clone)]
pub struct Looks {
    redis: Redis,
    keys: Keys,
}

impl Looks {
    /// The looks behind a connection.
    #[must_use]
    pub fn new(redis: Redis, keys: Keys) -> Self {
        Self { redis, keys }
    }

    /// Begins a look, unless one is under way, or one has come to its end that nobody has been told of. Returns its number if it
    /// began: then [`SyncWake::Look`] has to be sent. Of two that begin at the same time one is given up.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn begin(&self, channel: &str) -> Result<Option<u64>, Error> {
        let place = self.keys.look(channel);
        let mut command = redis::pipe();
        command.hmget(&place, &["went_on", "end", "told"]);
        type Known = (Option<u64>, Option<String>, Option<u8>);
        let ((went_on, end, told),): (Known,) = self.redis.send(&command).await?;
        let now = clock::now();
        let span = if end.is_some() { NEWS } else { DEAD };
        let is_new = went_on.is_some_and(|at| Timestamp::from_millis(at) + span > now);
        if told.is_none() && is_new {
            return Ok(None);
        }
        let number = fastrand::u64(1..);
        let mut commands = redis::pipe();
        commands
            .atomic()
            .del(&place)
            .ignore()
            .hset(&place, "number", number)
            .ignore()
            .hset(&place, "went_on", now.millis())
            .ignore()
            .expire(&place, MEMORY.as_secs().cast_signed())
            .ignore();
        self.redis.send::<()>(&commands).await?;
        Ok(Some(number))
    }

    /// How far the look at a channel is; one that is gone has been begun by nobody, and is under way.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn progress(&self, channel: &str) -> Result<Progress, Error> {
        let mut command = redis::pipe();
        command.hget(self.keys.look(channel), "end");
        let (end,): (Option<String>,) = self.redis.send(&command).await?;
        Ok(match end {
            None => Progress::UnderWay,
            Some(cause) if cause.is_empty() => Progress::Done,
            Some(cause) => Progress::Ended(cause),
        })
    }

    /// Takes note that somebody was told of the end of a look: whoever asks next has a new one begun.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn told(&self, channel: &str) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.hset(self.keys.look(channel), "told", 1).ignore();
        Ok(self.redis.send(&command).await?)
    }

    /// What the look has seen of these products.
    ///
    /// # Errors
    /// Redis did not answer.
    pub async fn seen(
        &self,
        channel: &str,
        products: &[ProductId],
    ) -> Result<BTreeMap<ProductId, Looked>, Error> {
        if products.is_empty() {
            return Ok(BTreeMap::new());
        }
        let fields: Vec<String> = products.iter().map(field).collect();
        let mut command = redis::pipe();
        command.hmget(self.keys.look(channel), &fields);
        let (seen,): (Vec<Option<String>>,) = self.redis.send(&command).await?;
        let seen = products.iter().cloned().zip(seen);
        let read = seen.filter_map(|(product, seen)| {
            let looked = serde_json::from_str(&seen?).ok()?;
            Some((product, looked))
        });
        Ok(read.collect())
    }

    async fn is_current(&self, channel: &str, number: u64) -> Result<bool, Error> {
        let mut command = redis::pipe();
        command.hmget(self.keys.look(channel), &["number", "end"]);
        let ((current, end),): ((Option<u64>, Option<String>),) = self.redis.send(&command).await?;
        Ok(current == Some(number) && end.is_none())
    }

    async fn note(&self, channel: &str, looked: &[(ProductId, Looked)]) -> Result<(), Error> {
        let place = self.keys.look(channel);
        let mut commands = redis::pipe();
        for (product, looked) in looked {
            let looked =
                serde_json::to_string(looked).map_err(|error| Error::Corrupt(error.to_string()))?;
            commands.hset(&place, field(product), looked).ignore();
        }
        commands
            .hset(&place, "went_on", clock::now().millis())
            .ignore()
            .expire(&place, MEMORY.as_secs().cast_signed())
            .ignore();
        Ok(self.redis.send(&commands).await?)
    }

    async fn end(&self, channel: &str, cause: &str) -> Result<(), Error> {
        let mut command = redis::pipe();
        command.hset(self.keys.look(channel), "end", cause).ignore();
        Ok(self.redis.send(&command).await?)
    }
}

fn field(product: &ProductId) -> String {
    format!("product#{product}")
}

impl Push {
    /// Goes on with a look, until it is done or another has begun.
    pub(super) async fn look(
        &self,
        channel: &str,
        number: u64,
        after: Option<String>,
    ) -> Result<(), Error> {
        if !self.looks.is_current(channel, number).await? {
            return Ok(());
        }
        let Some(port) = self.ports.get(channel) else {
            let cause = self.ports.why_left_out(channel);
            let cause = cause.ok_or(Error::NotFound("channel"))?;
            return self.looks.end(channel, cause).await;
        };
        let deadline = Instant::now() + TIME;
        let mut after = after;
        loop {
            let circuit = self.circuits.of(channel).await?;
            if circuit.is_open(clock::now()) {
                let cause = "it is left alone for a while, because it failed";
                return self.looks.end(channel, cause).await;
            }
            let most = i32::try_from(TOGETHER).unwrap_or(i32::MAX);
            let (products, next) = self.catalog.listed(channel, after.as_deref(), most).await?;
            let failure = self.look_at_all(channel, port, products).await?;
            let span = match failure {
                None if next.is_none() => return self.looks.end(channel, "").await,
                None => {
                    after = next;
                    Duration::ZERO
                }
                Some(Failure::Turn { after, .. } | Failure::Limited { after, .. })
                    if after <= LONGEST_WAIT =>
                {
                    after.max(Duration::from_secs(1))
                }
                Some(failure) => {
                    self.circuits.note(channel, Err(&failure)).await?;
                    return self.looks.end(channel, &failure.to_string()).await;
                }
            };
            if !span.is_zero() || Instant::now() >= deadline {
                let channel = channel.to_owned();
                let wake = SyncWake::Look {
                    channel,
                    number,
                    after,
                };
                return self.wakes.send_after(&wake, span).await;
            }
        }
    }

    /// Reads what was not read before, and keeps it. Returns why not all of it could be.
    async fn look_at_all(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        mut products: Vec<ProductId>,
    ) -> Result<Option<Failure>, Error> {
        let seen = self.looks.seen(channel, &products).await?;
        products.retain(|product| !seen.contains_key(product));
        let outcomes: Vec<_> = stream::iter(products)
            .map(|product| self.look_at_one(channel, port, product))
            .buffer_unordered(TOGETHER)
            .collect()
            .await;
        let (mut looked, mut failed) = (Vec::new(), None);
        for outcome in outcomes {
            match outcome? {
                Ok(found) => looked.extend(found),
                Err(failure) => failed = Some(failure),
            }
        }
        self.looks.note(channel, &looked).await?;
        Ok(failed)
    }

    async fn look_at_one(
        &self,
        channel: &str,
        port: &dyn Marketplace,
        product: ProductId,
    ) -> Result<Result<Option<(ProductId, Looked)>, Failure>, Error> {
        let offers = self.catalog.offers(&product).await?;
        let Some((listing, _)) = offers.on(channel) else {
            return Ok(Ok(None));
        };
        // What is pushed meanwhile is newer.
        let at = clock::now();
        let looked = match port.read_item(&listing.item, Urgency::Sweep).await {
            Ok(shown) => Looked::At(Seen {
                item: listing.item.clone(),
                units: shown.units,
                on_sale: shown.on_sale,
                price: shown.price,
                at,
            }),
            Err(Failure::Refused(cause)) => Looked::Refused(cause),
            Err(failure) => return Ok(Err(failure)),
        };
        Ok(Ok(Some((product, looked))))
    }
}
