//! Which of several agents watches what: each replica belongs to exactly one of them, and a change of their number moves
//! no more than it has to.

use std::str::FromStr;

use serde::Serialize;

use super::limits::SHARDS_MAX;
use super::spread::{hash, mixed};

/// One agent of several that share a fleet between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Shard {
    /// Which one, from 0.
    pub index: u32,
    /// How many there are, at most [`SHARDS_MAX`].
    pub count: u32,
}

impl Shard {
    /// It is this one's to watch what is called by `key`: the one of all shards with the greatest weight for it
    /// (rendezvous hashing), so that one shard more takes its own part from the others and moves nothing between them.
    pub fn owns(self, key: &str) -> bool {
        let key = hash(key.bytes());
        let weight = |index: u32| mixed(key ^ mixed(u64::from(index)));
        let own = weight(self.index);
        (0..self.count)
            .all(|other| other == self.index || weight(other) < own || (weight(other) == own && other > self.index))
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    /// Reads `INDEX/COUNT`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (index, count) = text.split_once('/').ok_or("without the `/`")?;
        let number = |text: &str| text.parse::<u32>().map_err(|_| "not a number");
        match (number(index)?, number(count)?) {
            (_, count) if count == 0 || count > SHARDS_MAX => Err("not a possible number of shards"),
            (index, count) if index >= count => Err("shards are counted from 0"),
            (index, count) => Ok(Self { index, count }),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn owner(key: &str, count: u32) -> u32 {
        let owners: Vec<u32> = (0..count).filter(|index| Shard { index: *index, count }.owns(key)).collect();
        assert_eq!(owners.len(), 1, "{key} of {count}: {owners:?}");
        owners[0]
    }

    #[test]
    fn all_agents_agree_whatever_their_version() {
        let owners: Vec<u32> = (0..12).map(|n| owner(&format!(" s3://backups/tenant-{n}"), 5)).collect();
        assert_eq!(owners, GOLDEN);
    }

    /// Found when this was written.
    const GOLDEN: [u32; 12] = [3, 1, 0, 4, 2, 3, 1, 1, 4, 2, 4, 2];

    #[test]
    fn a_shard_more_or_less_moves_its_own_part() {
        let keys: Vec<String> = (0..1000).map(|n| format!(" s3://backups/tenant-{n}")).collect();
        for count in [1, 3, 5] {
            let before: Vec<u32> = keys.iter().map(|key| owner(key, count)).collect();
            let after: Vec<u32> = keys.iter().map(|key| owner(key, count + 1)).collect();
            let moved: Vec<u32> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(_, to)| *to).collect();
            assert!(moved.iter().all(|to| *to == count), "moved between shards that were there before");
            let fair = keys.len() / (count as usize + 1);
            assert!(moved.len() > fair * 8 / 10 && moved.len() < fair * 12 / 10, "{count}: {} of {fair}", moved.len());
            for index in 0..count {
                let own = before.iter().filter(|owner| **owner == index).count();
                let fair = keys.len() / count as usize;
                assert!(own > fair * 8 / 10 && own < fair * 12 / 10, "{index}/{count}: {own} of {fair}");
            }
        }
    }

    #[test]
    fn what_is_no_shard_is_refused() {
        assert_eq!("2/3".parse(), Ok(Shard { index: 2, count: 3 }));
        for text in ["", "1", "3/3", "0/0", "-1/3", "0/1001", "a/3", "1/3/5"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn everything_is_watched_by_exactly_one(key in ".{0,40}", count in 1_u32..20) {
            owner(&key, count);
        }
    }
}
