//! What the gateway's codes say of the money. The lists are those of its documentation; a code that is on none says nothing.

use reqwest::StatusCode;

/// What a refusal says of the money.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// No money moved, and none will.
    Definite,
    /// Our keys or the form of our requests are wrong.
    Configuration,
    /// This request moved no money, as it asks what the gateway does not do for this payment. An earlier one may have.
    AsAsked,
    /// Anything may have happened.
    Unknown,
}

pub(super) fn classify_charge(status: StatusCode, code: &str) -> Class {
    if is_configuration(code) {
        Class::Configuration
    } else if is_refusal(status)
        && (is_by_the_card(code) || matches!(code, "INVALID_REQUEST" | "NOT_MATCHES_CUSTOMER_KEY"))
    {
        Class::Definite
    } else {
        Class::Unknown
    }
}

pub(super) fn classify_confirm(status: StatusCode, code: &str) -> Class {
    if is_configuration(code) {
        Class::Configuration
    } else if is_refusal(status) && (is_by_the_card(code) || code == "NOT_FOUND_PAYMENT_SESSION") {
        Class::Definite
    } else if is_refusal(status) && matches!(code, "INVALID_REQUEST" | "NOT_FOUND_PAYMENT") {
        Class::AsAsked
    } else {
        Class::Unknown
    }
}

pub(super) fn classify_refund(status: StatusCode, code: &str) -> Class {
    let refused = code.starts_with("NOT_CANCELABLE_")
        || matches!(
            code,
            "NOT_MATCHES_REFUNDABLE_AMOUNT"
                | "EXCEED_MAX_REFUND_DUE"
                | "NOT_ALLOWED_PARTIAL_REFUND"
                | "REFUND_REJECTED"
                | "INVALID_REQUEST"
                | "NOT_FOUND_PAYMENT"
        );
    if is_configuration(code) {
        Class::Configuration
    } else if is_refusal(status) && refused {
        Class::Definite
    } else {
        Class::Unknown
    }
}

/// A refusal says no by its status, too: a 5xx with any code may come after the money moved, and a 429 before it was tried.
fn is_refusal(status: StatusCode) -> bool {
    status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS
}

fn is_by_the_card(code: &str) -> bool {
    ["REJECT_", "INVALID_CARD_", "EXCEED_"]
        .iter()
        .any(|prefix| code.starts_with(prefix))
        || matches!(
            code,
            "INVALID_STOPPED_CARD" | "BELOW_MINIMUM_AMOUNT" | "FDS_ERROR"
        )
}

pub(super) fn is_configuration(code: &str) -> bool {
    matches!(
        code,
        "UNAUTHORIZED_KEY"
            | "INVALID_API_KEY"
            | "INCORRECT_BASIC_AUTH_FORMAT"
            | "INVALID_IDEMPOTENCY_KEY"
            | "FORBIDDEN_REQUEST"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: StatusCode = StatusCode::FORBIDDEN;

    #[test]
    fn only_a_refusal_that_is_final_declines() {
        for code in [
            "REJECT_CARD_COMPANY",
            "INVALID_CARD_EXPIRATION",
            "INVALID_STOPPED_CARD",
            "EXCEED_MAX_AMOUNT",
            "BELOW_MINIMUM_AMOUNT",
            "FDS_ERROR",
        ] {
            assert_eq!(classify_charge(REFUSED, code), Class::Definite, "{code}");
            assert_eq!(classify_confirm(REFUSED, code), Class::Definite, "{code}");
            for status in [
                StatusCode::INTERNAL_SERVER_ERROR,
                StatusCode::TOO_MANY_REQUESTS,
            ] {
                assert_eq!(classify_charge(status, code), Class::Unknown, "{code}");
                assert_eq!(classify_confirm(status, code), Class::Unknown, "{code}");
            }
        }
        assert_eq!(
            classify_confirm(StatusCode::NOT_FOUND, "NOT_FOUND_PAYMENT_SESSION"),
            Class::Definite
        );
        for code in [
            "PROVIDER_ERROR",
            "ALREADY_PROCESSED_PAYMENT",
            "DUPLICATED_ORDER_ID",
            "IDEMPOTENT_REQUEST_PROCESSING",
            "SOMETHING_NEW",
        ] {
            assert_eq!(classify_charge(REFUSED, code), Class::Unknown, "{code}");
            assert_eq!(classify_confirm(REFUSED, code), Class::Unknown, "{code}");
        }
    }

    #[test]
    fn only_a_refund_that_can_never_be_is_refused() {
        for code in [
            "NOT_CANCELABLE_AMOUNT",
            "NOT_CANCELABLE_PAYMENT",
            "NOT_MATCHES_REFUNDABLE_AMOUNT",
            "EXCEED_MAX_REFUND_DUE",
            "REFUND_REJECTED",
        ] {
            assert_eq!(classify_refund(REFUSED, code), Class::Definite, "{code}");
        }
        for code in [
            "ALREADY_CANCELED_PAYMENT",
            "FORBIDDEN_CONSECUTIVE_REQUEST",
            "FAILED_REFUND_PROCESS",
        ] {
            assert_eq!(classify_refund(REFUSED, code), Class::Unknown, "{code}");
        }
    }

    #[test]
    fn our_own_faults_are_told_from_the_gateways() {
        for code in [
            "UNAUTHORIZED_KEY",
            "INVALID_API_KEY",
            "INCORRECT_BASIC_AUTH_FORMAT",
            "INVALID_IDEMPOTENCY_KEY",
            "FORBIDDEN_REQUEST",
        ] {
            for classify in [classify_charge, classify_confirm, classify_refund] {
                assert_eq!(classify(REFUSED, code), Class::Configuration, "{code}");
            }
        }
    }
}
