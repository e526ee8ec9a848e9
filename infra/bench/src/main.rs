//! `make bench`: measures Onepool's own processes. `README.md` says what each figure means.

mod accept;
mod aws;
mod burst;
mod callgrind;
mod channels;
mod client;
mod crowd;
mod dynamodb;
mod events;
mod fakes;
mod files;
mod function;
mod gate;
mod gateway;
mod http;
mod load;
mod mall;
mod messages;
mod options;
mod payments;
mod process;
mod propagation;
mod pulls;
mod recover;
mod redis;
mod report;
mod reserve;
mod room;
mod runtime_api;
mod scarce;
mod sender;
mod settle;
mod shop;
mod show;
mod sockets;
mod startup;
mod verbs;
mod wakes;
mod wire;

use std::{path::PathBuf, process::ExitCode};

use options::Options;
use report::Report;

/// What went wrong, as a sentence.
type Error = Box<dyn std::error::Error + Send + Sync>;
type Result<T> = std::result::Result<T, Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    if cfg!(not(target_os = "linux")) {
        return Err("the bench reads CPU time and memory from /proc: it needs Linux".into());
    }
    let options = Options::from_args(std::env::args().skip(1))?;
    if cfg!(debug_assertions) && options.profile.is_none() {
        return Err(
            "an unoptimised build says nothing: run `make bench`; `--profile debug` shows whether the bench works".into(),
        );
    }
    let target = target_folder()?;
    if let Some(profile) = &options.profile {
        function::take_from(target.join(profile))?;
    }
    let mut report = Report::default();
    let measured = measure(&options, &mut report);

    // What was measured before a failure is worth seeing.
    report.print();
    let path = target.join(if options.is_look() {
        "bench/look.json"
    } else {
        "bench/report.json"
    });
    // So is what an earlier run measured, where this one did not get to.
    report.write(&path, options.is_part() || measured.is_err())?;
    println!("\n{}", path.display());
    measured?;
    if report.is_empty() {
        return Err("no figure has that in its name".into());
    }
    Ok(())
}

fn measure(options: &Options, report: &mut Report) -> Result<()> {
    // The short ones first, and those that need a quiet machine before those that heat it.
    startup::measure(options, report)?;
    reserve::measure(options, report)?;
    verbs::measure(options, report)?;
    accept::measure(options, report)?;
    sender::measure(options, report)?;
    room::measure(options, report)?;
    settle::measure(options, report)?;
    recover::measure(options, report)?;
    channels::measure(options, report)?;
    burst::measure(options, report)
}

/// The `target` folder: this program is in `target/release`, and the functions are beside it.
fn target_folder() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program
        .parent()
        .and_then(|release| release.parent())
        .ok_or("the bench must run from its target folder")?;
    Ok(folder.to_owned())
}
