//! Runs the marketplaces until SIGTERM or Ctrl-C.

use std::io;

use fakes::server::Signals;
use marketplaces::{Listeners, Settings};

#[tokio::main]
async fn main() -> io::Result<()> {
    let signals = Signals::catch()?;
    let listeners = Listeners::bind(Settings::from_env()?).await?;
    for (name, base_url) in listeners.base_urls()? {
        println!("{name} listening on {base_url}");
    }
    signals.or(listeners.serve()).await
}
