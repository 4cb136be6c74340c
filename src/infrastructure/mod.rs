//! The ports, for real.

pub mod agent;
pub mod blocking;
mod certificates;
pub mod clock;
pub mod config;
pub mod database;
pub mod drill;
pub mod endpoint;
pub mod files;
mod hex;
mod http;
pub mod journal;
pub mod notify;
pub mod page_hash;
mod percent;
pub mod process;
pub mod reserve;
pub mod scratch;
mod scrub;
pub mod store;
pub mod stream;
pub mod supervisor;
