//! The ports, for real.

pub mod clock;
pub mod config;
pub mod database;
pub mod drill;
pub mod journal;
pub mod page_hash;
pub mod process;
pub mod scratch;
pub mod store;
