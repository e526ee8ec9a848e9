//! Everything that can go wrong, once, with its two projections: what the caller is told ([`Error::problem`]), and whether
//! a queue should bring the message again ([`Error::retry`]). Neither has a catch-all arm: a new variant does not compile
//! until someone decides both.

use serde_json::{Map, Value, json};
use thiserror::Error as ThisError;

use crate::{channel::shop::Unsigned, id::ProductId, room::chat::Refusal};

/// What is known of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// It had no effect.
    Definite,
    /// It may have had its effect: the answer was lost.
    Unknown,
}

/// Whether to bring a message again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// It may succeed later.
    Later,
    /// It succeeds once a person has put something right: the queue brings it when its visibility ends, no sooner.
    AfterRepair,
    /// It will never succeed.
    Never,
}

/// The language of a sentence for a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// What the contract answers in.
    #[default]
    Korean,
    /// With `Accept-Language: en`.
    English,
}

impl Language {
    /// Reads `Accept-Language`: English if it is preferred to Korean, else Korean.
    #[must_use]
    pub fn from_header(accept_language: Option<&str>) -> Self {
        let accepted = accept_language.map(str::to_ascii_lowercase);
        let first = |language: &str| accepted.as_deref()?.find(language);
        match (first("en"), first("ko")) {
            (Some(english), Some(korean)) if english < korean => Self::English,
            (Some(_), None) => Self::English,
            (Some(_) | None, Some(_)) | (None, None) => Self::Korean,
        }
    }

    /// The sentence in this language.
    #[must_use]
    pub fn pick<T>(self, korean: T, english: T) -> T {
        match self {
            Self::Korean => korean,
            Self::English => english,
        }
    }
}

/// What can go wrong. Texts follow "failed to ...: ".
#[derive(Debug, ThisError)]
pub enum Error {
    /// The request is not as it must be.
    #[error("invalid request: {field}: expected {expected}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// What would have been right.
        expected: String,
    },
    /// No valid token.
    #[error("no valid token")]
    Unauthenticated,
    /// A message that its sender has not signed as agreed.
    #[error("not signed: {0}")]
    Unsigned(#[from] Unsigned),
    /// A valid token of the wrong role.
    #[error("the role does not allow it")]
    Forbidden,
    /// There is no such thing, or not for this caller.
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The Idempotency-Key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyConflict,
    /// Not enough units left.
    #[error("{product} is sold out, {left} left")]
    SoldOut {
        /// Of what.
        product: ProductId,
        /// How many are left.
        left: u64,
    },
    /// The product is not on air.
    #[error("{0} is not on air")]
    NotOnAir(ProductId),
    /// The broadcast is not on air: it has ended, or it has not begun.
    #[error("the broadcast is not on air")]
    BroadcastOffAir {
        /// Whether it was on air and is over.
        ended: bool,
    },
    /// More than one viewer may have.
    #[error("the limit of {product} for one viewer is reached, {left} left")]
    LimitExceeded {
        /// Of what.
        product: ProductId,
        /// How many the viewer may still order.
        left: u64,
    },
    /// The pool has fewer units than asked for.
    #[error("the pool has only {left}")]
    InsufficientPool {
        /// How many it has.
        left: u64,
    },
    /// A channel's price is lower than its policy allows.
    #[error("the price is below the own store's, {floor}")]
    PriceBelowOwnStore {
        /// The least it may be, in won.
        floor: u64,
    },
    /// What somebody wants to say in a room, or they themselves, are refused.
    #[error("refused in the room: {0:?}")]
    Refused(Refusal),
    /// The order was not paid in time, and its units are gone.
    #[error("the order was not paid in time")]
    PaymentExpired,
    /// The order is settled, or another payment of it is under way.
    #[error("the order is settled already")]
    AlreadySettled,
    /// A message of a queue that is not one of ours.
    #[error("the message is not one of ours: {0}")]
    Foreign(#[source] serde_json::Error),
    /// A record in a store that cannot be read.
    #[error("a stored record cannot be read: {0}")]
    Corrupt(String),
    /// Another writer was faster.
    #[error("another writer was faster")]
    Conflict,
    /// Redis failed.
    #[error("redis failed")]
    Redis(#[from] redis::RedisError),
    /// A call to AWS failed.
    #[error("{call} failed: {source}")]
    Aws {
        /// Which call.
        call: &'static str,
        /// What is known of it.
        certainty: Certainty,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The payment gateway did not say what became of a payment.
    #[error("the payment gateway failed: {0}")]
    Payment(String),
    /// The payment gateway does not accept our keys or the form of our requests, with its code: a person must look.
    #[error("the payment gateway is not configured right: {0}")]
    PaymentConfiguration(String),
}

/// What a caller is told of an error: the parts of an `application/problem+json` (RFC 9457).
#[derive(Debug)]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// The body.
    pub body: Value,
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(field: &'static str, expected: impl Into<String>) -> Self {
        Self::Invalid {
            field,
            expected: expected.into(),
        }
    }

    /// What the caller is told. The cause of a failure on our side stays in the log.
    #[must_use]
    pub fn problem(&self, language: Language) -> Problem {
        let mut extra = Map::new();
        let (status, code, title, korean, english) = match self {
            Self::Invalid { field, expected } => {
                extra.insert("field".into(), json!(field));
                extra.insert("expected".into(), json!(expected));
                let mut korean = format!("요청의 {field} 값을 확인해 주세요.");
                // A range reads the same in every language; words are English, for who wrote the client.
                if !expected.contains(|letter: char| letter.is_ascii_alphabetic()) {
                    korean = format!("{korean} 허용: {expected}");
                }
                let english = format!("Check {field} of the request. Expected: {expected}");
                (400, "invalid_request", "Invalid request", korean, english)
            }
            Self::Unauthenticated => sentence(
                401,
                "unauthenticated",
                "Unauthenticated",
                "로그인이 필요하거나 토큰이 만료되었습니다.",
                "A valid token is required; this one is missing, expired or not ours.",
            ),
            Self::Unsigned(_) => sentence(
                401,
                "unauthenticated",
                "Unauthenticated",
                "서명을 확인할 수 없습니다. 서명 키와 헤더, 보낸 시각(5분 이내)을 확인해 주세요.",
                "The signature cannot be verified: check the key, the three headers, and that it was signed within five minutes.",
            ),
            Self::Forbidden => sentence(
                403,
                "forbidden",
                "Forbidden",
                "이 작업을 할 권한이 없습니다.",
                "The token's role does not allow this.",
            ),
            Self::NotFound(what) => {
                let english = format!("There is no such {what}.");
                (
                    404,
                    "not_found",
                    "Not found",
                    "찾을 수 없습니다.".to_owned(),
                    english,
                )
            }
            Self::IdempotencyConflict => sentence(
                422,
                "idempotency_conflict",
                "Idempotency conflict",
                "같은 Idempotency-Key로 다른 요청이 이미 처리되었습니다.",
                "This Idempotency-Key was used for another request.",
            ),
            Self::SoldOut { product, left } => {
                extra.insert("left".into(), json!(left));
                extra.insert("product_id".into(), json!(product));
                let korean = format!("재고가 부족합니다. 남은 수량: {left}");
                (
                    409,
                    "sold_out",
                    "Sold out",
                    korean,
                    format!("Not enough left: {left}."),
                )
            }
            Self::NotOnAir(product) => {
                extra.insert("product_id".into(), json!(product));
                sentence(
                    409,
                    "not_on_air",
                    "Not on air",
                    "지금은 판매 중이 아닌 상품입니다.",
                    "The product is not on air now.",
                )
            }
            Self::BroadcastOffAir { ended: true } => sentence(
                409,
                "not_on_air",
                "Not on air",
                "이미 종료된 방송입니다. 새 방송을 만들어 주세요.",
                "The broadcast has ended and does not come back; plan a new one.",
            ),
            Self::BroadcastOffAir { ended: false } => sentence(
                409,
                "not_on_air",
                "Not on air",
                "아직 시작하지 않은 방송입니다. 방송을 먼저 시작해 주세요.",
                "The broadcast has not begun; start it first.",
            ),
            Self::LimitExceeded { product, left } => {
                extra.insert("left".into(), json!(left));
                extra.insert("product_id".into(), json!(product));
                let korean = format!("1인당 구매 한도를 넘었습니다. 더 살 수 있는 수량: {left}");
                let english =
                    format!("The limit for one viewer is reached; you may order {left} more.");
                (409, "limit_exceeded", "Limit exceeded", korean, english)
            }
            Self::InsufficientPool { left } => {
                extra.insert("left".into(), json!(left));
                let korean = format!("재고가 부족합니다. 쓸 수 있는 수량: {left}");
                (
                    409,
                    "insufficient_pool",
                    "Insufficient pool",
                    korean,
                    format!("Only {left} units are available."),
                )
            }
            Self::PriceBelowOwnStore { floor } => {
                extra.insert("floor".into(), json!(floor));
                extra.insert("field".into(), json!("price"));
                let korean = format!(
                    "최저가 정책 상품은 자사몰 정가보다 낮게 팔 수 없습니다. {floor}원 이상으로 입력해 주세요."
                );
                let english = format!(
                    "A listing under the lowest-price policy may not cost less than in the own store: {floor} won at least."
                );
                (
                    422,
                    "price_below_own_store",
                    "Price below own store",
                    korean,
                    english,
                )
            }
            Self::Refused(refusal) => {
                let told = refusal.told();
                if let Some(seconds) = told.retry_after_s {
                    extra.insert("retry_after_s".into(), json!(seconds));
                }
                (
                    told.status,
                    told.code,
                    told.title,
                    told.korean,
                    told.english,
                )
            }
            Self::PaymentExpired => sentence(
                409,
                "payment_expired",
                "Payment expired",
                "결제 시간이 지났고 남은 재고가 없습니다. 결제되지 않았습니다.",
                "The time to pay is over and the units are gone. Nothing was charged.",
            ),
            Self::AlreadySettled => sentence(
                409,
                "already_settled",
                "Already settled",
                "이미 처리된 주문입니다.",
                "The order is settled already, or another payment of it is under way.",
            ),
            Self::Foreign(_)
            | Self::Corrupt(_)
            | Self::Conflict
            | Self::Redis(_)
            | Self::Aws { .. }
            | Self::Payment(_)
            | Self::PaymentConfiguration(_) => {
                extra.insert("retry_after_s".into(), json!(1));
                sentence(
                    503,
                    "unavailable",
                    "Unavailable",
                    "잠시 후 같은 Idempotency-Key로 다시 시도해 주세요.",
                    "Try again shortly, with the same Idempotency-Key.",
                )
            }
        };
        let mut body = json!({
            "type": format!("urn:onepool:problem:{code}"),
            "title": title,
            "status": status,
            "detail": language.pick(korean, english),
            "code": code,
        });
        if let Value::Object(members) = &mut body {
            members.append(&mut extra);
        }
        Problem { status, body }
    }

    /// Whether a queue should bring the message again.
    #[must_use]
    pub fn retry(&self) -> Retry {
        match self {
            Self::Conflict | Self::Redis(_) | Self::Aws { .. } | Self::Payment(_) => Retry::Later,
            Self::PaymentConfiguration(_) => Retry::AfterRepair,
            Self::Invalid { .. }
            | Self::Unauthenticated
            | Self::Unsigned(_)
            | Self::Forbidden
            | Self::NotFound(_)
            | Self::IdempotencyConflict
            | Self::SoldOut { .. }
            | Self::NotOnAir(_)
            | Self::BroadcastOffAir { .. }
            | Self::LimitExceeded { .. }
            | Self::InsufficientPool { .. }
            | Self::PriceBelowOwnStore { .. }
            | Self::Refused(_)
            | Self::PaymentExpired
            | Self::AlreadySettled
            | Self::Foreign(_)
            | Self::Corrupt(_) => Retry::Never,
        }
    }

    /// Whether the caller did something wrong, as opposed to us.
    #[must_use]
    pub fn is_callers(&self) -> bool {
        self.problem(Language::Korean).status < 500
    }
}

fn sentence(
    status: u16,
    code: &'static str,
    title: &'static str,
    korean: &str,
    english: &str,
) -> (u16, &'static str, &'static str, String, String) {
    (status, code, title, korean.to_owned(), english.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_contracts_members_and_its_own() {
        let error = Error::SoldOut {
            product: "p1".parse().expect("an id"),
            left: 3,
        };
        let problem = error.problem(Language::English);
        assert_eq!(problem.status, 409);
        assert_eq!(
            problem.body,
            json!({
                "type": "urn:onepool:problem:sold_out", "title": "Sold out", "status": 409,
                "detail": "Not enough left: 3.", "code": "sold_out", "left": 3, "product_id": "p1",
            })
        );
    }

    #[test]
    fn a_failure_of_ours_keeps_its_cause_to_itself() {
        let problem = Error::Payment("secret cause".into()).problem(Language::Korean);
        assert_eq!(problem.status, 503);
        assert!(!problem.body.to_string().contains("secret cause"));
    }

    #[test]
    fn korean_is_the_default_language() {
        for (header, expected) in [
            (None, Language::Korean),
            (Some("en"), Language::English),
            (Some("en-US,en;q=0.9,ko;q=0.8"), Language::English),
            (Some("ko-KR,ko;q=0.9,en;q=0.8"), Language::Korean),
            (Some("fr"), Language::Korean),
        ] {
            assert_eq!(Language::from_header(header), expected, "{header:?}");
        }
    }
}
