//! A history: what is asked of the shop and what breaks, step by step. It is made from a seed and says everything that
//! happens, so that a shorter one can be made of it by leaving steps out.

use fastrand::Rng;

use super::gateway::{Call, Trouble};
use crate::Fault;

/// Products of a shop.
pub const PRODUCTS: u8 = 2;
/// Broadcasts at a time.
pub const BROADCASTS: u8 = 2;
/// Viewers.
pub const VIEWERS: u8 = 6;

/// How an order is to be paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// A registered card.
    Good,
    /// A registered card that its company refuses.
    Bad,
    /// In the gateway's window, later.
    Later,
}

/// What a viewer wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who.
    pub viewer: u8,
    /// In which broadcast.
    pub broadcast: u8,
    /// Products and units.
    pub lines: Vec<(u8, u32)>,
    /// How it is paid.
    pub card: Card,
}

/// How somebody pays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payment {
    /// As they should.
    Right,
    /// With the key of the last payment once more, under another Idempotency-Key.
    SameKey,
    /// The very request of the last payment once more.
    SameRequest,
    /// Another amount.
    WrongAmount,
    /// A key that the gateway does not know.
    UnknownKey,
    /// Somebody else.
    Stranger,
}

/// Who takes an order back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canceller {
    /// Who ordered.
    Buyer,
    /// The shop.
    Operator,
    /// Another viewer.
    Stranger,
}

/// What happens to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RedisFault {
    /// It forgets everything.
    Flush,
    /// It is killed, and comes back empty.
    Restart,
    /// A replica has copied everything up to here.
    Copy,
    /// The replica takes over: what was written since the copy is lost.
    Failover,
    /// It takes no writes for so many turns.
    ReadOnly(u8),
    /// It answers nobody for so many ms.
    Slow(u64),
    /// Nobody reaches it for so many turns. It forgets nothing.
    Away(u8),
    /// All sockets are cut.
    Disconnect,
}

/// One thing that happens. Orders are named by the number their first request has in the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// An order is placed.
    Place { n: u32, ask: Ask },
    /// It is placed again under its key; with another body, if so.
    Again { n: u32, other: bool },
    /// Some queued messages are delivered as one batch, in some order.
    Deliver { pick: u64, most: usize },
    /// Messages that were done long ago are delivered again.
    Redeliver { pick: u64, most: usize },
    /// A queued message has failed too often.
    GiveUp { pick: u64 },
    /// A buyer pays.
    Pay { n: u32, how: Payment },
    /// An order is taken back.
    Cancel { n: u32, by: Canceller },
    /// The gateway, or somebody who says so, sends a webhook.
    Webhook { n: u32, status: &'static str },
    /// A buyer looks.
    Status { n: u32 },
    /// The shop gives the money of an order back at the gateway.
    GiveBackByHand { n: u32 },
    /// Expired holds are given back.
    Sweep { broadcast: u8 },
    /// The scheduled run.
    Reconcile,
    /// Units come or go.
    Stock { product: u8, delta: i64 },
    /// A product goes on air.
    Spotlight {
        broadcast: u8,
        product: u8,
        units: u64,
    },
    /// A product on air gets more or fewer units.
    Units {
        broadcast: u8,
        product: u8,
        delta: i64,
    },
    /// A product on air is paused, or goes on.
    Pause {
        broadcast: u8,
        product: u8,
        paused: bool,
    },
    /// A product goes off air.
    Close { broadcast: u8, product: u8 },
    /// A broadcast ends, and the next begins in its place.
    End { broadcast: u8 },
    /// An earlier request of an operator comes again, under its key.
    AdminAgain { pick: u64 },
    /// Time passes.
    Pass { ms: u64 },
    /// A call of AWS meets a fault.
    Aws {
        call: &'static str,
        fault: Fault,
        times: usize,
    },
    /// A call of the gateway meets trouble.
    Gateway { call: Call, trouble: Trouble },
    /// The gateway does what it was to do later.
    CatchUp,
    /// Something happens to Redis.
    Redis(RedisFault),
}

/// A step, and who is beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// What happens.
    pub step: Step,
    /// It dies when it has been polled so often.
    pub dies: Option<u16>,
    /// What happens at the same time.
    pub beside: Beside,
}

/// What happens at the same time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Nothing,
    /// The same again: of a delivery, the same messages.
    Twin,
    /// Another step.
    Other(Step),
}

impl Step {
    /// Whether it is something that breaks, as opposed to something that is asked.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Aws { .. } | Self::Gateway { .. } | Self::Redis(_)
        )
    }
}

/// How rough a history is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Roughness {
    /// Whether Redis may lose what it knew.
    pub redis_forgets: bool,
    /// Whether anything breaks at all.
    pub faults: bool,
}

/// The history of a seed.
#[must_use]
pub fn history(rng: &mut Rng, turns: usize) -> (Roughness, Vec<Turn>) {
    let rough = Roughness {
        redis_forgets: rng.u8(..3) == 0,
        faults: rng.u8(..8) != 0,
    };
    let mut placed = 0;
    let made = (0..turns).map(|_| turn(rng, rough, &mut placed)).collect();
    (rough, made)
}

fn turn(rng: &mut Rng, rough: Roughness, placed: &mut u32) -> Turn {
    let step = if rough.faults && rng.u8(..100) < 7 {
        fault(rng, rough)
    } else {
        ask(rng, placed)
    };
    let dies = (rough.faults && !step.is_fault() && rng.u8(..100) < 12).then(|| {
        // Most calls end after a few polls: dying early is dying between the first steps.
        let most = [6, 20, 60, 200][rng.usize(..4)];
        rng.u16(1..=most)
    });
    let beside = match rng.u8(..100) {
        0..6 => Beside::Twin,
        6..14 => Beside::Other(ask(rng, placed)),
        _ => Beside::Nothing,
    };
    Turn { step, dies, beside }
}

fn some_order(rng: &mut Rng, placed: u32) -> u32 {
    // Mostly a young one: old ones have come to rest.
    let back = if rng.bool() {
        rng.u32(..6)
    } else {
        rng.u32(..40)
    };
    placed.saturating_sub(1 + back)
}

fn ask(rng: &mut Rng, placed: &mut u32) -> Step {
    let broadcast = rng.u8(..BROADCASTS);
    let product = rng.u8(..PRODUCTS);
    let n = some_order(rng, *placed);
    let pick = rng.u64(..);
    match rng.u32(..1_000) {
        0..330 => {
            let n = *placed;
            *placed += 1;
            let mut lines = vec![(product, rng.u32(1..=2))];
            if rng.u8(..5) == 0 {
                lines.push((rng.u8(..PRODUCTS), 1));
            }
            let card = match rng.u8(..10) {
                0..5 => Card::Good,
                5 => Card::Bad,
                _ => Card::Later,
            };
            let viewer = rng.u8(..VIEWERS);
            let ask = Ask {
                viewer,
                broadcast,
                lines,
                card,
            };
            Step::Place { n, ask }
        }
        330..410 => Step::Again {
            n,
            other: rng.u8(..6) == 0,
        },
        410..590 => Step::Deliver {
            pick,
            most: rng.usize(1..=10),
        },
        590..620 => Step::Redeliver {
            pick,
            most: rng.usize(1..=10),
        },
        620..632 => Step::GiveUp { pick },
        632..722 => {
            let how = match rng.u8(..12) {
                0 => Payment::SameKey,
                1 => Payment::SameRequest,
                2 => Payment::WrongAmount,
                3 => Payment::UnknownKey,
                4 => Payment::Stranger,
                _ => Payment::Right,
            };
            Step::Pay { n, how }
        }
        722..762 => {
            let by = match rng.u8(..6) {
                0 => Canceller::Stranger,
                1 => Canceller::Operator,
                _ => Canceller::Buyer,
            };
            Step::Cancel { n, by }
        }
        762..782 => Step::Webhook {
            n,
            status: ["DONE", "CANCELED", "EXPIRED"][rng.usize(..3)],
        },
        782..860 => Step::Status { n },
        860..864 => Step::GiveBackByHand { n },
        864..880 => Step::Sweep { broadcast },
        880..884 => Step::Reconcile,
        884..899 => Step::Stock {
            product,
            delta: rng.i64(-4..=8),
        },
        899..917 => Step::Spotlight {
            broadcast,
            product,
            units: rng.u64(1..=12),
        },
        917..931 => Step::Units {
            broadcast,
            product,
            delta: rng.i64(-4..=4),
        },
        931..941 => Step::Pause {
            broadcast,
            product,
            paused: rng.u8(..3) == 0,
        },
        941..949 => Step::Close { broadcast, product },
        949..952 => Step::End { broadcast },
        952..960 => Step::AdminAgain { pick },
        960..968 => Step::CatchUp,
        _ => {
            let ms = [40, 400, 1_200, 3_500, 15_000, 70_000][rng.usize(..6)];
            Step::Pass { ms }
        }
    }
}

fn fault(rng: &mut Rng, rough: Roughness) -> Step {
    match rng.u8(..100) {
        0..45 => {
            let call = [
                "TransactWriteItems",
                "TransactWriteItems",
                "SendMessage",
                "SendMessage",
                "GetItem",
                "PutItem",
                "Query",
                "BatchGetItem",
                "DynamoDB",
            ][rng.usize(..9)];
            let fault = match rng.u8(..10) {
                0..2 => Fault::Refused(400),
                2..4 => Fault::Refused(500),
                4..7 => Fault::AnswerLost,
                7..9 if call == "TransactWriteItems" => Fault::TransactionConflict,
                _ => Fault::Throttled,
            };
            Step::Aws {
                call,
                fault,
                times: rng.usize(1..=3),
            }
        }
        45..85 => {
            let call = [Call::Charge, Call::Confirm, Call::Lookup, Call::Refund][rng.usize(..4)];
            let trouble = [
                Trouble::LostOnTheWay,
                Trouble::AnswerLost,
                Trouble::DoneLater,
                Trouble::FailsForGood,
                Trouble::Refused,
            ][rng.usize(..5)];
            // A refund that is refused for good is left to a person: there is nothing more to find out.
            let trouble = match (call, trouble) {
                (Call::Refund, Trouble::Refused) if rng.u8(..4) != 0 => Trouble::AnswerLost,
                (_, trouble) => trouble,
            };
            Step::Gateway { call, trouble }
        }
        _ => Step::Redis(match rng.u8(..20) {
            0..4 if rough.redis_forgets => RedisFault::Flush,
            4 if rough.redis_forgets => RedisFault::Restart,
            5..10 if rough.redis_forgets => RedisFault::Copy,
            10..13 if rough.redis_forgets => RedisFault::Failover,
            13 => RedisFault::Slow([30, 400, 700][rng.usize(..3)]),
            14..16 => RedisFault::ReadOnly(rng.u8(1..6)),
            16..18 => RedisFault::Away(rng.u8(1..6)),
            _ => RedisFault::Disconnect,
        }),
    }
}
