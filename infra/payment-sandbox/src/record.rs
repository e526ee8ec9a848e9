//! The bounded record of requests to the Toss API. It holds no bodies and no keys that are secret.

use std::collections::VecDeque;

use serde::Serialize;

use crate::faults::Kind;

const MAX_ENTRIES: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    /// Not ended yet: delayed, or held before its connection is cut.
    Running,
    Answered,
    /// The connection was closed without an answer.
    Cut,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) at: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) order_id: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) outcome: Outcome,
    pub(crate) status: Option<u16>,
    pub(crate) fault: Option<Kind>,
    /// The answer was an earlier one, repeated for its idempotency key.
    pub(crate) replayed: bool,
}

/// Where an entry stands, so that its end can be written to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Number(u64);

#[derive(Debug, Default)]
pub(crate) struct Record {
    entries: VecDeque<Entry>,
    /// How many entries have been dropped from the front.
    dropped: u64,
}

impl Record {
    pub(crate) fn begin(&mut self, entry: Entry) -> Number {
        if self.entries.len() == MAX_ENTRIES {
            self.entries.pop_front();
            self.dropped += 1;
        }
        self.entries.push_back(entry);
        Number(self.dropped + self.entries.len() as u64 - 1)
    }

    pub(crate) fn note(&mut self, number: Number, change: impl FnOnce(&mut Entry)) {
        let entry = number
            .0
            .checked_sub(self.dropped)
            .and_then(|place| usize::try_from(place).ok())
            .and_then(|place| self.entries.get_mut(place));
        // An entry that was pushed out while its request ran has nothing left to note.
        if let Some(entry) = entry {
            change(entry);
        }
    }

    /// Numbers go on counting, so that a request from before cannot write to an entry from after.
    pub(crate) fn clear(&mut self) {
        self.dropped += self.entries.len() as u64;
        self.entries.clear();
    }

    pub(crate) fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }
}
