//! What an attacker and a bad day do to the agent: stores that lie, and clients that only want to be in the way.
//!
//! A server that lies is one entry of the table in `hostile/stores.rs`.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod lab;

#[path = "hostile/bystanders.rs"]
mod bystanders;
#[path = "hostile/endpoint.rs"]
mod endpoint;
#[path = "hostile/server.rs"]
mod server;
#[path = "hostile/soak.rs"]
mod soak;
#[path = "hostile/stores.rs"]
mod stores;
