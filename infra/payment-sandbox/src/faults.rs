//! Faults to order: rules that are tried in the order they were given, each for some calls.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::{answer::Refusal, requests::Operation};

const MAX_RULES: usize = 1_000;
const MAX_MS: u64 = 600_000;

/// What can go wrong, as a script names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Decline,
    TimeoutBeforeCommit,
    TimeoutAfterCommit,
    CloseAfterCommit,
    CommitLater,
    ErrorBeforeCommit,
    ErrorAfterCommit,
    Delay,
    StillProcessing,
    ExpiredSession,
}

/// What goes wrong with one request.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// An error answer with this code; nothing is paid.
    Decline(Refusal),
    /// The request is lost on its way in: it leaves no trace, not even its idempotency key.
    TimeoutBeforeCommit { ms: u64 },
    /// The work is done and its answer is kept for repeats, but this caller never hears.
    TimeoutAfterCommit { ms: u64 },
    /// As a timeout after the commit, but the caller learns at once that the connection is gone.
    CloseAfterCommit,
    /// The connection is gone at once, and the work is done late: until then a lookup knows nothing, and repeats of its
    /// idempotency key meet a 409.
    CommitLater { ms: u64 },
    /// A 5xx or a 429, and nothing was done.
    ErrorBeforeCommit(ServerError),
    /// A 5xx, though the work was done.
    ErrorAfterCommit(ServerError),
    /// The work is done late; repeats of its idempotency key meet a 409 until then.
    Delay { ms: u64 },
    /// The 409 for an idempotency key in use, whether or not it is.
    StillProcessing,
    /// The checkout's ten minutes are over.
    ExpiredSession,
}

#[derive(Clone, Debug)]
pub(crate) struct ServerError {
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
    /// True: the service itself answered it, so a repeat of the idempotency key gets it again.
    /// False: a gateway in front made it, and the service's store never saw it.
    pub(crate) recorded: bool,
}

impl Fault {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Decline(_) => Kind::Decline,
            Self::TimeoutBeforeCommit { .. } => Kind::TimeoutBeforeCommit,
            Self::TimeoutAfterCommit { .. } => Kind::TimeoutAfterCommit,
            Self::CloseAfterCommit => Kind::CloseAfterCommit,
            Self::CommitLater { .. } => Kind::CommitLater,
            Self::ErrorBeforeCommit(_) => Kind::ErrorBeforeCommit,
            Self::ErrorAfterCommit(_) => Kind::ErrorAfterCommit,
            Self::Delay { .. } => Kind::Delay,
            Self::StillProcessing => Kind::StillProcessing,
            Self::ExpiredSession => Kind::ExpiredSession,
        }
    }

    /// Whether the request gets as far as the idempotency store, and takes its key there.
    pub(crate) fn takes_the_key(&self) -> bool {
        match self {
            Self::Decline(_)
            | Self::TimeoutAfterCommit { .. }
            | Self::CloseAfterCommit
            | Self::CommitLater { .. }
            | Self::ErrorAfterCommit(_)
            | Self::Delay { .. }
            | Self::ExpiredSession => true,
            Self::ErrorBeforeCommit(error) => error.recorded,
            Self::TimeoutBeforeCommit { .. } | Self::StillProcessing => false,
        }
    }

    /// Whether it can meet a repeat that would get the first answer: what happens around the service
    /// can, what happens in its work cannot, since no work is done.
    fn meets_repeats(&self) -> bool {
        match self {
            Self::TimeoutBeforeCommit { .. }
            | Self::TimeoutAfterCommit { .. }
            | Self::CloseAfterCommit
            | Self::CommitLater { .. }
            | Self::Delay { .. }
            | Self::StillProcessing => true,
            Self::ErrorBeforeCommit(error) | Self::ErrorAfterCommit(error) => !error.recorded,
            Self::Decline(_) | Self::ExpiredSession => false,
        }
    }
}

/// One rule as a script writes it. Unknown fields are refused: a misspelt filter would otherwise make
/// a test pass for the wrong reason.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RuleText {
    on: Operation,
    kind: Kind,
    #[serde(skip_serializing_if = "Option::is_none")]
    order_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    billing_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    times: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
}

impl RuleText {
    fn fault(&self) -> Result<Fault, Refusal> {
        Ok(match self.kind {
            Kind::Decline => Fault::Decline(self.refusal("REJECT_CARD_COMPANY")),
            Kind::TimeoutBeforeCommit => Fault::TimeoutBeforeCommit { ms: self.ms()? },
            Kind::TimeoutAfterCommit => Fault::TimeoutAfterCommit { ms: self.ms()? },
            Kind::CloseAfterCommit => Fault::CloseAfterCommit,
            Kind::CommitLater => match self.on {
                Operation::Billing | Operation::Confirm | Operation::Cancel => {
                    Fault::CommitLater { ms: self.ms()? }
                }
                Operation::Lookup => return Err(unfit("a lookup commits nothing")),
            },
            Kind::ErrorBeforeCommit => Fault::ErrorBeforeCommit(self.server_error()?),
            Kind::ErrorAfterCommit => match self.server_error()? {
                error if error.status == StatusCode::TOO_MANY_REQUESTS => {
                    return Err(unfit("a request over the rate is not worked on"));
                }
                error => Fault::ErrorAfterCommit(error),
            },
            Kind::Delay => Fault::Delay { ms: self.ms()? },
            Kind::StillProcessing => match self.on {
                Operation::Billing | Operation::Confirm | Operation::Cancel => {
                    Fault::StillProcessing
                }
                Operation::Lookup => return Err(unfit("a lookup has no idempotency key")),
            },
            Kind::ExpiredSession => match self.on {
                Operation::Confirm => Fault::ExpiredSession,
                Operation::Billing | Operation::Lookup | Operation::Cancel => {
                    return Err(unfit("only a checkout that is confirmed has a session"));
                }
            },
        })
    }

    fn refusal(&self, otherwise: &str) -> Refusal {
        Refusal::new(
            self.code.as_deref().unwrap_or(otherwise),
            self.message.as_deref().unwrap_or("A fault to order."),
        )
    }

    fn server_error(&self) -> Result<ServerError, Refusal> {
        let status = StatusCode::from_u16(self.status.unwrap_or(500))
            .ok()
            .filter(|status| status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS)
            .ok_or_else(|| unfit("status must be 429 or 500 to 599"))?;
        let (code, recorded) = if status == StatusCode::TOO_MANY_REQUESTS {
            // Whoever counts requests stands in front of the service.
            ("TOO_MANY_REQUESTS", false)
        } else {
            ("FAILED_PAYMENT_INTERNAL_SYSTEM_PROCESSING", true)
        };
        Ok(ServerError {
            status,
            refusal: self.refusal(code),
            recorded: self.recorded.unwrap_or(recorded),
        })
    }

    fn ms(&self) -> Result<u64, Refusal> {
        self.ms
            .filter(|ms| *ms <= MAX_MS)
            .ok_or_else(|| unfit("ms is needed, and at most 600000"))
    }
}

fn unfit(why: &str) -> Refusal {
    Refusal::invalid_request(&format!("fault: {why}"))
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

/// What a rule can ask about a request.
#[derive(Clone, Debug)]
pub(crate) struct Subject {
    pub(crate) operation: Operation,
    pub(crate) order_id: Option<String>,
    pub(crate) billing_key: Option<String>,
    /// It would get an earlier request's answer.
    pub(crate) repeat: bool,
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
    pub(crate) fn add(&mut self, script: Script) -> Result<(), Refusal> {
        if self.rules.len() + script.faults.len() > MAX_RULES {
            return Err(unfit("at most 1000 rules at a time"));
        }
        let rules = script
            .faults
            .into_iter()
            .map(rule)
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

fn rule(text: RuleText) -> Result<Rule, Refusal> {
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
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        self.text.on == subject.operation
            && same(&self.text.order_id, &subject.order_id)
            && same(&self.text.billing_key, &subject.billing_key)
            && (!subject.repeat || self.fault.meets_repeats())
            // Last: only a request that could have met it rolls the dice.
            && self.text.probability.is_none_or(|p| dice.f64() < p)
    }
}
