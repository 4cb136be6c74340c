//! Files for tests: genuine ones, generated valid ones, and damage.

use jiff::Timestamp;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use streamgauge_testkit::ltx::{Payload, Writer};
pub(super) use streamgauge_testkit::ltx::{lz4_frame, lz4_frame_of_single_bytes};

use super::{LtxHeader, SegmentName, Txid};

macro_rules! fixture {
    ($path:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/litestream/", $path)).as_slice()
    };
}
/// A level-0 file of Litestream 0.5.17: TXID 2, one page of 4096 bytes, 191 bytes in all.
pub(super) fn genuine() -> Vec<u8> {
    let hex = "4c545831000000020000100000000004000000000000000200000000000000020\
               00001a20287e5df000000000000000000000000000070c800000000000010186fd8a9b2ecaae4cb\
               000000000000000000000000000000000000000000000000000000000000000200010000002f\
               df0d000000020ff2000ff90ff2000100ffffffffffffffffffffffffffffffe1e00502030011723105010300117230\
               0000000000000264390000000000000000040000000000000000899dbd2c70d619e9";
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The committed LTX files: content, name, and where the WAL ended when it was written.
pub(super) const LTX_FILES: [(&[u8], &str, u64); 8] = [
    (fixture!("0.5.17/ltx/0/0000000000000001-0000000000000001.ltx"), "0000000000000001-0000000000000001.ltx", 3248),
    (fixture!("0.5.17/ltx/0/0000000000000002-0000000000000002.ltx"), "0000000000000002-0000000000000002.ltx", 5392),
    (fixture!("0.5.17/ltx/0/0000000000000005-0000000000000005.ltx"), "0000000000000005-0000000000000005.ltx", 11824),
    (fixture!("0.5.17/ltx/9/0000000000000001-0000000000000005.ltx"), "0000000000000001-0000000000000005.ltx", 11824),
    (fixture!("0.5.15/ltx/0/0000000000000001-0000000000000001.ltx"), "0000000000000001-0000000000000001.ltx", 3248),
    (fixture!("0.5.15/ltx/0/0000000000000002-0000000000000002.ltx"), "0000000000000002-0000000000000002.ltx", 5392),
    (fixture!("0.5.15/ltx/0/0000000000000005-0000000000000005.ltx"), "0000000000000005-0000000000000005.ltx", 11824),
    (fixture!("0.5.15/ltx/9/0000000000000001-0000000000000005.ltx"), "0000000000000001-0000000000000005.ltx", 11824),
];

/// The committed v0.3 segments in order.
pub(super) fn segments() -> [(SegmentName, &'static [u8]); 6] {
    let name = |index, offset| SegmentName { index, offset };
    [
        (name(0, 0), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000000_00000000.wal.lz4")),
        (name(0, 0x1728), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000000_00001728.wal.lz4")),
        (name(0, 0x1f88), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000000_00001f88.wal.lz4")),
        (name(1, 0), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000001_00000000.wal.lz4")),
        (name(1, 0x238), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000001_00000238.wal.lz4")),
        (name(1, 0xa98), fixture!("0.3.13/generations/050e5774cd45548e/wal/00000001_00000a98.wal.lz4")),
    ]
}

/// A WAL of 512-byte pages whose salts are 7 and 8; its checksums are not right.
pub(super) fn wal(frames: usize) -> Vec<u8> {
    let words = |words: &[u32]| words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>();
    let mut wal = words(&[0x377f_0682, 3_007_000, 512, 0, 7, 8, 0, 0]);
    for page in 1..=frames as u32 {
        wal.extend(words(&[page, page, 7, 8, 0, 0]));
        wal.extend([page as u8; 512]);
    }
    wal
}

/// A valid LTX file and what it holds.
#[derive(Clone, Debug)]
pub(super) struct LtxSample {
    pub(super) bytes: Vec<u8>,
    pub(super) header: LtxHeader,
    pub(super) pages: Vec<(u32, Vec<u8>)>,
}

/// Valid files of both page encodings, snapshots among them.
pub(super) fn ltx_file() -> impl Strategy<Value = LtxSample> {
    let page = (any::<u8>(), vec(any::<u8>(), 0..600)).prop_map(|(fill, start)| {
        let mut page = vec![fill; 1024];
        page[..start.len()].copy_from_slice(&start);
        page
    });
    (btree_map(1..2000u32, (page, any::<bool>()), 0..6), 1..4u64, 0..3u64, 1..9u32).prop_map(
        |(pages, min, more, beyond)| {
            // A whole database has a page.
            let snapshot = min == 1 && !pages.is_empty();
            let min = if snapshot { 1 } else { min + 1 };
            let numbered = pages.into_iter().zip(1..);
            let pages: Vec<_> =
                numbered.map(|((page, content), n)| (if snapshot { n } else { page }, content)).collect();
            let last = pages.last().map_or(0, |(page, _)| *page);
            let header = LtxHeader {
                page_size: 1024,
                commit: if snapshot { last } else { last + beyond },
                min: Txid(min),
                max: Txid(min + more),
                timestamp: Timestamp::from_millisecond(1_795_338_790_367).unwrap(),
                wal_offset: 32,
                wal_size: 1048,
                wal_salt1: 7,
                wal_salt2: 8,
            };
            let bytes = encode(&header, &pages);
            let pages = pages.into_iter().map(|(page, (content, _))| (page, content)).collect();
            LtxSample { bytes, header, pages }
        },
    )
}

/// Writes a file of pages with their number, LZ4 frame and content.
pub(super) fn encode_with<'a>(header: &LtxHeader, pages: impl Iterator<Item = (u32, &'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut writer = Writer::new(&header.encode());
    pages.for_each(|(number, frame, content)| writer.page(number, Payload::Frame(frame), content));
    writer.finish()
}

/// Writes a file as Litestream would: pages with their number, content, and whether they are LZ4 blocks or frames.
pub(super) fn encode(header: &LtxHeader, pages: &[(u32, (Vec<u8>, bool))]) -> Vec<u8> {
    let mut writer = Writer::new(&header.encode());
    for (number, (content, block)) in pages {
        match block {
            true => writer.block(*number, content),
            false => writer.page(*number, Payload::Frame(&lz4_frame(content)), content),
        }
    }
    writer.finish()
}

/// Headers that are right in what a random one would never be.
pub(super) fn header() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 100), 9..17u32, 1..u64::MAX, any::<u64>()).prop_map(|(mut bytes, bits, min, more)| {
        bytes[..8].copy_from_slice(b"LTX1\0\0\0\x02");
        bytes[8..12].copy_from_slice(&(1u32 << bits).to_be_bytes());
        bytes[15] |= 1;
        bytes[16..24].copy_from_slice(&min.to_be_bytes());
        bytes[24..32].copy_from_slice(&min.saturating_add(more).to_be_bytes());
        bytes[32..35].fill(0);
        bytes[40..49].fill(0);
        bytes
    })
}

/// A kind of damage to the bytes of a file. Positions are fractions of its length.
#[derive(Clone, Debug)]
pub(super) enum Damage {
    Truncate(prop::sample::Index),
    Flip(prop::sample::Index, u8),
    Zero(prop::sample::Index, usize),
    Replace(prop::sample::Index, Vec<u8>),
}

impl Damage {
    pub(super) fn apply(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let length = bytes.len();
        match self {
            Self::Truncate(at) => bytes.truncate(at.index(length)),
            Self::Flip(at, mask) => bytes[at.index(length)] ^= mask,
            Self::Zero(at, count) => bytes.iter_mut().skip(at.index(length)).take(*count).for_each(|byte| *byte = 0),
            Self::Replace(at, with) => {
                let at = at.index(length);
                let end = length.min(at + with.len());
                bytes.splice(at..end, with.iter().copied().take(end - at));
            }
        }
        bytes
    }
}

pub(super) fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Damage::Truncate),
        (at(), 1..=255u8).prop_map(|(at, mask)| Damage::Flip(at, mask)),
        (at(), 1..600usize).prop_map(|(at, count)| Damage::Zero(at, count)),
        (at(), vec(any::<u8>(), 1..16)).prop_map(|(at, with)| Damage::Replace(at, with)),
    ]
}
