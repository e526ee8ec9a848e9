//! What went wrong, said to a person: the thing that failed, and what mends it.

use std::fmt;

/// A failure of the local run.
#[derive(Debug)]
pub struct Error {
    what: String,
    fix: Option<String>,
}

/// The result of anything here.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A failure without a known remedy yet.
    pub fn new(what: impl Into<String>) -> Self {
        Self {
            what: what.into(),
            fix: None,
        }
    }

    /// Names what a person can do about it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        match &self.fix {
            Some(fix) => write!(f, "\n  해결 · fix: {fix}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// `what` reads before a colon and the inner error.
    fn context(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Error::new(format!("{}: {error:#}", what())))
    }
}
