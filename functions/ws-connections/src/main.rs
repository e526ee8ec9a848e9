//! `ws-connections`: viewers come, chat, like and go.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, log, room::socket::SocketEvent};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    let sockets = app::ws_connections()?;
    run(service_fn(async |event: LambdaEvent<SocketEvent>| {
        Ok::<_, Error>(sockets.serve(event.payload).await?)
    }))
    .await
}
