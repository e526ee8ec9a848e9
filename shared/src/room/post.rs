//! Posting to a viewer's connection: an answer to one viewer through the SDK, the frames of a room, which are counted by the
//! thousand, through a sender that takes a fifth of its CPU.

use aws_sdk_apigatewaymanagement::{Client, primitives::Blob};
use aws_smithy_runtime_api::client::result::SdkError;
use http::{StatusCode, Uri, uri::PathAndQuery};
use hyper_util::client::legacy;
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

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The `@connections` of the WebSocket API.
pub struct Post {
    aws: Aws,
    signed: Signed,
    callback_url: Uri,
    /// What a connection's path begins with.
    path: String,
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
    pub fn new(aws: Aws, callback_url: Uri) -> Self {
        let stage = callback_url.path().trim_end_matches('/');
        Self {
            path: format!("{stage}/@connections/"),
            signed: aws.signed("execute-api", callback_url.clone()),
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
        let error = match answer {
            Ok(_) => return Posted::Delivered,
            Err(error) => error,
        };
        let status = error.raw_response().map(|answer| answer.status().as_u16());
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let certainty =
            if matches!(error, SdkError::ConstructionFailure(_)) || is_unconnected(&error) {
                Certainty::Definite
            } else {
                Certainty::Unknown
            };
        let cause = error.into_source().unwrap_or_else(|error| Box::new(error));
        match status {
            Some(status) => answered(status, || cause),
            None => failed(certainty, cause),
        }
    }

    /// Sends a frame to a connection, once.
    pub async fn send_frame(&self, connection: &str, frame: &Payload) -> Posted {
        let mut path = String::with_capacity(self.path.len() + 3 * connection.len());
        path.push_str(&self.path);
        path.extend(utf8_percent_encode(connection, PATH));
        let path = match PathAndQuery::try_from(path) {
            Ok(path) => path,
            Err(error) => return failed(Certainty::Definite, Box::new(error)),
        };
        match self.signed.post(path, None, frame).await {
            Ok(answer) => answered(answer.status, || answer.into_cause()),
            Err(failure) => failed(failure.certainty, failure.cause),
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

/// What an answer means. Its status says so; the name of its error does not always come along: what refuses for the whole account
/// has none.
fn answered(status: StatusCode, cause: impl FnOnce() -> Cause) -> Posted {
    match status {
        StatusCode::GONE => Posted::Gone,
        StatusCode::TOO_MANY_REQUESTS => Posted::Slow,
        status if status.is_success() => Posted::Delivered,
        status if status.is_client_error() => failed(Certainty::Definite, cause()),
        _ => failed(Certainty::Unknown, cause()),
    }
}

fn failed(certainty: Certainty, source: Cause) -> Posted {
    let error = Error::Aws {
        call: CALL,
        certainty,
        source,
    };
    match certainty {
        Certainty::Definite => Posted::Refused(error),
        Certainty::Unknown => Posted::Unknown(error),
    }
}

/// Whether no connection came about, so that nothing was sent.
fn is_unconnected(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<legacy::Error>())
        .any(legacy::Error::is_connect)
}
