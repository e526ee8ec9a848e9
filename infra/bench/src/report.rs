//! The figures: what was measured, beside what, and what was hoped for.

use std::{fs, path::Path};

use serde::Serialize;
use serde_json::{Value, json};

use crate::Result;

/// What a figure should be. A miss is shown, it fails nothing: machines differ.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum Target {
    AtLeast(f64),
    AtMost(f64),
    /// At most so much more than its baseline.
    OverBaseline(f64),
}

/// In MiB. Pages of orders come and go within it; whatever keeps half a kilobyte of each of 10,000 goes beyond it.
const FLAT: Target = Target::OverBaseline(4.0);

const TARGETS: [(&str, Target); 35] = [
    ("reserve.rate_vs_bare", Target::AtLeast(0.40)),
    ("reserve.redis_cpu_us", Target::AtMost(22.0)),
    ("reserve.sold_out_redis_cpu_us", Target::AtMost(14.0)),
    ("accept.p99_ms", Target::AtMost(8.0)),
    ("accept.cpu_us_per_order", Target::AtMost(250.0)),
    ("accept.instructions_per_order", Target::AtMost(300_000.0)),
    ("init.order-accept.cpu_ms", Target::AtMost(3.0)),
    ("rss.order-accept.mib", Target::AtMost(8.0)),
    ("size.order-accept.mib", Target::AtMost(7.0)),
    ("ledger.requests_per_order", Target::AtMost(0.03)),
    ("process.rate_vs_single", Target::AtLeast(5.0)),
    ("burst.orders", Target::AtLeast(50_000.0)),
    // How long an order that waits keeps its units.
    ("burst.seconds", Target::AtMost(300.0)),
    ("burst.lost", Target::AtMost(0.0)),
    ("burst.doubled", Target::AtMost(0.0)),
    ("recover.empty_redis_s", Target::AtMost(5.0)),
    ("frames.p99_ms.1000", Target::AtMost(100.0)),
    ("frames.p99_ms.5000", Target::AtMost(300.0)),
    // The frame rate, whatever happens.
    ("frames.posts_per_viewer_per_s", Target::AtMost(10.5)),
    ("frame.bytes_ratio", Target::AtMost(1.2)),
    ("sender.cpu_us_per_post", Target::AtMost(30.0)),
    ("sender.times_cheaper_than_sdk", Target::AtLeast(5.0)),
    ("resume.gaps", Target::AtMost(0.0)),
    ("channels.propagation_p95_s", Target::AtMost(5.0)),
    ("channels.http_429", Target::AtMost(0.0)),
    ("channels.decreases_first", Target::AtLeast(1.0)),
    ("channels.wrong_numbers_after_quiet", Target::AtMost(0.0)),
    ("channels.pull_refusals.smartstore", Target::AtMost(0.0)),
    ("channels.pull_refusals.coupang", Target::AtMost(0.0)),
    ("channels.pull_refusals.elevenst", Target::AtMost(0.0)),
    ("channels.pull_refusals.cafe24", Target::AtMost(0.0)),
    ("channels.pull_rss_mib.smartstore", FLAT),
    ("channels.pull_rss_mib.coupang", FLAT),
    ("channels.pull_rss_mib.elevenst", FLAT),
    ("channels.pull_rss_mib.cafe24", FLAT),
];

#[derive(Serialize)]
struct Figure {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it is compared with, measured in the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    baseline: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Target>,
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

/// What was measured.
#[derive(Default)]
pub struct Report {
    figures: Vec<Figure>,
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
        let value = rounded(value);
        let baseline = baseline.map(rounded);
        let target = TARGETS
            .iter()
            .find(|(named, _)| *named == name)
            .map(|(_, target)| *target);
        self.figures.push(Figure {
            name,
            value,
            unit,
            baseline,
            target,
            met: target.map(|target| target.is_met_by(value, baseline)),
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

    /// Writes the figures as JSON. With `keep`, those of an earlier report that were not measured now stay in it.
    pub fn write(&self, path: &Path, keep: bool) -> Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut figures = Vec::new();
        if keep && path.is_file() {
            let earlier: Value = serde_json::from_slice(&fs::read(path)?)
                .map_err(|error| format!("{} is no report: {error}", path.display()))?;
            figures.extend(earlier["figures"].as_array().into_iter().flatten().cloned());
        }
        for figure in &self.figures {
            let figure = serde_json::to_value(figure)?;
            let earlier = figures
                .iter_mut()
                .find(|earlier| earlier["name"] == figure["name"]);
            match earlier {
                Some(earlier) => *earlier = figure,
                None => figures.push(figure),
            }
        }
        let report = serde_json::to_vec_pretty(&json!({ "figures": figures }))?;
        Ok(fs::write(path, report)?)
    }
}

impl Target {
    fn is_met_by(self, value: f64, baseline: Option<f64>) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::OverBaseline(bound) => baseline.is_some_and(|baseline| value - baseline <= bound),
        }
    }
}

fn target(figure: &Figure) -> String {
    let Some(target) = figure.target else {
        return String::new();
    };
    let (sign, bound) = match target {
        Target::AtLeast(bound) => (">=", bound),
        Target::AtMost(bound) => ("<=", bound),
        Target::OverBaseline(bound) => ("<= baseline +", bound),
    };
    let met = target.is_met_by(figure.value, figure.baseline);
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
    fn a_part_measured_alone_leaves_the_figures_of_others() {
        let path = std::env::temp_dir().join(format!("onepool-bench-{}.json", std::process::id()));
        let report = |name: &str, value| {
            let mut report = Report::default();
            report.add(name, value, "ms");
            report
        };
        let names_and_values = || -> Vec<(String, f64)> {
            let text = fs::read(&path).expect("is written");
            let read: Value = serde_json::from_slice(&text).expect("is JSON");
            let figures = read["figures"].as_array().expect("has figures").iter();
            figures
                .map(|figure| {
                    let name = figure["name"].as_str().expect("has a name").to_owned();
                    (name, figure["value"].as_f64().expect("has a value"))
                })
                .collect()
        };
        report("a", 1.0).write(&path, false).expect("is written");
        report("b", 2.0).write(&path, true).expect("is written");
        report("a", 3.0).write(&path, true).expect("is written");
        assert_eq!(
            names_and_values(),
            [("a".to_owned(), 3.0), ("b".to_owned(), 2.0)]
        );
        report("c", 4.0).write(&path, false).expect("is written");
        assert_eq!(names_and_values(), [("c".to_owned(), 4.0)]);
        fs::remove_file(&path).expect("is there");
    }

    #[test]
    fn a_target_is_met_from_its_side() {
        assert!(Target::AtMost(0.03).is_met_by(0.03, None));
        assert!(!Target::AtMost(0.03).is_met_by(0.031, None));
        assert!(!Target::AtLeast(5.0).is_met_by(4.9, None));
        assert!(Target::OverBaseline(4.0).is_met_by(20.0, Some(16.0)));
        assert!(!Target::OverBaseline(4.0).is_met_by(20.1, Some(16.0)));
        assert!(!Target::OverBaseline(4.0).is_met_by(1.0, None));
    }

    #[test]
    fn the_middle_and_the_least() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), 2.0);
        assert_eq!(least(&[3.0, 1.0, 2.0]), 1.0);
    }
}
