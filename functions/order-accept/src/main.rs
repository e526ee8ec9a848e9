//! `order-accept`: holds the units, puts the order on the queue, answers 202; and says what became of it.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use onepool::{app, http::HttpEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let api = app::order_accept()?;
    run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, Error>(api.serve(event.payload).await)
    }))
    .await
}
