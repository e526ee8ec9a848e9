//! The viewers of a shard as its pump knows them: how far each got, who is slow, who is gone. What a viewer got is known from
//! the answer to a post, so a viewer has one post under way at a time, and whoever may or may not have a frame gets that very
//! frame again: a client tells it by its number, and could not tell one that overlaps.
//!
//! So a pump that takes over keeps to where the frames of those before it may have ended, of which only one, or none, is behind
//! a viewer: it does not know which.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use futures::{FutureExt, StreamExt, future::LocalBoxFuture, stream::FuturesUnordered};

use super::{
    LoggedEvent,
    encode::{Frame, frames},
    post::{Post, Posted},
    viewers::{Behind, Registered},
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
    until: u64,
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

/// The viewers of a shard, and the posts to them.
pub(super) struct Crowd<'a> {
    post: &'a Post,
    viewers: HashMap<String, Viewer>,
    waiting: VecDeque<Job>,
    slow: VecDeque<Job>,
    under_way: FuturesUnordered<LocalBoxFuture<'a, Outcome>>,
    slow_under_way: usize,
    gone: Vec<String>,
    refused: Vec<String>,
    posted: usize,
}

impl<'a> Crowd<'a> {
    pub(super) fn new(post: &'a Post) -> Self {
        Self {
            post,
            viewers: HashMap::new(),
            waiting: VecDeque::new(),
            slow: VecDeque::new(),
            under_way: FuturesUnordered::new(),
            slow_under_way: 0,
            gone: Vec::new(),
            refused: Vec::new(),
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

    /// Takes over who is registered. The shard has `sent`, and the viewers version `served` got it. `claimed` is the end of the
    /// frame that an earlier pump may have been posting.
    pub(super) fn reload(
        &mut self,
        registered: Vec<Registered>,
        (sent, served): (u64, u64),
        claimed: Option<u64>,
    ) {
        let mut known = std::mem::take(&mut self.viewers);
        for one in registered {
            let viewer = match known.remove(&one.connection) {
                // Joined again: the answer to that has told them what there was.
                Some(mut viewer) if one.is_registration() && one.version != viewer.version => {
                    viewer.has(one.cursor);
                    viewer.version = one.version;
                    viewer
                }
                Some(viewer) => viewer,
                None => {
                    let behind = one.is_behind();
                    let (cursor, unsure) = one.resumes(sent, served);
                    let mut viewer = Viewer {
                        noted: behind.then(|| (cursor, unsure.clone())),
                        user: one.user,
                        cursor,
                        unsure,
                        version: one.version,
                        hits: 0,
                        posting: None,
                    };
                    if let Some(claimed) = claimed {
                        viewer.may_have(claimed);
                    }
                    viewer
                }
            };
            self.viewers.insert(one.connection, viewer);
        }
    }

    /// Whether anything was posted since the last plan.
    pub(super) fn has_posted(&self) -> bool {
        self.posted > 0
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

    /// Plans the posts of a frame: to everybody what they miss up to `head`. `log` has all events after `forgotten`, and
    /// whoever misses more than that cannot be told: their connection is to be closed.
    pub(super) fn plan(&mut self, log: &[LoggedEvent], head: u64, forgotten: u64) {
        let private: HashSet<&str> = log.iter().filter_map(|event| event.to.as_deref()).collect();
        let mut shared = HashMap::<(u64, u64), Arc<Vec<Frame>>>::new();
        self.waiting.clear();
        self.slow.clear();
        self.posted = 0;
        for (connection, viewer) in &mut self.viewers {
            if viewer.posting.is_some() || viewer.cursor >= head {
                continue;
            }
            if viewer.cursor < forgotten {
                viewer.hits = MAX_HITS;
                self.refused.push(connection.clone());
                continue;
            }
            let theirs = private.contains(viewer.user.as_str());
            let mut ends = viewer.unsure.clone();
            if ends.last() != Some(&head) {
                ends.push(head);
            }
            let (mut parts, mut from) = (Vec::with_capacity(ends.len()), viewer.cursor);
            for until in ends {
                let frames = if theirs {
                    Arc::new(frames(log, (from, until), Some(&viewer.user)))
                } else {
                    let shared = shared.entry((from, until));
                    let shared =
                        shared.or_insert_with(|| Arc::new(frames(log, (from, until), None)));
                    Arc::clone(shared)
                };
                parts.push(Part { frames, until });
                from = until;
            }
            if parts.iter().all(|part| part.frames.is_empty()) {
                viewer.has(head);
                continue;
            }
            let job = Job {
                connection: connection.clone(),
                parts,
                until: head,
                slow: viewer.hits > 0,
            };
            if job.slow {
                self.slow.push_back(job);
            } else {
                self.waiting.push_back(job);
            }
        }
    }

    /// Starts what may be started. Returns whether all who are not slow have been posted to.
    pub(super) fn start(&mut self) -> bool {
        while self.under_way.len() - self.slow_under_way < POSTS_AT_ONCE - SLOW_AT_ONCE
            && let Some(job) = self.waiting.pop_front()
        {
            self.begin(job);
        }
        while self.slow_under_way < SLOW_AT_ONCE
            && let Some(job) = self.slow.pop_front()
        {
            self.slow_under_way += 1;
            self.begin(job);
        }
        self.waiting.is_empty()
    }

    fn begin(&mut self, job: Job) {
        if let Some(viewer) = self.viewers.get_mut(&job.connection) {
            viewer.posting = Some(job.until);
        }
        self.posted += 1;
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
        if let Some(reached) = outcome.reached {
            viewer.has(reached);
        }
        match outcome.failed {
            None => viewer.hits = 0,
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

    /// Counts whom the frame did not reach. Returns who is gone, and who is to be sent away, because they are too slow.
    pub(super) fn settle(&mut self) -> (Vec<String>, Vec<String>) {
        let refused = std::mem::take(&mut self.refused);
        let throttled = refused.len() > THROTTLED && refused.len() * 10 > self.posted;
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
