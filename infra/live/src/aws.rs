//! The few AWS calls a deployment needs, as plain HTTP.
//!
//! The SDK crates for them would be the largest part of this program. Local endpoints do not check signatures, only
//! read from them which service and region is meant.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE};
use serde_json::Value;

use crate::error::{Context, Error, Result};

/// The region everything is deployed to.
pub const REGION: &str = "ap-northeast-2";

/// An AWS endpoint.
#[derive(Clone, Debug)]
pub struct Aws {
    /// Where it is, without a slash at the end.
    pub endpoint: String,
    http: reqwest::Client,
}

/// A call that was refused: its AWS error code, and the sentence beside it.
#[derive(Debug)]
pub struct Refusal {
    /// Such as `AlreadyExistsException`.
    pub code: String,
    /// In English, from the endpoint.
    pub message: String,
}

impl Aws {
    /// Talks to `endpoint`.
    pub fn new(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.to_owned(),
            http: reqwest::Client::new(),
        }
    }

    /// Whether anything answers there.
    pub async fn is_up(&self) -> bool {
        self.http
            .get(format!("{}/_ministack/ready", self.endpoint))
            .send()
            .await
            .is_ok_and(|answer| answer.status().is_success())
    }

    /// The query protocol (CloudFormation): answers XML.
    pub async fn query(
        &self,
        service: &str,
        action: &str,
        parameters: &[(String, String)],
    ) -> Result<std::result::Result<String, Refusal>> {
        let mut form = reqwest::Url::parse("http://form").context(|| "form".into())?;
        form.query_pairs_mut()
            .append_pair("Action", action)
            .append_pair("Version", "2010-05-15")
            .extend_pairs(parameters);
        let answer = self
            .http
            .post(&self.endpoint)
            .header(AUTHORIZATION, scope(service))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.query().unwrap_or_default().to_owned())
            .send()
            .await
            .context(|| action.to_owned())?;
        let succeeded = answer.status().is_success();
        let text = answer.text().await.context(|| action.to_owned())?;
        if succeeded {
            return Ok(Ok(text));
        }
        let document =
            roxmltree::Document::parse(&text).context(|| format!("{action} answered {text}"))?;
        Ok(Err(Refusal {
            code: text_of(document.root(), "Code"),
            message: text_of(document.root(), "Message"),
        }))
    }

    /// The JSON protocol (SQS, Secrets Manager).
    pub async fn json(
        &self,
        service: &str,
        target: &str,
        body: &Value,
    ) -> Result<std::result::Result<Value, Refusal>> {
        let version = if service == "sqs" {
            "application/x-amz-json-1.0"
        } else {
            "application/x-amz-json-1.1"
        };
        let answer = self
            .http
            .post(&self.endpoint)
            .header(AUTHORIZATION, scope(service))
            .header(CONTENT_TYPE, version)
            .header("x-amz-target", target)
            .body(body.to_string())
            .send()
            .await
            .context(|| target.to_owned())?;
        let succeeded = answer.status().is_success();
        let text = answer.text().await.context(|| target.to_owned())?;
        let json: Value = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).context(|| format!("{target} answered {text}"))?
        };
        if succeeded {
            return Ok(Ok(json));
        }
        let word = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        let code = word("__type")
            .rsplit('#')
            .next()
            .unwrap_or_default()
            .to_owned();
        let message = if json["message"].is_string() {
            word("message")
        } else {
            word("Message")
        };
        Ok(Err(Refusal { code, message }))
    }

    /// Makes the bucket where it is missing.
    pub async fn bucket(&self, bucket: &str) -> Result<()> {
        let here = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        self.put(bucket, here.into_bytes()).await
    }

    /// Puts one object; answers its `s3://` address.
    pub async fn object(&self, bucket: &str, key: &str, bytes: Vec<u8>) -> Result<String> {
        self.put(&format!("{bucket}/{key}"), bytes).await?;
        Ok(format!("s3://{bucket}/{key}"))
    }

    async fn put(&self, path: &str, bytes: Vec<u8>) -> Result<()> {
        let answer = self
            .http
            .put(format!("{}/{path}", self.endpoint))
            .header(AUTHORIZATION, scope("s3"))
            .body(bytes)
            .send()
            .await
            .context(|| format!("s3://{path}"))?;
        // 409: the bucket is there and ours.
        if answer.status().is_success() || answer.status() == reqwest::StatusCode::CONFLICT {
            return Ok(());
        }
        let status = answer.status();
        Err(Error::new(format!(
            "s3://{path}: {status} {}",
            answer.text().await.unwrap_or_default()
        )))
    }
}

/// The text of the first element called `name`.
pub fn text_of(node: roxmltree::Node<'_, '_>, name: &str) -> String {
    let found = node
        .descendants()
        .find(|child| child.tag_name().name() == name);
    found
        .and_then(|child| child.text())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn scope(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=test/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
    )
}
