//! What the person at the terminal sees while the buyers buy.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::sleep;

use super::buyer::Outcome;

/// Counters, and the bar that shows them.
pub struct Progress {
    accepted: AtomicU64,
    confirmed: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// For so many buyers. Without a terminal it prints lines.
    pub fn new(buyers: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(buyers as u64);
            if let Ok(style) = ProgressStyle::with_template("  {bar:20} {pos}/{len}  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self {
            accepted: AtomicU64::new(0),
            confirmed: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            other: AtomicU64::new(0),
            bar,
        }
    }

    /// One order was taken.
    pub fn accepted(&self) {
        self.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// One buyer is done.
    pub fn ended(&self, outcome: &Outcome) {
        let counter = match outcome {
            Outcome::Refused => &self.refused,
            Outcome::Settled { order } if order["status"] == "confirmed" => &self.confirmed,
            Outcome::Settled { .. } | Outcome::Unsettled { .. } | Outcome::Unanswered { .. } => {
                &self.other
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps drawing until it is stopped.
    pub async fn draw(self: Arc<Self>) {
        loop {
            match &self.bar {
                Some(bar) => {
                    self.draw_once(bar);
                    sleep(Duration::from_millis(100)).await;
                }
                None => {
                    sleep(Duration::from_secs(1)).await;
                    println!("  {}", self.line());
                }
            }
        }
    }

    /// The last state, left on the screen.
    pub fn finish(&self) {
        match &self.bar {
            Some(bar) => {
                self.draw_once(bar);
                bar.finish();
            }
            None => println!("  {}", self.line()),
        }
    }

    fn draw_once(&self, bar: &ProgressBar) {
        let ended = [&self.confirmed, &self.refused, &self.other]
            .map(|counter| counter.load(Ordering::Relaxed));
        bar.set_position(ended.iter().sum());
        bar.set_message(self.line());
    }

    fn line(&self) -> String {
        let [accepted, confirmed, refused, other] =
            [&self.accepted, &self.confirmed, &self.refused, &self.other]
                .map(|counter| counter.load(Ordering::Relaxed));
        let rest = if other > 0 {
            format!(" · 기타 other {other}")
        } else {
            String::new()
        };
        format!(
            "접수 accepted {accepted} · 확정 confirmed {confirmed} · 품절 sold out {refused}{rest}"
        )
    }
}
