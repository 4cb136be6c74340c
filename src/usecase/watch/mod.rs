//! The agent: one task owns the state, everything else sends it what it saw.
//!
//! Local looks arrive from the watch thread, replica looks from short-lived tasks, and at most once a poll interval the
//! changed parts of the report are built anew and published.

mod agent;
mod beaconing;
mod drilling;
mod local;
mod once;
mod replica;
mod schedule;
mod spotting;
mod subject;

pub use agent::{Agent, AgentParts, ReloadRequest, remembered_names};
pub use once::{OnceParts, look_once, named};
