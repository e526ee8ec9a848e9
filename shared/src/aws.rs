//! The AWS clients, each built at its first call.
//!
//! Building one loads the TLS roots, which costs several milliseconds: a function must not pay at start for a service that
//! this invocation may not need.

use std::{sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_smithy_runtime_api::{client::result::SdkError, http::Response};
use tokio::sync::OnceCell;

use crate::error::{Certainty, Error};

/// How long a caller can wait for AWS. The SDK has no limit of its own beyond connecting.
#[derive(Debug, Clone, Copy)]
pub enum Patience {
    /// A person waits: 0.8 s an attempt, 2 s in all.
    Short,
    /// Only a queue waits, and giving up costs it minutes: 4 s an attempt, 10 s in all.
    Long,
}

impl Patience {
    fn timeouts(self) -> TimeoutConfig {
        let (attempt, call) = match self {
            Self::Short => (800, 2_000),
            Self::Long => (4_000, 10_000),
        };
        TimeoutConfig::builder()
            .operation_attempt_timeout(Duration::from_millis(attempt))
            .operation_timeout(Duration::from_millis(call))
            .build()
    }
}

/// The clients of one process. Clones share them.
#[derive(Clone)]
pub struct Aws {
    shared: Arc<Clients>,
}

struct Clients {
    patience: Patience,
    config: OnceCell<SdkConfig>,
    dynamodb: OnceCell<aws_sdk_dynamodb::Client>,
    sqs: OnceCell<aws_sdk_sqs::Client>,
}

impl Aws {
    /// Clients over the environment's configuration, read at the first call.
    #[must_use]
    pub fn new(patience: Patience) -> Self {
        Self::over(OnceCell::new(), patience)
    }

    /// Clients over a configuration that is already there, as tests have it.
    #[must_use]
    pub fn from_config(config: SdkConfig) -> Self {
        Self::over(OnceCell::new_with(Some(config)), Patience::Short)
    }

    fn over(config: OnceCell<SdkConfig>, patience: Patience) -> Self {
        let shared = Clients {
            patience,
            config,
            dynamodb: OnceCell::new(),
            sqs: OnceCell::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    async fn config(&self) -> &SdkConfig {
        self.shared
            .config
            .get_or_init(|| async {
                aws_config::defaults(BehaviorVersion::latest())
                    .retry_config(
                        RetryConfig::standard()
                            .with_max_attempts(3)
                            .with_initial_backoff(Duration::from_millis(25)),
                    )
                    .timeout_config(self.shared.patience.timeouts())
                    .load()
                    .await
            })
            .await
    }

    pub(crate) async fn dynamodb(&self) -> &aws_sdk_dynamodb::Client {
        self.shared
            .dynamodb
            .get_or_init(|| async { aws_sdk_dynamodb::Client::new(self.config().await) })
            .await
    }

    pub(crate) async fn sqs(&self) -> &aws_sdk_sqs::Client {
        self.shared
            .sqs
            .get_or_init(|| async { aws_sdk_sqs::Client::new(self.config().await) })
            .await
    }

    /// A client for the `@connections` of one WebSocket API. Its own backoff of a second would stall a whole room: a post
    /// that fails is tried again with the next frame.
    pub(crate) async fn connections(
        &self,
        callback_url: &str,
    ) -> aws_sdk_apigatewaymanagement::Client {
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
