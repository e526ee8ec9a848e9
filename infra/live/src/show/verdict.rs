//! Whether everything held.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

use super::buyer::Outcome;
use super::viewer::Screen;
use super::{BUYERS, BUYERS_WATCHING};
use crate::seed::OnAir;

/// The counts of a show, each with what it has to be.
pub struct Verdict {
    rows: Vec<Row>,
}

struct Row {
    label: &'static str,
    value: String,
    // None: for information.
    held: Option<bool>,
    // What a person looks at when it did not hold.
    detail: Vec<String>,
}

impl Verdict {
    /// Compares what buyers, viewers, the ledger, the gate and the queues say.
    pub fn of(
        on_air: &OnAir,
        outcomes: &[Outcome],
        product: &Value,
        waiting: &BTreeMap<String, i64>,
        screens: &[Screen],
    ) -> Self {
        let mut rows = buyers(on_air, outcomes);
        rows.extend(stock(on_air, product));
        rows.push(queues(waiting));
        rows.extend(screens_of(screens));
        let pushed: Vec<(&str, bool)> = pushed(outcomes, screens).collect();
        rows.push(Row {
            label: "푸시 = 조회 · order_result = GET /orders",
            value: format!(
                "{} / {}",
                pushed.iter().filter(|(_, same)| *same).count(),
                pushed.len()
            ),
            held: Some(!pushed.is_empty() && pushed.iter().all(|(_, same)| *same)),
            detail: pushed
                .iter()
                .filter(|(_, same)| !same)
                .map(|(order, _)| (*order).to_owned())
                .collect(),
        });
        Self { rows }
    }

    /// Whether all of it held.
    pub fn holds(&self) -> bool {
        self.rows.iter().all(|row| row.held != Some(false))
    }

    /// For the terminal.
    pub fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        for row in &self.rows {
            let mark = match row.held {
                Some(true) => "✓",
                Some(false) => "✗",
                None => "",
            };
            table.add_row([row.label, &row.value, mark]);
        }
        if let Some(values) = table.column_mut(1) {
            values.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// What did not hold, with the first few cases of each.
    pub fn broken(&self) -> impl Iterator<Item = String> {
        let broken = self.rows.iter().filter(|row| row.held == Some(false));
        broken.map(|row| {
            format!(
                "{}: {}  {}",
                row.label,
                row.value,
                row.detail
                    .iter()
                    .take(3)
                    .cloned()
                    .collect::<Vec<_>>()
                    .join(" | ")
            )
        })
    }
}

/// The orders of the buyers who watch: each with whether the pushed result is what they read.
pub fn pushed<'a>(
    outcomes: &'a [Outcome],
    screens: &'a [Screen],
) -> impl Iterator<Item = (&'a str, bool)> {
    // Buyers and viewers with the same number are the same person.
    outcomes
        .iter()
        .zip(screens)
        .take(BUYERS_WATCHING)
        .filter_map(|(outcome, screen)| match outcome {
            Outcome::Settled { order } => {
                let order_id = order["order_id"].as_str().unwrap_or_default();
                Some((order_id, screen.results.get(order_id) == Some(order)))
            }
            Outcome::Refused | Outcome::Unsettled { .. } | Outcome::Unanswered { .. } => None,
        })
}

fn buyers(on_air: &OnAir, outcomes: &[Outcome]) -> Vec<Row> {
    let (mut accepted, mut confirmed, mut refused) = (0, 0, 0);
    let (mut failed, mut unsettled, mut unanswered) = (Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Outcome::Refused => refused += 1,
            Outcome::Settled { order } => {
                accepted += 1;
                if order["status"] == "confirmed" {
                    confirmed += 1;
                } else {
                    failed.push(format!("{} {}", order["order_id"], order["reason"]));
                }
            }
            Outcome::Unsettled { why } => {
                accepted += 1;
                unsettled.push(why.clone());
            }
            Outcome::Unanswered { why } => unanswered.push(why.clone()),
        }
    }
    let expected_refusals = BUYERS as i64 - on_air.units;
    let oversold = (confirmed - on_air.units).max(0);
    let none = |label, found: Vec<String>| Row {
        label,
        value: found.len().to_string(),
        held: Some(found.is_empty()),
        detail: found,
    };
    vec![
        number("접수 · accepted", accepted, accepted == on_air.units),
        number("확정 · confirmed", confirmed, confirmed == on_air.units),
        number(
            "품절 거절 · refused (sold_out)",
            refused,
            refused == expected_refusals,
        ),
        none("실패 · failed", failed),
        none("결과 없음 · accepted, never settled", unsettled),
        none("응답 없음 · neither accepted nor refused", unanswered),
        number("초과 판매 · oversold", oversold, oversold == 0),
    ]
}

fn stock(on_air: &OnAir, product: &Value) -> Vec<Row> {
    let stock = &product["stock"];
    let live = format!("live:{}", on_air.broadcast_id);
    let mut detail = Vec::new();
    let mut left = None;
    let mut held = 0;
    for source in stock["sources"].as_array().into_iter().flatten() {
        let count = |field: &str| source[field].as_i64().unwrap_or(i64::MIN / 8);
        if count("granted") != count("left") + count("held") + count("sold") {
            detail.push(source.to_string());
        }
        if source["source"] == live {
            left = source["left"].as_i64();
        }
        held += count("held");
    }
    vec![
        Row {
            label: "라이브에 남음 · left in the live gate",
            value: left.map_or_else(|| "?".into(), |left| left.to_string()),
            held: Some(left == Some(0)),
            detail: vec![stock.to_string()],
        },
        Row {
            label: "원장 = 카운터 · ledger = counters",
            value: if detail.is_empty() {
                "=".into()
            } else {
                "≠".into()
            },
            held: Some(detail.is_empty() && left.is_some()),
            detail,
        },
        number("주인 없는 보류 · holds", held, held == 0),
    ]
}

fn queues(waiting: &BTreeMap<String, i64>) -> Row {
    Row {
        label: "큐에 남음 · messages in the queues",
        value: format!("{} / {}", waiting.values().sum::<i64>(), waiting.len()),
        held: Some(waiting.values().all(|count| *count == 0)),
        detail: waiting
            .iter()
            .filter(|(_, count)| **count != 0)
            .map(|(name, count)| format!("{name} {count}"))
            .collect(),
    }
}

fn screens_of(screens: &[Screen]) -> Vec<Row> {
    let mut frames: Vec<u64> = screens.iter().map(|screen| screen.frames).collect();
    frames.sort_unstable();
    let at = |position: usize| frames.get(position).copied().unwrap_or(0);
    let late: u64 = screens.iter().map(|screen| screen.late_frames).sum();
    let lost: u64 = screens
        .iter()
        .map(|screen| screen.connections.saturating_sub(1))
        .sum();
    let at_zero = screens
        .iter()
        .filter(|screen| screen.remaining == Some(0))
        .count();
    let others = screens.iter().filter(|screen| screen.remaining != Some(0));
    vec![
        Row {
            label: "시청자별 프레임 · frames a viewer (min, median, max)",
            value: format!(
                "{}, {}, {}",
                at(0),
                at(frames.len() / 2),
                at(frames.len().saturating_sub(1))
            ),
            held: Some(at(0) > 0),
            detail: Vec::new(),
        },
        Row {
            label: "재연결 · connections lost",
            value: lost.to_string(),
            held: None,
            detail: Vec::new(),
        },
        Row {
            label: "늦은 프레임 · late frames",
            value: late.to_string(),
            held: Some(late == 0),
            detail: Vec::new(),
        },
        Row {
            label: "화면에 0개 · screens that show 0 left",
            value: format!("{at_zero} / {}", screens.len()),
            held: Some(at_zero == screens.len()),
            detail: others
                .map(|screen| {
                    format!(
                        "shows {:?} after {} frames",
                        screen.remaining, screen.frames
                    )
                })
                .collect(),
        },
    ]
}

fn number(label: &'static str, value: i64, held: bool) -> Row {
    Row {
        label,
        value: value.to_string(),
        held: Some(held),
        detail: Vec::new(),
    }
}
