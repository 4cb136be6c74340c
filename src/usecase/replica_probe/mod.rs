//! Looks at one replica: lists what is new, reads where the newest object ends, and says what that proves.
//!
//! The probe remembers what it listed, so that a look costs one listing request whatever the number of objects. What it
//! remembers is proportional to the number of holes, not of objects.

pub(super) mod listing;
mod v3;
mod v5;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};

use crate::domain::assess::proof::Method;
use crate::domain::assess::proof::{Chain, Evidence};
use crate::domain::assessment::CoverageReport;
use crate::domain::litestream::expiry::Kept;
use crate::domain::litestream::{AgeIdentities, Coverage, Layout, LevelKeys};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::secret::Secret;
use crate::domain::target::ReplicaTarget;
use crate::domain::timeline::TimelineReport;
use crate::domain::verification::{Listed, Sighting};
use crate::usecase::ports::{Pace, ReplicaStore};

/// How often one look lists everything anew to see whether a hole is still there.
const RELISTINGS_MAX: usize = 3;

/// What a look found, apart from what it proves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    pub layout: Option<&'static str>,
    pub coverage: CoverageReport,
    /// The newest TXID of v0.5.
    pub txid: Option<u64>,
    /// The newest object's time.
    pub last_segment_at: Option<Timestamp>,
    /// To which instants it can be restored; `None` until everything was listed.
    pub timeline: Option<Arc<TimelineReport>>,
    /// Bytes of level-0 files that appeared since the first look; `None` for v0.3.
    pub received_bytes: Option<u64>,
    /// How many there were.
    pub received_objects: Option<u64>,
    /// What is wrong with the newest object, where an older one had to tell how far the replica is.
    pub damaged: Option<Reason>,
}

/// What a look saw of single objects, whether or not it succeeded in the end.
#[derive(Clone, Debug)]
pub struct Seen {
    pub listed: Listed,
    /// The newest object if it was read whole, and how many of its bytes were read for verification alone.
    pub newest: Option<(Sighting, Bytes, u64)>,
}

/// What is remembered of one replica between two looks.
#[derive(Debug, Default)]
pub struct ReplicaProbe {
    state: State,
    /// What the last look saw, until it is taken.
    seen: Option<Seen>,
    /// The newest object is read whole when it has at most so many bytes, and not only its header.
    whole: u64,
    /// The contents of v0.3 are encrypted (`age`).
    encrypted: bool,
    /// With which they can be read.
    identities: Vec<Secret>,
    /// Keys that are known to be damaged: the coverage map does without them.
    damaged: Arc<BTreeSet<String>>,
    /// What Litestream was told to keep, if that is known.
    kept: Option<Kept>,
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
        Self { encrypted, ..Self::default() }
    }

    /// A probe that reads encrypted contents with the identities that are configured, if there are any.
    pub fn of(target: &ReplicaTarget) -> Self {
        Self { identities: target.age_identities.clone(), kept: target.kept, ..Self::new(target.encrypted) }
    }

    /// Says which keys are known to be damaged. Where they are others than before, the next look lists everything to see
    /// what that blocks.
    pub fn set_damaged(&mut self, keys: BTreeSet<String>) {
        if *self.damaged == keys {
            return;
        }
        self.damaged = Arc::new(keys);
        match &mut self.state {
            State::V5(levels) => levels.tell(None, &self.damaged),
            State::V3(segments) => segments.tell(&self.damaged),
            State::Blank => {}
        }
    }

    /// Has the next look read the newest object whole if it has at most `bytes`, in the request that reads its header.
    pub fn read_whole(&mut self, bytes: u64) {
        self.whole = bytes;
    }

    /// Has the next look list everything.
    pub fn relist(&mut self) {
        match &mut self.state {
            State::Blank => {}
            State::V5(levels) => levels.relist(),
            State::V3(segments) => segments.relist(),
        }
    }

    /// What the last look saw of single objects; nothing when its listing failed.
    pub fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take()
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
        self.seen = None;
        let blank = matches!(self.state, State::Blank);
        if blank {
            self.recognise(store).await?;
        }
        if let State::V3(segments) = &mut self.state {
            let found = segments.look(store, sampled, pace).await;
            self.seen = segments.take_seen();
            let found = found?;
            let (empty, due) = (segments.is_empty(), !blank && segments.upgrade_due(sampled));
            if empty {
                self.state = State::Blank;
            } else if due {
                self.recognise(store).await?;
            }
            if !matches!(self.state, State::V5(_)) {
                return Ok(found);
            }
        }
        let State::V5(levels) = &mut self.state else {
            let mut listed = Listed::new(LevelKeys::Plain);
            listed.restart();
            self.seen = Some(Seen { listed, newest: None });
            return Ok(nothing(sampled));
        };
        levels.read_whole(self.whole);
        let found = levels.look(store, staged, sampled, pace).await;
        self.seen = levels.take_seen();
        let found = found?;
        if levels.is_empty() {
            // Emptied: what comes next may be of another layout.
            self.state = State::Blank;
        }
        Ok(found)
    }

    /// Finds out which release writes there. v0.5 counts when it has begun beside the generations of v0.3.
    async fn recognise(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        let layouts = Layout::recognise(&store.folders("").await?);
        match (layouts.first(), &self.state) {
            (Some(Layout::V5(keys)), _) => {
                let mut levels = v5::Levels::new(*keys, self.kept);
                levels.tell(Some(layouts.contains(&Layout::V3)), &self.damaged);
                self.state = State::V5(Box::new(levels));
            }
            (Some(Layout::V3), State::Blank) => {
                let identities = AgeIdentities::parse(&self.identities)?;
                let readable = !self.encrypted || !identities.is_empty();
                let mut segments = v3::Segments::new(readable.then_some(identities), self.kept);
                segments.tell(&self.damaged);
                self.state = State::V3(Box::new(segments));
            }
            (Some(Layout::V3) | None, _) => {}
        }
        Ok(())
    }
}

/// Whether `interval` has gone by since `last`.
fn due(last: Option<Moment>, interval: Duration, now: Moment) -> bool {
    let interval = SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX);
    last.is_none_or(|last| now.since(last) >= interval)
}

fn nothing(sampled: Moment) -> (Finding, Evidence) {
    let evidence = Evidence {
        verified_at: sampled,
        position: None,
        method: Method::Observer,
        newest_at: None,
        chain: Chain::NoStart,
    };
    (Finding::default(), evidence)
}

/// Reads an object's beginning and understands it, or says what is wrong with it. What is corrupt is read a second time:
/// only what comes twice is what is stored, and not what the way to it made of it.
///
/// # Errors
///
/// Why it could not be read, or that two reads differ.
async fn read_understood<T: Send>(
    store: &dyn ReplicaStore,
    key: &str,
    length: u64,
    understand: impl Fn(&Bytes) -> Result<T, Reason> + Send + Sync,
) -> Result<(Bytes, Result<T, Reason>), Reason> {
    let first = store.read(key, 0, length).await?;
    let understood = understand(&first);
    if !understood.as_ref().is_err_and(|reason| reason.kind == ReasonKind::Corrupt) {
        return Ok((first, understood));
    }
    let second = store.read(key, 0, length).await?;
    if second == first {
        return Ok((first, understood));
    }
    let differ = |_| Reason::new(ReasonKind::Failed, format!("read {key}: two reads of it differ"));
    let understood = understand(&second).map_err(differ)?;
    Ok((second, Ok(understood)))
}

fn corrupt(key: &str, error: impl std::fmt::Display) -> Reason {
    Reason::new(ReasonKind::Corrupt, format!("read {key}: {error}"))
}

/// How the chain of a replica that was just listed stands.
fn chain<S>(coverage: &Coverage<S>, sampled: Moment) -> Chain {
    if !coverage.restorable {
        return Chain::NoStart;
    }
    match coverage.lost_since.filter(|_| !coverage.holes.is_empty()) {
        None => Chain::Complete,
        Some(lost) => Chain::Broken { end: coverage.reached_at, lost_since: lost.min(sampled.wall) },
    }
}
