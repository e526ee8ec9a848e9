//! The payments themselves: who was charged what, and what was given back.

use std::collections::{HashMap, VecDeque};

use serde::Serialize;
use serde_json::{Value, json};
use time::{Duration, OffsetDateTime};

use crate::{answer::Refusal, clock};

/// How long a buyer's finished checkout waits to be confirmed.
const CONFIRM_WITHIN: Duration = Duration::minutes(10);
/// Nothing is forgotten before a reset, or the books would lie; so the number is bounded instead.
const MAX_PAYMENTS: usize = 500_000;

/// The buyer's bank refuses every billing key that begins so.
const DECLINED_KEYS: &str = "decline";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Kind {
    Normal,
    Billing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Status {
    InProgress,
    Done,
    Canceled,
    PartialCanceled,
    Aborted,
    Expired,
}

impl Status {
    /// Money was taken, whether or not some of it went back.
    fn was_approved(self) -> bool {
        match self {
            Self::Done | Self::Canceled | Self::PartialCanceled => true,
            Self::InProgress | Self::Aborted | Self::Expired => false,
        }
    }
}

#[derive(Debug)]
struct Cancel {
    amount: u64,
    reason: String,
    refundable_after: u64,
    at: OffsetDateTime,
    transaction_key: String,
}

#[derive(Debug)]
struct Payment {
    key: String,
    kind: Kind,
    billing_key: Option<String>,
    order_id: String,
    order_name: String,
    total: u64,
    balance: u64,
    status: Status,
    requested_at: OffsetDateTime,
    approved_at: Option<OffsetDateTime>,
    last_transaction_key: Option<String>,
    cancels: Vec<Cancel>,
    failure: Option<Refusal>,
}

#[derive(Debug, Default)]
struct Order {
    payments: Vec<usize>,
    charges: u64,
    refused_duplicates: u64,
}

/// All payments since the start or the last reset.
#[derive(Debug, Default)]
pub(crate) struct Payments {
    all: Vec<Payment>,
    by_key: HashMap<String, usize>,
    by_order: HashMap<String, Order>,
    /// Checkouts by the end of their ten minutes; the clock never goes back, so oldest first.
    sessions: VecDeque<(OffsetDateTime, usize)>,
    /// Payment objects as they were after each change, for whoever tells the shop.
    changes: Vec<Value>,
}

impl Payments {
    /// What the buyer's browser does: after it the payment waits to be confirmed.
    pub(crate) fn check_out(
        &mut self,
        order_id: &str,
        order_name: &str,
        amount: u64,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let place = self.open(Kind::Normal, None, (order_id, order_name, amount), now)?;
        self.sessions.push_back((now + CONFIRM_WITHIN, place));
        Ok(self.changed(place))
    }

    /// `POST /v1/billing/{billingKey}`
    pub(crate) fn charge(
        &mut self,
        billing_key: &str,
        (order_id, order_name, amount): (&str, &str, u64),
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        self.refuse_duplicate(order_id)?;
        if billing_key.starts_with(DECLINED_KEYS) {
            return Err(Refusal::new(
                "REJECT_CARD_COMPANY",
                "The card company refused the payment.",
            ));
        }
        let key = Some(billing_key.to_owned());
        let place = self.open(Kind::Billing, key, (order_id, order_name, amount), now)?;
        Ok(self.approve(place, now))
    }

    /// `POST /v1/payments/confirm`
    pub(crate) fn confirm(
        &mut self,
        (payment_key, order_id, amount): (&str, &str, u64),
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let place = self.place(payment_key)?;
        let payment = &self.all[place];
        if payment.order_id != order_id || payment.total != amount {
            return Err(Refusal::invalid_request(
                "orderId and amount must be those of the checkout.",
            ));
        }
        match payment.status {
            Status::InProgress => {
                self.refuse_duplicate(order_id)?;
                Ok(self.approve(place, now))
            }
            Status::Done | Status::Canceled | Status::PartialCanceled => {
                self.order(order_id).refused_duplicates += 1;
                Err(Refusal::new(
                    "ALREADY_PROCESSED_PAYMENT",
                    "The payment was already processed.",
                ))
            }
            Status::Aborted | Status::Expired => Err(session_gone()),
        }
    }

    /// `POST /v1/payments/{paymentKey}/cancel`
    pub(crate) fn cancel(
        &mut self,
        payment_key: &str,
        amount: Option<u64>,
        reason: &str,
        now: OffsetDateTime,
    ) -> Result<Value, Refusal> {
        let place = self.place(payment_key)?;
        let payment = &mut self.all[place];
        match payment.status {
            Status::Done | Status::PartialCanceled => {}
            Status::Canceled => {
                return Err(Refusal::new(
                    "ALREADY_CANCELED_PAYMENT",
                    "The payment was already cancelled.",
                ));
            }
            Status::InProgress | Status::Aborted | Status::Expired => {
                return Err(Refusal::new(
                    "NOT_CANCELABLE_PAYMENT",
                    "The payment was never approved.",
                ));
            }
        }
        let amount = amount.unwrap_or(payment.balance);
        let Some(balance) = payment.balance.checked_sub(amount) else {
            return Err(Refusal::new(
                "NOT_CANCELABLE_AMOUNT",
                "The amount is more than what is left to cancel.",
            ));
        };
        let transaction_key = new_key("txn");
        payment.balance = balance;
        payment.status = if balance == 0 {
            Status::Canceled
        } else {
            Status::PartialCanceled
        };
        payment.last_transaction_key = Some(transaction_key.clone());
        payment.cancels.push(Cancel {
            amount,
            reason: reason.to_owned(),
            refundable_after: balance,
            at: now,
            transaction_key,
        });
        Ok(self.changed(place))
    }

    /// `GET /v1/payments/{paymentKey}`
    pub(crate) fn by_key(&self, payment_key: &str) -> Result<Value, Refusal> {
        self.place(payment_key)
            .map(|place| self.all[place].object())
    }

    /// `GET /v1/payments/orders/{orderId}`: the payment that took money if one did, else the newest.
    pub(crate) fn by_order(&self, order_id: &str) -> Result<Value, Refusal> {
        let order = self.by_order.get(order_id).ok_or_else(not_found)?;
        order
            .payments
            .iter()
            .map(|place| &self.all[*place])
            .max_by_key(|payment| (payment.status.was_approved(), payment.requested_at))
            .map(Payment::object)
            .ok_or_else(not_found)
    }

    /// The card company refused the checkout: it is over, and the buyer must start again.
    pub(crate) fn abort(&mut self, payment_key: &str, refusal: &Refusal) {
        self.end(payment_key, Status::Aborted, refusal);
    }

    /// The checkout's time is over, before its ten minutes are.
    pub(crate) fn expire(&mut self, payment_key: &str) -> Refusal {
        let gone = session_gone();
        self.end(payment_key, Status::Expired, &gone);
        gone
    }

    /// Ends the checkouts whose ten minutes have passed.
    pub(crate) fn expire_due(&mut self, now: OffsetDateTime) {
        while let Some((due, place)) = self.sessions.front().copied()
            && due <= now
        {
            self.sessions.pop_front();
            if self.all[place].status == Status::InProgress {
                self.all[place].status = Status::Expired;
                self.all[place].failure = Some(session_gone());
                self.changed(place);
            }
        }
    }

    /// The changes since the last call, oldest first.
    pub(crate) fn take_changes(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.changes)
    }

    /// The order and the billing key behind a payment, for fault scripts.
    pub(crate) fn origin(&self, payment_key: &str) -> Option<(&str, Option<&str>)> {
        let payment = &self.all[*self.by_key.get(payment_key)?];
        Some((payment.order_id.as_str(), payment.billing_key.as_deref()))
    }

    /// What was really charged and given back, told without the Toss API.
    pub(crate) fn books(&self) -> Value {
        let payments: Vec<Value> = self.all.iter().map(Payment::book_line).collect();
        let mut orders: Vec<_> = self.by_order.iter().collect();
        orders.sort_by_key(|(_, order)| order.payments.first().copied());
        let orders: Vec<Value> = orders
            .into_iter()
            .map(|(order_id, order)| {
                json!({
                    "orderId": order_id,
                    "charges": order.charges,
                    "refusedDuplicates": order.refused_duplicates,
                })
            })
            .collect();
        let approved: u64 = self.all.iter().map(Payment::approved).sum();
        let balance: u64 = self.all.iter().map(Payment::left).sum();
        json!({
            "payments": payments,
            "orders": orders,
            "totals": {
                "approvedAmount": approved,
                "cancelledAmount": approved - balance,
                "balanceAmount": balance,
            },
        })
    }

    fn open(
        &mut self,
        kind: Kind,
        billing_key: Option<String>,
        (order_id, order_name, amount): (&str, &str, u64),
        now: OffsetDateTime,
    ) -> Result<usize, Refusal> {
        if self.all.len() >= MAX_PAYMENTS {
            return Err(Refusal::new(
                "COMMON_ERROR",
                "The sandbox holds no more payments: reset it.",
            ));
        }
        let place = self.all.len();
        let key = new_key("pay");
        self.by_key.insert(key.clone(), place);
        self.order(order_id).payments.push(place);
        self.all.push(Payment {
            key,
            kind,
            billing_key,
            order_id: order_id.to_owned(),
            order_name: order_name.to_owned(),
            total: amount,
            balance: amount,
            status: Status::InProgress,
            requested_at: now,
            approved_at: None,
            last_transaction_key: None,
            cancels: Vec::new(),
            failure: None,
        });
        Ok(place)
    }

    fn approve(&mut self, place: usize, now: OffsetDateTime) -> Value {
        let payment = &mut self.all[place];
        payment.status = Status::Done;
        payment.approved_at = Some(now);
        payment.last_transaction_key = Some(new_key("txn"));
        let order_id = payment.order_id.clone();
        self.order(&order_id).charges += 1;
        self.changed(place)
    }

    fn end(&mut self, payment_key: &str, status: Status, failure: &Refusal) {
        let Ok(place) = self.place(payment_key) else {
            return;
        };
        if self.all[place].status == Status::InProgress {
            self.all[place].status = status;
            self.all[place].failure = Some(failure.clone());
            self.changed(place);
        }
    }

    /// An order id that was ever paid cannot be paid again, not even after it was cancelled.
    fn refuse_duplicate(&mut self, order_id: &str) -> Result<(), Refusal> {
        match self.by_order.get_mut(order_id) {
            Some(order) if order.charges > 0 => {
                order.refused_duplicates += 1;
                Err(Refusal::new(
                    "DUPLICATED_ORDER_ID",
                    "The order id was already approved or cancelled.",
                ))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn order(&mut self, order_id: &str) -> &mut Order {
        self.by_order.entry(order_id.to_owned()).or_default()
    }

    fn place(&self, payment_key: &str) -> Result<usize, Refusal> {
        self.by_key.get(payment_key).copied().ok_or_else(not_found)
    }

    fn changed(&mut self, place: usize) -> Value {
        let object = self.all[place].object();
        self.changes.push(object.clone());
        object
    }
}

impl Payment {
    /// The Payment object of the API.
    fn object(&self) -> Value {
        // Tax is a tenth on top, so an eleventh of what the buyer paid and has not got back.
        let vat = (self.balance + 5) / 11;
        let card = json!({
            "issuerCode": "61", "acquirerCode": "31", "number": "12345678****000*",
            "installmentPlanMonths": 0, "isInterestFree": false, "interestPayer": null,
            "approveNo": "00000000", "useCardPoint": false, "cardType": "\u{c2e0}\u{c6a9}",
            "ownerType": "\u{ac1c}\u{c778}", "acquireStatus": "READY", "amount": self.total,
        });
        json!({
            "version": "2022-11-16",
            "paymentKey": self.key,
            "type": self.kind,
            "orderId": self.order_id,
            "orderName": self.order_name,
            "mId": "sandbox",
            "currency": "KRW",
            // The word for card: Toss writes the method in Korean.
            "method": "\u{ce74}\u{b4dc}",
            "totalAmount": self.total,
            "balanceAmount": self.balance,
            "status": self.status,
            "requestedAt": clock::iso(self.requested_at),
            "approvedAt": self.approved_at.map(clock::iso),
            "lastTransactionKey": self.last_transaction_key,
            "suppliedAmount": self.balance - vat,
            "vat": vat,
            "taxFreeAmount": 0,
            "taxExemptionAmount": 0,
            "useEscrow": false,
            "cultureExpense": false,
            "isPartialCancelable": true,
            "cancels": self.cancel_objects(),
            "card": card,
            "virtualAccount": null,
            "secret": null,
            "easyPay": null,
            "receipt": { "url": format!("https://receipts.invalid/{}", self.key) },
            "checkout": { "url": format!("https://checkouts.invalid/{}", self.key) },
            "country": "KR",
            "failure": self.failure.as_ref()
                .map(|failure| json!({ "code": failure.code, "message": failure.message })),
            "cashReceipt": null,
            "cashReceipts": null,
            "discount": null,
        })
    }

    /// Null rather than empty before the first cancellation, as at Toss.
    fn cancel_objects(&self) -> Option<Vec<Value>> {
        let cancel = |cancel: &Cancel| {
            json!({
                "cancelAmount": cancel.amount,
                "cancelReason": cancel.reason,
                "taxFreeAmount": 0,
                "taxExemptionAmount": 0,
                "refundableAmount": cancel.refundable_after,
                "easyPayDiscountAmount": 0,
                "canceledAt": clock::iso(cancel.at),
                "transactionKey": cancel.transaction_key,
                "receiptKey": null,
            })
        };
        (!self.cancels.is_empty()).then(|| self.cancels.iter().map(cancel).collect())
    }

    /// The money that was taken from the buyer.
    fn approved(&self) -> u64 {
        if self.status.was_approved() {
            self.total
        } else {
            0
        }
    }

    /// What of it has not gone back.
    fn left(&self) -> u64 {
        if self.status.was_approved() {
            self.balance
        } else {
            0
        }
    }

    fn book_line(&self) -> Value {
        json!({
            "paymentKey": self.key,
            "orderId": self.order_id,
            "type": self.kind,
            "status": self.status,
            "requestedAmount": self.total,
            "approvedAmount": self.approved(),
            "cancelledAmount": self.approved() - self.left(),
            "balanceAmount": self.left(),
            "cancels": self.cancels.len(),
            "requestedAt": clock::iso(self.requested_at),
            "approvedAt": self.approved_at.map(clock::iso),
        })
    }
}

fn new_key(prefix: &str) -> String {
    // Random, not counted: after a reset no key of an earlier run comes again.
    format!("{prefix}_{:032x}", fastrand::u128(..))
}

fn not_found() -> Refusal {
    Refusal::new("NOT_FOUND_PAYMENT", "There is no such payment.")
}

fn session_gone() -> Refusal {
    Refusal::new(
        "NOT_FOUND_PAYMENT_SESSION",
        "The time to confirm the checkout is over.",
    )
}
