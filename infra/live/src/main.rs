//! `make live`: all of Onepool on this machine.

use std::process::ExitCode;

use onepool_live::config::Config;

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Config::from_env() {
        Ok(config) => onepool_live::run(&config).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("\n실패 · failed: {error}");
            ExitCode::FAILURE
        }
    }
}
