//! The order in which level-0 files are asked for to find the newest one, in few requests. Pure.
//!
//! Litestream uploads them one after the other, each TXID once: where one is missing, none behind it is there.

use crate::domain::limits::PEEKS_MAX;
use crate::domain::litestream::Txid;

/// So few files are asked for one by one, which shows that none of them is missing.
const NEAR: u64 = 3;

/// A search that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Search {
    /// The newest one that is there, and the oldest one that is not.
    there: u64,
    absent: Option<u64>,
    /// The newest one that Litestream has written beside the database, where that shows and is to be found yet.
    claimed: Option<u64>,
    /// How far ahead the next one is asked for where nothing says what is there.
    step: u64,
    missed: u32,
    asked: u32,
}

impl Search {
    /// From a file that is there. A claim of no more than that is no reason to ask for no more: it may be of another
    /// history, or of a directory that Litestream has left.
    pub(super) fn new(there: Txid, claimed: Option<Txid>) -> Self {
        let claimed = claimed.filter(|claimed| *claimed > there).map(|claimed| claimed.0);
        Self { there: there.0, absent: None, claimed, step: 1, missed: 0, asked: 0 }
    }

    /// The one to ask for; `None` when the newest is found, or enough was asked.
    pub(super) fn next(&self) -> Option<Txid> {
        let next = self.there.checked_add(1).filter(|_| self.asked < PEEKS_MAX)?;
        let wanted = match (self.absent, self.claimed) {
            (None, Some(claimed)) if claimed - self.there > NEAR => claimed,
            (None, Some(claimed)) => (self.there < claimed).then_some(next)?,
            (None, None) => self.there.saturating_add(self.step),
            (Some(absent), _) if absent == next => return None,
            // The last one is often on its way. If it is not that, perhaps nothing is new.
            (Some(absent), _) if self.missed == 1 => absent - 1,
            (Some(_), _) if self.missed == 2 => next,
            (Some(absent), _) => self.there.midpoint(absent),
        };
        Some(Txid(wanted))
    }

    pub(super) fn there(&mut self, txid: Txid) {
        (self.there, self.step, self.asked) = (txid.0, self.step.saturating_mul(2), self.asked + 1);
        self.missed += u32::from(self.missed == 2);
    }

    pub(super) fn absent(&mut self, txid: Txid) {
        (self.absent, self.missed, self.asked) = (Some(txid.0), self.missed + 1, self.asked + 1);
    }

    /// It is known which files are not there, or that there are no others.
    pub(super) fn has_ended(&self) -> bool {
        self.absent.is_some() || self.claimed == Some(self.there)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches from 10 to where the replica is, and says what was asked for and found.
    fn check(newest: u64, claimed: Option<u64>, asked: &[u64], found: u64, ended: bool) {
        let mut search = Search::new(Txid(10), claimed.map(Txid));
        let mut requests = Vec::new();
        while let Some(txid) = search.next() {
            requests.push(txid.0);
            if txid.0 <= newest { search.there(txid) } else { search.absent(txid) }
        }
        assert_eq!(
            (requests.as_slice(), search.there, search.has_ended()),
            (asked, found, ended),
            "{newest} {claimed:?}"
        );
    }

    #[test]
    fn what_is_claimed_is_asked_for_first() {
        check(10, Some(10), &[11], 10, true);
        check(12, Some(10), &[11, 13, 12], 12, true);
        check(11, Some(11), &[11], 11, true);
        check(13, Some(13), &[11, 12, 13], 13, true);
        check(20, Some(20), &[20], 20, true);
        // Uploads lag by one, by some, and are stuck.
        check(19, Some(20), &[20, 19], 19, true);
        check(17, Some(20), &[20, 19, 11, 15, 17, 18], 17, true);
        check(10, Some(5000), &[5000, 4999, 11], 10, true);
        check(10, Some(11), &[11], 10, true);
    }

    #[test]
    fn without_a_claim_steps_double_until_nothing_is_there() {
        check(10, None, &[11], 10, true);
        check(11, None, &[11, 13, 12], 11, true);
        check(12, None, &[11, 13, 12], 12, true);
        check(16, None, &[11, 13, 17, 16], 16, true);
        check(15, None, &[11, 13, 17, 16, 14, 15], 15, true);
        // Too much is new to find its end in this way.
        check(1000, None, &[11, 13, 17, 25, 41, 73], 73, false);
        // Another history beside the database.
        check(10, Some(9), &[11], 10, true);
    }

    #[test]
    fn numbers_end() {
        let search = Search::new(Txid(u64::MAX), None);
        assert_eq!(search.next(), None);
        let search = Search::new(Txid(u64::MAX - 1), Some(Txid(u64::MAX)));
        assert_eq!(search.next(), Some(Txid(u64::MAX)));
    }
}
