//! A queue that takes every message at once, forgets it, and counts.

use std::{
    borrow::Cow,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use md5::{Digest, Md5};
use serde::Deserialize;

use crate::{Result, http};

/// Speaks the JSON protocol of SQS, and of it `SendMessage`.
pub struct SqsStub {
    /// Where it listens.
    pub address: SocketAddr,
    sends: Arc<AtomicU64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendMessage<'a> {
    #[serde(borrow)]
    message_body: Cow<'a, str>,
}

impl SqsStub {
    /// Starts it.
    pub fn start() -> Result<Self> {
        let sends = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sends);
        let address = http::listen(move |mut connection| {
            while let Some(request) = connection.read()? {
                let number = counter.fetch_add(1, Ordering::Relaxed);
                match serde_json::from_slice(&request.body) {
                    Ok(message) => connection.answer(
                        "200 OK",
                        "content-type: application/x-amz-json-1.0\r\n",
                        accepted(&message, number).as_bytes(),
                    )?,
                    Err(_) => connection.answer("400 Bad Request", "", b"{}")?,
                }
            }
            Ok(())
        })?;
        Ok(Self { address, sends })
    }

    /// Requests so far.
    pub fn sends(&self) -> u64 {
        self.sends.load(Ordering::Relaxed)
    }
}

fn accepted(message: &SendMessage<'_>, number: u64) -> String {
    let mut answer = String::from(r#"{"MD5OfMessageBody":""#);
    for byte in Md5::digest(message.message_body.as_bytes()) {
        // Writing into a string does not fail.
        let _written = write!(answer, "{byte:02x}");
    }
    let _written = write!(
        answer,
        r#"","MessageId":"5fea7756-0ea4-451a-a703-{number:012x}"}}"#
    );
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_carries_the_digest_of_the_message() {
        let message: SendMessage<'_> =
            serde_json::from_str(r#"{"QueueUrl":"q","MessageBody":"a\"b"}"#).expect("is a message");
        assert_eq!(
            accepted(&message, 1),
            r#"{"MD5OfMessageBody":"c8f88ec84680a7ec056720570290dd34","MessageId":"5fea7756-0ea4-451a-a703-000000000001"}"#
        );
    }
}
