//! Posting to a viewer's connection.

use aws_sdk_apigatewaymanagement::{Client, primitives::Blob};
use tokio::sync::OnceCell;

use crate::{
    aws::{self, Aws},
    error::Error,
};

/// The `@connections` of the WebSocket API.
pub struct Post {
    aws: Aws,
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
    /// The viewer's socket is full, or the account is over its rate: it may go through later.
    Slow,
    /// It failed in another way.
    Failed(Error),
}

impl Post {
    /// Posts through the API at `callback_url`, its stage included.
    #[must_use]
    pub fn new(aws: Aws, callback_url: String) -> Self {
        Self {
            aws,
            callback_url,
            client: OnceCell::new(),
        }
    }

    /// Sends `message` to a connection, once.
    pub async fn send(&self, connection: &str, message: &str) -> Posted {
        let client = self
            .client
            .get_or_init(|| self.aws.connections(&self.callback_url))
            .await;
        let answer = client
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
                _ => Posted::Failed(aws::failed("PostToConnection")(error)),
            },
        }
    }
}
