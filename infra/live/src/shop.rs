//! A client of the public HTTP API: what the seed and the show do, anyone could do.

use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::error::{Context, Error, Result};

/// Longer than API Gateway lets a request take.
const PATIENCE: Duration = Duration::from_secs(35);

/// The API as one person sees it.
#[derive(Clone)]
pub struct Shop {
    http: reqwest::Client,
    base: String,
    token: String,
}

/// An answer, whatever its status.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body; null when there is none or it is not JSON.
    pub body: Value,
}

impl Shop {
    /// Speaks to the API at `base` with this token.
    pub fn new(http: &reqwest::Client, base: &str, token: String) -> Self {
        Self {
            http: http.clone(),
            base: base.to_owned(),
            token,
        }
    }

    /// Reads.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, None, None).await
    }

    /// Changes something; the same key asks for the same change once.
    pub async fn change(
        &self,
        method: Method,
        path: &str,
        key: &str,
        body: &Value,
    ) -> Result<Answer> {
        self.send(method, path, Some(key), Some(body)).await
    }

    /// Changes something that has to work.
    pub async fn must(&self, method: Method, path: &str, body: &Value) -> Result<Value> {
        let key = format!("{:032x}", fastrand::u128(..));
        self.change(method.clone(), path, &key, body)
            .await?
            .or_fail(&format!("{method} {path}"))
    }

    /// Reads something that has to be there.
    pub async fn must_get(&self, path: &str) -> Result<Value> {
        self.get(path).await?.or_fail(&format!("GET {path}"))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Result<Answer> {
        let asking = || format!("{method} {path}");
        let mut request = self
            .http
            .request(method.clone(), format!("{}{path}", self.base))
            .bearer_auth(&self.token)
            .timeout(PATIENCE);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if let Some(body) = body {
            request = request.json(body);
        }
        let response = request.send().await.context(asking)?;
        let status = response.status();
        let text = response.text().await.context(asking)?;
        Ok(Answer {
            status,
            body: serde_json::from_str(&text).unwrap_or(Value::Null),
        })
    }
}

impl Answer {
    fn or_fail(self, what: &str) -> Result<Value> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        Err(
            Error::new(format!("{what} answered {} {}", self.status, self.body))
                .fix("see logs/functions.log, and the function's variables in template.yaml"),
        )
    }
}
