//! What is counted over all databases, brought up to date with each of them that changes.

use super::{DatabaseReport, DatabaseState};

/// How many databases are in each state, in the order of [`DatabaseState::ALL`].
pub type States = [usize; DatabaseState::ALL.len()];

/// Parts of a dollar in which sums are kept: whole numbers, so that what is taken away leaves nothing behind.
const PARTS: f64 = 1e12;

/// Of all databases at one time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub states: States,
    /// Replicas whose storage has no known price.
    unpriced: usize,
    /// What a month of storage costs of the others.
    storage: i128,
}

impl Tally {
    /// Of these.
    pub fn of<'a>(databases: impl Iterator<Item = &'a DatabaseReport>) -> Self {
        let mut tally = Self::default();
        databases.for_each(|database| tally.enter(database));
        tally
    }

    /// A database is watched from now on.
    pub fn enter(&mut self, database: &DatabaseReport) {
        let Self { unpriced, storage, .. } = Self::storage(database);
        self.states[database.state as usize] += 1;
        (self.unpriced, self.storage) = (self.unpriced + unpriced, self.storage + storage);
    }

    /// One is no longer watched.
    pub fn leave(&mut self, database: &DatabaseReport) {
        let Self { unpriced, storage, .. } = Self::storage(database);
        self.states[database.state as usize] -= 1;
        (self.unpriced, self.storage) = (self.unpriced - unpriced, self.storage - storage);
    }

    /// Another report takes the place of the one before.
    pub fn replace(&mut self, before: &DatabaseReport, now: &DatabaseReport) {
        self.leave(before);
        self.enter(now);
    }

    /// Dollars a month for what is stored; `None` where that is not known of all replicas.
    pub fn storage_dollars(&self) -> Option<f64> {
        (self.unpriced == 0).then_some(self.storage as f64 / PARTS)
    }

    fn storage(database: &DatabaseReport) -> Self {
        let mut tally = Self::default();
        for replica in &database.replicas {
            match replica.keeping.storage_dollars_per_month {
                Some(dollars) => tally.storage += (dollars * PARTS) as i128,
                None => tally.unpriced += 1,
            }
        }
        tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::sample;

    #[test]
    fn what_left_leaves_nothing_behind() {
        let [one, other, mut unlisted] = ["one", "other", "unlisted"].map(sample::healthy);
        unlisted.state = DatabaseState::Missing;
        unlisted.replicas[0].keeping.storage_dollars_per_month = None;
        let mut tally = Tally::of([&one, &unlisted].into_iter());
        let before = tally;
        assert_eq!(tally.storage_dollars(), None);
        tally.replace(&unlisted, &other);
        assert_eq!(tally, Tally::of([&other, &one].into_iter()));
        let dollars = one.replicas[0].keeping.storage_dollars_per_month.unwrap();
        assert!((tally.storage_dollars().unwrap() - 2.0 * dollars).abs() < 1e-9);
        tally.replace(&other, &unlisted);
        assert_eq!(tally, before);
        tally.leave(&one);
        tally.leave(&unlisted);
        assert_eq!(tally, Tally::default());
    }
}
