//! The bounded record of requests. What an entry tells besides its end is the service's own: no bodies, and nothing secret.

use std::collections::VecDeque;

use axum::http::StatusCode;
use serde::Serialize;

/// How a request went, as a part of its entry.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct End {
    outcome: Outcome,
    status: Option<u16>,
}

#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// Not ended yet: delayed, or held before its connection is cut.
    Running,
    Answered,
    /// The connection was closed without an answer.
    Cut,
}

impl End {
    /// Not there yet.
    pub const RUNNING: Self = Self {
        outcome: Outcome::Running,
        status: None,
    };

    /// None: nobody heard.
    #[must_use]
    pub fn with(status: Option<StatusCode>) -> Self {
        Self {
            outcome: match status {
                Some(_) => Outcome::Answered,
                None => Outcome::Cut,
            },
            status: status.map(|status| status.as_u16()),
        }
    }
}

/// Where an entry stands, so that its end can be written to it: requests are counted from 1 in the order of their arrival.
pub type Number = u64;

/// The newest entries.
#[derive(Debug)]
pub struct Record<E> {
    most: usize,
    entries: VecDeque<E>,
    /// How many requests have been recorded, and so the number of the newest.
    begun: Number,
    dropped: u64,
}

impl<E> Record<E> {
    /// Keeps as many entries as that.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self {
            most,
            entries: VecDeque::new(),
            begun: 0,
            dropped: 0,
        }
    }

    /// Keeps the entry, made for the number that it is given.
    pub fn begin(&mut self, entry: impl FnOnce(Number) -> E) -> Number {
        if self.entries.len() == self.most {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.begun += 1;
        self.entries.push_back(entry(self.begun));
        self.begun
    }

    /// Writes to an entry.
    pub fn note(&mut self, number: Number, change: impl FnOnce(&mut E)) {
        let entry = number
            .checked_sub(self.before_the_first() + 1)
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.entries.get_mut(place));
        // An entry that was pushed out while its request ran has nothing left to note.
        if let Some(entry) = entry {
            change(entry);
        }
    }

    /// Numbers go on counting, so that a request from before cannot write to an entry from after.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.dropped = 0;
    }

    /// Those that arrived after the one with this number.
    #[must_use]
    pub fn after(&self, number: Number) -> Vec<&E> {
        let skipped = number.saturating_sub(self.before_the_first());
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        self.entries.iter().skip(skipped).collect()
    }

    /// How many entries had to make room.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    fn before_the_first(&self) -> Number {
        self.begun - self.entries.len() as u64
    }
}
