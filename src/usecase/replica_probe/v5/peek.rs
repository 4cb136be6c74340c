//! Looks at a v0.5 replica without a listing: asks for the level-0 files that come next by the names that they will have.

use std::time::Duration;

use super::Levels;
use super::search::Search;
use crate::domain::litestream::{HEADER_SIZE, LtxHeader, LtxName, ObjectName, Txid};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::usecase::ports::{Content, Pace, ReplicaStore};
use crate::usecase::replica_probe::finding::due;

/// What looks saw beyond the last listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peeked {
    /// Of the newest file.
    pub(super) newest: LtxHeader,
    /// Of the newest one up to which each file was seen, here or in the listing.
    pub(super) linked: LtxHeader,
}

/// What a request for one file says of it.
enum Answer {
    There(LtxHeader),
    Absent,
    /// Nothing: it is not what its name says, or may not be read, perhaps because it is not there.
    Nothing,
}

impl Levels {
    /// A listing is not due, and what the last one showed is in order and says which file comes next.
    pub(super) fn may_peek(&self, sampled: Moment, pace: &Pace) -> bool {
        let newest = self.newest.filter(|(file, _)| file.level == 0).map(|(file, _)| file.max);
        let in_order =
            newest.is_some() && newest == self.inventory.max_txid() && self.odd.is_none() && self.holes.is_empty();
        self.peeks
            && in_order
            && pace.listing > pace.bucket
            && !due(self.reconciled, pace.reconcile, sampled)
            && !self.listing_interval(newest, pace).is_some_and(|interval| due(self.listed, interval, sampled))
    }

    /// How soon after a listing the next one is due; `None` where nothing is new and nothing should be.
    fn listing_interval(&self, listed: Option<Txid>, pace: &Pace) -> Option<Duration> {
        match self.claimed {
            // A file that is missing would keep all behind it from being asked for.
            Some(claimed) if listed < Some(claimed) => Some(pace.listing),
            _ if self.peeked.is_some() => Some(pace.listing),
            claimed if claimed == listed => None,
            _ => Some(pace.idle.max(pace.listing)),
        }
    }

    /// Finds the newest file by asking for single ones. `false` when that does not tell, and everything that is new has to
    /// be listed.
    pub(super) async fn peek(
        &mut self,
        store: &dyn ReplicaStore,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<bool, Reason> {
        let listed = self.newest.map(|(_, header)| Peeked { newest: header, linked: header });
        let Some(before) = self.peeked.as_deref().copied().or(listed) else { return Ok(false) };
        let (mut seen, mut search) = (before, Search::new(before.newest.max, self.claimed));
        while let Some(txid) = search.next() {
            match ask(store, txid).await? {
                Answer::There(header) => {
                    if seen.linked.max.0.checked_add(1) == Some(txid.0) {
                        seen.linked = header;
                    }
                    seen.newest = header;
                    search.there(txid);
                }
                Answer::Absent => search.absent(txid),
                Answer::Nothing => return Ok(false),
            }
        }
        if seen.newest.max == before.newest.max {
            // Nothing is new: that all is as it was is only said of a file that is still there.
            let same = matches!(ask(store, before.newest.max).await?, Answer::There(header) if header == before.newest);
            if !same {
                // It may be another one of the same name, and of another size.
                (self.newest, self.reconciled) = (None, None);
            }
            return Ok(same);
        }
        let listed = search.has_ended() && !due(self.listed, pace.listing, sampled);
        if listed {
            self.peeked = Some(Box::new(seen));
        }
        Ok(listed)
    }
}

async fn ask(store: &dyn ReplicaStore, txid: Txid) -> Result<Answer, Reason> {
    let name = LtxName { min: txid, max: txid };
    let bytes = match store.read(ObjectName::Ltx { level: 0, name }, 0, HEADER_SIZE as u64).await {
        Ok(Content::There(bytes)) => bytes,
        Ok(Content::Missing(_)) => return Ok(Answer::Absent),
        // S3 says so of what is not there to those who may not list.
        Err(reason) if reason.kind == ReasonKind::Denied => return Ok(Answer::Nothing),
        Err(reason) => return Err(reason),
    };
    let header = LtxHeader::parse(&bytes).ok().filter(|header| header.check_name(name).is_ok());
    Ok(header.map_or(Answer::Nothing, Answer::There))
}
