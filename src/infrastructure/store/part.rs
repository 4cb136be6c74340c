//! Which part of an object an answer holds.

use super::checked::corrupt;
use crate::domain::reason::Reason;
use crate::infrastructure::http::document::cut;

/// The bytes of an object that an answer names, as in `bytes 0-99/4711`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    start: Option<u64>,
    last: Option<u64>,
}

impl Part {
    /// Reads `Content-Range`. A server that does not know ranges answers with the `whole` object, and without it.
    pub(super) fn of(range: Option<&str>, whole: bool) -> Self {
        let Some(range) = range.and_then(|range| range.strip_prefix("bytes ")) else {
            return Self { start: whole.then_some(0), last: None };
        };
        let bounds = range.split('/').next().and_then(|range| range.split_once('-'));
        Self {
            start: bounds.and_then(|(start, _)| start.parse().ok()),
            last: bounds.and_then(|(_, last)| last.parse().ok()),
        }
    }

    /// That it begins where it was asked for.
    ///
    /// # Errors
    ///
    /// It does not.
    pub(super) fn begins_at(&self, offset: u64) -> Result<(), Reason> {
        if self.start == Some(offset) {
            return Ok(());
        }
        Err(corrupt(format!("answered with a different range than the one from byte {offset}")))
    }

    /// That as many bytes arrived as it names, of the `length` that were asked for.
    ///
    /// # Errors
    ///
    /// Fewer did. What is stored may be whole.
    pub(super) fn holds(&self, arrived: usize, offset: u64, length: u64) -> Result<(), Reason> {
        let named = self.last.map_or(0, |last| last.saturating_add(1).saturating_sub(offset)).min(length);
        if (arrived as u64) < named {
            return Err(cut(&format!("{arrived} of the {named} bytes that it names")));
        }
        Ok(())
    }
}
