//! What the whole crowd has seen, and how long after it had happened.

use serde::Serialize;

use crate::{
    Result,
    screen::{Frame, Screen},
    talk::Said,
};

/// Most viewers get the same few texts: so many of the latest are kept read.
const KEPT: usize = 8;
/// Width of a step of the latencies that are counted, and how many there are: up to ten seconds.
const STEP_US: u64 = 100;
const STEPS: usize = 100_000;

/// Frames that differ, and who read them when.
#[derive(Default)]
pub struct Seen {
    shown: Vec<Shown>,
    /// The latest texts, with their places in `shown`.
    latest: Vec<(Vec<u8>, usize)>,
}

struct Shown {
    frame: Frame,
    bytes: usize,
    /// The units that are gone after it, and were not for those who got it.
    taken: std::ops::Range<u64>,
    reads_us: Vec<u64>,
}

/// What the bench is told.
#[derive(Serialize)]
pub struct Summary {
    p50_ms: f64,
    p99_ms: f64,
    /// Frames that differ.
    frames: usize,
    /// Frames that were read, by everyone together.
    reads: usize,
    /// Of the frame with the most chats.
    largest: Largest,
}

#[derive(Default, Serialize)]
struct Largest {
    chats: usize,
    bytes: usize,
    /// Of the JSON of its chats alone.
    own_bytes: usize,
}

impl Seen {
    /// A viewer has read a text. Answers whether it began their screen anew.
    pub fn read(
        &mut self,
        screen: &mut Screen,
        text: &[u8],
        units: u64,
        now_us: u64,
    ) -> Result<bool> {
        let place = match self.latest.iter().find(|(known, _)| known == text) {
            Some((_, place)) => *place,
            None => self.note(Frame::read(text)?, text),
        };
        let shown = &mut self.shown[place];
        let before = screen.taken;
        if screen.show(&shown.frame, units) {
            if shown.reads_us.is_empty() {
                shown.taken = before..screen.taken.max(before);
            }
            shown.reads_us.push(now_us);
        }
        Ok(shown.frame.anew)
    }

    fn note(&mut self, frame: Frame, text: &[u8]) -> usize {
        let place = self.shown.len();
        self.shown.push(Shown {
            frame,
            bytes: text.len(),
            taken: 0..0,
            reads_us: Vec::new(),
        });
        if self.latest.len() == KEPT {
            self.latest.remove(0);
        }
        self.latest.push((text.to_owned(), place));
        place
    }

    /// All of it. A snapshot is an answer to who comes, and tells of no event how long it took.
    pub fn summary(&self, said: &Said) -> Summary {
        let (chats, orders) = (said.all_chats(), said.all_orders());
        let mut latencies = Latencies(vec![0; STEPS]);
        let mut largest = Largest::default();
        let frames: Vec<_> = self
            .shown
            .iter()
            .filter(|shown| !shown.frame.anew)
            .collect();
        for shown in &frames {
            let own = shown.frame.chats.iter();
            let own: Vec<_> = own
                .filter_map(|chat| chats.get(usize::try_from(*chat).ok()?))
                .collect();
            let taken = shown.taken.clone();
            let taken = taken.filter_map(|order| orders.get(usize::try_from(order).ok()?));
            let happened: Vec<u64> = own
                .iter()
                .map(|chat| chat.at_us)
                .chain(taken.copied())
                .collect();
            for read_us in &shown.reads_us {
                for at_us in &happened {
                    latencies.add(read_us.saturating_sub(*at_us));
                }
            }
            if own.len() > largest.chats {
                largest = Largest {
                    chats: own.len(),
                    bytes: shown.bytes,
                    own_bytes: own.iter().map(|chat| chat.bytes).sum(),
                };
            }
        }
        Summary {
            p50_ms: latencies.quantile_ms(0.50),
            p99_ms: latencies.quantile_ms(0.99),
            frames: frames.len(),
            reads: frames.iter().map(|shown| shown.reads_us.len()).sum(),
            largest,
        }
    }
}

/// How many latencies fell into each step.
struct Latencies(Vec<u64>);

impl Latencies {
    fn add(&mut self, us: u64) {
        let step = usize::try_from(us / STEP_US).unwrap_or(STEPS);
        self.0[step.min(STEPS - 1)] += 1;
    }

    fn quantile_ms(&self, share: f64) -> f64 {
        let rank = (self.0.iter().sum::<u64>() as f64 * share).ceil() as u64;
        let mut counted = 0;
        let step = self.0.iter().position(|count| {
            counted += count;
            counted >= rank.max(1)
        });
        step.map_or(f64::NAN, |step| (step as u64 * STEP_US) as f64 / 1_000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_latency_that_was_seen() {
        let mut latencies = Latencies(vec![0; STEPS]);
        assert!(latencies.quantile_ms(0.50).is_nan());
        for ms in 1..=100 {
            latencies.add(ms * 1_000);
        }
        assert_eq!(latencies.quantile_ms(0.50), 50.0);
        assert_eq!(latencies.quantile_ms(0.99), 99.0);
    }
}
