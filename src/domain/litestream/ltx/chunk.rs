//! Whole frames of an LTX file (v0.5), decoded apart from the rest of the file.

use bytes::Bytes;
use crc_fast::{CrcAlgorithm, Digest, checksum_combine};

use super::frame::{FRAME_HEADER_SIZE, decode_frame};
use crate::domain::litestream::aligned::Aligned;
use crate::domain::litestream::format_error::FormatError;
use crate::domain::reason::Reason;

/// CRC-64 of a part of a file, with which those of neighbouring parts make one of the whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub(super) crc: u64,
    /// Bytes that it is of.
    pub(super) bytes: u64,
}

impl Sum {
    /// The checksum of this part and the next one.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        if next.bytes == 0 {
            return self;
        }
        if self.bytes == 0 {
            return next;
        }
        let crc = checksum_combine(CrcAlgorithm::Crc64GoIso, self.crc, next.crc, next.bytes);
        Self { crc, bytes: self.bytes + next.bytes }
    }
}

/// Frames of one file that follow each other.
#[derive(Clone, Debug, Default)]
pub struct Chunk {
    pub(super) page_size: u32,
    parts: Vec<(u64, Bytes)>,
    frames: Vec<Frame>,
}

/// One frame of a chunk.
#[derive(Clone, Copy, Debug)]
struct Frame {
    page: u32,
    /// It is to be written, not only to be proven.
    wanted: bool,
    part: u32,
    start: u32,
    length: u32,
}

impl Chunk {
    /// Starts a part whose bytes lie from `offset` on in the file.
    pub(super) fn begin_part(&mut self, offset: u64) {
        self.parts.push((offset, Bytes::new()));
    }

    /// Gives the part its bytes.
    pub(super) fn end_part(&mut self, content: Bytes) {
        if let Some((_, part)) = self.parts.last_mut() {
            *part = content;
        }
    }

    /// Adds the frame at `offset` of the file, in the part that was begun.
    pub(super) fn add(&mut self, page: u32, offset: u64, length: usize) {
        let Some((start, _)) = self.parts.last() else { return };
        // Pieces and frames are far below 4 GiB.
        let (part, start, length) = (self.parts.len() as u32 - 1, (offset - start) as u32, length as u32);
        self.frames.push(Frame { page, wanted: true, part, start, length });
    }

    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Bytes in a page.
    pub fn page_size(&self) -> u32 {
        self.page_size
    }

    /// Says of each page, in order, whether it is to be written.
    pub fn choose(&mut self, mut wanted: impl FnMut(u32) -> bool) {
        self.frames.iter_mut().for_each(|frame| frame.wanted = wanted(frame.page));
    }

    /// Decodes every frame and hands the pages to `write`, as many as follow each other at once, with the number of the
    /// first.
    ///
    /// Nothing is proven by this alone: that takes the sums of all chunks of the file.
    ///
    /// # Errors
    ///
    /// The first frame that does not decode, by its offset in the file, or what `write` says.
    pub fn decode(
        &self,
        buffer: &mut PageBuffer,
        mut write: impl FnMut(u32, &[u8]) -> Result<(), Reason>,
    ) -> Result<Sum, Reason> {
        buffer.prepare(self.page_size as usize);
        let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
        let mut bytes = 0;
        for frame in &self.frames {
            if frame.wanted && !buffer.takes(frame.page) {
                buffer.flush(&mut write)?;
            }
            let (part_offset, part) = &self.parts[frame.part as usize];
            let content = part.get(frame.start as usize..(frame.start + frame.length) as usize).unwrap_or_default();
            let page = buffer.slot();
            let covered = decode_frame(content, page).map_err(|problem| {
                FormatError::new(part_offset + u64::from(frame.start) + FRAME_HEADER_SIZE as u64, problem)
            })?;
            crc.update(covered);
            crc.update(page);
            bytes += (covered.len() + page.len()) as u64;
            if frame.wanted {
                buffer.keep(frame.page);
            }
        }
        buffer.flush(&mut write)?;
        Ok(Sum { crc: crc.finalize(), bytes })
    }
}

/// Pages on their way to the file. Worth keeping.
#[derive(Debug, Default)]
pub struct PageBuffer {
    content: Aligned,
    page_size: usize,
    /// The number of the first page in it.
    first: u32,
    pages: usize,
}

/// Bytes that are written at once.
const BUFFER_BYTES: usize = 1 << 20;

impl PageBuffer {
    fn prepare(&mut self, page_size: usize) {
        (self.page_size, self.pages) = (page_size, 0);
        // One slot more than is written at once, for pages that are only proven.
        self.content.grow(BUFFER_BYTES + page_size, 0);
    }

    /// Whether a page can follow those in it.
    fn takes(&self, page: u32) -> bool {
        self.pages > 0
            && u64::from(self.first) + self.pages as u64 == u64::from(page)
            && (self.pages + 1) * self.page_size <= BUFFER_BYTES
    }

    /// Where the next page goes.
    fn slot(&mut self) -> &mut [u8] {
        let start = self.pages * self.page_size;
        &mut self.content.bytes_mut()[start..start + self.page_size]
    }

    fn keep(&mut self, page: u32) {
        if self.pages == 0 {
            self.first = page;
        }
        self.pages += 1;
    }

    fn flush(&mut self, write: &mut impl FnMut(u32, &[u8]) -> Result<(), Reason>) -> Result<(), Reason> {
        let pages = std::mem::take(&mut self.pages);
        if pages == 0 {
            return Ok(());
        }
        write(self.first, &self.content.bytes()[..pages * self.page_size])
    }
}
