//! `channel-sync`: what the pool has is shown on every channel.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, batch::Invocation, log, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    metric::install("channel-sync")?;
    let (push, queue) = app::channel_sync()?;
    run(service_fn(async |event: LambdaEvent<Invocation<_>>| {
        let outcome = event.payload.handle(&queue, |wake| push.handle(wake)).await;
        metric::flush();
        Ok::<_, Error>(outcome?)
    }))
    .await
}
