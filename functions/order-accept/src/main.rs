//! `order-accept`: holds the units, puts the order on the queue, answers 202; and says what became of it.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, http::HttpEvent, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let api: &'static _ = Box::leak(Box::new(app::order_accept()?));
    // Boxed, because the layers of the runtime hand it on by value.
    let serve = service_fn(move |event: LambdaEvent<HttpEvent>| {
        Box::pin(async move { Ok::<_, Error>(api.serve(event.payload).await) })
    });
    // As a task: its connections wake it without asking the kernel, as they would have to for the main future.
    tokio::spawn(run(serve)).await?
}
