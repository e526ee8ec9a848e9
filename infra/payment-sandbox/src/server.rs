//! The routes, and the two ways to run them: to the end of the process, or beside a test.

use std::{io, sync::Arc};

use axum::{
    Router,
    extract::{ConnectInfo, Path, Request, State},
    response::Response,
    routing::{get, post},
};
use fakes::{
    Cut,
    server::{self, Beside, base_url, bind},
};
use tokio::net::TcpListener;

use crate::{
    answer::{Answer, Refusal},
    control,
    exchange::exchange,
    requests::Call,
    settings::Settings,
    webhooks::{Outbox, deliver},
    world::Shared,
};

/// Serves the sandbox on the listener until the future is dropped.
pub async fn serve(listener: TcpListener, settings: Settings) -> io::Result<()> {
    let (outbox, events) = Outbox::new(&settings);
    let shared = Arc::new(Shared::new(settings, outbox));
    let app = router().with_state(Arc::clone(&shared));
    tokio::try_join!(server::serve(listener, app), deliver(shared, events))?;
    Ok(())
}

/// A sandbox that runs inside this process until it is dropped.
#[derive(Debug)]
pub struct Sandbox {
    base_url: String,
    _server: Beside,
}

impl Sandbox {
    /// Starts one on `settings.port` of 127.0.0.1.
    pub async fn start(settings: Settings) -> io::Result<Self> {
        let listener = bind(settings.port).await?;
        Ok(Self {
            base_url: base_url(&listener)?,
            _server: Beside::start(serve(listener, settings)),
        })
    }

    /// `http://127.0.0.1:PORT`, to be configured in place of the real service's address.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }
}

fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/billing/{billing_key}", post(billing))
        .route("/v1/payments/confirm", post(confirm))
        .route("/v1/payments/{payment_key}", get(lookup_by_key))
        .route("/v1/payments/orders/{order_id}", get(lookup_by_order))
        .route("/v1/payments/{payment_key}/cancel", post(cancel))
        .merge(control::router())
        .fallback(nowhere)
}

type Sender = ConnectInfo<Cut>;

async fn billing(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): Sender,
    Path(billing_key): Path<String>,
    request: Request,
) -> Response {
    answer(shared, cut, Call::Billing { billing_key }, request).await
}

async fn confirm(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): Sender,
    request: Request,
) -> Response {
    answer(shared, cut, Call::Confirm, request).await
}

async fn lookup_by_key(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): Sender,
    Path(payment_key): Path<String>,
    request: Request,
) -> Response {
    answer(shared, cut, Call::LookupByKey { payment_key }, request).await
}

async fn lookup_by_order(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): Sender,
    Path(order_id): Path<String>,
    request: Request,
) -> Response {
    answer(shared, cut, Call::LookupByOrder { order_id }, request).await
}

async fn cancel(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(cut): Sender,
    Path(payment_key): Path<String>,
    request: Request,
) -> Response {
    answer(shared, cut, Call::Cancel { payment_key }, request).await
}

async fn answer(shared: Arc<Shared>, cut: Cut, call: Call, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    exchange(shared, cut, call, parts, body).await
}

async fn nowhere() -> Answer {
    Refusal::new("NOT_FOUND", "There is no such endpoint.").into()
}
