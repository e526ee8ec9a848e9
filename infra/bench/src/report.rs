//! The figures: what was measured, beside what, and what was hoped for.

use std::{fs, path::Path};

use serde::Serialize;

use crate::Result;

/// What a figure should be. A miss is shown, it fails nothing: machines differ.
enum Target {
    AtLeast(f64),
    AtMost(f64),
}

const TARGETS: [(&str, Target); 9] = [
    ("reserve.rate_vs_bare", Target::AtLeast(0.40)),
    ("reserve.redis_cpu_us", Target::AtMost(22.0)),
    ("reserve.sold_out_redis_cpu_us", Target::AtMost(14.0)),
    ("accept.p99_ms", Target::AtMost(8.0)),
    ("accept.cpu_us_per_order", Target::AtMost(500.0)),
    ("accept.instructions_per_order", Target::AtMost(700_000.0)),
    ("init.order-accept.cpu_ms", Target::AtMost(3.0)),
    ("rss.order-accept.mib", Target::AtMost(8.0)),
    ("size.order-accept.mib", Target::AtMost(7.0)),
];

/// Which figures were asked for.
pub struct Filter(Option<String>);

impl Filter {
    /// All figures, or those whose name contains the one argument.
    pub fn from_args(mut args: impl Iterator<Item = String>) -> Result<Self> {
        let text = args.next();
        match args.next() {
            Some(_) => Err("usage: onepool-bench [part of the name of a figure]".into()),
            None => Ok(Self(text)),
        }
    }

    /// Whether any of these was asked for.
    pub fn wants(&self, names: &[&str]) -> bool {
        let Some(text) = &self.0 else { return true };
        names.iter().any(|name| name.contains(text))
    }
}

#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is compared with, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<f64>,
}

/// What was measured.
#[derive(Default, Serialize)]
pub struct Report {
    figures: Vec<Figure>,
    #[serde(skip)]
    notes: Vec<String>,
}

impl Report {
    /// Adds a figure.
    pub fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.push(name.into(), value, unit, None);
    }

    /// Adds a figure that was measured beside another.
    pub fn add_beside(&mut self, name: &str, value: f64, unit: &'static str, baseline: f64) {
        self.push(name.to_owned(), value, unit, Some(baseline));
    }

    fn push(&mut self, name: String, value: f64, unit: &'static str, baseline: Option<f64>) {
        self.figures.push(Figure {
            name,
            value: rounded(value),
            unit,
            baseline: baseline.map(rounded),
        });
    }

    /// Adds a sentence below the table: how a figure came about, or why one is missing.
    pub fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Whether nothing was measured.
    pub fn is_empty(&self) -> bool {
        self.figures.is_empty()
    }

    /// Prints the table.
    pub fn print(&self) {
        println!(
            "\n{:<34} {:>12} {:<8} {:>10}   target",
            "figure", "value", "unit", "baseline"
        );
        for figure in &self.figures {
            let baseline = figure.baseline.map(shown).unwrap_or_default();
            println!(
                "{:<34} {:>12} {:<8} {:>10}   {}",
                figure.name,
                shown(figure.value),
                figure.unit,
                baseline,
                target(figure)
            );
        }
        if !self.notes.is_empty() {
            println!("\n{}", self.notes.join("\n"));
        }
    }

    /// Writes the figures as JSON.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        Ok(fs::write(path, serde_json::to_vec_pretty(self)?)?)
    }
}

fn target(figure: &Figure) -> String {
    let Some((_, target)) = TARGETS.iter().find(|(name, _)| *name == figure.name) else {
        return String::new();
    };
    let (sign, bound, met) = match *target {
        Target::AtLeast(bound) => (">=", bound, figure.value >= bound),
        Target::AtMost(bound) => ("<=", bound, figure.value <= bound),
    };
    format!(
        "{sign} {} {}",
        shown(bound),
        if met { "met" } else { "MISSED" }
    )
}

fn rounded(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}

fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => {
            let digits = format!("{value:.0}");
            let mut text = String::new();
            for (index, digit) in digits.chars().enumerate() {
                if index > 0 && (digits.len() - index).is_multiple_of(3) {
                    text.push(',');
                }
                text.push(digit);
            }
            text
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

/// The middle of some measurements.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The least of some measurements: what is left when nothing else disturbed.
pub fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, f64::min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_numbers_are_grouped_and_small_ones_keep_their_digits() {
        assert_eq!(shown(1_234_567.8), "1,234,568");
        assert_eq!(shown(999.6), "1000");
        assert_eq!(shown(22.04), "22.0");
        assert_eq!(shown(0.456), "0.46");
    }

    #[test]
    fn a_filter_wants_what_contains_it() {
        let all = Filter::from_args(std::iter::empty()).expect("no argument is fine");
        assert!(all.wants(&["accept.p50_ms"]));
        let some = Filter::from_args(["accept".to_owned()].into_iter()).expect("one is fine");
        assert!(some.wants(&["reserve.rate_vs_bare", "accept.p50_ms"]));
        assert!(!some.wants(&["reserve.rate_vs_bare"]));
        assert!(Filter::from_args(["a".to_owned(), "b".to_owned()].into_iter()).is_err());
    }

    #[test]
    fn the_middle_and_the_least() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(least(&[3.0, 1.0, 2.0]), 1.0);
    }
}
