//! A payment gateway that answers at once and keeps books. It is more credulous than a real one: it charges whatever comes
//! with a new Idempotency-Key, so an order that is charged twice is seen in the books instead of being refused.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;
use serde_json::json;

use crate::{
    Result,
    http::{self, Request},
};

/// Billing keys that begin so are refused.
pub const DECLINED: &str = "decline";

/// How a charge goes wrong, when it is to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It is not made, and its caller is told that something broke.
    NotMade,
    /// It is made, and its caller is told that something broke.
    AnswerLost,
}

/// Speaks the two calls that settling an order makes: charging a billing key, and looking an order up.
pub struct Payments {
    /// Where it listens.
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
}

#[derive(Default)]
struct Books {
    /// By order id, the answers to its charges.
    charges: HashMap<String, Vec<String>>,
    /// By Idempotency-Key, the first answer.
    answers: HashMap<String, (&'static str, String)>,
    /// Of a thousand charges, how many go wrong.
    faults_per_mille: u32,
    faults: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Charge {
    order_id: String,
    amount: u64,
}

impl Payments {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let books = Arc::new(Mutex::new(Books::default()));
        let keeping = Arc::clone(&books);
        let address = http::listen(move |mut connection| {
            while let Some(request) = connection.read()? {
                let (status, body) = lock(&keeping).answer(&request);
                let headers = "content-type: application/json\r\n";
                connection.answer(status, headers, body.as_bytes())?;
            }
            Ok(())
        })?;
        Ok(Self { address, books })
    }

    /// From now on so many of a thousand charges go wrong: half of them are made nonetheless.
    pub fn falter(&self, per_mille: u32) {
        lock(&self.books).faults_per_mille = per_mille;
    }

    /// Charges that went wrong.
    pub fn faults(&self) -> u64 {
        lock(&self.books).faults
    }

    /// Charges beyond the first of each order.
    pub fn double_charges(&self) -> u64 {
        let books = lock(&self.books);
        let more = |charges: &Vec<String>| charges.len().saturating_sub(1) as u64;
        books.charges.values().map(more).sum()
    }

    /// Orders that were charged.
    pub fn charged_orders(&self) -> u64 {
        lock(&self.books).charges.len() as u64
    }
}

fn lock(books: &Mutex<Books>) -> MutexGuard<'_, Books> {
    books.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Books {
    fn answer(&mut self, request: &Request) -> (&'static str, String) {
        let line = request.line();
        if let Some(rest) = line.strip_prefix("POST /v1/billing/") {
            let key = request.header("idempotency-key").unwrap_or_default();
            let fault = self.fault();
            if fault != Some(Fault::NotMade) && !self.answers.contains_key(key) {
                let answer = self.charge(rest, &request.body);
                self.answers.insert(key.to_owned(), answer);
            }
            return match (fault, self.answers.get(key)) {
                (None, Some(answer)) => answer.clone(),
                _ => refusal(
                    "500 Internal Server Error",
                    "FAILED_INTERNAL_SYSTEM_PROCESSING",
                ),
            };
        }
        let order = line
            .strip_prefix("GET /v1/payments/orders/")
            .and_then(|rest| rest.split(' ').next());
        let payment = order.and_then(|order| self.charges.get(order)?.first());
        match payment {
            Some(payment) => ("200 OK", payment.clone()),
            None => refusal("404 Not Found", "NOT_FOUND_PAYMENT"),
        }
    }

    fn fault(&mut self) -> Option<Fault> {
        if fastrand::u32(..1_000) >= self.faults_per_mille {
            return None;
        }
        self.faults += 1;
        Some(if self.faults.is_multiple_of(2) {
            Fault::NotMade
        } else {
            Fault::AnswerLost
        })
    }

    fn charge(&mut self, billing_key: &str, body: &[u8]) -> (&'static str, String) {
        let Ok(Charge { order_id, amount }) = serde_json::from_slice(body) else {
            return refusal("400 Bad Request", "INVALID_REQUEST");
        };
        if billing_key.starts_with(DECLINED) {
            return refusal("403 Forbidden", "REJECT_CARD_COMPANY");
        }
        let charges = self.charges.entry(order_id.clone()).or_default();
        let payment = json!({
            "paymentKey": format!("bench-{}-{order_id}", charges.len() + 1),
            "orderId": order_id,
            "status": "DONE",
            "method": "카드",
            "totalAmount": amount,
            "balanceAmount": amount,
            "currency": "KRW",
            "approvedAt": "2026-01-01T09:00:00+09:00",
        })
        .to_string();
        charges.push(payment.clone());
        ("200 OK", payment)
    }
}

fn refusal(status: &'static str, code: &str) -> (&'static str, String) {
    let body = json!({ "code": code, "message": "refused by the bench" });
    (status, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn charge(books: &mut Books, key: &str, billing_key: &str) -> &'static str {
        let body = r#"{"orderId":"o1","amount":1000,"customerKey":"c","orderName":"n"}"#;
        let request = format!(
            "POST /v1/billing/{billing_key} HTTP/1.1\r\nIdempotency-Key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let request = http::parse(request.as_bytes()).expect("is HTTP");
        books.answer(&request.expect("is whole").0).0
    }

    #[test]
    fn a_repeated_key_charges_once_and_another_key_is_seen_in_the_books() {
        let mut books = Books::default();
        assert_eq!(charge(&mut books, "k1", "bk"), "200 OK");
        assert_eq!(charge(&mut books, "k1", "bk"), "200 OK");
        assert_eq!(books.charges["o1"].len(), 1);
        assert_eq!(charge(&mut books, "k2", "bk"), "200 OK");
        assert_eq!(books.charges["o1"].len(), 2);
        assert_eq!(charge(&mut books, "k3", "decline-1"), "403 Forbidden");
        assert_eq!(books.charges["o1"].len(), 2);
    }

    #[test]
    fn a_charge_that_goes_wrong_may_be_made_and_is_made_once() {
        let mut books = Books {
            faults_per_mille: 1_000,
            ..Books::default()
        };
        let broke = "500 Internal Server Error";
        assert_eq!(charge(&mut books, "k1", "bk"), broke);
        assert_eq!(books.charges["o1"].len(), 1);
        assert_eq!(charge(&mut books, "k2", "bk"), broke);
        assert_eq!(books.charges["o1"].len(), 1);
        books.faults_per_mille = 0;
        assert_eq!(charge(&mut books, "k1", "bk"), "200 OK");
        assert_eq!(books.charges["o1"].len(), 1);
    }
}
