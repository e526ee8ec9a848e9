//! Sending to a queue.

use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::types::{ChangeMessageVisibilityBatchRequestEntry, QueueAttributeName};
use serde::Serialize;

use crate::{
    aws::{self, Aws, Signed},
    error::{Certainty, Error},
};

/// Entries one batch call may have (SQS: 10).
const MAX_BATCH: usize = 10;
/// The longest delay before a message comes again: 2^7 s.
const MAX_DELAY_LOG2: u32 = 7;

/// One queue.
#[derive(Clone)]
pub struct Queue {
    aws: Aws,
    /// Sends to where the service answers: the origin of the queue's URL, unless something else stands in for AWS. None if the
    /// URL is none.
    sender: Option<Arc<Signed>>,
    url: String,
}

/// A request of SQS (AWS JSON protocol).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'a> {
    queue_url: &'a str,
    message_body: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    delay_seconds: Option<u64>,
}

impl Queue {
    /// The queue at this URL.
    #[must_use]
    pub fn new(aws: Aws, url: String) -> Self {
        let endpoint = aws.endpoint_of(&url).parse().ok();
        let sender = endpoint.map(|endpoint| Arc::new(aws.signed("sqs", endpoint)));
        Self { aws, sender, url }
    }

    /// Sends one message, as JSON.
    ///
    /// # Errors
    /// [`Error::Aws`], which says whether the message may be on the queue nonetheless.
    pub async fn send(&self, message: &impl Serialize) -> Result<(), Error> {
        self.send_delayed(message, None).await
    }

    /// Sends one message that nobody receives before `delay` is over, in whole seconds (SQS: at most 900).
    ///
    /// # Errors
    /// As [`Queue::send`].
    pub async fn send_after(&self, message: &impl Serialize, delay: Duration) -> Result<(), Error> {
        self.send_delayed(message, Some(delay.as_secs())).await
    }

    async fn send_delayed(
        &self,
        message: &impl Serialize,
        delay_seconds: Option<u64>,
    ) -> Result<(), Error> {
        const CALL: &str = "SendMessage";
        let sender = self.sender.as_ref().ok_or_else(|| Error::Aws {
            call: CALL,
            certainty: Certainty::Definite,
            source: "the URL of the queue is none".into(),
        })?;
        let text = serde_json::to_string(message).map_err(Error::Foreign)?;
        let body = serde_json::to_string(&SendMessage {
            queue_url: &self.url,
            message_body: &text,
            delay_seconds,
        })
        .map_err(Error::Foreign)?;
        sender.call(CALL, "AmazonSQS.SendMessage", body).await
    }

    /// Whether nothing is on the queue or being handled, as far as the queue knows: it counts with a delay.
    ///
    /// # Errors
    /// [`Error::Aws`].
    pub async fn is_empty(&self) -> Result<bool, Error> {
        let counts = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
            QueueAttributeName::ApproximateNumberOfMessagesDelayed,
        ];
        let answer = self
            .aws
            .sqs()
            .await
            .get_queue_attributes()
            .queue_url(&self.url)
            .set_attribute_names(Some(counts.to_vec()))
            .send()
            .await
            .map_err(aws::failed("GetQueueAttributes"))?;
        let answer = answer.attributes.unwrap_or_default();
        Ok(counts
            .iter()
            .all(|count| answer.get(count).is_some_and(|count| count == "0")))
    }

    /// Has messages that failed brought again soon: after 2 s at first, then twice as long each time. Without this they would
    /// come back when their visibility ends, and a buyer would wait minutes for a hiccup. If it fails, they do just that.
    pub(crate) async fn bring_again(&self, failed: &[Receipt]) {
        for chunk in failed.chunks(MAX_BATCH) {
            let entries = chunk.iter().enumerate().map(|(index, receipt)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(index.to_string())
                    .receipt_handle(&receipt.handle)
                    .visibility_timeout(receipt.delay_s())
                    .build()
            });
            let Ok(entries) = entries.collect::<Result<Vec<_>, _>>() else {
                continue;
            };
            let request = self
                .aws
                .sqs()
                .await
                .change_message_visibility_batch()
                .queue_url(&self.url);
            if let Err(error) = request.set_entries(Some(entries)).send().await {
                let error = aws::failed("ChangeMessageVisibilityBatch")(error);
                tracing::warn!(error = %error, "failed messages come back only when their visibility ends");
            }
        }
    }
}

/// A message as it was received this time.
#[derive(Debug, Clone)]
pub(crate) struct Receipt {
    pub(crate) handle: String,
    /// How often it was received, this time included.
    pub(crate) count: u32,
}

impl Receipt {
    fn delay_s(&self) -> i32 {
        1 << self.count.clamp(1, MAX_DELAY_LOG2)
    }
}
