//! Every damage that shows without a restore, made on purpose in replicas of the genuine Litestream: what is found, under
//! which key, by which step, and what it costs to find it.

#![allow(unreachable_pub, clippy::unwrap_used, reason = "these are tests")]

#[path = "verification/agent.rs"]
mod agent;
#[path = "verification/bench.rs"]
mod bench;
#[path = "verification/between.rs"]
mod between;
#[path = "verification/damage.rs"]
mod damage;
#[path = "support/faulty_store.rs"]
mod faulty_store;
mod lab;
#[path = "verification/once.rs"]
mod once;
#[path = "verification/pace.rs"]
mod pace;
