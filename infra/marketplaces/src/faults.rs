//! What can be ordered to go wrong with a call of a marketplace, and for which calls.

use axum::http::StatusCode;
use fakes::{
    control::Invalid,
    faults::{Terms, unfit},
    trouble::{Trouble, held},
};
use serde::{Deserialize, Serialize};

use crate::{
    answer::Answer,
    call::Subject,
    market::{Cancel, NewOrder},
};

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
    /// Around the marketplace.
    Around(Trouble),
    /// A 5xx in the marketplace's words, and nothing was done.
    ErrorBeforeCommit(StatusCode),
    /// A 5xx in the marketplace's words, though the work was done.
    ErrorAfterCommit(StatusCode),
    /// A 429 in the marketplace's words, which may say after how many seconds to ask again.
    RateLimited { retry_after_s: Option<u64> },
    /// Something else in place of the answer, and nothing was done.
    GarbageBeforeCommit(Answer),
    /// Something else in place of the answer, though the work was done.
    GarbageAfterCommit(Answer),
    /// A buyer is faster: this order is placed in the same step as the work, right before it.
    OrderBefore(NewOrder),
    /// A buyer is faster: this is cancelled in the same step as the work, right before it.
    CancelBefore { order: String, cancel: Cancel },
}

/// One rule as a script writes it. Unknown fields are refused: a misspelt filter would otherwise make
/// a test pass for the wrong reason.
#[derive(Debug, Deserialize, Serialize)]
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
    /// What `rate_limited` says, if it says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_s: Option<u64>,
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
    /// What it orders, if `on` is one of the marketplace's operations.
    pub(crate) fn fault(&self, operations: &[&str]) -> Result<Fault, Invalid> {
        if !operations.contains(&self.on.as_str()) {
            return Err(unfit(&format!("on is one of {}", operations.join(", "))));
        }
        Ok(match self.kind {
            Kind::Delay => Fault::Around(Trouble::Delay { ms: held(self.ms)? }),
            Kind::TimeoutBeforeCommit => {
                Fault::Around(Trouble::TimeoutBeforeCommit { ms: held(self.ms)? })
            }
            Kind::TimeoutAfterCommit => {
                Fault::Around(Trouble::TimeoutAfterCommit { ms: held(self.ms)? })
            }
            Kind::CloseBeforeCommit => Fault::Around(Trouble::CloseBeforeCommit),
            Kind::CloseAfterCommit => Fault::Around(Trouble::CloseAfterCommit),
            Kind::CommitLater => Fault::Around(Trouble::CommitLater { ms: held(self.ms)? }),
            Kind::ErrorBeforeCommit => Fault::ErrorBeforeCommit(self.server_error()?),
            Kind::ErrorAfterCommit => Fault::ErrorAfterCommit(self.server_error()?),
            Kind::RateLimited => Fault::RateLimited {
                retry_after_s: self.retry_after_s,
            },
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

    fn server_error(&self) -> Result<StatusCode, Invalid> {
        self.status_or(500)
            .ok()
            .filter(StatusCode::is_server_error)
            .ok_or_else(|| unfit("status must be 500 to 599"))
    }

    fn garbage(&self) -> Result<Answer, Invalid> {
        Ok(Answer::new(
            self.status_or(200)?,
            self.content_type.as_deref().unwrap_or("text/html"),
            self.body.clone().unwrap_or_else(|| GARBAGE.to_owned()),
        ))
    }

    fn status_or(&self, otherwise: u16) -> Result<StatusCode, Invalid> {
        StatusCode::from_u16(self.status.unwrap_or(otherwise))
            .ok()
            // Anything below is no final answer.
            .filter(|status| status.as_u16() >= 200)
            .ok_or_else(|| unfit("status is none of HTTP"))
    }
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

    fn wants(&self, _fault: &Fault, subject: &Subject) -> bool {
        let among = |wanted: &Option<String>, there: &[String]| {
            wanted.as_ref().is_none_or(|id| there.contains(id))
        };
        self.on == subject.operation
            && among(&self.item_id, &subject.items)
            && among(&self.order_id, &subject.orders)
    }
}
