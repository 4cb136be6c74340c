//! Looks at one replica: lists what is new, reads where the newest object ends, and says what that proves.
//!
//! The probe remembers what it listed, so that a look costs one listing request whatever the number of objects. What it
//! remembers is proportional to the number of holes, not of objects.

mod listing;
mod v3;
mod v5;

use jiff::Timestamp;

use crate::domain::assess::proof::Evidence;
use crate::domain::litestream::Layout;
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::report::{CoverageReport, Method};
use crate::usecase::ports::{Pace, ReplicaStore};

/// What a look found, apart from what it proves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub layout: Option<&'static str>,
    pub coverage: CoverageReport,
    /// The newest TXID of v0.5.
    pub txid: Option<u64>,
    /// The newest object's time.
    pub last_segment_at: Option<Timestamp>,
}

/// What is remembered of one replica between two looks.
#[derive(Debug, Default)]
pub struct ReplicaProbe {
    state: State,
    /// The contents of v0.3 cannot be read (`age`).
    encrypted: bool,
}

#[derive(Debug, Default)]
enum State {
    /// Nothing was ever found there.
    #[default]
    Blank,
    V5(Box<v5::Levels>),
    V3(Box<v3::Segments>),
}

impl ReplicaProbe {
    pub fn new(encrypted: bool) -> Self {
        Self { state: State::Blank, encrypted }
    }

    /// Looks at the replica. `sampled` is when the source was sampled for this look, before any request is made.
    ///
    /// # Errors
    ///
    /// What kept the listing or the newest object from being read. Nothing is then known to have changed.
    pub async fn look(
        &mut self,
        store: &dyn ReplicaStore,
        staged: Option<&StagedPosition>,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<(Finding, Evidence), Reason> {
        if matches!(self.state, State::Blank) {
            let layouts = Layout::recognise(&store.folders("").await?);
            self.state = match layouts.first() {
                None => State::Blank,
                Some(Layout::V5(keys)) => State::V5(Box::new(v5::Levels::new(*keys))),
                Some(Layout::V3) => State::V3(Box::new(v3::Segments::new(self.encrypted))),
            };
        }
        match &mut self.state {
            State::Blank => Ok(nothing(sampled)),
            State::V5(levels) => {
                let found = levels.look(store, staged, sampled, pace).await?;
                if levels.is_empty() {
                    // Emptied: what comes next may be of another layout.
                    self.state = State::Blank;
                }
                Ok(found)
            }
            State::V3(segments) => {
                let found = segments.look(store, sampled, pace).await?;
                let upgraded = segments.upgrade_due(sampled) && Layout::recognise(&store.folders("").await?).len() > 1;
                if segments.is_empty() || upgraded {
                    // Emptied, or v0.5 has begun beside the old generations.
                    self.state = State::Blank;
                }
                Ok(found)
            }
        }
    }
}

fn nothing(sampled: Moment) -> (Finding, Evidence) {
    let evidence = Evidence {
        verified_at: sampled,
        position: None,
        method: Method::Observer,
        newest_at: None,
        chain: crate::domain::assess::proof::Chain::NoStart,
    };
    (Finding::default(), evidence)
}

fn corrupt(key: &str, error: impl std::fmt::Display) -> Reason {
    Reason::new(ReasonKind::Corrupt, format!("read {key}: {error}"))
}
