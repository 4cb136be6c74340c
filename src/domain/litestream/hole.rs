//! Where a chain of files is broken.

use serde::{Deserialize, Serialize};

/// A hole: the part between two positions is in no file. Positions are TXIDs (v0.5), or `index/offset` with 8
/// hexadecimal digits each (v0.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "Hole"))]
pub struct Hole<P = String> {
    /// The last position before the hole.
    pub after: P,
    /// The first position behind the hole.
    pub before: P,
}

impl<P: ToString> Hole<P> {
    /// As a person reads it, and as reports have it.
    pub fn spoken(&self) -> Hole {
        Hole { after: self.after.to_string(), before: self.before.to_string() }
    }
}
