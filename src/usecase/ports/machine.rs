//! The machine the agent runs on: its clocks, and how much of it the agent takes.

use crate::domain::assessment::ProcessReport;
use crate::domain::moment::Moment;

/// The one place that reads clocks.
pub trait Clock: Send + Sync {
    fn now(&self) -> Moment;
}

/// The agent's own use of the machine.
pub type ProcessProbe = fn() -> Option<ProcessReport>;
