//! The pump: the one runner that sends the frames of a shard of a room.
//!
//! It starts on a wake, holds the shard's lease so that order is kept, sends one frame a viewer an interval, and ends when
//! the room is idle. A wake that finds a pump running is done. While it sends, a pump calls its successor for a little later,
//! again and again: if it dies, the next of these calls finds its lease ended and takes over, whether anything happens in the
//! room or not.

use std::{pin::pin, time::Duration};

use futures::{StreamExt, stream};
use tokio::time::{Instant, sleep_until};

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
/// For how long, and how often, a frame may grow while it goes round. Then the round comes to its end: who is gone or too slow
/// is seen, and what a pump that takes over has to reckon with stays little.
const GROWTH: Duration = Duration::from_secs(1);
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
/// How long a room says nothing before its pump ends, and how many intervals at least: who takes over does not know when the last
/// frame went.
const IDLE: Duration = Duration::from_secs(2);
const IDLE_INTERVALS: u32 = 2;
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
            leased_at: Instant::now(),
            busy_at: None,
            watched_at: None,
            bucket: Bucket {
                due: Instant::now(),
            },
            pace: FRAME_INTERVAL,
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

    /// Closes connections; their viewers come back and hear where they are.
    async fn send_away(&self, connections: &[String]) {
        let closing = stream::iter(connections).map(|connection| self.post.close(connection));
        let mut closed = closing.buffer_unordered(CLOSED_AT_ONCE);
        while let Some(outcome) = closed.next().await {
            if let Err(error) = outcome {
                tracing::warn!(error = %error, "a viewer was not sent away");
            }
        }
    }
}

/// Time between two frames of a room of so many connections that may make so many posts a second.
fn pace(connections: u64, callback_budget: u64) -> Duration {
    let posts = connections as f64 / callback_budget as f64;
    FRAME_INTERVAL.max(Duration::from_secs(1).mul_f64(posts))
}

/// The time for which one pump has the lease of a shard.
struct Shift<'a> {
    pump: &'a Pump,
    shard: Shard,
    token: String,
    crowd: Crowd<'a>,
    /// The frame it is at.
    last: Option<Last>,
    /// When the lease was taken or renewed last.
    leased_at: Instant,
    /// When there was something new last.
    busy_at: Option<Timestamp>,
    /// When a successor was called last.
    watched_at: Option<Timestamp>,
    bucket: Bucket,
    /// Time between two frames of the room as it was last.
    pace: Duration,
    /// So many went out.
    frames: usize,
}

impl Shift<'_> {
    async fn run(&mut self, started: Timestamp, is_watch: bool) -> Result<(), Error> {
        // Whoever only looks whether the last pump died has not heard of anything to wait for.
        self.busy_at = (!is_watch).then_some(started);
        loop {
            let (now, began) = (clock::now(), Instant::now());
            let over = now.since(started) >= SHIFT;
            let idle_after = IDLE.max(self.pace * IDLE_INTERVALS);
            let idle = (self.busy_at).is_none_or(|busy_at| now.since(busy_at) >= idle_after);
            let pending = (self.last).is_some_and(|last| self.crowd.is_behind(last.head));
            // Nobody ends before knowing the viewers: some may be behind.
            let end = self.last.is_some() && !pending && (over || idle);
            let Some(mut frame) = self.claim(now, end).await? else {
                return Ok(());
            };
            if over {
                // The claim stays: the next pump sends this frame.
                return self.pump.rooms.hand_over(&self.shard).await;
            }
            self.take_over_viewers(&mut frame, now).await?;
            if pending || self.busy_at == Some(now) {
                self.watch(now).await?;
            }
            // Frames of a pump that died go round once more, each of their ends for itself.
            let growth = frame.claimed.len().saturating_sub(1);
            let pace = pace(frame.connections, self.pump.callback_budget);
            self.pace = pace;
            if self.plan(frame).await? {
                for _ in 0..=growth {
                    self.count(began, pace);
                }
            }
            if !self.send(began, pace, growth).await? || !self.settle().await? {
                return Ok(());
            }
            if !self.wait(self.bucket.next(began, pace)).await? {
                return Ok(());
            }
        }
    }

    /// Waits for the time of the next frame, which in a large room is later than the lease goes. Meanwhile posts come to their end.
    /// Returns whether the lease is still this pump's.
    async fn wait(&mut self, next: Instant) -> Result<bool, Error> {
        loop {
            let renewal = self.leased_at + RENEWAL;
            tokio::select! {
                () = self.crowd.next() => {}
                () = sleep_until(next) => return Ok(true),
                () = sleep_until(renewal), if renewal < next => {
                    if !self.renew().await? {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// The next frame; `None` if there is none for this pump any more. Meanwhile posts come to their end.
    async fn claim(&mut self, now: Timestamp, end: bool) -> Result<Option<Claimed>, Error> {
        let asked_at = Instant::now();
        let ask = Ask {
            token: &self.token,
            until: now + LEASE,
            last: self.last,
            end,
        };
        let rooms = &self.pump.rooms;
        let mut claim = pin!(rooms.claim_frame(&self.shard, &ask, now));
        let claim = loop {
            tokio::select! {
                claim = &mut claim => break claim?,
                () = self.crowd.next() => {}
            }
        };
        match claim {
            Claim::Frame(frame) => {
                self.leased_at = asked_at;
                Ok(Some(frame))
            }
            Claim::Lost | Claim::Ended => Ok(None),
            Claim::Forgotten => {
                self.pump.send_away(&self.crowd.connections()).await;
                rooms.wake(&self.shard).await?;
                Ok(None)
            }
        }
    }

    /// Takes over the viewers of a frame: who came and went since the last one, and all of them at the first.
    async fn take_over_viewers(
        &mut self,
        frame: &mut Claimed,
        now: Timestamp,
    ) -> Result<(), Error> {
        let known = self.last.map(|last| last.viewers_version);
        let mut viewers_version = frame.viewers_version;
        let is_other = known != Some(viewers_version);
        let settled = (frame.from, frame.served);
        if let Some(changes) = frame.changes.take() {
            self.crowd.follow(changes, settled);
        } else {
            let registered = self.pump.rooms.viewers(&self.shard, now).await?;
            let claimed = if known.is_none() {
                &*frame.claimed
            } else {
                &[]
            };
            let latest = self.crowd.reload(registered, settled, claimed);
            // Who registered since the claim gets the frame, too.
            viewers_version = viewers_version.max(latest);
        }
        let is_behind = known.is_none() && self.crowd.is_behind(frame.head);
        if frame.is_news() || is_behind || (is_other && known.is_some()) {
            self.busy_at = Some(now);
        }
        self.last = Some(Last {
            head: frame.head,
            viewers_version,
            under_way: true,
        });
        Ok(())
    }

    /// A frame goes.
    fn count(&mut self, now: Instant, pace: Duration) {
        self.frames += 1;
        self.bucket.take(now, pace);
    }

    /// Calls a successor for later, if it is time to.
    async fn watch(&mut self, now: Timestamp) -> Result<(), Error> {
        if (self.watched_at).is_none_or(|watched_at| now.since(watched_at) >= WATCH) {
            let watch = self.pump.rooms.watch(&self.shard, WATCH_DELAY);
            watch.await?;
            self.watched_at = Some(now);
        }
        Ok(())
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
    async fn send(
        &mut self,
        began: Instant,
        pace: Duration,
        mut growth: usize,
    ) -> Result<bool, Error> {
        let until = began + pace;
        let grows_until = began + pace.max(GROWTH);
        let mut grows_at = self.bucket.next(began, pace);
        loop {
            // Before anything is posted: this process may have stood still for longer than its lease.
            if self.leased_at.elapsed() >= RENEWAL && !self.renew().await? {
                return Ok(false);
            }
            let all_started = self.crowd.start();
            let now = Instant::now();
            if self.crowd.is_idle() || (all_started && now >= until) {
                return Ok(true);
            }
            if !all_started && now >= grows_at && now < grows_until && growth < MAX_GROWTH {
                if !self.grow(now, pace, &mut growth).await? {
                    return Ok(false);
                }
                grows_at = self.bucket.next(Instant::now(), pace);
                // Posts have come to their end meanwhile, maybe all: the next ones start before anything is waited for.
                continue;
            }
            tokio::select! {
                () = self.crowd.next() => {}
                () = sleep_until(until), if all_started => {}
                () = sleep_until(self.leased_at + RENEWAL) => {}
            }
        }
    }

    /// Takes along what is new. Returns whether the lease is still this pump's.
    async fn grow(
        &mut self,
        now: Instant,
        pace: Duration,
        growth: &mut usize,
    ) -> Result<bool, Error> {
        let Some(mut frame) = self.claim(clock::now(), false).await? else {
            return Ok(false);
        };
        self.take_over_viewers(&mut frame, clock::now()).await?;
        if frame.is_news() {
            *growth += 1;
            if self.crowd.grow(frame.events, frame.head) {
                self.count(now, pace);
            }
        }
        Ok(true)
    }

    /// Stays the pump, and calls a successor. Returns whether the lease is still this pump's.
    async fn renew(&mut self) -> Result<bool, Error> {
        let (now, asked_at) = (clock::now(), Instant::now());
        let rooms = &self.pump.rooms;
        let until = now + LEASE;
        if !rooms.renew(&self.shard, &self.token, now, until).await? {
            return Ok(false);
        }
        self.leased_at = asked_at;
        self.watch(now).await?;
        Ok(true)
    }

    /// Writes down what another pump has to know before the frame counts as sent. Returns whether the lease is still this
    /// pump's.
    async fn settle(&mut self) -> Result<bool, Error> {
        let Some(last) = &mut self.last else {
            return Ok(true);
        };
        last.under_way = false;
        let head = last.head;
        let (gone, too_slow) = self.crowd.settle();
        self.pump.send_away(&too_slow).await;
        let left: Vec<&str> = gone.iter().chain(&too_slow).map(String::as_str).collect();
        let rooms = &self.pump.rooms;
        rooms.leave(&self.shard, &left).await?;
        let notes = self.crowd.notes(head);
        rooms.note_behind(&self.shard, &self.token, &notes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_room_gets_fewer_frames_so_that_it_stays_within_its_posts() {
        for (connections, budget, ms) in [
            (1, 5_000, 100),
            (500, 5_000, 100),
            (501, 5_000, 100),
            (1_000, 5_000, 200),
            (10_000, 5_000, 2_000),
            (10_000, 100_000, 100),
            (3, 1, 3_000),
        ] {
            let expected = Duration::from_millis(ms);
            let pace = pace(connections, budget);
            let more = pace.abs_diff(expected);
            assert!(more < Duration::from_millis(1), "{connections}: {pace:?}");
        }
    }

    #[test]
    fn what_happens_seldom_goes_out_at_once_and_a_rush_gets_a_frame_an_interval() {
        let start = Instant::now();
        let pace = Duration::from_millis(100);
        let mut bucket = Bucket { due: start };
        let mut at = start;
        let mut sent = Vec::new();
        for _ in 0..8 {
            bucket.take(at, pace);
            sent.push(at.duration_since(start).as_millis());
            at = bucket.next(at, pace);
        }
        assert_eq!(sent, [0, 20, 40, 100, 200, 300, 400, 500]);
        // After a pause, as many at once again, and no more.
        let mut at = at + Duration::from_secs(60);
        let resumed = at;
        sent.clear();
        for _ in 0..5 {
            bucket.take(at, pace);
            sent.push(at.duration_since(resumed).as_millis());
            at = bucket.next(at, pace);
        }
        assert_eq!(sent, [0, 20, 40, 100, 200]);
    }
}
