//! Runs the payment sandbox until SIGTERM or Ctrl-C.

use std::io;

use fakes::server::{Signals, base_url, bind};
use payment_sandbox::{Settings, serve};

#[tokio::main]
async fn main() -> io::Result<()> {
    let signals = Signals::catch()?;
    let settings = Settings::from_env()?;
    let listener = bind(settings.port).await?;
    println!("payment-sandbox listening on {}", base_url(&listener)?);
    signals.or(serve(listener, settings)).await
}
