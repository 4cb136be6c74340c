//! Writes LTX files as Litestream ≥ 0.5.16 does: LZ4 block pages, no database checksums, a page index, a CRC trailer.
//! [`Writer`] also writes what older ones did, and whatever a test wants to be wrong.

use std::collections::BTreeMap;
use std::io::Write;

use crc_fast::{CrcAlgorithm, Digest};

use crate::wal::Position;

/// Pages by page number.
pub type Pages = BTreeMap<u32, Vec<u8>>;

/// Bytes of a header.
pub const HEADER_SIZE: usize = 100;

/// Set in every checksum, so that a real one is never zero.
const CHECKSUM_PRESENT: u64 = 1 << 63;

/// The header of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub page_size: u32,
    /// Pages of the database.
    pub commit: u32,
    /// The first and the last TXID.
    pub min: u64,
    pub max: u64,
    /// When it was written, in milliseconds since 1970; a compaction carries the time of its newest file.
    pub timestamp: u64,
    /// What the file was made from; `None` for a compaction.
    pub wal: Option<Consumed>,
}

/// A part of a WAL: from this byte on, up to this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Consumed {
    pub from: u64,
    pub end: Position,
}

impl Header {
    /// The first bytes of a file.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        let none = Consumed { from: 0, end: Position { salt1: 0, salt2: 0, end: 0 } };
        let Consumed { from, end } = self.wal.unwrap_or(none);
        let mut bytes = [0; HEADER_SIZE];
        let mut put = |offset: usize, value: &[u8]| bytes[offset..offset + value.len()].copy_from_slice(value);
        // The one flag says that there are no checksums of the database.
        put(0, b"LTX1\0\0\0\x02");
        put(8, &self.page_size.to_be_bytes());
        put(12, &self.commit.to_be_bytes());
        put(16, &self.min.to_be_bytes());
        put(24, &self.max.to_be_bytes());
        put(32, &self.timestamp.to_be_bytes());
        put(48, &from.to_be_bytes());
        put(56, &(end.end - from).to_be_bytes());
        put(64, &end.salt1.to_be_bytes());
        put(68, &end.salt2.to_be_bytes());
        bytes
    }
}

/// The name of a file.
pub fn name(min: u64, max: u64) -> String {
    format!("{min:016x}-{max:016x}.ltx")
}

/// One whole file. The lock page and pages beyond `header.commit` are left out.
pub fn encode(header: &Header, pages: &BTreeMap<u32, impl AsRef<[u8]>>) -> Vec<u8> {
    let lock_page = 0x4000_0000 / header.page_size + 1;
    let mut writer = Writer::new(&header.encode());
    for (&number, page) in pages.range(1..=header.commit).filter(|&(&number, _)| number != lock_page) {
        writer.block(number, page.as_ref());
    }
    writer.finish()
}

/// A page as it stands in a file.
#[derive(Clone, Copy, Debug)]
pub enum Payload<'a> {
    /// A length and one LZ4 block, since Litestream 0.5.16.
    Block(&'a [u8]),
    /// An LZ4 frame, as before.
    Frame(&'a [u8]),
}

/// Writes one file, page by page, and believes everything.
pub struct Writer {
    file: Vec<u8>,
    crc: Digest,
    /// What the index says: number, offset and length of each page.
    pub index: Vec<u64>,
}

impl Writer {
    /// A file that begins with `header`, whatever that is.
    pub fn new(header: &[u8]) -> Self {
        let mut crc = Digest::new(CrcAlgorithm::Crc64GoIso);
        crc.update(header);
        Self { file: header.to_vec(), crc, index: Vec::new() }
    }

    /// Adds a page as Litestream does.
    pub fn block(&mut self, number: u32, content: &[u8]) {
        self.page(number, Payload::Block(&lz4_flex::block::compress(content)), content);
    }

    /// Adds a page; the checksum covers its content, and not the payload.
    pub fn page(&mut self, number: u32, payload: Payload<'_>, content: &[u8]) {
        let start = self.file.len();
        self.file.extend(number.to_be_bytes());
        let payload = match payload {
            Payload::Block(block) => {
                self.file.extend(1_u16.to_be_bytes());
                // A page has at most 64 KiB, so its block is far below 4 GiB.
                self.file.extend((block.len() as u32).to_be_bytes());
                block
            }
            Payload::Frame(frame) => {
                self.file.extend(0_u16.to_be_bytes());
                frame
            }
        };
        self.crc.update(&self.file[start..]);
        self.crc.update(content);
        self.file.extend(payload);
        self.index.extend([u64::from(number), start as u64, (self.file.len() - start) as u64]);
    }

    /// Adds the index and the checksum.
    pub fn finish(self) -> Vec<u8> {
        let Self { mut file, mut crc, index: entries } = self;
        let mut index = Vec::new();
        entries.into_iter().for_each(|number| push_varint(&mut index, number));
        index.push(0);
        let tail = file.len();
        file.extend([0; 6]);
        file.extend(&index);
        file.extend((index.len() as u64).to_be_bytes());
        file.extend([0; 8]);
        crc.update(&file[tail..]);
        file.extend((crc.finalize() | CHECKSUM_PRESENT).to_be_bytes());
        file
    }
}

fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// An LZ4 frame with a checksum of its content, as Litestream writes it.
pub fn lz4_frame(content: &[u8]) -> Vec<u8> {
    let info = lz4_flex::frame::FrameInfo::new().content_checksum(true);
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    // Memory takes everything.
    let written = encoder.write_all(content);
    written.ok().and_then(|()| encoder.finish().ok()).unwrap_or_default()
}

/// An LZ4 frame whose blocks are one byte long each.
pub fn lz4_frame_of_single_bytes(content: &[u8]) -> Vec<u8> {
    // What is behind the descriptor is replaced, but for the checksum of the content.
    let usual = lz4_frame(content);
    let (head, checksum) = (&usual[..7], &usual[usual.len() - 4..]);
    let blocks = content.iter().flat_map(|byte| [1, 0, 0, 0x80, *byte]);
    head.iter().copied().chain(blocks).chain([0; 4]).chain(checksum.iter().copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
    }

    /// A file that Litestream 0.5.17 wrote.
    const GENUINE: &str = "\
        4c54583100000002000010000000000400000000000000020000000000000002000001a20287e5df0000000000000000000000000000\
        70c800000000000010186fd8a9b2ecaae4cb000000000000000000000000000000000000000000000000000000000000000200010000\
        002fdf0d000000020ff2000ff90ff2000100ffffffffffffffffffffffffffffffe1e005020300117231050103001172300000000000\
        000264390000000000000000040000000000000000899dbd2c70d619e9";

    #[test]
    fn a_file_of_the_real_litestream_is_written_again_byte_for_byte() {
        let genuine = hex(GENUINE);
        let page = lz4_flex::block::decompress(&genuine[110..157], 4096).unwrap();
        let end = Position { salt1: 0x6fd8_a9b2, salt2: 0xecaa_e4cb, end: 32992 };
        let wal = Some(Consumed { from: 28872, end });
        let header = Header { page_size: 4096, commit: 4, min: 2, max: 2, timestamp: 1_795_338_790_367, wal };
        assert_eq!(encode(&header, &Pages::from([(2, page.clone())])), genuine);
        assert_eq!(encode(&header, &Pages::from([(2, page.clone()), (5, page)])), genuine, "page 5 is beyond the end");
    }
}
