//! `channel-poll`: what channels sold comes into the ledger.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, batch::Invocation, log, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    metric::install("channel-poll")?;
    let (pull, queue) = app::channel_poll()?;
    run(service_fn(async |event: LambdaEvent<Invocation<_>>| {
        let outcome = event.payload.handle(&queue, |wake| pull.run(wake)).await;
        metric::flush();
        Ok::<_, Error>(outcome?)
    }))
    .await
}
