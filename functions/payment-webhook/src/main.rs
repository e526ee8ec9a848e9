//! `payment-webhook`: hears of money - the buyer pays, an order is taken back, the gateway says that something happened.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, http::HttpEvent, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let api = app::payment_webhook()?;
    run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, Error>(api.serve(event.payload).await)
    }))
    .await
}
