//! Posting to a viewer's connection: an answer to one viewer through the SDK, the frames of a room, which are counted by the
//! thousand, through a sender that takes a fifth of its CPU.

use aws_sdk_apigatewaymanagement::{Client, primitives::Blob};
use http::{Method, StatusCode, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::OnceCell;

use crate::{
    aws::{self, Aws, Payload, Signed},
    error::{Certainty, Error},
};

const CALL: &str = "PostToConnection";
/// What stands for itself in a path: connection ids end with an equals sign, which does not.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The `@connections` of the WebSocket API.
pub struct Post {
    aws: Aws,
    signed: Signed,
    callback_url: String,
    client: OnceCell<Client>,
}

/// What became of a post.
#[derive(Debug)]
pub enum Posted {
    /// The viewer has it.
    Delivered,
    /// There is no such connection any more.
    Gone,
    /// Not taken: the viewer's socket is full, or the account is over its rate. It may go through later.
    Slow,
    /// Not taken, for another reason.
    Refused(Error),
    /// The viewer may have it or not.
    Unknown(Error),
}

impl Post {
    /// Posts through the API at `callback_url`, its stage included.
    #[must_use]
    pub fn new(aws: Aws, callback_url: String) -> Self {
        Self {
            signed: aws.signed("execute-api"),
            aws,
            callback_url,
            client: OnceCell::new(),
        }
    }

    /// Sends `message` to a connection, once.
    pub async fn send(&self, connection: &str, message: &str) -> Posted {
        let answer = self
            .client()
            .await
            .post_to_connection()
            .connection_id(connection)
            .data(Blob::new(message.as_bytes()))
            .send()
            .await;
        match answer {
            Ok(_) => Posted::Delivered,
            Err(error) => match error.as_service_error() {
                Some(service) if service.is_gone_exception() => Posted::Gone,
                Some(service) if service.is_limit_exceeded_exception() => Posted::Slow,
                _ => failed(aws::failed(CALL)(error)),
            },
        }
    }

    /// Sends a frame to a connection, once.
    pub async fn send_frame(&self, connection: &str, frame: &Payload) -> Posted {
        let id = utf8_percent_encode(connection, PATH);
        let url = format!("{}/@connections/{id}", self.callback_url);
        let aws = |certainty, source| {
            failed(Error::Aws {
                call: CALL,
                certainty,
                source,
            })
        };
        let url: Uri = match url.parse() {
            Ok(url) => url,
            Err(error) => return aws(Certainty::Definite, Box::new(error)),
        };
        match self.signed.send(Method::POST, &url, None, frame).await {
            Ok(answer) => match answer.status {
                StatusCode::OK => Posted::Delivered,
                StatusCode::GONE => Posted::Gone,
                StatusCode::TOO_MANY_REQUESTS => Posted::Slow,
                status if status.is_client_error() => aws(Certainty::Definite, answer.into_cause()),
                _ => aws(Certainty::Unknown, answer.into_cause()),
            },
            Err(failure) => aws(failure.certainty, failure.cause),
        }
    }

    /// Closes a connection. One that is gone is closed.
    ///
    /// # Errors
    /// [`Error::Aws`]; asking again is safe.
    pub async fn close(&self, connection: &str) -> Result<(), Error> {
        let request = self.client().await.delete_connection();
        match request.connection_id(connection).send().await {
            Ok(_) => Ok(()),
            Err(error)
                if error
                    .as_service_error()
                    .is_some_and(|it| it.is_gone_exception()) =>
            {
                Ok(())
            }
            Err(error) => Err(aws::failed("DeleteConnection")(error)),
        }
    }

    async fn client(&self) -> &Client {
        self.client
            .get_or_init(|| self.aws.connections(&self.callback_url))
            .await
    }
}

fn failed(error: Error) -> Posted {
    if matches!(
        error,
        Error::Aws {
            certainty: Certainty::Definite,
            ..
        }
    ) {
        Posted::Refused(error)
    } else {
        Posted::Unknown(error)
    }
}
