//! Sending to a queue.

use serde::Serialize;

use crate::{
    aws::{self, Aws},
    error::Error,
};

/// One queue.
#[derive(Clone)]
pub struct Queue {
    aws: Aws,
    url: String,
}

impl Queue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(aws: Aws, url: String) -> Self {
        Self { aws, url }
    }

    /// Sends one message, as JSON.
    ///
    /// # Errors
    /// [`Error::Aws`], which says whether the message may be on the queue nonetheless.
    pub async fn send(&self, message: &impl Serialize) -> Result<(), Error> {
        let body = serde_json::to_string(message).map_err(Error::Foreign)?;
        self.aws
            .sqs()
            .await
            .send_message()
            .queue_url(&self.url)
            .message_body(body)
            .send()
            .await
            .map(drop)
            .map_err(aws::failed("SendMessage"))
    }
}
