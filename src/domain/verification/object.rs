//! The names of objects of both layouts, so that what is remembered of one is remembered in one way.

use std::fmt;

use jiff::Timestamp;

use crate::domain::litestream::{Generation, LevelKeys, LtxFile, LtxName, SegmentName, SnapshotName, Txid};

/// An object of a replica. The order within a [`Folder`] is that of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ObjectName {
    Ltx { level: u8, name: LtxName },
    Snapshot(Generation, SnapshotName),
    Segment(Generation, SegmentName),
}

/// What is listed by one prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Folder {
    Level(u8),
    Snapshots(Generation),
    Wal(Generation),
}

/// An object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    pub name: ObjectName,
    /// Bytes.
    pub size: u64,
    pub modified: Timestamp,
}

impl ObjectName {
    pub fn folder(self) -> Folder {
        match self {
            Self::Ltx { level, .. } => Folder::Level(level),
            Self::Snapshot(generation, _) => Folder::Snapshots(generation),
            Self::Segment(generation, _) => Folder::Wal(generation),
        }
    }

    /// The key below the replica's root.
    pub fn key(self, keys: LevelKeys) -> String {
        match self {
            Self::Ltx { level, name } => keys.key(level, name),
            Self::Snapshot(generation, name) => generation.snapshot_key(name),
            Self::Segment(generation, name) => generation.segment_key(name),
        }
    }

    /// It is a file that ends with this TXID.
    pub fn reaches(self, txid: Txid) -> bool {
        matches!(self, Self::Ltx { name, .. } if name.max == txid)
    }

    /// Reads what [`Display`](fmt::Display) writes.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let kind = parts.next()?;
        let mut number = || u64::from_str_radix(parts.next()?, 16).ok();
        let (first, second, third) = (number()?, number()?, number());
        let index = u32::try_from(second).ok();
        match kind {
            "l" => {
                let (min, max) = (Txid(second), Txid(third?));
                let level = u8::try_from(first).ok().filter(|_| min.0 > 0 && min <= max)?;
                Some(Self::Ltx { level, name: LtxName { min, max } })
            }
            "s" => Some(Self::Snapshot(Generation(first), SnapshotName { index: index? })),
            "w" => Some(Self::Segment(Generation(first), SegmentName { index: index?, offset: third? })),
            _ => None,
        }
    }
}

/// A short form for the journal.
impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ltx { level, name } => write!(f, "l:{level:x}:{:x}:{:x}", name.min.0, name.max.0),
            Self::Snapshot(generation, name) => write!(f, "s:{:x}:{:x}", generation.0, name.index),
            Self::Segment(generation, name) => write!(f, "w:{:x}:{:x}:{:x}", generation.0, name.index, name.offset),
        }
    }
}

impl From<LtxFile> for Sighting {
    fn from(file: LtxFile) -> Self {
        let name = ObjectName::Ltx { level: file.level, name: file.name() };
        Self { name, size: file.size, modified: file.created }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let names = [
            ObjectName::Ltx { level: 9, name: LtxName { min: Txid(1), max: Txid(u64::MAX) } },
            ObjectName::Snapshot(Generation(u64::MAX), SnapshotName { index: 7 }),
            ObjectName::Segment(Generation(5), SegmentName { index: u32::MAX, offset: 1 << 40 }),
        ];
        for name in names {
            assert_eq!(ObjectName::parse(&name.to_string()), Some(name));
        }
        for text in ["", "l:0:0:1", "l:0:2:1", "l:100:1:1", "s:1:100000000", "w:1:1", "x:1:1:1"] {
            assert_eq!(ObjectName::parse(text), None, "{text}");
        }
    }
}
