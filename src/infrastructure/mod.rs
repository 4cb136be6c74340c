//! The ports, for real.

pub mod clock;
pub mod config;
pub mod database;
pub mod drill_process;
pub mod drill_space;
pub mod inspect;
pub mod journal;
pub mod page_hash;
pub mod process;
pub mod scratch;
pub mod store;
