//! The agent's work, over ports: watch databases and replicas, keep the report, and tell whom it concerns.

pub mod drill;
pub mod notify;
pub mod observe;
pub mod ports;
pub mod remembered;
pub mod replica_probe;
pub mod restorable;
pub mod restore;
pub mod spot;
pub mod stock;
pub mod verify;
mod walk;
pub mod watch;
