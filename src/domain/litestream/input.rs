//! A reader that knows where in its file it is, and why it stopped.

use std::io::{ErrorKind, Read};

use lz4_flex::frame::FrameDecoder;

use super::format_error::{FormatError, Problem};

/// Magic number of an LZ4 frame, as its bytes stand in the file.
pub(super) const LZ4_MAGIC: [u8; 4] = [0x04, 0x22, 0x4d, 0x18];

/// Set in the size of an LZ4 block that is not compressed.
pub(super) const LZ4_UNCOMPRESSED: u32 = 1 << 31;

/// The bit of an LZ4 frame's first flags that says that its content has a checksum (frame format, FLG).
const LZ4_CONTENT_CHECKSUM: u8 = 0x04;

/// Counts what was read, so that errors can name an offset, and tells a file that ends from one that cannot be read.
pub(super) struct Input<R> {
    reader: R,
    offset: u64,
    ended: bool,
    failure: Option<String>,
}

impl<R: Read> Input<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, offset: 0, ended: false, failure: None }
    }

    /// Bytes read so far.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads exactly `buffer.len()` bytes.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), FormatError> {
        self.read_exact(buffer).map_err(|_| self.interruption().unwrap_or_else(|| self.truncated()))
    }

    /// Reads exactly `N` bytes.
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Demands that nothing follows.
    pub(super) fn finish(&mut self) -> Result<(), FormatError> {
        let mut byte = [0];
        match self.read_exact(&mut byte) {
            Ok(()) => Err(FormatError::new(self.offset - 1, Problem::TrailingBytes)),
            Err(_) => self.failure.take().map_or(Ok(()), |text| Err(self.failed(text))),
        }
    }

    /// Decodes one LZ4 frame from here on, however large its blocks are. Its end is told by [`Lz4Frame::read`], which reads nothing behind it.
    pub(super) fn lz4_frame(&mut self) -> Result<Lz4Frame<'_, R>, FormatError> {
        let descriptor = self.lz4_descriptor()?;
        Ok(self.lz4_frame_behind(descriptor))
    }

    /// Reads the start of an LZ4 frame: its flags, how large its blocks may be, and the byte behind that.
    pub(super) fn lz4_descriptor(&mut self) -> Result<[u8; 3], FormatError> {
        let start = self.offset;
        let magic: [u8; 4] = self.array()?;
        if magic != LZ4_MAGIC {
            return Err(FormatError::new(start, Problem::Lz4Magic(u32::from_be_bytes(magic))));
        }
        self.array()
    }

    /// As [`lz4_frame`](Self::lz4_frame), of a frame whose start was read.
    pub(super) fn lz4_frame_behind(&mut self, descriptor: [u8; 3]) -> Lz4Frame<'_, R> {
        let ([a, b, c, d], [flags, blocks, more]) = (LZ4_MAGIC, descriptor);
        let reader = WithStart { start: [a, b, c, d, flags, blocks, more], used: 0, last: [0; 4], input: self };
        Lz4Frame { decoder: FrameDecoder::new(reader) }
    }

    /// Why the last read gave less than it was asked for, if it was not the content's fault.
    fn interruption(&mut self) -> Option<FormatError> {
        let failure = self.failure.take().map(|text| self.failed(text));
        failure.or_else(|| self.ended.then(|| self.truncated()))
    }

    fn failed(&self, text: String) -> FormatError {
        FormatError::new(self.offset, Problem::Read(text))
    }

    fn truncated(&self) -> FormatError {
        FormatError::new(self.offset, Problem::Truncated)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let result = self.reader.read(buffer);
        match &result {
            Ok(0) => self.ended |= !buffer.is_empty(),
            Ok(count) => self.offset += *count as u64,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => self.failure = Some(error.to_string()),
        }
        result
    }
}

/// The content of one LZ4 frame.
pub(super) struct Lz4Frame<'a, R: Read> {
    decoder: FrameDecoder<WithStart<'a, R>>,
}

impl<R: Read> Lz4Frame<'_, R> {
    /// Decompresses up to `buffer.len()` bytes; fewer only at the end of the frame.
    ///
    /// An error of the content, not of the file that holds it, is worded by `problem`.
    pub(super) fn read(&mut self, buffer: &mut [u8], problem: fn(String) -> Problem) -> Result<usize, FormatError> {
        let mut filled = 0;
        while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            let result = self.decoder.read(rest);
            // The decoder takes a file that ends between two blocks for a whole frame.
            if let Some(error) = self.decoder.get_mut().input.interruption() {
                return Err(error);
            }
            match result {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    let offset = self.decoder.get_ref().input.offset;
                    return Err(FormatError::new(offset, problem(error.to_string())));
                }
            }
        }
        Ok(filled)
    }

    /// The xxHash32 of the content, which ends the frame and was compared with it. To be asked at the end of the frame;
    /// `None` where the frame carries none.
    pub(super) fn content_checksum(&self) -> Option<u32> {
        let WithStart { start: [.., flags, _, _], last, .. } = self.decoder.get_ref();
        (flags & LZ4_CONTENT_CHECKSUM != 0).then(|| u32::from_le_bytes(*last))
    }

    /// The byte of its descriptor that says how large its blocks may be.
    pub(super) fn block_descriptor(&self) -> u8 {
        let [.., blocks, _] = self.decoder.get_ref().start;
        blocks
    }
}

/// Gives the decoder back what was read to check it: the magic number and the first bytes of the descriptor.
struct WithStart<'a, R> {
    start: [u8; 7],
    used: usize,
    /// The last bytes that were read.
    last: [u8; 4],
    input: &'a mut Input<R>,
}

impl<R: Read> Read for WithStart<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let rest = self.start.get(self.used..).unwrap_or_default();
        if rest.is_empty() {
            let count = self.input.read(buffer)?;
            let read = &buffer[..count];
            let fresh = &read[count.saturating_sub(self.last.len())..];
            self.last.rotate_left(fresh.len());
            let kept = self.last.len() - fresh.len();
            self.last[kept..].copy_from_slice(fresh);
            return Ok(count);
        }
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.used += count;
        Ok(count)
    }
}

/// The big-endian number at `offset`, 0 where the bytes end before it: callers have checked the length.
pub(super) fn be32(bytes: &[u8], offset: usize) -> u32 {
    bytes.get(offset..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// As [`be32`], 8 bytes wide.
pub(super) fn be64(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
