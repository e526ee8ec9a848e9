//! The ways to be told to stop.

use tokio::io::AsyncReadExt;
use tokio::signal::unix::{SignalKind, signal};

/// Waits for Ctrl-C, SIGTERM or a closed terminal; where asked to, also for the end of standard input.
pub async fn asked(until_stdin_closes: bool) {
    tokio::select! {
        () = signalled(SignalKind::interrupt()) => {}
        () = signalled(SignalKind::terminate()) => {}
        () = signalled(SignalKind::hangup()) => {}
        () = stdin_closed(), if until_stdin_closes => {}
    }
    println!();
}

async fn signalled(kind: SignalKind) {
    match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Without a handler the signal ends the process by itself.
        Err(_unavailable) => std::future::pending().await,
    }
}

async fn stdin_closed() {
    let mut ignored = [0; 1024];
    let mut stdin = tokio::io::stdin();
    while matches!(stdin.read(&mut ignored).await, Ok(length) if length > 0) {}
}
