//! Signed requests without the SDK, for where the count is: hyper, ring, and the day's signing key kept. A send through the
//! SDK takes six times the CPU.
//!
//! The signature is Signature Version 4 (IAM User Guide, "Create a signed AWS API request") of a request without a query,
//! which is all that is sent here; a test holds it against the SDK's own signer.

use std::{
    sync::{Mutex, PoisonError},
    time::SystemTime,
};

use aws_sigv4::sign::v4::generate_signing_key;
use axum::body::Bytes;
use http::{
    HeaderName, HeaderValue, Method, Request, StatusCode, Uri,
    header::{AUTHORIZATION, CONTENT_TYPE, HOST},
    uri::PathAndQuery,
};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ring::{digest, hmac};
use time::{
    OffsetDateTime, format_description::StaticFormatDescription, macros::format_description,
};

use super::{ATTEMPTS, BACKOFF, Patience, connections::Connections};
use crate::{
    config::AwsConfig,
    error::{Certainty, Error},
};

const TIME: StaticFormatDescription =
    format_description!("[year][month][day]T[hour][minute][second]Z");
/// Digits of the date in a time.
const DATE: usize = 8;
/// What a canonical path has encoded: all but the unreserved characters of RFC 3986, and the slash.
const CANONICAL_PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

pub(super) type Cause = Box<dyn std::error::Error + Send + Sync>;

/// A body and its hash, which is made once however often it is sent.
#[derive(Debug, Clone)]
pub struct Payload {
    bytes: Bytes,
    sha256: String,
}

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl<T: Into<Bytes>> From<T> for Payload {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        let sha256 = sha256_hex(&bytes);
        Self { bytes, sha256 }
    }
}

/// What a service answered.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The answer as a cause: the service says what it did not like.
    pub(crate) fn into_cause(self) -> Cause {
        format!("{}: {}", self.status, String::from_utf8_lossy(&self.body)).into()
    }
}

/// No answer.
pub(crate) struct Failure {
    pub(crate) certainty: Certainty,
    pub(crate) cause: Cause,
}

impl Failure {
    pub(super) fn definite(cause: Cause) -> Self {
        Self {
            certainty: Certainty::Definite,
            cause,
        }
    }

    pub(super) fn unknown(cause: Cause) -> Self {
        Self {
            certainty: Certainty::Unknown,
            cause,
        }
    }
}

/// Sends signed requests to one service.
pub(crate) struct Signed {
    config: AwsConfig,
    service: &'static str,
    patience: Patience,
    endpoint: Uri,
    connections: Connections,
    key: Mutex<Option<(String, hmac::Key)>>,
}

impl Signed {
    pub(super) fn new(
        config: AwsConfig,
        service: &'static str,
        patience: Patience,
        endpoint: Uri,
    ) -> Self {
        Self {
            config,
            service,
            patience,
            connections: Connections::new(endpoint.clone(), patience.attempt()),
            endpoint,
            key: Mutex::default(),
        }
    }

    /// Posts `body` to the endpoint as a call of `target` (AWS JSON protocol), whose repetition must do no harm: it is tried again
    /// when it may have failed in passing.
    ///
    /// # Errors
    /// [`Error::Aws`]: definite if the service refused, or was never reached; else its outcome is unknown.
    pub(crate) async fn call(
        &self,
        call: &'static str,
        target: &str,
        body: String,
    ) -> Result<(), Error> {
        let payload = Payload::from(body);
        let path = self.endpoint.path_and_query();
        let path = path.cloned().unwrap_or(PathAndQuery::from_static("/"));
        let mut certainty = Certainty::Definite;
        let mut attempt = 1;
        loop {
            let (failure, passing) = match self.post(path.clone(), Some(target), &payload).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) => {
                    let refused = answer.status.is_client_error();
                    let throttled = answer.status == StatusCode::TOO_MANY_REQUESTS
                        || answer.body.windows(7).any(|word| word == b"Throttl");
                    let certainty = if refused {
                        Certainty::Definite
                    } else {
                        Certainty::Unknown
                    };
                    let cause = answer.into_cause();
                    (Failure { certainty, cause }, !refused || throttled)
                }
                Err(failure) => (failure, true),
            };
            // One attempt that may have gone through makes the whole call unknown, whatever the next one says.
            if failure.certainty == Certainty::Unknown {
                certainty = Certainty::Unknown;
            }
            if !passing || attempt == ATTEMPTS {
                return Err(Error::Aws {
                    call,
                    certainty,
                    source: failure.cause,
                });
            }
            attempt += 1;
            tokio::time::sleep(BACKOFF.mul_f64(fastrand::f64())).await;
        }
    }

    /// Posts to a path without a query, once.
    ///
    /// # Errors
    /// There was no answer: definite if the service was never reached.
    pub(crate) async fn post(
        &self,
        path: PathAndQuery,
        target: Option<&str>,
        payload: &Payload,
    ) -> Result<Answer, Failure> {
        let now = OffsetDateTime::from(SystemTime::now());
        let request = self.signed(path, target, payload, now);
        let answer = self
            .connections
            .exchange(request.map_err(Failure::definite)?);
        tokio::time::timeout(self.patience.attempt(), answer)
            .await
            .unwrap_or_else(|_elapsed| Err(Failure::unknown("no answer in time".into())))
    }

    fn signed(
        &self,
        path: PathAndQuery,
        target: Option<&str>,
        payload: &Payload,
        now: OffsetDateTime,
    ) -> Result<Request<Full<Bytes>>, Cause> {
        let host = self
            .endpoint
            .authority()
            .ok_or("an endpoint without a host")?;
        let time = now.format(&TIME)?;
        // By name, as the signature wants them.
        let token = self.config.session_token.as_ref();
        let name = HeaderName::from_static;
        let mut signed = Vec::with_capacity(4);
        signed.extend([(HOST, host.as_str()), (name("x-amz-date"), time.as_str())]);
        signed.extend(token.map(|token| (name("x-amz-security-token"), token.reveal())));
        signed.extend(target.map(|target| (name("x-amz-target"), target)));

        let mut names = String::with_capacity(64);
        let mut canonical = String::with_capacity(1_024);
        canonical.push_str("POST\n");
        // The path is encoded already, and its signature wants it encoded once more.
        canonical.extend(utf8_percent_encode(path.path(), CANONICAL_PATH));
        canonical.push_str("\n\n");
        for (name, value) in &signed {
            for text in [name.as_str(), ":", value, "\n"] {
                canonical.push_str(text);
            }
            if !names.is_empty() {
                names.push(';');
            }
            names.push_str(name.as_str());
        }
        for text in ["\n", &names, "\n", &payload.sha256] {
            canonical.push_str(text);
        }

        let (date, region, service) = (&time[..DATE], &self.config.region, self.service);
        let scope = [date, region, service, "aws4_request"].join("/");
        let hash = sha256_hex(canonical.as_bytes());
        let to_sign = ["AWS4-HMAC-SHA256", &time, &scope, &hash].join("\n");
        let signature = hmac::sign(&self.key_of(date, now), to_sign.as_bytes());
        let signature = data_encoding::HEXLOWER.encode(signature.as_ref());
        let id = &self.config.access_key_id;
        let authorization = [
            "AWS4-HMAC-SHA256 Credential=",
            id,
            "/",
            &scope,
            ", SignedHeaders=",
            &names,
            ", Signature=",
            &signature,
        ]
        .concat();

        let kind = target.map_or("application/json", |_| "application/x-amz-json-1.0");
        let mut request = Request::new(Full::new(payload.bytes.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = path.into();
        let headers = request.headers_mut();
        headers.reserve(signed.len() + 2);
        headers.insert(AUTHORIZATION, authorization.try_into()?);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        for (name, value) in signed {
            headers.insert(name, value.try_into()?);
        }
        Ok(request)
    }

    /// The signing key of a day.
    fn key_of(&self, date: &str, now: OffsetDateTime) -> hmac::Key {
        let mut known = self.key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((day, key)) = known.as_ref()
            && day == date
        {
            return key.clone();
        }
        let secret = self.config.secret_access_key.reveal();
        let key = generate_signing_key(secret, now.into(), &self.config.region, self.service);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_ref());
        *known = Some((date.to_owned(), key.clone()));
        key
    }
}

fn sha256_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

#[cfg(test)]
mod tests {
    use aws_credential_types::Credentials;
    use aws_sigv4::{
        http_request::{SignableBody, SignableRequest, SigningSettings, sign},
        sign::v4::SigningParams,
    };

    use std::time::Duration;

    use super::*;
    use crate::config::Secret;

    fn signer(token: Option<&str>, endpoint: Uri) -> Signed {
        let config = AwsConfig {
            region: "ap-northeast-2".to_owned(),
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
            session_token: token.map(Secret::new),
            endpoint_url: None,
        };
        Signed::new(config, "execute-api", Patience::Short, endpoint)
    }

    /// What the SDK's signer makes of the same request.
    fn of_the_sdk(
        signer: &Signed,
        url: &str,
        request: &Request<Full<Bytes>>,
        body: &[u8],
    ) -> String {
        let config = &signer.config;
        let token = config.session_token.as_ref();
        let identity = Credentials::from_keys(
            &config.access_key_id,
            config.secret_access_key.reveal(),
            token.map(|token| token.reveal().to_owned()),
        )
        .into();
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str());
        let time = header("x-amz-date").expect("a date").expect("is text");
        let time = time::PrimitiveDateTime::parse(time, &TIME).expect("a date");
        let parameters = SigningParams::builder()
            .identity(&identity)
            .region(&config.region)
            .name(signer.service)
            .time(time.assume_utc().into())
            .settings(SigningSettings::default())
            .build()
            .expect("complete")
            .into();
        let headers = ["host", "x-amz-target"]
            .into_iter()
            .filter_map(|name| Some((name, header(name)?.expect("is text"))));
        let signable = SignableRequest::new(
            request.method().as_str(),
            url,
            headers,
            SignableBody::Bytes(body),
        );
        let output = sign(signable.expect("a request"), &parameters).expect("signs");
        let headers = output.output().headers();
        let authorization = headers
            .into_iter()
            .find(|(name, _)| *name == "authorization");
        authorization.expect("is signed").1.to_owned()
    }

    #[test]
    fn a_request_is_signed_as_the_sdk_signs_it() {
        let days = [0, 86_399, 86_400, 20_000 * 86_400];
        for token in [None, Some("a/session+token==")] {
            for (n, url) in [
                "https://sqs.ap-northeast-2.amazonaws.com/",
                "http://127.0.0.1:4566/live/@connections/abc%3D",
                "https://a1b2.execute-api.ap-northeast-2.amazonaws.com/live/@connections/L0SM9cOFvHcCIhw%3D",
                "http://localhost:9324/000000000000/orders",
            ]
            .into_iter()
            .enumerate()
            {
                let target = (n % 2 == 0).then_some("AmazonSQS.SendMessage");
                let body = format!("{{\"n\":{n}}}");
                let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + days[n]);
                let endpoint: Uri = url.parse().expect("a URL");
                let path = endpoint.path_and_query().cloned().expect("a path");
                let signer = signer(token, endpoint);
                let payload = Payload::from(body.clone());
                let request = signer
                    .signed(path, target, &payload, now)
                    .expect("signs");
                let ours = request.headers()["authorization"].to_str().expect("is text");
                assert_eq!(ours, of_the_sdk(&signer, url, &request, body.as_bytes()), "{url}");
            }
        }
    }
}
