//! What can be ordered to go wrong with a call of the Toss API, and for which calls.

use axum::http::StatusCode;
use fakes::{
    control::Invalid,
    faults::{Terms, unfit},
    trouble::{Trouble, held},
};
use serde::{Deserialize, Serialize};

use crate::{answer::Refusal, requests::Operation};

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
    /// Around the service. A request that is lost on its way in leaves no trace, not even its idempotency key; work that
    /// is done has its answer kept for repeats; while it is done late, a lookup knows nothing, and repeats of the
    /// idempotency key meet a 409.
    Around(Trouble),
    /// An error answer with this code; nothing is paid.
    Decline(Refusal),
    /// A 5xx or a 429, and nothing was done.
    ErrorBeforeCommit(ServerError),
    /// A 5xx, though the work was done.
    ErrorAfterCommit(ServerError),
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
    /// Whether the request gets as far as the idempotency store, and takes its key there.
    pub(crate) fn takes_the_key(&self) -> bool {
        match self {
            Self::Around(trouble) => trouble.arrives(),
            Self::Decline(_) | Self::ErrorAfterCommit(_) | Self::ExpiredSession => true,
            Self::ErrorBeforeCommit(error) => error.recorded,
            Self::StillProcessing => false,
        }
    }

    /// Whether it can meet a repeat that would get the first answer: what happens around the service
    /// can, what happens in its work cannot, since no work is done.
    fn meets_repeats(&self) -> bool {
        match self {
            Self::Around(_) | Self::StillProcessing => true,
            Self::ErrorBeforeCommit(error) | Self::ErrorAfterCommit(error) => !error.recorded,
            Self::Decline(_) | Self::ExpiredSession => false,
        }
    }
}

/// One rule as a script writes it. Unknown fields are refused: a misspelt filter would otherwise make
/// a test pass for the wrong reason.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RuleText {
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
    /// What it orders.
    pub(crate) fn fault(&self) -> Result<Fault, Invalid> {
        Ok(match self.kind {
            Kind::Decline => Fault::Decline(self.refusal("REJECT_CARD_COMPANY")),
            Kind::TimeoutBeforeCommit => {
                Fault::Around(Trouble::TimeoutBeforeCommit { ms: held(self.ms)? })
            }
            Kind::TimeoutAfterCommit => {
                Fault::Around(Trouble::TimeoutAfterCommit { ms: held(self.ms)? })
            }
            Kind::CloseAfterCommit => Fault::Around(Trouble::CloseAfterCommit),
            Kind::CommitLater => match self.on {
                Operation::Billing | Operation::Confirm | Operation::Cancel => {
                    Fault::Around(Trouble::CommitLater { ms: held(self.ms)? })
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
            Kind::Delay => Fault::Around(Trouble::Delay { ms: held(self.ms)? }),
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

    fn server_error(&self) -> Result<ServerError, Invalid> {
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

impl Terms for RuleText {
    type Kind = Kind;
    type Fault = Fault;
    type Subject = Subject;

    fn kind(&self) -> Kind {
        self.kind
    }

    fn times(&self) -> Option<u64> {
        self.times
    }

    fn probability(&self) -> Option<f64> {
        self.probability
    }

    fn wants(&self, fault: &Fault, subject: &Subject) -> bool {
        let same = |wanted: &Option<String>, is: &Option<String>| wanted.is_none() || wanted == is;
        self.on == subject.operation
            && same(&self.order_id, &subject.order_id)
            && same(&self.billing_key, &subject.billing_key)
            && (!subject.repeat || fault.meets_repeats())
    }
}
