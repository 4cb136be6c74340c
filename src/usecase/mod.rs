//! What the agent does, over ports: watch databases and replicas, and keep the report.

pub mod drill;
pub mod ports;
pub mod replica_probe;
pub mod restorable;
pub mod restore;
pub mod verify;
pub mod watch;
