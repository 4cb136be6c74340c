//! Cutting an LTX file (v0.5), as it arrives piece by piece, into chunks of whole frames that can be decoded at once.
//!
//! Everything that [`decode`](super::decode) checks is checked here too, apart from what lies inside the frames:
//! [`Chunk::decode`] does that, and [`LtxEnd::prove`] joins both to the file's checksum.

use std::hash::{DefaultHasher, Hash, Hasher};

use bytes::{Buf, Bytes};
use crc_fast::{CrcAlgorithm, Digest};

use super::chunk::{Chunk, Sum};
use super::decode::LtxSummary;
use super::frame::{Extent, Walk, frame_extent};
use super::header::{HEADER_SIZE, LtxHeader};
use super::page_index::{CHECKSUM_FLAG, END_MARKER_SIZE, IndexChain, PageEntry, PageOrder, check_trailer};
use crate::domain::litestream::format_error::{FormatError, Problem};
use crate::domain::litestream::input::be32;

/// A file that is being cut. Holds no more of it than one frame that is not whole yet.
pub struct LtxCutter {
    part: Part,
    /// Bytes of the file that were taken.
    offset: u64,
    /// The start of what is not whole yet.
    carry: Vec<u8>,
    /// Of the frame that is in it.
    walk: Walk,
    index_start: u64,
    index: IndexReader,
    tail: Digest,
    tail_bytes: u64,
}

/// The part that comes next in the file.
enum Part {
    Header,
    Frames(Box<Frames>),
    Index(Box<Frames>),
    IndexSize(Box<Frames>),
    Trailer(Box<Frames>),
    End(Box<Frames>, u64),
}

/// The frames seen so far.
struct Frames {
    header: LtxHeader,
    head: Sum,
    order: PageOrder,
    /// A hash of what the index must say about them.
    entries: DefaultHasher,
}

/// A file that was cut to its end: what is left to prove is its content.
#[derive(Clone, Copy, Debug)]
pub struct LtxEnd {
    header: LtxHeader,
    pages: u64,
    bytes: u64,
    head: Sum,
    tail: Sum,
    file_checksum: u64,
}

impl LtxEnd {
    /// Compares the file's checksum with that of all its chunks, joined in their order.
    ///
    /// # Errors
    ///
    /// When they differ: some byte is not what was written.
    pub fn prove(&self, chunks: Sum) -> Result<LtxSummary, FormatError> {
        let expected = CHECKSUM_FLAG | self.head.then(chunks).then(self.tail).crc;
        if self.file_checksum != expected {
            let problem = Problem::FileChecksum { found: self.file_checksum, expected };
            return Err(FormatError::new(self.bytes - 8, problem));
        }
        Ok(LtxSummary { header: self.header, pages: self.pages, bytes: self.bytes, file_checksum: self.file_checksum })
    }
}

impl Default for LtxCutter {
    fn default() -> Self {
        Self {
            part: Part::Header,
            offset: 0,
            carry: Vec::new(),
            walk: Walk::default(),
            index_start: 0,
            index: IndexReader::new(),
            tail: Digest::new(CrcAlgorithm::Crc64GoIso),
            tail_bytes: 0,
        }
    }
}

impl LtxCutter {
    /// The file's header, once it was taken.
    pub fn header(&self) -> Option<&LtxHeader> {
        match &self.part {
            Part::Header => None,
            Part::Frames(frames)
            | Part::Index(frames)
            | Part::IndexSize(frames)
            | Part::Trailer(frames)
            | Part::End(frames, _) => Some(&frames.header),
        }
    }

    /// Takes the next bytes of the file and gives the frames that are whole with them.
    ///
    /// # Errors
    ///
    /// When the file is not what its format demands. It is of no use after that.
    pub fn push(&mut self, mut piece: Bytes) -> Result<Chunk, FormatError> {
        let mut chunk = Chunk::default();
        while !piece.is_empty() {
            // On an error the part is gone, and the file with it.
            self.part = match std::mem::replace(&mut self.part, Part::Header) {
                Part::Header => self.take_header(&mut piece)?,
                Part::Frames(frames) => self.take_frames(frames, &mut piece, &mut chunk)?,
                Part::Index(frames) => self.take_index(frames, &mut piece)?,
                Part::IndexSize(frames) => self.take_index_size(frames, &mut piece)?,
                Part::Trailer(frames) => self.take_trailer(frames, &mut piece)?,
                Part::End(..) => return Err(FormatError::new(self.offset, Problem::TrailingBytes)),
            };
        }
        Ok(chunk)
    }

    /// Says that nothing follows.
    ///
    /// # Errors
    ///
    /// When something should.
    pub fn finish(self) -> Result<LtxEnd, FormatError> {
        let Part::End(frames, file_checksum) = self.part else {
            return Err(FormatError::new(self.offset, Problem::Truncated));
        };
        Ok(LtxEnd {
            header: frames.header,
            pages: self.index.chain.pages,
            bytes: self.offset,
            head: frames.head,
            tail: Sum { crc: self.tail.finalize(), bytes: self.tail_bytes },
            file_checksum,
        })
    }

    fn take_header(&mut self, piece: &mut Bytes) -> Result<Part, FormatError> {
        let Some(bytes) = self.gather::<HEADER_SIZE>(piece) else { return Ok(Part::Header) };
        let header = LtxHeader::parse(&bytes)?;
        let mut head = Digest::new(CrcAlgorithm::Crc64GoIso);
        head.update(&bytes);
        Ok(Part::Frames(Box::new(Frames {
            header,
            head: Sum { crc: head.finalize(), bytes: HEADER_SIZE as u64 },
            order: PageOrder::new(&header),
            entries: DefaultHasher::new(),
        })))
    }

    fn take_frames(
        &mut self,
        mut frames: Box<Frames>,
        piece: &mut Bytes,
        chunk: &mut Chunk,
    ) -> Result<Part, FormatError> {
        chunk.page_size = frames.header.page_size;
        if !self.carry.is_empty() && !self.complete_frame(&mut frames, piece, chunk)? {
            return Ok(Part::Frames(frames));
        }
        // A marker may have been what was completed.
        if self.carry.len() == END_MARKER_SIZE as usize {
            return self.end_frames(frames);
        }
        let start = self.offset;
        let mut at = 0;
        chunk.begin_part(start);
        while let Some(rest) = piece.get(at..).filter(|rest| !rest.is_empty()) {
            match extent(rest, &frames.header, start + at as u64, &mut self.walk)? {
                Extent::Frame(length) => {
                    frames.add(rest, start + at as u64, length, chunk)?;
                    at += length;
                }
                Extent::Marker => {
                    chunk.end_part(piece.split_to(at));
                    self.offset += at as u64;
                    self.gather_up_to(END_MARKER_SIZE as usize, piece);
                    return self.end_frames(frames);
                }
                Extent::Needs(_) => break,
            }
        }
        chunk.end_part(piece.split_to(at));
        self.offset += at as u64;
        self.gather_up_to(piece.len(), piece);
        Ok(Part::Frames(frames))
    }

    /// Completes the frame that began in the piece before. False when this piece does not suffice. An end marker stays
    /// in the carry.
    fn complete_frame(
        &mut self,
        frames: &mut Frames,
        piece: &mut Bytes,
        chunk: &mut Chunk,
    ) -> Result<bool, FormatError> {
        let start = self.offset - self.carry.len() as u64;
        loop {
            match extent(&self.carry, &frames.header, start, &mut self.walk)? {
                Extent::Frame(length) => {
                    let frame = std::mem::take(&mut self.carry);
                    chunk.begin_part(start);
                    frames.add(&frame, start, length, chunk)?;
                    chunk.end_part(Bytes::from(frame));
                    return Ok(true);
                }
                Extent::Marker => return Ok(true),
                Extent::Needs(length) => {
                    self.gather_up_to(length, piece);
                    if self.carry.len() < length {
                        return Ok(false);
                    }
                }
            }
        }
    }

    /// Takes the end marker out of the carry.
    fn end_frames(&mut self, frames: Box<Frames>) -> Result<Part, FormatError> {
        let start = self.offset - self.carry.len() as u64;
        frames.order.finish().map_err(|problem| FormatError::new(start, problem))?;
        let marker = std::mem::take(&mut self.carry);
        self.sum_tail(&marker);
        self.index_start = self.offset;
        Ok(Part::Index(frames))
    }

    fn take_index(&mut self, frames: Box<Frames>, piece: &mut Bytes) -> Result<Part, FormatError> {
        let mut entries = piece.iter().enumerate();
        let mut ended = false;
        for (at, byte) in entries.by_ref() {
            if self.index.push(*byte, self.offset + at as u64 + 1)? {
                ended = true;
                break;
            }
        }
        let taken = if ended { piece.len() - entries.len() } else { piece.len() };
        let varints = piece.split_to(taken);
        self.sum_tail(&varints);
        self.offset += taken as u64;
        if !ended {
            return Ok(Part::Index(frames));
        }
        self.index.chain.finish(self.index_start - END_MARKER_SIZE)?;
        if self.index.entries.finish() != frames.entries.finish() {
            return Err(FormatError::new(self.index_start, Problem::IndexMismatch));
        }
        Ok(Part::IndexSize(frames))
    }

    fn take_index_size(&mut self, frames: Box<Frames>, piece: &mut Bytes) -> Result<Part, FormatError> {
        let Some(size) = self.gather::<8>(piece) else { return Ok(Part::IndexSize(frames)) };
        self.sum_tail(&size);
        let end = self.offset - 8;
        let (found, expected) = (u64::from_be_bytes(size), end - self.index_start);
        if found != expected {
            return Err(FormatError::new(end, Problem::IndexSize { found, expected }));
        }
        Ok(Part::Trailer(frames))
    }

    fn take_trailer(&mut self, frames: Box<Frames>, piece: &mut Bytes) -> Result<Part, FormatError> {
        let Some(trailer) = self.gather::<16>(piece) else { return Ok(Part::Trailer(frames)) };
        let file_checksum = check_trailer(&trailer, self.offset - 16)?;
        self.sum_tail(&trailer[..8]);
        Ok(Part::End(frames, file_checksum))
    }

    fn sum_tail(&mut self, bytes: &[u8]) {
        self.tail.update(bytes);
        self.tail_bytes += bytes.len() as u64;
    }

    /// Moves bytes into the carry until it holds `length`, or the piece is used up.
    fn gather_up_to(&mut self, length: usize, piece: &mut Bytes) {
        let count = length.saturating_sub(self.carry.len()).min(piece.len());
        self.carry.extend_from_slice(&piece[..count]);
        piece.advance(count);
        self.offset += count as u64;
    }

    /// Exactly `N` bytes, once they are there.
    fn gather<const N: usize>(&mut self, piece: &mut Bytes) -> Option<[u8; N]> {
        self.gather_up_to(N, piece);
        let bytes = self.carry.first_chunk().copied()?;
        self.carry.clear();
        Some(bytes)
    }
}

impl Frames {
    /// Checks the frame at the start of `bytes` against what came before it.
    fn add(&mut self, bytes: &[u8], offset: u64, length: usize, chunk: &mut Chunk) -> Result<(), FormatError> {
        let page = be32(bytes, 0);
        self.order.check(page).map_err(|problem| FormatError::new(offset, problem))?;
        PageEntry { page, offset, length: length as u64 }.hash(&mut self.entries);
        chunk.add(page, offset, length);
        Ok(())
    }
}

fn extent(bytes: &[u8], header: &LtxHeader, offset: u64, walk: &mut Walk) -> Result<Extent, FormatError> {
    frame_extent(bytes, header.page_size, walk).map_err(|(at, problem)| FormatError::new(offset + at, problem))
}

/// Reads the page index byte by byte.
struct IndexReader {
    value: u64,
    shift: u32,
    /// Numbers of the entry that are complete.
    fields: [u64; 2],
    complete: usize,
    chain: IndexChain,
    entries: DefaultHasher,
}

impl IndexReader {
    fn new() -> Self {
        let (chain, entries) = (IndexChain::new(), DefaultHasher::new());
        Self { value: 0, shift: 0, fields: [0; 2], complete: 0, chain, entries }
    }

    /// Takes the next byte, which ends at `at`. True at the index's end.
    fn push(&mut self, byte: u8, at: u64) -> Result<bool, FormatError> {
        let Some(number) = self.varint(byte) else { return Ok(false) };
        if let Some(field) = self.fields.get_mut(self.complete) {
            if self.complete == 0 && number == 0 {
                return Ok(true);
            }
            *field = number;
            self.complete += 1;
            return Ok(false);
        }
        let [page, offset] = self.fields;
        let entry = PageEntry { page: u32::try_from(page).unwrap_or(u32::MAX), offset, length: number };
        self.complete = 0;
        self.chain.check(entry, at)?;
        entry.hash(&mut self.entries);
        Ok(false)
    }

    /// The number that this byte completes. One that is too large is the largest there is, which no chain holds.
    fn varint(&mut self, byte: u8) -> Option<u64> {
        let bits = u64::from(byte & 0x7f);
        let fits = bits << self.shift >> self.shift == bits;
        self.value |= bits << self.shift;
        self.shift += 7;
        let number = match (fits, byte & 0x80 == 0) {
            (false, _) => u64::MAX,
            (true, true) => self.value,
            (true, false) if self.shift > 63 => u64::MAX,
            (true, false) => return None,
        };
        (self.value, self.shift) = (0, 0);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::litestream::{PageBuffer, decode, samples};
    use crate::domain::reason::Reason;

    type Pages = Vec<(u32, Vec<u8>)>;

    /// Cuts a file that arrives in pieces of these sizes, in turn, and decodes its chunks last to first.
    fn cut(file: &[u8], sizes: &[usize]) -> Result<(LtxSummary, Pages), Reason> {
        let mut cutter = LtxCutter::default();
        let mut chunks = Vec::new();
        let mut sizes = sizes.iter().cycle();
        let mut rest = file;
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            chunks.push(cutter.push(Bytes::copy_from_slice(piece))?);
            rest = behind;
        }
        let end = cutter.finish()?;
        BUFFER.with_borrow_mut(|buffer| join(&chunks, &end, buffer))
    }

    thread_local! {
        static BUFFER: std::cell::RefCell<PageBuffer> = std::cell::RefCell::default();
    }

    fn join(chunks: &[Chunk], end: &LtxEnd, buffer: &mut PageBuffer) -> Result<(LtxSummary, Pages), Reason> {
        let mut decoded = Vec::new();
        for chunk in chunks.iter().rev() {
            let mut pages: Pages = Vec::new();
            let page_size = chunk.page_size().max(1) as usize;
            let sum = chunk.decode(buffer, |first, content| {
                pages.extend((first..).zip(content.chunks(page_size).map(<[u8]>::to_vec)));
                Ok(())
            })?;
            decoded.push((sum, pages));
        }
        decoded.reverse();
        let sum = decoded.iter().fold(Sum::default(), |sum, (next, _)| sum.then(*next));
        Ok((end.prove(sum)?, decoded.into_iter().flat_map(|(_, pages)| pages).collect()))
    }

    fn whole(file: &[u8]) -> Result<(LtxSummary, Pages), FormatError> {
        let mut pages = Vec::new();
        let summary = decode(file, |number, content| pages.push((number, content.to_vec())))?;
        Ok((summary, pages))
    }

    #[test]
    fn genuine_files_of_both_encodings_are_the_same_however_they_are_cut() {
        for (file, name, _) in samples::LTX_FILES {
            for size in [1, 2, 3, 7, 99, 100, 101, 512, file.len()] {
                assert_eq!(cut(file, &[size]).ok(), whole(file).ok(), "{name} in pieces of {size}");
            }
        }
    }

    #[test]
    fn truncated_files_are_errors_wherever_they_end() {
        for (file, name, _) in samples::LTX_FILES {
            for length in 0..file.len() {
                let error = cut(&file[..length], &[64]).unwrap_err();
                assert_eq!(error.message, format!("unexpected end at byte {length}"), "{name}");
            }
        }
    }

    #[test]
    fn every_changed_bit_is_an_error_or_changes_no_page() {
        for (file, name, _) in samples::LTX_FILES {
            let (_, pages) = whole(file).unwrap();
            for at in (0..file.len()).step_by(3) {
                let mut damaged = file.to_vec();
                damaged[at] ^= 1 << (at % 8);
                let (ours, theirs) = (cut(&damaged, &[300]), whole(&damaged));
                assert_eq!(ours.is_ok(), theirs.is_ok(), "{name} at {at}: {ours:?} and {theirs:?}");
                assert!(ours.is_err() || ours.unwrap().1 == pages, "{name} at {at}");
            }
        }
    }

    #[test]
    fn unusual_lz4_frames_are_read_as_the_library_reads_them() {
        use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
        use std::io::Write;
        let content: Vec<u8> = (0..1024u32).map(|at| (at / 7) as u8).collect();
        let plain = FrameInfo::new;
        let infos = [
            plain(),
            plain().content_checksum(true),
            plain().block_checksums(true),
            plain().content_size(Some(1024)),
            plain().block_mode(BlockMode::Linked).content_checksum(true).block_checksums(true),
        ];
        let header = LtxHeader::parse(&samples::genuine()).unwrap();
        for info in infos {
            let mut encoder = FrameEncoder::with_frame_info(info.clone(), Vec::new());
            encoder.write_all(&content).unwrap();
            let payload = encoder.finish().unwrap();
            let frame = [&[0, 0, 0, 2, 0, 0][..], &payload].concat();
            let header = LtxHeader { page_size: 1024, ..header };
            let mut chunk = Chunk::default();
            chunk.page_size = 1024;
            assert_eq!(extent(&frame, &header, 0, &mut Walk::default()), Ok(Extent::Frame(frame.len())), "{info:?}");
            chunk.begin_part(0);
            chunk.add(2, 0, frame.len());
            chunk.end_part(Bytes::from(frame));
            let mut read = Vec::new();
            chunk
                .decode(&mut PageBuffer::default(), |_, page| {
                    read.extend_from_slice(page);
                    Ok(())
                })
                .unwrap();
            assert!(read == content, "{info:?}");
        }
        // A decoder would clear that much for each page.
        let large = plain().block_size(BlockSize::Max4MB).content_checksum(true);
        let mut encoder = FrameEncoder::with_frame_info(large, Vec::new());
        encoder.write_all(&content).unwrap();
        let frame = [&[0, 0, 0, 2, 0, 0][..], &encoder.finish().unwrap()].concat();
        let refused = extent(&frame, &header, 0, &mut Walk::default()).unwrap_err();
        assert_eq!(refused.to_string(), "decompress page: blocks of more than 64 KiB at byte 6");
    }

    #[test]
    fn a_frame_of_many_blocks_is_walked_once_however_it_arrives() {
        let (page_size, pages) = (65_536, 3);
        let content: Vec<u8> = (0..page_size).map(|at| (at / 7) as u8).collect();
        let header = LtxHeader { page_size, commit: pages, min: crate::domain::litestream::Txid(1), ..header() };
        let frame = samples::lz4_frame_of_single_bytes(&content);
        let file = samples::encode_with(&header, (1..=pages).map(|page| (page, frame.as_slice(), content.as_slice())));
        for size in [1, 1000, 1 << 20] {
            let mut cutter = LtxCutter::default();
            let mut sum = Sum::default();
            for piece in file.chunks(size) {
                let chunk = cutter.push(Bytes::copy_from_slice(piece)).unwrap();
                if !chunk.is_empty() {
                    sum = sum.then(chunk.decode(&mut PageBuffer::default(), |_, _| Ok(())).unwrap());
                }
            }
            // Each byte is a block, and the end of each frame one more; a piece may look at the last one again.
            let (blocks, walked) = (pages as usize * (page_size as usize + 1), cutter.walk.blocks);
            assert!((blocks..=blocks + file.len().div_ceil(size)).contains(&walked), "{walked} of {blocks}");
            assert_eq!(cutter.finish().unwrap().prove(sum).unwrap().pages, u64::from(pages));
        }
        assert!(decode(file.as_slice(), |_, page| assert!(page == content)).is_ok());
    }

    fn header() -> LtxHeader {
        LtxHeader::parse(&samples::genuine()).unwrap()
    }

    proptest! {
        #[test]
        fn agrees_with_the_simple_decoder(file in samples::ltx_file(), sizes in prop::collection::vec(1..900usize, 1..9)) {
            let ours = cut(&file.bytes, &sizes);
            prop_assert_eq!(ours.map_err(|reason| reason.message), whole(&file.bytes).map_err(|error| error.to_string()));
        }

        #[test]
        fn refuses_what_the_simple_decoder_refuses(
            file in samples::ltx_file(),
            damage in samples::damage(),
            sizes in prop::collection::vec(1..900usize, 1..9),
        ) {
            let damaged = damage.apply(&file.bytes);
            prop_assert_eq!(cut(&damaged, &sizes).ok(), whole(&damaged).ok());
        }

        #[test]
        fn never_panics(bytes: Vec<u8>, header in samples::header(), size in 1..200usize) {
            let _ = cut(&bytes, &[size]);
            let _ = cut(&[header, bytes].concat(), &[size]);
        }
    }
}
