//! Which files Litestream's own retention should have deleted long ago.

use jiff::Timestamp;

use super::SNAPSHOT_LEVEL;
use super::name::LtxFile;
use super::txid::Txid;
use crate::domain::litestream::expiry::{Kept, ago};

/// How many of all files of a v0.5 replica should be gone.
///
/// A snapshot goes by its age, the newest never. With it go the files of levels 1 to 8 that end before it, the last one of
/// each level never: how far snapshots that are gone reached is not known, so that only those before a snapshot that should
/// be gone are counted. A file of level 0 goes by its age once level 1 holds it, the newest never.
pub fn expired(files: &[LtxFile], kept: &Kept, now: Timestamp) -> u64 {
    let newest = |level: u8| files.iter().filter(|file| file.level == level).map(|file| file.max).max();
    let snapshots = newest(SNAPSHOT_LEVEL).zip(kept.snapshots_before(now));
    let old_snapshot = |file: &&LtxFile| {
        snapshots
            .is_some_and(|(newest, before)| file.level == SNAPSHOT_LEVEL && file.max < newest && file.created < before)
    };
    let reached = files.iter().filter(old_snapshot).map(|file| file.max).max();
    let ends: Vec<Option<Txid>> = (0..SNAPSHOT_LEVEL).map(newest).collect();
    let level0 = ends.get(1).copied().flatten().zip(kept.level0.and_then(|age| ago(age, now)));
    let is_last = |file: &LtxFile| ends.get(usize::from(file.level)).copied().flatten() == Some(file.max);
    let old = |file: &&LtxFile| match file.level {
        SNAPSHOT_LEVEL => old_snapshot(file),
        _ if is_last(file) => false,
        0 => level0.is_some_and(|(held, before)| file.max <= held && file.created < before),
        _ => Some(file.max) < reached && snapshots.is_some_and(|(_, before)| file.created < before),
    };
    files.iter().filter(old).count() as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: i64 = 3600;
    const NOW: i64 = 1_000 * HOUR;

    const DAY: Kept = Kept {
        snapshots: Some(Duration::from_secs(24 * 3600)),
        every: Duration::from_secs(24 * 3600),
        level0: Some(Duration::from_secs(300)),
    };

    fn at(hours_ago: i64) -> Timestamp {
        Timestamp::from_second(NOW - hours_ago * HOUR).unwrap()
    }

    /// Files as `(level, min, max, hours old)`.
    fn check(files: &[(u8, u64, u64, i64)], kept: &Kept, expected: u64) {
        let file = |(level, min, max, age): &(u8, u64, u64, i64)| LtxFile {
            level: *level,
            min: Txid(*min),
            max: Txid(*max),
            size: 200,
            created: at(*age),
        };
        let listed: Vec<_> = files.iter().map(file).collect();
        assert_eq!(expired(&listed, kept, at(0)), expected, "{files:?}");
    }

    #[test]
    fn what_a_day_of_retention_keeps_is_not_expired() {
        // Just before a snapshot the oldest one is two days old.
        check(&[(9, 1, 5, 48), (9, 1, 50, 24), (3, 1, 9, 47), (1, 51, 60, 1), (0, 60, 60, 0)], &DAY, 0);
        // An idle database: one of each level is left, however old.
        check(
            &[(9, 1, 150, 900), (2, 132, 149, 901), (2, 150, 150, 900), (1, 150, 150, 900), (0, 150, 150, 900)],
            &DAY,
            0,
        );
        // Files that no snapshot which went was behind of stay.
        check(&[(9, 1, 150, 900), (1, 145, 149, 901), (1, 150, 150, 900)], &DAY, 0);
        // Level 0 stays as long as level 1 is behind.
        check(&[(0, 1, 1, 900), (0, 2, 2, 900), (0, 3, 3, 1)], &DAY, 0);
        check(&[(1, 1, 1, 900), (0, 2, 2, 900), (0, 3, 3, 1)], &DAY, 0);
    }

    #[test]
    fn what_is_older_is() {
        check(&[(9, 1, 5, 55), (9, 1, 50, 24)], &DAY, 1);
        check(
            &[(9, 1, 5, 80), (9, 1, 20, 55), (9, 1, 50, 24), (3, 1, 9, 79), (3, 10, 30, 56), (3, 31, 50, 24)],
            &DAY,
            3,
        );
        check(&[(1, 1, 3, 8), (0, 1, 1, 8), (0, 2, 2, 7), (0, 3, 3, 6), (0, 4, 4, 0)], &DAY, 2);
    }

    #[test]
    fn where_all_is_kept_nothing_expires() {
        let all = Kept { snapshots: None, level0: None, ..DAY };
        check(&[(9, 1, 5, 900), (9, 1, 50, 24), (1, 1, 3, 8), (0, 1, 1, 8), (0, 4, 4, 0)], &all, 0);
        let month = Kept { snapshots: Some(Duration::from_secs(720 * 3600)), ..DAY };
        check(&[(9, 1, 5, 700), (9, 1, 50, 24)], &month, 0);
    }
}
