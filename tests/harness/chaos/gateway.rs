//! A payment gateway in memory that behaves as the README of the payment sandbox says, with faults to order and books of its
//! own. The sandbox itself would do; over HTTP it would be half of the time of a run.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures::future::BoxFuture;
use onepool::{
    clock::{self, Timestamp},
    error::Error,
    order::OrderId,
    payment::{
        Charge, Gateway, PAYMENT_CANCELED, PAYMENT_OF_ANOTHER_ORDER, PAYMENT_OVER, Payment,
        PaymentStatus, Refund,
    },
};

/// A call of the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// A registered card is charged.
    Charge,
    /// An authorized payment is taken.
    Confirm,
    /// The payment of an order is looked up.
    Lookup,
    /// Money is given back.
    Refund,
}

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It is lost on its way in: nothing is done, nothing remembered.
    LostOnTheWay,
    /// It is done, and its answer lost.
    AnswerLost,
    /// Its caller hears nothing, and it is done later.
    DoneLater,
    /// The gateway fails by itself, and repeats that to whoever asks again with the same idempotency key.
    FailsForGood,
    /// The card company refuses, or the gateway refuses a refund.
    Refused,
}

/// The gateway with its books. Clones share them.
#[derive(Clone, Default)]
pub struct Books {
    state: Arc<Mutex<State>>,
}

/// What became of the money of an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Money {
    /// Payments that took money.
    pub charges: u64,
    /// Won that were taken.
    pub taken: u64,
    /// Won that stayed.
    pub stays: u64,
    /// Times that money went back.
    pub refunds: u64,
    /// Tries that were refused.
    pub declines: u64,
    /// Refunds that were refused.
    pub refunds_refused: u64,
}

#[derive(Default)]
struct State {
    payments: BTreeMap<String, Vec<Payment>>,
    money: HashMap<String, Money>,
    /// First answers, by idempotency key.
    answers: HashMap<String, Answer>,
    /// Work whose caller has gone, by idempotency key.
    later: VecDeque<(String, Work)>,
    troubles: VecDeque<(Call, Trouble)>,
    /// Orders that were charged since they were last looked up.
    not_looked_up: HashSet<String>,
    /// Orders that were charged once more without looking.
    blind: Vec<String>,
    /// When buyers authorized payments.
    checkouts: HashMap<String, Timestamp>,
    keys: u64,
}

/// How long an authorized payment waits to be taken.
const CHECKOUT_TIME: Duration = Duration::from_secs(600);

#[derive(Clone)]
enum Answer {
    Charge(Charge),
    Refund(Refund),
    Failure,
}

#[derive(Clone)]
enum Work {
    Charge {
        order: OrderId,
        amount: u64,
        bad_card: bool,
    },
    Confirm {
        order: OrderId,
        key: String,
        amount: u64,
    },
    Refund {
        order: String,
        key: String,
    },
}

impl Books {
    /// The next call of this kind meets `trouble`.
    pub fn trouble(&self, call: Call, trouble: Trouble) {
        self.state().troubles.push_back((call, trouble));
    }

    /// No more trouble is to come. What was to be done later is still to be done.
    pub fn calm(&self) {
        self.state().troubles.clear();
    }

    /// Does what was to be done later: the oldest of it, or all. Returns the orders.
    pub fn catch_up(&self, all: bool) -> usize {
        let mut state = self.state();
        let mut done = 0;
        while let Some((id, work)) = state.later.pop_front() {
            let answer = state.work(&work, false);
            state.answers.insert(id, answer);
            done += 1;
            if !all {
                break;
            }
        }
        done
    }

    /// A buyer authorizes a payment in the gateway's window. Returns its key.
    pub fn checkout(&self, order: &OrderId, amount: u64) -> String {
        let mut state = self.state();
        let key = state.new_key();
        let payment = Payment {
            payment_key: key.clone(),
            order_id: Some(order.clone()),
            status: PaymentStatus::Pending,
            total: amount,
            balance: 0,
            approved_at: None,
        };
        state.of(order.as_str()).push(payment);
        state.checkouts.insert(key.clone(), clock::now());
        key
    }

    /// Somebody gives the money of an order back at the gateway. Returns whether there was some.
    pub fn give_back_by_hand(&self, order: &str) -> bool {
        let mut state = self.state();
        let key = state.of(order).iter().find_map(|payment| {
            (payment.status == PaymentStatus::Done).then(|| payment.payment_key.clone())
        });
        key.is_some_and(|key| state.give_back(order, &key).is_some())
    }

    /// What became of the money of an order.
    #[must_use]
    pub fn money(&self, order: &str) -> Money {
        let state = self.state();
        let mut money = state.money.get(order).copied().unwrap_or_default();
        for payment in state.payments.get(order).into_iter().flatten() {
            if payment.approved_at.is_some() {
                money.charges += 1;
                money.taken += payment.total;
                money.stays += payment.balance;
            }
        }
        money
    }

    /// Every order that the gateway was asked about.
    #[must_use]
    pub fn orders(&self) -> Vec<String> {
        self.state().payments.keys().cloned().collect()
    }

    /// Takes the orders that were charged once more although nobody had looked what became of the earlier charge.
    #[must_use]
    pub fn take_blind_charges(&self) -> Vec<String> {
        std::mem::take(&mut self.state().blind)
    }

    /// Forgets everything.
    pub fn reset(&self) {
        *self.state() = State::default();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panicked in here")
    }

    /// What can be looked up of an order, as an adapter does that has heard no answer.
    fn look(&self, order: &str) -> Result<Vec<Payment>, Error> {
        let mut state = self.state();
        if state.take_trouble(Call::Lookup).is_some() {
            return Err(Error::Payment("the lookup was not answered".to_owned()));
        }
        state.expire(order);
        Ok(state.of(order).clone())
    }

    /// Does `work` under an idempotency key. `Err` is an outcome that its caller does not hear.
    fn ask(&self, call: Call, id: String, work: Work) -> Result<Answer, Error> {
        let mut state = self.state();
        let unknown = |what: &str| Err(Error::Payment(what.to_owned()));
        let trouble = state.take_trouble(call);
        match trouble {
            Some(Trouble::LostOnTheWay) => return unknown("lost on its way"),
            Some(
                Trouble::AnswerLost | Trouble::DoneLater | Trouble::FailsForGood | Trouble::Refused,
            )
            | None => {}
        }
        if state.later.iter().any(|(running, _)| *running == id) {
            return unknown("an earlier try of it is being worked on");
        }
        let answer = match state.answers.get(&id) {
            Some(first) => first.clone(),
            None if trouble == Some(Trouble::DoneLater) => {
                state.later.push_back((id, work));
                return unknown("no answer in time");
            }
            None => {
                let answer = if trouble == Some(Trouble::FailsForGood) {
                    Answer::Failure
                } else {
                    state.work(&work, trouble == Some(Trouble::Refused))
                };
                state.answers.insert(id, answer.clone());
                answer
            }
        };
        if trouble == Some(Trouble::AnswerLost) {
            return unknown("the answer was lost");
        }
        match answer {
            Answer::Failure => unknown("it failed, as it did at first"),
            answer @ (Answer::Charge(_) | Answer::Refund(_)) => Ok(answer),
        }
    }
}

impl State {
    fn take_trouble(&mut self, call: Call) -> Option<Trouble> {
        let place = self.troubles.iter().position(|(on, _)| *on == call)?;
        self.troubles.remove(place).map(|(_, trouble)| trouble)
    }

    fn of(&mut self, order: &str) -> &mut Vec<Payment> {
        self.payments.entry(order.to_owned()).or_default()
    }

    fn new_key(&mut self) -> String {
        self.keys += 1;
        format!("pay-{}", self.keys)
    }

    fn work(&mut self, work: &Work, refuse: bool) -> Answer {
        match work {
            Work::Charge {
                order,
                amount,
                bad_card,
            } => Answer::Charge(self.charge(order, *amount, refuse || *bad_card)),
            Work::Confirm { order, key, amount } => {
                Answer::Charge(self.confirm(order, key, *amount, refuse))
            }
            Work::Refund { order, .. } if refuse => {
                self.money.entry(order.clone()).or_default().refunds_refused += 1;
                Answer::Refund(Refund::Refused("NOT_CANCELABLE_PAYMENT".to_owned()))
            }
            Work::Refund { order, key } => {
                let returned = self.give_back(order, key);
                Answer::Refund(returned.map_or_else(
                    || Refund::Refused("NOT_FOUND_PAYMENT".to_owned()),
                    Refund::Done,
                ))
            }
        }
    }

    fn expire(&mut self, order: &str) {
        let Self {
            payments,
            checkouts,
            ..
        } = self;
        for payment in payments.get_mut(order).into_iter().flatten() {
            let begun = checkouts.get(&payment.payment_key);
            let over = begun.is_some_and(|begun| *begun + CHECKOUT_TIME <= clock::now());
            if over && payment.status == PaymentStatus::Pending {
                payment.status = PaymentStatus::Dead;
            }
        }
    }

    /// An order id is paid once, whatever became of the money.
    fn paid_before(&mut self, order: &OrderId) -> Option<Charge> {
        let payments = self.of(order.as_str());
        let taken = payments
            .iter()
            .find(|payment| payment.approved_at.is_some())?;
        Some(match taken.status {
            PaymentStatus::Done => Charge::Paid(taken.clone()),
            PaymentStatus::Canceled | PaymentStatus::Pending | PaymentStatus::Dead => {
                Charge::Declined(PAYMENT_CANCELED.to_owned())
            }
        })
    }

    fn decline(&mut self, order: &OrderId, code: &str) -> Charge {
        let money = self.money.entry(order.as_str().to_owned()).or_default();
        money.declines += 1;
        Charge::Declined(code.to_owned())
    }

    fn charge(&mut self, order: &OrderId, amount: u64, refuse: bool) -> Charge {
        if let Some(earlier) = self.paid_before(order) {
            return earlier;
        }
        if refuse {
            return self.decline(order, "REJECT_CARD_COMPANY");
        }
        let payment = Payment {
            payment_key: self.new_key(),
            order_id: Some(order.clone()),
            status: PaymentStatus::Done,
            total: amount,
            balance: amount,
            approved_at: Some(clock::now()),
        };
        self.of(order.as_str()).push(payment.clone());
        Charge::Paid(payment)
    }

    fn confirm(&mut self, order: &OrderId, key: &str, amount: u64, refuse: bool) -> Charge {
        if let Some(earlier) = self.paid_before(order) {
            return earlier;
        }
        self.expire(order.as_str());
        let payments = self.of(order.as_str());
        let Some(payment) = payments
            .iter_mut()
            .find(|payment| payment.payment_key == key)
        else {
            return self.decline(order, PAYMENT_OF_ANOTHER_ORDER);
        };
        if payment.status == PaymentStatus::Dead {
            return self.decline(order, PAYMENT_OVER);
        }
        if payment.total != amount {
            return self.decline(order, "INVALID_REQUEST");
        }
        if refuse {
            payment.status = PaymentStatus::Dead;
            return self.decline(order, "REJECT_CARD_COMPANY");
        }
        payment.status = PaymentStatus::Done;
        payment.balance = payment.total;
        payment.approved_at = Some(clock::now());
        Charge::Paid(payment.clone())
    }

    fn give_back(&mut self, order: &str, key: &str) -> Option<Payment> {
        let payment = self
            .of(order)
            .iter_mut()
            .find(|payment| payment.payment_key == key && payment.approved_at.is_some())?;
        let had = std::mem::take(&mut payment.balance);
        payment.status = PaymentStatus::Canceled;
        let returned = payment.clone();
        if had > 0 {
            self.money.entry(order.to_owned()).or_default().refunds += 1;
        }
        Some(returned)
    }
}

/// On its way, or on its way back: a caller that dies here has asked, or has not.
async fn on_the_way() {
    tokio::task::yield_now().await;
}

fn done(payments: Vec<Payment>) -> Option<Payment> {
    let mut payments = payments.into_iter();
    payments.find(|payment| payment.status == PaymentStatus::Done)
}

fn unexpected() -> Error {
    Error::Payment("another kind of answer".to_owned())
}

impl Gateway for Books {
    fn charge<'a>(
        &'a self,
        order: &'a OrderId,
        billing_key: &'a str,
        _customer_key: &'a str,
        amount: u64,
        attempt: u32,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async move {
            on_the_way().await;
            {
                let mut state = self.state();
                if !state.not_looked_up.insert(order.as_str().to_owned()) {
                    state.blind.push(order.as_str().to_owned());
                }
            }
            let work = Work::Charge {
                order: order.clone(),
                amount,
                bad_card: billing_key.starts_with("decline"),
            };
            let answer = self.ask(Call::Charge, format!("charge {order} {attempt}"), work);
            on_the_way().await;
            match answer {
                Ok(Answer::Charge(charge)) => Ok(charge),
                Ok(Answer::Refund(_) | Answer::Failure) => Err(unexpected()),
                Err(unknown) => done(self.look(order.as_str())?)
                    .map(Charge::Paid)
                    .ok_or(unknown),
            }
        })
    }

    fn confirm<'a>(
        &'a self,
        order: &'a OrderId,
        payment_key: &'a str,
        amount: u64,
    ) -> BoxFuture<'a, Result<Charge, Error>> {
        Box::pin(async move {
            on_the_way().await;
            let work = Work::Confirm {
                order: order.clone(),
                key: payment_key.to_owned(),
                amount,
            };
            let answer = self.ask(
                Call::Confirm,
                format!("confirm {order} {payment_key}"),
                work,
            );
            on_the_way().await;
            let unknown = match answer {
                Ok(Answer::Charge(charge)) => return Ok(charge),
                Ok(Answer::Refund(_) | Answer::Failure) => return Err(unexpected()),
                Err(unknown) => unknown,
            };
            let found = self.look(order.as_str())?;
            let is_over = found.iter().any(|payment| {
                payment.payment_key == payment_key && payment.status == PaymentStatus::Dead
            });
            match done(found) {
                Some(payment) => Ok(Charge::Paid(payment)),
                None if is_over => Ok(self.state().decline(order, PAYMENT_OVER)),
                None => Err(unknown),
            }
        })
    }

    fn lookup<'a>(&'a self, order: &'a OrderId) -> BoxFuture<'a, Result<Option<Payment>, Error>> {
        Box::pin(async move {
            on_the_way().await;
            let answer = self.look(order.as_str()).map(|payments| {
                self.state().not_looked_up.remove(order.as_str());
                let of = |status| payments.iter().find(|payment| payment.status == status);
                let told = of(PaymentStatus::Done).or_else(|| of(PaymentStatus::Canceled));
                told.or(payments.last()).cloned()
            });
            on_the_way().await;
            answer
        })
    }

    fn refund<'a>(
        &'a self,
        payment: &'a Payment,
        refund_id: &'a str,
        _reason: &'a str,
    ) -> BoxFuture<'a, Result<Refund, Error>> {
        Box::pin(async move {
            on_the_way().await;
            let order = payment.order_id.as_ref().map(OrderId::as_str);
            let work = Work::Refund {
                order: order.unwrap_or_default().to_owned(),
                key: payment.payment_key.clone(),
            };
            let answer = self.ask(Call::Refund, format!("refund {refund_id}"), work);
            on_the_way().await;
            match answer {
                Ok(Answer::Refund(refund)) => Ok(refund),
                Ok(Answer::Charge(_) | Answer::Failure) => Err(unexpected()),
                Err(unknown) => {
                    let found = self.look(order.unwrap_or_default())?;
                    let returned = found.into_iter().find(|found| {
                        found.payment_key == payment.payment_key
                            && found.status == PaymentStatus::Canceled
                    });
                    returned.map(Refund::Done).ok_or(unknown)
                }
            }
        })
    }
}
