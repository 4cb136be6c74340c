//! About how much restoring the latest state of a replica downloads, from what is remembered of its listing.
//!
//! Files are not remembered one by one, so what a level holds behind the newest snapshot is estimated by its share of
//! the TXIDs (or indexes). All levels are added up although a restore reads each TXID from one: rather too much than
//! too little.

/// The share of `bytes`, which lie evenly between `first` and `last`, that is behind `after`.
pub(super) fn behind(bytes: u64, first: u64, last: u64, after: u64) -> u64 {
    let all = last.saturating_sub(first).saturating_add(1);
    let part = last.saturating_sub(after.max(first.saturating_sub(1))).min(all);
    let share = u128::from(bytes) * u128::from(part) / u128::from(all);
    u64::try_from(share).unwrap_or(u64::MAX)
}
