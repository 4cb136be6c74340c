//! Alerts on their way to people, with the real programs at the other end.

#![expect(clippy::unwrap_used, reason = "a test")]

mod lab;

#[path = "alerting/programs.rs"]
mod programs;
