//! Restore drills for real: processes of their own, private scratch space, and SQLite on what was restored.

pub mod inspect;
pub mod process;
pub mod space;
