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

const VERBS: [Verb; 5] = [
    Verb {
        figure: "confirm.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/confirm.lua"),
        subjects: 1,
        prepare: holds,
        call: orders,
        answer: "confirmed",
    },
    Verb {
        // As `order-process` calls it: all of a batch at once.
        figure: "confirm.redis_cpu_us.100",
        script: include_str!("../../../shared/src/stock/confirm.lua"),
        subjects: 100,
        prepare: holds,
        call: orders,
        answer: "confirmed",
    },
    Verb {
        figure: "release.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/release.lua"),
        subjects: 1,
        prepare: holds,
        call: orders,
        answer: "released",
    },
    Verb {
        figure: "withdraw.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/withdraw.lua"),
        subjects: 1,
        prepare: |redis, subjects| gate::open(redis, subjects as u64),
        // One unit, of a gate that follows the first grant.
        call: |_, _| words(&["1", gate::GATE, gate::PRODUCT, "1", "1", "1"]),
        answer: "withdrawn",
    },
    Verb {
        figure: "grant.redis_cpu_us",
        script: include_str!("../../../shared/src/stock/grant.lua"),
        subjects: 1,
        prepare: products,
        // The second grant of each product: twice the units of the first.
        call: |product, _| {
            let product = product_id(product);
            words(&[
                "1",
                gate::GATE,
                "1700000000000",
                &product,
                "200",
                "200",
                "2",
            ])
        },
        answer: "granted",
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
    let script = redis.ask(&["SCRIPT", "LOAD", gate::RESERVE])?;
    let reserve = |number: usize| {
        let mut command = words(&["EVALSHA", &script]);
        command.extend(gate::reservation(
            &order(number),
            &format!("viewer-{number:08}"),
        ));
        encode(&command)
    };
    let commands: Vec<String> = (0..orders).map(reserve).collect();
    let answers = redis.ask_all(&commands)?;
    match answers
        .iter()
        .find(|answer| !answer.starts_with("reserved"))
    {
        Some(answer) => Err(format!("a hold was answered {answer:?}").into()),
        None => Ok(()),
    }
}

/// A gate that knows so many products, by their first grants.
fn products(redis: &mut Client, products: usize) -> Result<()> {
    let known = |number: usize| {
        let product = product_id(number);
        encode(&[
            "HSET",
            gate::GATE,
            &format!("stock:{product}"),
            "100 1700000000000000",
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

/// The orders from the first on, of the one gate.
fn orders(first: usize, count: usize) -> Vec<String> {
    let mut call = words(&["1", gate::GATE]);
    call.extend((first..first + count).map(order));
    call
}

fn order(number: usize) -> String {
    format!("{}-{number:026}", gate::BROADCAST)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}
