//! What a duty is: work that the agent does again and again beside its own task; and what all duties work on.

use std::sync::Arc;
use std::time::Duration;

use super::collectors::Collectors;
use super::crew::Work;
use super::fleet::Fleet;
use super::local::LocalWatch;
use super::schedule::ReplicaKey;
use crate::domain::assessment::AgentReport;
use crate::domain::moment::Moment;
use crate::usecase::ports::{Configuration, Configured, PageReader, Stores};

/// One turn of the agent's loop: everything in it is done at one instant.
#[derive(Clone, Copy)]
pub(super) struct Turn {
    pub(super) now: Moment,
    /// True once a poll interval: only then is everything gone through.
    pub(super) tick: bool,
}

/// What the agent and its duties share.
pub(super) struct Shared {
    pub(super) fleet: Fleet,
    /// Its targets are in the fleet.
    pub(super) configured: Configured,
    pub(super) stores: Arc<dyn Stores>,
    pub(super) local: LocalWatch,
    /// Who reads single pages of the databases.
    pub(super) pages: Option<Arc<dyn PageReader>>,
    pub(super) collectors: Collectors,
    /// There is a journal: what is known survives a restart.
    pub(super) remembers: bool,
    pub(super) configuration: Arc<dyn Configuration>,
    pub(super) version: &'static str,
    /// Replicas whose look has ended in this turn, and whether it succeeded.
    pub(super) looked: Vec<(ReplicaKey, bool)>,
    /// Replicas of which objects may be read now.
    pub(super) readable: Vec<ReplicaKey>,
    /// Something is so rare that it is published at once.
    pub(super) publish: bool,
}

pub(super) trait Duty: Send {
    /// Begins what is due, and says how long it is until time alone makes something due.
    fn begin(&mut self, shared: &mut Shared, turn: Turn) -> Option<Duration>;

    fn crew(&mut self) -> &mut dyn Work;

    /// Takes in everything that has ended.
    fn conclude(&mut self, shared: &mut Shared, now: Moment);

    /// Targets or settings are others now.
    fn adapt(&mut self, _: &mut Shared, _: Moment) {}

    /// Fills in what is known here of the agent itself.
    fn report(&self, _: &Shared, _: Moment, _: &mut AgentReport) {}
}
