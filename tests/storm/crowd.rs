//! What the buyers have in common, and what is known of all of them.

use onepool_tests::Stack;
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// How the rush goes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Buyers whose order was accepted.
    pub accepted: usize,
    /// Requests without an answer, or with one that says to ask again.
    pub unanswered: usize,
    /// Answers that an accepted order is not known.
    pub forgotten: usize,
    /// When Redis was killed.
    pub killed: Option<Instant>,
    /// When an order was accepted again that was asked for after that.
    pub resumed: Option<Instant>,
    /// Every buyer is done.
    pub over: bool,
}

/// All buyers at one door.
pub struct Crowd<'a> {
    pub stack: &'a Stack,
    pub broadcast: &'a str,
    /// So many ask for an order at once.
    pub door: Semaphore,
    progress: watch::Sender<Progress>,
}

impl<'a> Crowd<'a> {
    pub fn new(stack: &'a Stack, broadcast: &'a str, at_the_door: usize) -> Self {
        Self {
            stack,
            broadcast,
            door: Semaphore::new(at_the_door),
            progress: watch::Sender::default(),
        }
    }

    pub fn progress(&self) -> Progress {
        *self.progress.borrow()
    }

    /// Waits until it has come to this, or all buyers are done.
    pub async fn until(&self, reached: impl Fn(&Progress) -> bool) -> Progress {
        let mut progress = self.progress.subscribe();
        let seen = progress
            .wait_for(|progress| progress.over || reached(progress))
            .await;
        *seen.expect("the crowd is there")
    }

    pub fn note_accepted(&self, asked: Instant) {
        self.progress.send_modify(|progress| {
            progress.accepted += 1;
            if progress.resumed.is_none() && progress.killed.is_some_and(|killed| killed <= asked) {
                progress.resumed = Some(Instant::now());
            }
        });
    }

    pub fn note_unanswered(&self) {
        self.progress
            .send_modify(|progress| progress.unanswered += 1);
    }

    pub fn note_forgotten(&self) {
        self.progress
            .send_modify(|progress| progress.forgotten += 1);
    }

    pub fn note_killed(&self) {
        self.progress
            .send_modify(|progress| progress.killed = Some(Instant::now()));
    }

    pub fn note_over(&self) {
        self.progress.send_modify(|progress| progress.over = true);
    }
}
