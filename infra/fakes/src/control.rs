//! The bodies of a control API: read, or refused with what is wrong with them.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::answer::Answer;

/// What is wrong with a body. Each service says it in its own words for an unfit request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    /// With the reason, as a test is to read it.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// A JSON body, or the refusal that names what is wrong with it.
pub fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    serde_json::from_slice(body).map_err(|error| Invalid(error.to_string()))
}

/// Does what a JSON body asks for.
pub fn with_body<T, R>(body: &[u8], then: impl FnOnce(T) -> Result<Value, R>) -> Answer
where
    T: DeserializeOwned,
    R: From<Invalid> + Into<Answer>,
{
    Answer::from(read(body).map_err(R::from).and_then(then))
}
