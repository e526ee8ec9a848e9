//! A world: one shop over real parts, in which histories happen one after the other, each in fresh keys.

use std::time::Duration;

use axum::http::Method;
use fastrand::Rng;
use onepool::{
    auth::Role,
    clock,
    order::{OrderMessage, reconcile::Report},
    stock::Source,
};
use serde_json::{Value, json};

use super::{
    check,
    faults::{Torment, mortal},
    gateway::Books,
    history::{BROADCASTS, Beside, Canceller, PRODUCTS, Payment, Step, Turn, VIEWERS},
    model::{Before, Known, LIMIT, Model, PRICE, Promise, Violation, viewer},
};
use crate::Shop;

/// Units of each product that the pool begins with.
const POOL: u64 = 30;
/// Units of each product in each broadcast.
const FENCED: u64 = 8;
/// How long orders keep their units.
const HOLD_PERIOD: Duration = Duration::from_secs(2);
/// The longest they may.
const HOLD_CEILING: Duration = Duration::from_secs(8);
/// How long an order is kept for a buyer who has begun to pay.
const EXTENSION: Duration = Duration::from_secs(3);
/// Messages one delivery may have.
const BATCH: usize = 10;
/// How often a message is delivered before it is given up, when all is quiet.
const RECEIVES: usize = 4;
/// After which a message comes again that failed.
const VISIBILITY: Duration = Duration::from_secs(180);
/// How often an operator asks who gets no answer.
const PATIENCE: usize = 20;
/// Between two scheduled runs, when all is quiet. Longer than anything in the shop waits.
const QUIET_STEP: Duration = Duration::from_secs(25 * 60);
/// Scheduled runs after which nothing may be left to do.
const QUIET_RUNS: usize = 14;

const PAY: &str = "POST /orders/{order_id}/payment";
const CANCEL: &str = "POST /orders/{order_id}/cancel";
const WEBHOOK: &str = "POST /payments/webhook";

/// A shop, and what is known of it.
pub struct World {
    pub(super) shop: Shop,
    pub(super) books: Books,
    pub(super) model: Model,
    pub(super) ledger: check::Books,
    torment: Torment,
    admin: Vec<Admin>,
    histories: u64,
}

/// How much of what happened in a history.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Requests, messages delivered, scheduled runs and faults.
    pub operations: u64,
    /// Faults, and processes that died.
    pub faults: u64,
    /// Units that reconcile put right in gates that had forgotten.
    pub repaired: u64,
    /// Orders that were accepted.
    pub accepted: u64,
    /// Orders that were confirmed at the end.
    pub confirmed: u64,
    /// Orders that were failed at the end.
    pub failed: u64,
}

/// A request of an operator.
#[derive(Clone)]
struct Admin {
    method: Method,
    path: String,
    key: String,
    body: Value,
}

/// A step with all it needs, ready to be done without looking at the world.
#[derive(Clone)]
enum Action {
    Nothing,
    /// With whether it was accepted before.
    Place {
        n: u32,
        other: bool,
        body: String,
        accepted: bool,
    },
    Status {
        n: u32,
        before: Before,
    },
    Deliver {
        bodies: Vec<String>,
        again: bool,
    },
    GiveUp {
        body: String,
    },
    Money {
        caller: (String, Role),
        route: &'static str,
        order: String,
        key: String,
        body: Value,
    },
    Sweep {
        source: Source,
    },
    Reconcile,
    Admin(Admin),
}

/// What came of an action; nothing if it died.
enum Answer {
    Nothing,
    Http(u16, Value),
    Failed(Vec<usize>),
    Report(Report),
}

impl World {
    /// A new world.
    pub async fn new() -> Self {
        let books = Books::default();
        let mut shop = Shop::open_with(|_| Box::new(books.clone())).await;
        shop.orders.orders.hold_period = HOLD_PERIOD;
        for terms in [
            &mut shop.settlement.terms,
            &mut shop.payments.payments.terms,
            &mut shop.reconcile.settlement.terms,
        ] {
            terms.extension = EXTENSION;
            terms.ceiling = HOLD_CEILING;
        }
        Self {
            shop,
            books,
            model: Model::default(),
            ledger: check::Books::default(),
            torment: Torment::default(),
            admin: Vec::new(),
            histories: 0,
        }
    }

    /// Lets a history happen, from its opening to the quiet after it.
    ///
    /// # Errors
    /// The first promise that was broken.
    pub async fn live(&mut self, turns: &[Turn]) -> (Tally, Result<(), (usize, Violation)>) {
        let mut tally = Tally::default();
        self.open().await;
        for (place, turn) in turns.iter().enumerate() {
            let lived = self.turn(turn, &mut tally).await;
            let checked = lived.and_then(|()| check::always(self));
            if let Err(violation) = checked {
                return (tally, Err((place, violation)));
            }
        }
        let quiet = self.quiet(&mut tally).await;
        (tally, quiet.map_err(|violation| (turns.len(), violation)))
    }

    /// Begins anew: nothing of an earlier history is left.
    async fn open(&mut self) {
        self.histories += 1;
        self.torment.end(&self.shop.redis).await;
        self.shop.wire.calm();
        self.books.reset();
        let mut redis = self.shop.redis.plain().await;
        let _: () = redis::cmd("FLUSHALL")
            .query_async(&mut redis)
            .await
            .expect("redis answers");
        if self.histories > 1 {
            self.shop.dynamodb.reset();
            self.ledger = check::Books::default();
        }
        for queue in ["orders", "wakes"] {
            drop(self.shop.wire.take_messages(queue));
        }
        self.admin.clear();
        self.model = Model {
            products: (0..PRODUCTS)
                .map(|product| format!("p{}-{product}", self.histories))
                .collect(),
            ..Model::default()
        };
        for product in self.model.products.clone() {
            let body = json!({ "name": "사과", "list_price": 29_900 });
            let path = format!("/products/{product}");
            self.must(Method::PUT, &path, "product", body).await;
            let body = json!({ "delta": POOL, "reason": "입고" });
            self.must(Method::POST, &format!("{path}/stock"), "stock", body)
                .await;
        }
        for place in 0..BROADCASTS {
            self.begin_broadcast(place, "first").await;
            for product in 0..PRODUCTS {
                let (path, body) = self.spotlight(place, product, FENCED);
                self.must(Method::POST, &path, &format!("air-{place}-{product}"), body)
                    .await;
            }
        }
    }

    async fn must(&self, method: Method, path: &str, key: &str, body: Value) -> Value {
        let key = format!("{key}-{}-{}", self.histories, path.replace('/', "-"));
        for _ in 0..PATIENCE {
            let (status, answer) = self
                .shop
                .admin(method.clone(), path, Some(&key), body.clone())
                .await;
            if status == 503 {
                continue; // the machine is slow: an operator asks again, under the same key
            }
            assert!((200..300).contains(&status), "{path}: {status} {answer}");
            return answer;
        }
        panic!("{path}: no answer")
    }

    async fn begin_broadcast(&mut self, place: u8, key: &str) {
        let body = json!({ "title": "라이브" });
        let key = format!("broadcast-{place}-{key}");
        let broadcast = self.must(Method::POST, "/broadcasts", &key, body).await;
        let id = broadcast["broadcast_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        let path = format!("/broadcasts/{id}/start");
        self.must(Method::POST, &path, &format!("start-{id}"), Value::Null)
            .await;
        let id = id.parse().expect("an id");
        let place = usize::from(place);
        if place < self.model.broadcasts.len() {
            self.model.broadcasts[place] = id;
        } else {
            self.model.broadcasts.push(id);
        }
    }

    fn spotlight(&self, broadcast: u8, product: u8, units: u64) -> (String, Value) {
        let body = json!({
            "product_id": self.model.products[usize::from(product)], "live_price": PRICE,
            "limited_quantity": units, "per_viewer_limit": LIMIT,
        });
        let id = &self.model.broadcasts[usize::from(broadcast)];
        (format!("/broadcasts/{id}/products/spotlight"), body)
    }

    async fn turn(&mut self, turn: &Turn, tally: &mut Tally) -> Result<(), Violation> {
        tally.faults += u64::from(turn.step.is_fault()) + u64::from(turn.dies.is_some());
        self.torment.pass(&self.shop.redis).await;
        if self.happens(&turn.step).await {
            tally.operations += 1;
            return Ok(());
        }
        let first = self.prepare(&turn.step);
        let second = match &turn.beside {
            Beside::Nothing => Action::Nothing,
            Beside::Twin => first.clone(),
            Beside::Other(step) => self.prepare(step),
        };
        tally.operations += first.operations() + second.operations();
        self.note_in_flight();
        let (shop, model) = (&self.shop, &self.model);
        let answers = futures::future::join(
            mortal(act(shop, model, &first), turn.dies),
            act(shop, model, &second),
        )
        .await;
        let together = !matches!(turn.beside, Beside::Nothing);
        let heard = self.learn(first, answers.0.unwrap_or(Answer::Nothing), tally);
        let heard = heard.and(self.learn(second, answers.1, tally));
        // Two who charge at the same time cannot each look what the other one did.
        let blind = self.books.take_blind_charges();
        if !together && !blind.is_empty() {
            let text = format!("charged again without looking: {blind:?}");
            return Err(Violation::new(Promise::Doubled, text));
        }
        if let Step::End { broadcast } = turn.step {
            let key = format!("next-{}", self.admin.len());
            self.shop.wire.calm();
            self.torment.end(&self.shop.redis).await;
            self.begin_broadcast(broadcast, &key).await;
        }
        heard
    }

    /// What happens to the world rather than in it. Returns whether the step was such.
    async fn happens(&mut self, step: &Step) -> bool {
        match step {
            Step::Pass { ms } => clock::put_ahead(Duration::from_millis(*ms)),
            Step::Aws { call, fault, times } => self.shop.wire.fail(call, *fault, *times),
            Step::Gateway { call, trouble } => self.books.trouble(*call, *trouble),
            Step::CatchUp => drop(self.books.catch_up(false)),
            Step::Redis(fault) => {
                let forgot = self.torment.strike(&mut self.shop.redis, *fault).await;
                self.model.forgot |= forgot;
            }
            Step::GiveBackByHand { n } => {
                if let Some(known) = self.model.orders.get_mut(n)
                    && self.books.give_back_by_hand(known.order_id.as_str())
                {
                    known.by_hand = true;
                    let id = known.order_id.clone();
                    let check = OrderMessage::Check { order_id: id };
                    // The gateway says so with a webhook, which is as good as sent.
                    let body = serde_json::to_string(&check).expect("JSON");
                    self.model.queue.push(body);
                }
            }
            Step::Place { .. }
            | Step::Again { .. }
            | Step::Deliver { .. }
            | Step::Redeliver { .. }
            | Step::GiveUp { .. }
            | Step::Pay { .. }
            | Step::Cancel { .. }
            | Step::Webhook { .. }
            | Step::Status { .. }
            | Step::Sweep { .. }
            | Step::Reconcile
            | Step::Stock { .. }
            | Step::Spotlight { .. }
            | Step::Units { .. }
            | Step::Pause { .. }
            | Step::Close { .. }
            | Step::End { .. }
            | Step::AdminAgain { .. } => return false,
        }
        true
    }

    fn prepare(&mut self, step: &Step) -> Action {
        self.collect();
        match step {
            Step::Place { n, ask } => {
                let broadcast = &self.model.broadcasts[usize::from(ask.broadcast)];
                let known = Known::new(*n, ask, broadcast);
                self.model.orders.entry(*n).or_insert(known);
                self.place(*n, false)
            }
            Step::Again { n, other } => self.place(*n, *other),
            Step::Status { n } => match self.model.orders.get(n) {
                Some(known) => Action::Status {
                    n: *n,
                    before: known.before(),
                },
                None => Action::Nothing,
            },
            Step::Deliver { pick, most } => {
                let bodies = draw(&mut self.model.queue, *pick, *most);
                Action::Deliver {
                    bodies,
                    again: false,
                }
            }
            Step::Redeliver { pick, most } => {
                let mut done = self.model.done.clone();
                let bodies = draw(&mut done, *pick, *most);
                Action::Deliver {
                    bodies,
                    again: true,
                }
            }
            Step::GiveUp { pick } => {
                let drawn = draw(&mut self.model.queue, *pick, 1).pop();
                let Some(body) = drawn else {
                    return Action::Nothing;
                };
                self.given_up(&body);
                Action::GiveUp { body }
            }
            Step::Pay { n, how } => self.pay(*n, *how),
            Step::Cancel { n, by } => self.cancel(*n, *by),
            Step::Webhook { n, status } => self.webhook(*n, status),
            Step::Sweep { broadcast } => Action::Sweep {
                source: Source::Live(self.model.broadcasts[usize::from(*broadcast)].clone()),
            },
            Step::Reconcile => Action::Reconcile,
            Step::Stock { delta: 0, .. } | Step::Units { delta: 0, .. } => Action::Nothing,
            Step::Stock { product, delta } => {
                let product = &self.model.products[usize::from(*product)];
                let body = json!({ "delta": delta, "reason": "조정" });
                let path = format!("/products/{product}/stock");
                self.ask_admin(Method::POST, path, body)
            }
            Step::Spotlight {
                broadcast,
                product,
                units,
            } => {
                let (path, body) = self.spotlight(*broadcast, *product, *units);
                self.ask_admin(Method::POST, path, body)
            }
            Step::Units {
                broadcast,
                product,
                delta,
            } => {
                let path = self.product_path(*broadcast, *product);
                self.ask_admin(Method::PATCH, path, json!({ "add_quantity": delta }))
            }
            Step::Pause {
                broadcast,
                product,
                paused,
            } => {
                let path = self.product_path(*broadcast, *product);
                self.ask_admin(Method::PATCH, path, json!({ "paused": paused }))
            }
            Step::Close { broadcast, product } => {
                let path = self.product_path(*broadcast, *product);
                self.ask_admin(Method::DELETE, path, Value::Null)
            }
            Step::End { broadcast } => {
                let id = &self.model.broadcasts[usize::from(*broadcast)];
                let path = format!("/broadcasts/{id}/end");
                self.ask_admin(Method::POST, path, Value::Null)
            }
            Step::AdminAgain { pick } => {
                let mut rng = Rng::with_seed(*pick);
                rng.choice(&self.admin)
                    .cloned()
                    .map_or(Action::Nothing, Action::Admin)
            }
            Step::GiveBackByHand { .. }
            | Step::Pass { .. }
            | Step::Aws { .. }
            | Step::Gateway { .. }
            | Step::CatchUp
            | Step::Redis(_) => Action::Nothing,
        }
    }

    fn product_path(&self, broadcast: u8, product: u8) -> String {
        let id = &self.model.broadcasts[usize::from(broadcast)];
        let product = &self.model.products[usize::from(product)];
        format!("/broadcasts/{id}/products/{product}")
    }

    fn ask_admin(&mut self, method: Method, path: String, body: Value) -> Action {
        let key = format!("admin-{}-{}", self.histories, self.admin.len());
        let admin = Admin {
            method,
            path,
            key,
            body,
        };
        self.admin.push(admin.clone());
        Action::Admin(admin)
    }

    fn place(&mut self, n: u32, other: bool) -> Action {
        let Some(known) = self.model.orders.get(&n) else {
            return Action::Nothing;
        };
        Action::Place {
            n,
            other,
            body: known.body(&self.model.products, other).to_string(),
            accepted: known.accepted,
        }
    }

    fn pay(&mut self, n: u32, how: Payment) -> Action {
        let Some(known) = self.model.orders.get_mut(&n) else {
            return Action::Nothing;
        };
        let units: u32 = known.ask.lines.iter().map(|(_, units)| units).sum();
        let right = PRICE * u64::from(units);
        let last = known.payments.last().cloned();
        let (payment_key, amount) = match (how, last) {
            (Payment::SameKey | Payment::SameRequest, Some(last)) => (last, right),
            (Payment::UnknownKey, _) => (format!("unknown-{n}"), right),
            (Payment::WrongAmount, last) => (last.unwrap_or_else(|| "x".to_owned()), right - 1),
            (Payment::Right | Payment::Stranger | Payment::SameKey | Payment::SameRequest, _) => {
                let key = self.books.checkout(&known.order_id, right);
                known.payments.push(key.clone());
                (key, right)
            }
        };
        let key = match how {
            Payment::SameKey => format!("again-{n}-{}", self.books.orders().len()),
            Payment::Right
            | Payment::SameRequest
            | Payment::WrongAmount
            | Payment::UnknownKey
            | Payment::Stranger => format!("pay-{n}-{payment_key}-{amount}"),
        };
        let caller = match how {
            Payment::Stranger => "stranger".to_owned(),
            Payment::Right
            | Payment::SameKey
            | Payment::SameRequest
            | Payment::WrongAmount
            | Payment::UnknownKey => known.viewer.clone(),
        };
        Action::Money {
            caller: (caller, Role::Viewer),
            route: PAY,
            order: known.order_id.to_string(),
            key,
            body: json!({ "payment_key": payment_key, "amount": amount }),
        }
    }

    fn cancel(&mut self, n: u32, by: Canceller) -> Action {
        let Some(known) = self.model.orders.get_mut(&n) else {
            return Action::Nothing;
        };
        let caller = match by {
            Canceller::Buyer => (known.viewer.clone(), Role::Viewer),
            Canceller::Operator => ("operator-1".to_owned(), Role::Operator),
            Canceller::Stranger => ("stranger".to_owned(), Role::Viewer),
        };
        known.cancelled |= by != Canceller::Stranger;
        Action::Money {
            caller,
            route: CANCEL,
            order: known.order_id.to_string(),
            key: format!("cancel-{n}-{by:?}"),
            body: Value::Null,
        }
    }

    fn webhook(&self, n: u32, status: &str) -> Action {
        let Some(known) = self.model.orders.get(&n) else {
            return Action::Nothing;
        };
        let order = known.order_id.to_string();
        let body = json!({
            "eventType": "PAYMENT_STATUS_CHANGED", "createdAt": "2026-11-20T10:01:00.000000",
            "data": { "paymentKey": "pay-1", "orderId": order, "status": status, "totalAmount": PRICE },
        });
        Action::Money {
            caller: ("anybody".to_owned(), Role::Viewer),
            route: WEBHOOK,
            order: String::new(),
            key: "-".to_owned(),
            body,
        }
    }

    /// Takes what was sent to the orders queue.
    fn collect(&mut self) {
        self.model
            .queue
            .extend(self.shop.wire.take_messages("orders"));
        drop(self.shop.wire.take_messages("wakes"));
        drop(self.shop.wire.take_delays());
    }

    fn note_in_flight(&self) {
        // What is being delivered is in flight, too; one message more or less makes no difference.
        self.shop.wire.in_flight("orders", self.model.queue.len());
    }

    fn given_up(&mut self, body: &str) {
        let message: OrderMessage = serde_json::from_str(body).expect("a message");
        let id = message.order_id();
        for known in self.model.orders.values_mut() {
            known.given_up |= known.order_id == *id;
        }
    }

    fn learn(
        &mut self,
        action: Action,
        answer: Answer,
        tally: &mut Tally,
    ) -> Result<(), Violation> {
        let forgot = self.model.forgot;
        match (action, answer) {
            (
                Action::Place {
                    n, other, accepted, ..
                },
                answer,
            ) => {
                let known = self.model.orders.get_mut(&n).expect("it was placed");
                match answer {
                    Answer::Http(status, body) => {
                        tally.accepted += u64::from(status == 202 && !known.accepted);
                        known.hear(status, &body, other, accepted && !forgot)?;
                    }
                    // It may have been accepted, as what it was.
                    Answer::Nothing | Answer::Failed(_) | Answer::Report(_) => {
                        known.other |= other;
                    }
                }
            }
            (Action::Status { n, before }, Answer::Http(status, body)) => {
                let known = self.model.orders.get_mut(&n).expect("it was placed");
                known.read(before, (status, &body), forgot)?;
            }
            (
                Action::Deliver {
                    bodies,
                    again: false,
                },
                answer,
            ) => {
                let failed = match answer {
                    Answer::Failed(failed) => failed,
                    Answer::Nothing | Answer::Http(..) | Answer::Report(_) => {
                        (0..bodies.len()).collect()
                    }
                };
                for (place, body) in bodies.into_iter().enumerate() {
                    if failed.contains(&place) {
                        self.model.queue.push(body);
                    } else {
                        self.model.done.push(body);
                    }
                }
            }
            (Action::GiveUp { body }, answer) => match answer {
                Answer::Failed(failed) if failed.is_empty() => self.model.done.push(body),
                Answer::Nothing | Answer::Http(..) | Answer::Failed(_) | Answer::Report(_) => {
                    self.model.queue.push(body);
                }
            },
            (Action::Reconcile, Answer::Report(report)) => {
                tally.repaired += report.drift;
                check::drift(self, &report)?;
            }
            (
                Action::Money {
                    route,
                    order,
                    caller,
                    ..
                },
                Answer::Http(status, body),
            ) => {
                let stranger = caller.0 == "stranger";
                let known = matches!(status, 200 | 202 | 400 | 404 | 409 | 422 | 503);
                if !known || (stranger && status == 202) {
                    let text = format!("{route} {order} by {}: {status} {body}", caller.0);
                    return Err(Violation::new(Promise::Lost, text));
                }
            }
            (Action::Admin(admin), Answer::Http(status, body))
                if !matches!(status, 200..=202 | 400 | 404 | 409 | 422 | 503) =>
            {
                let text = format!("{} {}: {status} {body}", admin.method, admin.path);
                return Err(Violation::new(Promise::Lost, text));
            }
            _ => {}
        }
        Ok(())
    }

    /// Nothing breaks any more, everything is delivered, time passes, and the scheduled run does its work: then all must be
    /// settled, and gate and ledger agree.
    async fn quiet(&mut self, tally: &mut Tally) -> Result<(), Violation> {
        self.shop.wire.calm();
        self.books.calm();
        self.torment.end(&self.shop.redis).await;
        // A request that was sent by somebody who died may be on its way still.
        tokio::time::sleep(Duration::from_millis(30)).await;
        let mut runs = 0;
        loop {
            self.deliver_all(tally).await?;
            self.books.catch_up(true);
            clock::put_ahead(QUIET_STEP);
            self.collect();
            self.note_in_flight();
            let report = match self.shop.reconcile.run().await {
                Ok(report) => report,
                // A machine that is busy elsewhere makes it time out once.
                Err(_) if runs + 1 < QUIET_RUNS => {
                    runs += 1;
                    continue;
                }
                Err(error) => {
                    let text = format!("reconcile fails for good: {error}");
                    return Err(Violation::new(Promise::Drift, text));
                }
            };
            tally.operations += 1;
            tally.repaired += report.drift;
            check::drift(self, &report)?;
            self.collect();
            let idle = report.expired + report.looked_after + report.busy + report.loaded == 0
                && report.drift == 0
                && report.failed == 0;
            if idle && self.model.queue.is_empty() && !check::is_somebody_to_look(&self.shop) {
                break;
            }
            runs += 1;
            if runs == QUIET_RUNS {
                let text = format!("no end: {report:?}, {:?}", self.model.queue);
                return Err(Violation::new(Promise::Lost, text));
            }
        }
        let blind = self.books.take_blind_charges();
        if !blind.is_empty() {
            let text = format!("charged again without looking: {blind:?}");
            return Err(Violation::new(Promise::Doubled, text));
        }
        check::always(self)?;
        let numbers: Vec<u32> = self.model.orders.keys().copied().collect();
        let forgot = self.model.forgot;
        for n in numbers {
            let known = &self.model.orders[&n];
            let (status, body) = self
                .shop
                .status(&known.viewer, known.order_id.as_str())
                .await;
            let known = self.model.orders.get_mut(&n).expect("it was placed");
            known.read(known.before(), (status, &body), forgot)?;
        }
        check::at_rest(self, tally).await
    }

    async fn deliver_all(&mut self, tally: &mut Tally) -> Result<(), Violation> {
        for receive in 0..=RECEIVES {
            self.collect();
            let waiting = std::mem::take(&mut self.model.queue);
            for bodies in waiting.chunks(BATCH) {
                tally.operations += bodies.len() as u64;
                let action = Action::Deliver {
                    bodies: bodies.to_vec(),
                    again: false,
                };
                let answer = act(&self.shop, &self.model, &action).await;
                self.learn(action, answer, tally)?;
            }
            self.collect();
            if self.model.queue.is_empty() {
                return Ok(());
            }
            // What failed comes again later.
            clock::put_ahead(VISIBILITY);
            if receive + 1 == RECEIVES {
                for body in std::mem::take(&mut self.model.queue) {
                    self.given_up(&body);
                    let action = Action::GiveUp { body };
                    let answer = act(&self.shop, &self.model, &action).await;
                    self.learn(action, answer, tally)?;
                }
            }
        }
        Ok(())
    }
}

impl Action {
    /// How many operations it is: every message is one.
    fn operations(&self) -> u64 {
        match self {
            Self::Nothing => 0,
            Self::Deliver { bodies, .. } => bodies.len() as u64,
            Self::Place { .. }
            | Self::Status { .. }
            | Self::GiveUp { .. }
            | Self::Money { .. }
            | Self::Sweep { .. }
            | Self::Reconcile
            | Self::Admin(_) => 1,
        }
    }
}

/// Does what was prepared.
async fn act(shop: &Shop, model: &Model, action: &Action) -> Answer {
    match action {
        Action::Nothing => Answer::Nothing,
        Action::Place { n, body, .. } => {
            let known = &model.orders[n];
            let broadcast = known.order_id.broadcast();
            let event = shop.order_event(&broadcast, &known.viewer, &known.key, body);
            let (status, body) = shop.buyer(event).await;
            Answer::Http(status, body)
        }
        Action::Status { n, .. } => {
            let known = &model.orders[n];
            let (status, body) = shop.status(&known.viewer, known.order_id.as_str()).await;
            Answer::Http(status, body)
        }
        Action::Deliver { bodies, .. } if bodies.is_empty() => Answer::Failed(Vec::new()),
        Action::Deliver { bodies, .. } => {
            let answer = shop.deliver(bodies).await;
            let failed = answer.batch_item_failures.iter();
            Answer::Failed(
                failed
                    .map(|failure| failure.item_identifier.parse().expect("an index"))
                    .collect(),
            )
        }
        Action::GiveUp { body } => {
            let message = serde_json::from_str(body).expect("a message");
            match shop.settlement.give_up(message).await {
                Ok(()) => Answer::Failed(Vec::new()),
                Err(_) => Answer::Failed(vec![0]),
            }
        }
        Action::Money {
            caller,
            route,
            order,
            key,
            body,
        } => {
            let caller = (caller.0.as_str(), caller.1);
            let (status, body) = shop.money(caller, route, order, key, body.clone()).await;
            Answer::Http(status, body)
        }
        Action::Sweep { source } => {
            let sweep = &shop.reconcile.sweep;
            match sweep.sweep(source, clock::now(), None).await {
                Ok(_) | Err(_) => Answer::Nothing,
            }
        }
        Action::Reconcile => match shop.reconcile.run().await {
            Ok(report) => Answer::Report(report),
            Err(_) => Answer::Nothing,
        },
        Action::Admin(Admin {
            method,
            path,
            key,
            body,
        }) => {
            let (status, body) = shop
                .admin(method.clone(), path, Some(key), body.clone())
                .await;
            Answer::Http(status, body)
        }
    }
}

/// Takes some messages, in some order; sometimes one of them twice.
fn draw(messages: &mut Vec<String>, pick: u64, most: usize) -> Vec<String> {
    let mut rng = Rng::with_seed(pick);
    let mut drawn = Vec::new();
    while drawn.len() < most && !messages.is_empty() {
        drawn.push(messages.swap_remove(rng.usize(..messages.len())));
    }
    drawn
}

/// Every viewer, by name.
pub(super) fn viewers() -> impl Iterator<Item = String> {
    (0..VIEWERS).map(viewer)
}
