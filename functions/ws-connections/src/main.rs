//! `ws-connections`: viewers come, chat, like and go.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use onepool::{app, room::socket::SocketEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let sockets = app::ws_connections()?;
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        Ok::<_, Error>(sockets.serve(event.payload).await?)
    }))
    .await
}
