//! The AWS clients, each built at its first call.
//!
//! Building one loads the TLS roots, which costs several milliseconds: a function must not pay at start for a service that
//! this invocation may not need.

mod connections;
mod signed;

use std::{sync::Arc, time::Duration};

use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_dynamodb::config::{retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_async::rt::sleep::{SharedAsyncSleep, TokioSleep};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::{
    client::{behavior_version::BehaviorVersion, result::SdkError},
    http::Response,
};
use aws_types::{SdkConfig, region::Region};
use http::Uri;
pub use signed::Payload;
pub(crate) use signed::Signed;
use tokio::sync::OnceCell;

use crate::{
    config::AwsConfig,
    error::{Certainty, Error},
};

/// How long a caller can wait for AWS. The SDK has no limit of its own beyond connecting.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// A person waits: 0.8 s an attempt, 2 s in all.
    Short,
    /// Only a queue waits, and giving up costs it minutes: 4 s an attempt, 10 s in all.
    Long,
}

impl Patience {
    fn attempt(self) -> Duration {
        match self {
            Self::Short => Duration::from_millis(800),
            Self::Long => Duration::from_secs(4),
        }
    }

    fn call(self) -> Duration {
        match self {
            Self::Short => Duration::from_secs(2),
            Self::Long => Duration::from_secs(10),
        }
    }
}

/// How often a call is tried.
const ATTEMPTS: u32 = 2;
/// Before a second try, with full jitter.
const BACKOFF: Duration = Duration::from_millis(25);

/// The clients of one process. Clones share them.
#[derive(Clone)]
pub struct Aws {
    shared: Arc<Clients>,
}

struct Clients {
    config: AwsConfig,
    patience: Patience,
    sdk: OnceCell<SdkConfig>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    sqs: OnceCell<aws_sdk_sqs::Client>,
}

impl Aws {
    /// Clients under this configuration.
    #[must_use]
    pub fn new(config: AwsConfig, patience: Patience) -> Self {
        let shared = Clients {
            config,
            patience,
            sdk: OnceCell::new(),
            dynamodb: OnceCell::new(),
            sqs: OnceCell::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn sdk(&self) -> &SdkConfig {
        self.shared
            .sdk
            .get_or_init(|| async {
                let AwsConfig {
                    region,
                    access_key_id,
                    secret_access_key,
                    session_token,
                    endpoint_url,
                } = &self.shared.config;
                let credentials = Credentials::from_keys(
                    access_key_id,
                    secret_access_key.reveal(),
                    session_token
                        .as_ref()
                        .map(|token| token.reveal().to_owned()),
                );
                let timeouts = TimeoutConfig::builder()
                    .operation_attempt_timeout(self.shared.patience.attempt())
                    .operation_timeout(self.shared.patience.call())
                    .build();
                let tls = Provider::Rustls(CryptoMode::Ring);
                let mut sdk = SdkConfig::builder()
                    .behavior_version(BehaviorVersion::latest())
                    .region(Region::new(region.clone()))
                    .credentials_provider(SharedCredentialsProvider::new(credentials))
                    .http_client(
                        aws_smithy_http_client::Builder::new()
                            .tls_provider(tls)
                            .build_https(),
                    )
                    .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
                    .retry_config(
                        RetryConfig::standard()
                            .with_max_attempts(ATTEMPTS)
                            .with_initial_backoff(BACKOFF),
                    )
                    .timeout_config(timeouts);
                sdk.set_endpoint_url(endpoint_url.clone());
                sdk.build()
            })
            .await
    }

    /// The client of DynamoDB.
    pub async fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        self.shared
            .dynamodb
            .get_or_init(|| async { aws_sdk_dynamodb::Client::new(self.sdk().await) })
            .await
    }

    pub(crate) async fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.shared
            .sqs
            .get_or_init(|| async { aws_sdk_sqs::Client::new(self.sdk().await) })
            .await
    }

    /// A sender of signed requests to the service that answers at `endpoint`, for where the count is: a call of the SDK takes several times the CPU.
    pub(crate) fn signed(&self, service: &'static str, endpoint: Uri) -> Signed {
        let Clients {
            config, patience, ..
        } = &*self.shared;
        Signed::new(config.clone(), service, *patience, endpoint)
    }

    /// Where the service of a resource at `url` answers.
    pub(crate) fn endpoint_of(&self, url: &str) -> String {
        let origin = || url.splitn(4, '/').take(3).collect::<Vec<_>>().join("/");
        self.shared
            .config
            .endpoint_url
            .clone()
            .unwrap_or_else(origin)
    }

    /// A client for the `@connections` of one WebSocket API. Its own backoff of a second would stall a whole room: a post
    /// that fails is tried again with the next frame.
    pub(crate) async fn connections(
        &self,
        callback_url: &Uri,
    ) -> aws_sdk_apigatewaymanagement::Client {
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(self.sdk().await)
            .endpoint_url(callback_url.to_string())
            .retry_config(RetryConfig::disabled())
            .build();
        aws_sdk_apigatewaymanagement::Client::from_conf(config)
    }
}

/// Names a failed call and says what is known of it.
pub(crate) fn failed<E>(call: &'static str) -> impl Fn(SdkError<E, Response>) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    move |error| {
        let certainty = certainty(&error);
        Error::Aws {
            call,
            certainty,
            source: error.into_source().unwrap_or_else(|error| Box::new(error)),
        }
    }
}

/// A call that was never sent, or that the service answered with a refusal, had no effect. Anything else may have had one.
fn certainty<E>(error: &SdkError<E, Response>) -> Certainty {
    let definite = if let SdkError::ServiceError(answer) = error {
        answer.raw().status().is_client_error()
    } else if let SdkError::DispatchFailure(failure) = error {
        failure.is_user()
    } else {
        matches!(error, SdkError::ConstructionFailure(_))
    };
    if definite {
        Certainty::Definite
    } else {
        Certainty::Unknown
    }
}
