//! Caveats: releases of Litestream that restore less than asked of the same replica, or nothing.

use std::cmp::Reverse;

use super::ltx::{LtxFile, LtxName, PlanError, PlanTarget, SNAPSHOT_LEVEL, Txid, plan};
use crate::domain::timeline::{Caveat, TimelineReport};

/// The facts about a replica that caveats follow from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts<'a> {
    /// All files of v0.5; none when there were too many to hold.
    pub files: &'a [LtxFile],
    /// The replica has generations of v0.3.
    pub generations: bool,
    /// There are instants between two generations of v0.3.
    pub pauses: bool,
    /// The times of the files are not those of their headers.
    pub copied: bool,
    /// Levels are called as in another kind of store.
    pub misplaced: bool,
    /// The `store` label: releases of v0.5 read v0.3 from `file` and `s3` only.
    pub store: &'a str,
}

/// One thing that other releases do.
struct Rule {
    releases: &'static str,
    detail: fn(&Facts<'_>, &TimelineReport) -> Option<String>,
}

static RULES: &[Rule] = &[
    Rule {
        releases: "0.5",
        detail: |facts, _| {
            facts.misplaced.then(|| {
                "finds nothing here: levels are called ltx/0 to ltx/9, but 0000 to 0009 in S3 and OSS, and this is a copy from a \
                 store of the other kind"
                    .to_owned()
            })
        },
    },
    Rule {
        releases: "0.5",
        detail: |facts, _| {
            facts.copied.then(|| {
                "restore -timestamp goes by the times of the files, which here are those of a copy: it restores other \
                 states than the headers would give, or none"
                    .to_owned()
            })
        },
    },
    Rule {
        releases: "0.5.8 to 0.5.9",
        detail: |facts, _| {
            let Err(PlanError::NotContiguous { end }) = plan(facts.files, PlanTarget::Latest) else { return None };
            Some(format!("restore of the latest state silently gives the older one of TXID {end}"))
        },
    },
    Rule {
        releases: "0.5.8 and later",
        detail: |facts, map| {
            // A damaged object, and a chain without a start, are errors in every release.
            let mut gaps = map.spans.iter().filter_map(|span| span.blocked.as_ref());
            let silent = gaps.any(|gap| gap.key.is_none() && gap.hole.after != Txid(0).to_string());
            (silent && !facts.files.is_empty())
                .then(|| "restore -timestamp to a time in a gap silently gives the state before the gap".to_owned())
        },
    },
    Rule {
        releases: "up to 0.5.7",
        detail: |facts, _| {
            let name = refused_by_0_5_7(facts.files)?;
            // Where nothing leads to the end, every release says so or is named above.
            let bridged = plan(facts.files, PlanTarget::Latest).is_ok();
            let why = if bridged { ", although other levels lead to the end" } else { "" };
            Some(format!("restore of the latest state fails at {name} (non-contiguous transaction files){why}"))
        },
    },
    Rule {
        releases: "up to 0.5.2",
        detail: |facts, _| {
            let name = overlap(facts.files)?;
            Some(format!("restore fails at {name}, which overlaps the file before it in its level"))
        },
    },
    Rule {
        releases: "0.5.7 and later",
        detail: |facts, _| {
            let both = facts.generations && !facts.files.is_empty() && reads_generations(facts.store);
            both.then(|| "restore compares this with the v0.3 generations beside it, and takes the newer".to_owned())
        },
    },
    Rule {
        releases: "0.5",
        detail: |facts, _| {
            let unread = facts.generations && !reads_generations(facts.store);
            unread.then(|| format!("cannot read v0.3 generations from a store of kind {}", facts.store))
        },
    },
    Rule {
        releases: "0.3.13",
        detail: |facts, _| {
            let refused = facts.generations && facts.pauses;
            refused.then(|| "restore -timestamp refuses a time between two generations".to_owned())
        },
    },
];

/// The caveats to know before another release restores this replica.
pub fn caveats(facts: &Facts<'_>, map: &TimelineReport) -> Vec<Caveat> {
    let known = RULES.iter().filter_map(|rule| Some((rule.releases, (rule.detail)(facts, map)?)));
    known.map(|(releases, detail)| Caveat { releases: releases.to_owned(), detail }).collect()
}

fn reads_generations(store: &str) -> bool {
    matches!(store, "file" | "s3")
}

/// The file at which 0.5.7 and earlier give up: from the newest snapshot they go through the levels from 8 down to 0,
/// and each file that leads further has to touch what they have, although another level may bridge the hole.
fn refused_by_0_5_7(files: &[LtxFile]) -> Option<String> {
    let newest = files.iter().filter(|file| file.level == SNAPSHOT_LEVEL).max_by_key(|file| file.name());
    let mut end = newest.map_or(Txid(0), |file| file.max);
    // Without anything to begin with, no release restores anything.
    plan(files, PlanTarget::Time(jiff::Timestamp::MAX)).ok()?;
    let mut increments: Vec<&LtxFile> = files.iter().filter(|file| file.level < SNAPSHOT_LEVEL).collect();
    increments.sort_unstable_by_key(|file| (Reverse(file.level), file.name()));
    for file in increments.into_iter().filter(|file| file.max > Txid(0)) {
        if file.max <= end {
            continue;
        }
        if file.min.0 > end.0.saturating_add(1) {
            return Some(format!("{} of level {}", file.name(), file.level));
        }
        end = file.max;
    }
    None
}

/// The first file that overlaps the one before it in its level.
fn overlap(files: &[LtxFile]) -> Option<String> {
    let mut increments: Vec<&LtxFile> = files.iter().filter(|file| file.level < SNAPSHOT_LEVEL).collect();
    increments.sort_unstable_by_key(|file| (file.level, file.name()));
    let mut last: Option<(u8, LtxName)> = None;
    increments.into_iter().find_map(|file| {
        let before = last.replace((file.level, file.name()));
        let (level, name) = before?;
        let overlaps = level == file.level && file.min <= name.max && file.max > name.max;
        overlaps.then(|| format!("{} of level {level}", file.name()))
    })
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::domain::litestream::{Damaged, LevelKeys, LtxTimeline};

    fn files(files: &[(u8, u64, u64)]) -> Vec<LtxFile> {
        let created = |max: u64| Timestamp::from_second(max.cast_signed()).unwrap();
        let file = |(level, min, max): &(u8, u64, u64)| LtxFile {
            level: *level,
            min: Txid(*min),
            max: Txid(*max),
            size: 200,
            created: created(*max),
        };
        files.iter().map(file).collect()
    }

    fn check(facts: &Facts<'_>, expected: &[(&str, &str)]) {
        let mut timeline = LtxTimeline::default();
        facts.files.iter().for_each(|file| timeline.insert(*file));
        let map =
            timeline.map(&Damaged::new(LevelKeys::Plain, &Default::default()), Timestamp::from_second(1000).unwrap());
        let caveats = caveats(facts, &map);
        let shown: Vec<_> = caveats.iter().map(|caveat| (caveat.releases.as_str(), caveat.detail.as_str())).collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn a_whole_replica_needs_no_word() {
        let whole = files(&[(9, 1, 4), (2, 1, 6), (1, 5, 6), (0, 6, 6), (0, 7, 7)]);
        check(&Facts { files: &whole, store: "s3", ..Facts::default() }, &[]);
        check(&Facts::default(), &[]);
    }

    #[test]
    fn a_hole_is_silence_or_an_error_depending_on_the_release() {
        let hole = files(&[(9, 1, 4), (0, 5, 5), (0, 7, 7)]);
        let expected = [
            ("0.5.8 to 0.5.9", "restore of the latest state silently gives the older one of TXID 0000000000000005"),
            ("0.5.8 and later", "restore -timestamp to a time in a gap silently gives the state before the gap"),
            (
                "up to 0.5.7",
                "restore of the latest state fails at 0000000000000007-0000000000000007.ltx of level 0 (non-contiguous \
                 transaction files)",
            ),
        ];
        check(&Facts { files: &hole, store: "file", ..Facts::default() }, &expected);
    }

    #[test]
    fn a_chain_without_a_start_is_an_error_in_every_release() {
        check(&Facts { files: &files(&[(0, 5, 5), (0, 6, 6)]), store: "file", ..Facts::default() }, &[]);
    }

    #[test]
    fn old_releases_stumble_over_holes_that_other_levels_bridge() {
        // Level 1 has a hole at 7 to 8, and level 0 bridges it.
        let bridged = files(&[(9, 1, 4), (1, 5, 6), (1, 9, 10), (0, 6, 6), (0, 7, 7), (0, 8, 8), (0, 9, 9)]);
        let expected = [(
            "up to 0.5.7",
            "restore of the latest state fails at 0000000000000009-000000000000000a.ltx of level 1 (non-contiguous \
             transaction files), although other levels lead to the end",
        )];
        check(&Facts { files: &bridged, store: "file", ..Facts::default() }, &expected);
        // The higher level bridges the hole of the lower one: nothing to say.
        let higher = files(&[(9, 1, 4), (1, 5, 8), (0, 5, 5), (0, 8, 8), (0, 9, 9)]);
        check(&Facts { files: &higher, store: "file", ..Facts::default() }, &[]);
    }

    #[test]
    fn overlaps_trouble_the_oldest() {
        let overlapping = files(&[(9, 1, 4), (1, 5, 8), (1, 7, 9)]);
        let expected = [(
            "up to 0.5.2",
            "restore fails at 0000000000000007-0000000000000009.ltx of level 1, which overlaps the file before it in its \
             level",
        )];
        check(&Facts { files: &overlapping, store: "file", ..Facts::default() }, &expected);
    }

    #[test]
    fn generations_beside_and_between_are_told() {
        let whole = files(&[(9, 1, 4), (0, 5, 5)]);
        let facts = Facts { files: &whole, store: "s3", generations: true, ..Facts::default() };
        let both =
            ("0.5.7 and later", "restore compares this with the v0.3 generations beside it, and takes the newer");
        check(&facts, &[both]);
        let unread = ("0.5", "cannot read v0.3 generations from a store of kind gs");
        check(&Facts { store: "gs", ..facts }, &[unread]);
        let facts = Facts { store: "file", generations: true, pauses: true, ..Facts::default() };
        let pause = ("0.3.13", "restore -timestamp refuses a time between two generations");
        check(&facts, &[pause]);
    }
}
