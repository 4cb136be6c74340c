//! v0.3: WAL segments, which tell where they end only when they are decompressed, and snapshots.

use std::io::Read;

use crc_fast::{CrcAlgorithm, Digest};

use super::{Reader, Stop};
use crate::domain::litestream::{FormatError, Problem, SegmentName, segment_end, snapshot_bytes};
use crate::domain::verification::{Facts, FindingKind, Outcome};

/// How an LZ4 frame begins.
const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Bytes of a frame that are enough to see what it is.
const HEAD_BYTES: u64 = 64;

/// Its checksum is over the compressed bytes, to know the object again.
pub(super) fn segment(name: SegmentName, content: impl Read) -> Result<Outcome, Stop> {
    let mut summed = Summed { reader: content, digest: Digest::new(CrcAlgorithm::Crc64GoIso) };
    let end = segment_end(&name, &mut summed)?;
    let facts = Facts::Segment { end: end.end.end, checksum: summed.digest.finalize(), is_cut: end.is_cut };
    Ok(Outcome::Good { content: true, facts, pages: None, frames: None })
}

pub(super) fn snapshot(content: impl Read) -> Result<Outcome, Stop> {
    snapshot_bytes(content)?;
    Ok(Outcome::Good { content: true, facts: Facts::Snapshot, pages: None, frames: None })
}

impl Reader<'_> {
    /// The first and the last bytes: that there is an LZ4 frame, and that its listed end is there.
    pub(super) async fn snapshot_head(&mut self) -> Result<Outcome, Stop> {
        let head = self.range(0, HEAD_BYTES).await?;
        let magic: [u8; 4] = *head
            .first_chunk()
            .ok_or_else(|| Stop::Bad(FindingKind::Truncated, format!("unexpected end at byte {}", head.len())))?;
        if magic != LZ4_MAGIC {
            let problem = Problem::Lz4Magic(u32::from_be_bytes(magic));
            return Err(Stop::from(FormatError { offset: 0, problem }));
        }
        Ok(Outcome::Good { content: false, facts: Facts::Snapshot, pages: None, frames: None })
    }
}

/// Sums up what is read through it.
struct Summed<R> {
    reader: R,
    digest: Digest,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.digest.update(&buffer[..count]);
        Ok(count)
    }
}
