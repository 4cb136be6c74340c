//! What Litestream v0.5 does with the files of one replica: which one is next, which are merged, and which are deleted.
//! There are no bytes here; who has a bucket puts and removes what is said.

use std::collections::BTreeMap;

use crate::ltx::{self, Consumed, Header};
use crate::wal::{WAL_HEADER_BYTES, frame_bytes};

/// One file for each sync.
pub const RAW: u8 = 0;
/// The lowest level of compaction.
pub const COMPACTED: u8 = 1;
/// Whole databases.
pub const SNAPSHOT: u8 = 9;

/// A file of a replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    pub level: u8,
    pub min: u64,
    pub max: u64,
}

impl FileId {
    /// A file of a level, with its first and last TXID.
    pub const fn new(level: u8, min: u64, max: u64) -> Self {
        Self { level, min, max }
    }

    /// The file of level 0 that holds one TXID.
    pub const fn raw(txid: u64) -> Self {
        Self::new(RAW, txid, txid)
    }

    /// Its file name.
    pub fn name(self) -> String {
        ltx::name(self.min, self.max)
    }
}

/// What is in a file; `V` is a version of a page.
#[derive(Clone, Debug)]
pub struct File<V> {
    pub header: Header,
    pub pages: BTreeMap<u32, V>,
    /// When it came into the replica, in the unit of whoever says the time.
    pub at: i64,
}

/// The files of one database: those beside it, and those in its replica.
#[derive(Clone, Debug)]
pub struct Replica<V> {
    /// Level 0 in the metadata directory, by TXID.
    pub local: BTreeMap<u64, File<V>>,
    /// The TXID that Litestream takes for the replica's newest.
    pub uploaded: u64,
    stored: BTreeMap<FileId, File<V>>,
}

impl<V> Default for Replica<V> {
    fn default() -> Self {
        Self { local: BTreeMap::new(), uploaded: 0, stored: BTreeMap::new() }
    }
}

impl<V: Clone> Replica<V> {
    /// The newest TXID beside the database.
    pub fn txid(&self) -> u64 {
        self.local.last_key_value().map_or(0, |(txid, _)| *txid)
    }

    /// What was committed since becomes the next file beside the database; TXIDs of the header are filled in.
    pub fn sync(&mut self, header: Header, pages: BTreeMap<u32, V>) -> FileId {
        let txid = self.txid() + 1;
        let header = Header { min: txid, max: txid, ..header };
        self.local.insert(txid, File { header, pages, at: 0 });
        FileId::raw(txid)
    }

    /// The next file beside the database comes into the replica.
    pub fn upload(&mut self, at: i64) -> Option<FileId> {
        let file = self.local.get(&(self.uploaded + 1))?.clone();
        self.uploaded += 1;
        Some(self.put(FileId::raw(self.uploaded), File { at, ..file }))
    }

    /// Merges into a level what the one below has beyond it; never across a hole.
    pub fn compact(&mut self, level: u8, at: i64) -> Option<FileId> {
        let from = self.newest(level) + 1;
        let below: Vec<_> = self.stored.range(FileId::new(level - 1, from, 0)..FileId::new(level, 0, 0)).collect();
        let whole = below.first()?.0.min == from && below.windows(2).all(|pair| pair[1].0.min == pair[0].0.max + 1);
        let (last, newest) = below.last().filter(|_| whole)?;
        let header = Header { min: from, wal: None, ..newest.header };
        let pages = below.iter().flat_map(|(_, file)| &file.pages).map(|(page, version)| (*page, version.clone()));
        let (id, pages) = (FileId::new(level, from, last.max), pages.collect());
        Some(self.put(id, File { header, pages, at }))
    }

    /// The whole database as of the newest file, once that is in the replica.
    pub fn snapshot(&mut self, pages: BTreeMap<u32, V>, timestamp: u64, at: i64) -> Option<FileId> {
        let (txid, newest) = self.local.last_key_value().filter(|(txid, _)| **txid == self.uploaded)?;
        if self.newest(SNAPSHOT) >= *txid {
            return None;
        }
        // It says where the last frame of the WAL is.
        let wal = newest.header.wal.map(|Consumed { end, .. }| {
            let frame = if end.end > WAL_HEADER_BYTES as u64 { frame_bytes(newest.header.page_size) } else { 0 };
            Consumed { from: end.end - frame, end }
        });
        let header = Header { min: 1, timestamp, wal, ..newest.header };
        let id = FileId::new(SNAPSHOT, 1, *txid);
        Some(self.put(id, File { header, pages, at }))
    }

    /// Level 0 that is merged and old enough, but for its newest file.
    pub fn expired_raw(&self, old: impl Fn(&File<V>) -> bool) -> Vec<FileId> {
        let (compacted, newest) = (self.newest(COMPACTED), self.newest(RAW));
        let raw = self.of_level(RAW);
        raw.take_while(|(id, file)| id.max <= compacted && id.max < newest && old(file)).map(|(id, _)| id).collect()
    }

    /// Snapshots that are old enough, and below the youngest of them what other levels hold; never the newest of a level.
    pub fn expired(&self, old: impl Fn(&File<V>) -> bool) -> Vec<FileId> {
        let mut snapshots: Vec<_> = self.of_level(SNAPSHOT).collect();
        snapshots.pop();
        let mut expired: Vec<_> = snapshots.into_iter().filter(|(_, file)| old(file)).map(|(id, _)| id).collect();
        let Some(youngest) = expired.last().map(|id| id.max) else { return expired };
        for level in COMPACTED..SNAPSHOT {
            let newest = self.newest(level);
            let covered = self.level(level).into_iter().filter(|id| id.max < youngest && id.max != newest);
            expired.extend(covered);
        }
        expired
    }

    /// Litestream starts: it asks the replica how far it is, by level 0 alone.
    pub fn restart(&mut self) {
        self.uploaded = self.newest(RAW);
        if self.txid() < self.uploaded
            && let Some(file) = self.stored.get(&FileId::raw(self.uploaded))
        {
            self.local.insert(self.uploaded, file.clone());
        }
    }

    /// The last TXID of a level.
    pub fn newest(&self, level: u8) -> u64 {
        self.of_level(level).next_back().map_or(0, |(id, _)| id.max)
    }

    /// The files of a level in the replica, ascending.
    pub fn level(&self, level: u8) -> Vec<FileId> {
        self.of_level(level).map(|(id, _)| id).collect()
    }

    fn of_level(&self, level: u8) -> impl DoubleEndedIterator<Item = (FileId, &File<V>)> {
        self.stored.range(FileId::new(level, 0, 0)..FileId::new(level + 1, 0, 0)).map(|(id, file)| (*id, file))
    }

    /// The files in the replica.
    pub fn files(&self) -> impl DoubleEndedIterator<Item = FileId> {
        self.stored.keys().copied()
    }

    /// A file in the replica.
    pub fn get(&self, id: FileId) -> Option<&File<V>> {
        self.stored.get(&id)
    }

    /// Puts a file into the replica, by whoever it is.
    pub fn put(&mut self, id: FileId, file: File<V>) -> FileId {
        self.stored.insert(id, file);
        id
    }

    /// Takes a file out of the replica, by whoever it is.
    pub fn remove(&mut self, id: FileId) -> Option<File<V>> {
        self.stored.remove(&id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many files beside the database and in the replica, stored at the second of their TXID.
    fn replica(files: u64) -> Replica<u64> {
        let mut replica = Replica::default();
        let header = Header { page_size: 4096, commit: 2, min: 0, max: 0, timestamp: 0, wal: None };
        for txid in 1..=files {
            replica.sync(header, BTreeMap::from([(txid as u32 % 2 + 1, txid)]));
            replica.upload(txid.cast_signed());
        }
        replica
    }

    #[test]
    fn levels_are_merged_with_the_newest_pages_and_never_across_a_hole() {
        let mut merging = replica(5);
        let merged = merging.compact(COMPACTED, 9).unwrap();
        assert_eq!((merged, merging.compact(COMPACTED, 9)), (FileId::new(1, 1, 5), None));
        assert_eq!(merging.get(merged).unwrap().pages, BTreeMap::from([(1, 4), (2, 5)]));
        let mut broken = replica(5);
        broken.remove(FileId::raw(3));
        assert_eq!(broken.compact(COMPACTED, 9), None);
    }

    #[test]
    fn what_is_old_goes_once_something_else_holds_it_but_never_the_newest() {
        let mut replica = replica(4);
        assert_eq!(replica.expired_raw(|_| true), [], "nothing is merged");
        replica.compact(COMPACTED, 5);
        assert_eq!(replica.expired_raw(|file| file.at < 3), [1, 2].map(FileId::raw));
        assert_eq!(replica.expired_raw(|_| true), [1, 2, 3].map(FileId::raw));
        let whole = BTreeMap::from([(1, 4), (2, 4)]);
        assert_eq!(replica.snapshot(whole.clone(), 0, 6), Some(FileId::new(SNAPSHOT, 1, 4)));
        assert_eq!((replica.snapshot(whole.clone(), 0, 6), replica.expired(|_| true)), (None, Vec::new()));
        for txid in 5..=8 {
            let header = replica.local[&4].header;
            replica.sync(header, BTreeMap::new());
            replica.upload(txid);
        }
        replica.compact(COMPACTED, 9);
        replica.snapshot(whole, 0, 9);
        replica.put(FileId::new(COMPACTED, 1, 2), replica.get(FileId::new(COMPACTED, 1, 4)).unwrap().clone());
        let expired = [FileId::new(SNAPSHOT, 1, 4), FileId::new(COMPACTED, 1, 2)];
        assert_eq!(replica.expired(|_| true), expired);
    }
}
