//! Faults to order: rules that are tried in the order they were given, each for some calls.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{
    answer::{Answer, Refusal},
    call::Subject,
    market::{Cancel, NewOrder},
};

const MAX_RULES: usize = 1_000;
const MAX_MS: u64 = 600_000;

/// What a gateway that has lost its way answers with.
const GARBAGE: &str = "<html><body><h1>502 Bad Gateway</h1></body></html>";

/// What can go wrong, as a script names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Delay,
    TimeoutBeforeCommit,
    TimeoutAfterCommit,
    CloseBeforeCommit,
    CloseAfterCommit,
    CommitLater,
    ErrorBeforeCommit,
    ErrorAfterCommit,
    RateLimited,
    GarbageBeforeCommit,
    GarbageAfterCommit,
    OrderBefore,
    CancelBefore,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// The work is done late.
    Delay { ms: u64 },
    /// The request is lost on its way in.
    TimeoutBeforeCommit { ms: u64 },
    /// The work is done, but this caller never hears.
    TimeoutAfterCommit { ms: u64 },
    /// Lost on its way in, and the caller learns at once that the connection is gone.
    CloseBeforeCommit,
    /// The work is done, and the connection is gone at once.
    CloseAfterCommit,
    /// The connection is gone at once, and the work is done late: after what comes next, perhaps.
    CommitLater { ms: u64 },
    /// A 5xx in the marketplace's words, and nothing was done.
    ErrorBeforeCommit(StatusCode),
    /// A 5xx in the marketplace's words, though the work was done.
    ErrorAfterCommit(StatusCode),
    /// A 429 in the marketplace's words.
    RateLimited,
    /// Something else in place of the answer, and nothing was done.
    GarbageBeforeCommit(Answer),
    /// Something else in place of the answer, though the work was done.
    GarbageAfterCommit(Answer),
    /// A buyer is faster: this order is placed in the same step as the work, right before it.
    OrderBefore(NewOrder),
    /// A buyer is faster: this is cancelled in the same step as the work, right before it.
    CancelBefore { order: String, cancel: Cancel },
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Delay { .. } => Kind::Delay,
            Self::TimeoutBeforeCommit { .. } => Kind::TimeoutBeforeCommit,
            Self::TimeoutAfterCommit { .. } => Kind::TimeoutAfterCommit,
            Self::CloseBeforeCommit => Kind::CloseBeforeCommit,
            Self::CloseAfterCommit => Kind::CloseAfterCommit,
            Self::CommitLater { .. } => Kind::CommitLater,
            Self::ErrorBeforeCommit(_) => Kind::ErrorBeforeCommit,
            Self::ErrorAfterCommit(_) => Kind::ErrorAfterCommit,
            Self::RateLimited => Kind::RateLimited,
            Self::GarbageBeforeCommit(_) => Kind::GarbageBeforeCommit,
            Self::GarbageAfterCommit(_) => Kind::GarbageAfterCommit,
            Self::OrderBefore(_) => Kind::OrderBefore,
            Self::CancelBefore { .. } => Kind::CancelBefore,
        }
    }
}

/// One rule as a script writes it. Unknown fields are refused: a misspelt filter would otherwise make
/// a test pass for the wrong reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleText {
    on: String,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// What `order_before` places.
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<NewOrder>,
    /// What `cancel_before` cancels.
    #[serde(skip_serializing_if = "Option::is_none")]
    cancel: Option<CancelText>,
}

/// Which order a buyer cancels, and how much of it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CancelText {
    order_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    line_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    quantity: Option<u64>,
}

impl RuleText {
    fn fault(&self) -> Result<Fault, Refusal> {
        Ok(match self.kind {
            Kind::Delay => Fault::Delay { ms: self.ms()? },
            Kind::TimeoutBeforeCommit => Fault::TimeoutBeforeCommit { ms: self.ms()? },
            Kind::TimeoutAfterCommit => Fault::TimeoutAfterCommit { ms: self.ms()? },
            Kind::CloseBeforeCommit => Fault::CloseBeforeCommit,
            Kind::CloseAfterCommit => Fault::CloseAfterCommit,
            Kind::CommitLater => Fault::CommitLater { ms: self.ms()? },
            Kind::ErrorBeforeCommit => Fault::ErrorBeforeCommit(self.server_error()?),
            Kind::ErrorAfterCommit => Fault::ErrorAfterCommit(self.server_error()?),
            Kind::RateLimited => Fault::RateLimited,
            Kind::GarbageBeforeCommit => Fault::GarbageBeforeCommit(self.garbage()?),
            Kind::GarbageAfterCommit => Fault::GarbageAfterCommit(self.garbage()?),
            Kind::OrderBefore => {
                Fault::OrderBefore(self.order.clone().ok_or_else(|| unfit("order is needed"))?)
            }
            Kind::CancelBefore => {
                let text = self
                    .cancel
                    .clone()
                    .ok_or_else(|| unfit("cancel is needed"))?;
                Fault::CancelBefore {
                    order: text.order_id,
                    cancel: Cancel {
                        line_id: text.line_id,
                        quantity: text.quantity,
                        reason: None,
                    },
                }
            }
        })
    }

    fn server_error(&self) -> Result<StatusCode, Refusal> {
        self.status_or(500)
            .ok()
            .filter(StatusCode::is_server_error)
            .ok_or_else(|| unfit("status must be 500 to 599"))
    }

    fn garbage(&self) -> Result<Answer, Refusal> {
        Ok(Answer::new(
            self.status_or(200)?,
            self.content_type.as_deref().unwrap_or("text/html"),
            self.body.clone().unwrap_or_else(|| GARBAGE.to_owned()),
        ))
    }

    fn status_or(&self, otherwise: u16) -> Result<StatusCode, Refusal> {
        StatusCode::from_u16(self.status.unwrap_or(otherwise))
            .ok()
            // Anything below is no final answer.
            .filter(|status| status.as_u16() >= 200)
            .ok_or_else(|| unfit("status is none of HTTP"))
    }

    fn ms(&self) -> Result<u64, Refusal> {
        self.ms
            .filter(|ms| *ms <= MAX_MS)
            .ok_or_else(|| unfit("ms is needed, and at most 600000"))
    }
}

fn unfit(why: &str) -> Refusal {
    Refusal::invalid(format!("fault: {why}"))
}

/// The body of `POST /sandbox/faults`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Script {
    faults: Vec<RuleText>,
    /// Makes the dice of rules with a probability fall the same way again.
    seed: Option<u64>,
}

/// A rule with what is left of it, as `GET /sandbox/faults` shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    #[serde(flatten)]
    text: RuleText,
    #[serde(skip)]
    fault: Fault,
    /// None: without end.
    times_left: Option<u64>,
    fired: u64,
}

#[derive(Debug)]
pub(crate) struct Faults {
    rules: Vec<Rule>,
    dice: fastrand::Rng,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            // Seeded, so that a run without a seed of its own repeats as well.
            dice: fastrand::Rng::with_seed(0),
        }
    }
}

impl Faults {
    /// Adds all rules of a script after those there are, or none when one is unfit.
    pub(crate) fn add(&mut self, script: Script, operations: &[&str]) -> Result<(), Refusal> {
        if self.rules.len() + script.faults.len() > MAX_RULES {
            return Err(unfit("at most 1000 rules at a time"));
        }
        let rules = script
            .faults
            .into_iter()
            .map(|text| rule(text, operations))
            .collect::<Result<Vec<_>, _>>()?;
        self.rules.extend(rules);
        if let Some(seed) = script.seed {
            self.dice = fastrand::Rng::with_seed(seed);
        }
        Ok(())
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The fault of the first rule that wants this request; a rule that is used up goes away.
    pub(crate) fn take(&mut self, subject: &Subject) -> Option<Fault> {
        let Self { rules, dice } = self;
        let place = rules.iter().position(|rule| rule.wants(subject, dice))?;
        let rule = rules.get_mut(place)?;
        rule.fired += 1;
        rule.times_left = rule.times_left.map(|left| left.saturating_sub(1));
        let fault = rule.fault.clone();
        if rule.times_left == Some(0) {
            rules.remove(place);
        }
        Some(fault)
    }
}

fn rule(text: RuleText, operations: &[&str]) -> Result<Rule, Refusal> {
    if !operations.contains(&text.on.as_str()) {
        return Err(unfit(&format!("on is one of {}", operations.join(", "))));
    }
    if text.times == Some(0) {
        return Err(unfit("times must be at least 1"));
    }
    if text.probability.is_some_and(|p| !(0.0..=1.0).contains(&p)) {
        return Err(unfit("probability must be 0 to 1"));
    }
    let times_left = match (text.times, text.probability) {
        (Some(times), _) => Some(times),
        (None, Some(_)) => None,
        (None, None) => Some(1),
    };
    Ok(Rule {
        fault: text.fault()?,
        text,
        times_left,
        fired: 0,
    })
}

impl Rule {
    fn wants(&self, subject: &Subject, dice: &mut fastrand::Rng) -> bool {
        let among = |wanted: &Option<String>, there: &[String]| {
            wanted.as_ref().is_none_or(|id| there.contains(id))
        };
        self.text.on == subject.operation
            && among(&self.text.item_id, &subject.items)
            && among(&self.text.order_id, &subject.orders)
            // Last: only a request that could have met it rolls the dice.
            && self.text.probability.is_none_or(|p| dice.f64() < p)
    }
}
