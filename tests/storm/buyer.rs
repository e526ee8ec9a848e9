//! One buyer: what they want, what they do about it, and what they are told.

use std::{collections::BTreeSet, time::Duration};

use fastrand::Rng;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::crowd::Crowd;

/// How long a buyer insists on an answer.
const INSISTS: Duration = Duration::from_secs(100);

/// How a buyer means to pay, and whether they stay with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By a registered card.
    Card,
    /// By a card that is always refused.
    BadCard,
    /// By card; takes the order back at once, perhaps before it is paid.
    CardTakenBack,
    /// By card; takes the order back once it is paid.
    CardPaidTakenBack,
    /// In the gateway's window, again after a refusal.
    Later,
    /// Later; takes the order back without having paid.
    LaterTakenBack,
    /// Later; takes the order back once it is paid.
    LaterPaidTakenBack,
    /// Later; does nothing, and takes the order back when the storm is over.
    WalksAway,
}

impl Way {
    /// A third pays later or not at all, a fifth takes the order back.
    fn random(dice: &mut Rng) -> Self {
        match dice.u8(0..100) {
            0..45 => Self::Card,
            45..52 => Self::BadCard,
            52..58 => Self::CardTakenBack,
            58..66 => Self::CardPaidTakenBack,
            66..88 => Self::Later,
            88..93 => Self::LaterTakenBack,
            93..97 => Self::LaterPaidTakenBack,
            _ => Self::WalksAway,
        }
    }

    fn payment(self, number: usize) -> Value {
        let card = |name: &str| json!({ "method": "billing_key", "billing_key": format!("{name}-{number}"), "customer_key": format!("ck-{number}") });
        match self {
            Self::Card | Self::CardTakenBack | Self::CardPaidTakenBack => card("bk"),
            Self::BadCard => card("decline"),
            Self::Later | Self::LaterTakenBack | Self::LaterPaidTakenBack | Self::WalksAway => {
                json!({ "method": "widget" })
            }
        }
    }
}

/// One buyer, and what they were told.
pub struct Buyer {
    pub way: Way,
    pub units: u64,
    /// Clicks twice: two requests with one key at the same time.
    clicks_twice: bool,
    /// Sends the old request once more when all is over.
    pub asks_again: bool,
    /// When they come.
    pause: Duration,
    key: String,
    body: String,
    token: String,
    dice: Rng,
    /// The orders they were told of: one, if all is well.
    pub orders: BTreeSet<String>,
    /// Told that it is sold out.
    pub refused: bool,
    /// Told that the order is taken back.
    pub taken_back: bool,
    /// Told that the order is sold out, after it had been accepted.
    pub contradicted: bool,
    /// What no buyer should ever meet.
    pub trouble: Vec<String>,
}

/// What a request was answered.
enum Answer {
    Yes(Value),
    No(u16, Value),
}

impl Buyer {
    /// The buyer `number`, who comes within `rush`.
    pub fn new(
        number: usize,
        token: String,
        product: &str,
        rush: Duration,
        dice: &mut Rng,
    ) -> Self {
        let way = Way::random(dice);
        let units = if dice.u8(0..5) == 0 { 2 } else { 1 };
        let lines = json!([{ "product_id": product, "quantity": units }]);
        Self {
            way,
            units,
            clicks_twice: dice.u8(0..7) == 0,
            asks_again: dice.u8(0..4) == 0,
            pause: rush.mul_f64(dice.f64()),
            key: format!("storm-{number}"),
            body: json!({ "lines": lines, "payment": way.payment(number) }).to_string(),
            token,
            dice: dice.fork(),
            orders: BTreeSet::new(),
            refused: false,
            taken_back: false,
            contradicted: false,
            trouble: Vec::new(),
        }
    }

    /// The one order, if there is one.
    pub fn order(&self) -> Option<&str> {
        self.orders.first().map(String::as_str)
    }

    /// Buys, and sees to it.
    pub async fn shop(&mut self, crowd: &Crowd<'_>) {
        sleep(self.pause).await;
        let accepted = {
            let _inside = crowd.door.acquire().await.expect("the door is open");
            self.place(crowd).await
        };
        let Some((order, amount)) = accepted else {
            return;
        };
        match self.way {
            Way::Card | Way::BadCard | Way::WalksAway => {}
            Way::CardTakenBack | Way::LaterTakenBack => self.take_back(crowd).await,
            Way::CardPaidTakenBack => {
                self.read_until(crowd, &order, |view| {
                    view["status"] != "accepted" && view["status"] != "reserved"
                })
                .await;
                self.take_back(crowd).await;
            }
            Way::Later => self.pay(crowd, &order, amount).await,
            Way::LaterPaidTakenBack => {
                self.pay(crowd, &order, amount).await;
                self.take_back(crowd).await;
            }
        }
    }

    /// Asks for the order until it is accepted or sold out; always the same request under the same key.
    async fn place(&mut self, crowd: &Crowd<'_>) -> Option<(String, u64)> {
        let path = format!("/broadcasts/{}/orders", crowd.broadcast);
        let began = Instant::now();
        loop {
            let asked = Instant::now();
            let ask = || self.ask(crowd, &path, &self.key, Some(self.body.clone()));
            let answers = if self.clicks_twice {
                let (first, second) = tokio::join!(ask(), ask());
                vec![first, second]
            } else {
                vec![ask().await]
            };
            let mut accepted = None;
            for answer in answers {
                match answer {
                    Ok(Answer::Yes(receipt)) => {
                        let order = receipt["order_id"].as_str().unwrap_or_default().to_owned();
                        let amount = receipt["amount"].as_u64().unwrap_or_default();
                        self.orders.insert(order.clone());
                        accepted = Some((order, amount));
                    }
                    Ok(Answer::No(409, problem)) if problem["code"] == "sold_out" => {
                        self.refused = true;
                    }
                    Ok(Answer::No(status, problem)) => {
                        self.trouble.push(format!("order: {status} {problem}"));
                    }
                    Err(why) if began.elapsed() > INSISTS => {
                        self.trouble.push(format!("no answer to an order: {why}"));
                    }
                    Err(_) => {}
                }
            }
            if accepted.is_some() {
                // Of two clicks one may have been the last to find units, and the other is told so.
                self.refused = false;
                crowd.note_accepted(asked);
                return accepted;
            }
            if self.refused || !self.trouble.is_empty() {
                return None;
            }
            self.breathe().await;
        }
    }

    /// The old request once more, when everything is settled long since.
    pub async fn ask_again(&mut self, crowd: &Crowd<'_>) {
        let path = format!("/broadcasts/{}/orders", crowd.broadcast);
        let began = Instant::now();
        while began.elapsed() < INSISTS {
            match self
                .ask(crowd, &path, &self.key, Some(self.body.clone()))
                .await
            {
                Ok(Answer::Yes(receipt)) => {
                    let order = receipt["order_id"].as_str().unwrap_or_default();
                    self.orders.insert(order.to_owned());
                    return;
                }
                Ok(Answer::No(409, problem)) if problem["code"] == "sold_out" => {
                    self.contradicted = true;
                    return;
                }
                Ok(Answer::No(status, problem)) => {
                    self.trouble
                        .push(format!("asked again: {status} {problem}"));
                    return;
                }
                Err(_) => self.breathe().await,
            }
        }
        self.trouble.push("no answer to an old key".to_owned());
    }

    /// Pays in the gateway's window, and again after a refusal, until the order is settled.
    async fn pay(&mut self, crowd: &Crowd<'_>, order: &str, amount: u64) {
        let path = format!("/orders/{order}/payment");
        let open = |view: &Value| {
            let is = |status: &str| view["status"] == status;
            !is("accepted") && !is("reserved") || view["declined"].is_string()
        };
        let began = Instant::now();
        while began.elapsed() < INSISTS {
            let bought = json!({ "orderId": order, "amount": amount });
            let checkout = crowd.stack.sandbox(Method::POST, "checkouts", bought).await;
            let body = json!({ "payment_key": checkout["paymentKey"], "amount": amount });
            self.insist(crowd, &path, Some(body.to_string())).await;
            let Some(view) = self.read_until(crowd, order, open).await else {
                return;
            };
            if view["status"] != "reserved" {
                return;
            }
            // Refused, or a payment that was begun before is under way: whichever, there is time.
            sleep(Duration::from_secs(1)).await;
        }
        self.trouble
            .push(format!("{order} was not settled by paying"));
    }

    /// Takes the order back.
    pub async fn take_back(&mut self, crowd: &Crowd<'_>) {
        let Some(order) = self.order() else {
            return;
        };
        let path = format!("/orders/{order}/cancel");
        self.taken_back = self.insist(crowd, &path, None).await;
    }

    /// Asks until there is an answer that counts. Returns whether it was yes.
    async fn insist(&mut self, crowd: &Crowd<'_>, path: &str, body: Option<String>) -> bool {
        let began = Instant::now();
        let mut key = self.fresh_key();
        while began.elapsed() < INSISTS {
            match self.ask(crowd, path, &key, body.clone()).await {
                Ok(Answer::Yes(_)) => return true,
                Ok(Answer::No(409, _)) => return false,
                // Redis has forgotten the order and the ledger does not know it yet. The answer is remembered under its
                // key: who asks anew needs a new one.
                Ok(Answer::No(404, _)) => {
                    crowd.note_forgotten();
                    key = self.fresh_key();
                }
                Ok(Answer::No(status, problem)) => {
                    self.trouble.push(format!("{path}: {status} {problem}"));
                    return false;
                }
                Err(_) => {}
            }
            self.breathe().await;
        }
        self.trouble.push(format!("{path}: no answer"));
        false
    }

    /// Reads the order until it is as wished; `None` if it never was.
    async fn read_until(
        &mut self,
        crowd: &Crowd<'_>,
        order: &str,
        wished: impl Fn(&Value) -> bool,
    ) -> Option<Value> {
        let began = Instant::now();
        let mut wait = Duration::from_millis(500);
        while began.elapsed() < INSISTS {
            sleep(wait.mul_f64(1.0 + self.dice.f64() / 2.0)).await;
            wait = (wait * 3 / 2).min(Duration::from_secs(4));
            match self.read(crowd, order).await {
                Some((200, view)) if wished(&view) => return Some(view),
                Some((404, _)) => crowd.note_forgotten(),
                Some(_) | None => {}
            }
        }
        self.trouble.push(format!("{order} was never settled"));
        None
    }

    /// What the buyer reads of an order.
    pub async fn read(&self, crowd: &Crowd<'_>, order: &str) -> Option<(u16, Value)> {
        let path = format!("/orders/{order}");
        let answer = crowd
            .stack
            .request(Method::GET, &path, Some(&self.token), None, None)
            .await;
        answer.ok().map(|(status, _, view)| (status, view))
    }

    /// One request. No answer, and one that says nothing, are alike: it is to be asked again.
    async fn ask(
        &self,
        crowd: &Crowd<'_>,
        path: &str,
        key: &str,
        body: Option<String>,
    ) -> Result<Answer, String> {
        let answer = crowd
            .stack
            .request(Method::POST, path, Some(&self.token), Some(key), body)
            .await;
        match answer {
            Ok((202, _, answer)) => Ok(Answer::Yes(answer)),
            Ok((status, _, answer)) if status == 429 || status >= 500 => {
                crowd.note_unanswered();
                Err(format!("{status} {answer}"))
            }
            Ok((status, _, answer)) => Ok(Answer::No(status, answer)),
            Err(error) => {
                crowd.note_unanswered();
                Err(error.to_string())
            }
        }
    }

    fn fresh_key(&mut self) -> String {
        format!("storm-{:032x}", self.dice.u128(..))
    }

    async fn breathe(&mut self) {
        sleep(Duration::from_millis(self.dice.u64(100..500))).await;
    }
}
