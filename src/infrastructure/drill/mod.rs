//! Restore drills for real: processes of their own, private scratch space, and SQLite on what was restored.

pub mod inspect;
mod private;
pub mod process;
pub mod space;
