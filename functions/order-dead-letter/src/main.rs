//! `order-dead-letter`: ends the orders that nobody could settle, and raises the alarm.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, batch, log, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    metric::install("order-dead-letter")?;
    let (settlement, queue) = app::order_dead_letter()?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let give_up = |message| settlement.give_up(message);
        let answer = batch::each(event.payload, &queue, give_up).await;
        metric::flush();
        Ok::<_, Error>(answer)
    }))
    .await
}
