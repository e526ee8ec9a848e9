//! The ways to run a service: to the end of the process, or beside a test.

use std::{io, net::SocketAddr};

use axum::Router;
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
};

use crate::wire::{Cut, Wires};

/// Takes a port of 127.0.0.1; 0 takes a free one. Connections wait from here on.
pub async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind(("127.0.0.1", port)).await
}

/// `http://127.0.0.1:PORT`.
pub fn base_url(listener: &TcpListener) -> io::Result<String> {
    let address: SocketAddr = listener.local_addr()?;
    Ok(format!("http://{address}"))
}

/// Serves until the future is dropped, over wires whose [`Cut`] each handler can ask for.
pub async fn serve(listener: TcpListener, app: Router) -> io::Result<()> {
    let app = app.into_make_service_with_connect_info::<Cut>();
    axum::serve(Wires(listener), app).await
}

/// What runs inside this process until it is dropped.
#[derive(Debug)]
pub struct Beside(JoinHandle<io::Result<()>>);

impl Beside {
    /// Begins at once.
    pub fn start(served: impl Future<Output = io::Result<()>> + Send + 'static) -> Self {
        Self(tokio::spawn(served))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// SIGTERM and Ctrl-C, caught.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// To be caught before the line that says it is ready: whoever reads it may send one at once.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Serves until one of them comes.
    pub async fn or(mut self, served: impl Future<Output = io::Result<()>>) -> io::Result<()> {
        tokio::select! {
            served = served => served,
            _ = self.terminate.recv() => Ok(()),
            _ = self.interrupt.recv() => Ok(()),
        }
    }
}
