//! A batch of a queue's messages: bodies are parsed one by one, one that panics takes nobody along, and the answer names
//! exactly the messages to bring again.

use std::{future::Future, panic::AssertUnwindSafe};

use aws_lambda_events::sqs::{SqsBatchResponse, SqsEvent};
use futures::FutureExt;
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    error::{Error, Retry},
    queue::{Queue, Receipt},
};

/// An invocation of a function that has a queue and a schedule: a batch, or the message that the schedule has written.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub enum Invocation<T> {
    /// By the schedule.
    Schedule(T),
    /// By the queue.
    Queue(SqsEvent),
}

impl<T: DeserializeOwned> Invocation<T> {
    /// Handles the messages of the queue as [`each`] does, or the one of the schedule, which nobody brings again: the next comes
    /// anyway.
    ///
    /// # Errors
    /// The schedule's message failed.
    pub async fn handle<F: Future<Output = Result<(), Error>>>(
        self,
        queue: &Queue,
        handle: impl Fn(T) -> F,
    ) -> Result<SqsBatchResponse, Error> {
        match self {
            Self::Schedule(message) => handle(message).await.map(|()| SqsBatchResponse::default()),
            Self::Queue(event) => Ok(each(event, queue, handle).await),
        }
    }
}

/// Handles each message by itself, one after the other.
pub async fn each<T, F>(event: SqsEvent, queue: &Queue, handle: impl Fn(T) -> F) -> SqsBatchResponse
where
    T: DeserializeOwned,
    F: Future<Output = Result<(), Error>>,
{
    together(event, queue, async |messages: Vec<T>| {
        let mut outcomes = Vec::with_capacity(messages.len());
        for message in messages {
            outcomes.push(
                caught(Box::pin(handle(message)))
                    .await
                    .unwrap_or(Err(Error::Conflict)),
            );
        }
        outcomes
    })
    .await
}

/// Handles all messages that could be parsed together. `handle` answers with one outcome a message, in their order; if it
/// panics, all of them are brought again. Those that may succeed later come from `queue` again soon.
pub async fn together<T: DeserializeOwned>(
    event: SqsEvent,
    queue: &Queue,
    handle: impl AsyncFnOnce(Vec<T>) -> Vec<Result<(), Error>>,
) -> SqsBatchResponse {
    let mut response = SqsBatchResponse::default();
    let (mut envelopes, mut messages) = (Vec::new(), Vec::new());
    let mut again = Vec::new();
    let total = event.records.len();
    for record in event.records {
        let envelope = Envelope {
            id: record.message_id.unwrap_or_default(),
            receipt: Receipt {
                handle: record.receipt_handle.unwrap_or_default(),
                count: record
                    .attributes
                    .get("ApproximateReceiveCount")
                    .and_then(|count| count.parse().ok())
                    .unwrap_or(1),
            },
        };
        match serde_json::from_str(record.body.as_deref().unwrap_or_default()) {
            Ok(message) => {
                envelopes.push(envelope);
                messages.push(message);
            }
            Err(error) => fail(&mut response, &mut again, envelope, &Error::Foreign(error)),
        }
    }
    if !messages.is_empty() {
        let mut outcomes = caught(Box::pin(handle(messages)))
            .await
            .unwrap_or_default()
            .into_iter();
        for envelope in envelopes {
            match outcomes.next() {
                Some(Ok(())) => {}
                Some(Err(error)) => fail(&mut response, &mut again, envelope, &error),
                None => fail(&mut response, &mut again, envelope, &Error::Conflict),
            }
        }
    }
    queue.bring_again(&again).await;
    tracing::info!(
        messages = total,
        failed = response.batch_item_failures.len(),
        "batch"
    );
    response
}

struct Envelope {
    id: String,
    receipt: Receipt,
}

/// A message that will never succeed is reported like the others: it uses up its receives and lands in the DLQ, where a
/// person finds it.
fn fail(
    response: &mut SqsBatchResponse,
    again: &mut Vec<Receipt>,
    envelope: Envelope,
    error: &Error,
) {
    match error.retry() {
        Retry::Later => {
            tracing::warn!(message.id = envelope.id, error = %error, "a message failed and comes again");
            again.push(envelope.receipt);
        }
        Retry::AfterRepair => {
            tracing::error!(message.id = envelope.id, error = %error, "a message waits for a person, and comes again meanwhile")
        }
        Retry::Never => {
            tracing::error!(message.id = envelope.id, error = %error, "a message can never succeed")
        }
    }
    response.add_failure(envelope.id);
}

async fn caught<T>(future: impl Future<Output = T>) -> Option<T> {
    let outcome = AssertUnwindSafe(future).catch_unwind().await;
    if outcome.is_err() {
        tracing::error!("a message made its handler panic");
    }
    outcome.ok()
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::sqs::SqsMessage;

    use super::*;
    use crate::{
        aws::{Aws, Patience},
        config::{AwsConfig, Secret},
    };

    fn batch(bodies: &[&str]) -> SqsEvent {
        let mut event = SqsEvent::default();
        for (index, body) in bodies.iter().enumerate() {
            let mut message = SqsMessage::default();
            message.message_id = Some(index.to_string());
            message.body = Some((*body).to_owned());
            event.records.push(message);
        }
        event
    }

    /// A queue that cannot be reached: what fails is named in the response all the same.
    fn queue() -> Queue {
        let nowhere = AwsConfig {
            region: "us-east-1".to_owned(),
            access_key_id: "test".to_owned(),
            secret_access_key: Secret::new("test"),
            session_token: None,
            endpoint_url: Some("http://127.0.0.1:1".to_owned()),
        };
        Queue::new(
            Aws::new(nowhere, Patience::Short),
            "http://127.0.0.1:1/orders".to_owned(),
        )
    }

    fn failed(response: &SqsBatchResponse) -> Vec<&str> {
        response
            .batch_item_failures
            .iter()
            .map(|failure| failure.item_identifier.as_str())
            .collect()
    }

    #[tokio::test]
    async fn only_the_messages_that_failed_come_again() {
        let event = batch(&["1", "not ours", "2", "3", "4", "5", "6", "7", "8", "9"]);
        let response = each(event, &queue(), async |number: u32| match number {
            3 => panic!("a message that breaks its handler"),
            5 => Err(Error::Conflict),
            _ => Ok(()),
        })
        .await;
        assert_eq!(failed(&response), ["1", "3", "5"]);
    }

    #[tokio::test]
    async fn a_panic_over_a_whole_batch_brings_all_of_it_again() {
        let response = together(batch(&["1", "2"]), &queue(), async |_: Vec<u32>| {
            panic!("a bug")
        })
        .await;
        assert_eq!(failed(&response), ["0", "1"]);
    }

    #[tokio::test]
    async fn a_schedule_is_told_from_a_queue() {
        #[derive(Debug, Deserialize)]
        struct Wake {
            channel: String,
        }
        let read = |text: &str| serde_json::from_str::<Invocation<Wake>>(text);
        let scheduled = read(r#"{"channel":"coupang"}"#).expect("a schedule's message");
        assert!(matches!(&scheduled, Invocation::Schedule(wake) if wake.channel == "coupang"));
        let queued = read(r#"{"Records":[{"messageId":"1","body":"not ours"}]}"#);
        let response = queued
            .expect("a batch")
            .handle(&queue(), async |_: Wake| Ok(()))
            .await
            .expect("a batch answers");
        assert_eq!(failed(&response), ["1"]);
    }

    #[tokio::test]
    async fn an_empty_batch_is_done() {
        assert!(
            each(batch(&[]), &queue(), async |_: u32| Ok(()))
                .await
                .batch_item_failures
                .is_empty()
        );
    }
}
