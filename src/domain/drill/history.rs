//! The history of one replica's drills, kept small enough for a hundred thousand replicas.

use jiff::{SignedDuration, Timestamp};

use super::{DrillDownload, DrillHistory, DrillRecord, DrillResult, RECENCY};
use crate::domain::limits::{
    DRILL_DOWNLOADS_MAX, DRILL_PROBES_MAX, DRILL_RECORD_CHECKS_MAX, DRILL_RECORD_OBJECTS_MAX, DRILL_RECORD_TEXT_MAX,
};

/// The time over which downloads are counted.
const DAY: SignedDuration = SignedDuration::from_hours(24);

impl DrillHistory {
    /// Remembers that a drill begins, with what it is expected to download from a bucket: one whose end is never seen
    /// has been paid for as well.
    pub fn begin(&mut self, at: Timestamp, download: Option<u64>) {
        self.downloads.retain(|download| counts(download, at));
        if let Some(bytes) = download {
            self.downloads.push(DrillDownload { at, bytes });
        }
        let excess = self.downloads.len().saturating_sub(DRILL_DOWNLOADS_MAX);
        self.downloads.drain(..excess);
    }

    /// The last drill that came to a result did not restore, or restored what is wrong. What restores and is only older than
    /// the live database, or gives another answer to a query of the configuration than was asked for, is no such thing.
    pub fn did_not_restore(&self) -> bool {
        let failed = self.last.as_deref().filter(|last| last.result == DrillResult::Failed);
        self.last_conclusive == Some(DrillResult::Failed) && !failed.is_some_and(restored)
    }

    /// Remembers how the drill ended that began last.
    pub fn conclude(&mut self, record: DrillRecord, began: Timestamp) {
        if let Some(download) = self.downloads.iter_mut().rev().find(|download| download.at == began) {
            download.bytes = record.downloaded_bytes;
        }
        match record.result {
            DrillResult::Passed => {
                self.passed = self.passed.saturating_add(1);
                self.last_success_at = Some(record.finished_at);
                self.failed_in_a_row = 0;
            }
            DrillResult::Failed => {
                self.failed = self.failed.saturating_add(1);
                self.failed_in_a_row = self.failed_in_a_row.saturating_add(1);
            }
            DrillResult::Inconclusive => {
                self.inconclusive = self.inconclusive.saturating_add(1);
                self.inconclusive_in_a_row = self.inconclusive_in_a_row.saturating_add(1);
            }
        }
        if record.result != DrillResult::Inconclusive {
            self.last_conclusive = Some(record.result);
            self.inconclusive_in_a_row = 0;
        }
        if record.incremental {
            self.incremental_in_a_row = self.incremental_in_a_row.saturating_add(1);
        } else if record.restore_seconds.is_some() {
            self.incremental_in_a_row = 0;
            self.restore_seconds = record.restore_seconds;
        }
        self.last = Some(Box::new(cut(record)));
    }

    /// Whether the next drill is to restore everything, of so many one does. What comes after one that did not pass
    /// trusts nothing that was kept.
    pub fn wants_full(&self, full_every: u32) -> bool {
        let retry = self.failed_in_a_row > 0 || self.inconclusive_in_a_row > 0;
        retry || self.last.is_none() || self.incremental_in_a_row.saturating_add(1) >= full_every
    }

    /// Bytes downloaded from a bucket in the 24 hours before `now`.
    pub fn downloaded(&self, now: Timestamp) -> u64 {
        let recent = self.downloads.iter().filter(|download| counts(download, now));
        recent.fold(0, |bytes, download| bytes.saturating_add(download.bytes))
    }
}

/// Whether a download is not older than a day. One in the future, before the clock was set back, does not count for ever.
fn counts(download: &DrillDownload, now: Timestamp) -> bool {
    now.duration_since(download.at).abs() < DAY
}

/// A record without what nobody looks for in an agent.
fn cut(mut record: DrillRecord) -> DrillRecord {
    if let Some(restored) = &mut record.restored {
        restored.objects.truncate(DRILL_RECORD_OBJECTS_MAX);
    }
    record.checks.truncate(DRILL_RECORD_CHECKS_MAX);
    record.probes.truncate(DRILL_PROBES_MAX);
    // What is no number cannot be saved: a single one would lose everything that is saved with it.
    for number in [&mut record.estimated_dollars, &mut record.dollars, &mut record.seconds] {
        *number = number.min(f64::MAX);
    }
    let details = record.checks.iter_mut().map(|check| &mut check.detail);
    let details = details.chain(record.probes.iter_mut().map(|probe| &mut probe.detail));
    details.chain(record.reason.as_mut().map(|reason| &mut reason.message)).for_each(shorten);
    record
}

/// Whether a drill that failed has restored what it should: only its age, or the answer to a query, is not what was wanted.
fn restored(failed: &DrillRecord) -> bool {
    let steps = || failed.checks.iter().filter(|check| check.result == DrillResult::Failed);
    let queries = || failed.probes.iter().filter(|probe| probe.result == DrillResult::Failed);
    let blamed = steps().next().is_some() || queries().next().is_some();
    failed.restored.is_some() && blamed && steps().all(|check| check.name == RECENCY)
}

fn shorten(text: &mut String) {
    if let Some((at, _)) = text.char_indices().nth(DRILL_RECORD_TEXT_MAX) {
        text.truncate(at);
        text.push('…');
    }
}

#[cfg(test)]
pub(in crate::domain) mod tests {
    use super::*;
    use crate::domain::drill::{DrillCheck, DrillRestored, ProbeRecord};
    use crate::domain::restore::RestoredObject;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A drill that began at a second and took ten.
    pub(crate) fn record(second: i64, result: DrillResult) -> DrillRecord {
        DrillRecord {
            database: "app".into(),
            replica: "s3".into(),
            url: "s3://backups/app".into(),
            program: "streamgauge 1.2.3".into(),
            started_at: at(second),
            finished_at: at(second + 10),
            result,
            reason: None,
            incremental: false,
            restored: None,
            checks: Vec::new(),
            probes: Vec::new(),
            downloaded_bytes: 700,
            requests: 3,
            estimated_dollars: 0.0,
            dollars: 0.0,
            restore_seconds: Some(4.0),
            seconds: 10.0,
        }
    }

    fn copy(objects: Vec<RestoredObject>) -> DrillRestored {
        DrillRestored {
            layout: "v0.5".into(),
            position: "TXID 1".into(),
            recovery_point: at(0),
            bytes: 1,
            page_size: 4096,
            sha256: None,
            objects,
            shortfall: None,
        }
    }

    fn step(name: &str) -> DrillCheck {
        DrillCheck { name: name.into(), result: DrillResult::Passed, detail: "so".into(), seconds: 0.0 }
    }

    #[test]
    fn results_are_counted_and_what_is_inconclusive_says_nothing_of_the_backup() {
        use DrillResult::*;
        let mut history = DrillHistory::default();
        let mut seen = Vec::new();
        for (hour, result) in (0..).zip([Passed, Failed, Inconclusive, Inconclusive, Failed, Passed, Inconclusive]) {
            history.conclude(record(hour * 3600, result), at(hour * 3600));
            let conclusive = history.last_conclusive.map_or("-", DrillResult::as_str);
            seen.push((conclusive, history.failed_in_a_row, history.inconclusive_in_a_row));
        }
        let expected = [
            ("passed", 0, 0),
            ("failed", 1, 0),
            ("failed", 1, 1),
            ("failed", 1, 2),
            ("failed", 2, 0),
            ("passed", 0, 0),
            ("passed", 0, 1),
        ];
        assert_eq!(seen, expected);
        assert_eq!((history.passed, history.failed, history.inconclusive), (2, 2, 3));
        assert_eq!(history.last_success_at, Some(at(5 * 3600 + 10)));
        assert_eq!(history.last.unwrap().result, Inconclusive);
    }

    #[test]
    fn what_is_downloaded_counts_for_a_day_whether_its_end_was_seen_or_not() {
        let mut history = DrillHistory::default();
        history.begin(at(0), Some(1000));
        assert_eq!(history.downloaded(at(60)), 1000);
        history.conclude(record(0, DrillResult::Passed), at(0));
        assert_eq!(history.downloaded(at(60)), 700);
        history.begin(at(7200), Some(50));
        history.begin(at(7201), None);
        assert_eq!(history.downloaded(at(7202)), 750);
        assert_eq!(history.downloaded(at(86_400)), 50);
        assert_eq!(history.downloaded(at(-86_400 * 365)), 0);
        (0..1000).for_each(|second| history.begin(at(second), Some(1)));
        assert_eq!(history.downloads.len(), DRILL_DOWNLOADS_MAX);
    }

    #[test]
    fn of_so_many_drills_one_is_full_and_so_is_every_retry() {
        let mut history = DrillHistory::default();
        assert!(history.wants_full(7));
        let mut full = Vec::new();
        for hour in 0..8 {
            full.push(history.wants_full(3));
            let incremental = !history.wants_full(3);
            history.conclude(DrillRecord { incremental, ..record(hour * 3600, DrillResult::Passed) }, at(0));
        }
        assert_eq!(full, [true, false, false, true, false, false, true, false]);
        assert!(history.wants_full(1) && !history.wants_full(7));
        assert_eq!(history.restore_seconds, Some(4.0));
        history.conclude(record(0, DrillResult::Inconclusive), at(0));
        assert!(history.wants_full(7));
    }

    #[test]
    fn what_did_not_restore_stays_so_until_a_drill_passes() {
        use DrillResult::*;
        let mut history = DrillHistory::default();
        let mut conclude = |result, restored: bool, steps: &[(&str, DrillResult)], query| {
            let step = |&(name, result): &(&str, _)| DrillCheck { result, ..step(name) };
            let query = ProbeRecord { name: "q".into(), result: query, value: None, detail: "so".into() };
            let (checks, probes) = (steps.iter().map(step).collect(), vec![query]);
            let restored = restored.then(|| copy(Vec::new()));
            history.conclude(DrillRecord { restored, checks, probes, ..record(0, result) }, at(0));
            history.did_not_restore()
        };
        assert!(conclude(Failed, false, &[("restore", Failed)], Passed));
        assert!(conclude(Inconclusive, false, &[], Passed), "nothing has shown otherwise");
        assert!(!conclude(Failed, true, &[("restore", Passed), (RECENCY, Passed)], Failed), "a query");
        assert!(!conclude(Failed, true, &[("restore", Passed), (RECENCY, Failed)], Passed), "its age");
        assert!(conclude(Failed, true, &[("compare", Failed), (RECENCY, Failed)], Failed));
        assert!(conclude(Failed, true, &[], Passed), "it does not say why");
        assert!(!conclude(Passed, true, &[], Passed));
        assert!(!conclude(Inconclusive, false, &[], Passed));
    }

    #[test]
    fn a_record_is_cut_to_what_can_be_kept_of_many() {
        let object = RestoredObject { key: "k".into(), bytes: 1, checksum: "c".into() };
        let mut long = record(0, DrillResult::Passed);
        long.restored = Some(copy(vec![object; 1000]));
        long.checks = vec![DrillCheck { detail: "é".repeat(5000), ..step("quick_check") }; 1000];
        (long.dollars, long.seconds) = (f64::INFINITY, f64::NAN);
        let mut history = DrillHistory::default();
        history.conclude(long, at(0));
        let last = history.last.as_ref().unwrap();
        assert_eq!(last.restored.as_ref().unwrap().objects.len(), DRILL_RECORD_OBJECTS_MAX);
        assert_eq!(last.checks.len(), DRILL_RECORD_CHECKS_MAX);
        assert_eq!(last.checks[0].detail.chars().count(), DRILL_RECORD_TEXT_MAX + 1);
        let saved = serde_json::to_string(&history).unwrap();
        assert_eq!(serde_json::from_str::<DrillHistory>(&saved).unwrap(), history);
        // A text of before this field was there.
        assert_eq!(serde_json::from_str::<DrillHistory>("{\"passed\": 3}").unwrap().passed, 3);
    }
}
