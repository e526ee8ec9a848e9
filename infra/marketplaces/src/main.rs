//! Runs the marketplaces until SIGTERM or Ctrl-C.

use std::io;

use marketplaces::{Listeners, Settings};
use tokio::signal::unix::{SignalKind, signal};

#[tokio::main]
async fn main() -> io::Result<()> {
    // Before the ready lines: whoever reads them may send the signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let listeners = Listeners::bind(Settings::from_env()?).await?;
    for (name, base_url) in listeners.base_urls()? {
        println!("{name} listening on {base_url}");
    }

    tokio::select! {
        served = listeners.serve() => served,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
