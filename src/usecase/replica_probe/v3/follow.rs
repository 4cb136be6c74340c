//! Looks at a v0.3 replica without a listing: asks for the segment that comes next by the name that it will have.
//!
//! A segment begins where the one before it ends, or at the start of the next index, and is uploaded after it. One that was
//! read says where it ends: the next one, if it is there, is proven to follow without a gap.

use jiff::Timestamp;

use super::Segments;
use crate::domain::limits::{FOLLOWED_MAX, LARGE_REPLICA_OBJECTS, SEGMENT_BYTES_MAX, WHOLE_LISTING_INTERVAL};
use crate::domain::litestream::{AgeIdentities, Generation, ObjectName, SegmentName, segment_end_of};
use crate::domain::moment::Moment;
use crate::domain::reason::{Reason, ReasonKind};
use crate::domain::sqlite::WalPosition;
use crate::usecase::ports::{Content, Pace, ReplicaStore};
use crate::usecase::replica_probe::finding::due;

/// The newest segment that was read beyond the last listing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Followed {
    name: SegmentName,
    /// Where it ends.
    pub(super) end: WalPosition,
    /// How many there are beyond the listing.
    pub(super) count: u64,
    /// When it was seen: it was uploaded before that.
    pub(super) seen_at: Timestamp,
}

/// What a request for one segment says of it.
enum Answer {
    /// It is there, and ends here.
    There(WalPosition),
    Absent,
    /// Nothing: it cannot be understood, or may not be read, perhaps because it is not there.
    Nothing,
}

impl Segments {
    /// A listing is not due, what the last one showed is in order, and it is known how far the database is.
    pub(super) fn may_follow(&self, sampled: Moment, pace: &Pace) -> bool {
        let newest = self.generations.newest().map(|(generation, found)| (generation, found.newest_segment));
        let read = self.newest.map(|(generation, segment, _)| (generation, Some(segment)));
        let in_order = newest.is_some() && newest == read && self.odd.is_none() && self.holes.is_empty();
        self.peeks
            && in_order
            && self.aim.is_some()
            && self.generations.coverage().restorable
            && pace.listing > pace.bucket
            && !due(self.listed, pace.reconcile, sampled)
            && !self.whole_listing_due(sampled, pace)
    }

    /// Everything is to be listed. What is lost from the middle of a large replica is seen late, because a listing of it takes
    /// hundreds of requests: what is new, and other generations, show without it.
    pub(super) fn whole_listing_due(&self, sampled: Moment, pace: &Pace) -> bool {
        let large = self.peeks && self.generations.objects() > LARGE_REPLICA_OBJECTS;
        let interval = if large { pace.reconcile.max(WHOLE_LISTING_INTERVAL) } else { pace.reconcile };
        due(self.reconciled, interval, sampled)
    }

    /// Reads the segments that have come since the last look, up to where the database was when the look began. Nothing
    /// changes when a request fails. `false`: what is new has to be listed.
    pub(super) async fn follow(
        &mut self,
        store: &dyn ReplicaStore,
        sampled: Moment,
        pace: &Pace,
    ) -> Result<bool, Reason> {
        let (Some((generation, newest, end)), Some(identities), Some(aim)) = (self.newest, &self.identities, self.aim)
        else {
            return Ok(false);
        };
        let listed = Followed { name: newest.name(), end, count: 0, seen_at: newest.created };
        let before = self.followed.unwrap_or(listed);
        let (mut last, arrived) = (before, |last: &Followed| last.end.same_wal(&aim) && last.end.end >= aim.end);
        while !arrived(&last) && last.count - before.count < FOLLOWED_MAX {
            let here = last.end.same_wal(&aim);
            match next(store, identities, generation, (last.name, last.end), here).await? {
                Some((name, Answer::There(end))) => {
                    last = Followed { name, end, count: last.count + 1, seen_at: sampled.wall() };
                }
                Some(_) => return Ok(false),
                None => break,
            }
        }
        if last.count == before.count {
            // That nothing is new is only said of a segment that is still there.
            let name = ObjectName::Segment(generation, last.name);
            if !matches!(store.read(name, 0, 1).await?, Content::There(bytes) if !bytes.is_empty()) {
                self.reconciled = None;
                return Ok(false);
            }
        }
        self.followed = Some(last).filter(|last| last.count > 0);
        Ok(arrived(&last) || (last.count - before.count < FOLLOWED_MAX && !due(self.listed, pace.listing, sampled)))
    }
}

/// The segment behind one that ends at `end`, where there is one. In the WAL in which the database is, no other follows.
async fn next(
    store: &dyn ReplicaStore,
    identities: &AgeIdentities,
    generation: Generation,
    (name, end): (SegmentName, WalPosition),
    is_last_wal: bool,
) -> Result<Option<(SegmentName, Answer)>, Reason> {
    let beyond = SegmentName { index: name.index, offset: end.end };
    let found = match ask(store, identities, generation, beyond).await? {
        Answer::Absent if is_last_wal => None,
        Answer::Absent => {
            let Some(index) = name.index.checked_add(1) else { return Ok(None) };
            let first = SegmentName { index, offset: 0 };
            match ask(store, identities, generation, first).await? {
                Answer::Absent => None,
                // The last one of an index may have come between the two requests, before the first one of the next.
                there => match ask(store, identities, generation, beyond).await? {
                    Answer::Absent => Some((first, there)),
                    late => Some((beyond, late)),
                },
            }
        }
        there => Some((beyond, there)),
    };
    Ok(found.map(|(found, answer)| match answer {
        // It is not of the WAL that it should go on with.
        Answer::There(other) if found.index == name.index && !other.same_wal(&end) => (found, Answer::Nothing),
        answer => (found, answer),
    }))
}

async fn ask(
    store: &dyn ReplicaStore,
    identities: &AgeIdentities,
    generation: Generation,
    name: SegmentName,
) -> Result<Answer, Reason> {
    let bytes = match store.read(ObjectName::Segment(generation, name), 0, SEGMENT_BYTES_MAX).await {
        Ok(Content::There(bytes)) => bytes,
        Ok(Content::Missing(_)) => return Ok(Answer::Absent),
        // S3 says so of what is not there to those who may not list.
        Err(reason) if reason.kind == ReasonKind::Denied => return Ok(Answer::Nothing),
        Err(reason) => return Err(reason),
    };
    let whole = (bytes.len() as u64) < SEGMENT_BYTES_MAX;
    let end = segment_end_of(&name, bytes.as_ref(), identities).ok().filter(|_| whole);
    Ok(end.map_or(Answer::Nothing, |end| Answer::There(end.end)))
}
