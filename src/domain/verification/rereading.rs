//! Reading again what was read long ago: bits rot under an unchanged date and size.
//!
//! Each object has its turn between half a day and a day and a half after it was read, at an instant that its name and
//! that reading choose: in the mean once a day, and never all of them at once. A quarter of the bytes a day is for that.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::{SignedDuration, Timestamp};

use super::budget::cost;
use super::job::{Job, Want, expense, shallow};
use super::ledger::Ledger;
use super::record::Record;
use crate::domain::litestream::{Listed, ObjectName};

/// The mean time from one reading to the next.
const MEAN: SignedDuration = SignedDuration::from_hours(24);

impl Ledger {
    /// The object whose turn it is, unless that costs too much now.
    pub(super) fn stale(&mut self, tokens: u64, now: Timestamp) -> Option<Job> {
        let due = |name: &ObjectName, record: &Record| {
            let sound = record.content && record.fault.is_none() && record.known().is_some();
            let due = due(*name, record.read_at.unwrap_or(record.modified)).filter(|due| sound && *due <= now)?;
            Some((due, record.listed(*name)))
        };
        let affordable = tokens.min(self.rereading.available(now));
        let turns = self.objects.iter().filter_map(|(name, record)| due(name, record));
        let (_, object, want) = turns
            .map(|(due, object)| (due, object, thorough(&object)))
            .filter(|(_, object, want)| {
                let (requests, bytes) = expense(object, *want);
                cost(requests, bytes) <= affordable
            })
            .min_by_key(|(due, object, _)| (*due, object.name))?;
        Some(Job { object, key: object.name.key(self.keys), want })
    }

    /// When the object was read in full whose reading is the longest ago.
    pub(super) fn oldest_read_at(&self) -> Option<Timestamp> {
        self.objects.values().filter(|record| record.content).filter_map(|record| record.read_at).min()
    }
}

/// When an object has its turn that was read then.
fn due(name: ObjectName, read_at: Timestamp) -> Option<Timestamp> {
    let mut hasher = DefaultHasher::new();
    (name, read_at).hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    let wait = MEAN.as_secs_f64() * (0.5 + share);
    read_at.checked_add(SignedDuration::from_secs(wait as i64)).ok()
}

fn thorough(object: &Listed) -> Want {
    if shallow(object) == Want::Whole { Want::Whole } else { Want::Content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::litestream::{Dated, LevelKeys, LtxName, Txid};
    use crate::domain::verification::{Budget, Facts, Listing, Outcome, Verified, VerifyDepth};

    const HOUR: i64 = 3600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn objects(count: u64, size: u64) -> Vec<Listed> {
        let name = |txid| ObjectName::Ltx { level: 0, name: LtxName { min: Txid(txid), max: Txid(txid) } };
        (1..=count).map(|txid| Listed { name: name(txid), size, at: Dated::Uploaded(at(0)) }).collect()
    }

    /// A ledger that has read all of these.
    fn ledger(objects: &[Listed], per_day: u64) -> Ledger {
        let mut ledger = Ledger::new(VerifyDepth::Content, Budget::new(per_day), false);
        let mut listed = Listing::new(LevelKeys::Plain);
        listed.restart();
        objects.iter().for_each(|object| listed.push(*object));
        listed.plan = objects.to_vec();
        ledger.take(&listed, at(0));
        read(&mut ledger, at(0));
        ledger
    }

    /// Reads all that there is to read at an instant; how many objects that were.
    fn read(ledger: &mut Ledger, now: Timestamp) -> usize {
        let mut count = 0;
        loop {
            let jobs = ledger.jobs(1_000, now);
            if jobs.is_empty() {
                return count;
            }
            count += jobs.len();
            let facts = Facts::Ltx { page_size: 512, commit: 1, checksum: 5, blocks: true, dense_from: 0 };
            let outcome = Outcome::Good { content: true, facts, pages: None, frames: None };
            let done = jobs.into_iter().map(|job| {
                let bytes = job.object.size;
                Verified { job, outcome: outcome.clone(), requests: 1, bytes }
            });
            ledger.conclude(done.collect(), now);
        }
    }

    #[test]
    fn each_object_is_read_again_about_once_a_day_and_not_all_at_once() {
        let mut ledger = ledger(&objects(200, 1_000), 1 << 30);
        let read: Vec<usize> = (1..=10 * 24).map(|hour| read(&mut ledger, at(hour * HOUR))).collect();
        assert_eq!(read[..12].iter().sum::<usize>(), 0, "it was read just now");
        assert!(read.iter().all(|count| *count < 40), "{read:?}");
        let days = read[5 * 24..].iter().sum::<usize>();
        assert!((900..1100).contains(&days), "200 objects in five days: {days}");
        let report = ledger.report().unwrap();
        assert_eq!(report.content_verified, 200, "what is read again is counted apart");
        assert_eq!(report.reread as usize, read.iter().sum::<usize>());
        assert!(report.oldest_read_at > Some(at((240 - 37) * HOUR)), "{report:?}");
    }

    #[test]
    fn a_quarter_of_the_budget_is_for_it() {
        let size = 60_000;
        let mut ledger = ledger(&objects(40, size), 41 * (size + 4096));
        let read: usize = (1..=10 * 24).map(|hour| read(&mut ledger, at(hour * HOUR))).sum();
        assert!((90..=103).contains(&read), "a quarter of 41 objects on each of ten days: {read}");
    }

    #[test]
    fn a_restart_does_not_begin_anew() {
        let mut before = ledger(&objects(5, 1_000), 1 << 30);
        let mut after = Ledger::new(VerifyDepth::Content, Budget::new(1 << 30), false);
        after.restore(&before.save());
        assert_eq!(before.oldest_read_at(), after.oldest_read_at());
        let again = |ledger: &mut Ledger| {
            ledger.rereading = Budget::new(1 << 30);
            ledger.stale(1 << 30, at(37 * HOUR))
        };
        assert_eq!(again(&mut before), again(&mut after));
        assert!(again(&mut after).is_some());
    }
}
