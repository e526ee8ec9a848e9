//! The pump: the one runner that sends the frames of a shard of a room.
//!
//! It starts on a wake, holds the shard's lease so that order is kept, sends one frame a viewer an interval, and ends when
//! the room is idle. A wake that finds a pump running is done. While it sends, a pump calls its successor for a little later,
//! again and again: if it dies, the next of these calls finds its lease ended and takes over, whether anything happens in the
//! room or not.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, interval_at, sleep_until};

use super::{Claim, Claimed, Last, Rooms, Shard, Wake, crowd::Crowd, frame::Ask, post::Post};
use crate::{
    clock::{self, Timestamp},
    error::Error,
};

/// Time between two frames of a small room.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// How often a pump looks for news that may go out at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// So many frames that were not needed may be made up for: what happens seldom goes out at once, and a rush gets a frame an
/// interval.
const BURST: u32 = 2;
/// How often a frame may grow while it goes round. Then the round comes to its end, and with it who is gone or too slow is seen.
const MAX_GROWTH: usize = 8;
/// How long a lease goes without being renewed.
pub const LEASE: Duration = Duration::from_millis(1_500);
/// How often a lease is renewed while a frame takes long.
const RENEWAL: Duration = Duration::from_millis(500);
/// How often a pump calls a successor, and for when: later than its lease could go on if it died right after the call.
const WATCH: Duration = Duration::from_secs(1);
const WATCH_DELAY: Duration = Duration::from_secs(3);
/// Connections that are closed at once.
const CLOSED_AT_ONCE: usize = 32;
/// How long a room says nothing before its pump ends.
const IDLE: Duration = Duration::from_secs(2);
/// How long one pump runs before it hands over. Less than the function's timeout by more than a frame takes.
const SHIFT: Duration = Duration::from_secs(45);

/// Sends frames.
pub struct Pump {
    rooms: Rooms,
    post: Post,
    /// Posts a second one room may make; a larger room gets fewer frames. The account has 10,000 requests a second for
    /// everything: see "API Gateway account-level quotas".
    callback_budget: u64,
}

/// When the next frame may go: a leaky bucket.
struct Bucket {
    /// When the frame after the last is due, if all had come an interval apart.
    due: Instant,
}

impl Bucket {
    /// A frame goes.
    fn take(&mut self, now: Instant, pace: Duration) {
        self.due = self.due.max(now) + pace;
    }

    /// From when on another one may.
    fn next(&self, now: Instant, pace: Duration) -> Instant {
        let earliest = self.due.checked_sub(pace * BURST).unwrap_or(self.due);
        earliest.max(now + LOOK_INTERVAL)
    }
}

impl Pump {
    /// A pump for any room of the shop.
    #[must_use]
    pub fn new(rooms: Rooms, post: Post, callback_budget: u64) -> Self {
        Self {
            rooms,
            post,
            callback_budget,
        }
    }

    /// Serves the shard of a wake until the room is idle, or hands over to another pump.
    ///
    /// # Errors
    /// Redis or the queue failed; the queue brings the wake again.
    pub async fn run(&self, wake: Wake) -> Result<(), Error> {
        let mut shift = Shift {
            pump: self,
            shard: Shard {
                broadcast: wake.broadcast_id,
                number: wake.shard,
            },
            token: format!("{:016x}", fastrand::u64(..)),
            crowd: Crowd::new(&self.post),
            last: None,
            bucket: Bucket {
                due: Instant::now(),
            },
            frames: 0,
        };
        let started = clock::now();
        let (shard, token) = (&shift.shard, &shift.token);
        let leased = self.rooms.lease(shard, token, started, started + LEASE);
        if !leased.await? {
            return Ok(());
        }
        shift.run(started, wake.watch).await?;
        tracing::info!(
            broadcast.id = %shift.shard.broadcast,
            shard = shift.shard.number,
            frames = shift.frames,
            viewers = shift.crowd.len(),
            "pump ended"
        );
        Ok(())
    }

    /// Time between two frames of a room of so many connections.
    fn pace(&self, connections: u64) -> Duration {
        let posts = connections as f64 / self.callback_budget as f64;
        FRAME_INTERVAL.max(Duration::from_secs(1).mul_f64(posts))
    }
}

/// The time for which one pump has the lease of a shard.
struct Shift<'a> {
    pump: &'a Pump,
    shard: Shard,
    token: String,
    crowd: Crowd<'a>,
    /// The frame it is at.
    last: Option<Last>,
    bucket: Bucket,
    /// So many went out.
    frames: usize,
}

impl Shift<'_> {
    async fn run(&mut self, started: Timestamp, is_watch: bool) -> Result<(), Error> {
        // Whoever only looks whether the last pump died has not heard of anything to wait for.
        let mut busy_at = (!is_watch).then_some(started);
        let mut watched_at = None;
        loop {
            let (now, began) = (clock::now(), Instant::now());
            let over = now.since(started) >= SHIFT;
            let idle = busy_at.is_none_or(|busy_at| now.since(busy_at) >= IDLE);
            let pending = (self.last).is_some_and(|last| self.crowd.is_behind(last.head));
            let Some(frame) = self.claim(now, over || (idle && !pending)).await? else {
                return Ok(());
            };
            if over {
                // The claim stays: the next pump sends this frame.
                return self.pump.rooms.hand_over(&self.shard).await;
            }
            let viewers_version = frame.viewers_version;
            let known = self.last.map(|last| last.viewers_version);
            if known != Some(viewers_version) {
                let registered = self.pump.rooms.viewers(&self.shard, now).await?;
                let claimed = if known.is_none() {
                    &*frame.claimed
                } else {
                    &[]
                };
                self.crowd
                    .reload(registered, (frame.from, frame.served), claimed);
            }
            if known != Some(viewers_version) || frame.is_news() {
                busy_at = Some(now);
                if watched_at.is_none_or(|watched_at| now.since(watched_at) >= WATCH) {
                    let watch = self.pump.rooms.watch(&self.shard, WATCH_DELAY);
                    watch.await?;
                    watched_at = Some(now);
                }
            }
            self.last = Some(Last {
                head: frame.head,
                viewers_version,
                under_way: true,
            });
            let pace = self.pump.pace(frame.connections);
            if self.plan(frame).await? {
                self.count(began, pace);
            }
            if !self.send(began, pace).await? {
                return Ok(());
            }
            self.settle().await?;
            let next = self.bucket.next(began, pace);
            loop {
                tokio::select! {
                    () = self.crowd.next() => {}
                    () = sleep_until(next) => break,
                }
            }
        }
    }

    /// The next frame; `None` if there is none for this pump any more.
    async fn claim(&self, now: Timestamp, end: bool) -> Result<Option<Claimed>, Error> {
        let ask = Ask {
            token: &self.token,
            until: now + LEASE,
            last: self.last,
            end,
        };
        let rooms = &self.pump.rooms;
        match rooms.claim_frame(&self.shard, &ask, now).await? {
            Claim::Frame(frame) => Ok(Some(frame)),
            Claim::Lost | Claim::Ended => Ok(None),
            Claim::Forgotten => {
                self.send_away(&self.crowd.connections()).await;
                rooms.wake(&self.shard).await?;
                Ok(None)
            }
        }
    }

    /// A frame goes.
    fn count(&mut self, now: Instant, pace: Duration) {
        self.frames += 1;
        self.bucket.take(now, pace);
    }

    /// Returns whether there is anything to post.
    async fn plan(&mut self, frame: Claimed) -> Result<bool, Error> {
        let Claimed {
            from, head, events, ..
        } = frame;
        let behind = self.crowd.behind().unwrap_or(head);
        let mut log = Vec::new();
        if behind < from {
            let read = self.pump.rooms.log(&self.shard.broadcast, behind, from);
            log = read.await?;
        }
        log.extend(events);
        // Numbers are given without gaps: what is missing before the first of them is forgotten.
        let forgotten = log.first().map_or(behind, |event| event.seq - 1);
        Ok(self.crowd.plan(log, head, forgotten))
    }

    /// Posts until everybody has been posted to, and for no longer than an interval to whoever does not answer. While some have
    /// not been posted to, the frame grows as often as another one might go. Returns whether the lease is still this pump's.
    async fn send(&mut self, began: Instant, pace: Duration) -> Result<bool, Error> {
        let until = began + pace;
        let mut grows_at = self.bucket.next(began, pace);
        let mut growth = 0;
        let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
        loop {
            let all_started = self.crowd.start();
            let now = Instant::now();
            if self.crowd.is_idle() || (all_started && now >= until) {
                return Ok(true);
            }
            if !all_started && now >= grows_at && growth < MAX_GROWTH {
                let Some(frame) = self.claim(clock::now(), false).await? else {
                    return Ok(false);
                };
                if frame.is_news() {
                    growth += 1;
                    self.last = self.last.map(|last| Last {
                        head: frame.head,
                        ..last
                    });
                    if self.crowd.grow(frame.events, frame.head) {
                        self.count(now, pace);
                    }
                }
                grows_at = self.bucket.next(now, pace);
                continue;
            }
            tokio::select! {
                () = self.crowd.next() => {}
                () = sleep_until(until), if all_started => {}
                _ = renewal.tick() => {
                    let now = clock::now();
                    let rooms = &self.pump.rooms;
                    if !rooms.renew(&self.shard, &self.token, now, now + LEASE).await? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Closes connections; their viewers come back and hear where they are.
    async fn send_away(&self, connections: &[String]) {
        let closing = stream::iter(connections).map(|connection| self.pump.post.close(connection));
        let mut closed = closing.buffer_unordered(CLOSED_AT_ONCE);
        while let Some(outcome) = closed.next().await {
            if let Err(error) = outcome {
                tracing::warn!(error = %error, "a viewer was not sent away");
            }
        }
    }

    /// Writes down what another pump has to know before the frame counts as sent.
    async fn settle(&mut self) -> Result<(), Error> {
        let Some(last) = &mut self.last else {
            return Ok(());
        };
        last.under_way = false;
        let head = last.head;
        let (gone, too_slow) = self.crowd.settle();
        self.send_away(&too_slow).await;
        let left: Vec<&str> = gone.iter().chain(&too_slow).map(String::as_str).collect();
        let rooms = &self.pump.rooms;
        rooms.leave(&self.shard, &left).await?;
        let notes = self.crowd.notes(head);
        rooms.note_behind(&self.shard, &notes).await
    }
}
