//! The ports, for real.

pub mod config;
pub mod database;
pub mod process;
pub mod store;
