//! Signed requests without the SDK: hyper and the SDK's own signer.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use aws_credential_types::Credentials;
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SigningSettings, sign},
    sign::v4::SigningParams,
};
use aws_smithy_runtime_api::client::identity::Identity;
use axum::body::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};

use super::{ATTEMPTS, BACKOFF, Patience};
use crate::{
    config::AwsConfig,
    error::{Certainty, Error},
};

/// How long an idle connection is kept. Services and the NAT close theirs later.
const IDLE: Duration = Duration::from_secs(50);
/// The most of an answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

type Https = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Posts requests in the AWS JSON protocol to one service.
pub(crate) struct SignedPost {
    config: AwsConfig,
    identity: Identity,
    service: &'static str,
    patience: Patience,
    client: OnceLock<Https>,
}

impl SignedPost {
    pub(super) fn new(config: AwsConfig, service: &'static str, patience: Patience) -> Self {
        let identity = Credentials::from_keys(
            config.access_key_id.clone(),
            config.secret_access_key.reveal(),
            config
                .session_token
                .as_ref()
                .map(|token| token.reveal().to_owned()),
        )
        .into();
        Self {
            config,
            identity,
            service,
            patience,
            client: OnceLock::new(),
        }
    }

    /// Posts `body` to `url` as a call of `target`, whose repetition must do no harm: it is tried again when it may have
    /// failed in passing.
    ///
    /// # Errors
    /// [`Error::Aws`]: definite if the service refused, or was never reached; else its outcome is unknown.
    pub(crate) async fn send(
        &self,
        call: &'static str,
        url: &str,
        target: &str,
        body: String,
    ) -> Result<(), Error> {
        let body = Bytes::from(body);
        let mut certainty = Certainty::Definite;
        let mut attempt = 1;
        loop {
            let request = self
                .signed(url, target, body.clone())
                .map_err(|source| Error::Aws {
                    call,
                    certainty: Certainty::Definite,
                    source,
                })?;
            let failure =
                match tokio::time::timeout(self.patience.attempt(), self.once(request)).await {
                    Ok(Ok(())) => return Ok(()),
                    Ok(Err(failure)) => failure,
                    Err(_elapsed) => Failure::unknown("no answer in time"),
                };
            // One attempt that may have gone through makes the whole call unknown, whatever the next one says.
            if failure.certainty == Certainty::Unknown {
                certainty = Certainty::Unknown;
            }
            if !failure.passing || attempt == ATTEMPTS {
                return Err(Error::Aws {
                    call,
                    certainty,
                    source: failure.cause,
                });
            }
            attempt += 1;
            tokio::time::sleep(BACKOFF.mul_f64(fastrand::f64())).await;
        }
    }

    fn signed(&self, url: &str, target: &str, body: Bytes) -> Result<Request<Full<Bytes>>, Cause> {
        let url: Uri = url.parse()?;
        let host = url
            .authority()
            .ok_or("a URL without a host")?
            .as_str()
            .to_owned();
        let headers = [
            ("host", host.as_str()),
            ("content-type", "application/x-amz-json-1.0"),
            ("x-amz-target", target),
        ];
        let parameters = SigningParams::builder()
            .identity(&self.identity)
            .region(&self.config.region)
            .name(self.service)
            .time(SystemTime::now())
            .settings(SigningSettings::default())
            .build()?
            .into();
        let text = url.to_string();
        let signable = SignableRequest::new(
            "POST",
            &text,
            headers.into_iter(),
            SignableBody::Bytes(&body),
        )?;
        let (instructions, _signature) = sign(signable, &parameters)?.into_parts();
        let mut request = Request::post(url);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let mut request = request.body(Full::new(body.clone()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }

    async fn once(&self, request: Request<Full<Bytes>>) -> Result<(), Failure> {
        let answer = self
            .client()
            .request(request)
            .await
            .map_err(|error| Failure {
                certainty: if error.is_connect() {
                    Certainty::Definite
                } else {
                    Certainty::Unknown
                },
                passing: true,
                cause: Box::new(error),
            })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER).collect().await;
        if status.is_success() {
            return Ok(());
        }
        let said = body
            .map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned())
            .unwrap_or_default();
        let throttled = status == StatusCode::TOO_MANY_REQUESTS || said.contains("Throttl");
        Err(Failure {
            certainty: if status.is_client_error() {
                Certainty::Definite
            } else {
                Certainty::Unknown
            },
            passing: status.is_server_error() || throttled,
            cause: format!("{status}: {said}").into(),
        })
    }

    fn client(&self) -> &Https {
        self.client.get_or_init(|| {
            let mut tcp = HttpConnector::new();
            tcp.set_nodelay(true);
            tcp.enforce_http(false);
            tcp.set_connect_timeout(Some(self.patience.attempt()));
            let connector = HttpsConnectorBuilder::new()
                .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
                .unwrap_or_else(|_| HttpsConnectorBuilder::new().with_webpki_roots())
                .https_or_http()
                .enable_http1()
                .wrap_connector(tcp);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector)
        })
    }
}

struct Failure {
    certainty: Certainty,
    /// Whether another try may succeed.
    passing: bool,
    cause: Cause,
}

impl Failure {
    fn unknown(cause: &'static str) -> Self {
        Self {
            certainty: Certainty::Unknown,
            passing: true,
            cause: cause.into(),
        }
    }
}
