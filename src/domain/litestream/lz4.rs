//! The content of a whole object in one LZ4 frame, as v0.3 writes it: block after block into memory that is used again.
//!
//! A decoder of the library clears megabytes for each frame, and most segments are a few kilobytes.

use std::io::Read;

use lz4_flex::frame::Error;
use twox_hash::XxHash32;

use super::aligned::Aligned;
use super::format_error::{FormatError, Problem};
use super::input::{Input, LZ4_UNCOMPRESSED as UNCOMPRESSED, Lz4Frame};

/// The flags of every frame that Litestream v0.3 writes: independent blocks and a checksum of the content, nothing else.
const USUAL_FLAGS: u8 = 0x64;
/// A byte of LZ4 decodes to no more than this.
const EXPANSION_MAX: usize = 255;

/// Bytes that were decoded, in memory that is worth keeping.
#[derive(Debug, Default)]
pub struct Batch {
    memory: Aligned,
    length: usize,
}

impl Batch {
    /// What is in it.
    pub fn content(&self) -> &[u8] {
        &self.memory.bytes()[..self.length]
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Makes room for so many bytes at once.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.memory.grow(bytes, self.length);
    }

    /// Adds bytes at the end.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.room(bytes.len()).copy_from_slice(bytes);
        self.length += bytes.len();
    }

    /// Removes `count` bytes at the start.
    pub(super) fn consume(&mut self, count: usize) {
        self.memory.bytes_mut().copy_within(count..self.length, 0);
        self.length -= count;
    }

    /// Where the next bytes go.
    fn room(&mut self, bytes: usize) -> &mut [u8] {
        let end = self.length + bytes;
        self.memory.grow(end, self.length);
        &mut self.memory.bytes_mut()[self.length..end]
    }
}

/// The error of the library, which words all of them.
fn failed(at: u64, error: Error, problem: fn(String) -> Problem) -> FormatError {
    FormatError::new(at, problem(std::io::Error::from(error).to_string()))
}

/// One frame on its way. Its content is compared with its checksum in the end: [`content_checksum`](Self::content_checksum).
pub(super) enum Lz4Blocks<'a, R: Read> {
    /// As Litestream writes it.
    Usual {
        input: &'a mut Input<R>,
        /// A block before it is decoded.
        compressed: &'a mut Vec<u8>,
        /// The most that a block decodes to.
        longest: usize,
        checksum: Option<u32>,
    },
    /// What no Litestream is known to write is left to the library.
    Other(Box<Lz4Frame<'a, R>>),
}

impl<'a, R: Read> Lz4Blocks<'a, R> {
    /// Begins the frame that comes next. `compressed` is memory that is worth keeping.
    ///
    /// # Errors
    ///
    /// When none does.
    pub(super) fn begin(input: &'a mut Input<R>, compressed: &'a mut Vec<u8>) -> Result<Self, FormatError> {
        let descriptor = input.lz4_descriptor()?;
        let [flags, blocks, check] = descriptor;
        let code = u32::from(blocks >> 4 & 7);
        let is_usual = flags == USUAL_FLAGS && blocks & 0x8f == 0 && code >= 4;
        if !is_usual || check != (XxHash32::oneshot(0, &[flags, blocks]) >> 8) as u8 {
            return Ok(Self::Other(Box::new(input.lz4_frame_behind(descriptor))));
        }
        let longest = 1 << (2 * code + 8);
        Ok(Self::Usual { input, compressed, longest, checksum: None })
    }

    /// Adds decoded bytes to `batch` until it holds `least`, and at most one block more. False at the frame's end.
    ///
    /// # Errors
    ///
    /// Why the frame cannot be read or decoded; `problem` words what is wrong with its content.
    pub(super) fn fill(
        &mut self,
        batch: &mut Batch,
        least: usize,
        problem: fn(String) -> Problem,
    ) -> Result<bool, FormatError> {
        while batch.length < least {
            let more = match self {
                Self::Usual { .. } => self.block(batch, problem)?,
                Self::Other(frame) => {
                    let wanted = least - batch.length;
                    let count = frame.read(batch.room(wanted), problem)?;
                    batch.length += count;
                    count == wanted
                }
            };
            if !more {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn block(&mut self, batch: &mut Batch, problem: fn(String) -> Problem) -> Result<bool, FormatError> {
        let Self::Usual { input, compressed, longest, checksum } = self else { return Ok(false) };
        let size = u32::from_le_bytes(input.array()?);
        if size == 0 {
            *checksum = Some(u32::from_le_bytes(input.array()?));
            return Ok(false);
        }
        let length = (size & !UNCOMPRESSED) as usize;
        if length > *longest {
            return Err(failed(input.offset(), Error::BlockTooBig, problem));
        }
        if length == 0 {
            return Err(failed(input.offset(), Error::InvalidBlockInfo, problem));
        }
        batch.length += if size & UNCOMPRESSED == 0 {
            if compressed.len() < length {
                compressed.resize(length, 0);
            }
            let compressed = &mut compressed[..length];
            input.fill(compressed)?;
            let room = batch.room(length.saturating_mul(EXPANSION_MAX).min(*longest));
            let decoded = lz4_flex::block::decompress_into(compressed, room);
            decoded.map_err(|error| failed(input.offset(), Error::DecompressionError(error), problem))?
        } else {
            input.fill(batch.room(length))?;
            length
        };
        Ok(true)
    }

    /// The xxHash32 of the content, which ends the frame, if it is the one `found` of what was decoded. To be asked at the end of
    /// the frame; `None` where the frame carries none.
    ///
    /// # Errors
    ///
    /// When it is another one.
    pub(super) fn content_checksum(
        &self,
        found: u32,
        problem: fn(String) -> Problem,
    ) -> Result<Option<u32>, FormatError> {
        match self {
            Self::Usual { checksum: Some(checksum), input, .. } if *checksum != found => {
                Err(failed(input.offset(), Error::ContentChecksumError, problem))
            }
            Self::Usual { checksum, .. } => Ok(*checksum),
            // The library has compared it.
            Self::Other(frame) => Ok(frame.content_checksum()),
        }
    }
}

#[cfg(test)]
mod tests {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::samples;

    fn frame(content: &[u8], size: BlockSize, mode: BlockMode) -> Vec<u8> {
        let info = FrameInfo::new().block_size(size).block_mode(mode).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(info, Vec::new());
        std::io::Write::write_all(&mut encoder, content).unwrap();
        encoder.finish().unwrap()
    }

    /// In batches of at least so many bytes.
    fn decoded(frame: &[u8], least: usize) -> Result<(Vec<u8>, Option<u32>, bool), FormatError> {
        let (mut input, mut memory) = (Input::new(frame), Vec::new());
        let mut blocks = Lz4Blocks::begin(&mut input, &mut memory)?;
        let (mut all, mut batch) = (Vec::new(), Batch::default());
        loop {
            let more = blocks.fill(&mut batch, least, Problem::DecompressSnapshot)?;
            all.extend_from_slice(batch.content());
            batch.clear();
            if !more {
                break;
            }
        }
        let checksum = blocks.content_checksum(XxHash32::oneshot(0, &all), Problem::DecompressSnapshot)?;
        let usual = matches!(blocks, Lz4Blocks::Usual { .. });
        drop(blocks);
        input.finish()?;
        Ok((all, checksum, usual))
    }

    fn by_the_library(frame: &[u8]) -> Result<Vec<u8>, FormatError> {
        let mut input = Input::new(frame);
        let mut decoder = input.lz4_frame()?;
        let mut content = vec![0; 1 << 20];
        let count = decoder.read(&mut content, Problem::DecompressSnapshot)?;
        drop(decoder);
        input.finish()?;
        content.truncate(count);
        Ok(content)
    }

    proptest! {
        #[test]
        fn every_frame_decodes_to_what_was_encoded(
            content in prop::collection::vec(any::<u8>(), 0..300),
            repeat in 1..2000usize,
            linked: bool,
            least in 1..200_000usize,
        ) {
            let content = content.repeat(repeat);
            let mode = if linked { BlockMode::Linked } else { BlockMode::Independent };
            for size in [BlockSize::Max64KB, BlockSize::Max4MB] {
                let frame = frame(&content, size, mode);
                let (all, checksum, usual) = decoded(&frame, least).unwrap();
                prop_assert!(all == content);
                prop_assert_eq!(checksum, Some(XxHash32::oneshot(0, &content)));
                prop_assert_eq!(usual, !linked);
            }
        }

        #[test]
        fn what_the_library_refuses_is_refused(
            content in prop::collection::vec(any::<u8>(), 0..300),
            repeat in 1..100usize,
            damage in samples::damage(),
        ) {
            let whole = frame(&content.repeat(repeat), BlockSize::Max4MB, BlockMode::Independent);
            let damaged = damage.apply(&whole);
            match (decoded(&damaged, 1 << 20), by_the_library(&damaged)) {
                (Ok((ours, ..)), Ok(theirs)) => prop_assert!(ours == theirs),
                (Err(_), Err(_)) => {}
                (ours, theirs) => prop_assert!(false, "{:?} {:?}", ours.is_ok(), theirs.is_ok()),
            }
        }
    }
}
