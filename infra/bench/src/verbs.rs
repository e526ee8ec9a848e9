//! `<verb>.redis_cpu_us`: what each script of the gate costs Redis, beside the bare script, in turns. (`reserve.rs` measures
//! `reserve`, which needs no state of its own for each call.)
//!
//! A verb is a row of [`VERBS`]: its script, the state its calls find, the arguments of each call, and the word each must be
//! answered with, so that no call is measured that did nothing.

use crate::{
    Result, gate,
    options::Options,
    redis::{Client, Server, encode},
    report::{Report, least},
    reserve,
};

/// Each from a connection of its own, one call at a time.
const CONNECTIONS: usize = 50;
const ROUNDS: usize = 5;
/// Orders, or products, that the calls of a round are about.
const SUBJECTS: usize = 10_000;
const SUBJECTS_QUICK: usize = 1_000;
/// The time of every call, ms.
const NOW: &str = "1700000000000";
/// After the deadline of every hold, ms.
const LATER: &str = "1700000900000";
/// Of the stock of every product.
const STOCK_VERSION: &str = "1700000000000000";

/// A script and how it is called.
struct Verb {
    figure: &'static str,
    script: &'static str,
    /// Orders, or products, in one call.
    subjects: usize,
    /// Makes the state that calls about so many subjects find, in a Redis that is empty.
    prepare: fn(&mut Client, usize) -> Result<()>,
    /// What a call is given, keys first: `numkeys key ... argument ...`. It is told its first subject and how many it has.
    call: fn(usize, usize) -> Vec<String>,
    /// What every answer must begin with.
    answer: &'static str,
}

const BARE: Verb = Verb {
    figure: "bare",
    script: reserve::BARE,
    subjects: 1,
    prepare: |redis, subjects| {
        redis
            .ask(&["SET", reserve::COUNTER, &subjects.to_string()])
            .map(drop)
    },
    call: |_, _| words(&["1", reserve::COUNTER, "1"]),
    answer: "1",
};

const VERBS: [Verb; 13] = [
    Verb {
        figure: "confirm.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/confirm.lua"),
        subjects: 1,
        prepare: holds,
        call: settled_orders,
        answer: "confirmed",
    },
    Verb {
        // As `order-process` calls it: all of a batch at once.
        figure: "confirm.redis_cpu_us.100",
        script: include_str!("../../../shared/src/stock/confirm.lua"),
        subjects: 100,
        prepare: holds,
        call: settled_orders,
        answer: "confirmed",
    },
    Verb {
        figure: "release.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/release.lua"),
        subjects: 1,
        prepare: holds,
        call: |number, _| given_back(number),
        answer: "released",
    },
    Verb {
        figure: "reopen.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/reopen.lua"),
        subjects: 1,
        prepare: |redis, orders| {
            holds(redis, orders)?;
            let release = include_str!("../../../shared/src/stock/release.lua");
            each(redis, orders, release, given_back)
        },
        call: |number, _| {
            let order = order(number);
            words(&["2", gate::GATE, gate::EXTENDED, &order, "2", LATER])
        },
        answer: "reopened",
    },
    Verb {
        figure: "undo.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/undo.lua"),
        subjects: 1,
        prepare: holds,
        call: |number, _| words(&["1", gate::GATE, &order(number)]),
        answer: "undone",
    },
    Verb {
        figure: "extend.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/extend.lua"),
        subjects: 1,
        prepare: holds,
        call: |number, _| words(&["2", gate::GATE, gate::EXTENDED, &order(number), LATER]),
        answer: LATER,
    },
    Verb {
        // A sweep that lists a hundred orders, all of them due.
        figure: "expired.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/expired.lua"),
        subjects: 100,
        prepare: holds,
        call: |_, orders| {
            let keys = ["3", gate::GATE, gate::DEADLINES, gate::EXTENDED];
            let arguments = [LATER, &orders.to_string(), "1000", ""];
            [words(&keys), words(&arguments)].concat()
        },
        answer: gate::BROADCAST,
    },
    Verb {
        figure: "withdraw.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/withdraw.lua"),
        subjects: 1,
        prepare: products,
        call: withdrawal,
        answer: "withdrawn",
    },
    Verb {
        figure: "restore.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/restore.lua"),
        subjects: 1,
        prepare: |redis, count| {
            products(redis, count)?;
            let withdraw = include_str!("../../../shared/src/stock/withdraw.lua");
            each(redis, count, withdraw, |number| withdrawal(number, 1))
        },
        call: |number, _| words(&["1", gate::GATE, &product_id(number), "token"]),
        answer: "restored",
    },
    Verb {
        figure: "grant.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/grant.lua"),
        subjects: 1,
        prepare: products,
        // The second grant of each product: twice the units of the first.
        call: |number, _| {
            let product = product_id(number);
            let grant = ["60000", &product, "200", "200", "2"];
            [words(&["1", gate::GATE, NOW]), words(&grant)].concat()
        },
        answer: "granted",
    },
    Verb {
        figure: "mirror.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/mirror.lua"),
        subjects: 1,
        prepare: products,
        // Each product by a newer row: one unit fewer.
        call: |number, _| {
            let product = product_id(number);
            let keys = ["3", gate::GATE, gate::MOVED, gate::MOVED_WAKE, NOW];
            let row = ["60000", &product, "100", "99", "1", "2", "2000"];
            [words(&keys), words(&row)].concat()
        },
        answer: "granted",
    },
    Verb {
        figure: "repair.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/repair.lua"),
        subjects: 1,
        prepare: products,
        call: |number, _| {
            let product = product_id(number);
            words(&["1", gate::GATE, &product, "1", "0", STOCK_VERSION])
        },
        answer: "repaired",
    },
    Verb {
        figure: "watermark.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/watermark.lua"),
        subjects: 1,
        prepare: |_, _| Ok(()),
        call: |number, _| words(&["1", gate::WATERMARK, &format!("17{number:011}")]),
        answer: "17",
    },
];

/// Measures them.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let wanted: Vec<&Verb> = VERBS
        .iter()
        .filter(|verb| options.wants(&[verb.figure]))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let subjects = options.size(SUBJECTS, SUBJECTS_QUICK);
    let server = Server::start()?;
    let mut redis = server.connect()?;
    let mut connections = (0..CONNECTIONS)
        .map(|_| server.connect())
        .collect::<Result<Vec<_>>>()?;
    let mut bare = Vec::new();
    let mut verbs = vec![Vec::new(); wanted.len()];
    for round in 1..=ROUNDS {
        eprintln!("verbs: round {round} of {ROUNDS}");
        bare.push(cpu_us(&BARE, subjects, &mut redis, &mut connections)?);
        for (verb, figures) in wanted.iter().zip(&mut verbs) {
            figures.push(cpu_us(verb, subjects, &mut redis, &mut connections)?);
        }
    }
    for (verb, figures) in wanted.iter().zip(&verbs) {
        report.add_beside(verb.figure, least(figures), "us", least(&bare));
    }
    report.note(format!(
        "verbs: {ROUNDS} rounds of calls about {subjects} orders or products, one a call (.100: a hundred), the scripts in \
         turns; the least CPU per call of the rounds, beside the bare script"
    ));
    Ok(())
}

/// CPU time of Redis for a call, in microseconds.
fn cpu_us(
    verb: &Verb,
    subjects: usize,
    redis: &mut Client,
    connections: &mut [Client],
) -> Result<f64> {
    redis.ask(&["FLUSHALL", "SYNC"])?;
    (verb.prepare)(redis, subjects)?;
    let script = redis.ask(&["SCRIPT", "LOAD", verb.script])?;
    let calls: Vec<String> = (0..subjects)
        .step_by(verb.subjects)
        .map(|first| {
            let mut command = words(&["EVALSHA", &script]);
            command.extend((verb.call)(first, verb.subjects));
            encode(&command)
        })
        .collect();
    let before = redis.cpu()?;
    for calls in calls.chunks(connections.len()) {
        for (call, connection) in calls.iter().zip(connections.iter_mut()) {
            connection.send(call.as_bytes())?;
        }
        for (_, connection) in calls.iter().zip(connections.iter_mut()) {
            let answer = connection.reply()?;
            if !answer.starts_with(verb.answer) {
                return Err(format!("{}: answered {answer:?}", verb.figure).into());
            }
        }
    }
    let cpu = redis.cpu()? - before;
    Ok(cpu.as_secs_f64() * 1e6 / calls.len() as f64)
}

/// A gate with so many open holds, of one unit each.
fn holds(redis: &mut Client, orders: usize) -> Result<()> {
    gate::open(redis, orders as u64)?;
    each(redis, orders, gate::RESERVE, |number| {
        gate::reservation(&order(number), &format!("viewer-{number:08}"))
    })
}

/// Calls a script for each subject; a call that changed nothing shows when the verb that is measured finds another state.
fn each(
    redis: &mut Client,
    subjects: usize,
    script: &str,
    call: impl Fn(usize) -> Vec<String>,
) -> Result<()> {
    let script = redis.ask(&["SCRIPT", "LOAD", script])?;
    let commands: Vec<String> = (0..subjects)
        .map(|subject| {
            let mut command = words(&["EVALSHA", &script]);
            command.extend(call(subject));
            encode(&command)
        })
        .collect();
    redis.ask_all(&commands).map(drop)
}

/// A gate that knows so many products, by their first grants.
fn products(redis: &mut Client, products: usize) -> Result<()> {
    let known = |number: usize| {
        let product = product_id(number);
        encode(&[
            "HSET",
            gate::GATE,
            &format!("stock:{product}"),
            &format!("100 {STOCK_VERSION}"),
            &format!("granted:{product}"),
            "100 1",
        ])
    };
    let commands: Vec<String> = (0..products).map(known).collect();
    redis.ask_all(&commands).map(drop)
}

fn product_id(number: usize) -> String {
    format!("sku-{number:04}")
}

/// An order whose units go back.
fn given_back(number: usize) -> Vec<String> {
    words(&["1", gate::GATE, &order(number), "1", "back"])
}

/// The orders from the first on, each at the first revision of the ledger.
fn settled_orders(first: usize, count: usize) -> Vec<String> {
    let mut call = words(&["1", gate::GATE]);
    call.extend((first..first + count).flat_map(|number| [order(number), "1".to_owned()]));
    call
}

/// One unit of a product, by the grant it is known by.
fn withdrawal(number: usize, _count: usize) -> Vec<String> {
    let product = product_id(number);
    let arguments = [&product, "1", "1", "1", "token", NOW];
    [words(&["1", gate::GATE]), words(&arguments)].concat()
}

fn order(number: usize) -> String {
    format!("{}-{number:026}", gate::BROADCAST)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
