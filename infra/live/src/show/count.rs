//! What waits in the queues.

use std::collections::BTreeMap;

use serde_json::json;

use crate::error::{Error, Result};
use crate::live::Live;

/// Messages in every queue of the stack, those in flight or delayed included.
pub async fn messages(live: &Live) -> Result<BTreeMap<String, i64>> {
    let mut counted = BTreeMap::new();
    for (name, url) in &live.stack.queues {
        let request = json!({ "QueueUrl": url, "AttributeNames": ["All"] });
        let answer = live
            .aws
            .json("sqs", "AmazonSQS.GetQueueAttributes", &request)
            .await?;
        let answer = answer.map_err(|refusal| {
            Error::new(format!("{name}: {} {}", refusal.code, refusal.message))
        })?;
        let kinds = [
            "ApproximateNumberOfMessages",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesDelayed",
        ];
        let count = |kind: &str| {
            answer["Attributes"][kind]
                .as_str()
                .and_then(|count| count.parse::<i64>().ok())
        };
        let waiting = kinds.into_iter().map(count).sum::<Option<i64>>();
        counted.insert(
            name.clone(),
            waiting.ok_or_else(|| Error::new(format!("{name} does not say how full it is")))?,
        );
    }
    Ok(counted)
}
