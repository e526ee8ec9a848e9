//! Runs the payment sandbox until SIGTERM or Ctrl-C.

use std::io;

use payment_sandbox::{Settings, serve};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[tokio::main]
async fn main() -> io::Result<()> {
    // Before the ready line: whoever reads it may send the signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    let settings = Settings::from_env()?;
    let listener = TcpListener::bind(("127.0.0.1", settings.port)).await?;
    println!(
        "payment-sandbox listening on http://{}",
        listener.local_addr()?
    );

    tokio::select! {
        served = serve(listener, settings) => served,
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
    }
}
