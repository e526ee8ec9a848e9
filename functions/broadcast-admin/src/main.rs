//! `broadcast-admin`: catalogue, stock, broadcasts and spotlight, for operators and hosts.

use lambda_http::{Error, run};
use onepool::{app, http::studio::router, log};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    run(router(app::broadcast_admin()?)).await
}
