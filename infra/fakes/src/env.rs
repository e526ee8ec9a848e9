//! One variable of the environment at a time.

use std::{
    env::{self, VarError},
    io,
    str::FromStr,
};

/// None when it is unset or empty.
pub fn text(name: &str) -> io::Result<Option<String>> {
    match env::var(name) {
        Ok(value) if value.is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(_)) => Err(invalid(name)),
    }
}

/// The same, as what the text stands for.
pub fn parsed<T: FromStr>(name: &str) -> io::Result<Option<T>> {
    text(name)?
        .map(|value| value.parse().map_err(|_| invalid(name)))
        .transpose()
}

fn invalid(name: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("{name} cannot be read"),
    )
}
