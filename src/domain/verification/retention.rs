//! Whether Litestream's own retention explains that an object is gone.

use super::listing::Listing;
use crate::domain::litestream::{Folder, Generation, Listed, ObjectName, SNAPSHOT_LEVEL, Txid};

/// Whether retention, compaction or an abandoned generation explain that `name` is in a complete listing no more.
///
/// Level 0 goes once level 1 holds it, levels 1 to 8 go before a snapshot that goes, a snapshot goes when there is a
/// newer one. v0.3 deletes what is before the oldest snapshot that it keeps, and generations without one.
pub(super) fn explains(listed: &Listing, name: ObjectName) -> bool {
    match name {
        ObjectName::Ltx { level: 0, name } => {
            // Until 0.5.2 files went at once, which the same rule explains.
            (1..=8).filter_map(|level| last_max(listed, level)).max() >= Some(name.max)
        }
        ObjectName::Ltx { level, name } if level < SNAPSHOT_LEVEL => {
            let oldest = listed.folder(Folder::Level(SNAPSHOT_LEVEL)).filter_map(max).min();
            listed.is_cut(Folder::Level(SNAPSHOT_LEVEL)) || oldest.is_some_and(|oldest| name.max < oldest)
        }
        ObjectName::Ltx { name, .. } => last_max(listed, SNAPSHOT_LEVEL) > Some(name.max),
        ObjectName::Snapshot(generation, name) => {
            let newer = snapshots(listed, generation).next_back().is_some_and(|newest| newest > name.index);
            newer || is_abandoned(listed, generation)
        }
        ObjectName::Segment(generation, name) => {
            let oldest = snapshots(listed, generation).next();
            listed.is_cut(Folder::Snapshots(generation))
                || oldest.is_some_and(|oldest| name.index < oldest)
                || is_abandoned(listed, generation)
        }
    }
}

fn max(object: &Listed) -> Option<Txid> {
    object.name.ltx().map(|name| name.max)
}

fn last_max(listed: &Listing, level: u8) -> Option<Txid> {
    listed.folder(Folder::Level(level)).filter_map(max).max()
}

/// The indexes of the snapshots that are left of a generation, in ascending order.
fn snapshots(listed: &Listing, generation: Generation) -> impl DoubleEndedIterator<Item = u32> {
    listed.folder(Folder::Snapshots(generation)).filter_map(|object| match object.name {
        ObjectName::Snapshot(_, name) => Some(name.index),
        ObjectName::Ltx { .. } | ObjectName::Segment(..) => None,
    })
}

/// Nothing is left of the generation, and there is another.
fn is_abandoned(listed: &Listing, generation: Generation) -> bool {
    let own = [Folder::Snapshots(generation), Folder::Wal(generation)];
    let mut folders = listed.folders().peekable();
    folders.peek().is_some() && folders.all(|folder| !own.contains(&folder))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{Dated, LevelKeys, LtxName, SegmentName, SnapshotName};

    fn ltx(level: u8, min: u64, max: u64) -> ObjectName {
        ObjectName::Ltx { level, name: LtxName { min: Txid(min), max: Txid(max) } }
    }

    fn snapshot(generation: u64, index: u32) -> ObjectName {
        ObjectName::Snapshot(Generation(generation), SnapshotName { index })
    }

    fn segment(generation: u64, index: u32) -> ObjectName {
        ObjectName::Segment(Generation(generation), SegmentName { index, offset: 0 })
    }

    fn check(left: &[ObjectName], gone: ObjectName, explained: bool) {
        let mut listed = Listing::new(LevelKeys::Plain);
        listed.restart();
        for name in left {
            listed.push(Listed { name: *name, size: 1, at: Dated::Uploaded(Timestamp::UNIX_EPOCH) });
        }
        assert_eq!(explains(&listed, gone), explained, "{gone} of {left:?}");
    }

    #[test]
    fn litestreams_own_deletions_are_explained() {
        check(&[ltx(0, 5, 5), ltx(1, 1, 4)], ltx(0, 4, 4), true);
        check(&[ltx(2, 1, 4)], ltx(0, 4, 4), true);
        check(&[ltx(9, 1, 9), ltx(1, 7, 9)], ltx(1, 5, 6), true);
        check(&[ltx(9, 1, 9)], ltx(9, 1, 5), true);
        check(&[snapshot(1, 5), segment(1, 5)], segment(1, 4), true);
        check(&[snapshot(1, 5)], snapshot(1, 2), true);
        check(&[snapshot(2, 0)], segment(1, 4), true);
        check(&[snapshot(2, 0)], snapshot(1, 4), true);
    }

    #[test]
    fn other_deletions_are_not() {
        check(&[ltx(1, 1, 4)], ltx(0, 5, 5), false);
        check(&[], ltx(0, 5, 5), false);
        check(&[ltx(9, 1, 5)], ltx(0, 5, 5), false);
        check(&[ltx(9, 1, 5)], ltx(1, 5, 6), false);
        check(&[ltx(9, 1, 5)], ltx(1, 4, 5), false);
        check(&[ltx(0, 6, 6)], ltx(3, 1, 5), false);
        check(&[ltx(9, 1, 5)], ltx(9, 1, 9), false);
        check(&[ltx(0, 6, 6)], ltx(9, 1, 5), false);
        check(&[snapshot(1, 4), segment(1, 5)], segment(1, 4), false);
        check(&[segment(1, 5)], snapshot(1, 5), false);
        check(&[], segment(1, 5), false);
        check(&[snapshot(2, 0), segment(1, 5)], segment(1, 6), false);
    }
}
