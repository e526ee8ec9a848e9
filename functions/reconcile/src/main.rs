//! `reconcile`: once a minute, what expired is given back and gate and ledger are compared.

use lambda_runtime::{Error, LambdaEvent, run, service_fn, tracing};
use onepool::{app, metric};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
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
