//! `reserve.*`: the reserve script against the least a script can do, both in one Redis, in turns.

use std::time::Duration;

use crate::{
    Result, gate,
    options::Options,
    process,
    redis::{Client, Server},
    report::{Report, least, median},
};

/// A counter and nothing else: what flash-sale articles use. Reading it is all of its safety.
pub const BARE: &str = "local s = tonumber(redis.call('GET', KEYS[1])) \
    if s and s >= tonumber(ARGV[1]) then redis.call('DECRBY', KEYS[1], ARGV[1]) return 1 end return 0";
/// The counter.
pub const COUNTER: &str = "{bench}:stock";

/// The machine is never quite still: many short rounds, the subjects in turns.
const ROUNDS: usize = 7;
const CALLS: u64 = 60_000;
const WARM_UP_CALLS: u64 = 10_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// More than all calls of a round take.
const PLENTY: u64 = 1_000_000_000;
/// redis-benchmark writes twelve digits for this; of two billion, so that a round has next to no order twice.
const RANDOM: &str = "__rand_int__";
const RANDOM_BELOW: &str = "2000000000";

const FIGURES: [&str; 6] = [
    "reserve.rate_vs_bare",
    "reserve.ops_per_s",
    "reserve.bare_ops_per_s",
    "reserve.redis_cpu_us",
    "reserve.sold_out_redis_cpu_us",
    "reserve.sold_out_ops_per_s",
];

/// One subject in one round.
struct Measured {
    per_second: f64,
    cpu_us: f64,
}

#[derive(Default)]
struct Series {
    rates: Vec<f64>,
    cpu_us: Vec<f64>,
}

impl Series {
    fn push(&mut self, measured: &Measured) {
        self.rates.push(measured.per_second);
        self.cpu_us.push(measured.cpu_us);
    }
}

struct Bench {
    server: Server,
    redis: Client,
    bare: String,
    reserve: String,
}

/// Measures them.
pub fn measure(options: &Options, report: &mut Report) -> Result<()> {
    if !options.wants(&FIGURES) {
        return Ok(());
    }
    if !process::installed("redis-benchmark") {
        return Err("redis-benchmark is not installed: it comes with redis-server".into());
    }
    let server = Server::start()?;
    let mut redis = server.connect()?;
    let bare = redis.ask(&["SCRIPT", "LOAD", BARE])?;
    let reserve = redis.ask(&["SCRIPT", "LOAD", gate::RESERVE])?;
    let mut bench = Bench {
        server,
        redis,
        bare,
        reserve,
    };

    eprintln!("reserve: warming up");
    bench.bare(WARM_UP_CALLS)?;
    bench.reserve(WARM_UP_CALLS)?;
    let (mut bare, mut taken, mut sold_out) =
        (Series::default(), Series::default(), Series::default());
    for round in 1..=ROUNDS {
        eprintln!("reserve: round {round} of {ROUNDS}");
        bare.push(&bench.bare(CALLS)?);
        taken.push(&bench.reserve(CALLS)?);
        sold_out.push(&bench.sold_out(CALLS)?);
    }

    let ratios = taken
        .rates
        .iter()
        .zip(&bare.rates)
        .map(|(ours, bare)| ours / bare)
        .collect();
    let bare_cpu_us = least(&bare.cpu_us);
    report.add_beside("reserve.rate_vs_bare", median(ratios), "ratio", 1.0);
    let bare_rate = median(bare.rates);
    report.add_beside("reserve.ops_per_s", median(taken.rates), "ops/s", bare_rate);
    report.add("reserve.bare_ops_per_s", bare_rate, "ops/s");
    report.add_beside(
        "reserve.redis_cpu_us",
        least(&taken.cpu_us),
        "us",
        bare_cpu_us,
    );
    report.add_beside(
        "reserve.sold_out_redis_cpu_us",
        least(&sold_out.cpu_us),
        "us",
        bare_cpu_us,
    );
    report.add_beside(
        "reserve.sold_out_ops_per_s",
        median(sold_out.rates),
        "ops/s",
        bare_rate,
    );
    report.note(format!(
        "reserve: {ROUNDS} rounds of {CALLS} calls, the scripts in turns; rates and their ratio are the median of the \
         rounds, CPU per call is the least"
    ));
    Ok(())
}

impl Bench {
    fn bare(&mut self, calls: u64) -> Result<Measured> {
        self.redis.ask(&["FLUSHALL", "SYNC"])?;
        self.redis.ask(&["SET", COUNTER, &PLENTY.to_string()])?;
        let measured = self.calls(calls, &[&self.bare.clone(), "1", COUNTER, "1"])?;
        let left = self.redis.ask_number(&["GET", COUNTER])?;
        expect(
            PLENTY - left == calls,
            "the bare script did not count every call",
        )?;
        Ok(measured)
    }

    fn reserve(&mut self, calls: u64) -> Result<Measured> {
        gate::open(&mut self.redis, PLENTY)?;
        let measured = self.orders(calls)?;
        let held = PLENTY - gate::left(&mut self.redis)?;
        let orders = self.redis.ask_number(&["LLEN", gate::DEADLINES])?;
        // A number drawn twice is an order told again.
        expect(
            held == orders && held > calls - calls / 1_000,
            "the script did not take every order",
        )?;
        Ok(measured)
    }

    fn sold_out(&mut self, calls: u64) -> Result<Measured> {
        gate::open(&mut self.redis, 0)?;
        let measured = self.orders(calls)?;
        expect(
            gate::left(&mut self.redis)? == 0,
            "the script sold what was not there",
        )?;
        expect(
            self.redis.ask_number(&["HLEN", gate::GATE])? == 4,
            "an order was held though nothing was left",
        )?;
        Ok(measured)
    }

    /// One unit an order, every order with a new id and of a new viewer.
    fn orders(&mut self, calls: u64) -> Result<Measured> {
        let order = format!("{}-4q7nbkz2xw5c3v{RANDOM}", gate::BROADCAST);
        let viewer = format!("viewer-{RANDOM}");
        let mut words = vec![self.reserve.clone()];
        words.extend(gate::reservation(&order, &viewer));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.calls(calls, &words)
    }

    /// 50 connections, one call at a time on each.
    fn calls(&mut self, calls: u64, arguments: &[&str]) -> Result<Measured> {
        let before = self.redis.cpu()?;
        let mut command = process::bound("redis-benchmark");
        command.args([
            "-p",
            &self.server.port.to_string(),
            "-c",
            "50",
            "-n",
            &calls.to_string(),
        ]);
        command
            .args(["-r", RANDOM_BELOW, "--csv", "EVALSHA"])
            .args(arguments);
        let output = process::output(&mut command, PATIENCE)?;
        let cpu = self.redis.cpu()? - before;
        let text = String::from_utf8_lossy(&output.stdout);
        let per_second = rate(&text).ok_or_else(|| {
            format!(
                "redis-benchmark said {text:?} {:?}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
        Ok(Measured {
            per_second,
            cpu_us: cpu.as_secs_f64() * 1e6 / calls as f64,
        })
    }
}

/// Of `"name","rate",...` in the last line. The name is the whole command, quotes and all: the numbers are counted from the
/// end, the rate and six latencies.
fn rate(csv: &str) -> Option<f64> {
    csv.lines()
        .last()?
        .rsplit(',')
        .nth(6)?
        .trim_matches('"')
        .parse()
        .ok()
}

fn expect(holds: bool, otherwise: &'static str) -> Result<()> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_read_whatever_the_command_contains() {
        let csv = "\"test\",\"rps\",\"avg\",\"min\",\"p50\",\"p95\",\"p99\",\"max\"\n\
                   \"EVALSHA a 1 b,c\",\"49019.61\",\"1\",\"2\",\"3\",\"4\",\"5\",\"6\"\n";
        assert_eq!(rate(csv), Some(49_019.61));
        assert_eq!(rate(""), None);
    }
}
