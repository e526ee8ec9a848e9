//! Random histories of one gate against a model of it, which counts nothing and sums over its holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use onepool::{
    clock::Timestamp,
    order::OrderId,
    stock::{
        Confirmed, Correction, Extended, Granted, Refusal, Released, Reopened, Repaired, Reserved,
        Restored, Undone, Withdrawn,
    },
};

use super::stage::{NOW, PERIOD, Stage, id, order, request};

/// What a hold is, to the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Kept,
    Confirmed,
    Released,
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct ModelHold {
    state: State,
    revision: u64,
    deadline: Timestamp,
}

/// The gate as it ought to be: what is sold, held and taken is no count, but the sum over the holds.
#[derive(Default)]
struct Model {
    holds: BTreeMap<usize, ModelHold>,
    granted: [i64; 2],
    grant_version: [u64; 2],
    repaired: [i64; 2],
}

const MODEL_ORDERS: usize = 14;

const MODEL_VIEWERS: usize = 3;

const MODEL_LIMIT: i64 = 9;

/// The units of an order, by product.
fn model_lines(order: usize) -> [i64; 2] {
    let n = order as i64;
    [1 + n % 3, n % 2 * (1 + n % 4)]
}

impl Model {
    fn sum(&self, product: usize, of: impl Fn(usize, State) -> bool) -> i64 {
        self.holds
            .iter()
            .filter(|(order, hold)| of(**order, hold.state))
            .map(|(order, _)| model_lines(*order)[product])
            .sum()
    }

    fn held(&self, product: usize) -> i64 {
        self.sum(product, |_, state| {
            matches!(state, State::Open | State::Kept)
        })
    }

    fn sold(&self, product: usize) -> i64 {
        self.sum(product, |_, state| state == State::Confirmed)
    }

    fn left(&self, product: usize) -> i64 {
        self.granted[product] + self.repaired[product] - self.held(product) - self.sold(product)
    }

    fn taken(&self, product: usize, viewer: usize) -> i64 {
        self.sum(product, |order, state| {
            order % MODEL_VIEWERS == viewer && !matches!(state, State::Released | State::Lost)
        })
    }

    /// What `reserve` answers, in a word.
    fn reserve(&mut self, order: usize, now: Timestamp) -> &'static str {
        if let Some(hold) = self.holds.get_mut(&order) {
            if hold.state == State::Open {
                hold.state = State::Kept;
            }
            return "replayed";
        }
        for product in 0..2 {
            let units = model_lines(order)[product];
            if units > 0 && self.left(product) < units {
                return "sold out";
            }
            if units > 0 && self.taken(product, order % MODEL_VIEWERS) + units > MODEL_LIMIT {
                return "limit";
            }
        }
        let hold = ModelHold {
            state: State::Open,
            revision: 0,
            deadline: now + PERIOD,
        };
        self.holds.insert(order, hold);
        "taken"
    }

    /// Brings the hold to a state by a revision; returns the state it was in, and whether the revision was newer.
    fn follow(&mut self, order: usize, to: State, revision: u64) -> (State, bool) {
        let Some(hold) = self.holds.get_mut(&order) else {
            let hold = ModelHold {
                state: State::Lost,
                revision,
                deadline: Timestamp::from_millis(0),
            };
            self.holds.insert(order, hold);
            return (State::Lost, true);
        };
        let before = hold.state;
        let newer = before != State::Lost && revision > hold.revision;
        if newer {
            hold.state = to;
            hold.revision = revision;
        }
        (before, newer)
    }
}

#[tokio::test]
async fn whatever_happens_in_whatever_order_the_gate_counts_as_its_holds_say() {
    for _ in 0..3 {
        let seed = fastrand::u64(..);
        println!("seed {seed}");
        random_history(seed, 1_000).await;
    }
}

async fn random_history(seed: u64, steps: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    let products = ["p1", "p2"];
    let stage = Stage::set(
        &[("p1", 20), ("p2", 15)],
        Some(u32::try_from(MODEL_LIMIT).expect("is small")),
    )
    .await;
    let mut model = Model {
        granted: [20, 15],
        grant_version: [1, 1],
        ..Model::default()
    };
    let viewers: Vec<String> = (0..MODEL_VIEWERS).map(|n| format!("u{n}")).collect();
    let ids: Vec<OrderId> = (0..MODEL_ORDERS)
        .map(|n| order(&viewers[n % MODEL_VIEWERS], &format!("k{n}")))
        .collect();
    let mut now = NOW;
    for step in 0..steps {
        now = now + Duration::from_secs(random.u64(0..20));
        let n = random.usize(0..MODEL_ORDERS);
        let (order_id, product) = (&ids[n], random.usize(0..2));
        let known = model.holds.get(&n).copied();
        // Stale, current and newer ones.
        let revision = (known.map_or(1, |hold| hold.revision) + random.u64(0..5))
            .saturating_sub(2)
            .max(1);
        let at = format!("seed {seed}, step {step}, order {n}, revision {revision}");
        match random.u8(0..12) {
            0..3 => {
                let lines: Vec<(&str, u32)> = products
                    .into_iter()
                    .zip(model_lines(n))
                    .filter(|(_, units)| *units > 0)
                    .map(|(product, units)| (product, u32::try_from(units).expect("is small")))
                    .collect();
                let request = request(&viewers[n % MODEL_VIEWERS], &lines);
                let answer = stage
                    .gate
                    .reserve(&stage.source, order_id, &request, now, PERIOD)
                    .await;
                let word = match answer.expect("answers") {
                    Reserved::Taken(_) => "taken",
                    Reserved::Replayed(_) => "replayed",
                    Reserved::Refused(Refusal::SoldOut { .. }) => "sold out",
                    Reserved::Refused(Refusal::LimitExceeded(..)) => "limit",
                    Reserved::Refused(refusal) => panic!("{at}: {refusal:?}"),
                };
                assert_eq!(word, model.reserve(n, now), "{at}");
            }
            3 => {
                let expected = match model.follow(n, State::Confirmed, revision) {
                    (State::Lost, _) => Confirmed::Absent,
                    (State::Open | State::Kept, true) => Confirmed::Now,
                    (State::Released, true) => Confirmed::Retaken,
                    _ => Confirmed::Already,
                };
                assert_eq!(stage.confirm(order_id, revision).await, expected, "{at}");
            }
            4 => {
                let left = [model.left(0), model.left(1)];
                let expected = match model.follow(n, State::Released, revision) {
                    (State::Lost, _) => Released::Absent,
                    (State::Released, _) => Released::Already(vec![]),
                    (_, true) => Released::Now(vec![]),
                    (_, false) => Released::Overtaken,
                };
                if random.bool() {
                    assert_eq!(stage.release(order_id, revision).await, expected, "{at}");
                } else {
                    assert_eq!(stage.forfeit(order_id, revision).await, expected, "{at}");
                    if expected == Released::Now(vec![]) {
                        for (product, before) in left.into_iter().enumerate() {
                            let back = model.left(product);
                            // They pay what is owed; the rest is gone.
                            model.repaired[product] -= back - before.max(back.min(0));
                        }
                    }
                }
            }
            5 => {
                let deadline = now + Duration::from_secs(random.u64(0..200));
                let (before, newer) = model.follow(n, State::Open, revision);
                let expected = match (before, newer) {
                    (State::Lost, _) => Reopened::Absent,
                    (State::Released | State::Confirmed, true) => Reopened::Now,
                    _ => Reopened::Already,
                };
                if let Some(hold) = model.holds.get_mut(&n).filter(|_| newer) {
                    hold.deadline = deadline;
                }
                assert_eq!(
                    stage.reopen(order_id, revision, deadline).await,
                    expected,
                    "{at}"
                );
            }
            6 => {
                let until = now + Duration::from_secs(random.u64(0..600));
                let expected = match model.holds.get_mut(&n) {
                    Some(hold) if matches!(hold.state, State::Open | State::Kept) => {
                        hold.deadline = hold.deadline.max(until);
                        Extended::Until(hold.deadline)
                    }
                    Some(hold) if hold.state != State::Lost => Extended::Settled,
                    _ => Extended::Absent,
                };
                assert_eq!(stage.extend(order_id, until).await, expected, "{at}");
            }
            7 => {
                let expected = match known {
                    Some(hold) if hold.state == State::Open && hold.revision == 0 => {
                        model.holds.remove(&n);
                        Undone::Now
                    }
                    Some(hold) if hold.state != State::Lost => Undone::Kept,
                    _ => Undone::Absent,
                };
                assert_eq!(stage.undo(order_id).await, expected, "{at}");
            }
            8 => {
                let due: BTreeSet<OrderId> = model
                    .holds
                    .iter()
                    .filter(|(_, hold)| matches!(hold.state, State::Open | State::Kept))
                    .filter(|(_, hold)| hold.deadline <= now)
                    .map(|(order, _)| ids[*order].clone())
                    .collect();
                let listed = stage.expired(now, 100).await;
                assert_eq!(listed.len(), due.len(), "{at}");
                assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), due, "{at}");
            }
            9 => {
                let version = stage.stock(products[product]).await.version;
                let (delta, seen) = (random.i64(-3..4), version - random.u64(0..2));
                let answer = stage
                    .gate
                    .repair(
                        &stage.source,
                        &id(products[product]),
                        Correction {
                            left: delta,
                            sold: 0,
                        },
                        seen,
                    )
                    .await;
                if answer.expect("answers") == Repaired::Now {
                    assert_eq!(seen, version, "{at}");
                    model.repaired[product] += delta;
                }
            }
            10 => {
                let granted = random.u64(15..25);
                model.granted[product] = i64::try_from(granted).expect("is small");
                model.grant_version[product] += 1;
                let version = model.grant_version[product];
                let answer = stage
                    .grant_at(now, products[product], granted, granted, version)
                    .await;
                assert_eq!(answer, Granted::Followed, "{at}");
            }
            _ => {
                let (name, version) = (id(products[product]), model.grant_version[product]);
                let (token, most) = (step.to_string(), random.u64(0..4));
                let units = i64::try_from(most).expect("is small");
                let units = units.min(model.left(product).max(0));
                let answer = stage
                    .gate
                    .withdraw(&stage.source, &name, (0, most), version, &token, now)
                    .await;
                let answered = Withdrawn::Units(u64::try_from(units).expect("is positive"));
                assert_eq!(answer.expect("answers"), answered, "{at}");
                model.granted[product] -= units;
                if random.bool() {
                    let answer = stage.gate.restore(&stage.source, &name, &token).await;
                    assert_eq!(answer.expect("answers"), Restored::Now, "{at}");
                    model.granted[product] += units;
                }
            }
        }

        let fields = stage.fields().await;
        let number = |field: String| -> i64 {
            fields
                .get(&field)
                .and_then(|value| value.split(' ').next()?.parse().ok())
                .unwrap_or(0)
        };
        let open = |hold: &&ModelHold| matches!(hold.state, State::Open | State::Kept);
        let deadlines = model.holds.values().filter(open).map(|hold| hold.deadline);
        if let Some(first) = deadlines.min() {
            let due = fields.get("due").and_then(|due| due.parse::<u64>().ok());
            assert!(
                due.is_some_and(|due| due <= first.millis()),
                "a hold falls due at {first}, the gate waits until {due:?}; {at}"
            );
        }
        let holds = stage.gate.holds(&stage.source).await.expect("answers");
        for (product, name) in products.into_iter().enumerate() {
            let held: i64 = holds
                .iter()
                .flat_map(|(_, hold)| &hold.reservation.lines)
                .filter(|line| line.product_id == id(name))
                .map(|line| i64::from(line.quantity))
                .sum();
            let [left, sold, granted] =
                ["stock", "sold", "granted"].map(|kind| number(format!("{kind}:{name}")));
            assert_eq!(
                (left, held, sold),
                (
                    model.left(product),
                    model.held(product),
                    model.sold(product)
                ),
                "left, held and sold of {name}; {at}"
            );
            assert_eq!(
                granted + model.repaired[product],
                left + held + sold,
                "{at}"
            );
            for (n, viewer) in viewers.iter().enumerate() {
                let taken = number(format!("taken:{name}:{viewer}"));
                assert_eq!(
                    taken,
                    model.taken(product, n),
                    "{name} taken by {viewer}; {at}"
                );
            }
        }
    }
}
