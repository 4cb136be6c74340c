//! Faults between objects, each of which is good by itself: pages that none holds, page sizes that differ, a segment
//! that is missing, an encoding that the restorer does not know.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::FindingKind;
use super::job::Facts;
use super::ledger::Ledger;
use super::pages::PageSet;
use super::record::{Fault, Suspect};
use crate::domain::human::{agree, counted};
use crate::domain::litestream::{ObjectName, SegmentName};
use crate::domain::sqlite::lock_page;

impl Ledger {
    /// Compares the planned objects with each other.
    pub(super) fn relate(&mut self, now: Timestamp) {
        let known: Vec<(ObjectName, Facts)> = self
            .plan
            .iter()
            .filter_map(|object| Some((object.name, self.objects.get(&object.name)?.known()?)))
            .collect();
        self.suspect(&known);
        let mut found = Vec::new();
        found.extend(self.pages_missing());
        found.extend(page_sizes(&known));
        found.extend(self.segments_missing());
        found.extend(trailing_bytes(&known));
        found.extend(self.odd().overlaps.iter().map(|(name, other)| {
            let detail = format!("its TXIDs overlap those of {}: two writers", other.key(self.keys));
            (*name, FindingKind::Rewritten, detail)
        }));
        if self.reads_frames_only {
            found.extend(newer_encoding(&known));
        }
        if self.odd.is_none() && found.is_empty() {
            return;
        }
        let before = std::mem::take(&mut self.odd_mut().related);
        // After a restart it is only known again once the pages of some files were read again.
        let undecided = |name: &ObjectName| self.odd().suspects.get(name).is_some_and(|it| !it.waiting.is_empty());
        let still = before.iter().filter(|(name, fault)| fault.kind == FindingKind::PagesMissing && undecided(name));
        found.extend(still.map(|(name, fault)| (*name, fault.kind, fault.detail.clone())));
        let related = &mut self.odd_mut().related;
        related.extend(found.into_iter().map(|(name, kind, detail)| {
            let same = before.iter().find(|(known, fault)| (*known, fault.kind) == (name, kind));
            let seen_at = same.map_or(now, |(_, fault)| fault.seen_at);
            (name, Fault { kind, detail, seen_at, needed: false })
        }));
    }

    /// Finds files after which the database is larger and which lack pages up to its new end. Only the files that a
    /// restore applies one after the other are compared, or that follow each other in one level.
    fn suspect(&mut self, known: &[(ObjectName, Facts)]) {
        let planned: BTreeSet<_> = self.plan.iter().map(|object| object.name).collect();
        if let Some(odd) = &mut self.odd {
            odd.suspects.retain(|name, _| planned.contains(name) && self.objects.contains_key(name));
            for suspect in odd.suspects.values_mut() {
                suspect.waiting.retain(|name| planned.contains(name));
            }
        }
        for (name, facts) in known {
            let Facts::Ltx { page_size, commit, dense_from, .. } = *facts else { continue };
            // What is before it may be unknown only while it is read again.
            let Some(before) = self.commit_before(*name, known) else { continue };
            if before >= dense_from {
                if let Some(odd) = &mut self.odd {
                    odd.suspects.remove(name);
                }
                continue;
            }
            if self.odd().suspects.get(name).is_some_and(|suspect| (suspect.before, suspect.commit) == (before, commit))
            {
                continue;
            }
            let later = self.plan.iter().skip_while(|object| object.name != *name).map(|object| object.name);
            let mut missing = PageSet::range(before.saturating_add(1), commit);
            let lock = lock_page(page_size);
            missing.subtract(&PageSet::range(lock, lock));
            let suspect = Suspect { missing, before, commit, waiting: later.collect(), untold: false };
            self.odd_mut().suspects.insert(*name, suspect);
        }
    }

    /// How many files lack pages that others may hold, which are to be read again for that.
    pub fn doubts(&self) -> usize {
        self.odd().suspects.values().filter(|suspect| !suspect.waiting.is_empty()).count()
    }

    /// The size of the database, in pages, before a file is applied.
    fn commit_before(&self, name: ObjectName, known: &[(ObjectName, Facts)]) -> Option<u32> {
        let ObjectName::Ltx { level, name: own } = name else { return None };
        if own.min.0 == 1 {
            // It holds the whole database, which its own index was compared with.
            return None;
        }
        let at = self.plan.iter().position(|object| object.name == name)?;
        let planned = at.checked_sub(1).and_then(|at| self.plan.get(at)).map(|object| object.name);
        let planned = planned.and_then(|before| known.iter().find(|(name, _)| *name == before));
        let neighbour = || {
            let before = self.objects.before(name).filter(|(before, _)| match before {
                ObjectName::Ltx { level: other, name } => *other == level && name.max.0 + 1 == own.min.0,
                ObjectName::Snapshot(..) | ObjectName::Segment(..) => false,
            });
            before.and_then(|(_, record)| record.known()?.commit())
        };
        planned.and_then(|(_, facts)| facts.commit()).or_else(neighbour)
    }

    /// A file was read, or cannot be: what it holds is not missing. `pages`: which ones, if that can be told.
    pub(super) fn resolve(&mut self, name: ObjectName, pages: Option<Option<&PageSet>>) {
        for (of, suspect) in self.odd.iter_mut().flat_map(|odd| &mut odd.suspects) {
            let later = of.ltx().zip(name.ltx()).is_some_and(|(of, name)| name.max > of.max);
            if suspect.waiting.remove(&name) || later {
                match pages {
                    Some(Some(held)) => suspect.missing.subtract(held),
                    Some(None) => suspect.untold = true,
                    None => {}
                }
            }
        }
    }

    fn pages_missing(&self) -> Vec<(ObjectName, FindingKind, String)> {
        let decided = self.odd().suspects.iter().filter(|(_, suspect)| suspect.waiting.is_empty() && !suspect.untold);
        let found = decided.filter_map(|(name, suspect)| {
            // What a later file cut off again need not be anywhere.
            let later = self.plan.iter().skip_while(|object| object.name != *name);
            let commits = later.filter_map(|object| self.objects.get(&object.name)?.known()?.commit());
            let least = commits.min()?;
            let (first, last) = *suspect.missing.runs().iter().find(|(first, _)| *first <= least)?;
            let (before, commit) = (suspect.before, suspect.commit);
            let lacking = match last.min(least) {
                last if last == first => format!("page {first} is"),
                last => format!("pages {first} to {last} are"),
            };
            let detail = format!(
                "the database grew from {before} to {commit} pages, and {lacking} in no file: it does not restore"
            );
            Some((*name, FindingKind::PagesMissing, detail))
        });
        found.collect()
    }

    /// v0.3: segments of one WAL have to continue each other.
    fn segments_missing(&self) -> Vec<(ObjectName, FindingKind, String)> {
        let pairs = self.plan.iter().zip(self.plan.iter().skip(1));
        let found = pairs.filter_map(|(one, next)| {
            let (ObjectName::Segment(generation, before), ObjectName::Segment(_, after)) = (one.name, next.name) else {
                return None;
            };
            let Facts::Segment { end, is_cut, .. } = self.objects.get(&one.name)?.known()? else { return None };
            if is_cut {
                let detail = "the segment before it does not end with a whole WAL frame: nothing can follow that";
                return Some((next.name, FindingKind::SegmentMissing, detail.to_owned()));
            }
            if before.index != after.index || after.offset <= end {
                return None;
            }
            let missing = generation.segment_key(SegmentName { index: after.index, offset: end });
            let detail = format!(
                "it begins at byte {} of its WAL, the one before it ends at {end}: {missing} is missing, and \
                 Litestream 0.3.13 may restore an older state or a malformed database, without an error",
                after.offset
            );
            Some((next.name, FindingKind::SegmentMissing, detail))
        });
        found.collect()
    }
}

/// Files whose pages have another size than those of the first.
fn page_sizes(known: &[(ObjectName, Facts)]) -> Vec<(ObjectName, FindingKind, String)> {
    let sizes = known.iter().filter_map(|(name, facts)| match facts {
        Facts::Ltx { page_size, .. } => Some((*name, *page_size)),
        Facts::Segment { .. } | Facts::Snapshot => None,
    });
    let mut sizes = sizes.peekable();
    let Some((_, first)) = sizes.peek().copied() else { return Vec::new() };
    let differ = sizes.filter(|(_, size)| *size != first);
    let found = differ.map(|(name, size)| {
        let detail = format!("its pages have {size} bytes, those of the file where a restore begins {first}");
        (name, FindingKind::PageSizeMismatch, detail)
    });
    found.collect()
}

/// Segments that do not end with a whole frame.
fn trailing_bytes(known: &[(ObjectName, Facts)]) -> impl Iterator<Item = (ObjectName, FindingKind, String)> {
    let cut = known.iter().filter(|(_, facts)| matches!(facts, Facts::Segment { is_cut: true, .. }));
    cut.map(|(name, _)| {
        let detail = "it does not end with a whole WAL frame: what was committed there, if anything, does not restore";
        (*name, FindingKind::TrailingBytes, detail.to_owned())
    })
}

/// The newest file that Litestream until 0.5.15 cannot read.
fn newer_encoding(known: &[(ObjectName, Facts)]) -> Option<(ObjectName, FindingKind, String)> {
    let blocks = |(_, facts): &&(ObjectName, Facts)| matches!(facts, Facts::Ltx { blocks: true, .. });
    let count = known.iter().filter(blocks).count();
    let (name, _) = known.iter().rfind(blocks)?;
    let detail = format!(
        "{} a restore needs {} LZ4 block pages, which Litestream before 0.5.16 cannot read",
        counted(count, "file"),
        agree(&count, "has", "have")
    );
    Some((*name, FindingKind::NewerEncoding, detail))
}
