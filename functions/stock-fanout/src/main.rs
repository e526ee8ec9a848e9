//! `stock-fanout`: the pump. Sends a room's frames to its viewers.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use onepool::{app, batch};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let (pump, queue) = app::stock_fanout()?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(batch::each(event.payload, &queue, |wake| pump.run(wake)).await)
    }))
    .await
}
