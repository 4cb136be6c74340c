//! The agent: one task owns the state, everything else sends it what it saw.
//!
//! Local looks arrive from the watch thread, replica looks from short-lived tasks, and at most once a poll interval the
//! changed parts of the report are built anew and published.

mod agent;
mod alerts;
mod collectors;
mod crew;
mod doubt;
mod drilling;
mod duty;
mod fleet;
mod local;
mod objects;
mod once;
mod planning;
mod replica;
mod resting;
mod saved;
mod schedule;
mod series;
mod spotting;
mod subject;
mod telling;
mod trends;
mod turn;

pub use agent::{Agent, AgentParts, ReloadRequest};
pub use once::{OnceParts, look_once, named};
pub use saved::{remembered_drills, remembered_names};
