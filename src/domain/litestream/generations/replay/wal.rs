//! The WAL of a generation's index: its frames are proven one after the other, and written when they are committed and
//! there are enough of them that most pages are written once.

use super::{ReplayError, ReplayFile};
use crate::domain::limits::{OPEN_TRANSACTION_BYTES_MAX, REPLAY_BATCH_BYTES};
use crate::domain::litestream::lz4::Batch;
use crate::domain::sqlite::{FRAME_HEADER_BYTES, FrameHeader, WAL_HEADER_BYTES, WalChecksum, WalHeader};

/// A frame that does not belong where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("WAL frame at {offset:08x}: {cause}")]
pub struct BadFrame {
    /// Byte offset in the WAL of its index.
    pub offset: u64,
    pub cause: &'static str,
}

/// The WAL of the index that is being applied.
pub(super) struct Wal {
    pub(super) index: u32,
    pub(super) header: WalHeader,
    /// Where the next segment has to begin.
    pub(super) end: u64,
    /// After the last frame.
    checksum: WalChecksum,
    /// After the last commit.
    pub(super) committed: u64,
    /// Pages of the database after the last commit; 0 before the first.
    pub(super) pages: u32,
    /// Frames since the last commit were written.
    pub(super) spilt: bool,
    /// Bytes behind its last whole frame, after which nothing can follow.
    pub(super) trailing: usize,
}

impl Wal {
    pub(super) fn new(index: u32, header: WalHeader) -> Self {
        Self {
            index,
            header,
            end: WAL_HEADER_BYTES as u64,
            checksum: header.checksum,
            committed: WAL_HEADER_BYTES as u64,
            pages: 0,
            spilt: false,
            trailing: 0,
        }
    }

    /// Proves the frames that are whole by now.
    pub(super) fn take(&mut self, waiting: &mut Waiting, frame: usize) -> Result<(), ReplayError> {
        let Waiting { memory, start, pages, committed } = waiting;
        for bytes in memory.content()[*start..].chunks_exact(frame).skip(pages.len()) {
            let header = self.prove(bytes)?;
            self.end += frame as u64;
            pages.push((header.page_number, pages.len() as u32));
            if header.commit_pages != 0 {
                (self.committed, self.pages, *committed) = (self.end, header.commit_pages, pages.len());
            }
        }
        Ok(())
    }

    /// Writes what is committed, and what is not where that is too much to be held back.
    pub(super) fn write(
        &mut self,
        waiting: &mut Waiting,
        frame: usize,
        file: &impl ReplayFile,
    ) -> Result<(), ReplayError> {
        let (committed, all) = (waiting.committed, waiting.pages.len());
        self.spilt &= committed == 0;
        self.spilt |= (all - committed) * frame > OPEN_TRANSACTION_BYTES_MAX;
        waiting.write(if self.spilt { all } else { committed }, frame, file)
    }

    /// Whether a frame is the next one of this WAL.
    fn prove(&mut self, frame: &[u8]) -> Result<FrameHeader, ReplayError> {
        let offset = self.end;
        let bad = |cause| ReplayError::Frame(BadFrame { offset, cause });
        let header = FrameHeader::parse(frame, offset)?;
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        if (header.salt1, header.salt2) != (self.header.salt1, self.header.salt2) {
            return Err(bad("salts of another WAL"));
        }
        let order = self.header.order;
        self.checksum = self.checksum.extend(order, &head[..8]).extend(order, page);
        if self.checksum != header.checksum {
            return Err(bad("checksum does not match"));
        }
        if header.page_number == 0 {
            return Err(bad("page number 0"));
        }
        Ok(header)
    }
}

/// Frames that are not written yet, header and page each, in memory that is used again.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    memory: Batch,
    /// Where they begin in it: behind the header of the WAL. The last one may not be whole.
    start: usize,
    /// Page and number of each that is proven.
    pages: Vec<(u32, u32)>,
    /// Frames up to the last commit.
    committed: usize,
}

impl Waiting {
    /// Where what comes next is decoded to.
    pub(super) fn room(&mut self) -> &mut Batch {
        self.memory.reserve(2 * REPLAY_BATCH_BYTES);
        &mut self.memory
    }

    /// What a WAL begins with, before its frames.
    pub(super) fn header(&mut self) -> &[u8] {
        self.start = self.memory.content().len().min(WAL_HEADER_BYTES);
        &self.memory.content()[..self.start]
    }

    /// Of frames.
    pub(super) fn bytes(&self) -> usize {
        self.memory.content().len() - self.start
    }

    pub(super) fn clear(&mut self) {
        self.memory.clear();
        self.start = 0;
        self.pages.clear();
        self.committed = 0;
    }

    /// Writes the pages of the first `count` frames: of each page what is newest, and those at once that follow each other.
    fn write(&mut self, count: usize, frame: usize, file: &impl ReplayFile) -> Result<(), ReplayError> {
        let mut newest: Vec<(u32, u32)> = self.pages.drain(..count).collect();
        newest.sort_unstable();
        newest.dedup_by(|newer, older| {
            let same = newer.0 == older.0;
            older.1 = if same { newer.1 } else { older.1 };
            same
        });
        let page_bytes = frame - FRAME_HEADER_BYTES;
        for pages in newest.chunks((REPLAY_BATCH_BYTES / page_bytes).max(1)) {
            let (mut parts, mut run): (Vec<(u64, usize)>, Batch) = (Vec::new(), file.memory());
            run.clear();
            run.reserve(pages.len() * page_bytes);
            for (page, number) in pages {
                let start = self.start + *number as usize * frame;
                run.extend(&self.memory.content()[start + FRAME_HEADER_BYTES..start + frame]);
                let offset = u64::from(page.saturating_sub(1)) * page_bytes as u64;
                match parts.last_mut() {
                    Some((before, length)) if *before + *length as u64 == offset => *length += page_bytes,
                    _ => parts.push((offset, page_bytes)),
                }
            }
            file.write(parts, run).map_err(ReplayError::Write)?;
        }
        self.memory.consume(self.start + count * frame);
        self.start = 0;
        self.pages.iter_mut().for_each(|(_, number)| *number -= count as u32);
        self.committed = 0;
        Ok(())
    }
}
