//! `reconcile`: once a minute, what expired is given back and gate and ledger are compared.

use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use onepool::{app, log, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    log::init();
    metric::install("reconcile")?;
    let reconcile = app::reconcile()?;
    run(service_fn(
        async |_schedule: LambdaEvent<serde_json::Value>| {
            let report = reconcile.run().await;
            metric::flush();
            Ok::<_, Error>(report?)
        },
    ))
    .await
}
