//! What the agent does, over ports: watch databases and replicas, and keep the report.

pub mod ports;
