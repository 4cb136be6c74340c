//! Files that are small texts, read with a bound.

use std::fs::OpenOptions;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::domain::reason::Reason;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
///
/// Why it cannot be read, in a sentence.
pub(crate) fn read_text(path: &Path, limit: u64) -> Result<String, String> {
    let sentence = |error: std::io::Error| Reason::from(error).message;
    // A pipe would block whoever opens it.
    let nonblocking = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path).map_err(sentence)?;
    let kind = file.metadata().map_err(sentence)?.file_type();
    if kind.is_dir() {
        return Err("a directory, not a file".to_owned());
    }
    if !kind.is_file() {
        return Err("a pipe or device, not a regular file".to_owned());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(sentence)?;
    if bytes.len() as u64 > limit {
        return Err(format!("more than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "not UTF-8 text".to_owned())
}
