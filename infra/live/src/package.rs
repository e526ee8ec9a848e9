//! Function binaries as Lambda wants them: a zip with one file called `bootstrap`.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;
use std::time::UNIX_EPOCH;

use zip::write::{SimpleFileOptions, ZipWriter};

use crate::error::{Context, Error, Result};

/// A package, and a name that changes with its content.
pub struct Package {
    /// The key it is stored under.
    pub key: String,
    /// The zip file.
    pub bytes: Vec<u8>,
}

/// Packs the binary of `function`.
pub fn pack(binaries: &Path, function: &str) -> Result<Package> {
    let path = binaries.join(function);
    let about = fs::metadata(&path).map_err(|_absent| {
        Error::new(format!("{} is missing", path.display())).fix("run `make build`")
    })?;
    let built_at_ms = about
        .modified()
        .ok()
        .and_then(|at| at.duration_since(UNIX_EPOCH).ok())
        .map_or(0, |age| age.as_millis());
    let binary = fs::read(&path).context(|| format!("{}", path.display()))?;
    let packing = || format!("packing {function}");
    // Stored, not deflated: it travels over the loopback once, and an unoptimised deflate takes longer than all the rest.
    let as_is = SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Stored)
        .unix_permissions(0o755);
    let mut zip = ZipWriter::new(Cursor::new(Vec::with_capacity(binary.len() + 256)));
    zip.start_file("bootstrap", as_is).context(packing)?;
    zip.write_all(&binary).context(packing)?;
    let bytes = zip.finish().context(packing)?.into_inner();
    Ok(Package {
        key: format!("{function}-{built_at_ms}-{}.zip", binary.len()),
        bytes,
    })
}
