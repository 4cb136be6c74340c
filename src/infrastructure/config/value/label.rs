//! Names that become labels of series.

use crate::domain::limits::LABEL_CHARS_MAX;

/// The accepted form, for messages.
pub(crate) const ACCEPTED: &str = "a short name without control characters";

/// Reads a name that becomes a label.
///
/// # Errors
///
/// The problem with it.
pub(crate) fn parse(name: &str) -> Result<String, &'static str> {
    let length = name.chars().count();
    if length == 0 || length > LABEL_CHARS_MAX || name.chars().any(char::is_control) {
        return Err("not a name");
    }
    Ok(name.to_owned())
}
