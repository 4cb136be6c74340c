//! Which layout is looked at where a replica has both, v0.3's generations and v0.5's levels: the one that moves, whose newest
//! object is the newer one, as a restore chooses. After an upgrade that is v0.5, and after a downgrade v0.3.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;

use super::finding::due;
use super::{Finding, ReplicaProbe, Seen, State};
use crate::domain::assess::proof::Evidence;
use crate::domain::litestream::Layout;
use crate::domain::moment::Moment;
use crate::domain::observation::StagedPosition;
use crate::domain::reason::Reason;
use crate::usecase::ports::{Pace, ReplicaStore};

/// A replica in which nothing arrived for so long, while the database goes on, stands still: its Litestream may be another one
/// now, or have no space left.
const STILL: SignedDuration = SignedDuration::from_mins(2);

/// How often generations are looked for beside such levels, which takes a request.
const DOUBT_INTERVAL: Duration = Duration::from_mins(5);

impl ReplicaProbe {
    /// Whether generations are looked for: at first where some are beside the levels, and while the levels stand still.
    pub(super) fn may_be_downgraded(&self, evidence: &Evidence, sampled: Moment) -> bool {
        let State::V5(levels) = &self.state else { return false };
        let first = levels.generations && self.doubted.is_none();
        first || (self.stands_still(evidence, sampled) && due(self.doubted, DOUBT_INTERVAL, sampled))
    }

    /// Whether nothing has arrived for a while although the database is ahead, as far as its WAL shows.
    pub(super) fn stands_still(&self, evidence: &Evidence, sampled: Moment) -> bool {
        let behind = self.aim.is_some() && evidence.position != self.aim;
        behind && evidence.newest_at.is_some_and(|newest| sampled.wall().duration_since(newest) > STILL)
    }

    /// Goes on to generations that are newer than the levels that were looked at; `None` where there are none that restore.
    pub(super) async fn downgraded(
        &mut self,
        store: &dyn ReplicaStore,
        sampled: Moment,
        pace: &Pace,
        levels: &Evidence,
    ) -> Result<Option<(Finding, Evidence)>, Reason> {
        self.doubted = Some(sampled);
        // What keeps generations from being seen or read is no matter of the levels, which were just looked at.
        if !store.layouts().await.is_ok_and(|layouts| layouts.contains(&Layout::V3)) {
            return Ok(None);
        }
        let mut segments = self.segments()?;
        segments.aim = self.aim;
        let Ok((finding, evidence)) = segments.look(store, sampled, pace).await else { return Ok(None) };
        if !finding.coverage.restorable || evidence.newest_at <= levels.newest_at {
            return Ok(None);
        }
        self.seen = segments.seen.take().map(Box::new);
        if let State::V5(levels) = mem::replace(&mut self.state, State::V3(segments)) {
            self.older = Some(levels);
        }
        Ok(Some((finding, evidence)))
    }

    /// Goes on to levels that are not older than the generations that were looked at; `None` where there are none.
    pub(super) async fn upgraded(
        &mut self,
        store: &dyn ReplicaStore,
        (staged, sampled, pace): (Option<&StagedPosition>, Moment, &Pace),
        generations: &Evidence,
    ) -> Result<Option<(Finding, Evidence)>, Reason> {
        let mut levels = match self.older.take() {
            Some(levels) => levels,
            None => match store.layouts().await?.first() {
                Some(Layout::V5(keys)) => self.levels(*keys, true),
                Some(Layout::V3) | None => return Ok(None),
            },
        };
        levels.damaged = Arc::clone(&self.damaged);
        (levels.whole, levels.peeks, levels.claimed) = (self.whole, self.peeks, self.claimed);
        let (finding, evidence) = levels.look(store, staged, sampled, pace).await?;
        let seen: Option<Box<Seen>> = levels.seen.take();
        if evidence.newest_at < generations.newest_at {
            self.older = Some(levels);
            return Ok(None);
        }
        (self.seen, self.doubted) = (seen, Some(sampled));
        self.state = State::V5(levels);
        Ok(Some((finding, evidence)))
    }
}
