//! The AWS clients, each built at its first call.
//!
//! Building one loads the TLS roots, which costs several milliseconds: a function must not pay at start for a service that
//! this invocation may not need.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use tokio::sync::OnceCell;

use crate::error::{Certainty, Error};

/// One attempt of a call. The SDK has no limit of its own beyond connecting.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(800);
/// All attempts of a call together.
const CALL_TIMEOUT: Duration = Duration::from_millis(2_000);

/// The clients of one process. Clones share them.
#[derive(Clone, Default)]
pub struct Aws {
    shared: Arc<Clients>,
}

#[derive(Default)]
struct Clients {
    config: OnceCell<SdkConfig>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    sqs: OnceCell<aws_sdk_sqs::Client>,
}

impl Aws {
    /// Clients over a configuration that is already there, as tests have it.
    #[must_use]
    pub fn from_config(config: SdkConfig) -> Self {
        Self { shared: Arc::new(Clients { config: OnceCell::new_with(Some(config)), ..Clients::default() }) }
    }

    async fn config(&self) -> &SdkConfig {
        self.shared
            .config
            .get_or_init(|| async {
                aws_config::defaults(BehaviorVersion::latest())
                    .retry_config(
                        RetryConfig::standard().with_max_attempts(3).with_initial_backoff(Duration::from_millis(25)),
                    )
                    .timeout_config(
                        TimeoutConfig::builder()
                            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                            .operation_timeout(CALL_TIMEOUT)
                            .build(),
                    )
                    .load()
                    .await
            })
            .await
    }

    pub(crate) async fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        self.shared.dynamodb.get_or_init(|| async { aws_sdk_dynamodb::Client::new(self.config().await) }).await
    }

    pub(crate) async fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.shared.sqs.get_or_init(|| async { aws_sdk_sqs::Client::new(self.config().await) }).await
    }

    /// A client for the `@connections` of one WebSocket API. Its own backoff of a second would stall a whole room: a post
    /// that fails is tried again with the next frame.
    pub(crate) async fn connections(&self, callback_url: &str) -> aws_sdk_apigatewaymanagement::Client {
        let config = aws_sdk_apigatewaymanagement::config::Builder::from(self.config().await)
            .endpoint_url(callback_url)
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
        Error::Aws { call, certainty, source: error.into_source().unwrap_or_else(|error| Box::new(error)) }
    }
}

/// A call that was never sent, or that the service answered with a refusal, had no effect. Anything else may have had one.
fn certainty<E>(error: &SdkError<E, Response>) -> Certainty {
    let definite = match error {
        SdkError::ServiceError(answer) => answer.raw().status().is_client_error(),
        SdkError::DispatchFailure(failure) => failure.is_user(),
        other => matches!(other, SdkError::ConstructionFailure(_)),
    };
    if definite { Certainty::Definite } else { Certainty::Unknown }
}
