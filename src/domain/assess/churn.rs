//! Whether a replica receives file after file of which each changes the same pages: a writer that is never idle.

use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::SignedDuration;
use serde::Serialize;

use super::samples;
use crate::domain::limits::GROWTH_SAMPLES_MAX;
use crate::domain::moment::Moment;
use crate::domain::price::MONTH_SECONDS;
use crate::domain::verification::PageSet;

/// The window in which files are counted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Of samples closer together than this the middle one goes: those that stay are a minute apart at least.
const SPACING: SignedDuration = SignedDuration::from_mins(2);

/// Level-0 files that appeared one after the other, each changing the same pages as the one before.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ChurnReport {
    /// Seconds over which they appeared, at most an hour.
    pub seconds: f64,
    /// How many files appeared.
    pub objects: u64,
    /// Pages that each of them changes.
    pub pages: u64,
    /// The cost of uploading them, by the usual price of a request where the replica is.
    pub dollars_per_month: f64,
}

/// The pages that one file changes, as a number that tells them from others, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    hash: u64,
    count: u64,
}

/// Files that appeared while each that was read changed the same pages, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Churn {
    pages: Option<Fingerprint>,
    /// At an instant of the monotonic clock, how many files had appeared since some beginning.
    samples: Vec<(SignedDuration, u64)>,
}

impl Churn {
    /// So many files of level 0 had appeared at `at`.
    pub fn count(&mut self, at: Moment, received: u64) {
        if self.samples.last().is_some_and(|(_, before)| received < *before) {
            // Somebody began to count anew.
            *self = Self::default();
        }
        let age = |sample: &(SignedDuration, u64)| at.mono().saturating_sub(sample.0);
        let same = |sample: &(SignedDuration, u64)| sample.1 == received;
        let (new, most) = ((at.mono(), received), GROWTH_SAMPLES_MAX);
        samples::add(&mut self.samples, new, most, |s| age(s) < SPACING, same, |s| age(s) >= WINDOW);
    }

    /// The newest of those that were counted changes these pages.
    pub fn observe(&mut self, pages: &PageSet) {
        let mut hasher = DefaultHasher::new();
        pages.hash(&mut hasher);
        let pages = Some(Fingerprint { hash: hasher.finish(), count: pages.count() });
        if std::mem::replace(&mut self.pages, pages) != pages {
            self.samples.drain(..self.samples.len().saturating_sub(1));
        }
    }

    /// How many there were within the last hour; `None` until one was read. `price`: dollars for an upload.
    pub fn report(&self, price: f64) -> Option<ChurnReport> {
        let pages = self.pages?;
        let ((mut from, before), (until, received)) = (*self.samples.first()?, *self.samples.last()?);
        if let Some((next, _)) = self.samples.get(1).filter(|(_, same)| *same == before) {
            // Nothing came from one to the other, so that the window may begin anywhere between them.
            from = from.max(until.saturating_sub(WINDOW).min(*next));
        }
        let (seconds, objects) = (until.saturating_sub(from).as_secs_f64(), received.saturating_sub(before));
        let dollars_per_month = if seconds > 0.0 { objects as f64 / seconds * MONTH_SECONDS * price } else { 0.0 };
        Some(ChurnReport { seconds, objects, pages: pages.count, dollars_per_month })
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn at(second: i64) -> Moment {
        let mono = SignedDuration::from_secs(second);
        Moment::new(Timestamp::from_second(1_000_000 + second).unwrap(), mono)
    }

    /// A file a second, of which every tenth is read; `pages` says what the one of a second changes.
    fn churn(seconds: i64, pages: impl Fn(i64) -> PageSet) -> Churn {
        let mut churn = Churn::default();
        for second in (0..=seconds).step_by(10) {
            churn.count(at(second), second.unsigned_abs());
            churn.observe(&pages(second));
        }
        churn
    }

    fn check(churn: &Churn, expected: &str) {
        let told = churn.report(0.000_005).map(|churn| {
            let ChurnReport { seconds, objects, pages, dollars_per_month } = churn;
            format!("{objects} in {seconds} s, {pages} pages, ${dollars_per_month:.2}")
        });
        assert_eq!(told.unwrap_or_default(), expected);
    }

    #[test]
    fn files_that_change_the_same_pages_are_counted_for_an_hour() {
        check(&Churn::default(), "");
        check(&churn(600, |_| PageSet::range(2, 2)), "600 in 600 s, 1 pages, $13.15");
        let hours = churn(20_000, |_| [1, 2, 9].into_iter().collect());
        let report = hours.report(0.0).unwrap();
        assert!((3600..=3720).contains(&report.objects) && report.pages == 3, "{report:?}");
        assert!(hours.samples.len() <= GROWTH_SAMPLES_MAX);
    }

    #[test]
    fn an_application_that_inserts_rows_goes_on_to_other_pages() {
        // A page takes the rows of 40 seconds.
        let page = |second: i64| u32::try_from(second / 40).unwrap() + 5;
        let inserts = churn(7200, |second| PageSet::range(page(second), page(second)));
        assert!(inserts.report(0.0).unwrap().objects <= 40);
    }

    #[test]
    fn what_was_ends_with_time() {
        let mut churn = churn(3600, |_| PageSet::range(2, 2));
        for minutes in 1..=61 {
            churn.count(at(3600 + 60 * minutes), 3600);
        }
        check(&churn, "0 in 3600 s, 1 pages, $0.00");
    }

    #[test]
    fn who_counts_anew_is_not_compared_with_before() {
        let mut churn = churn(600, |_| PageSet::range(2, 2));
        churn.count(at(610), 0);
        check(&churn, "");
    }
}
