//! Contiguous runs of numbered files: what a listing says of continuity, in memory proportional to its holes.

use jiff::Timestamp;

/// Numbers that are all there, with the times of the files at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub min: u64,
    /// Included.
    pub max: u64,
    /// The oldest file that starts at `min`.
    pub first_created: Timestamp,
    /// The oldest file that ends at `max`: when the run had come so far.
    pub last_created: Timestamp,
}

/// Disjoint runs in ascending order, with a hole between each two.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs {
    runs: Vec<Run>,
}

impl Runs {
    /// The runs in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &Run> {
        self.runs.iter()
    }

    /// Adds a file (or a whole run): joins what it touches or overlaps. Cheapest in ascending order.
    pub fn insert(&mut self, new: Run) {
        let start = match self.runs.last() {
            Some(last) if last.max.saturating_add(1) < new.min => self.runs.len(),
            Some(last) if last.min <= new.min => self.runs.len() - 1,
            _ => self.runs.partition_point(|run| run.max.saturating_add(1) < new.min),
        };
        let touching = self.runs[start..].iter().take_while(|run| run.min <= new.max.saturating_add(1)).count();
        let joined = self.runs[start..start + touching].iter().fold(new, |joined, run| joined.join(*run));
        match self.runs.get_mut(start).filter(|_| touching > 0) {
            Some(run) => *run = joined,
            None => {
                // Most have one.
                self.runs.reserve_exact(usize::from(self.runs.is_empty()));
                self.runs.insert(start, joined);
            }
        }
        if touching > 1 {
            self.runs.drain(start + 1..start + touching);
        }
    }

    /// Forgets the lowest ones, until there are no more than `count`.
    pub fn keep_highest(&mut self, count: usize) {
        self.runs.drain(..self.runs.len().saturating_sub(count));
    }

    /// The run that holds `number`.
    pub fn find(&self, number: u64) -> Option<&Run> {
        let at = self.runs.partition_point(|run| run.max < number);
        self.runs.get(at).filter(|run| run.min <= number)
    }

    /// The first run that begins behind `number`.
    pub fn next_behind(&self, number: u64) -> Option<&Run> {
        self.runs.get(self.runs.partition_point(|run| run.min <= number))
    }

    /// How far one comes from `number` without a hole; `number` itself where its successor is missing.
    pub fn reach(&self, number: u64) -> u64 {
        number.checked_add(1).and_then(|next| self.find(next)).map_or(number, |run| run.max)
    }
}

impl Run {
    /// Of one file.
    pub fn new(min: u64, max: u64, created: Timestamp) -> Self {
        Self { min, max, first_created: created, last_created: created }
    }

    fn join(self, other: Self) -> Self {
        let earliest = |a: (u64, Timestamp), b: (u64, Timestamp)| if a.0 == b.0 { a.1.min(b.1) } else { a.1 };
        let (first, second) = if self.min <= other.min { (self, other) } else { (other, self) };
        let (last, inner) = if self.max >= other.max { (self, other) } else { (other, self) };
        Self {
            min: first.min,
            max: last.max,
            first_created: earliest((first.min, first.first_created), (second.min, second.first_created)),
            last_created: earliest((last.max, last.last_created), (inner.max, inner.last_created)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    /// A file from `min` to `max` that was created at `second`.
    fn file((min, max, second): (u64, u64, i64)) -> Run {
        Run::new(min, max, Timestamp::from_second(second).unwrap())
    }

    fn runs(files: &[(u64, u64, i64)]) -> Runs {
        let mut runs = Runs::default();
        files.iter().for_each(|f| runs.insert(file(*f)));
        runs
    }

    fn check(files: &[(u64, u64, i64)], expected: &str) {
        let show = |run: &Run| {
            let (first, last) = (run.first_created.as_second(), run.last_created.as_second());
            format!("{}-{} at {first}..{last}", run.min, run.max)
        };
        assert_eq!(runs(files).iter().map(show).collect::<Vec<_>>().join(", "), expected, "{files:?}");
    }

    #[test]
    fn files_join_what_they_touch() {
        check(&[(1, 1, 10), (2, 2, 20), (3, 3, 30)], "1-3 at 10..30");
        check(&[(1, 1, 10), (3, 3, 30)], "1-1 at 10..10, 3-3 at 30..30");
        check(&[(1, 1, 10), (3, 3, 30), (2, 2, 20)], "1-3 at 10..30");
        check(&[(5, 9, 50), (1, 2, 20), (3, 3, 30)], "1-3 at 20..30, 5-9 at 50..50");
        check(&[(5, 9, 50), (1, 12, 60)], "1-12 at 60..60");
        check(&[(1, 9, 50), (2, 9, 40)], "1-9 at 50..40");
        check(&[(1, 9, 50), (1, 4, 40)], "1-9 at 40..50");
        check(&[(1, 2, 1), (4, 5, 2), (7, 8, 3), (10, 11, 4), (3, 8, 5)], "1-8 at 1..3, 10-11 at 4..4");
        check(&[(u64::MAX, u64::MAX, 1), (1, u64::MAX - 1, 2)], &format!("1-{} at 2..1", u64::MAX));
    }

    proptest! {
        #[test]
        fn hold_the_numbers_that_were_inserted(
            files in prop::collection::vec((1..60u64, 0..8u64, 0..100i64), 0..40),
            from in 0..70u64,
        ) {
            let files: Vec<_> = files.iter().map(|(min, more, second)| (*min, min + more, *second)).collect();
            let runs = runs(&files);
            let numbers: BTreeSet<u64> = files.iter().flat_map(|(min, max, _)| *min..=*max).collect();
            let held: Vec<u64> = runs.iter().flat_map(|run| run.min..=run.max).collect();
            prop_assert_eq!(held, numbers.iter().copied().collect::<Vec<_>>());
            prop_assert!(runs.iter().zip(runs.iter().skip(1)).all(|(a, b)| a.max + 1 < b.min));
            let reach = (from..).find(|number| !numbers.contains(&(number + 1))).unwrap();
            prop_assert_eq!(runs.reach(from), reach);
            for run in runs.iter() {
                let created = |picked: Vec<i64>| Timestamp::from_second(picked.into_iter().min().unwrap()).unwrap();
                let first = files.iter().filter(|f| f.0 == run.min).map(|f| f.2).collect();
                let last = files.iter().filter(|f| f.1 == run.max).map(|f| f.2).collect();
                prop_assert_eq!((run.first_created, run.last_created), (created(first), created(last)));
            }
        }
    }
}
