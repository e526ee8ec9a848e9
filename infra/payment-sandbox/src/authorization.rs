//! `Authorization: Basic base64(secretKey + ":")`.

use axum::http::{HeaderMap, header::AUTHORIZATION};
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::answer::Refusal;

/// Ok when the header carries exactly this secret key and an empty password.
pub(crate) fn authorize(headers: &HeaderMap, secret_key: &str) -> Result<(), Refusal> {
    let Some(header) = headers.get(AUTHORIZATION) else {
        return Err(unauthorized());
    };
    let user = header
        .to_str()
        .ok()
        .and_then(|header| header.strip_prefix("Basic "))
        .and_then(|encoded| STANDARD.decode(encoded).ok())
        .and_then(|decoded| String::from_utf8(decoded).ok())
        .and_then(|pair| pair.strip_suffix(':').map(str::to_owned))
        .ok_or_else(malformed)?;
    if user == secret_key {
        Ok(())
    } else {
        Err(unauthorized())
    }
}

fn unauthorized() -> Refusal {
    Refusal::new("UNAUTHORIZED_KEY", "The secret key is not authorized.")
}

fn malformed() -> Refusal {
    Refusal::new(
        "INCORRECT_BASIC_AUTH_FORMAT",
        "Encode the secret key together with a trailing ':'.",
    )
}
