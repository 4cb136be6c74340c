//! Looks at one replica: lists what is new, reads where the newest object ends, and says what that proves.
//!
//! The probe remembers what it listed, so that a look costs one listing request whatever the number of objects. What it
//! remembers is proportional to the number of holes, not of objects. Where requests are dear it asks for the next object by
//! its name, and lists only from time to time.

mod finding;
mod moving;
mod v3;
mod v5;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use crate::domain::assess::proof::{Chain, Evidence, Method};
use crate::domain::litestream::{AgeIdentities, Layout, LevelKeys, Txid};
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::Reason;
use crate::domain::sqlite::WalPosition;
use crate::domain::target::ReplicaTarget;
use crate::domain::verification::Listing;
use crate::usecase::ports::{Pace, ReplicaStore};

pub use self::finding::{Finding, Seen};

/// The state of one replica between two looks.
#[derive(Debug, Default)]
pub struct ReplicaProbe {
    state: State,
    /// What is looked at, where that is a replica of the configuration.
    target: Option<Arc<ReplicaTarget>>,
    /// The single objects that the last look saw, until they are taken.
    seen: Option<Box<Seen>>,
    /// The newest object is read whole when it has at most so many bytes, and not only its header.
    whole: u64,
    /// The contents of v0.3 are encrypted (`age`).
    encrypted: bool,
    /// Keys that are known to be damaged: the coverage map does without them.
    damaged: Arc<BTreeSet<String>>,
    /// Requests are dear there: single objects are asked for where that spares a listing.
    peeks: bool,
    /// The newest TXID that Litestream has written beside the database, where that shows.
    claimed: Option<Txid>,
    /// Where the WAL of the database ended, where that is known.
    aim: Option<WalPosition>,
    /// Levels of v0.5 that are older than the generations of v0.3 that are looked at: after a downgrade.
    older: Option<Box<v5::Levels>>,
    /// When generations were last looked for beside levels.
    doubted: Option<Moment>,
}

/// Of replicas in which nothing is known to be damaged: one for all.
static UNDAMAGED: LazyLock<Arc<BTreeSet<String>>> = LazyLock::new(Arc::default);

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
        Self { encrypted, damaged: Arc::clone(&UNDAMAGED), ..Self::default() }
    }

    /// A probe that reads encrypted contents with the identities that are configured, if there are any.
    pub fn of(target: &Arc<ReplicaTarget>) -> Self {
        let peeks = target.location.kind().is_atomic();
        Self { target: Some(Arc::clone(target)), peeks, ..Self::new(target.encrypted) }
    }

    /// Says which keys are known to be damaged. Where they are others than before, the next look lists everything to see
    /// what that blocks.
    pub fn set_damaged(&mut self, keys: BTreeSet<String>) {
        if *self.damaged == keys {
            return;
        }
        self.damaged = Arc::new(keys);
        match &mut self.state {
            State::V5(levels) => (levels.damaged, levels.reconciled) = (Arc::clone(&self.damaged), None),
            State::V3(segments) => (segments.damaged, segments.reconciled) = (Arc::clone(&self.damaged), None),
            State::Blank => {}
        }
    }

    /// Has the next look read the newest object whole if it has at most `bytes`, in the request that reads its header.
    pub fn read_whole(&mut self, bytes: u64) {
        self.whole = bytes;
    }

    /// Says which TXID Litestream had written last beside the database (v0.5) when the next look began: where to search
    /// first, and no proof. `None` where that does not show.
    pub fn claim(&mut self, txid: Option<Txid>) {
        self.claimed = txid;
    }

    /// Says where the WAL of the database ended before the next look (v0.3): it reads up to there. `None` where that is not
    /// known.
    pub fn aim(&mut self, position: Option<WalPosition>) {
        self.aim = position;
    }

    /// Has the next look list everything.
    pub fn relist(&mut self) {
        match &mut self.state {
            State::Blank => {}
            State::V5(levels) => levels.reconciled = None,
            State::V3(segments) => segments.reconciled = None,
        }
    }

    /// When everything was listed, and for v0.3 what is new; `None` where that is to be done by the next look.
    pub fn reconciled(&self) -> Option<Moment> {
        match &self.state {
            State::Blank => None,
            State::V5(levels) => levels.reconciled,
            State::V3(segments) => segments.reconciled.and(segments.listed),
        }
    }

    /// Takes the single objects that the last look listed; `None` when that failed, or needed no listing.
    pub fn take_seen(&mut self) -> Option<Seen> {
        self.seen.take().map(|seen| *seen)
    }

    /// Looks at the replica. `sampled` is when the source was sampled for this look, before any request is made.
    ///
    /// # Errors
    ///
    /// When the listing or the newest object cannot be read. Nothing is then known to have changed.
    pub async fn look(
        &mut self,
        store: &dyn ReplicaStore,
        staged: Option<&StagedPosition>,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<(Finding, Evidence), Reason> {
        let (finding, evidence) = self.look_at_layout(store, staged, sampled, pace).await?;
        let space_left = if self.stands_still(&evidence, sampled) { store.space_left().await } else { None };
        Ok((Finding { space_left, ..finding }, evidence))
    }

    async fn look_at_layout(
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
            (segments.peeks, segments.aim) = (self.peeks, self.aim);
            let found = segments.look(store, sampled, pace).await;
            self.seen = segments.seen.take().map(Box::new);
            let found = found?;
            let (empty, due) = (segments.is_empty(), !blank && segments.upgrade_due(sampled));
            if empty {
                self.state = State::Blank;
            } else if due && let Some(newer) = self.upgraded(store, (staged, sampled, pace), &found.1).await? {
                return Ok(newer);
            }
            return Ok(found);
        }
        let State::V5(levels) = &mut self.state else {
            let mut listed = Listing::new(LevelKeys::Plain);
            listed.restart();
            self.seen = Some(Box::new(Seen { listed, newest: None }));
            return Ok(nothing(sampled));
        };
        (levels.whole, levels.peeks, levels.claimed) = (self.whole, self.peeks, self.claimed);
        let found = levels.look(store, staged, sampled, pace).await;
        self.seen = levels.seen.take();
        let found = found?;
        if levels.is_empty() {
            // Emptied: what comes next may be of another layout.
            self.state = State::Blank;
        } else if self.may_be_downgraded(&found.1, sampled)
            && let Some(newer) = self.downgraded(store, sampled, pace, &found.1).await?
        {
            return Ok(newer);
        }
        Ok(found)
    }

    /// Finds out which release writes there. v0.5 counts when it has begun beside the generations of v0.3.
    async fn recognise(&mut self, store: &dyn ReplicaStore) -> Result<(), Reason> {
        let layouts = store.layouts().await?;
        match (layouts.first(), &self.state) {
            (Some(Layout::V5(keys)), _) => {
                self.state = State::V5(self.levels(*keys, layouts.contains(&Layout::V3)));
            }
            (Some(Layout::V3), State::Blank) => self.state = State::V3(self.segments()?),
            (Some(Layout::V3) | None, _) => {}
        }
        Ok(())
    }

    /// Levels of which nothing is known yet. `generations`: those of v0.3 are beside them.
    fn levels(&self, keys: LevelKeys, generations: bool) -> Box<v5::Levels> {
        let mut levels = v5::Levels::new(keys, self.target.clone());
        (levels.damaged, levels.generations) = (Arc::clone(&self.damaged), generations);
        Box::new(levels)
    }

    /// Generations of which nothing is known yet.
    fn segments(&self) -> Result<Box<v3::Segments>, Reason> {
        let target = self.target.as_deref();
        let identities = target.map(|target| target.age_identities.as_slice()).unwrap_or_default();
        let identities = AgeIdentities::parse(identities)?;
        let readable = !self.encrypted || !identities.is_empty();
        let store = target.map_or("", |target| target.location.kind().as_str());
        let kept = target.and_then(|target| target.kept);
        let mut segments = v3::Segments::new(store, readable.then_some(identities), kept);
        segments.damaged = Arc::clone(&self.damaged);
        Ok(Box::new(segments))
    }
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
