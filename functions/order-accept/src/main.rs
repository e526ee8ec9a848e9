//! `order-accept`: holds the units, puts the order on the queue, answers 202; and says what became of it.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, http::HttpEvent, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let api = app::order_accept()?;
    run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, Error>(api.serve(event.payload).await)
    }))
    .await
}
