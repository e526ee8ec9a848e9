//! The pump: the one runner that sends the frames of a shard of a room.
//!
//! It starts on a wake, holds the shard's lease so that order is kept, sends one frame a viewer an interval, and ends when
//! the room is idle. A wake that finds a pump running is done. While it sends, a pump calls its successor for a little later,
//! again and again: if it dies, the next of these calls finds its lease ended and takes over, whether anything happens in the
//! room or not.

use std::time::Duration;

use futures::{StreamExt, stream};
use tokio::time::{Instant, interval_at, sleep_until};

use super::{Claim, LoggedEvent, Rooms, Shard, Wake, crowd::Crowd, frame::Ask, post::Post};
use crate::{clock, error::Error};

/// Time between two frames of a small room.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// How often a pump looks for news that may go out at once.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// So many frames that were not needed may be made up for: what happens seldom goes out at once, and a rush gets a frame an
/// interval.
const BURST: u32 = 2;
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

/// The frame a pump is at.
struct Current {
    from: u64,
    head: u64,
    viewers_version: u64,
    served: u64,
    connections: u64,
    events: Vec<LoggedEvent>,
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
        let shard = Shard {
            broadcast: wake.broadcast_id,
            number: wake.shard,
        };
        let token = format!("{:016x}", fastrand::u64(..));
        let started = clock::now();
        let leased = self.rooms.lease(&shard, &token, started, started + LEASE);
        if !leased.await? {
            return Ok(());
        }
        let mut crowd = Crowd::new(&self.post);
        let (mut sent, mut version) = (None, None);
        // Whoever only looks whether the last pump died has not heard of anything to wait for.
        let mut busy_at = (!wake.watch).then_some(started);
        let mut watched_at = None;
        let mut frames = 0_u32;
        // When the frame after the next is due, if all had come an interval apart (a leaky bucket).
        let mut due = Instant::now();
        loop {
            let (now, began) = (clock::now(), Instant::now());
            let over = now.since(started) >= SHIFT;
            let idle = busy_at.is_none_or(|busy_at| now.since(busy_at) >= IDLE);
            let pending = sent.is_some_and(|(head, _)| crowd.is_behind(head));
            let ask = Ask {
                token: &token,
                until: now + LEASE,
                sent,
                end: over || (idle && !pending),
            };
            let claim = self.rooms.claim_frame(&shard, &ask, now).await?;
            let news = matches!(claim, Claim::Frame { .. });
            if claim == Claim::Forgotten {
                self.send_away(&crowd.connections()).await;
                self.rooms.wake(&shard).await?;
            }
            let Some(frame) = current(claim) else { break };
            if over {
                // The claim stays: the next pump sends this frame.
                self.rooms.hand_over(&shard).await?;
                break;
            }
            if version != Some(frame.viewers_version) {
                let registered = self.rooms.viewers(&shard, now).await?;
                let claimed = version.is_none().then_some(frame.head);
                crowd.reload(registered, (frame.from, frame.served), claimed);
                version = Some(frame.viewers_version);
                busy_at = Some(now);
            }
            if news {
                busy_at = Some(now);
            }
            if busy_at == Some(now)
                && watched_at.is_none_or(|watched_at| now.since(watched_at) >= WATCH)
            {
                self.rooms.watch(&shard, WATCH_DELAY).await?;
                watched_at = Some(now);
            }
            let pace = self.pace(frame.connections);
            let head = frame.head;
            sent = Some((head, frame.viewers_version));
            self.plan(&shard, &mut crowd, frame).await?;
            if !self.send(&shard, &token, &mut crowd, began + pace).await? {
                break;
            }
            self.settle(&shard, &mut crowd, head).await?;
            let posted = crowd.has_posted();
            frames += u32::from(posted);
            let mut next = began + LOOK_INTERVAL;
            if posted {
                due = due.max(began) + pace;
                next = next.max(due.checked_sub(pace * BURST).unwrap_or(due));
            }
            loop {
                tokio::select! {
                    () = crowd.next() => {}
                    () = sleep_until(next) => break,
                }
            }
        }
        tracing::info!(broadcast.id = %shard.broadcast, shard = shard.number, frames, viewers = crowd.len(), "pump ended");
        Ok(())
    }

    /// Time between two frames of a room of so many connections.
    fn pace(&self, connections: u64) -> Duration {
        let posts = connections as f64 / self.callback_budget as f64;
        FRAME_INTERVAL.max(Duration::from_secs(1).mul_f64(posts))
    }

    async fn plan(
        &self,
        shard: &Shard,
        crowd: &mut Crowd<'_>,
        frame: Current,
    ) -> Result<(), Error> {
        let Current {
            from, head, events, ..
        } = frame;
        let behind = crowd.behind().unwrap_or(head);
        let mut log = Vec::new();
        if behind < from {
            log = self.rooms.log(&shard.broadcast, behind, from).await?;
        }
        log.extend(events);
        // Numbers are given without gaps: what is missing before the first of them is forgotten.
        let forgotten = log.first().map_or(behind, |event| event.seq - 1);
        crowd.plan(&log, head, forgotten);
        Ok(())
    }

    /// Posts until everybody has been posted to, and for no longer than `until` to whoever does not answer. Returns whether
    /// the lease is still this pump's.
    async fn send(
        &self,
        shard: &Shard,
        token: &str,
        crowd: &mut Crowd<'_>,
        until: Instant,
    ) -> Result<bool, Error> {
        let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
        loop {
            let all_started = crowd.start();
            if crowd.is_idle() || (all_started && Instant::now() >= until) {
                return Ok(true);
            }
            tokio::select! {
                () = crowd.next() => {}
                () = sleep_until(until), if all_started => {}
                _ = renewal.tick() => {
                    let now = clock::now();
                    if !self.rooms.renew(shard, token, now, now + LEASE).await? {
                        return Ok(false);
                    }
                }
            }
        }
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

    /// Writes down what another pump has to know before the frame up to `head` counts as sent.
    async fn settle(&self, shard: &Shard, crowd: &mut Crowd<'_>, head: u64) -> Result<(), Error> {
        let (gone, too_slow) = crowd.settle();
        self.send_away(&too_slow).await;
        let left: Vec<&str> = gone.iter().chain(&too_slow).map(String::as_str).collect();
        self.rooms.leave(shard, &left).await?;
        let notes = crowd.notes(head);
        self.rooms.note_behind(shard, &notes).await
    }
}

/// What a pump has to send; `None` if it is to end.
fn current(claim: Claim) -> Option<Current> {
    match claim {
        Claim::Lost | Claim::Forgotten | Claim::Ended => None,
        Claim::Quiet {
            head,
            viewers_version,
            served,
            connections,
        } => Some(Current {
            from: head,
            head,
            viewers_version,
            served,
            connections,
            events: Vec::new(),
        }),
        Claim::Frame {
            from,
            head,
            viewers_version,
            served,
            connections,
            events,
        } => Some(Current {
            from,
            head,
            viewers_version,
            served,
            connections,
            events,
        }),
    }
}
