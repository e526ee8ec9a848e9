//! Lines for the person at the terminal: Korean first, then English, both short.

use std::time::Instant;

/// One part is up: its name, where it is, and how long it took.
pub fn ready(what: &str, place: &str, since: Instant) {
    println!(
        "  {what:<24} {place:<46} {:>5.1} s",
        since.elapsed().as_secs_f64()
    );
}

/// A sentence in both languages.
pub fn note(korean: &str, english: &str) {
    println!("{korean} · {english}");
}
