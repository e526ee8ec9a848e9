//! The crowd of a room, a process of its own: `infra/bench/crowd`. It is asked by one argument and tells what came of it.

use std::{
    borrow::Cow,
    io::{BufRead, BufReader, Lines},
};

use serde::Serialize;
use serde_json::Value;

use crate::{
    Result,
    function::{self, Services},
    process::Process,
};

const NAME: &str = "onepool-bench-crowd";

/// What it is asked.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Task<'a> {
    /// A room full of viewers.
    Room(&'a Plan<'a>),
    /// Posts to a connection, weighed.
    Post {
        callback_url: String,
        rounds: usize,
        posts: usize,
    },
}

/// A room full of viewers, and what happens in it. The crowd's `plan.rs` says what each means.
#[derive(Clone, Serialize)]
pub struct Plan<'a> {
    pub gateway: String,
    pub broadcast: Cow<'a, str>,
    pub product: Cow<'a, str>,
    pub units: u64,
    pub viewers: usize,
    pub chats_per_s: f64,
    pub chats_at_once: usize,
    pub orders_per_s: f64,
    pub seconds: f64,
    pub come_back_within_s: Option<f64>,
}

/// A crowd at its task.
pub struct Crowd {
    lines: Lines<BufReader<std::process::ChildStdout>>,
    _process: Process,
}

impl Crowd {
    /// Starts one.
    pub fn start(task: &Task<'_>, services: Services) -> Result<Self> {
        let mut command = function::bound(NAME, services)?;
        command.arg(serde_json::to_string(task)?);
        let (process, out) = Process::start_heard(&mut command)?;
        Ok(Self {
            lines: BufReader::new(out).lines(),
            _process: process,
        })
    }

    /// Waits for the next it tells, which must be of `what`.
    pub fn hear(&mut self, what: &str) -> Result<Value> {
        let line = self
            .lines
            .next()
            .ok_or("the crowd ended without a word")??;
        let mut word: Value = serde_json::from_str(&line)?;
        if let Some(failure) = word["failed"].as_str() {
            return Err(format!("the crowd failed: {failure}").into());
        }
        match word.get_mut(what) {
            Some(told) => Ok(told.take()),
            None => Err(format!("the crowd told {line}, not {what}").into()),
        }
    }
}

/// A number in what a crowd told.
pub fn number(told: &Value, name: &str) -> Result<f64> {
    let number = told[name].as_f64();
    number.ok_or_else(|| format!("the crowd told no {name}: {told}").into())
}
