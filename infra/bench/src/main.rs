//! `make bench`: measures Onepool's own processes. `README.md` says what each figure means.

mod accept;
mod callgrind;
mod events;
mod function;
mod gate;
mod http;
mod load;
mod process;
mod redis;
mod report;
mod reserve;
mod runtime_api;
mod sqs_stub;
mod startup;

use std::{path::PathBuf, process::ExitCode};

use report::{Filter, Report};

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
    if cfg!(debug_assertions) {
        return Err("an unoptimised build says nothing: run `make bench`".into());
    }
    let filter = Filter::from_args(std::env::args().skip(1))?;
    let target = target_folder()?;
    let mut report = Report::default();
    let measured = measure(&filter, &mut report);

    // What was measured before a failure is worth seeing.
    report.print();
    let path = target.join("bench/report.json");
    report.write(&path)?;
    println!("\n{}", path.display());
    measured?;
    if report.is_empty() {
        return Err("no figure has that in its name".into());
    }
    Ok(())
}

fn measure(filter: &Filter, report: &mut Report) -> Result<()> {
    // The short ones first, and those that need a quiet machine before the one that heats it.
    startup::measure(filter, report)?;
    reserve::measure(filter, report)?;
    accept::measure(filter, report)
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
