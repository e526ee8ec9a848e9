//! The pump: the one runner that sends a room's frames.
//!
//! It starts on a wake, holds the room's lease so that order is kept, sends one frame a viewer an interval, and ends when
//! the room is idle. A wake that finds a pump running is done. A pump that dies is replaced when its lease has ended.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use futures::{StreamExt, stream};

use super::{
    Claim, LoggedEvent, Rooms, Wake,
    frame::Ask,
    post::{Post, Posted},
};
use crate::{clock, error::Error, id::BroadcastId};

/// Time between two frames of a small room.
const FRAME_INTERVAL: Duration = Duration::from_millis(100);
/// Posts under way at once.
const POSTS_AT_ONCE: usize = 64;
/// How long a lease goes without being renewed.
const LEASE: Duration = Duration::from_secs(3);
/// How long a room says nothing before its pump ends.
const IDLE: Duration = Duration::from_secs(2);
/// How long one pump runs before it hands over. Less than the function's timeout by more than a frame takes.
const SHIFT: Duration = Duration::from_secs(45);

/// Sends a room's frames.
pub struct Pump {
    rooms: Rooms,
    post: Post,
    /// Posts a second one room may make; a larger room gets fewer frames. The account has 10,000 requests a second for
    /// everything: see "API Gateway account-level quotas".
    callback_budget: u64,
}

struct Viewer {
    user: String,
    cursor: u64,
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

    /// Serves the room of a wake until it is idle, or hands over to another pump.
    ///
    /// # Errors
    /// Redis or the queue failed; the queue brings the wake again.
    pub async fn run(&self, wake: Wake) -> Result<(), Error> {
        let broadcast = wake.broadcast_id;
        let token = format!("{:016x}", fastrand::u64(..));
        let started = clock::now();
        if !self
            .rooms
            .lease(&broadcast, &token, started, started + LEASE)
            .await?
        {
            return Ok(());
        }
        let mut viewers = HashMap::<String, Viewer>::new();
        let (mut sent, mut version, mut people) = (None, None, None);
        let mut busy_at = started;
        let mut frames = 0_u32;
        loop {
            let now = clock::now();
            let over = now.since(started) >= SHIFT;
            let ask = Ask {
                token: &token,
                until: now + LEASE,
                sent,
                end: over || now.since(busy_at) >= IDLE,
                people,
            };
            let (from, head, viewers_version, served, events) =
                match self.rooms.claim_frame(&broadcast, &ask, now).await? {
                    Claim::Lost | Claim::Ended => break,
                    // The claim stays: the next pump sends this frame.
                    Claim::Frame { .. } if over => {
                        self.rooms.hand_over(&broadcast).await?;
                        break;
                    }
                    Claim::Quiet {
                        head,
                        viewers_version,
                        served,
                    } => (head, head, viewers_version, served, Vec::new()),
                    Claim::Frame {
                        from,
                        head,
                        viewers_version,
                        served,
                        events,
                    } => {
                        busy_at = now;
                        (from, head, viewers_version, served, events)
                    }
                };
            if version != Some(viewers_version) {
                self.reload(&broadcast, &mut viewers, from, served).await?;
                version = Some(viewers_version);
                people = Some(
                    viewers
                        .values()
                        .map(|viewer| viewer.user.as_str())
                        .collect::<HashSet<_>>()
                        .len(),
                );
                busy_at = now;
            }
            self.send_frame(&broadcast, &mut viewers, from, head, events)
                .await?;
            frames += 1;
            sent = Some((head, viewers_version));
            let paced =
                Duration::from_secs(1).mul_f64(viewers.len() as f64 / self.callback_budget as f64);
            tokio::time::sleep(
                FRAME_INTERVAL
                    .max(paced)
                    .saturating_sub(clock::now().since(now)),
            )
            .await;
        }
        tracing::info!(broadcast.id = %broadcast, frames, viewers = viewers.len(), "pump ended");
        Ok(())
    }

    /// Takes over who is registered. Whom this pump does not know yet has the room up to `sent` if the viewers version
    /// `served` had them, else up to their registration.
    async fn reload(
        &self,
        broadcast: &BroadcastId,
        viewers: &mut HashMap<String, Viewer>,
        sent: u64,
        served: u64,
    ) -> Result<(), Error> {
        let mut known = std::mem::take(viewers);
        for registered in self.rooms.viewers(broadcast).await? {
            let cursor = if registered.version <= served {
                registered.cursor.max(sent)
            } else {
                registered.cursor
            };
            let viewer = known.remove(&registered.connection).unwrap_or(Viewer {
                user: registered.user,
                cursor,
            });
            viewers.insert(registered.connection, viewer);
        }
        Ok(())
    }

    async fn send_frame(
        &self,
        broadcast: &BroadcastId,
        viewers: &mut HashMap<String, Viewer>,
        from: u64,
        head: u64,
        events: Vec<LoggedEvent>,
    ) -> Result<(), Error> {
        let behind = viewers
            .values()
            .map(|viewer| viewer.cursor)
            .min()
            .unwrap_or(head);
        let mut log = if behind < from {
            self.rooms.log(broadcast, behind, from).await?
        } else {
            Vec::new()
        };
        log.extend(events);

        let private: HashSet<&str> = log.iter().filter_map(|event| event.to.as_deref()).collect();
        let mut shared = BTreeMap::<u64, Option<String>>::new();
        let mut posts = Vec::new();
        for (connection, viewer) in viewers.iter().filter(|(_, viewer)| viewer.cursor < head) {
            let frame = if private.contains(viewer.user.as_str()) {
                encode(&log, viewer.cursor, head, Some(&viewer.user))
            } else {
                shared
                    .entry(viewer.cursor)
                    .or_insert_with(|| encode(&log, viewer.cursor, head, None))
                    .clone()
            };
            posts.push((connection.clone(), frame));
        }

        let outcomes: Vec<(String, Posted)> = stream::iter(posts)
            .map(|(connection, frame)| async move {
                let posted = match frame {
                    Some(frame) => self.post.send(&connection, &frame).await,
                    None => Posted::Delivered,
                };
                (connection, posted)
            })
            .buffer_unordered(POSTS_AT_ONCE)
            .collect()
            .await;

        let mut gone = Vec::new();
        for (connection, posted) in outcomes {
            match posted {
                Posted::Delivered => {
                    if let Some(viewer) = viewers.get_mut(&connection) {
                        viewer.cursor = head;
                    }
                }
                Posted::Gone => gone.push(connection),
                // Their cursor stays: the next frame has what this one had.
                Posted::Slow => {}
                Posted::Failed(error) => {
                    tracing::warn!(error = %error, "a frame was not delivered")
                }
            }
        }
        for connection in &gone {
            viewers.remove(connection);
        }
        self.rooms
            .leave(
                broadcast,
                &gone.iter().map(String::as_str).collect::<Vec<_>>(),
            )
            .await
    }
}

/// One frame: the events after `after` that are for everyone or for `user`; `None` if there are none.
fn encode(log: &[LoggedEvent], after: u64, head: u64, user: Option<&str>) -> Option<String> {
    let mut frame = format!(r#"{{"type":"frame","seq":{head},"events":["#);
    let mut any = false;
    for event in log
        .iter()
        .filter(|event| event.seq > after && (event.to.is_none() || event.to.as_deref() == user))
    {
        if any {
            frame.push(',');
        }
        frame.push_str(&event.json);
        any = true;
    }
    frame.push_str("]}");
    any.then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, to: Option<&str>) -> LoggedEvent {
        LoggedEvent {
            seq,
            to: to.map(str::to_owned),
            json: format!(r#"{{"n":{seq}}}"#),
        }
    }

    #[test]
    fn a_frame_has_what_is_new_and_meant_for_its_viewer() {
        let log = [event(1, None), event(2, Some("u1")), event(3, None)];
        assert_eq!(
            encode(&log, 0, 3, None).as_deref(),
            Some(r#"{"type":"frame","seq":3,"events":[{"n":1},{"n":3}]}"#)
        );
        assert_eq!(
            encode(&log, 1, 3, Some("u1")).as_deref(),
            Some(r#"{"type":"frame","seq":3,"events":[{"n":2},{"n":3}]}"#)
        );
        assert_eq!(encode(&log, 3, 3, None), None);
    }
}
