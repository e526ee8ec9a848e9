//! `order-process`: writes orders into the ledger, settles their payment, confirms or gives back, tells the buyer.

use aws_lambda_events::sqs::SqsEvent;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, batch, log, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    metric::install("order-process")?;
    let (settlement, queue) = app::order_process()?;
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let settle = async |messages| settlement.settle(messages).await;
        let answer = batch::together(event.payload, &queue, settle).await;
        metric::flush();
        Ok::<_, Error>(answer)
    }))
    .await
}
