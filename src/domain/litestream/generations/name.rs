//! The names of what v0.3 writes: generations, their snapshots and their WAL segments.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::Serialize;

use crate::domain::litestream::name::{NameError, hex};

/// The prefix of every v0.3 key.
pub const ROOT: &str = "generations/";

/// A v0.3 generation: one unbroken series of WAL indexes. The number is random, so that it orders nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The prefix of the keys of its snapshots, `/` included.
    pub fn snapshots_prefix(self) -> String {
        format!("{ROOT}{self}/snapshots/")
    }

    /// The prefix of the keys of its WAL segments, `/` included.
    pub fn wal_prefix(self) -> String {
        format!("{ROOT}{self}/wal/")
    }

    pub fn snapshot_key(self, name: SnapshotName) -> String {
        format!("{}{name}", self.snapshots_prefix())
    }

    pub fn segment_key(self, name: SegmentName) -> String {
        format!("{}{name}", self.wal_prefix())
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for Generation {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        hex(text, 16).map(Self).ok_or_else(|| NameError::new("generation", text, "16 lower-case hexadecimal digits"))
    }
}

/// The name of a snapshot, `<index>.snapshot.lz4`: the database as it was before the WAL of that index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SnapshotName {
    pub index: u32,
}

impl fmt::Display for SnapshotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}.snapshot.lz4", self.index)
    }
}

impl FromStr for SnapshotName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let index = text.strip_suffix(".snapshot.lz4").and_then(index);
        index.map(|index| Self { index }).ok_or_else(|| NameError::new("snapshot name", text, "<8 hex>.snapshot.lz4"))
    }
}

/// The name of a WAL segment, `<index>_<offset>.wal.lz4`: the bytes of one WAL from `offset` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SegmentName {
    /// Which WAL of the generation; a checkpoint starts the next.
    pub index: u32,
    /// Byte offset in that WAL. Eight digits, or as many as it takes: v0.3 then ignores its own file.
    pub offset: u64,
}

impl SegmentName {
    /// Where it begins, as `index/offset`.
    pub fn position(self) -> String {
        position(self.index, self.offset)
    }
}

impl fmt::Display for SegmentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}_{:08x}.wal.lz4", self.index, self.offset)
    }
}

impl FromStr for SegmentName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let parse = || {
            let (first, second) = text.strip_suffix(".wal.lz4")?.split_once('_')?;
            let padded = second.len() > 8 && second.starts_with('0');
            let offset = (8..=16).contains(&second.len()).then(|| hex(second, second.len())).flatten()?;
            (!padded).then_some(Self { index: index(first)?, offset })
        };
        parse().ok_or_else(|| NameError::new("WAL segment name", text, "<8 hex>_<8 to 16 hex>.wal.lz4"))
    }
}

/// A position in the WAL of a generation, as people read it.
pub(super) fn position(index: impl Into<u64>, offset: u64) -> String {
    format!("{:08x}/{offset:08x}", index.into())
}

fn index(text: &str) -> Option<u32> {
    hex(text, 8).and_then(|index| u32::try_from(index).ok())
}

/// One snapshot of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    pub index: u32,
    /// Bytes, compressed.
    pub size: u64,
    /// When it was uploaded.
    pub created: Timestamp,
}

/// One WAL segment of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    pub index: u32,
    pub offset: u64,
    /// Bytes, compressed.
    pub size: u64,
    /// When it was uploaded.
    pub created: Timestamp,
}

impl SegmentFile {
    pub fn name(&self) -> SegmentName {
        SegmentName { index: self.index, offset: self.offset }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::{LevelKeys, ObjectName};

    fn of_key(key: &str) -> Option<ObjectName> {
        ObjectName::of_key(key, LevelKeys::Plain)
    }

    #[test]
    fn keys_are_taken_apart() {
        let generation = Generation(0x050e_5774_cd45_548e);
        let parse = |rest: &str| of_key(&format!("generations/050e5774cd45548e/{rest}"));
        assert_eq!(
            parse("snapshots/0000001f.snapshot.lz4"),
            Some(ObjectName::Snapshot(generation, SnapshotName { index: 31 }))
        );
        assert_eq!(
            parse("wal/00000001_00000a98.wal.lz4"),
            Some(ObjectName::Segment(generation, SegmentName { index: 1, offset: 2712 }))
        );
        assert_eq!(
            parse("wal/00000001_100000000.wal.lz4"),
            Some(ObjectName::Segment(generation, SegmentName { index: 1, offset: 1 << 32 }))
        );
        for rest in [
            "wal/00000001_0000a98.wal.lz4",
            "wal/00000001_000000a98.wal.lz4",
            "wal/00000001_00000A98.wal.lz4",
            "wal/0000001_00000a98.wal.lz4",
            "wal/00000001_00000a98.wal.lz4.tmp",
            "wal/00000001/00000a98.wal.lz4",
            "snapshots/00000001_00000000.wal.lz4",
            "snapshots/1.snapshot.lz4",
            "0000001f.snapshot.lz4",
        ] {
            assert_eq!(parse(rest), None, "{rest}");
        }
        assert_eq!(of_key("generations/050E5774cd45548e/snapshots/0000001f.snapshot.lz4"), None);
    }

    #[test]
    fn errors_name_the_text() {
        assert_eq!(
            "a".parse::<Generation>().unwrap_err().to_string(),
            "generation \"a\": expected 16 lower-case hexadecimal digits"
        );
        assert_eq!(
            "a".parse::<SnapshotName>().unwrap_err().to_string(),
            "snapshot name \"a\": expected <8 hex>.snapshot.lz4"
        );
        assert_eq!(
            "a".parse::<SegmentName>().unwrap_err().to_string(),
            "WAL segment name \"a\": expected <8 hex>_<8 to 16 hex>.wal.lz4"
        );
    }

    proptest! {
        #[test]
        fn reads_what_it_writes(generation: u64, index: u32, offset: u64, shift in 0..64u32) {
            let generation = Generation(generation);
            let segment = SegmentName { index, offset: offset >> shift };
            let snapshot = SnapshotName { index };
            prop_assert_eq!(generation.to_string().parse(), Ok(generation));
            prop_assert_eq!(
                of_key(&generation.segment_key(segment)),
                Some(ObjectName::Segment(generation, segment))
            );
            prop_assert_eq!(
                of_key(&generation.snapshot_key(snapshot)),
                Some(ObjectName::Snapshot(generation, snapshot))
            );
        }
    }
}
