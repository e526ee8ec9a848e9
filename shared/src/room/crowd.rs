//! The viewers of a shard as its pump knows them: how far each got, who is slow, who is gone. What a viewer got is known from
//! the answer to a post, so a viewer has one post under way at a time, and whoever may or may not have a frame gets that very
//! frame again: a client tells it by its number, and could not tell one that overlaps.
//!
//! So a pump that takes over keeps to where the frames of those before it may have ended, of which only one, or none, is behind
//! a viewer: it does not know which.
//!
//! What happens while a frame goes round goes along with it, to everybody who was not posted to yet; who was gets it next. So
//! news reach a large room in the time of one round, however short they come after other news.

use std::{
    collections::{HashMap, HashSet, VecDeque, hash_map::Entry},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};

use super::{
    LoggedEvent,
    encode::{Frame, frames},
    post::{Post, Posted},
    viewers::{Behind, Change, Registered},
};

/// Posts under way at once.
const POSTS_AT_ONCE: usize = 64;
/// Of them, to viewers who were slow the last time: they wait for each other, not the others for them.
const SLOW_AT_ONCE: usize = 8;
/// How often in a row a post may fail before the viewer's connection is closed. The viewer comes back and resumes.
const MAX_HITS: u32 = 20;
/// In how many places a viewer may be, so far as is known, before they are sent away.
const MAX_UNSURE: usize = 16;
/// From how many slow viewers on, if they are more than a tenth of all, it is the account that is over its rate.
const THROTTLED: usize = 10;

/// A viewer.
struct Viewer {
    user: String,
    /// The sequence number they have for certain.
    cursor: u64,
    /// Where frames after it end that they may have, too; ascending.
    unsure: Vec<u64>,
    /// Of their registration.
    version: u64,
    /// Posts that failed in a row.
    hits: u32,
    /// The end of what is being posted.
    posting: Option<u64>,
    /// Whether a post failed in this round: the next one tries again.
    failed: bool,
    /// What was written down of them for another pump, while they are behind.
    noted: Option<(u64, Vec<u64>)>,
}

impl Viewer {
    /// They may have a frame that ends there.
    fn may_have(&mut self, end: u64) {
        if end > self.cursor
            && let Err(place) = self.unsure.binary_search(&end)
        {
            self.unsure.insert(place, end);
        }
    }

    /// They have what comes up to there.
    fn has(&mut self, reached: u64) {
        self.cursor = self.cursor.max(reached);
        self.unsure.retain(|end| *end > self.cursor);
    }
}

/// The events of a range, as frames.
#[derive(Clone)]
struct Part {
    frames: Arc<Vec<Frame>>,
    until: u64,
}

/// Posts to do, one after the other.
struct Job {
    connection: String,
    parts: Vec<Part>,
    slow: bool,
}

/// What became of one.
struct Outcome {
    connection: String,
    slow: bool,
    /// How far it got, if anything was delivered.
    reached: Option<u64>,
    /// The frame that was not delivered for certain, and why.
    failed: Option<(u64, Posted)>,
}

/// What goes round: the events that viewers miss, and the frames made of them so far.
#[derive(Default)]
struct Round {
    /// All events after this one.
    after: u64,
    log: Vec<LoggedEvent>,
    /// Where it ended before it grew, and where it ends.
    ends: Vec<u64>,
    /// Who gets frames of their own.
    private: HashSet<String>,
    shared: HashMap<(u64, u64), Arc<Vec<Frame>>>,
}

impl Round {
    fn head(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    fn add(&mut self, events: Vec<LoggedEvent>) {
        let users = events.iter().filter_map(|event| event.to.clone());
        self.private.extend(users);
        self.log.extend(events);
    }

    fn frames(&mut self, range: (u64, u64), user: &str) -> Arc<Vec<Frame>> {
        if self.private.contains(user) {
            return Arc::new(frames(&self.log, range, Some(user)));
        }
        let made = self.shared.entry(range);
        Arc::clone(made.or_insert_with(|| Arc::new(frames(&self.log, range, None))))
    }

    /// What this viewer misses.
    fn parts(&mut self, viewer: &Viewer) -> Vec<Part> {
        let (head, mut from) = (self.head(), viewer.cursor);
        let mut parts = Vec::with_capacity(viewer.unsure.len() + 1);
        for &until in viewer.unsure.iter().filter(|end| **end < head) {
            let frames = self.frames((from, until), &viewer.user);
            parts.push(Part { frames, until });
            from = until;
        }
        let rest = self.frames((from, head), &viewer.user);
        if rest.len() < 2 {
            parts.push(Part {
                frames: rest,
                until: head,
            });
            return parts;
        }
        // It takes several frames. A pump that takes over would not know where these end, but for the ends that are written down.
        for place in self.ends.partition_point(|end| *end <= from)..self.ends.len() {
            let until = self.ends[place];
            let frames = self.frames((from, until), &viewer.user);
            parts.push(Part { frames, until });
            from = until;
        }
        parts
    }
}

/// The viewers of a shard, and the posts to them.
pub(super) struct Crowd<'a> {
    post: &'a Post,
    viewers: HashMap<String, Viewer>,
    round: Round,
    /// Connections to be posted to, whatever goes round by then.
    waiting: VecDeque<String>,
    slow: VecDeque<String>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Outcome>>,
    slow_under_way: usize,
    gone: Vec<String>,
    refused: Vec<String>,
    /// Those who cannot be told what they missed.
    lost: Vec<String>,
    posted: usize,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(post: &'a Post) -> Self {
        Self {
            post,
            viewers: HashMap::new(),
            round: Round::default(),
            waiting: VecDeque::new(),
            slow: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            slow_under_way: 0,
            gone: Vec::new(),
            refused: Vec::new(),
            lost: Vec::new(),
            posted: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.viewers.len()
    }

    /// Everyone's connections.
    pub(super) fn connections(&self) -> Vec<String> {
        self.viewers.keys().cloned().collect()
    }

    /// Takes over who is registered. Returns the latest version of their registrations. The shard has `sent`, and the viewers
    /// version `served` got it. An earlier pump may have been posting frames with the ends `claimed`.
    pub(super) fn reload(
        &mut self,
        registered: Vec<Registered>,
        settled: (u64, u64),
        claimed: &[u64],
    ) -> u64 {
        let there: HashSet<&str> = registered.iter().map(|it| it.connection.as_str()).collect();
        self.viewers
            .retain(|connection, _| there.contains(connection.as_str()));
        let versions = registered.iter().filter(|one| one.is_registration());
        let latest = versions.map(|one| one.version).max().unwrap_or_default();
        for one in registered {
            self.take_in(one, settled, claimed);
        }
        latest
    }

    /// Takes over who came and went, one after the other. The shard has `sent`, and the viewers version `served` got it.
    pub(super) fn follow(&mut self, changes: Vec<Change>, settled: (u64, u64)) {
        for change in changes {
            match change {
                Change::Came(one) => self.take_in(one, settled, &[]),
                Change::Went(connection) => {
                    self.viewers.remove(&connection);
                }
            }
        }
    }

    fn take_in(&mut self, one: Registered, (sent, served): (u64, u64), claimed: &[u64]) {
        match self.viewers.entry(one.connection.clone()) {
            Entry::Occupied(mut known) => {
                let viewer = known.get_mut();
                if one.is_registration() && one.version != viewer.version {
                    // Joined again: the answer to that has told them what there was.
                    viewer.has(one.cursor);
                    viewer.version = one.version;
                }
            }
            Entry::Vacant(place) => {
                let behind = one.is_behind();
                let (cursor, unsure) = one.resumes(sent, served);
                let viewer = place.insert(Viewer {
                    noted: behind.then(|| (cursor, unsure.clone())),
                    user: one.user,
                    cursor,
                    unsure,
                    version: one.version,
                    hits: 0,
                    posting: None,
                    failed: false,
                });
                for end in claimed {
                    viewer.may_have(*end);
                }
            }
        }
    }

    /// The least that anybody has who can be posted to.
    pub(super) fn behind(&self) -> Option<u64> {
        let idle = self.viewers.values().filter(|it| it.posting.is_none());
        idle.map(|viewer| viewer.cursor).min()
    }

    /// Whether somebody does not have `head` yet.
    pub(super) fn is_behind(&self, head: u64) -> bool {
        self.viewers.values().any(|viewer| viewer.cursor < head)
    }

    /// Begins to post a frame: to everybody what they miss up to `head`. `log` has all events after `forgotten`, and whoever
    /// misses more than that cannot be told: their connection is to be closed. Returns whether there is any post.
    pub(super) fn plan(&mut self, log: Vec<LoggedEvent>, head: u64, forgotten: u64) -> bool {
        self.round = Round {
            after: forgotten,
            ..Round::default()
        };
        for (connection, viewer) in &mut self.viewers {
            viewer.failed = viewer.posting.is_none() && viewer.cursor < forgotten.min(head);
            if viewer.failed {
                self.lost.push(connection.clone());
            }
        }
        self.grow(log, head)
    }

    /// Takes these events along, up to `head`: they come right after what goes round.
    pub(super) fn grow(&mut self, events: Vec<LoggedEvent>, head: u64) -> bool {
        self.round.add(events);
        self.round.ends.push(head);
        self.waiting.clear();
        self.slow.clear();
        let mut missing: Vec<_> = (self.viewers.iter())
            .filter(|(_, viewer)| {
                viewer.posting.is_none() && !viewer.failed && viewer.cursor < head
            })
            .collect();
        // Who has waited longest goes first.
        missing.sort_unstable_by_key(|(_, viewer)| viewer.cursor);
        for (connection, viewer) in missing {
            if viewer.hits > 0 {
                self.slow.push_back(connection.clone());
            } else {
                self.waiting.push_back(connection.clone());
            }
        }
        let before = self.posted;
        let all_started = self.start();
        self.posted > before || !all_started || !self.slow.is_empty()
    }

    /// Starts what may be started. Returns whether all who are not slow have been posted to.
    pub(super) fn start(&mut self) -> bool {
        while self.under_way.len() - self.slow_under_way < POSTS_AT_ONCE - SLOW_AT_ONCE
            && let Some(connection) = self.waiting.pop_front()
        {
            self.begin(connection);
        }
        while self.slow_under_way < SLOW_AT_ONCE
            && let Some(connection) = self.slow.pop_front()
        {
            self.begin(connection);
        }
        self.waiting.is_empty()
    }

    /// Posts to a viewer what they miss of what goes round, if that is anything and the log goes back to where they are.
    fn begin(&mut self, connection: String) {
        let head = self.round.head();
        let Some(viewer) = self.viewers.get_mut(&connection) else {
            return; // left meanwhile
        };
        if viewer.cursor >= head || viewer.cursor < self.round.after {
            return;
        }
        let parts = self.round.parts(viewer);
        if parts.iter().all(|part| part.frames.is_empty()) {
            viewer.has(head);
            return;
        }
        viewer.posting = Some(head);
        let (_last, before) = parts.split_last().unzip();
        for part in before.into_iter().flatten() {
            viewer.may_have(part.until);
        }
        let slow = viewer.hits > 0;
        self.slow_under_way += usize::from(slow);
        self.posted += 1;
        let job = Job {
            connection,
            parts,
            slow,
        };
        self.under_way.push(deliver(self.post, job).boxed_local());
    }

    /// Whether nothing is being posted.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_empty() && self.waiting.is_empty()
    }

    /// Waits for the next post that is done; for ever if there is none.
    pub(super) async fn next(&mut self) {
        let Some(outcome) = self.under_way.next().await else {
            return std::future::pending().await;
        };
        self.learn(outcome);
    }

    fn learn(&mut self, outcome: Outcome) {
        self.slow_under_way -= usize::from(outcome.slow);
        let Some(viewer) = self.viewers.get_mut(&outcome.connection) else {
            return; // left meanwhile
        };
        viewer.posting = None;
        viewer.failed = outcome.failed.is_some();
        if let Some(reached) = outcome.reached {
            viewer.has(reached);
        }
        match outcome.failed {
            None => {
                viewer.hits = 0;
                // What goes round may have grown meanwhile.
                if viewer.cursor < self.round.head() {
                    self.waiting.push_back(outcome.connection);
                }
            }
            Some((_, Posted::Gone)) => self.gone.push(outcome.connection),
            Some((end, Posted::Unknown(error))) => {
                tracing::warn!(error = %error, "a frame may have been delivered or not");
                viewer.may_have(end);
                if viewer.unsure.len() > MAX_UNSURE {
                    viewer.hits = MAX_HITS;
                }
                self.refused.push(outcome.connection);
            }
            Some((_, Posted::Refused(error))) => {
                tracing::warn!(error = %error, "a frame was not delivered");
                self.refused.push(outcome.connection);
            }
            Some((_, Posted::Slow | Posted::Delivered)) => self.refused.push(outcome.connection),
        }
    }

    /// Counts whom the frame did not reach. Returns who is gone, and who is to be sent away: they are too slow, or cannot be told
    /// what they missed.
    pub(super) fn settle(&mut self) -> (Vec<String>, Vec<String>) {
        let refused = std::mem::take(&mut self.refused);
        let throttled = refused.len() > THROTTLED && refused.len() * 10 > self.viewers.len();
        let mut too_slow = Vec::new();
        for connection in refused {
            let Some(viewer) = self.viewers.get_mut(&connection) else {
                continue;
            };
            // While the account is over its rate nobody is at fault; each stays among the slow once.
            viewer.hits = if throttled { 1 } else { viewer.hits + 1 };
            if viewer.hits >= MAX_HITS {
                too_slow.push(connection);
            }
        }
        too_slow.append(&mut self.lost);
        let gone = std::mem::take(&mut self.gone);
        for connection in gone.iter().chain(&too_slow) {
            self.viewers.remove(connection);
        }
        (gone, too_slow)
    }

    /// What has to be written down before `head` is settled: who does not have it, and who has caught up since.
    pub(super) fn notes(&mut self, head: u64) -> Vec<Behind> {
        let mut notes = Vec::new();
        for (connection, viewer) in &mut self.viewers {
            let behind = viewer.cursor < head;
            if let Some(end) = viewer.posting {
                viewer.may_have(end);
            }
            let note = behind.then(|| (viewer.cursor, viewer.unsure.clone()));
            if note == viewer.noted {
                continue;
            }
            notes.push(Behind {
                connection: connection.clone(),
                cursor: viewer.cursor,
                unsure: if behind {
                    viewer.unsure.clone()
                } else {
                    Vec::new()
                },
                caught_up: !behind,
            });
            viewer.noted = note;
        }
        notes
    }
}

/// Posts frames one after the other, until one fails.
async fn deliver(post: &Post, job: Job) -> Outcome {
    let mut reached = None;
    for part in job.parts {
        for frame in part.frames.iter() {
            let posted = post.send_frame(&job.connection, &frame.payload).await;
            if !matches!(posted, Posted::Delivered) {
                return Outcome {
                    connection: job.connection,
                    slow: job.slow,
                    reached,
                    failed: Some((frame.seq, posted)),
                };
            }
            reached = Some(frame.seq);
        }
        reached = Some(part.until);
    }
    Outcome {
        connection: job.connection,
        slow: job.slow,
        reached,
        failed: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn viewer(user: &str, cursor: u64) -> Viewer {
        Viewer {
            user: user.to_owned(),
            cursor,
            unsure: Vec::new(),
            version: 1,
            hits: 0,
            posting: None,
            failed: false,
            noted: None,
        }
    }

    fn event(seq: u64, to: Option<&str>) -> LoggedEvent {
        LoggedEvent {
            seq,
            to: to.map(str::to_owned),
            json: format!(r#"{{"type":"chat","id":"{seq}"}}"#),
        }
    }

    #[test]
    fn viewers_with_the_same_cursor_share_one_encoded_frame() {
        let mut round = Round {
            after: 10,
            ends: vec![13],
            ..Round::default()
        };
        round.add(vec![
            event(11, None),
            event(12, Some("buyer")),
            event(13, None),
        ]);
        let mut parts = |user: &str, cursor| round.parts(&viewer(user, cursor)).remove(0).frames;
        let first = parts("u0", 10);
        for number in 1..100 {
            let other = parts(&format!("u{number}"), 10);
            assert!(Arc::ptr_eq(&first, &other), "u{number}: encoded again");
        }
        assert!(!Arc::ptr_eq(&first, &parts("u0", 11)), "who has more");
        assert!(
            !Arc::ptr_eq(&first, &parts("buyer", 10)),
            "who is told more"
        );
        assert_eq!(round.shared.len(), 2);
    }
}
