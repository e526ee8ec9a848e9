//! `broadcast-admin`: catalogue, stock, broadcasts and spotlight, for operators and hosts.

use lambda_http::{Error, run, tracing};
use onepool::{app, http::studio::router};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    run(router(app::broadcast_admin()?)).await
}
