//! Whether a replica continues the local database's history.

/// The state that is kept between two observations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Litestream's local TXID at the first observation at which the replica was ahead of it.
    behind_at: Option<u64>,
    /// `None`: nothing was compared yet.
    foreign: Option<bool>,
}

impl Lineage {
    /// Compares Litestream's local TXID, read after the replica was listed, with the replica's.
    ///
    /// Litestream writes a file here before it uploads it, so that the replica is never ahead of it, whatever is restarted.
    /// A replica that is ahead was written by somebody else or belongs to a later state of a database that was restored.
    /// That is a conflict once Litestream goes on writing behind it: a host that only stands by is none.
    pub fn observe(&mut self, local: u64, replica: u64) {
        if local >= replica {
            *self = Self { behind_at: None, foreign: Some(false) };
            return;
        }
        let first = *self.behind_at.get_or_insert(local);
        if local != first {
            self.foreign = Some(true);
        } else if self.foreign != Some(true) {
            self.foreign = Some(false);
        }
    }

    /// Another history or another writer; `None` where nothing was compared.
    pub fn is_foreign(&self) -> Option<bool> {
        self.foreign
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(observed: &[(u64, u64)], expected: Option<bool>) {
        let mut lineage = Lineage::default();
        observed.iter().for_each(|(local, replica)| lineage.observe(*local, *replica));
        assert_eq!(lineage.is_foreign(), expected, "{observed:?}");
    }

    #[test]
    fn writing_behind_the_replica_is_a_conflict() {
        check(&[], None);
        check(&[(7, 7), (9, 8), (9, 9)], Some(false));
        // One observation, or a daemon that does nothing, is none.
        check(&[(3, 9)], Some(false));
        check(&[(3, 9), (3, 9), (3, 12)], Some(false));
        check(&[(3, 9), (4, 9)], Some(true));
        check(&[(3, 9), (4, 9), (4, 9)], Some(true));
        // Its metadata was thrown away a second time.
        check(&[(3, 9), (1, 9)], Some(true));
        // It overtook, or continues the replica.
        check(&[(3, 9), (4, 9), (10, 10)], Some(false));
    }
}
