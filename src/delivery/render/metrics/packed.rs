//! Compressed text that can be put together: any number of pieces in a row is one deflate stream, which becomes a gzip file
//! with a head and a tail, and plain text again at little cost.

use std::io;

use crc_fast::{CrcAlgorithm, checksum};
use flate2::{Compress, CompressError, Compression, Decompress, FlushCompress, FlushDecompress};
use zlib_rs::crc32::{crc32_combine_gen, crc32_combine_op};

/// RFC 1952: deflate, no flags, no time, the fastest compression, no operating system.
pub(super) const GZIP_HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// An empty block that is the last one.
const LAST_BLOCK: [u8; 2] = [3, 0];

/// Bytes after the last piece of a gzip file.
pub(super) const GZIP_TAIL_BYTES: usize = LAST_BLOCK.len() + 8;

/// Pieces of text, at most one of each number, each compressed without regard to others.
#[derive(Debug)]
pub(super) struct Packed {
    /// In the order of the numbers.
    entries: Box<[Entry]>,
    bytes: Box<[u8]>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    number: u16,
    /// Where its bytes end.
    end: u32,
    sum: Sum,
    /// What moves a sum past this text.
    shift: u32,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) sum: Sum,
    shift: u32,
}

/// Compresses pieces. It is kept for many, as it needs some memory.
#[derive(Debug)]
pub(super) struct Packer {
    compress: Compress,
    entries: Vec<Entry>,
    bytes: Vec<u8>,
}

impl Packer {
    /// At level 1: higher ones cost three times as much for a body that is a quarter smaller.
    pub(super) fn new() -> Self {
        Self { compress: Compress::new(Compression::fast(), false), entries: Vec::new(), bytes: Vec::new() }
    }

    /// Adds the text of a number, which comes after those that were added before.
    pub(super) fn pack(&mut self, number: usize, text: &str) {
        let text = text.as_bytes();
        if text.is_empty() {
            return;
        }
        let start = self.bytes.len();
        if self.compress(text).is_err() {
            self.bytes.truncate(start);
            self.store(text);
        }
        let sum = Sum::of(text);
        self.add(number, sum, crc32_combine_gen(sum.length.into()));
    }

    fn compress(&mut self, text: &[u8]) -> Result<(), CompressError> {
        self.compress.reset();
        loop {
            let left = text.get(self.compress.total_in() as usize..).unwrap_or_default();
            // Room is left over once everything was written.
            self.bytes.reserve(left.len() / 4 + 64);
            self.compress.compress_vec(left, &mut self.bytes, FlushCompress::Sync)?;
            if self.compress.total_in() as usize == text.len() && self.bytes.len() < self.bytes.capacity() {
                return Ok(());
            }
        }
    }

    /// As it is, in stored blocks (RFC 1951, section 3.2.4): for what a compressor refuses, which is not known to be any text.
    fn store(&mut self, text: &[u8]) {
        for block in text.chunks(usize::from(u16::MAX)) {
            let length = block.len() as u16;
            self.bytes.push(0);
            self.bytes.extend_from_slice(&length.to_le_bytes());
            self.bytes.extend_from_slice(&(!length).to_le_bytes());
            self.bytes.extend_from_slice(block);
        }
    }

    /// The same with what was compressed before.
    pub(super) fn keep(&mut self, number: usize, piece: Piece<'_>) {
        self.bytes.extend_from_slice(piece.bytes);
        self.add(number, piece.sum, piece.shift);
    }

    fn add(&mut self, number: usize, sum: Sum, shift: u32) {
        self.entries.push(Entry { number: number as u16, end: self.bytes.len() as u32, sum, shift });
    }

    /// All that was added since the last time.
    pub(super) fn finish(&mut self) -> Packed {
        let packed = Packed { entries: self.entries.as_slice().into(), bytes: self.bytes.as_slice().into() };
        self.entries.clear();
        self.bytes.clear();
        packed
    }
}

impl Packed {
    /// The piece of a number, where it has one.
    pub(super) fn get(&self, number: usize) -> Option<Piece<'_>> {
        let at = self.entries.binary_search_by_key(&number, |entry| entry.number.into()).ok()?;
        self.piece(at)
    }

    /// All of them, with their numbers.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, Piece<'_>)> {
        self.entries.iter().enumerate().filter_map(|(at, entry)| Some((entry.number.into(), self.piece(at)?)))
    }

    fn piece(&self, at: usize) -> Option<Piece<'_>> {
        let start = at.checked_sub(1).map_or(0, |before| self.entries[before].end);
        let Entry { end, sum, shift, .. } = self.entries[at];
        Some(Piece { bytes: self.bytes.get(start as usize..end as usize)?, sum, shift })
    }
}

impl Piece<'_> {
    /// Adds the text to `out`. Pieces that stand in a row may have the same `inflate`.
    ///
    /// # Errors
    ///
    /// When these bytes are no compressed text.
    pub(super) fn unpack(self, inflate: &mut Decompress, out: &mut Vec<u8>) -> io::Result<()> {
        let start = inflate.total_in();
        out.reserve(self.sum.length as usize + 64);
        loop {
            let (read, written) = (inflate.total_in(), out.len());
            let left = self.bytes.get((read - start) as usize..).unwrap_or_default();
            if left.is_empty() {
                return Ok(());
            }
            inflate.decompress_vec(left, out, FlushDecompress::None)?;
            if (inflate.total_in(), out.len()) == (read, written) {
                return Err(io::ErrorKind::InvalidData.into());
            }
        }
    }
}

/// What a gzip file has to know of a text.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sum {
    crc: u32,
    /// In bytes; of a gzip file it is the remainder as well.
    pub(super) length: u32,
}

impl Sum {
    fn of(text: &[u8]) -> Self {
        Self { crc: checksum(CrcAlgorithm::Crc32IsoHdlc, text) as u32, length: text.len() as u32 }
    }

    /// Of this text with a piece behind it.
    pub(super) fn then(self, piece: Piece<'_>) -> Self {
        self.shifted(piece.shift, piece.sum)
    }

    /// Of this text with another one behind it, which takes somewhat longer.
    pub(super) fn and(self, next: Self) -> Self {
        self.shifted(crc32_combine_gen(next.length.into()), next)
    }

    fn shifted(self, shift: u32, next: Self) -> Self {
        Self { crc: crc32_combine_op(self.crc, next.crc, shift), length: self.length.wrapping_add(next.length) }
    }

    /// What ends a gzip file of this text.
    pub(super) fn gzip_tail(self) -> [u8; GZIP_TAIL_BYTES] {
        let mut tail = [0; GZIP_TAIL_BYTES];
        tail[..2].copy_from_slice(&LAST_BLOCK);
        tail[2..6].copy_from_slice(&self.crc.to_le_bytes());
        tail[6..].copy_from_slice(&self.length.to_le_bytes());
        tail
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_stored_reads_as_what_is_compressed() {
        let text = "some text\n".repeat(20_000);
        let mut packer = Packer::new();
        packer.store(text.as_bytes());
        packer.add(0, Sum::of(text.as_bytes()), 0);
        packer.pack(1, "and more\n");
        let (packed, mut plain) = (packer.finish(), Vec::new());
        let mut inflate = Decompress::new(false);
        packed.iter().for_each(|(_, piece)| piece.unpack(&mut inflate, &mut plain).expect("unpacked"));
        assert_eq!(String::from_utf8(plain).expect("text"), text + "and more\n");
    }

    proptest! {
        #[test]
        fn pieces_in_a_row_are_one_gzip_file(texts in proptest::collection::vec("[a-c]{0,300}|\\PC{0,50}", 0..8)) {
            let mut packer = Packer::new();
            texts.iter().enumerate().for_each(|(number, text)| packer.pack(number, text));
            let packed = packer.finish();
            // Half of them are kept, and the sum is that of two halves.
            for (number, text) in texts.iter().enumerate() {
                match packed.get(number) {
                    Some(piece) if number % 2 == 0 => packer.keep(number, piece),
                    _ => packer.pack(number, text),
                }
            }
            let packed = packer.finish();
            let (mut gzip, mut sums) = (GZIP_HEAD.to_vec(), [Sum::default(); 2]);
            let (mut inflate, mut plain) = (Decompress::new(false), Vec::new());
            for (number, piece) in packed.iter() {
                gzip.extend_from_slice(piece.bytes);
                let half = &mut sums[usize::from(number > 3)];
                *half = half.then(piece);
                prop_assert_eq!(piece.sum.length as usize, texts[number].len());
                piece.unpack(&mut inflate, &mut plain).expect("unpacked");
            }
            gzip.extend(sums[0].and(sums[1]).gzip_tail());
            let mut text = String::new();
            flate2::bufread::GzDecoder::new(gzip.as_slice()).read_to_string(&mut text).expect("one gzip file");
            prop_assert_eq!(&text, &texts.concat());
            prop_assert_eq!(plain, text.into_bytes());
            for (number, text) in texts.iter().enumerate() {
                prop_assert_eq!(packed.get(number).is_none(), text.is_empty());
            }
        }
    }
}
