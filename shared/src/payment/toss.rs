//! Toss Payments, core API v1 (docs.tosspayments.com/reference).

use std::time::Duration;

use futures::{FutureExt, future::BoxFuture};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, redirect};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use super::{
    Charge, Gateway, PAYMENT_CANCELED, PAYMENT_OF_ANOTHER_ORDER, PAYMENT_OVER, Payment,
    PaymentStatus, Refund, UNUSABLE_KEY, webhook::is_word,
};
use crate::{clock::Timestamp, config::Secret, error::Error, id, order::OrderId};

/// A card company may take its time; the function that waits has 30 seconds, and one try is at most three calls.
const CALL_TIMEOUT: Duration = Duration::from_secs(8);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A payment has some 2 KiB; what is longer than this is not from the gateway.
const MAX_ANSWER_BYTES: usize = 256 * 1024;
/// Of a payment key or a billing key.
const MAX_KEY_CHARS: usize = 200;
/// More is refused as `INVALID_IDEMPOTENCY_KEY`.
const MAX_IDEMPOTENCY_KEY_CHARS: usize = 300;
const MAX_REASON_CHARS: usize = 200;

/// The gateway.
pub struct Toss {
    base_url: String,
    secret_key: Secret,
    client: OnceCell<Client>,
}

/// The Payment object, as far as it is read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WirePayment {
    payment_key: String,
    order_id: String,
    status: String,
    total_amount: u64,
    balance_amount: u64,
    approved_at: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
}

/// What came back of one call.
enum Answer {
    Payment(Payment),
    Refused(StatusCode, String),
    /// No answer, or one that says nothing; with what is known of it.
    Unknown(String),
}

/// What a refusal says of the money.
#[derive(Debug, PartialEq, Eq)]
enum Class {
    /// No money moved, and none will.
    Definite,
    /// Our keys or the form of our requests are wrong.
    Configuration,
    /// This request moved no money, as it asks what the gateway does not do for this payment. An earlier one may have.
    AsAsked,
    /// Anything may have happened.
    Unknown,
}

impl Toss {
    /// The gateway at `base_url`.
    #[must_use]
    pub fn new(base_url: String, secret_key: Secret) -> Self {
        Self {
            base_url,
            secret_key,
            client: OnceCell::new(),
        }
    }

    async fn charge_card(
        &self,
        order: &OrderId,
        (billing_key, customer_key): (&str, &str),
        amount: u64,
        attempt: u32,
    ) -> Result<Charge, Error> {
        if !is_usable(billing_key) {
            return Ok(Charge::Declined(UNUSABLE_KEY.to_owned()));
        }
        let body = json!({ "customerKey": customer_key, "amount": amount, "orderId": order, "orderName": format!("Onepool {order}") });
        let key = idempotency_key("charge", order.as_str(), &attempt.to_string());
        let path = format!("/v1/billing/{}", segment(billing_key));
        match self.post(&path, &key, &body).await? {
            Answer::Payment(payment) => match charged(order, payment) {
                Some(charge) => Ok(charge),
                None => {
                    self.outcome_of_charge(order, "the payment is not done")
                        .await
                }
            },
            Answer::Refused(status, code) => match classify_charge(status, &code) {
                Class::Definite => Ok(Charge::Declined(code)),
                Class::Configuration => Err(Error::PaymentConfiguration(code)),
                Class::AsAsked | Class::Unknown => self.outcome_of_charge(order, &code).await,
            },
            Answer::Unknown(cause) => self.outcome_of_charge(order, &cause).await,
        }
    }

    /// Looks a charge up whose answer said nothing. Only money that moved is an outcome: a charge that the gateway does not
    /// know may still be on its way to it, and a payment that is over may be that of an earlier attempt.
    async fn outcome_of_charge(&self, order: &OrderId, cause: &str) -> Result<Charge, Error> {
        tracing::warn!(order.id = %order, cause, "a charge has no known outcome; looking it up");
        self.payment_of(order)
            .await?
            .and_then(|payment| charged(order, payment))
            .ok_or_else(|| Error::Payment(cause.to_owned()))
    }

    async fn confirm_checkout(
        &self,
        order: &OrderId,
        payment_key: &str,
        amount: u64,
        attempt: u32,
    ) -> Result<Charge, Error> {
        if !is_usable(payment_key) {
            return Ok(Charge::Declined(UNUSABLE_KEY.to_owned()));
        }
        let body = json!({ "paymentKey": payment_key, "orderId": order, "amount": amount });
        // The gateway leaves the body out of what the key stands for, so the key must stand for the payment: with a key of
        // the order alone, a second checkout of it would get the first one's answer and never be paid.
        // The gateway takes one checkout once, so another attempt cannot charge it again.
        let key = idempotency_key(
            "confirm",
            order.as_str(),
            &format!("{payment_key}:{attempt}"),
        );
        let (cause, refused) = match self.post("/v1/payments/confirm", &key, &body).await? {
            Answer::Payment(payment) => match charged(order, payment) {
                Some(charge) => return Ok(charge),
                None => ("the payment is not done".to_owned(), false),
            },
            Answer::Refused(status, code) => match classify_confirm(status, &code) {
                Class::Definite => return Ok(Charge::Declined(code)),
                Class::Configuration => return Err(Error::PaymentConfiguration(code)),
                Class::AsAsked => (code, true),
                Class::Unknown => (code, false),
            },
            Answer::Unknown(cause) => (cause, false),
        };
        tracing::warn!(order.id = %order, cause, "a confirm has no known outcome; looking it up");
        // By the order first: that finds money of any of its checkouts.
        if let Some(payment) = self.payment_of(order).await?
            && let Some(charge) = charged(order, payment)
        {
            return Ok(charge);
        }
        let payment = self.payment(payment_key).await?;
        let is_over = payment
            .as_ref()
            .is_some_and(|payment| payment.status == PaymentStatus::Dead);
        match payment.and_then(|payment| charged(order, payment)) {
            Some(charge) => Ok(charge),
            None if is_over => Ok(Charge::Declined(PAYMENT_OVER.to_owned())),
            None if refused => Ok(Charge::Declined(cause)),
            None => Err(Error::Payment(cause)),
        }
    }

    async fn cancel(
        &self,
        payment_key: &str,
        refund_id: &str,
        reason: &str,
    ) -> Result<Refund, Error> {
        if !is_usable(payment_key) {
            return Ok(Refund::Refused(UNUSABLE_KEY.to_owned()));
        }
        let reason: String = reason.chars().take(MAX_REASON_CHARS).collect();
        let body = json!({ "cancelReason": reason });
        let key = idempotency_key("cancel", refund_id, "");
        let path = format!("/v1/payments/{}/cancel", segment(payment_key));
        let cause = match self.post(&path, &key, &body).await? {
            Answer::Payment(payment) if payment.status == PaymentStatus::Canceled => {
                return Ok(Refund::Done(payment));
            }
            Answer::Payment(_) => "the payment is not cancelled".to_owned(),
            Answer::Refused(status, code) => match classify_refund(status, &code) {
                Class::Definite => return Ok(Refund::Refused(code)),
                Class::Configuration => return Err(Error::PaymentConfiguration(code)),
                Class::AsAsked | Class::Unknown => code,
            },
            Answer::Unknown(cause) => cause,
        };
        tracing::warn!(
            refund.id = refund_id,
            cause,
            "a refund has no known outcome; reading its payment"
        );
        match self.payment(payment_key).await? {
            Some(payment) if payment.status == PaymentStatus::Canceled => Ok(Refund::Done(payment)),
            Some(_) | None => Err(Error::Payment(cause)),
        }
    }

    async fn payment_of(&self, order: &OrderId) -> Result<Option<Payment>, Error> {
        let payment = self.read(&format!("/v1/payments/orders/{order}")).await?;
        match payment {
            Some(payment) if !is_of(order, &payment) => Err(Error::Payment(
                "the gateway answered with the payment of another order".to_owned(),
            )),
            payment => Ok(payment),
        }
    }

    async fn payment(&self, payment_key: &str) -> Result<Option<Payment>, Error> {
        self.read(&format!("/v1/payments/{}", segment(payment_key)))
            .await
    }

    /// `None` only if the gateway itself says that there is no such payment: whoever hears it may charge again.
    async fn read(&self, path: &str) -> Result<Option<Payment>, Error> {
        match answer(self.request(Method::GET, path).await?).await {
            Answer::Payment(payment) => Ok(Some(payment)),
            Answer::Refused(StatusCode::NOT_FOUND, code) if code == "NOT_FOUND_PAYMENT" => Ok(None),
            Answer::Refused(_, code) if is_configuration(&code) => {
                Err(Error::PaymentConfiguration(code))
            }
            Answer::Refused(_, cause) | Answer::Unknown(cause) => Err(Error::Payment(cause)),
        }
    }

    async fn post(&self, path: &str, idempotency_key: &str, body: &Value) -> Result<Answer, Error> {
        let request = self.request(Method::POST, path).await?;
        Ok(answer(
            request
                .header("Idempotency-Key", idempotency_key)
                .json(body),
        )
        .await)
    }

    async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Error> {
        let client = self
            .client
            .get_or_try_init(|| async {
                Client::builder()
                    .timeout(CALL_TIMEOUT)
                    .connect_timeout(CONNECT_TIMEOUT)
                    // The gateway sends nobody elsewhere, and a payment is not to be made at another address.
                    .redirect(redirect::Policy::none())
                    .build()
            })
            .await
            .map_err(|error| Error::Payment(error.to_string()))?;
        Ok(client
            .request(method, format!("{}{path}", self.base_url))
            .basic_auth(self.secret_key.reveal(), Some("")))
    }
}

impl Gateway for Toss {
    fn charge<'a>(
        &'a self,
        order: &'a OrderId,
        billing_key: &'a str,
        customer_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        self.charge_card(order, (billing_key, customer_key), amount, attempt)
            .boxed()
    }

    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        self.confirm_checkout(order, payment_key, amount, attempt)
            .boxed()
    }

    fn lookup<'a>(&'a self, order: &'a OrderId) -> BoxFuture<'a, Result<Option<Payment>, Error>> {
        self.payment_of(order).boxed()
    }

    fn refund<'a>(
        &'a self,
        payment: &'a Payment,
        refund_id: &'a str,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<Refund, Error>> {
        self.cancel(&payment.payment_key, refund_id, reason).boxed()
    }
}

async fn answer(request: RequestBuilder) -> Answer {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) => return Answer::Unknown(error.without_url().to_string()),
    };
    let status = response.status();
    let body = match bounded(response).await {
        Ok(body) => body,
        Err(cause) => return Answer::Unknown(format!("{status}: {cause}")),
    };
    // What serde says may quote the body, and a payment has personal data in it: none of it reaches a log.
    if status.is_success() {
        return serde_json::from_slice::<WirePayment>(&body)
            .ok()
            .and_then(payment)
            .map_or_else(
                || Answer::Unknown(format!("{status}: not a payment that can be read")),
                Answer::Payment,
            );
    }
    match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) if is_word(&refusal.code) => Answer::Refused(status, refusal.code),
        Ok(_) | Err(_) => Answer::Unknown(status.to_string()),
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| error.without_url().to_string())?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("more than {MAX_ANSWER_BYTES} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// `None` if its status is not one that we know: what it means for the money is not known either.
fn payment(wire: WirePayment) -> Option<Payment> {
    let status = match wire.status.as_str() {
        "DONE" | "PARTIAL_CANCELED" => PaymentStatus::Done,
        "CANCELED" => PaymentStatus::Canceled,
        "READY" | "IN_PROGRESS" | "WAITING_FOR_DEPOSIT" => PaymentStatus::Pending,
        "ABORTED" | "EXPIRED" => PaymentStatus::Dead,
        _ => return None,
    };
    Some(Payment {
        payment_key: wire.payment_key,
        order_id: wire.order_id.parse().ok(),
        status,
        total: wire.total_amount,
        balance: wire.balance_amount,
        // A date that cannot be read is no reason not to know that money moved.
        approved_at: wire.approved_at.as_deref().and_then(Timestamp::parse),
    })
}

/// What a payment says of a try to charge its order; `None` if it leaves that open.
fn charged(order: &OrderId, payment: Payment) -> Option<Charge> {
    if !is_of(order, &payment) {
        return Some(Charge::Declined(PAYMENT_OF_ANOTHER_ORDER.to_owned()));
    }
    match payment.status {
        PaymentStatus::Done => Some(Charge::Paid(payment)),
        PaymentStatus::Canceled => Some(Charge::Declined(PAYMENT_CANCELED.to_owned())),
        PaymentStatus::Pending | PaymentStatus::Dead => None,
    }
}

fn is_of(order: &OrderId, payment: &Payment) -> bool {
    payment.order_id.as_ref() == Some(order)
}

fn classify_charge(status: StatusCode, code: &str) -> Class {
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

fn classify_confirm(status: StatusCode, code: &str) -> Class {
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

fn classify_refund(status: StatusCode, code: &str) -> Class {
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

fn is_configuration(code: &str) -> bool {
    matches!(
        code,
        "UNAUTHORIZED_KEY"
            | "INVALID_API_KEY"
            | "INCORRECT_BASIC_AUTH_FORMAT"
            | "INVALID_IDEMPOTENCY_KEY"
            | "FORBIDDEN_REQUEST"
    )
}

/// `<verb>:<of>:<which>`, or a digest in place of what is too long for a key or cannot stand in a header.
fn idempotency_key(verb: &str, of: &str, which: &str) -> String {
    let key = match which {
        "" => format!("{verb}:{of}"),
        which => format!("{verb}:{of}:{which}"),
    };
    if key.len() <= MAX_IDEMPOTENCY_KEY_CHARS && key.bytes().all(|byte| byte.is_ascii_graphic()) {
        key
    } else {
        format!("{verb}:{}", id::digest(&[of, which], 32))
    }
}

/// Whether a key can be one: short enough, and not what a URL takes for a step up, encoded or not.
pub(super) fn is_usable(key: &str) -> bool {
    (1..=MAX_KEY_CHARS).contains(&key.chars().count()) && !matches!(key, "." | "..")
}

/// A key as one segment of a path: the request carries our secret key, and must not go elsewhere.
fn segment(key: &str) -> String {
    key.bytes()
        .map(|byte| match byte {
            b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            _ if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
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

    #[test]
    fn an_idempotency_key_fits_and_stands_for_one_thing() {
        assert_eq!(
            idempotency_key("charge", "b-1-order", "2"),
            "charge:b-1-order:2"
        );
        assert_eq!(idempotency_key("cancel", "refund-1", ""), "cancel:refund-1");
        let (long, other) = ("k".repeat(400), format!("{}x", "k".repeat(399)));
        let [key, of_other] = [&long, &other].map(|which| idempotency_key("confirm", "o", which));
        assert!(key.len() <= MAX_IDEMPOTENCY_KEY_CHARS && key != of_other);
        assert!(idempotency_key("cancel", "환불\n", "").is_ascii());
    }

    #[test]
    fn a_key_stays_one_segment_of_its_path() {
        assert_eq!(segment("pay_1-A=="), "pay_1-A%3D%3D");
        assert_eq!(segment("../a?b#c%2f"), "..%2Fa%3Fb%23c%252f");
        for key in ["", ".", "..", &"k".repeat(201)] {
            assert!(!is_usable(key), "{key:?} was taken");
        }
    }

    #[test]
    fn every_status_is_one_of_four_and_a_new_one_is_none() {
        let of = |status: &str| {
            let wire = json!({ "paymentKey": "pay_1", "orderId": "of another shop", "status": status,
                "totalAmount": 5, "balanceAmount": 3, "approvedAt": "no date" });
            payment(serde_json::from_value(wire).expect("a payment"))
        };
        for (status, is) in [
            ("DONE", PaymentStatus::Done),
            ("PARTIAL_CANCELED", PaymentStatus::Done),
            ("CANCELED", PaymentStatus::Canceled),
            ("READY", PaymentStatus::Pending),
            ("IN_PROGRESS", PaymentStatus::Pending),
            ("WAITING_FOR_DEPOSIT", PaymentStatus::Pending),
            ("ABORTED", PaymentStatus::Dead),
            ("EXPIRED", PaymentStatus::Dead),
        ] {
            let payment = of(status).expect("is known");
            assert_eq!(payment.status, is, "{status}");
            assert_eq!((payment.order_id, payment.approved_at), (None, None));
        }
        assert_eq!(of("SOMETHING_NEW"), None);
    }
}
