//! Sets of pages, as runs of page numbers in bounded memory.

use crate::domain::limits::PAGE_RUNS_MAX;

/// Which pages a file holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct PageSet {
    /// In ascending order, both ends included.
    runs: Vec<(u32, u32)>,
    /// There were more runs than are kept: the lowest are forgotten.
    dropped: bool,
}

impl PageSet {
    /// All pages from `first` to `last`.
    pub fn range(first: u32, last: u32) -> Self {
        Self { runs: vec![(first, last)], dropped: false }
    }

    /// Adds a page above all others.
    pub fn push(&mut self, page: u32) {
        match self.runs.last_mut() {
            Some((_, last)) if page.checked_sub(1) == Some(*last) => *last = page,
            _ => self.runs.push((page, page)),
        }
        if self.runs.len() > 2 * PAGE_RUNS_MAX {
            self.runs.drain(..PAGE_RUNS_MAX);
            self.dropped = true;
        }
    }

    /// The set, unless pages of it were forgotten.
    pub fn complete(self) -> Option<Self> {
        (!self.dropped).then_some(self)
    }

    /// In ascending order, both ends included.
    pub fn runs(&self) -> &[(u32, u32)] {
        &self.runs
    }

    /// How many pages there are.
    pub fn count(&self) -> u64 {
        self.runs.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum()
    }

    /// The page above which all pages up to `commit` are there; the lock page is nowhere.
    pub fn dense_from(&self, commit: u32, lock: u32) -> u32 {
        let mut end = if commit == lock { commit - 1 } else { commit };
        for (first, last) in self.runs.iter().rev() {
            if *last != end {
                break;
            }
            end = first.saturating_sub(1);
            if end == lock {
                end -= 1;
            }
        }
        end
    }

    /// Takes out what another set holds.
    pub fn subtract(&mut self, held: &Self) {
        let mut left = Vec::new();
        let mut held = held.runs.iter().copied().peekable();
        for (mut first, last) in self.runs.drain(..) {
            while let Some((from, to)) = held.peek().copied() {
                if to < first {
                    held.next();
                    continue;
                }
                if from > last {
                    break;
                }
                if first < from {
                    left.push((first, from - 1));
                }
                first = to.saturating_add(1);
                if to >= last {
                    break;
                }
                held.next();
            }
            if first <= last {
                left.push((first, last));
            }
        }
        self.runs = left;
    }
}

impl FromIterator<u32> for PageSet {
    /// Pages in ascending order.
    fn from_iter<I: IntoIterator<Item = u32>>(pages: I) -> Self {
        let mut set = Self::default();
        pages.into_iter().for_each(|page| set.push(page));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(pages: &[u32]) -> PageSet {
        pages.iter().copied().collect()
    }

    fn check(pages: &[u32], commit: u32, lock: u32, expected: u32) {
        assert_eq!(set(pages).dense_from(commit, lock), expected, "{pages:?}");
    }

    #[test]
    fn growth_is_told_from_the_end() {
        check(&[1, 2, 3], 3, 99, 0);
        check(&[2, 4, 5], 5, 99, 3);
        check(&[2, 4], 5, 99, 5);
        check(&[], 0, 99, 0);
        check(&[1], 4, 99, 4);
        check(&[3, 4, 6, 7], 7, 5, 2);
        check(&[3, 4], 5, 5, 2);
    }

    #[test]
    fn of_too_many_runs_the_lowest_are_forgotten() {
        let every_second = (1..=4 * PAGE_RUNS_MAX as u32 + 2).step_by(2).collect::<PageSet>();
        assert_eq!(every_second.runs().len(), PAGE_RUNS_MAX + 1);
        assert_eq!(every_second.complete(), None);
        assert_eq!((set(&[1, 2, 7]).count(), set(&[1, 2, 7]).complete()), (3, Some(set(&[1, 2, 7]))));
    }

    proptest! {
        #[test]
        fn subtracting_sets_is_subtracting_pages(
            missing in prop::collection::btree_set(1..60u32, 0..30),
            held in prop::collection::btree_set(1..60u32, 0..30),
        ) {
            let set = |pages: &BTreeSet<u32>| pages.iter().copied().collect::<PageSet>();
            let mut left = set(&missing);
            left.subtract(&set(&held));
            let expected: Vec<u32> = missing.difference(&held).copied().collect();
            let left: Vec<u32> = left.runs().iter().flat_map(|(first, last)| *first..=*last).collect();
            prop_assert_eq!(left, expected);
        }
    }
}
