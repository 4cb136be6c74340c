//! Litestream's formats, by the release that writes them: `ltx` (v0.5) and `generations` (v0.3) have the same modules,
//! as far as both have the thing. What both use stands beside them.

mod aligned;
pub mod caveats;
mod coverage;
mod download;
pub mod expiry;
pub mod format_error;
pub mod fuzz;
pub mod generations;
mod hole;
mod input;
pub mod layout;
pub mod ltx;
mod lz4;
mod name;
mod object;
pub mod runs;
#[cfg(test)]
mod samples;

pub use caveats::{Facts, caveats};
pub use coverage::Coverage;
pub use format_error::{FormatError, Problem};
pub use generations::*;
pub use hole::Hole;
pub use layout::{Layout, LevelKeys};
pub use ltx::*;
pub use lz4::Batch;
pub use name::NameError;
pub use object::{Dated, Folder, Listed, ObjectName};
pub use runs::{Run, Runs};
