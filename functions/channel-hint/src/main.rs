//! `channel-hint`: the own store's backend says that something happened there, and it is pulled.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, http::HttpEvent, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let api = app::channel_hint()?;
    run(service_fn(async |event: LambdaEvent<HttpEvent>| {
        Ok::<_, Error>(api.serve(event.payload).await)
    }))
    .await
}
