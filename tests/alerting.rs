//! Alerts on their way to people, with the real programs at the other end.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

mod lab;

#[path = "alerting/alertmanager.rs"]
mod alertmanager;
#[path = "alerting/end_to_end.rs"]
mod end_to_end;
#[path = "alerting/people.rs"]
mod people;
#[path = "alerting/programs.rs"]
mod programs;
#[path = "alerting/secrets.rs"]
mod secrets;
#[path = "alerting/site.rs"]
mod site;
