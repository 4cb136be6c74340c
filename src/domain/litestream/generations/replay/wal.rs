//! The WAL of a generation's index: its frames are proven one after the other, and written when they are committed.

use super::{ReplayError, ReplayFile};
use crate::domain::limits::OPEN_TRANSACTION_BYTES_MAX;
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
    /// Frames since the last commit that are not written, header and page each.
    held: Vec<u8>,
    /// Frames since the last commit were written.
    pub(super) spilt: bool,
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
            held: Vec::new(),
            spilt: false,
        }
    }

    /// Takes whole frames: proves all of them, then writes those that are committed.
    pub(super) fn take(
        &mut self,
        frames: &[u8],
        frame: usize,
        hold: bool,
        file: &impl ReplayFile,
    ) -> Result<(), ReplayError> {
        let mut committed = 0;
        for (number, bytes) in frames.chunks_exact(frame).enumerate() {
            let header = self.prove(bytes)?;
            self.end += frame as u64;
            if header.commit_pages != 0 {
                committed = (number + 1) * frame;
                (self.committed, self.pages) = (self.end, header.commit_pages);
            }
        }
        let (whole, open) = frames.split_at_checked(committed).unwrap_or((frames, &[]));
        if !whole.is_empty() {
            write(&std::mem::take(&mut self.held), frame, file)?;
            write(whole, frame, file)?;
            self.spilt = false;
        }
        if !hold || self.spilt {
            self.spilt |= !open.is_empty();
            return write(open, frame, file);
        }
        self.held.extend_from_slice(open);
        if self.held.len() > OPEN_TRANSACTION_BYTES_MAX {
            self.spilt = true;
            write(&std::mem::take(&mut self.held), frame, file)?;
        }
        Ok(())
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

/// Writes the pages of whole frames.
fn write(frames: &[u8], frame: usize, file: &impl ReplayFile) -> Result<(), ReplayError> {
    for bytes in frames.chunks_exact(frame) {
        let (_, page) = bytes.split_at(FRAME_HEADER_BYTES);
        let number = FrameHeader::parse(bytes, 0)?.page_number;
        let offset = u64::from(number.saturating_sub(1)) * page.len() as u64;
        file.write_at(offset, page).map_err(ReplayError::Write)?;
    }
    Ok(())
}
