//! `stock-fanout`: the pump. Sends a room's frames to its viewers.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, batch, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let (pump, queue) = app::stock_fanout()?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        Ok::<_, Error>(batch::each(event.payload, &queue, |wake| pump.run(wake)).await)
    }))
    .await
}
