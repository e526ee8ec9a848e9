//! What stands in front of the APIs: short addresses, and the limits of API Gateway that the emulator does not have.

mod http;
mod websocket;

use std::net::Ipv4Addr;
use std::time::Instant;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::aws::Aws;
use crate::config::Config;
use crate::deploy::Stack;
use crate::error::{Context, Error, Result};
use crate::say;

/// The name of the WebSocket stage in `template.yaml`.
const WEBSOCKET_STAGE: &str = "live";

/// The two open doors; they close when this is dropped.
pub struct Gateway {
    /// `http://127.0.0.1:port`
    pub http: String,
    /// `ws://127.0.0.1:port/live`
    pub websocket: String,
    _servers: JoinSet<()>,
}

/// The door through which functions reach viewers; it closes when this is dropped.
pub struct Callbacks {
    /// The base that API and stage are appended to.
    pub url: String,
    _server: JoinSet<()>,
}

/// Opens the door for callbacks: the functions are deployed with its address.
pub async fn callbacks(aws: &Aws) -> Result<Callbacks> {
    let mut server = JoinSet::new();
    let router = http::router(&aws.endpoint, http::CALLBACKS);
    let port = serve(&mut server, 0, "port", router).await?;
    let url = format!("http://127.0.0.1:{port}/_aws/execute-api");
    Ok(Callbacks {
        url,
        _server: server,
    })
}

/// Opens both doors to the deployed APIs.
pub async fn open(config: &Config, aws: &Aws, stack: &Stack) -> Result<Gateway> {
    let since = Instant::now();
    let execute_api = format!("{}/_aws/execute-api", aws.endpoint);
    let http_api = http::router(
        &format!("{execute_api}/{}/$default", stack.output("HttpApiId")?),
        http::HTTP_API,
    );
    let room = execute_api.replacen("http", "ws", 1);
    let websocket_api = websocket::router(&format!(
        "{room}/{}/{WEBSOCKET_STAGE}",
        stack.output("WebSocketApiId")?
    ));

    let mut servers = JoinSet::new();
    let http_port = serve(
        &mut servers,
        config.http_port,
        "ONEPOOL_HTTP_PORT",
        http_api,
    )
    .await?;
    let websocket_port = serve(
        &mut servers,
        config.websocket_port,
        "ONEPOOL_WS_PORT",
        websocket_api,
    )
    .await?;
    let http = format!("http://127.0.0.1:{http_port}");
    let websocket = format!("ws://127.0.0.1:{websocket_port}/{WEBSOCKET_STAGE}");
    say::ready("http", &http, since);
    say::ready("websocket", &websocket, since);
    Ok(Gateway {
        http,
        websocket,
        _servers: servers,
    })
}

async fn serve(
    servers: &mut JoinSet<()>,
    port: u16,
    variable: &str,
    router: Router,
) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| {
            Error::new(format!("port {port}: {error}")).fix(format!(
                "choose another {variable}, or leave it away for a free one"
            ))
        })?;
    let port = listener
        .local_addr()
        .context(|| "address of the gateway".into())?
        .port();
    servers.spawn(async move {
        // It ends only with the task.
        let _ended = axum::serve(listener, router).await;
    });
    Ok(port)
}
