//! All of Onepool on one machine: a real Redis, a local AWS that `template.yaml` is deployed to, a payment sandbox, a
//! demo shop, and a show that sells it out.
//!
//! [`run`] is the whole program; [`live::start`] brings everything up for a program that wants to drive it by itself.

pub mod addresses;
pub mod aws;
pub mod config;
pub mod deploy;
pub mod emulator;
pub mod error;
pub mod folder;
pub mod gateway;
pub mod live;
pub mod marketplaces;
pub mod package;
pub mod payments;
mod ports;
pub mod processes;
pub mod redis;
mod say;
pub mod seed;
pub mod shop;
pub mod show;
mod stop;
pub mod tokens;

use std::time::Instant;

use config::{Config, Show};
use error::Result;
use folder::Folder;
use live::Live;
use processes::Processes;

/// Runs until it is told to stop, or until the shows are over. Answers whether everything held.
pub async fn run(config: &Config) -> Result<bool> {
    let folder = Folder::open(&config.dir)?;
    let processes = Processes::new(folder.logs());
    let outcome = tokio::select! {
        outcome = up_and_show(config, &folder, &processes) => outcome,
        () = stop::asked(config.until_stdin_closes) => Ok(true),
        died = processes.first_death() => Err(died),
    };
    processes.stop().await;
    folder.close(!matches!(outcome, Ok(true)));
    if outcome.is_ok() {
        say::note("모두 멈췄습니다", "everything is stopped");
    }
    outcome
}

async fn up_and_show(config: &Config, folder: &Folder, processes: &Processes) -> Result<bool> {
    let since = Instant::now();
    say::note("Onepool을 띄웁니다", "starting Onepool");
    let mut live = live::start(config, folder, processes).await?;
    let on_air = seed::demo_shop(&live).await?;
    say::note(
        &format!("{:.1}초 만에 준비됨", since.elapsed().as_secs_f64()),
        "ready",
    );
    let on_air = match config.show {
        Show::No => on_air,
        Show::Only => return Ok(show::run(&live, on_air, config.shows).await?.0),
        Show::Run => {
            let (_held, last) = show::run(&live, on_air, config.shows).await?;
            show::reopen(&live, &last).await?
        }
    };
    live.introduce(&on_air, processes)?;
    stay_up(&mut live, processes).await
}

/// Until it is told to stop: `live` has to outlive everyone who uses it.
async fn stay_up(live: &mut Live, processes: &Processes) -> Result<bool> {
    loop {
        processes.part_returned().await;
        live.renew_pids(processes)?;
    }
}
